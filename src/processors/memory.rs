//! What a processor remembers of traces: a table by trace id, bounded in traces, bytes and time.
//!
//! When a bound is reached the trace goes that was first remembered and has not been used since
//! (a queue with a second chance): a flood of new traces cannot push out those in use more than
//! once per use, and every step is cheap. A trace that is not used for the time to live goes too.

use crate::moment::Moment;
use crate::telemetry::{Counter, Level};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
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
    slots: HashMap<u128, Slot<V>, RandomState>,
    /// Every trace once, with the time since which it waits there.
    queue: VecDeque<(u128, Duration)>,
    bytes: usize,
    bounds: Bounds,
    gauges: Gauges,
    /// Bytes that a value holds on the heap.
    weight: fn(&V) -> usize,
}

struct Slot<V> {
    value: V,
    used: Duration,
}

impl<V: Default> Memory<V> {
    pub fn new(bounds: Bounds, gauges: Gauges, weight: fn(&V) -> usize) -> Memory<V> {
        let (slots, queue) = (HashMap::default(), VecDeque::new());
        Memory { slots, queue, bytes: 0, bounds, gauges, weight }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The value of `trace`, which counts as a use.
    #[inline]
    pub fn get(&mut self, trace: u128, now: Moment) -> Option<&V> {
        let slot = self.slots.get_mut(&trace)?;
        slot.used = now.monotonic;
        Some(&slot.value)
    }

    /// Changes the value of `trace`, a new one if it is not known. Other traces may have to go.
    pub fn update<R>(&mut self, trace: u128, now: Moment, change: impl FnOnce(&mut V) -> R) -> R {
        let (queue, bytes) = (&mut self.queue, &mut self.bytes);
        let slot = self.slots.entry(trace).or_insert_with(|| {
            queue.push_back((trace, now.monotonic));
            *bytes += TRACE_BYTES;
            Slot { value: V::default(), used: now.monotonic }
        });
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
        while let Some(&(trace, queued)) = self.queue.front() {
            if queued + ttl > now.monotonic {
                break;
            }
            self.queue.pop_front();
            match self.slots.get(&trace).map(|slot| slot.used) {
                Some(used) if used + ttl > now.monotonic => self.queue.push_back((trace, used)),
                _ => {
                    self.forget(trace);
                    self.gauges.expired.add(1);
                }
            }
        }
        self.gauges.traces.set(self.slots.len() as i64);
    }

    fn shrink(&mut self) {
        while self.slots.len() > self.bounds.traces || self.bytes > self.bounds.bytes {
            let Some((trace, queued)) = self.queue.pop_front() else {
                return;
            };
            match self.slots.get(&trace).map(|slot| slot.used) {
                Some(used) if used > queued => self.queue.push_back((trace, used)),
                _ => {
                    self.forget(trace);
                    self.gauges.evicted.add(1);
                }
            }
        }
    }

    fn forget(&mut self, trace: u128) {
        if let Some(slot) = self.slots.remove(&trace) {
            let gone = TRACE_BYTES + (self.weight)(&slot.value);
            self.bytes = self.bytes.saturating_sub(gone);
        }
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
        assert_eq!(memory.slots.len(), 10);
        assert_eq!(memory.gauges.evicted.value(), 989);
        memory.expire(at(100));
        assert_eq!(memory.bytes, 0);
        assert_eq!(memory.queue.len(), 0);
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
