//! One file that is read as it grows. Everything here blocks and is called on threads for that.
//!
//! The file stays open, so what was renamed or deleted is read to its end. Only the place of the
//! next record is remembered, and the bytes before it: if they are no longer the same, somebody
//! has written the file anew and it is read from its beginning.

use crate::limits;
use crate::transport::record::{Form, PREFIX, frame_length};
use bytes::Bytes;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A record, or what stands in the place of one.
#[derive(Debug)]
pub(super) struct Record {
    /// For people: `traces.jsonl:12`.
    pub(super) place: String,
    pub(super) form: Form,
    /// The line without its end, the message without its length; else what is wrong.
    pub(super) content: Result<Bytes, String>,
}

/// Whether the last line counts that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unfinished {
    /// Its writer may not be done.
    Waits,
    /// It counts if it is a whole request, as `fits` says.
    Counts { fits: fn(&Bytes) -> bool },
    /// Nobody will finish it.
    Ends,
}

/// A file, and how far it was read.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) path: PathBuf,
    pub(super) id: Id,
    file: File,
    /// Bytes of the largest record that is taken.
    max: usize,
    /// Known from the first byte on.
    form: Option<Form>,
    /// Where the next record begins.
    at: u64,
    /// The number of the next record, if they were counted from the first.
    number: Option<u64>,
    before: Vec<u8>,
    /// Within a line that is too long.
    skips: bool,
    /// The records cannot be told apart any more.
    lost: bool,
}

/// Device and inode: what stays the same when a file is renamed.
pub(super) type Id = (u64, u64);

/// Bytes before the next record that are remembered.
const BEFORE: usize = 64;

/// The identity of a file.
pub(super) fn id(metadata: &Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

impl Tail {
    /// Opens the file, to be read from its beginning or from its present end.
    pub(super) fn open(path: &Path, max: usize, from_end: bool) -> io::Result<Tail> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut tail = Tail {
            path: path.to_owned(),
            id: id(&metadata),
            file,
            max,
            form: None,
            at: 0,
            number: Some(1),
            before: vec![],
            skips: false,
            lost: false,
        };
        if from_end && metadata.len() > 0 {
            let form = tail.form()?;
            tail.at = form.whole(&mut tail.file, metadata.len())?;
            tail.number = None;
            tail.remember()?;
        }
        Ok(tail)
    }

    /// Begins anew.
    pub(super) fn rewind(&mut self) {
        self.form = None;
        self.at = 0;
        self.number = Some(1);
        self.before.clear();
        self.skips = false;
        self.lost = false;
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether all of the file is read that is there.
    pub(super) fn is_at_end(&self) -> bool {
        self.lost || self.len().is_ok_and(|len| len <= self.at)
    }

    /// The next records: up to [`limits::FILE_BATCH_BYTES`] of them, or one that is larger; none
    /// at the end.
    pub(super) fn read(&mut self, unfinished: Unfinished) -> io::Result<Vec<Record>> {
        let len = self.len()?;
        if len < self.at || (len > self.at && !self.is_as_it_was()?) {
            tracing::info!(path = %self.path.display(), "written anew; read from its beginning");
            self.rewind();
        }
        if self.lost || len <= self.at {
            return Ok(vec![]);
        }
        let mut found = vec![];
        match self.form()? {
            Form::Lines => self.lines(len, unfinished, &mut found)?,
            Form::Frames => self.frames(len, unfinished, &mut found)?,
        }
        self.remember()?;
        Ok(found)
    }

    fn form(&mut self) -> io::Result<Form> {
        if let Some(form) = self.form {
            return Ok(form);
        }
        let mut first = [0];
        self.file.read_exact_at(&mut first, 0)?;
        let [first] = first;
        Ok(*self.form.insert(Form::of(first)))
    }

    fn is_as_it_was(&self) -> io::Result<bool> {
        let now = self.bytes(self.at - self.before.len() as u64, self.before.len())?;
        Ok(now == self.before)
    }

    fn remember(&mut self) -> io::Result<()> {
        let count = BEFORE.min(usize::try_from(self.at).unwrap_or(BEFORE));
        self.before = self.bytes(self.at - count as u64, count)?;
        Ok(())
    }

    /// At most `count` bytes from `at` on; fewer at the end.
    fn bytes(&self, at: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// `content` as the next record, which with what surrounds it takes `bytes`.
    fn push(&mut self, content: Result<Bytes, String>, bytes: u64, found: &mut Vec<Record>) {
        if !matches!(&content, Ok(content) if content.iter().all(u8::is_ascii_whitespace)) {
            let form = self.form.unwrap_or(Form::Lines);
            found.push(Record { place: self.place(), form, content });
        }
        self.at += bytes;
        self.number = self.number.map(|number| number + 1);
    }

    fn place(&self) -> String {
        let path = self.path.display();
        match (self.number, self.form) {
            (Some(number), Some(Form::Frames)) => format!("{path}, message {number}"),
            (Some(number), _) => format!("{path}:{number}"),
            (None, _) => format!("{path}, byte {}", self.at),
        }
    }

    fn too_long(&self) -> String {
        format!("is longer than {} bytes; raise max_log_size or write smaller batches", self.max)
    }

    fn lines(&mut self, len: u64, rest: Unfinished, found: &mut Vec<Record>) -> io::Result<()> {
        if self.skips && !self.skip_line(len)? {
            return Ok(());
        }
        let mut count = limits::FILE_BATCH_BYTES;
        let chunk = loop {
            let chunk = Bytes::from(self.bytes(self.at, count)?);
            let ended = chunk.contains(&b'\n') || chunk.len() < count;
            if ended || chunk.len() > self.max {
                break chunk;
            }
            count = (count * 2).min(self.max + 1).max(count + 1);
        };
        let mut start = 0;
        for end in chunk.iter().enumerate().filter(|(_, c)| **c == b'\n').map(|(at, _)| at) {
            let line = chunk.slice(start..end);
            let content = if line.len() > self.max { Err(self.too_long()) } else { Ok(line) };
            self.push(content, (end + 1 - start) as u64, found);
            start = end + 1;
        }
        let line = chunk.slice(start..);
        if line.len() > self.max {
            self.push(Err(self.too_long()), line.len() as u64, found);
            self.skips = true;
        } else if !line.is_empty() && self.at + line.len() as u64 >= len && found.is_empty() {
            let counts = match rest {
                Unfinished::Waits => false,
                Unfinished::Counts { fits } => fits(&line),
                Unfinished::Ends => true,
            };
            if counts {
                let bytes = line.len() as u64;
                self.push(Ok(line), bytes, found);
            }
        }
        Ok(())
    }

    /// Passes over the rest of a line. Whether its end was there.
    fn skip_line(&mut self, len: u64) -> io::Result<bool> {
        while self.at < len {
            let chunk = self.bytes(self.at, limits::FILE_BATCH_BYTES)?;
            if let Some(end) = chunk.iter().position(|c| *c == b'\n') {
                self.at += end as u64 + 1;
                self.skips = false;
                return Ok(true);
            }
            if chunk.is_empty() {
                break;
            }
            self.at += chunk.len() as u64;
        }
        Ok(false)
    }

    fn frames(&mut self, len: u64, rest: Unfinished, found: &mut Vec<Record>) -> io::Result<()> {
        let mut taken = 0;
        while self.at < len && taken < limits::FILE_BATCH_BYTES {
            let prefix = self.bytes(self.at, PREFIX)?;
            let length = prefix.first_chunk().map(|prefix| frame_length(*prefix));
            let end = match length {
                None => len + 1,
                Some(Some(length)) => self.at + (PREFIX + length) as u64,
                Some(None) => {
                    self.lost = true;
                    let text = "no message begins here; the rest of the file cannot be read";
                    self.push(Err(text.to_owned()), 0, found);
                    return Ok(());
                }
            };
            if end > len {
                if matches!(rest, Unfinished::Ends) {
                    let text = "the file ends in the middle of it";
                    self.push(Err(text.to_owned()), len - self.at, found);
                }
                return Ok(());
            }
            let length = length.flatten().unwrap_or_default();
            let content = match length > self.max {
                true => Err(self.too_long()),
                false => Ok(Bytes::from(self.bytes(self.at + PREFIX as u64, length)?)),
            };
            self.push(content, end - self.at, found);
            taken += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use tempfile::TempDir;

    struct Fixture {
        folder: TempDir,
        tail: Option<Tail>,
    }

    fn append(path: &Path, bytes: &[u8]) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap().write_all(bytes).unwrap();
    }

    impl Fixture {
        fn new() -> Fixture {
            Fixture { folder: TempDir::new().unwrap(), tail: None }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("f")
        }

        /// Writes `bytes` behind what is there and reads.
        #[track_caller]
        fn after(&mut self, bytes: &[u8], unfinished: Unfinished, expected: &[&str]) {
            append(&self.path(), bytes);
            let path = self.path();
            let tail = self.tail.get_or_insert_with(|| Tail::open(&path, 20, false).unwrap());
            let mut found = vec![];
            loop {
                let some = tail.read(unfinished).unwrap();
                if some.is_empty() {
                    break;
                }
                found.extend(some.into_iter().map(|record| {
                    let place = record.place.rsplit('/').next().unwrap().to_owned();
                    match record.content {
                        Ok(content) => format!("{place} {}", String::from_utf8_lossy(&content)),
                        Err(text) => format!("{place} {text}"),
                    }
                }));
            }
            assert_eq!(found, expected);
        }
    }

    use Unfinished::{Counts, Ends, Waits};

    #[test]
    fn lines_come_as_they_are_finished() {
        let mut file = Fixture::new();
        file.after(b"", Waits, &[]);
        file.after(b"one\n\n two\r\nth", Waits, &["f:1 one", "f:3  two\r"]);
        file.after(b"", Counts { fits: |_| false }, &[]);
        file.after(b"ree\n", Waits, &["f:4 three"]);
        file.after(b"four", Counts { fits: |line| line.len() == 4 }, &["f:5 four"]);
        file.after(b"\nfive", Ends, &["f:7 five"]);
    }

    #[test]
    fn what_is_too_long_is_named_and_what_follows_is_read() {
        let long = "is longer than 20 bytes; raise max_log_size or write smaller batches";
        let mut file = Fixture::new();
        let text = format!("one\n{}\ntwo\n{}", "x".repeat(30), "y".repeat(30));
        file.after(
            text.as_bytes(),
            Waits,
            &["f:1 one", &format!("f:2 {long}"), "f:3 two", &format!("f:4 {long}")],
        );
        file.after(&[b'z'; 50], Waits, &[]);
        file.after(b"zz\nthree\n", Waits, &["f:5 three"]);
        let mut file = Fixture::new();
        let frames = [Form::Frames.record(vec![b'x'; 21]), Form::Frames.record(b"one".to_vec())];
        file.after(&frames.concat(), Waits, &[&format!("f, message 1 {long}"), "f, message 2 one"]);
    }

    #[test]
    fn lines_that_exceed_a_piece_are_whole() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("f");
        let long = vec![b'x'; 3 * limits::FILE_BATCH_BYTES];
        append(&path, &[b"a\n", &long[..], b"\nb\n"].concat());
        let mut tail = Tail::open(&path, limits::FILE_RECORD_BYTES, false).unwrap();
        let mut sizes = vec![];
        loop {
            let some = tail.read(Waits).unwrap();
            if some.is_empty() {
                break;
            }
            sizes.extend(some.into_iter().map(|record| record.content.unwrap().len()));
        }
        assert_eq!(sizes, [1, long.len(), 1]);
    }

    #[test]
    fn messages_come_as_they_are_whole() {
        let mut file = Fixture::new();
        let frame = |text: &str| Form::Frames.record(text.as_bytes().to_vec());
        let both = [frame("one"), frame("two")].concat();
        file.after(&both[..9], Waits, &["f, message 1 one"]);
        file.after(&both[9..], Waits, &["f, message 2 two"]);
        file.after(&frame("three")[..5], Ends, &["f, message 3 the file ends in the middle of it"]);
        let mut file = Fixture::new();
        let text = "f, message 2 no message begins here; the rest of the file cannot be read";
        file.after(&[&frame("one")[..], b"{\"a\":1}"].concat(), Waits, &["f, message 1 one", text]);
        file.after(&frame("two"), Waits, &[]);
    }

    #[test]
    fn the_end_is_behind_the_last_whole_record() {
        for (before, after, expected) in
            [("one\ntw", "o\n", "two"), ("one\n", "two\n", "two"), ("", "two\n", "two")]
        {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("f");
            append(&path, before.as_bytes());
            let mut tail = Tail::open(&path, 20, true).unwrap();
            append(&path, after.as_bytes());
            let found = tail.read(Waits).unwrap();
            let contents: Vec<_> = found.iter().map(|r| r.content.clone().unwrap()).collect();
            assert_eq!(contents, [expected], "{before:?}");
        }
    }

    #[test]
    fn what_is_written_anew_is_read_anew() {
        for anew in ["1\n", "anew one\nanew two\n"] {
            let mut file = Fixture::new();
            file.after(b"one\ntwo\n", Waits, &["f:1 one", "f:2 two"]);
            fs::write(file.path(), anew).unwrap();
            let lines = anew.lines().zip(1..).map(|(line, n)| format!("f:{n} {line}"));
            let lines: Vec<String> = lines.collect();
            file.after(b"", Waits, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_was_renamed_or_deleted_is_read_to_its_end() {
        let mut file = Fixture::new();
        file.after(b"one\n", Waits, &["f:1 one"]);
        let moved = file.folder.path().join("g");
        fs::rename(file.path(), &moved).unwrap();
        append(&moved, b"two\n");
        append(&file.path(), b"of another file\n");
        fs::remove_file(&moved).unwrap();
        file.after(b"", Waits, &["f:2 two"]);
    }
}
