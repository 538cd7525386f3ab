//! Finds what processes before this one have left.

use super::log::Log;
use super::reader::Reader;
use super::record::{self, BadHeader, HEADER, VERSION};
use super::releases::Releases;
use super::storage::{File, Storage};
use super::table::{Table, segment_name};
use crate::limits;
use std::io;
use std::sync::Arc;

/// What may differ between journals.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes that all segments may take together.
    pub limit: u64,
    /// Bytes from which on a segment is followed by the next.
    pub segment: u64,
    /// Of the salts of segments.
    pub seed: u64,
}

impl Settings {
    /// Segments are an eighth of the whole, so that room comes back piece by piece.
    pub fn new(limit: u64, seed: u64) -> Settings {
        let (least, most) = (limits::JOURNAL_SEGMENT_MIN, limits::JOURNAL_SEGMENT_MAX);
        Settings { limit, segment: (limit / 8).clamp(least, most), seed }
    }
}

/// The three hands of an open journal.
pub struct Opened {
    pub log: Log,
    pub reader: Reader,
    pub table: Arc<Table>,
}

/// Opens the journal in `storage`; `ways` are the names of the ways out of its pipeline. Only
/// names, headers and releases are read, so that it does not take longer the more there is.
pub fn open(
    storage: Arc<dyn Storage>,
    ways: &[&str],
    settings: Settings,
) -> Result<Opened, String> {
    let failed = |error: io::Error| format!("the journal cannot be read: {error}");
    let names = storage.names().map_err(failed)?;
    let numbers = |suffix: &str| {
        let stem = |name: &String| name.strip_suffix(suffix)?.split('-').next()?.parse().ok();
        let mut numbers: Vec<u32> = names.iter().filter_map(stem).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut segments = vec![];
    for number in numbers(".segment") {
        let len = checked(&*storage, number)?;
        segments.push((number, len));
    }
    let mut releases = Releases::default();
    for name in names.iter().filter(|name| name.ends_with(".releases")) {
        let file = storage.open(name).map_err(failed)?;
        releases.read(&content(&*file).map_err(failed)?);
    }
    releases.settle();
    let taken = [".segment", ".releases", ".damaged"].into_iter().filter_map(|s| numbers(s).pop());
    let next = taken.max().map_or(1, |last| last.saturating_add(1));
    let table = Table::new(storage, ways, settings.limit, &segments, releases, next);
    let table = Arc::new(table);
    let log = Log::new(table.clone(), next, settings.segment, settings.seed);
    let reader = Reader::new(table.clone(), next);
    Ok(Opened { log, reader, table })
}

/// The length of a segment, of this version or damaged.
fn checked(storage: &dyn Storage, number: u32) -> Result<u64, String> {
    let name = segment_name(number);
    let failed = |error: io::Error| format!("{name} of the journal cannot be read: {error}");
    let file = storage.open(&name).map_err(failed)?;
    let mut head = [0; HEADER];
    file.read_at(0, &mut head).map_err(failed)?;
    if let Err(BadHeader::Version(version)) = record::read_header(&head) {
        return Err(format!(
            "{name} of the journal is of format {version}, and this spanloom reads format \
             {VERSION}: let the version that wrote it deliver what is in it, or move the \
             directory away"
        ));
    }
    file.len().map_err(failed)
}

fn content(file: &dyn File) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(limits::JOURNAL_LEDGER_BYTES);
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
