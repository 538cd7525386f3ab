//! What is made of files, and made anew when they change.

use super::files;
use crate::clock;
use crate::config::{Problems, Section};
use crate::moment::Moment;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Makes a `T` of a `tls` section and the files it names. Problems are reported.
type Make<T> = Box<dyn Fn(&Section, &mut Problems) -> Option<T> + Send + Sync>;

/// What a `tls` section makes of its files. It looks at them when it is asked, and at most once in
/// an interval, so that it needs no task of its own.
pub struct Reloading<T> {
    section: Section,
    make: Make<T>,
    interval: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    looked: Moment,
    seen: Vec<Stamp>,
}

/// By what a change of a file is noticed: when it was written, and its size. `None`: it is gone.
type Stamp = Option<(SystemTime, u64)>;

impl<T> Reloading<T> {
    /// Reads the files for the first time. The error has all their problems.
    pub fn new(
        section: &Section,
        make: impl Fn(&Section, &mut Problems) -> Option<T> + Send + Sync + 'static,
    ) -> Result<Reloading<T>, String> {
        // Before reading, so that a change meanwhile is noticed.
        let (looked, seen) = (clock::now(), stamps(&files::paths(section)));
        let mut problems = Problems::new();
        let current = make(section, &mut problems).map(Arc::new).ok_or(problems.to_string())?;
        let state = Mutex::new(State { current, looked, seen });
        let interval = section.duration("reload_interval");
        Ok(Reloading { section: section.clone(), make: Box::new(make), interval, state })
    }

    /// What holds now. It may read a few small files.
    pub fn current(&self) -> Arc<T> {
        self.current_at(clock::now())
    }

    pub(super) fn current_at(&self, now: Moment) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.interval.is_zero() && now.since(state.looked) >= self.interval {
            state.looked = now;
            let seen = stamps(&files::paths(&self.section));
            if seen != state.seen {
                state.seen = seen;
                if let Some(new) = self.remake() {
                    state.current = Arc::new(new);
                }
            }
        }
        state.current.clone()
    }

    fn remake(&self) -> Option<T> {
        let mut problems = Problems::new();
        let made = (self.make)(&self.section, &mut problems);
        let path = self.section.path();
        match made {
            Some(_) => tracing::info!("{path}: the changed files are in use for new connections"),
            None => tracing::error!("{path}: the changed files are not used, the old ones stay"),
        }
        for problem in problems.iter() {
            tracing::warn!("{problem}");
        }
        made
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    paths.iter().map(stamp).collect()
}
