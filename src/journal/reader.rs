//! Reads the journal from its oldest segment to its newest, once.

use super::Id;
use super::log::Place;
use super::record::{self, FRAME, HEADER, Kind};
use super::storage::File;
use super::table::{Table, Ways, segment_name};
use crate::batch::Signal;
use crate::limits;
use std::io;
use std::sync::Arc;

/// What stands next.
#[derive(Debug)]
pub enum Next {
    Entry(Stored),
    Damage(Damage),
    /// Nothing for now.
    End,
}

/// An entry that is owed to somebody.
#[derive(Debug)]
pub struct Stored {
    pub id: Id,
    pub signal: Signal,
    pub items: usize,
    pub bytes: Vec<u8>,
    pub owed: Ways,
}

/// Bytes that are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: u32,
    pub at: u64,
    pub bytes: u64,
    /// Entries that stood there, as far as the numbers of those behind tell.
    pub missing: u64,
    /// The end of the last segment of a process: it was being written when that ended, and nobody
    /// was told that it is safe.
    pub torn: bool,
}

pub struct Reader {
    table: Arc<Table>,
    /// Segments from here on were written by this process.
    own: u32,
    /// The last segment that was begun.
    last: Option<u32>,
    open: Option<Open>,
}

/// A segment that is being read.
struct Open {
    number: u32,
    file: Box<dyn File>,
    salt: u64,
    at: u64,
    /// The index of the next entry.
    next: u32,
}

/// A whole record.
struct Found {
    kind: Kind,
    index: u32,
    items: u32,
    content: Vec<u8>,
}

impl Reader {
    pub(super) fn new(table: Arc<Table>, own: u32) -> Reader {
        Reader { table, own, last: None, open: None }
    }

    /// Whether an entry was left by a process before this one.
    pub fn is_old(&self, id: Id) -> bool {
        id.segment < self.own
    }

    /// Whether the entry at `place` is what [`Reader::advance`] would yield.
    pub fn stands_at(&self, place: &Place) -> bool {
        let here = |open: &Open| open.number == place.id.segment && open.at == place.at;
        self.open.as_ref().is_some_and(here)
    }

    /// Whether the entry at `place` was read.
    pub fn has_passed(&self, place: &Place) -> bool {
        let passed = |open: &Open| {
            open.number > place.id.segment
                || (open.number == place.id.segment && open.at >= place.end)
        };
        self.open.as_ref().map_or(self.last >= Some(place.id.segment), passed)
    }

    /// Goes on behind the entry at `place`, which the caller has.
    pub fn pass(&mut self, place: &Place) {
        if let Some(open) = self.open.as_mut().filter(|open| open.number == place.id.segment) {
            (open.at, open.next) = (place.end, place.id.index + 1);
        }
    }

    /// Whether there is nothing to read now.
    pub fn is_at_end(&self) -> bool {
        match &self.open {
            Some(open) => {
                let (len, closed) = self.table.extent(open.number);
                open.at >= len && !closed
            }
            None => self.table.after(self.last).is_none(),
        }
    }

    /// What stands next, on the way from which nothing comes twice. After an error the segment at
    /// which it stood is passed over, and stays.
    pub fn advance(&mut self) -> io::Result<Next> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.table.after(self.last) {
                    None => return Ok(Next::End),
                    Some(number) => {
                        self.last = Some(number);
                        match self.begin(number).inspect_err(|_| self.keep(number))? {
                            Ok(open) => open,
                            Err(damage) => return Ok(Next::Damage(damage)),
                        }
                    }
                },
            };
            let (len, closed) = self.table.extent(open.number);
            if open.at >= len {
                if !closed {
                    self.open = Some(open);
                    return Ok(Next::End);
                }
                self.table.read(open.number);
                continue;
            }
            let number = open.number;
            let step = self.step(&mut open, len).inspect_err(|_| self.keep(number))?;
            self.open = Some(open);
            if let Some(next) = step {
                return Ok(next);
            }
        }
    }

    /// Lets a segment stay that cannot be read, for a later process to try.
    fn keep(&self, number: u32) {
        self.table.begin(Id { segment: number, index: u32::MAX });
        self.table.read(number);
    }

    /// A segment, or what is to be said of one in which nothing is.
    fn begin(&self, number: u32) -> io::Result<Result<Open, Damage>> {
        let file = self.table.storage.open(&segment_name(number))?;
        let mut head = [0; HEADER + 8];
        let read = file.read_at(0, &mut head)?;
        let known = head.get(..read.min(HEADER)).map(record::read_header);
        let salt = match known {
            Some(Ok(header)) => header.salt,
            // Its first record tells the salt too, if it is whole; zeros are no salt.
            _ => head.last_chunk::<8>().map_or(0, |salt| u64::from_le_bytes(*salt)),
        };
        let at = if matches!(known, Some(Ok(_))) { HEADER as u64 } else { 0 };
        let mut open = Open { number, file, salt, at, next: 0 };
        let (len, _) = self.table.extent(number);
        if at == 0 && len > 0 {
            let damage = self.resync(&mut open, len)?;
            if open.at >= len {
                self.table.read(number);
                return Ok(Err(damage));
            }
        }
        Ok(Ok(open))
    }

    /// Reads one record, or passes one piece of damage. `None` if there is nothing to say.
    fn step(&self, open: &mut Open, len: u64) -> io::Result<Option<Next>> {
        let Some(found) = record_at(open, open.at, len)? else {
            return Ok(Some(Next::Damage(self.resync(open, len)?)));
        };
        open.at += (FRAME + found.content.len()) as u64;
        let Kind::Entry(signal) = found.kind else { return Ok(None) };
        open.next = found.index.saturating_add(1);
        let id = Id { segment: open.number, index: found.index };
        let owed = if self.is_old(id) { self.table.owed(id) } else { self.table.ways() };
        if owed.is_empty() {
            return Ok(None);
        }
        let (items, bytes) = (found.items as usize, found.content);
        Ok(Some(Next::Entry(Stored { id, signal, items, bytes, owed })))
    }

    /// Passes damage up to the next whole record or the end, and keeps a copy of it.
    fn resync(&self, open: &mut Open, len: u64) -> io::Result<Damage> {
        let from = open.at;
        let (to, missing) = match next_record(open, from + 1, len)? {
            Some((at, found)) => (at, found.index.saturating_sub(open.next)),
            None => (len, 0),
        };
        (open.at, open.next) = (to, open.next + missing);
        let torn = to == len && open.number < self.own;
        let bytes = to - from;
        let damage =
            Damage { segment: open.number, at: from, bytes, missing: missing.into(), torn };
        if !torn && self.table.may_keep(bytes) {
            self.quarantine(open, &damage)?;
        }
        Ok(damage)
    }

    /// Copies damage into a file of its own. That there is one already is from an earlier start.
    fn quarantine(&self, open: &Open, damage: &Damage) -> io::Result<()> {
        let name = format!("{:08}-{}.damaged", damage.segment, damage.at);
        let Ok(mut copy) = self.table.storage.create(&name) else { return Ok(()) };
        let (mut at, end) = (damage.at, damage.at + damage.bytes);
        let mut chunk = vec![0; limits::JOURNAL_READ_BYTES];
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(chunk.len());
            let read = open.file.read_at(at, chunk.get_mut(..want).unwrap_or_default())?;
            if read == 0 {
                break;
            }
            copy.write_at(at - damage.at, chunk.get(..read).unwrap_or_default())?;
            at += read as u64;
        }
        copy.sync()
    }
}

/// The whole record at `at`, if there is one that ends before `len`.
fn record_at(open: &Open, at: u64, len: u64) -> io::Result<Option<Found>> {
    let mut head = [0; FRAME];
    if at + FRAME as u64 > len || open.file.read_at(at, &mut head)? < FRAME {
        return Ok(None);
    }
    let frame = record::read_frame(&head, open.salt);
    let Some(frame) = frame.filter(|frame| at + (FRAME + frame.len) as u64 <= len) else {
        return Ok(None);
    };
    let mut content = vec![0; frame.len];
    let read = open.file.read_at(at + FRAME as u64, &mut content)?;
    let whole = read == frame.len && frame.holds(&content);
    let (kind, index, items) = (frame.kind, frame.index, frame.items);
    Ok(whole.then_some(Found { kind, index, items, content }))
}

/// The first whole record from `from` on, and where it stands.
fn next_record(open: &Open, from: u64, len: u64) -> io::Result<Option<(u64, Found)>> {
    if open.salt == 0 {
        return Ok(None);
    }
    let salt = open.salt.to_le_bytes();
    let mut chunk = vec![0; limits::JOURNAL_READ_BYTES];
    let mut at = from;
    while at < len {
        let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(chunk.len());
        let read = open.file.read_at(at, chunk.get_mut(..want).unwrap_or_default())?;
        let seen = chunk.get(..read).unwrap_or_default();
        for place in memchr::memmem::find_iter(seen, &salt) {
            let place = at + place as u64;
            if let Some(found) = record_at(open, place, len)? {
                return Ok(Some((place, found)));
            }
        }
        if read < want || read <= salt.len() || at + read as u64 >= len {
            break;
        }
        // A salt may stand across two chunks.
        at += (read - salt.len() + 1) as u64;
    }
    Ok(None)
}
