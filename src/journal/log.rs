//! The end of the journal that grows.

use super::Id;
use super::record::{self, FRAME, HEADER, Header, Kind};
use super::storage::{File, Storage};
use super::table::{Table, segment_name};
use crate::batch::Signal;
use std::io;
use std::sync::Arc;

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub signal: Signal,
    pub items: usize,
    pub bytes: &'a [u8],
}

impl Entry<'_> {
    /// Bytes that it takes on disk.
    pub fn size(&self) -> u64 {
        (FRAME + self.bytes.len()) as u64
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: Id,
    pub at: u64,
    pub end: u64,
}

/// Writes entries. One at a time.
pub struct Log {
    storage: Arc<dyn Storage>,
    table: Arc<Table>,
    /// `None` before the first commit, and after one that failed.
    active: Option<Active>,
    /// The next number that is free.
    next: u32,
    segment_bytes: u64,
    random: fastrand::Rng,
    buffer: Vec<u8>,
}

/// The segment that is written.
struct Active {
    number: u32,
    salt: u64,
    file: Box<dyn File>,
    len: u64,
    entries: u32,
}

impl Log {
    pub(super) fn new(table: Arc<Table>, next: u32, segment_bytes: u64, seed: u64) -> Log {
        let (storage, random) = (table.storage.clone(), fastrand::Rng::with_seed(seed));
        Log { storage, table, active: None, next, segment_bytes, random, buffer: vec![] }
    }

    /// Appends `entries` and returns when they are safe, each with its place. After an error none
    /// of them is kept.
    pub fn commit(&mut self, entries: &[Entry<'_>]) -> io::Result<Vec<Place>> {
        if self.active.as_ref().is_some_and(|active| active.len >= self.segment_bytes) {
            self.close();
        }
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.begin()?,
        };
        let (mut at, mut index) = (active.len, active.entries);
        let mut places = Vec::with_capacity(entries.len());
        self.buffer.clear();
        for entry in entries {
            let items = u32::try_from(entry.items).unwrap_or(u32::MAX);
            let kind = Kind::Entry(entry.signal);
            record::write(&mut self.buffer, active.salt, kind, index, items, entry.bytes);
            let end = at + entry.size();
            places.push(Place { id: Id { segment: active.number, index }, at, end });
            (at, index) = (end, index + 1);
        }
        let written =
            active.file.write_at(active.len, &self.buffer).and_then(|()| active.file.sync());
        // One large request must not take its memory for ever.
        self.buffer.shrink_to(crate::limits::JOURNAL_GROUP_BYTES);
        match written {
            Ok(()) => {
                (active.len, active.entries) = (at, index);
                self.table.grow(active.number, at);
                self.active = Some(active);
                Ok(places)
            }
            Err(error) => {
                self.give_up(active);
                Err(error)
            }
        }
    }

    /// A new segment, whose name is safe before anything in it is.
    fn begin(&mut self) -> io::Result<Active> {
        // Random, so that nobody can write telemetry that looks like a record; never zero.
        let (number, salt) = (self.next, self.random.u64(1..));
        self.next = number.saturating_add(1);
        let name = segment_name(number);
        let mut file = self.storage.create(&name)?;
        let head = record::header(Header { segment: number, salt });
        let made = file.write_at(0, &head).and_then(|()| file.sync());
        if let Err(error) = made.and_then(|()| self.storage.sync()) {
            let _ = self.storage.remove(&name);
            return Err(error);
        }
        self.table.grow(number, HEADER as u64);
        Ok(Active { number, salt, file, len: HEADER as u64, entries: 0 })
    }

    /// Ends the active segment. That its last record is lost is no harm: it only says how many
    /// entries there should be.
    pub fn close(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        let mut end = vec![];
        record::write(&mut end, active.salt, Kind::End, active.entries, 0, &[]);
        if active.file.write_at(active.len, &end).is_ok() {
            self.table.grow(active.number, active.len + end.len() as u64);
        }
        self.table.close(active.number);
    }

    /// Leaves a file whose write or sync has failed as it was before.
    fn give_up(&mut self, mut active: Active) {
        let _ = active.file.truncate(active.len);
        if active.entries == 0 && self.storage.remove(&segment_name(active.number)).is_ok() {
            self.table.forget(active.number);
            return;
        }
        self.table.take_back(Id { segment: active.number, index: active.entries });
        self.table.close(active.number);
    }
}
