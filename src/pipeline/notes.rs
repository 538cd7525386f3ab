//! What is counted and said of a journal.

use crate::clock;
use crate::journal::Damage;
use crate::limits;
use crate::moment::Moment;
use crate::telemetry::{Counter, Gauge, Registry};
use std::io;
use std::sync::{Mutex, PoisonError};
use tracing::{error, info, warn};

pub struct Notes {
    pipeline: String,
    commits: Counter,
    entries: Counter,
    failed: Counter,
    refused: Counter,
    torn: Counter,
    damaged: Counter,
    missing: Counter,
    unreleased: Counter,
    bytes: Gauge,
    said: Mutex<Said>,
}

/// When the log last said of each trouble that it lasts.
#[derive(Default)]
struct Said {
    refused: Option<Moment>,
    failed: Option<Moment>,
    unreleased: Option<Moment>,
    broken: bool,
}

impl Notes {
    pub fn new(pipeline: &str, registry: &Registry) -> Notes {
        let counter = |name: &str, help: &str| {
            let name = format!("spanloom_journal_{name}");
            registry.counter(&name, help, &[("pipeline", pipeline)])
        };
        let help = "bytes of the journal on disk";
        let bytes = registry.gauge("spanloom_journal_bytes", help, &[("pipeline", pipeline)]);
        Notes {
            bytes,
            pipeline: pipeline.to_owned(),
            commits: counter("commits", "groups of requests that were written and synced"),
            entries: counter("entries", "requests in them"),
            failed: counter("failed_commits", "groups that could not be written or synced"),
            refused: counter("refused_items", "items that found no room on disk, or no disk"),
            torn: counter("torn_bytes", "bytes that were being written when the process ended"),
            damaged: counter("damaged_bytes", "bytes that were no records any more"),
            missing: counter("missing_entries", "entries that were lost to damage"),
            unreleased: counter("failed_releases", "times that a release could not be written"),
            said: Mutex::default(),
        }
    }

    /// The journal takes so many bytes.
    pub fn size(&self, bytes: u64) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn committed(&self, entries: usize) {
        self.commits.add(1);
        self.entries.add(entries);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut said.broken) {
            info!(pipeline = self.pipeline, "the journal is written again");
        }
    }

    pub fn failed(&self, why: &str) {
        self.failed.add(1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if due(&mut said.failed) {
            said.broken = true;
            error!(pipeline = self.pipeline, "{why}; clients are told to come back");
        }
    }

    pub fn refused(&self, items: usize, why: &str) {
        self.refused.add(items);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if due(&mut said.refused) {
            warn!(pipeline = self.pipeline, "clients are told to come back: {why}");
        }
    }

    pub fn damaged(&self, damage: &Damage) {
        let bytes = usize::try_from(damage.bytes).unwrap_or(usize::MAX);
        let Damage { segment, at, missing, torn, .. } = *damage;
        if torn {
            self.torn.add(bytes);
            info!(
                pipeline = self.pipeline,
                "the last {bytes} bytes of segment {segment} were being written when the process \
                 before this one ended"
            );
            return;
        }
        self.damaged.add(bytes);
        self.missing.add(usize::try_from(missing).unwrap_or(usize::MAX));
        error!(
            pipeline = self.pipeline,
            "the journal is damaged: {bytes} bytes at {at} of segment {segment} are no entries, \
             {missing} entries are missing; a copy of the bytes is in the `.damaged` file beside it"
        );
    }

    pub fn unreadable(&self, error: &io::Error) {
        error!(
            pipeline = self.pipeline,
            "a segment of the journal cannot be read, and stays for the next start: {error}"
        );
    }

    pub fn malformed(&self, items: usize, why: &str) {
        error!(
            pipeline = self.pipeline,
            "an entry of {items} items in the journal is no request any more: {why}"
        );
    }

    pub fn not_released(&self, error: &io::Error) {
        self.unreleased.add(1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if due(&mut said.unreleased) {
            warn!(
                pipeline = self.pipeline,
                "what was delivered cannot be written down, and may be delivered again after a \
                 restart: {error}"
            );
        }
    }
}

/// Whether it is time for a line of this trouble again.
fn due(said: &mut Option<Moment>) -> bool {
    let now = clock::now();
    let due = said.is_none_or(|said| now.since(said) >= limits::LOG_PAUSE);
    if due {
        *said = Some(now);
    }
    due
}
