//! A disk that behaves as badly as it may: until a file is synced its bytes may be lost, torn at a
//! sector or be zeros with others behind them; until the directory is synced its names may come
//! and go one by one; writes and syncs fail, and a sync that failed has lost its bytes for good.

use std::collections::BTreeMap;
use std::io;
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
    /// Writes and new files fail for so many operations.
    Full(usize),
}

#[derive(Clone, Default)]
struct Content {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// Bytes up to here can still be made safe: those behind were lost by a failed sync.
    doomed_from: Option<usize>,
}

#[derive(Clone)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    operations: usize,
    faults: Vec<(usize, Fault)>,
    full_until: usize,
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
            off: false,
            random,
        };
        Disk(Arc::new(Mutex::new(state)))
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
        state.files[number] = Content { synced: bytes.clone(), now: bytes, doomed_from: None };
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
                let mut at = kept;
                while at < end {
                    let next = ((at / sector + 1) * sector).min(end);
                    let doomed = file.doomed_from.is_some_and(|from| at >= from);
                    if random.u8(..) < 48 || (doomed && random.bool()) {
                        file.now[at..next].fill(0);
                    }
                    at = next;
                }
            }
            file.synced = file.now.clone();
            file.doomed_from = None;
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

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.operate(true);
        let written = match fate {
            Ok(()) => bytes.len(),
            Err(_) => state.random.usize(0..=bytes.len()),
        };
        state.files[self.number].now.extend_from_slice(&bytes[..written]);
        fate
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(false)?;
        state.files[self.number].now.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.operate(false);
        let off = state.off;
        let file = &mut state.files[self.number];
        match fate {
            Ok(()) => {
                let end = file.doomed_from.unwrap_or(usize::MAX).min(file.now.len());
                let whole = file.doomed_from.is_none_or(|from| file.now.len() <= from);
                // What a failed sync has lost is not written by the next one, which succeeds.
                file.synced = file.now[..end].to_vec();
                if whole {
                    file.doomed_from = None;
                }
            }
            Err(_) if !off => {
                let from = file.synced.len().min(file.now.len());
                file.doomed_from.get_or_insert(from);
            }
            Err(_) => {}
        }
        fate
    }
}
