//! From edits to a plan: what to write, piece by piece, and how long each message becomes.
//!
//! A length stands before what it counts, and is written in the fewest bytes: hence everything is
//! counted before anything is written. The walk touches the fields of those messages alone that
//! have edits inside.

use super::wire::{Message, varint, varint_len};
use std::ops::Range;

/// One edit of a request.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// Where the message starts that the edit belongs to.
    pub message: u32,
    /// What is left out; for an appendix, empty and at the message's start.
    pub at: u32,
    pub end: u32,
    /// What is put in its place: a range of the arena.
    pub new: (u32, u32),
    pub append: bool,
    /// Items that are left out.
    pub items: u32,
}

impl Edit {
    /// Its place among others, from first to last.
    pub fn key(&self) -> u64 {
        u64::from(self.at) << 1 | u64::from(!self.append)
    }
}

/// What to write.
pub struct Plan {
    pub pieces: Vec<Piece>,
    /// Bytes of all of it.
    pub size: usize,
}

/// A piece of the new request.
#[derive(Clone, Copy)]
pub enum Piece {
    /// A range of the old one.
    Kept(u32, u32),
    /// A range of the arena.
    New((u32, u32)),
    /// The length of the message that follows.
    Length(u32),
}

/// The walk that turns edits into a plan.
pub struct Pass<'a> {
    bytes: &'a [u8],
    /// In order of their keys.
    edits: &'a [Edit],
    /// The next edit.
    next: usize,
    pieces: Vec<Piece>,
    pub removed_items: usize,
}

/// What stands next in a message.
enum Step {
    /// An edit of one of its fields.
    Here(Edit),
    /// A field of the message with edits inside: its payload.
    Inside { payload: usize, end: usize },
    /// No more edits in the message.
    Rest,
}

impl<'a> Pass<'a> {
    /// A walk over the request `bytes`, with edits in order of their keys.
    pub fn new(bytes: &'a [u8], edits: &'a [Edit]) -> Pass<'a> {
        let pieces = Vec::with_capacity(edits.len() * 4);
        Pass { bytes, edits, next: 0, pieces, removed_items: 0 }
    }

    /// What was planned, `size` bytes of it.
    pub fn plan(&mut self, size: usize) -> Plan {
        Plan { pieces: std::mem::take(&mut self.pieces), size }
    }

    /// Plans the message `start..end`; yields its new size.
    pub fn message(&mut self, start: usize, end: usize) -> usize {
        let first = self.next;
        let own = |edit: &&Edit| edit.append && edit.message as usize == start;
        self.next += self.edits.iter().skip(first).take_while(own).count();
        let appended = first..self.next;
        let size = self.fields(start, start, end);
        size + self.put_all(appended)
    }

    /// Plans what is kept from `from` on, and behind it the field at `at`, of which what is planned
    /// until [`Pass::close`] is the payload. Yields its place in the plan, and the size so far.
    pub fn open(&mut self, from: usize, at: usize) -> (usize, usize) {
        let kept = self.keep(from, tag_end(self.bytes, at));
        self.pieces.push(Piece::Length(0));
        (self.pieces.len() - 1, kept)
    }

    /// Ends the field that was opened, with `body` bytes in it; yields the size of all since then.
    pub fn close(&mut self, (place, kept): (usize, usize), body: usize) -> usize {
        if let Some(length) = self.pieces.get_mut(place) {
            *length = Piece::Length(body as u32);
        }
        kept + varint_len(body as u64) + body
    }

    /// Plans the fields `from..to` of the message at `start`, wherever the walk is; yields their
    /// new size.
    pub fn part(&mut self, start: usize, from: usize, to: usize) -> usize {
        self.next = self.edits.partition_point(|edit| edit.key() < (from as u64) << 1 | 1);
        self.fields(start, from, to)
    }

    /// Plans what is appended to the message at `start`; yields the size of that.
    pub fn appendices(&mut self, start: usize) -> usize {
        let key = (start as u64) << 1;
        let first = self.edits.partition_point(|edit| edit.key() < key);
        let end = self.edits.partition_point(|edit| edit.key() <= key);
        self.put_all(first..end)
    }

    /// Plans the fields `from..to` of the message at `start`, in which the next edit stands.
    fn fields(&mut self, start: usize, from: usize, to: usize) -> usize {
        let (mut size, mut at, mut kept) = (0, from, from);
        loop {
            match self.step(start, to, &mut at) {
                Step::Here(edit) => {
                    size += self.keep(kept, edit.at as usize) + self.put(&edit);
                    self.removed_items += edit.items as usize;
                    kept = edit.end as usize;
                    at = kept;
                    self.skip_inside(&edit);
                }
                Step::Inside { payload, end } => {
                    let field = self.open(kept, at);
                    let body = self.message(payload, end);
                    size += self.close(field, body);
                    (kept, at) = (end, end);
                }
                Step::Rest => break,
            }
        }
        size + self.keep(kept, to)
    }

    /// The next step in the fields up to `end` of the message at `start`, of which all before `at`
    /// is done.
    fn step(&mut self, start: usize, end: usize, at: &mut usize) -> Step {
        let Some(edit) = self.edits.get(self.next).copied() else {
            return Step::Rest;
        };
        let place = edit.at as usize;
        // An appendix may stand at the very end: that of an empty message. No message outside
        // this one can start there, for its tag would have to stand before.
        if place > end || (place == end && !edit.append) {
            return Step::Rest;
        }
        if edit.message as usize == start {
            self.next += 1;
            return Step::Here(self.last_of(edit));
        }
        // The edit stands in some field of this message: find it, field by field.
        while *at < end {
            let Some((payload, next)) = field_bounds(self.bytes, *at) else {
                return Step::Rest;
            };
            // An empty message starts at its end, which may be the end of those around it too.
            if place < next || (place == next && edit.append) {
                return Step::Inside { payload, end: next };
            }
            *at = next;
        }
        Step::Rest
    }

    /// The last edit of the field that `edit` is of; those before it are passed over.
    fn last_of(&mut self, mut edit: Edit) -> Edit {
        while let Some(next) = self.edits.get(self.next).copied() {
            if next.append || next.at != edit.at {
                break;
            }
            self.next += 1;
            edit = next;
        }
        edit
    }

    /// Passes over the edits inside what a removal leaves out.
    fn skip_inside(&mut self, edit: &Edit) {
        let inside = |e: &Edit| e.at < edit.end || (e.append && e.at == edit.end);
        while self.edits.get(self.next).is_some_and(inside) {
            self.next += 1;
        }
    }

    fn keep(&mut self, from: usize, to: usize) -> usize {
        if from < to {
            self.pieces.push(Piece::Kept(from as u32, to as u32));
        }
        to - from
    }

    fn put(&mut self, edit: &Edit) -> usize {
        self.pieces.push(Piece::New(edit.new));
        (edit.new.1 - edit.new.0) as usize
    }

    fn put_all(&mut self, edits: Range<usize>) -> usize {
        let edits = self.edits.get(edits).unwrap_or_default();
        edits.iter().map(|edit| self.put(edit)).sum()
    }
}

/// The payload's start and the end of the field at `at`.
fn field_bounds(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = Message { bytes: bytes.get(at..)?, start: at };
    let field = rest.fields().next()?;
    Some((field.end - field.bytes().len(), field.end))
}

/// The offset behind the tag at `at`.
fn tag_end(bytes: &[u8], at: usize) -> usize {
    varint(bytes, at).map_or(at, |(_, end)| end)
}
