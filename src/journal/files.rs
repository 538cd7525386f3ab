//! A directory of real files, for its owner alone, and locked against a second process.

use super::storage::{File, Storage};
use crate::limits;
use std::fs::{DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For the owner alone: what rests here was taken from users.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// A locked directory.
pub struct Directory {
    path: PathBuf,
    handle: std::fs::File,
    /// Held until dropped.
    _lock: std::fs::File,
}

/// Creates `path` and what is above it, as far as it is missing, with names that are safe.
pub fn create(path: &Path) -> Result<(), String> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
    let above = missing.into_iter().filter_map(Path::parent).map(|above| match above {
        here if here.as_os_str().is_empty() => Path::new("."),
        above => above,
    });
    let mut above = above.map(|above| std::fs::File::open(above)?.sync_all());
    made.and_then(|()| above.try_for_each(|synced| synced))
        .map_err(|error| format!("cannot create {}: {error}", path.display()))
}

impl Directory {
    /// Opens `path`, waiting up to `patience` for a process that still uses it.
    pub fn open(path: &Path, patience: Duration) -> Result<Directory, String> {
        let say = |what: &str, error: io::Error| format!("{what} {}: {error}", path.display());
        let handle = std::fs::File::open(path).map_err(|e| say("cannot open", e))?;
        let file = path.join(LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(FILE_MODE);
        let lock = options.open(&file).map_err(|e| say("cannot write to", e))?;
        let mut left = patience;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Directory { path: path.to_owned(), handle, _lock: lock }),
                Err(TryLockError::WouldBlock) if !left.is_zero() => {
                    let pause = left.min(limits::LOCK_PAUSE);
                    std::thread::sleep(pause);
                    left -= pause;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(format!(
                        "{} is in use by another process; give each its own `directory`",
                        path.display()
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(say("cannot lock", error)),
            }
        }
    }
}

impl Storage for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        Ok(Box::new(OnDisk(options.open(self.path.join(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OnDisk(std::fs::File::open(self.path.join(name))?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()?;
        let (ours, there) = (self.handle.metadata()?, std::fs::metadata(&self.path)?);
        match (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            true => Ok(()),
            false => Err(io::Error::other("its directory has been replaced by another")),
        }
    }
}

/// An open file.
struct OnDisk(std::fs::File);

impl File for OnDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, at + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    /// What somebody removes stays whole as long as it is open, and is gone with this process.
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()?;
        match self.0.metadata()?.nlink() {
            0 => Err(io::Error::other("its file has been removed")),
            _ => Ok(()),
        }
    }
}
