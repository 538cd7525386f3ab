//! The files that are followed: found by their names, known by what they are.
//!
//! A file keeps its identity when it is renamed, so rotation is two events that are seen apart: the
//! known file has another name or none, and a new file has its name.

use super::glob::Glob;
use super::tail::{Id, Record, Tail, Unfinished, id};
use crate::limits;
use crate::moment::Moment;
use crate::transport::content::is_whole;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};
use tracing::{info, warn};

/// What a user says about reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) include: Vec<Glob>,
    pub(super) exclude: Vec<Glob>,
    /// Whether files that are there at start are read from their end on.
    pub(super) from_end: bool,
    pub(super) poll: Duration,
    pub(super) replay: bool,
    pub(super) follow: bool,
    pub(super) flush: Duration,
    /// Bytes of the largest record.
    pub(super) max: usize,
}

/// The files that are being read.
pub(super) struct Files {
    settings: Settings,
    list: Vec<Entry>,
    looks: usize,
    /// What was said once: names, and one word for each of the bounds.
    said: HashSet<PathBuf>,
}

struct Entry {
    tail: Tail,
    /// The length when it was looked at last, and since when.
    len: u64,
    since: Moment,
    /// Whether its unfinished end was tried.
    tried: bool,
    /// Whether no pattern leads to it any more.
    gone: bool,
}

impl Files {
    pub(super) fn new(settings: Settings) -> Files {
        Files { settings, list: vec![], looks: 0, said: HashSet::new() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Looks for files. Those that appear after the first look are read from their beginning.
    pub(super) fn look(&mut self, now: Moment) {
        let matched = self.matched();
        let is_matched = |id: Id| matched.iter().any(|(_, _, of)| *of == id);
        for entry in &mut self.list {
            entry.gone = !is_matched(entry.tail.id);
        }
        self.list.retain(|entry| {
            let idle = now.since(entry.since) >= limits::FILE_GONE_TIME;
            !(entry.gone && idle && entry.tail.is_at_end())
        });
        for (_, path, id) in matched {
            let full = self.list.len() >= limits::FOLLOWED_FILES;
            match self.list.iter_mut().find(|entry| entry.tail.id == id) {
                Some(entry) => entry.tail.path = path,
                None if full => {
                    let most = limits::FOLLOWED_FILES;
                    self.say_once(Path::new("files"), || {
                        warn!("more than {most} files match; the rest waits until some are gone");
                    });
                }
                None => self.open(&path, now),
            }
        }
        self.looks += 1;
        if self.list.is_empty() {
            self.say_once(Path::new("none"), || info!("no file matches `include` yet"));
        }
    }

    /// The files that match, the oldest first.
    fn matched(&mut self) -> Vec<(SystemTime, PathBuf, Id)> {
        let mut paths = vec![];
        for glob in &self.settings.include {
            if !glob.find(&mut paths) && self.said.insert(PathBuf::from("entries")) {
                let most = limits::GLOB_ENTRIES;
                warn!("a pattern leads to more than {most} entries; name directories in it");
            }
        }
        let excluded = |path: &PathBuf| self.settings.exclude.iter().any(|g| g.matches(path));
        paths.retain(|path| !excluded(path));
        paths.sort();
        paths.dedup();
        let metadata = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            Some((metadata.modified().unwrap_or(UNIX_EPOCH), path, id(&metadata)))
        };
        let mut found: Vec<_> = paths.into_iter().filter_map(metadata).collect();
        found.sort();
        found
    }

    fn open(&mut self, path: &Path, now: Moment) {
        let from_end = self.settings.from_end && self.looks == 0;
        match Tail::open(path, self.settings.max, from_end) {
            // Another file may have taken the path since.
            Ok(tail) if self.list.iter().any(|entry| entry.tail.id == tail.id) => {}
            Ok(tail) => {
                info!(path = %path.display(), "reading");
                self.list.push(Entry { tail, len: 0, since: now, tried: false, gone: false });
            }
            Err(error) => self.say_once(path, || {
                let path = path.display();
                warn!("cannot read {path}: {error}; let the user of this process read it");
            }),
        }
    }

    fn say_once(&mut self, what: &Path, say: impl FnOnce()) {
        if self.said.len() < limits::FOLLOWED_FILES && self.said.insert(what.to_owned()) {
            say();
        }
    }

    /// The next records of the file at the place `index`; none if it has none now.
    pub(super) fn read(&mut self, index: usize, now: Moment) -> Vec<Record> {
        let Some(entry) = self.list.get_mut(index) else { return vec![] };
        match entry.read(&self.settings, now) {
            Ok(records) => records,
            Err(error) => {
                let path = entry.tail.path.clone();
                self.say_once(&path, || {
                    warn!("cannot read {}: {error}; trying again", path.display());
                });
                vec![]
            }
        }
    }

    /// Ends a round: what is to be read over and over begins anew.
    pub(super) fn end_round(&mut self) {
        if self.settings.replay {
            let read = self.list.iter_mut().filter(|entry| entry.tail.is_at_end());
            read.for_each(|entry| entry.tail.rewind());
        }
    }
}

impl Entry {
    fn read(&mut self, settings: &Settings, now: Moment) -> io::Result<Vec<Record>> {
        let len = self.tail.len()?;
        if len != self.len {
            (self.len, self.since, self.tried) = (len, now, false);
        }
        let quiet = now.since(self.since) >= settings.flush;
        let unfinished = match settings.follow {
            false => Unfinished::Ends,
            true if quiet && !self.tried => Unfinished::Counts { fits: is_whole },
            true => Unfinished::Waits,
        };
        let records = self.tail.read(unfinished)?;
        self.tried |= quiet && records.is_empty();
        Ok(records)
    }
}
