//! The newest entries in memory, so that what is read soon is not read from disk.

use super::log::Place;
use super::reader::Reader;
use std::collections::VecDeque;

/// Entries that were committed and may not have been read yet, in order, some left out.
pub struct Resident<T> {
    entries: VecDeque<(Place, T, usize)>,
    bytes: usize,
    limit: usize,
}

impl<T> Resident<T> {
    /// With room for `limit` bytes.
    pub fn new(limit: usize) -> Resident<T> {
        Resident { entries: VecDeque::new(), bytes: 0, limit }
    }

    /// Adds what was committed at `place`, of `bytes` bytes; without room it is on disk alone.
    pub fn push(&mut self, place: Place, entry: T, bytes: usize) {
        if self.bytes.saturating_add(bytes) <= self.limit {
            self.bytes += bytes;
            self.entries.push_back((place, entry, bytes));
        }
    }

    /// The entry at which `reader` stands, which then stands behind it.
    pub fn take(&mut self, reader: &mut Reader) -> Option<(Place, T)> {
        while let Some((place, ..)) = self.entries.front() {
            let (place, passed) = (*place, reader.has_passed(place));
            if !passed && !reader.stands_at(&place) {
                return None;
            }
            let (_, entry, bytes) = self.entries.pop_front()?;
            self.bytes -= bytes;
            if !passed {
                reader.pass(&place);
                return Some((place, entry));
            }
        }
        None
    }
}
