//! What is where: the segments, what is still owed of each, and what was released.

use super::Id;
use super::releases::{self, EVERY, Release, Releases};
use super::storage::{File, Storage};
use crate::limits;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The numbers of ways out of a pipeline.
pub type Ways = SmallVec<[usize; 2]>;

/// Shared by who writes, who reads and who releases.
pub struct Table {
    pub(super) storage: Arc<dyn Storage>,
    /// What the ways are called on disk.
    ways: Vec<u32>,
    /// Bytes that the segments may take.
    limit: u64,
    state: Mutex<State>,
    ledger: Mutex<Ledger>,
    /// Bytes of damage that may still be kept.
    spare: Mutex<u64>,
}

struct State {
    segments: BTreeMap<u32, Segment>,
    /// Of all segments.
    bytes: u64,
    /// What was released by processes before this one.
    before: Releases,
    /// What is to be written down.
    pending: Vec<Release>,
}

/// One segment.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    /// Bytes that are safe to read.
    len: u64,
    /// Nothing is added any more.
    closed: bool,
    /// All of it was read.
    read: bool,
    /// Entries that were read or handed on, and are still owed to somebody.
    open: usize,
}

/// The file to which releases go.
struct Ledger {
    number: u32,
    file: Option<Box<dyn File>>,
    len: u64,
}

pub fn segment_name(number: u32) -> String {
    format!("{number:08}.segment")
}

pub fn releases_name(number: u32) -> String {
    format!("{number:08}.releases")
}

impl Table {
    /// With the `segments` of processes before this one and their bytes; `next` is the first
    /// number that is free.
    pub fn new(
        storage: Arc<dyn Storage>,
        ways: &[&str],
        limit: u64,
        segments: &[(u32, u64)],
        before: Releases,
        next: u32,
    ) -> Table {
        let closed = |len| Segment { len, closed: true, read: false, open: 0 };
        let bytes = segments.iter().map(|(_, len)| len).sum();
        let segments = segments.iter().map(|(number, len)| (*number, closed(*len))).collect();
        Table {
            storage,
            ways: ways.iter().map(|name| releases::way(name)).collect(),
            limit,
            state: Mutex::new(State { segments, bytes, before, pending: vec![] }),
            ledger: Mutex::new(Ledger { number: next, file: None, len: 0 }),
            spare: Mutex::new(limits::JOURNAL_DAMAGE_BYTES),
        }
    }

    /// Bytes that the segments take.
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Whether `bytes` more fit.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.state().bytes.saturating_add(bytes) <= self.limit
    }

    /// A segment begins, or has grown to `len` bytes that are safe.
    pub(super) fn grow(&self, number: u32, len: u64) {
        let mut state = self.state();
        let segment = state.segments.entry(number).or_default();
        let more = len.saturating_sub(segment.len);
        segment.len = len;
        state.bytes += more;
    }

    /// Nothing more is added to a segment.
    pub(super) fn close(&self, number: u32) {
        if let Some(segment) = self.state().segments.get_mut(&number) {
            segment.closed = true;
        }
    }

    /// A segment has never come to be.
    pub(super) fn forget(&self, number: u32) {
        let mut state = self.state();
        if let Some(segment) = state.segments.remove(&number) {
            state.bytes -= segment.len;
        }
    }

    /// Entries from `first` on were written and not acknowledged.
    pub(super) fn take_back(&self, first: Id) {
        let Id { segment, index } = first;
        let release = Release { way: EVERY, segment, first: index, last: u32::MAX };
        self.state().pending.push(release);
    }

    /// The first segment behind `number` that was not read.
    pub(super) fn after(&self, number: Option<u32>) -> Option<u32> {
        let from = number.map_or(0, |number| number.saturating_add(1));
        self.state().segments.range(from..).next().map(|(number, _)| *number)
    }

    /// Bytes of a segment that are safe to read, and whether that is all there will be.
    pub(super) fn extent(&self, number: u32) -> (u64, bool) {
        let state = self.state();
        state.segments.get(&number).map_or((0, true), |segment| (segment.len, segment.closed))
    }

    /// All of a segment was read.
    pub(super) fn read(&self, number: u32) {
        let mut state = self.state();
        state.before.forget(number);
        if let Some(segment) = state.segments.get_mut(&number) {
            segment.read = true;
        }
    }

    /// By which ways `id`, an entry of a process before this one, is still to leave.
    pub(super) fn owed(&self, id: Id) -> Ways {
        let state = self.state();
        let ways = self.ways.iter().enumerate();
        ways.filter(|(_, way)| !state.before.has(id, **way)).map(|(k, _)| k).collect()
    }

    /// All ways.
    pub fn ways(&self) -> Ways {
        (0..self.ways.len()).collect()
    }

    /// An entry is handed on: until [`Table::done`] its segment stays.
    pub fn begin(&self, id: Id) {
        if let Some(segment) = self.state().segments.get_mut(&id.segment) {
            segment.open += 1;
        }
    }

    /// An entry has left by one way.
    pub fn release(&self, id: Id, way: usize) {
        let Some(way) = self.ways.get(way) else { return };
        let Id { segment, index } = id;
        let release = Release { way: *way, segment, first: index, last: index };
        self.state().pending.push(release);
    }

    /// An entry has left by all ways.
    pub fn done(&self, id: Id) {
        if let Some(segment) = self.state().segments.get_mut(&id.segment) {
            segment.open = segment.open.saturating_sub(1);
        }
    }

    /// Writes down what was released since the last time, for the next process. What cannot be
    /// written is tried again the next time, and delivered again if there is none.
    pub fn flush(&self) -> io::Result<()> {
        let (pending, newest) = {
            let mut state = self.state();
            let newest = state.segments.last_key_value().map_or(0, |(number, _)| *number);
            (std::mem::take(&mut state.pending), newest)
        };
        if pending.is_empty() {
            return Ok(());
        }
        self.write(newest, &pending).inspect_err(|_| {
            let mut state = self.state();
            let State { segments, pending: later, .. } = &mut *state;
            // Of segments that are gone, nobody asks.
            later.extend(pending.iter().filter(|one| segments.contains_key(&one.segment)));
        })
    }

    fn write(&self, newest: u32, pending: &[Release]) -> io::Result<()> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if newest > ledger.number {
            *ledger = Ledger { number: newest, file: None, len: 0 };
        }
        if ledger.file.is_none() {
            let file = self.storage.create(&releases_name(ledger.number))?;
            (ledger.file, ledger.len) = (Some(file), 0);
        }
        let Ledger { file: Some(file), len, .. } = &mut *ledger else { return Ok(()) };
        let bytes = releases::encode(pending.to_vec());
        let written = file.write_at(*len, &bytes);
        match written {
            Ok(()) => *len += bytes.len() as u64,
            // Records have one size; a piece of one would make all that follow unreadable.
            Err(_) => file.truncate(*len)?,
        }
        written
    }

    /// Makes durable what was written down, so that a power cut costs fewer duplicates. By a handle
    /// of its own: a release that waited for the disk would be a duplicate after a kill, and would
    /// hold up who has brought it.
    pub fn sync(&self) -> io::Result<()> {
        let number = {
            let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.file.as_ref().map(|_| ledger.number)
        };
        number.map_or(Ok(()), |number| self.storage.open(&releases_name(number))?.sync())
    }

    /// Removes the oldest segments as far as nothing of them is owed; how many that were.
    pub fn clean(&self) -> io::Result<usize> {
        let mut done = vec![];
        let first = {
            let mut state = self.state();
            while let Some((number, segment)) = state.segments.first_key_value()
                && segment.closed
                && segment.read
                && segment.open == 0
            {
                let (number, len) = (*number, segment.len);
                state.segments.remove(&number);
                state.bytes -= len;
                done.push(number);
            }
            state.segments.first_key_value().map(|(number, _)| *number)
        };
        if done.is_empty() {
            return Ok(0);
        }
        for number in &done {
            self.storage.remove(&segment_name(*number))?;
        }
        // A segment that came back after a crash would be delivered again without its releases.
        self.storage.sync()?;
        let last = first.or(done.last().copied()).unwrap_or_default();
        for name in self.storage.names()? {
            let number = name.strip_suffix(".releases").and_then(|name| name.parse::<u32>().ok());
            if number.is_some_and(|number| number < last) {
                self.storage.remove(&name)?;
            }
        }
        Ok(done.len())
    }

    /// Takes `bytes` from what may be kept of damage; whether they fit.
    pub(super) fn may_keep(&self, bytes: u64) -> bool {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let left = spare.checked_sub(bytes);
        *spare = left.unwrap_or(*spare);
        left.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
