//! Dead letters: requests that a backend refused for good, whole, each with the reason beside it.
//!
//! A letter is two files: `<time>-<n>.<signal>.otlp`, the request as it was sent, and the same name
//! with `.json` that says who refused it and why. `spanloom replay` sends them again. The bound
//! is on all of them together; what does not fit is dropped by the rule `dead_letters_full`.

use crate::clock;
use crate::exporters::Payload;
use crate::journal;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The letters of all exporters that share a directory.
pub struct DeadLetters {
    directory: PathBuf,
    limit: u64,
    bytes: AtomicU64,
    /// Tells letters of one moment apart.
    next: AtomicU64,
}

impl DeadLetters {
    /// The letters in `directory`, at most `limit` bytes of them.
    pub fn open(directory: &Path, limit: u64) -> Result<Arc<DeadLetters>, String> {
        journal::create(directory)?;
        let failed = |e: io::Error| format!("cannot read {}: {e}", directory.display());
        let mut bytes = 0;
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.and_then(|entry| entry.metadata()).map_err(failed)?;
            bytes += entry.len();
        }
        Ok(Arc::new(DeadLetters {
            directory: directory.to_owned(),
            limit,
            bytes: AtomicU64::new(bytes),
            next: AtomicU64::new(0),
        }))
    }

    /// Bytes that all letters take.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Keeps `payload`, which `exporter` could not deliver for `reason`. `false` if there is no
    /// room. Blocks until the letter is on disk.
    pub fn keep(&self, exporter: &str, payload: &Payload, reason: &str) -> io::Result<bool> {
        let time = clock::now().unix_nanos;
        let about = json!({
            "exporter": exporter,
            "signal": payload.signal.name(),
            "items": payload.items,
            "time_unix_nano": time.to_string(),
            "reason": reason,
        });
        let about = format!("{about}\n");
        let size = (payload.size() + about.len()) as u64;
        let fits = |bytes: u64| bytes.checked_add(size).filter(|bytes| *bytes <= self.limit);
        if self.bytes.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return Ok(false);
        }
        let n = self.next.fetch_add(1, Relaxed);
        let name = format!("{:013}-{n:04}.{}", time / 1_000_000, payload.signal.name());
        let written = self.write(&name, payload, &about);
        if written.is_err() {
            self.bytes.fetch_sub(size, Relaxed);
        }
        written.map(|()| true)
    }

    /// The reason first: a request without one is not a letter yet, and one is never half there.
    fn write(&self, name: &str, payload: &Payload, about: &str) -> io::Result<()> {
        let path = |suffix: &str| self.directory.join(format!("{name}.{suffix}"));
        let create =
            |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = create(&path("json"))?;
        file.write_all(about.as_bytes())?;
        file.sync_data()?;
        let part = path("part");
        let written = create(&part).and_then(|mut file| {
            payload.segments.iter().try_for_each(|segment| file.write_all(segment))?;
            file.sync_data()
        });
        written.and_then(|()| std::fs::rename(&part, path("otlp"))).inspect_err(|_| {
            let _ = std::fs::remove_file(&part);
            let _ = std::fs::remove_file(path("json"));
        })?;
        std::fs::File::open(&self.directory)?.sync_all()
    }
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
        while letters.keep("otlp_http", &payload, "400: no").unwrap() {
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
        // The next process counts what is there.
        assert_eq!(DeadLetters::open(&directory, 400).unwrap().bytes(), letters.bytes());
    }
}
