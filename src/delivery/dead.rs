//! Dead letters: requests that a backend refused for good, whole, each with the reason beside it.
//!
//! A letter is two files: `<time>-<n>.<signal>.otlp`, the request as it was sent, and the same name
//! with `.json` that says who refused it and why. `spanloom replay` sends them again. The bound
//! is on all of them together; what does not fit is dropped by the rule `dead_letters_full`.

use crate::exporters::Payload;
use crate::journal;
use crate::limits;
use crate::moment::Moment;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The letters of all exporters that share a directory.
pub struct DeadLetters {
    directory: PathBuf,
    limit: u64,
    bytes: Mutex<Bytes>,
    /// Tells letters of one moment apart.
    next: AtomicU64,
}

/// What the letters take.
#[derive(Default)]
struct Bytes {
    /// Of all letters, those under way included.
    all: u64,
    /// Of those that are being written.
    under_way: u64,
    /// When they were last counted.
    counted: Moment,
}

impl DeadLetters {
    /// The letters in `directory`, at most `limit` bytes of them.
    pub fn open(directory: &Path, limit: u64) -> Result<Arc<DeadLetters>, String> {
        journal::create(directory)?;
        let failed = |e: io::Error| format!("cannot read {}: {e}", directory.display());
        let all = count(directory).map_err(failed)?;
        Ok(Arc::new(DeadLetters {
            directory: directory.to_owned(),
            limit,
            bytes: Mutex::new(Bytes { all, ..Bytes::default() }),
            next: AtomicU64::new(0),
        }))
    }

    /// Bytes that all letters take.
    pub fn bytes(&self) -> u64 {
        self.state().all
    }

    /// Keeps `payload`, which `exporter` could not deliver for `reason`. `false` if there is no
    /// room. Blocks until the letter is on disk.
    pub fn keep(
        &self,
        exporter: &str,
        payload: &Payload,
        reason: &str,
        now: Moment,
    ) -> io::Result<bool> {
        let time = now.unix_nanos;
        let about = json!({
            "exporter": exporter,
            "signal": payload.signal.name(),
            "items": payload.items,
            "time_unix_nano": time.to_string(),
            "reason": reason,
        });
        let about = format!("{about}\n");
        let size = (payload.size() + about.len()) as u64;
        if !self.take_room(size, now)? {
            return Ok(false);
        }
        let n = self.next.fetch_add(1, Relaxed);
        let name = format!("{:013}-{n:04}.{}", time / 1_000_000, payload.signal.name());
        let written = self.write(&name, payload, &about);
        let mut bytes = self.state();
        bytes.under_way -= size;
        if written.is_err() {
            bytes.all -= size;
        }
        written.map(|()| true)
    }

    /// Takes `size` bytes of the bound, if they are there. Others make room, such as `replay`: so
    /// at the bound the letters are counted again, now and then.
    fn take_room(&self, size: u64, now: Moment) -> io::Result<bool> {
        let mut bytes = self.state();
        let is_full = |bytes: &Bytes| bytes.all.saturating_add(size) > self.limit;
        if is_full(&bytes) && now.since(bytes.counted) >= limits::DEAD_LETTER_COUNT {
            // What is under way may be among them, and counts twice until the next time.
            (bytes.all, bytes.counted) = (count(&self.directory)? + bytes.under_way, now);
        }
        if is_full(&bytes) {
            return Ok(false);
        }
        bytes.all += size;
        bytes.under_way += size;
        Ok(true)
    }

    fn state(&self) -> MutexGuard<'_, Bytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reason first: a request without one is not a letter yet, and one is never half there.
    fn write(&self, name: &str, payload: &Payload, about: &str) -> io::Result<()> {
        let path = |suffix: &str| self.directory.join(format!("{name}.{suffix}"));
        let create =
            |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let (reason, part) = (path("json"), path("part"));
        let write = || {
            let mut file = create(&reason)?;
            file.write_all(about.as_bytes())?;
            file.sync_data()?;
            let mut file = create(&part)?;
            payload.segments.iter().try_for_each(|segment| file.write_all(segment))?;
            file.sync_data()?;
            std::fs::rename(&part, path("otlp"))
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&part);
            let _ = std::fs::remove_file(&reason);
        })?;
        std::fs::File::open(&self.directory)?.sync_all()
    }
}

/// Bytes of all files in `directory`. Those that go meanwhile are none.
fn count(directory: &Path) -> io::Result<u64> {
    let entries = std::fs::read_dir(directory)?;
    Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use bytes::Bytes;

    #[test]
    fn letters_are_whole_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("a/b");
        let letters = DeadLetters::open(&directory, 400).unwrap();
        let segments = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let payload = Payload { signal: Signal::Traces, segments, items: 2 };
        let mut kept = 0;
        let mut now = Moment::default().plus(limits::DEAD_LETTER_COUNT);
        let keep = |now| letters.keep("otlp_http", &payload, "400: no", now).unwrap();
        while keep(now) {
            kept += 1;
        }
        assert!(kept >= 2 && letters.bytes() <= 400);
        let names: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        let requests = names.iter().filter(|name| name.extension().unwrap() == "otlp");
        assert_eq!(requests.clone().count(), kept);
        for name in requests {
            assert_eq!(std::fs::read(name).unwrap(), b"onetwo");
            let about = std::fs::read_to_string(name.with_extension("json")).unwrap();
            assert!(about.contains("400: no"), "{about}");
        }
        // Those that somebody takes away make room, as soon as they are counted again.
        names.iter().for_each(|name| std::fs::remove_file(name).unwrap());
        assert!(!keep(now), "they were just counted");
        now = now.plus(limits::DEAD_LETTER_COUNT);
        assert!(keep(now) && keep(now));
        // The next process counts what is there.
        assert_eq!(DeadLetters::open(&directory, 400).unwrap().bytes(), letters.bytes());
    }
}
