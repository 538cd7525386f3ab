//! What is remembered of a trace as a whole: its root, its times and the groups that it is of.

use super::facts::Facts;
use super::node::NONE;
use crate::limits;
use smallvec::SmallVec;
use std::time::Duration;

/// The root that started first.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    pub span: u64,
    pub start: u64,
    pub end: u64,
    pub operation: u64,
    /// When it passed.
    pub passed: Duration,
}

/// What is remembered of a trace.
#[derive(Clone, Copy)]
pub struct Trace {
    pub root: Option<Root>,
    /// The number of the half of [`Seen`](super::seen::Seen) at the trace's first span.
    pub since: Option<u64>,
    pub first: Duration,
    /// When its latest span came.
    pub last: Duration,
    /// Of its boundary spans.
    pub start: u64,
    pub end: u64,
    pub sessions: [u64; 2],
    pub conversations: [u64; 2],
    /// Roots that passed.
    pub roots: u32,
    pub tenant: u64,
    pub spans: u32,
    /// The number of its latest boundary span.
    pub latest: u64,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace {
            root: None,
            since: None,
            first: Duration::MAX,
            last: Duration::ZERO,
            start: u64::MAX,
            end: 0,
            sessions: [0; 2],
            conversations: [0; 2],
            roots: 0,
            tenant: 0,
            spans: 0,
            latest: NONE,
        }
    }
}

impl Trace {
    /// Takes over what spans of it in a row have told. Yields the groups that are new.
    pub fn take_over(&mut self, run: &Trace) -> SmallVec<[u64; 4]> {
        self.spans = self.spans.saturating_add(run.spans);
        self.start = self.start.min(run.start);
        self.end = self.end.max(run.end);
        if run.tenant != 0 {
            self.tenant = run.tenant;
        }
        self.roots = self.roots.saturating_add(run.roots);
        self.latest = run.latest;
        let sessions = run.sessions.into_iter().filter_map(|it| join_group(&mut self.sessions, it));
        let mut fresh: SmallVec<[u64; 4]> = sessions.collect();
        let known = &mut self.conversations;
        fresh.extend(run.conversations.into_iter().filter_map(|it| join_group(known, it)));
        fresh
    }

    /// Whether spans of it are of a group of the head's.
    pub fn shares_group(&self, head: &Facts) -> bool {
        let known = |group| self.sessions.contains(&group) || self.conversations.contains(&group);
        head.groups().any(known)
    }

    /// Whether spans of it are of any group.
    pub fn has_group(&self) -> bool {
        self.sessions[0] != 0 || self.conversations[0] != 0
    }

    /// Whether it is several traces in one.
    pub fn is_over_merged(&self) -> bool {
        let long = self.last.saturating_sub(self.first) > limits::ORPHAN_MERGED_AGE
            || self.end.saturating_sub(self.start) > limits::ORPHAN_MERGED_AGE.as_nanos() as u64;
        let endless = self.root.is_none() && self.spans > limits::ORPHAN_MERGED_SPANS && long;
        // Agents may have conversations of their own, but not beside each other.
        let apart = self.conversations[1] != 0 && self.roots > 1;
        self.sessions[1] != 0 || apart || endless
    }
}

/// Notes a group of a trace; yields it if it is new.
pub fn join_group(known: &mut [u64; 2], group: u64) -> Option<u64> {
    let free = known.iter().position(|known| *known == group || *known == 0)?;
    let place = known.get_mut(free).filter(|known| group != 0 && **known == 0)?;
    *place = group;
    Some(group)
}
