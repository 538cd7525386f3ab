//! The traces that the window knows: those that are held, and those that left and are remembered.
//! One table by id; each kind in lists by time, so that every step costs the same however many
//! there are. With traces that never come again waiting for memory is most of what this costs, so
//! what is remembered is small, and what is held of a trace stands apart.

use super::runs::{Found, Gone, Run};
use super::slab::Slab;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::time::Duration;

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

/// A trace that is known. Times are nanoseconds of the monotonic clock.
struct Trace {
    id: u128,
    last: u64,
    links: Links,
    /// The number of what is held of it, unless it left.
    held: u32,
    left: bool,
}

/// What is held of a trace.
struct Held {
    trace: u32,
    links: Links,
    first: u64,
    runs: SmallVec<[Run; 1]>,
    items: u32,
    /// Bytes that it makes as a request, at most.
    size: u32,
}

/// Neighbours in a list.
#[derive(Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const NONE: u32 = u32::MAX;
const ALONE: Links = Links { before: NONE, after: NONE };

/// The lists; the latest is last.
#[derive(Clone, Copy)]
enum By {
    /// What is held, by the first span.
    First,
    /// Traces that are held, by their last span.
    Last,
    /// Traces that left, by their last use. None is in both this and [`By::Last`].
    Use,
}

/// Held traces and those that left.
pub struct Traces {
    timing: Timing,
    numbers: HashTable<u32>,
    hasher: RandomState,
    known: Slab<Trace>,
    held: Slab<Held>,
    lists: [List; 3],
    counts: Counts,
    /// Bytes of runs that stand outside of their trace.
    spilled: usize,
    /// Of the traces that are met the hashes of their ids, and their numbers.
    looked: Vec<(u64, Option<u32>)>,
}

#[derive(Default)]
struct Counts {
    held: usize,
    left: usize,
    items: usize,
}

impl Traces {
    pub fn new(timing: Timing) -> Traces {
        Traces {
            timing,
            numbers: HashTable::new(),
            hasher: RandomState::default(),
            known: Slab::new(),
            held: Slab::new(),
            lists: [List { first: NONE, last: NONE }; 3],
            counts: Counts::default(),
            spilled: 0,
            looked: vec![],
        }
    }

    /// Traces that are held.
    pub fn held(&self) -> usize {
        self.counts.held
    }

    /// Traces that left and are remembered.
    pub fn left(&self) -> usize {
        self.counts.left
    }

    /// Items that are held.
    pub fn items(&self) -> usize {
        self.counts.items
    }

    /// Bytes that all this takes.
    pub fn bytes(&self) -> usize {
        let slabs = self.known.bytes() + self.held.bytes();
        slabs + self.numbers.allocation_size() + self.spilled
    }

    /// Bytes that a trace takes that left, at most.
    pub fn trace_bytes() -> usize {
        // A table is half full at least; its slots are a number and a byte.
        size_of::<Option<Trace>>() + 1 + 3 * (size_of::<u32>() + 1)
    }

    /// Finds the traces of `found`; those of which nothing is known begin to be held. All are
    /// looked up before anything else is done with them: so they wait for their memory together.
    pub fn meet(&mut self, found: &mut [Found], now: Duration) {
        let mut looked = std::mem::take(&mut self.looked);
        looked.extend(found.iter().map(|found| {
            let hash = self.hasher.hash_one(found.id);
            (hash, self.find(found.id, hash))
        }));
        for (found, (hash, number)) in found.iter_mut().zip(looked.drain(..)) {
            // One that was not known may have been met since.
            let number = number.or_else(|| self.find(found.id, hash));
            found.trace = match number {
                Some(number) => self.meet_again(number, nanos(now)),
                None if found.id == 0 => None,
                None => Some(self.begin(found.id, hash, nanos(now))),
            };
        }
        self.looked = looked;
    }

    fn find(&self, id: u128, hash: u64) -> Option<u32> {
        let is = |number: &u32| self.known.get(*number).is_some_and(|trace| trace.id == id);
        self.numbers.find(hash, is).copied()
    }

    /// Yields the number of what is held, if the trace has not left.
    fn meet_again(&mut self, number: u32, now: u64) -> Option<u32> {
        let trace = self.known.get_mut(number)?;
        let (held, list) = match trace.left {
            true => (None, By::Use),
            false => (Some(trace.held), By::Last),
        };
        if trace.last != now {
            trace.last = now;
            self.unlink(number, list);
            self.link(number, list);
        }
        held
    }

    /// Begins to hold a trace. Yields the number of what is held.
    fn begin(&mut self, id: u128, hash: u64, now: u64) -> u32 {
        let (links, runs) = (ALONE, SmallVec::new());
        let held = Held { trace: NONE, links, first: now, runs, items: 0, size: 0 };
        let held = self.held.insert(held);
        let number = self.known.insert(Trace { id, last: now, links, held, left: false });
        if let Some(held) = self.held.get_mut(held) {
            held.trace = number;
        }
        self.numbers.insert_unique(hash, number, hashes(&self.known, &self.hasher));
        self.link(held, By::First);
        self.link(number, By::Last);
        self.counts.held += 1;
        held
    }

    /// Gives a held trace a run, `around` which stand so many bytes. Yields its size then.
    pub fn add(&mut self, number: u32, run: Run, around: usize) -> usize {
        let Some(held) = self.held.get_mut(number) else { return 0 };
        let before = spilled(&held.runs);
        held.runs.push(run);
        self.spilled += spilled(&held.runs) - before;
        held.items += run.items;
        self.counts.items += run.items as usize;
        held.size = held.size.saturating_add((run.len() + around) as u32);
        held.size as usize
    }

    /// Bytes that a held trace makes as a request, at most.
    pub fn size(&self, number: u32) -> usize {
        self.held.get(number).map_or(0, |held| held.size as usize)
    }

    /// The runs of a held trace.
    pub fn runs(&self, number: u32) -> &[Run] {
        self.held.get(number).map_or(&[], |held| &held.runs)
    }

    /// The same, to be moved.
    pub fn runs_mut(&mut self, number: u32) -> &mut [Run] {
        self.held.get_mut(number).map_or(&mut [], |held| &mut held.runs)
    }

    /// Lets a held trace go, and remembers that it did.
    pub fn let_go(&mut self, number: u32, now: Duration) -> Option<Gone> {
        self.unlink(number, By::First);
        let held = self.held.remove(number)?;
        let trace = self.known.get_mut(held.trace)?;
        (trace.left, trace.last) = (true, nanos(now));
        self.unlink(held.trace, By::Last);
        self.link(held.trace, By::Use);
        let Held { runs, items, size, .. } = held;
        let (items, size) = (items as usize, size as usize);
        self.spilled -= spilled(&runs);
        self.counts.held -= 1;
        self.counts.left += 1;
        self.counts.items -= items;
        let time = Duration::from_nanos(nanos(now).saturating_sub(held.first));
        Some(Gone { runs, items, size, time })
    }

    /// Forgets the trace that left and was not used for longest, if that was before `since`.
    pub fn forget(&mut self, since: Duration) -> bool {
        let [.., List { first: number, .. }] = self.lists;
        let Some(trace) = self.known.get(number).filter(|trace| trace.last <= nanos(since)) else {
            return false;
        };
        let hash = self.hasher.hash_one(trace.id);
        if let Ok(entry) = self.numbers.find_entry(hash, |found| *found == number) {
            entry.remove();
        }
        self.unlink(number, By::Use);
        self.known.remove(number);
        self.counts.left -= 1;
        true
    }

    /// Gives back what the table has too much after a flood.
    pub fn shrink(&mut self) {
        if self.numbers.len() < self.numbers.capacity() / 8 {
            self.numbers.shrink_to(self.numbers.len() * 2, hashes(&self.known, &self.hasher));
        }
    }

    /// The held trace whose first span came first.
    pub fn oldest(&self) -> Option<u32> {
        let [List { first, .. }, ..] = self.lists;
        (first != NONE).then_some(first)
    }

    /// A held trace that is due at `now`.
    pub fn due(&self, now: Duration) -> Option<(u32, Due)> {
        let (at, number, why) = self.first_due()?;
        (at <= now).then_some((number, why))
    }

    /// When the next is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.first_due().map(|(at, ..)| at)
    }

    fn first_due(&self) -> Option<(Duration, u32, Due)> {
        let [by_first, by_last, _] = self.lists;
        let quiet = self.known.get(by_last.first)?;
        let old = self.held.get(by_first.first)?;
        let idle = Duration::from_nanos(quiet.last).saturating_add(self.timing.idle);
        let wait = Duration::from_nanos(old.first).saturating_add(self.timing.wait);
        let (due, number, why) = match idle < wait {
            true => (idle, quiet.held, Due::Idle),
            false => (wait, by_first.first, Due::Wait),
        };
        let tick = self.timing.tick.as_nanos().max(1);
        let rounded = due.as_nanos().div_ceil(tick).saturating_mul(tick);
        let due = u64::try_from(rounded).map_or(Duration::MAX, Duration::from_nanos);
        Some((due, number, why))
    }

    /// Puts one at the end of a list.
    fn link(&mut self, number: u32, by: By) {
        let Some(list) = self.lists.get_mut(by as usize) else { return };
        let before = std::mem::replace(&mut list.last, number);
        if before == NONE {
            list.first = number;
        } else if let Some(links) = self.links(before, by) {
            links.after = number;
        }
        if let Some(links) = self.links(number, by) {
            *links = Links { before, after: NONE };
        }
    }

    /// Takes it out of one.
    fn unlink(&mut self, number: u32, by: By) {
        let Some(&mut Links { before, after }) = self.links(number, by) else { return };
        let Some(list) = self.lists.get_mut(by as usize) else { return };
        if before == NONE {
            list.first = after;
        }
        if after == NONE {
            list.last = before;
        }
        if let Some(links) = self.links(before, by) {
            links.after = after;
        }
        if let Some(links) = self.links(after, by) {
            links.before = before;
        }
    }

    fn links(&mut self, number: u32, by: By) -> Option<&mut Links> {
        match by {
            By::First => self.held.get_mut(number).map(|held| &mut held.links),
            By::Last | By::Use => self.known.get_mut(number).map(|trace| &mut trace.links),
        }
    }
}

/// The hash of the id of the trace with a number.
fn hashes(known: &Slab<Trace>, hasher: &RandomState) -> impl Fn(&u32) -> u64 {
    |number| hasher.hash_one(known.get(*number).map_or(0, |trace| trace.id))
}

fn spilled(runs: &SmallVec<[Run; 1]>) -> usize {
    if runs.spilled() { runs.capacity() * size_of::<Run>() } else { 0 }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
