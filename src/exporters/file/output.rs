//! The file itself: opened for its owner alone, written record by record, put aside when it is
//! full. Everything here blocks and is called on threads for that.
//!
//! A record stands in the file whole or not at all: what a failed write has left behind is cut
//! off, and so is what a process that died has left at the end of a file that is continued. A
//! file that somebody else moved or deleted is opened anew under its path.

use super::rotation::{self, Rotation};
use crate::clock;
use crate::transport::record::Form;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tracing::{info, warn};

/// What decides how a file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    /// `json` or `proto`.
    pub(super) json: bool,
    pub(super) zstd: bool,
    pub(super) append: bool,
    pub(super) rotation: Option<Rotation>,
    pub(super) fsync: bool,
    /// The permissions of directories to create, if any are to be.
    pub(super) directories: Option<u32>,
}

impl Settings {
    pub(super) fn form(&self) -> Form {
        if self.json && !self.zstd { Form::Lines } else { Form::Frames }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) settings: Settings,
    /// Whether this process has written to the file.
    begun: Arc<AtomicBool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Device and inode, to notice that another file has taken the path.
    id: (u64, u64),
    /// Whether the file can be cut, which a device cannot.
    is_file: bool,
    /// Where the last whole record ends.
    len: u64,
    /// Whether something stands behind it.
    torn: bool,
    /// Whether what stands there goes with the first record: a configuration that does not start
    /// has emptied nothing.
    stale: bool,
}

/// A file that this process has opened.
struct Known {
    /// Where it really is.
    place: PathBuf,
    output: Weak<Output>,
    begun: Arc<AtomicBool>,
}

/// The files that this process has opened. Exporters of one path share one output, and a file that
/// was begun is not emptied by a reload.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(vec![]);

impl Output {
    /// Opens the file. The error is the sentence of an operator.
    pub(super) fn open(settings: Settings) -> Result<Arc<Output>, String> {
        let failed = |error: io::Error| sentence(&settings.path, &error);
        if let Some(mode) = settings.directories
            && let Some(parent) = parent(&settings.path)
        {
            let made = DirBuilder::new().recursive(true).mode(mode).create(parent);
            made.map_err(|error| sentence(parent, &error))?;
        }
        let place = real(&settings.path).map_err(failed)?;
        let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter_mut().find(|known| known.place == place);
        if let Some(output) = known.as_ref().and_then(|known| known.output.upgrade()) {
            if output.settings == settings {
                return Ok(output);
            }
            let path = settings.path.display();
            return Err(format!("{path} is written by another exporter with other keys; use two"));
        }
        let begun = known.as_ref().map(|known| known.begun.clone()).unwrap_or_default();
        let keep = settings.append || settings.rotation.is_some() || begun.load(Ordering::Relaxed);
        let state = State::open(&settings.path, settings.form(), keep).map_err(failed)?;
        let output = Output { settings, begun: begun.clone(), state: Mutex::new(state) };
        let output = Arc::new(output);
        let weak = Arc::downgrade(&output);
        match known {
            Some(known) => known.output = weak,
            None => all.push(Known { place, output: weak, begun }),
        }
        Ok(output)
    }

    /// Writes one record. When this returns, the operating system has it; with `fsync`, the disk.
    pub(super) fn write(&self, record: &[u8]) -> io::Result<()> {
        let settings = &self.settings;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !fs::metadata(&settings.path).is_ok_and(|now| id(&now) == state.id) {
            *state = State::open(&settings.path, settings.form(), true)?;
        }
        if let Some(rotation) = &settings.rotation
            && state.len > 0
            && state.len + record.len() as u64 > rotation.max_bytes
        {
            let millis = clock::now().unix_nanos / 1_000_000;
            put_aside(&settings.path, rotation, millis)?;
            *state = State::open(&settings.path, settings.form(), true)?;
        }
        if state.stale {
            let (path, bytes) = (settings.path.display(), state.len);
            warn!(%path, bytes, "emptied; append: true continues a file");
            state.file.set_len(0)?;
            (state.len, state.stale) = (0, false);
        }
        self.begun.store(true, Ordering::Relaxed);
        state.write(record)?;
        if settings.fsync && state.is_file {
            state.file.sync_data()?;
        }
        Ok(())
    }
}

impl State {
    fn open(path: &Path, form: Form, keep: bool) -> io::Result<State> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        if file.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            // A pipe or device may be for writing alone.
            file = OpenOptions::new().append(true).open(path);
        }
        let mut file = file?;
        let now = file.metadata()?;
        let (is_file, mut len) = (now.is_file(), now.len());
        let stale = is_file && !keep && len > 0;
        if is_file && keep && len > 0 {
            len = mend(&mut file, path, form, len)?;
        }
        Ok(State { file, id: id(&now), is_file, len, torn: false, stale })
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        let written = self.file.write_all(record);
        match written {
            Ok(()) => self.len += record.len() as u64,
            Err(_) => self.torn = self.is_file && self.file.set_len(self.len).is_err(),
        }
        written
    }
}

/// Ends what a process that died has left: a line is ended, a frame cut off. Yields the length.
fn mend(file: &mut File, path: &Path, form: Form, len: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut first = [0];
    file.read_exact(&mut first)?;
    if Form::of(first[0]) != form {
        let other = "it holds the other of JSON lines and length-prefixed messages; choose another \
                     path, or move the file away";
        return Err(io::Error::new(ErrorKind::InvalidData, other));
    }
    let whole = form.whole(file, len)?;
    if whole == len {
        return Ok(len);
    }
    let bytes = len - whole;
    warn!(path = %path.display(), bytes, "the file ends in the middle of a record, which is ended");
    match form {
        Form::Lines => {
            file.write_all(b"\n")?;
            Ok(len + 1)
        }
        Form::Frames => {
            file.set_len(whole)?;
            Ok(whole)
        }
    }
}

/// Gives the file the name of its time, and deletes those put aside that are too many or too old.
fn put_aside(path: &Path, rotation: &Rotation, now: u64) -> io::Result<()> {
    let folder = parent(path).unwrap_or(Path::new("."));
    let names = fs::read_dir(folder)?.flatten();
    let backups = names.filter_map(|entry| {
        let name = entry.file_name();
        Some((rotation::put_aside(path, name.to_str()?)?, entry.path()))
    });
    let mut backups: Vec<(u64, PathBuf)> = backups.collect();
    // Several in one millisecond, or a clock that went back, must not make this one the oldest.
    let latest = backups.iter().map(|(time, _)| *time).max();
    let millis = latest.map_or(now, |latest| now.max(latest + 1));
    let backup = rotation::backup(path, millis);
    fs::rename(path, &backup)?;
    info!(path = %path.display(), backup = %backup.display(), "the file is full and put aside");
    backups.push((millis, backup));
    for old in rotation::outdated(rotation, backups, now) {
        match fs::remove_file(&old) {
            Ok(()) => info!(path = %old.display(), "deleted, as `rotation` says"),
            Err(error) => warn!(path = %old.display(), %error, "cannot be deleted"),
        }
    }
    Ok(())
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The directory of `path`, if it names one.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// `path` with its directory as it really is.
fn real(path: &Path) -> io::Result<PathBuf> {
    let folder = fs::canonicalize(parent(path).unwrap_or(Path::new(".")))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// What is wrong with `path`, and what would help.
pub(super) fn sentence(path: &Path, error: &io::Error) -> String {
    let folder = parent(path).unwrap_or(Path::new(".")).display();
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            format!("create the directory {folder}, or set create_directory: true")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!("let the user of this process write in {folder}, or choose another path")
        }
        ErrorKind::IsADirectory => "name a file in it".to_owned(),
        ErrorKind::NotADirectory => format!("{folder} is a file; choose another path"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk".to_owned(),
        _ => return format!("cannot write {}: {error}", path.display()),
    };
    format!("cannot write {}: {error}; {remedy}", path.display())
}
