//! The journal: what was acknowledged, on disk until everybody has it.
//!
//! A directory of segments, each a file to whose end records are added:
//!
//! ```text
//! segment = header record*
//! header  = "spanloom"  version u32  number u32  salt u64  crc u32
//! record  = salt u64  length u32  crc u32  index u32  items u32  kind u32  content
//!           kind 1 traces, 2 logs, 3 metrics: content is an OTLP export request
//!           kind 255 end: index is the number of entries, nothing follows
//! release = way u32  segment u32  first u32  last u32  crc u32
//! ```
//!
//! Little endian; each crc is CRC-32 of what surrounds it. An entry is named by its segment and its
//! index. Beside the segments, `.releases` files say which entries left by which way out of the
//! pipeline; they are not synced with each release, for to lose one costs a duplicate and nothing
//! else.
//!
//! Invariants:
//! - [`Log::commit`] returns when its entries are on disk, in a file whose name is.
//! - A file whose write or sync has failed is never written again: the entries of that commit are
//!   taken back, and the next go to a new file.
//! - Segments are removed oldest first, once all that is in them has left. A release stands in a
//!   file that is removed no earlier than the segment that it speaks of.
//! - Every start begins a segment of its own, so entries are taken before the old ones are read.
//! - Damage costs what is damaged: the reader goes on at the next whole record, counts what is
//!   missing, and keeps a copy of the bytes.
//!
//! Absent: maps of files into memory, whose errors are signals; compaction, since a queue that is
//! emptied in order needs none; and room that is filled with zeros ahead of need, which makes one
//! sync faster and the whole slower, since all is written twice (figures in `docs/delivery.md`).

mod files;
mod log;
mod open;
mod reader;
pub mod record;
mod releases;
mod resident;
mod storage;
mod table;

pub use files::{Directory, create};
pub use log::{Entry, Log, Place};
pub use open::{Opened, Settings, open};
pub use reader::{Damage, Next, Reader, Stored};
pub use resident::Resident;
pub use storage::{File, Storage};
pub use table::{Table, Ways};

/// An entry's name: its segment, and its place among the entries there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub segment: u32,
    pub index: u32,
}
