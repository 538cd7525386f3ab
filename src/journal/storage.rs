//! What a journal needs of a disk: the seam between it and the files, behind which tests put a disk
//! that loses, tears and fails.
//!
//! Nothing is promised that a file system does not keep: what was written may be lost, in whole
//! or in part, until [`File::sync`] has returned, and a file's name until [`Storage::sync`] has.

use std::io;

/// One directory, flat.
pub trait Storage: Send + Sync {
    /// The names of its files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A new file, for writing. That it exists already is an error.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// A file that exists, for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable: those created and those removed.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait File: Send + Sync {
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `into` from `at` on, as far as the file reaches; how many bytes that were.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes over what is there, and adds what goes beyond the end, at which or before which `at`
    /// stands. After an error it is unknown how much was written.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Takes away what stands behind `len`.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes the content durable. **Never called again after an error**: a kernel reports the loss
    /// of its pages once, and the next call succeeds without them.
    fn sync(&mut self) -> io::Result<()>;
}
