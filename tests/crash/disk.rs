//! A disk that behaves as badly as it may: until a file is synced its bytes may be lost, torn at a
//! sector or be zeros with others behind them, and what they were written over may be there again,
//! sector by sector; until the directory is synced its names may come
//! and go one by one; writes and syncs fail, and a sync that failed has lost its bytes for good.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use spanloom::journal::{File, Storage};

/// What goes wrong, and at which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing more happens until the machine is started again.
    PowerCut,
    /// The operation fails; of a write, a part may be done.
    Io,
    /// What needs room fails for so many operations.
    Full(usize),
}

#[derive(Clone, Default)]
struct Content {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// Written since the last sync.
    dirty: Vec<Range<usize>>,
    /// Lost by a sync that failed: none after it makes them safe.
    doomed: Vec<Range<usize>>,
}

#[derive(Clone)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    operations: usize,
    faults: Vec<(usize, Fault)>,
    full_until: usize,
    /// Bytes of all files together.
    room: usize,
    off: bool,
    random: Rng,
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub fn new(seed: u64) -> Disk {
        let random = Rng::with_seed(seed);
        let (names, synced_names) = (BTreeMap::new(), BTreeMap::new());
        let (files, faults) = (vec![], vec![]);
        let (operations, full_until) = (0, 0);
        let state = State {
            files,
            names,
            synced_names,
            operations,
            faults,
            full_until,
            room: usize::MAX,
            off: false,
            random,
        };
        Disk(Arc::new(Mutex::new(state)))
    }

    /// Gives it room for so many bytes.
    pub fn holds(&self, room: usize) {
        self.state().room = room;
    }

    /// Lets `fault` happen after so many operations more.
    pub fn plan(&self, after: usize, fault: Fault) {
        let mut state = self.state();
        let at = state.operations + after;
        state.faults.push((at, fault));
    }

    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Starts the machine again, with what is left.
    pub fn restart(&self) {
        let mut state = self.state();
        state.off = false;
        state.full_until = 0;
        state.faults.clear();
        state.lose();
    }

    /// An independent copy without faults.
    pub fn copy(&self) -> Disk {
        let mut state = self.state().clone();
        state.faults.clear();
        state.full_until = 0;
        Disk(Arc::new(Mutex::new(state)))
    }

    /// What stands in a file now.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].now.clone()
    }

    /// Puts `bytes` in the place of a file's content.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let number = state.names[name];
        state.files[number] = Content { synced: bytes.clone(), now: bytes, ..Content::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What a power cut leaves.
    fn lose(&mut self) {
        let all: Vec<String> = self.names.keys().chain(self.synced_names.keys()).cloned().collect();
        for name in all {
            let (now, synced) = (self.names.get(&name), self.synced_names.get(&name));
            if now != synced {
                let kept = if self.random.bool() { now } else { synced };
                match kept.copied() {
                    Some(file) => self.names.insert(name, file),
                    None => self.names.remove(&name),
                };
            }
        }
        self.synced_names = self.names.clone();
        let random = &mut self.random;
        for file in &mut self.files {
            let sector = if random.bool() { 512 } else { 4096 };
            let kept = file.synced.len();
            if file.now.len() < kept {
                // Cut short, which may have come to pass or not.
                if random.bool() {
                    file.now = file.synced.clone();
                }
            } else {
                let mut end = random.usize(kept..=file.now.len());
                if random.bool() {
                    end = (end / sector * sector).max(kept);
                }
                file.now.truncate(end);
                let mut at = 0;
                while at < end {
                    let next = ((at / sector + 1) * sector).min(end);
                    let is_doomed = file.doomed.iter().any(|d| d.start < next && at < d.end);
                    let is_lost = random.u8(..) < 48 || (is_doomed && random.bool());
                    let old = at..next.min(kept);
                    if is_lost && !old.is_empty() {
                        file.now[old.clone()].copy_from_slice(&file.synced[old]);
                    }
                    if is_lost && next > kept {
                        file.now[at.max(kept)..next].fill(0);
                    }
                    at = next;
                }
            }
            *file =
                Content { synced: file.now.clone(), now: file.now.clone(), ..Content::default() };
        }
    }

    /// Counts an operation that needs room or not; what goes wrong with it.
    fn operate(&mut self, needs_room: bool) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        let due = self.faults.iter().position(|(at, _)| *at <= self.operations);
        match due.map(|due| self.faults.swap_remove(due).1) {
            Some(Fault::PowerCut) => {
                self.off = true;
                return Err(io::Error::other("the power is cut"));
            }
            Some(Fault::Io) => return Err(io::Error::other("input/output error")),
            Some(Fault::Full(time)) => self.full_until = self.operations + time,
            None => {}
        }
        if needs_room && self.operations < self.full_until {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.operate(true)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.files.len();
        state.files.push(Content::default());
        state.names.insert(name.to_owned(), number);
        Ok(Box::new(Handle { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let state = self.state();
        let number = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Handle { disk: self.clone(), number }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        state.names.remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        state.synced_names = state.names.clone();
        Ok(())
    }
}

struct Handle {
    disk: Disk,
    number: usize,
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.number].now.len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let now = &state.files[self.number].now;
        let rest = now.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let (at, len) = (at as usize, state.files[self.number].now.len());
        assert!(at <= len, "a hole");
        let more = (at + bytes.len()).saturating_sub(len);
        // To write over what is there needs no room.
        let mut fate = state.operate(more > 0);
        let taken: usize = state.names.values().map(|file| state.files[*file].now.len()).sum();
        let mut most = bytes.len();
        if fate.is_ok() && taken.saturating_add(more) > state.room {
            fate = Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
            most -= taken + more - state.room;
        }
        let written = if fate.is_ok() { most } else { state.random.usize(0..=most) };
        let file = &mut state.files[self.number];
        file.now.resize(len.max(at + written), 0);
        file.now[at..at + written].copy_from_slice(&bytes[..written]);
        file.dirty.push(at..at + written);
        fate
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(false)?;
        let file = &mut state.files[self.number];
        file.now.truncate(len as usize);
        for range in file.dirty.iter_mut().chain(&mut file.doomed) {
            range.end = range.end.min(len as usize);
        }
        file.dirty.retain(|range| !range.is_empty());
        file.doomed.retain(|range| !range.is_empty());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.operate(false);
        let off = state.off;
        let file = &mut state.files[self.number];
        match fate {
            Ok(()) => {
                // What a failed sync has lost is not written by the next one, which succeeds.
                let old = std::mem::replace(&mut file.synced, file.now.clone());
                for place in file.doomed.iter().cloned().flatten() {
                    file.synced[place] = old.get(place).copied().unwrap_or(0);
                }
                file.dirty.clear();
            }
            Err(_) if !off => {
                let lost = std::mem::take(&mut file.dirty);
                file.doomed.extend(lost);
            }
            Err(_) => {}
        }
        fate
    }
}
