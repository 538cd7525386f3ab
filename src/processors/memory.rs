//! What a processor remembers of traces: a table by trace id, bounded in traces, bytes and time.
//!
//! When a bound is reached the trace goes that was first remembered and has not been used since
//! (a queue with a second chance): a flood of new traces cannot push out those in use more than
//! once per use, and every step is cheap. A trace that is not used for the time to live goes too.
//!
//! The values stand in a list whose places are used again in turn, and the table has only those
//! places: it is small enough for a cache, and what is remembered or forgotten next stands in a
//! row. With traces that never come again, waiting for memory is most of what this costs.

use crate::moment::Moment;
use crate::telemetry::{Counter, Level};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Duration;

/// Bytes that a trace costs besides what its value holds: table, queue and slot.
const TRACE_BYTES: usize = 128;

/// How much is remembered.
pub struct Bounds {
    pub traces: usize,
    pub bytes: usize,
    /// Time since the last use.
    pub ttl: Duration,
}

/// What is told about it.
pub struct Gauges {
    /// Traces that are remembered.
    pub traces: Level,
    /// Traces forgotten because a bound was reached.
    pub evicted: Counter,
    /// Traces forgotten after the time to live.
    pub expired: Counter,
}

/// Values by trace id.
pub struct Memory<V> {
    /// Places in `slots`, by the hash of the trace id.
    places: HashTable<u32>,
    slots: Vec<Slot<V>>,
    /// Places of traces that were forgotten.
    free: Vec<u32>,
    /// The place that was found last, if its trace was not forgotten since: items of a trace come
    /// in runs.
    latest: u32,
    /// The place of every trace once, with the time since which it waits there.
    queue: VecDeque<(u32, Duration)>,
    hasher: RandomState,
    bytes: usize,
    bounds: Bounds,
    gauges: Gauges,
    /// Bytes that a value holds on the heap.
    weight: fn(&V) -> usize,
}

struct Slot<V> {
    trace: u128,
    value: V,
    used: Duration,
}

impl<V: Default> Memory<V> {
    pub fn new(bounds: Bounds, gauges: Gauges, weight: fn(&V) -> usize) -> Memory<V> {
        Memory {
            places: HashTable::new(),
            slots: vec![],
            free: vec![],
            latest: u32::MAX,
            queue: VecDeque::new(),
            hasher: RandomState::default(),
            bytes: 0,
            bounds,
            gauges,
            weight,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The value of `trace`, which counts as a use.
    #[inline]
    pub fn get(&mut self, trace: u128, now: Moment) -> Option<&V> {
        let place = self.find(trace)?;
        let slot = self.slots.get_mut(place as usize)?;
        slot.used = now.monotonic;
        Some(&slot.value)
    }

    /// Changes the value of `trace`, a new one if it is not known. Other traces may have to go.
    pub fn update<R>(&mut self, trace: u128, now: Moment, change: impl FnOnce(&mut V) -> R) -> R {
        let place = match self.find(trace) {
            Some(place) => place,
            None => self.add(trace, now),
        };
        let Some(slot) = self.slots.get_mut(place as usize) else {
            // Every place in the table is one of the list.
            return change(&mut V::default());
        };
        slot.used = now.monotonic;
        let before = (self.weight)(&slot.value);
        let result = change(&mut slot.value);
        let after = (self.weight)(&slot.value);
        self.bytes = (self.bytes + after).saturating_sub(before);
        self.shrink();
        result
    }

    /// Forgets what was not used for the time to live.
    pub fn expire(&mut self, now: Moment) {
        let ttl = self.bounds.ttl;
        while let Some(&(place, queued)) = self.queue.front() {
            if queued + ttl > now.monotonic {
                break;
            }
            self.queue.pop_front();
            match self.used(place) {
                Some(used) if used + ttl > now.monotonic => self.queue.push_back((place, used)),
                _ => {
                    self.forget(place);
                    self.gauges.expired.add(1);
                }
            }
        }
        self.gauges.traces.set(self.places.len() as i64);
    }

    fn shrink(&mut self) {
        while self.places.len() > self.bounds.traces || self.bytes > self.bounds.bytes {
            let Some((place, queued)) = self.queue.pop_front() else {
                return;
            };
            match self.used(place) {
                Some(used) if used > queued => self.queue.push_back((place, used)),
                _ => {
                    self.forget(place);
                    self.gauges.evicted.add(1);
                }
            }
        }
    }

    #[inline]
    fn find(&mut self, trace: u128) -> Option<u32> {
        if self.slots.get(self.latest as usize).is_some_and(|slot| slot.trace == trace) {
            return Some(self.latest);
        }
        let is_it = |place: &u32| self.slots.get(*place as usize).map(|slot| slot.trace);
        let hash = self.hasher.hash_one(trace);
        let place = *self.places.find(hash, |place| is_it(place) == Some(trace))?;
        self.latest = place;
        Some(place)
    }

    /// A place for `trace`, which has none.
    fn add(&mut self, trace: u128, now: Moment) -> u32 {
        let slot = Slot { trace, value: V::default(), used: now.monotonic };
        let place = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(place as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        let again =
            |place: &u32| slots.get(*place as usize).map_or(0, |slot| hasher.hash_one(slot.trace));
        self.places.insert_unique(hasher.hash_one(trace), place, again);
        self.queue.push_back((place, now.monotonic));
        self.bytes += TRACE_BYTES;
        place
    }

    /// When the trace at `place` was used last.
    fn used(&self, place: u32) -> Option<Duration> {
        self.slots.get(place as usize).map(|slot| slot.used)
    }

    fn forget(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place as usize) else { return };
        let hash = self.hasher.hash_one(slot.trace);
        let gone = TRACE_BYTES + (self.weight)(&slot.value);
        slot.value = V::default();
        if self.latest == place {
            self.latest = u32::MAX;
        }
        if let Ok(known) = self.places.find_entry(hash, |known| *known == place) {
            known.remove();
        }
        self.free.push(place);
        self.bytes = self.bytes.saturating_sub(gone);
    }
}

/// The trace id as a number; `None` for one that is not valid.
#[inline]
pub fn trace_key(id: &[u8]) -> Option<u128> {
    let key = u128::from_le_bytes(id.try_into().ok()?);
    (key != 0).then_some(key)
}

/// The span id as a number; `None` for an empty or all-zero one. Ids of another length than eight
/// bytes are not valid, but a parent that is named by one is still a parent.
#[inline]
pub fn span_key(id: &[u8]) -> Option<u64> {
    let key = match id.try_into() {
        Ok(id) => u64::from_le_bytes(id),
        Err(_) => id.iter().fold(0u64, |key, byte| key.rotate_left(8) ^ u64::from(*byte)),
    };
    (key != 0).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;

    fn at(seconds: u64) -> Moment {
        Moment { monotonic: Duration::from_secs(seconds), unix_nanos: 0 }
    }

    fn memory(traces: usize, bytes: usize) -> Memory<Vec<u8>> {
        let registry = Registry::default();
        let gauges = Gauges {
            traces: registry.gauge("traces", "help", &[]).into(),
            evicted: registry.counter("evicted", "help", &[]),
            expired: registry.counter("expired", "help", &[]),
        };
        Memory::new(Bounds { traces, bytes, ttl: Duration::from_secs(10) }, gauges, Vec::len)
    }

    #[test]
    fn the_oldest_unused_trace_goes_first() {
        let mut memory = memory(2, usize::MAX);
        memory.update(1, at(0), |v| v.push(1));
        memory.update(2, at(1), |v| v.push(2));
        assert!(memory.get(1, at(2)).is_some());
        memory.update(3, at(3), |v| v.push(3));
        assert_eq!(memory.gauges.evicted.value(), 1);
        assert!(memory.get(2, at(4)).is_none(), "it was not used since");
        assert!(memory.get(1, at(4)).is_some());
        assert!(memory.get(3, at(4)).is_some());
    }

    #[test]
    fn bytes_are_bounded_and_counted_exactly() {
        let mut memory = memory(usize::MAX, 10 * (TRACE_BYTES + 100));
        for trace in 1..1000 {
            memory.update(trace, at(0), |v| v.resize(100, 0));
            assert!(memory.bytes <= 10 * (TRACE_BYTES + 100));
        }
        assert_eq!(memory.places.len(), 10);
        assert_eq!(memory.gauges.evicted.value(), 989);
        memory.expire(at(100));
        assert_eq!(memory.bytes, 0);
        assert_eq!((memory.queue.len(), memory.places.len()), (0, 0));
        assert!(memory.slots.len() <= 11, "places are used again");
    }

    #[test]
    fn a_trace_lives_as_long_as_it_is_used() {
        let mut memory = memory(10, usize::MAX);
        memory.update(1, at(0), |v| v.push(1));
        memory.update(2, at(0), |v| v.push(2));
        assert!(memory.get(1, at(9)).is_some());
        memory.expire(at(11));
        assert!(memory.get(1, at(11)).is_some());
        assert!(memory.get(2, at(11)).is_none());
        memory.expire(at(30));
        assert!(memory.is_empty());
        assert_eq!(memory.gauges.expired.value(), 2);
    }
}
