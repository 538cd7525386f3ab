//! What passed lately that may be a parent: boundary spans, by trace, by the keys that they offer
//! and by the groups that they are of.
//!
//! Spans are numbered as they come and kept in a queue; what was put into tables names them by
//! number, and a number that has left the queue counts as nothing. So nothing has to be taken out
//! of tables, and every step costs the same however much there is.
//!
//! Every span that a call crosses is learned from, and few are ever asked for. So what is noted of
//! most is a place in the queue alone: what their trace gets from them is gathered over spans of
//! one trace in a row, and by ids they are found through a table that is brought up to
//! date when somebody asks.

use super::ages::Ages;
use super::delays::Delays;
use super::facts::{CLIENT, CONSUMER, Facts, SERVER};
use super::node::Node;
use super::seen::Seen;
use super::trace::{Trace, join_group};
use crate::limits;
use crate::moment::Moment;
use crate::processors::memory::Memory;
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Duration;

/// Nodes for which there is room from the start: what grows is copied, and its memory is touched
/// twice.
const ROOM: usize = 1 << 17;

/// Up to so many have a key, or are of a group; with more there is no telling.
pub const CANDIDATES: usize = 8;
pub const GROUP_TRACES: usize = 32;

/// Those that have something in common.
#[derive(Default)]
pub struct Few<T, const N: usize> {
    pub all: SmallVec<[T; 2]>,
    /// There are more.
    pub more: bool,
}

impl<T: PartialEq + Copy, const N: usize> Few<T, N> {
    fn add(&mut self, one: T) {
        if self.all.contains(&one) {
            return;
        }
        if self.all.len() < N {
            self.all.push(one);
        } else {
            self.more = true;
        }
    }
}

/// The traces of a group, and when one of them ended that began before the latest: what is known of
/// it when they are forgotten.
#[derive(Default)]
pub struct Group {
    pub traces: Few<u128, GROUP_TRACES>,
    latest: (u128, u64),
    before: u64,
}

impl Group {
    fn add(&mut self, trace: u128, end: u64) {
        self.traces.add(trace);
        if self.latest.0 != trace {
            self.before = self.before.max(self.latest.1);
            self.latest = (trace, end);
        }
    }

    /// The latest end that is known of a trace that is not this one; 0 if there is none.
    pub fn last_beside(&self, trace: u128) -> u64 {
        if self.latest.0 == trace { self.before } else { self.latest.1 }
    }
}

/// How often spans of an operation have a parent.
#[derive(Clone, Copy, Default)]
pub struct Rate {
    pub children: u32,
    pub roots: u32,
}

impl Rate {
    pub fn total(&self) -> u32 {
        self.children + self.roots
    }

    /// The share with a parent; 0 of none.
    pub fn share(&self) -> f64 {
        f64::from(self.children) / f64::from(self.total().max(1))
    }
}

/// Spans of an operation after which its share of children counts.
const SAMPLES: u32 = 20;

/// Whether operations are learned from this trace: one of four is enough.
pub fn is_sample(trace: u128) -> bool {
    (trace >> 64 ^ trace) & 3 == 0
}

/// How often the parent that a framework's own ids name was the span's parent, and was not.
#[derive(Clone, Copy, Default)]
pub struct Shadows {
    pub right: u32,
    pub wrong: u32,
}

impl Shadows {
    /// Whether they are to be believed: 99 of 100 agree, or nothing is known of them.
    pub fn agree(&self) -> bool {
        u64::from(self.wrong) * 100 <= u64::from(self.right) + u64::from(self.wrong)
    }

    /// Whether enough of them were seen to agree.
    pub fn are_sure(&self) -> bool {
        self.right >= SAMPLES && self.agree()
    }
}

/// The index.
pub struct Index {
    nodes: VecDeque<Node>,
    /// The number of the first in the queue.
    first: u64,
    /// When that came, or one before it: its own memory was touched last so long ago that to look
    /// there for each request is slow.
    oldest: Duration,
    limit: usize,
    /// The trace of the spans that came last in a row, and what it is to know of them.
    run: Option<(u128, Trace)>,
    /// Numbers by ids of the nodes before the number `listed`.
    spans: RefCell<Ages<u64>>,
    listed: Cell<u64>,
    keys: Ages<Few<u64, CANDIDATES>>,
    groups: Ages<Group>,
    pub rates: Ages<Rate>,
    /// How often an operation was seen below another.
    pub edges: Ages<u32>,
    /// Clients by whom they call.
    pub calls: Ages<Calls>,
    pub delays: Delays,
    /// How far ids of frameworks agree with those of spans, by tenant, service and sort.
    pub shadows: Ages<Shadows>,
    /// Parents of spans of other processes, and a bit by number for the nodes of which that was
    /// found: clients of a busy service are asked about again and again.
    answered: Seen,
    found: Vec<Cell<u64>>,
    /// How many were gone through for heads in the latest second.
    scans: (u64, usize),
    pub traces: Memory<Trace>,
    pub hasher: RandomState,
}

/// Who called a service lately.
#[derive(Default)]
pub struct Calls {
    pub nodes: VecDeque<u64>,
    pub last: Duration,
    /// How often it is not gone through when it is full: the last time was nearly in vain.
    vain: u8,
}

impl Calls {
    /// Adds a client. When there are too many, those go that were answered or forgotten, as `open`
    /// says of a number; and the oldest, if that is not enough.
    fn add(&mut self, number: u64, now: Moment, open: impl Fn(u64) -> bool) {
        const MOST: usize = limits::ORPHAN_CALLS;
        self.last = now.monotonic;
        if self.nodes.len() >= MOST {
            if self.vain == 0 {
                self.nodes.retain(|number| open(*number));
                self.vain = if self.nodes.len() > MOST / 8 * 7 { 4 } else { 1 };
            }
            self.vain -= 1;
            self.nodes.drain(..self.nodes.len().saturating_sub(MOST / 4 * 3));
        }
        self.nodes.push_back(number);
    }
}

impl Index {
    pub fn new(limit: usize, traces: Memory<Trace>, hasher: RandomState) -> Index {
        Index {
            nodes: VecDeque::with_capacity(limit.min(ROOM)),
            first: 0,
            oldest: Duration::ZERO,
            limit,
            run: None,
            spans: RefCell::new(Ages::new(limit * 2)),
            listed: Cell::new(0),
            keys: Ages::new(limit * 2),
            groups: Ages::new(limit),
            rates: Ages::new(limits::ORPHAN_OPERATIONS),
            edges: Ages::new(limits::ORPHAN_OPERATIONS * 4),
            calls: Ages::new(limits::ORPHAN_OPERATIONS),
            delays: Delays::new(hasher.clone()),
            shadows: Ages::new(limits::ORPHAN_SERVICES),
            answered: Seen::new(limit),
            found: vec![Cell::new(0); limit / 64 + 1],
            scans: (0, 0),
            traces,
            hasher,
        }
    }

    /// Forgets boundary spans that came too long ago to be anybody's parent.
    pub fn expire(&mut self, now: Moment) {
        self.traces.expire(now);
        if self.oldest + limits::ORPHAN_CANDIDATE_TIME > now.monotonic {
            return;
        }
        while let Some(node) = self.nodes.front() {
            self.oldest = node.came();
            if self.oldest + limits::ORPHAN_CANDIDATE_TIME > now.monotonic {
                return;
            }
            self.nodes.pop_front();
            self.first += 1;
        }
    }

    /// Boundary spans that are remembered.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, number: u64) -> Option<&Node> {
        #[cfg(test)]
        steps::count();
        let at = number.checked_sub(self.first)?;
        self.nodes.get(usize::try_from(at).ok()?)
    }

    /// The number of the next node.
    fn next(&self) -> u64 {
        self.first + self.nodes.len() as u64
    }

    /// The boundary span of these ids.
    pub fn find(&self, trace: u128, span: u64) -> Option<&Node> {
        let hash = |trace: u128, span: u64| self.hasher.hash_one((trace, span));
        let mut spans = self.spans.borrow_mut();
        let since = self.listed.replace(self.next()).max(self.first);
        for node in (since..self.next()).map_while(|number| self.node(number)) {
            spans.update(hash(node.trace, node.span), |number| *number = node.number);
        }
        let number = spans.get(hash(trace, span))?;
        self.node(*number).filter(|node| node.trace == trace && node.span == span)
    }

    /// The same among the latest of its trace, without a table.
    pub fn near(&mut self, trace: u128, span: u64, now: Moment) -> Option<&Node> {
        let latest = match &self.run {
            Some((of, run)) if *of == trace => run.latest,
            _ => self.traces.get(trace, now)?.latest,
        };
        self.of_trace(latest).take(limits::ORPHAN_NEAR).find(|node| node.span == span)
    }

    /// Notes that a span of another process has this one for a parent.
    pub fn answer(&mut self, trace: u128, span: u64) {
        self.answered.insert(trace, span);
    }

    /// Whether a span of another process has `node` for a parent.
    pub fn is_answered(&self, node: &Node) -> bool {
        let (word, bit) = self.bit(node.number);
        let Some(found) = self.found.get(word) else { return false };
        if found.get() & bit == 0 && self.answered.contains(node.trace, node.span) {
            found.set(found.get() | bit);
        }
        found.get() & bit != 0
    }

    /// The word and the bit in it that a node has in `found`.
    fn bit(&self, number: u64) -> (usize, u64) {
        let place = number as usize % (self.found.len() * 64);
        (place / 64, 1 << (place % 64))
    }

    /// Whether so many spans of an operation have a parent.
    pub fn is_child(&self, operation: u64, share: f64) -> bool {
        let rate = self.rates.get(operation).copied().unwrap_or_default();
        rate.total() >= SAMPLES && rate.share() >= share
    }

    /// The share of spans of an operation that are roots, if that is known.
    pub fn share_of_roots(&self, operation: u64) -> Option<f64> {
        let rate = self.rates.get(operation)?;
        (rate.total() >= SAMPLES).then(|| 1.0 - rate.share())
    }

    /// Those that offer `key`.
    pub fn offering(&self, key: u64) -> Option<&Few<u64, CANDIDATES>> {
        self.keys.get(key)
    }

    /// The traces of a group.
    pub fn group(&self, group: u64) -> Option<&Group> {
        self.groups.get(group)
    }

    /// The boundary spans, the last that came first.
    pub fn latest_first(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().rev()
    }

    /// Whether the last so many of them hold all that ended about when the head began: what was
    /// exported since, and nothing of it is forgotten.
    pub fn reach_back(&self, nodes: usize, head: &Facts) -> bool {
        let cut = self.nodes.len().saturating_sub(nodes);
        let Some(oldest) = self.nodes.get(cut).filter(|_| cut > 0 || self.first > 0) else {
            return true;
        };
        let took = Duration::from_nanos(head.end.saturating_sub(head.start));
        let came = self.find(head.trace, head.span).map(Node::came);
        came.is_some_and(|came| oldest.came() + took + limits::ORPHAN_EXPORT <= came)
    }

    /// Whether so many of them may be gone through once more: only so many in a second.
    pub fn may_scan(&mut self, nodes: usize, now: Moment) -> bool {
        let second = now.monotonic.as_secs();
        if self.scans.0 != second {
            self.scans = (second, 0);
        }
        let all = self.scans.1.saturating_add(nodes);
        let may = all <= limits::ORPHAN_SCANNED;
        if may {
            self.scans.1 = all;
        }
        may
    }

    /// The boundary spans of a trace, the latest first, up to a bound.
    pub fn of_trace(&self, latest: u64) -> impl Iterator<Item = &Node> {
        let mut next = latest;
        let nodes = std::iter::from_fn(move || {
            let node = self.node(next)?;
            next = node.before();
            Some(node)
        });
        nodes.take(limits::ORPHAN_TRACE_NODES)
    }

    /// What is known of a trace.
    pub fn trace(&mut self, trace: u128, now: Moment) -> Option<Trace> {
        #[cfg(test)]
        steps::count();
        self.leave(now);
        self.traces.get(trace, now).copied()
    }

    /// The latest boundary span of a trace.
    pub fn latest(trace: &Trace) -> u64 {
        trace.latest
    }

    /// Notes that a span of `trace` came, while the young half of the spans seen has this number.
    /// Whether it is the first of its run.
    #[inline]
    pub fn enter(&mut self, trace: u128, number: u64, now: Moment) -> bool {
        if let Some((_, run)) = self.run.as_mut().filter(|(of, _)| *of == trace) {
            run.spans += 1;
            return false;
        }
        self.leave(now);
        let latest = self.traces.update(trace, now, |known| {
            known.since = known.since.or(Some(number));
            known.first = known.first.min(now.monotonic);
            known.last = now.monotonic;
            known.latest
        });
        self.run = Some((trace, Trace { spans: 1, latest, ..Trace::default() }));
        true
    }

    /// Tells the trace of the run what came.
    pub fn leave(&mut self, now: Moment) {
        let Some((trace, run)) = self.run.take() else { return };
        for group in self.traces.update(trace, now, |known| known.take_over(&run)) {
            self.groups.update(group, |known| known.add(trace, run.end));
        }
    }

    /// Notes a boundary span of the run.
    pub fn add(&mut self, facts: &Facts, now: Moment) {
        let number = self.next();
        let run = self.run.as_mut().filter(|(of, _)| *of == facts.trace);
        let Some((_, run)) = run else { return };
        if facts.start > 0 {
            run.start = run.start.min(facts.start);
        }
        run.end = run.end.max(facts.end);
        run.tenant = facts.tenant;
        join_group(&mut run.sessions, facts.session);
        join_group(&mut run.conversations, facts.conversation);
        run.roots += u32::from(facts.parent.is_none());
        let before = std::mem::replace(&mut run.latest, number);
        let (parent, client) = (facts.parent.unwrap_or(0), facts.kind == CLIENT);
        let node = Node::of(facts, number, before, now.monotonic);
        let (word, bit) = self.bit(number);
        if let Some(found) = self.found.get(word) {
            found.set(found.get() & !bit);
        }
        if self.nodes.len() >= self.limit {
            self.nodes.pop_front();
            self.first += 1;
        }
        self.nodes.push_back(node);
        for key in &facts.offers {
            self.keys.update(key.hash, |few| {
                few.all.retain(|number| *number >= self.first);
                few.add(number);
            });
        }
        if parent != 0 && matches!(facts.kind, SERVER | CONSUMER) {
            self.answer(facts.trace, parent);
        }
        if client && facts.peer != 0 {
            let (nodes, first) = (&self.nodes, self.first);
            let at = |number: u64| usize::try_from(number.checked_sub(first)?).ok();
            let is_open = |number: u64| {
                let node = at(number).and_then(|at| nodes.get(at));
                node.is_some_and(|node| !self.answered.contains(node.trace, node.span))
            };
            self.calls.update(facts.peer, |calls| calls.add(number, now, is_open));
        }
        if is_sample(facts.trace) {
            self.rates.update(facts.operation, |rate| match facts.parent {
                Some(_) => rate.children = rate.children.saturating_add(1),
                None => rate.roots = rate.roots.saturating_add(1),
            });
        }
    }
}

/// How much was looked at, for tests to see what spans cost without a clock.
#[cfg(test)]
pub mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    pub fn take() -> usize {
        STEPS.take()
    }
}
