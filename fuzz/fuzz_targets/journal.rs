//! Recovery of the journal from any bytes: it ends, it says nothing of memory that is not there, and
//! every entry that it finds stands in the file as it is.
//!
//! Of an input that is no segment the header is made right, or no fuzzer would come behind it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spanloom::journal::record::{HEADER, Header, header};
use spanloom::journal::{self, File, Next, Settings, Storage};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

type Content = Arc<Mutex<Vec<u8>>>;

/// Files in memory.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Content>>);

struct Handle(Content);

impl Storage for Memory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut files = self.0.lock().unwrap();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Content::default();
        files.insert(name.to_owned(), content.clone());
        Ok(Box::new(Handle(content)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let content = self.0.lock().unwrap().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Handle(content)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let rest = content.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let end = at as usize + bytes.len();
        let len = content.len().max(end);
        content.resize(len, 0);
        content[at as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The salt of seeds and of made headers.
const SALT: u64 = 0x6d6f_6f6c_6e61_7073;

fuzz_target!(|data: &[u8]| {
    let (kept, segment) = data.split_at(data.len().min(40));
    let mut bytes = segment.to_vec();
    if !bytes.starts_with(b"spanloom") {
        bytes.splice(..0, header(Header { segment: 1, salt: SALT }));
    }
    let storage = Arc::new(Memory::default());
    storage.create("00000001.segment").unwrap().write_at(0, &bytes).unwrap();
    storage.create("00000001.releases").unwrap().write_at(0, kept).unwrap();
    let settings = Settings::new(1 << 20, 1);
    let Ok(mut journal) = journal::open(storage, &["a", "b"], settings) else { return };
    let (mut at, mut steps) = (HEADER.min(bytes.len()), 0);
    loop {
        steps += 1;
        assert!(steps <= bytes.len() + 2, "it does not end");
        match journal.reader.advance().unwrap() {
            Next::Entry(stored) => {
                let rest = &bytes[at..];
                let place = rest.windows(stored.bytes.len().max(1)).position(|w| {
                    stored.bytes.is_empty() || w == stored.bytes
                });
                assert!(stored.bytes.is_empty() || place.is_some(), "it is not in the file");
                at += place.unwrap_or(0);
            }
            Next::Damage(damage) => assert!(damage.at + damage.bytes <= bytes.len() as u64),
            Next::End => return,
        }
    }
});
