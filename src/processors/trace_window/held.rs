//! The held traces: by id, by age, and by the time at which each is due.

use super::headers::Headers;
use super::piece::Piece;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// Bytes that a trace takes besides its pieces: three tables, and room to grow in each.
const TRACE_BYTES: usize = 320;

/// When a trace is due.
#[derive(Clone, Copy)]
pub struct Timing {
    /// Time of quiet after which it is.
    pub idle: Duration,
    /// Time after its first span.
    pub wait: Duration,
    /// Due times are multiples of it, so that traces leave together.
    pub tick: Duration,
}

/// Why a trace is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Idle,
    Wait,
}

/// Traces that wait.
pub struct Held {
    pub headers: Headers,
    timing: Timing,
    traces: HashMap<u128, Trace, RandomState>,
    /// By the number of the trace, which grows: the oldest first.
    by_age: BTreeMap<u64, u128>,
    /// Every trace once, by its number, at a time no later than it is due.
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    next: u64,
    items: usize,
    bytes: usize,
}

/// A trace that waits.
pub struct Trace {
    pub id: u128,
    number: u64,
    /// When its first and its last span came.
    pub first: Duration,
    last: Duration,
    pub pieces: Vec<Piece>,
    pub items: usize,
    /// Bytes that it takes.
    weight: usize,
    /// Bytes that it makes as a request, at most.
    pub size: usize,
}

impl Held {
    pub fn new(timing: Timing) -> Held {
        Held {
            headers: Headers::default(),
            timing,
            traces: HashMap::default(),
            by_age: BTreeMap::new(),
            due: BinaryHeap::new(),
            next: 0,
            items: 0,
            bytes: 0,
        }
    }

    pub fn traces(&self) -> usize {
        self.traces.len()
    }

    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes that all this takes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.headers.bytes()
    }

    pub fn holds(&self, trace: u128) -> bool {
        self.traces.contains_key(&trace)
    }

    /// Holds `piece` of the trace `id`. Yields the size that the trace has then.
    pub fn add(&mut self, id: u128, piece: Piece, now: Duration) -> usize {
        let number = self.next;
        let trace = self.traces.entry(id).or_insert_with(|| Trace {
            id,
            number,
            first: now,
            last: now,
            pieces: vec![],
            items: 0,
            weight: 0,
            size: 0,
        });
        trace.last = now;
        let around = piece.groups().flat_map(|group| group.ids());
        trace.size += piece.len() + around.map(|id| self.headers.get(id).len()).sum::<usize>();
        trace.items += piece.items;
        self.items += piece.items;
        let before = trace.weight;
        trace.weight += piece.weight();
        trace.pieces.push(piece);
        if trace.pieces.len() == 1 {
            trace.weight += TRACE_BYTES;
            self.next += 1;
            self.by_age.insert(number, id);
            let (due, _) = self.timing.due(trace);
            self.due.push(Reverse((due, number)));
        }
        self.bytes += trace.weight - before;
        trace.size
    }

    /// Takes a trace out.
    pub fn remove(&mut self, id: u128) -> Option<Trace> {
        let trace = self.traces.remove(&id)?;
        self.by_age.remove(&trace.number);
        self.bytes -= trace.weight;
        self.items -= trace.items;
        Some(trace)
    }

    /// Takes out the trace whose first span came first.
    pub fn remove_oldest(&mut self) -> Option<Trace> {
        let id = *self.by_age.first_key_value()?.1;
        self.remove(id)
    }

    /// Takes out a trace that is due.
    pub fn remove_due(&mut self, now: Duration) -> Option<(Trace, Due)> {
        while let Some(&Reverse((at, number))) = self.due.peek() {
            if at > now {
                return None;
            }
            self.due.pop();
            let id = self.by_age.get(&number).copied();
            let Some(trace) = id.and_then(|id| self.traces.get(&id)) else { continue };
            let (due, why) = self.timing.due(trace);
            if due <= now {
                let id = trace.id;
                return Some((self.remove(id)?, why));
            }
            self.due.push(Reverse((due, number)));
        }
        None
    }

    /// The next time to look for one, if anything is held.
    pub fn next_due(&self) -> Option<Duration> {
        let Reverse((at, _)) = *self.due.peek()?;
        (!self.traces.is_empty()).then_some(at)
    }
}

impl Timing {
    fn due(&self, trace: &Trace) -> (Duration, Due) {
        let idle = trace.last.saturating_add(self.idle);
        let wait = trace.first.saturating_add(self.wait);
        let (due, why) = if idle < wait { (idle, Due::Idle) } else { (wait, Due::Wait) };
        let tick = self.tick.as_nanos().max(1);
        let rounded = due.as_nanos().div_ceil(tick).saturating_mul(tick);
        (u64::try_from(rounded).map_or(Duration::MAX, Duration::from_nanos), why)
    }
}
