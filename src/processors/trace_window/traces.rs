//! The traces that the window knows: those that are held, and those that left and are remembered.
//! One table by id; each kind in lists by time, so that every step costs the same however many
//! there are.

use super::runs::{Gone, Run};
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

/// What is known of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Held(u32),
    Left(u32),
}

/// A trace. Times are nanoseconds of the monotonic clock.
struct Trace {
    id: u128,
    links: [Links; 2],
    first: u64,
    last: u64,
    runs: SmallVec<[Run; 1]>,
    items: u32,
    /// Bytes that it makes as a request, at most.
    size: u32,
    left: bool,
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
    /// Held, by their first span.
    First,
    /// Held, by their last.
    Last,
    /// Left, by their last use.
    Use,
}

impl By {
    /// Which links of a trace make the list. None is in both [`By::Last`] and [`By::Use`].
    fn links(self) -> usize {
        usize::from(!matches!(self, By::First))
    }
}

/// Held traces and those that left.
pub struct Traces {
    timing: Timing,
    numbers: HashTable<u32>,
    hasher: RandomState,
    slab: Slab<Trace>,
    lists: [List; 3],
    held: usize,
    left: usize,
    items: usize,
    /// Bytes of runs that stand outside of their trace.
    spilled: usize,
}

impl Traces {
    pub fn new(timing: Timing) -> Traces {
        Traces {
            timing,
            numbers: HashTable::new(),
            hasher: RandomState::default(),
            slab: Slab::new(),
            lists: [List { first: NONE, last: NONE }; 3],
            held: 0,
            left: 0,
            items: 0,
            spilled: 0,
        }
    }

    /// Traces that are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Traces that left and are remembered.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Items that are held.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes that all this takes.
    pub fn bytes(&self) -> usize {
        self.slab.bytes() + self.numbers.allocation_size() + self.spilled
    }

    /// Bytes that one trace takes besides its spans, at most.
    pub fn trace_bytes() -> usize {
        // A table is half full at least; its slots are a number and a byte.
        size_of::<Option<Trace>>() + 1 + 3 * (size_of::<u32>() + 1)
    }

    /// What is known of the trace `id`; one of which nothing is begins to be held.
    pub fn meet(&mut self, id: u128, now: Duration) -> Known {
        let (slab, hash) = (&self.slab, self.hasher.hash_one(id));
        let is = |number: &u32| slab.get(*number).is_some_and(|trace| trace.id == id);
        if let Some(&number) = self.numbers.find(hash, is) {
            let Some(trace) = self.slab.get_mut(number) else { return Known::Left(number) };
            let now = nanos(now);
            let (known, list) = match trace.left {
                true => (Known::Left(number), By::Use),
                false => (Known::Held(number), By::Last),
            };
            if trace.last != now {
                trace.last = now;
                self.unlink(number, list);
                self.link(number, list);
            }
            return known;
        }
        let now = nanos(now);
        let trace = Trace {
            id,
            links: [ALONE; 2],
            first: now,
            last: now,
            runs: SmallVec::new(),
            items: 0,
            size: 0,
            left: false,
        };
        let number = self.slab.insert(trace);
        let (slab, hasher) = (&self.slab, &self.hasher);
        let again = |number: &u32| hasher.hash_one(slab.get(*number).map_or(0, |trace| trace.id));
        self.numbers.insert_unique(hash, number, again);
        self.link(number, By::First);
        self.link(number, By::Last);
        self.held += 1;
        Known::Held(number)
    }

    /// Gives a held trace a run, `around` which stand so many bytes. Yields its size then.
    pub fn add(&mut self, number: u32, run: Run, around: usize) -> usize {
        let Some(trace) = self.slab.get_mut(number) else { return 0 };
        let before = spilled(&trace.runs);
        trace.runs.push(run);
        self.spilled += spilled(&trace.runs) - before;
        trace.items += run.items;
        self.items += run.items as usize;
        trace.size = trace.size.saturating_add((run.len() + around) as u32);
        trace.size as usize
    }

    /// Bytes that a trace makes as a request, at most.
    pub fn size(&self, number: u32) -> usize {
        self.slab.get(number).map_or(0, |trace| trace.size as usize)
    }

    /// The runs of a held trace.
    pub fn runs(&self, number: u32) -> &[Run] {
        self.slab.get(number).map_or(&[], |trace| &trace.runs)
    }

    /// The same, to be moved.
    pub fn runs_mut(&mut self, number: u32) -> &mut [Run] {
        self.slab.get_mut(number).map_or(&mut [], |trace| &mut trace.runs)
    }

    /// Lets a held trace go, and remembers that it did.
    pub fn let_go(&mut self, number: u32, now: Duration) -> Option<Gone> {
        let trace = self.slab.get_mut(number).filter(|trace| !trace.left)?;
        let runs = std::mem::take(&mut trace.runs);
        let (items, size) = (trace.items as usize, trace.size as usize);
        let time = Duration::from_nanos(nanos(now).saturating_sub(trace.first));
        (trace.left, trace.last) = (true, nanos(now));
        self.unlink(number, By::First);
        self.unlink(number, By::Last);
        self.link(number, By::Use);
        self.spilled -= spilled(&runs);
        self.held -= 1;
        self.left += 1;
        self.items -= items;
        Some(Gone { runs, items, size, time })
    }

    /// Forgets the trace that left and was not used for longest, if that was before `since`.
    pub fn forget(&mut self, since: Duration) -> bool {
        let [.., List { first: number, .. }] = self.lists;
        let Some(trace) = self.slab.get(number).filter(|trace| trace.last <= nanos(since)) else {
            return false;
        };
        let hash = self.hasher.hash_one(trace.id);
        if let Ok(entry) = self.numbers.find_entry(hash, |found| *found == number) {
            entry.remove();
        }
        self.unlink(number, By::Use);
        self.slab.remove(number);
        self.left -= 1;
        true
    }

    /// Gives back what the table has too much after a flood.
    pub fn shrink(&mut self) {
        if self.numbers.len() < self.numbers.capacity() / 8 {
            let (slab, hasher) = (&self.slab, &self.hasher);
            let again =
                |number: &u32| hasher.hash_one(slab.get(*number).map_or(0, |trace| trace.id));
            self.numbers.shrink_to(self.numbers.len() * 2, again);
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
        let quiet = self.slab.get(by_last.first)?;
        let old = self.slab.get(by_first.first)?;
        let idle = Duration::from_nanos(quiet.last).saturating_add(self.timing.idle);
        let wait = Duration::from_nanos(old.first).saturating_add(self.timing.wait);
        let (due, number, why) = match idle < wait {
            true => (idle, by_last.first, Due::Idle),
            false => (wait, by_first.first, Due::Wait),
        };
        let tick = self.timing.tick.as_nanos().max(1);
        let rounded = due.as_nanos().div_ceil(tick).saturating_mul(tick);
        let due = u64::try_from(rounded).map_or(Duration::MAX, Duration::from_nanos);
        Some((due, number, why))
    }

    /// Puts a trace at the end of a list.
    fn link(&mut self, number: u32, by: By) {
        let Some(list) = self.lists.get_mut(by as usize) else { return };
        let before = std::mem::replace(&mut list.last, number);
        if before == NONE {
            list.first = number;
        } else {
            self.join(before, |links| links.after = number, by);
        }
        self.join(number, |links| *links = Links { before, after: NONE }, by);
    }

    /// Takes it out of one.
    fn unlink(&mut self, number: u32, by: By) {
        let links = self.slab.get(number).and_then(|trace| trace.links.get(by.links()));
        let Some(&Links { before, after }) = links else { return };
        let Some(list) = self.lists.get_mut(by as usize) else { return };
        if before == NONE {
            list.first = after;
        }
        if after == NONE {
            list.last = before;
        }
        self.join(before, |links| links.after = after, by);
        self.join(after, |links| links.before = before, by);
    }

    fn join(&mut self, number: u32, change: impl FnOnce(&mut Links), by: By) {
        let trace = self.slab.get_mut(number);
        if let Some(links) = trace.and_then(|trace| trace.links.get_mut(by.links())) {
            change(links);
        }
    }
}

fn spilled(runs: &SmallVec<[Run; 1]>) -> usize {
    if runs.spilled() { runs.capacity() * size_of::<Run>() } else { 0 }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
