//! The search for a head's parent, by tier: what the head noted itself, keys that exactly one
//! caller offered, and then whoever is the likeliest by time.
//!
//! A parent has passed here, or is named as parent by a span that did. A group never chooses a
//! parent, it only says where to look.

use super::calls;
use super::facts::{CLIENT, CONSUMER, Facts, PRODUCER, SERVER, Sort};
use super::holders::Holders;
use super::index::{Index, Shadows};
use super::node::Node;
use super::process;
use super::tags::evidence;
use super::trace::Trace;
use super::weights::Weights;
use super::words::Role;
use crate::limits;
use crate::moment::Moment;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// The odds that a parent never passed: of a head in another trace, of one amid a trace of its
/// session, and of one in its own.
pub const UNSEEN: f64 = 0.25;
const UNSEEN_GROUP: f64 = 0.1;
const UNSEEN_OWN: f64 = 0.05;

/// What is added of an operation whose spans are all roots: it may always be called from outside.
const UNSEEN_ROOT: f64 = 4.75;

/// What is added by each run of a process of which no step is near.
const UNLIKELY: f64 = 0.02;

/// How sure a tool's parent is if only the model is known that asked for it, and not the agent.
const UNKNOWN_AGENT: f64 = 0.85;

/// How sure the model is of which alone it is known that it asked for a tool with these arguments,
/// and that only just did.
const ASKED_FOR: f64 = 0.9;
const ASKED_FOR_NOW: f64 = 0.97;

/// Traces, and what is known of them: mostly none, or one, and it is long.
pub type Traces = SmallVec<[(u128, Trace); 1]>;

/// Nanoseconds.
const SKEW: u64 = limits::ORPHAN_SKEW.as_nanos() as u64;

/// What was found.
#[derive(Clone, Debug)]
pub struct Match {
    pub trace: u128,
    pub span: u64,
    pub service: u64,
    pub evidence: &'static str,
    pub tier: u8,
    pub confidence: f64,
    pub candidates: usize,
    /// The span of the model whose answer called the tool.
    pub cause: Option<(u128, u64)>,
    /// When the parent ended; 0 if it is not known.
    pub ended: u64,
}

/// How a search ended.
#[derive(Clone, Debug, Default)]
pub enum Found {
    #[default]
    Nothing,
    One(Match),
    /// Several have an equal claim.
    Several(&'static str, usize),
}

impl Found {
    pub fn one(&self) -> Option<&Match> {
        match self {
            Found::One(found) => Some(found),
            _ => None,
        }
    }
}

/// A search in the index.
pub struct Search<'i> {
    pub index: &'i mut Index,
    /// Whether the parent of a tool is the agent, and not the model.
    pub tool_below_agent: bool,
    pub now: Moment,
    /// Callers were not searched by time, since that was done too often.
    pub gave_up: bool,
}

impl Search<'_> {
    /// The parent by tiers 0 and 1.
    pub fn exact(&mut self, head: &Facts) -> Found {
        if let Some(found) = self.captured(head) {
            return Found::One(found);
        }
        let mut several = Found::Nothing;
        for key in &head.names {
            match self.by_key(head, key.hash, key.sort) {
                Found::One(found) => return Found::One(found),
                Found::Several(evidence, n) => several = Found::Several(evidence, n),
                Found::Nothing => {}
            }
        }
        several
    }

    /// The context that the head noted, if its trace passed here. In its own trace that may be what
    /// it handed on itself: there it must be of a span that passed, and that is not below it.
    fn captured(&mut self, head: &Facts) -> Option<Match> {
        let (trace, span) = **head.captured.as_ref()?;
        let known = self.index.trace(trace, self.now)?;
        if known.tenant != 0 && known.tenant != head.tenant {
            return None;
        }
        let node = self.index.find(trace, span);
        let above = |node: &Node| node.span != head.span && !self.is_below(node, head);
        if trace == head.trace && !node.is_some_and(above) {
            return None;
        }
        Some(Match {
            trace,
            span,
            service: node.map_or(0, |node| node.service),
            evidence: evidence::CAPTURED_TRACEPARENT,
            tier: 0,
            confidence: 0.995,
            candidates: 1,
            cause: None,
            ended: node.map_or(0, |node| node.end),
        })
    }

    /// The parent by less than exact keys: a tool's arguments and time together. Whether a client
    /// may have called it is yielded too.
    pub fn by_more(&mut self, head: &Facts, traces: &[(u128, Trace)]) -> (Found, bool) {
        let (by_time, called) = self.by_time(head, traces);
        (agreed(self.by_arguments(head), by_time), called)
    }

    /// The model that asked for a tool with these arguments. Those of the head's groups come first,
    /// and of others none that is known to be of another group.
    fn by_arguments(&mut self, head: &Facts) -> Found {
        let (asks, now) = (head.asks, self.now);
        let Some(few) = self.index.offering(asks).filter(|_| asks != 0) else {
            return Found::Nothing;
        };
        let more = few.more;
        let nodes: SmallVec<[Node; 8]> =
            few.all.iter().filter_map(|number| self.index.node(*number)).copied().collect();
        let mut may: SmallVec<[(Node, bool); 8]> = SmallVec::new();
        for node in nodes.into_iter().filter(|node| asked_for(node, head)) {
            let trace = self.index.trace(node.trace, now);
            let shared = trace.as_ref().is_some_and(|trace| trace.shares_group(head));
            let apart = trace.is_some_and(|trace| trace.has_group()) && head.has_group();
            if (shared || !apart) && !self.is_below(&node, head) {
                may.push((node, shared));
            }
        }
        if may.iter().any(|(_, shared)| *shared) {
            may.retain(|(_, shared)| *shared);
        }
        match may.as_slice() {
            [] => Found::Nothing,
            [(node, _)] if !more => Found::One(self.chosen(node, head, Sort::Arguments, 1)),
            several => Found::Several(evidence::TOOL_ARGUMENTS, several.len()),
        }
    }

    /// The one that offered `key`.
    fn by_key(&self, head: &Facts, key: u64, sort: Sort) -> Found {
        let shadow = matches!(sort, Sort::Shadow(_));
        if shadow && !self.shadows(head, sort).agree() {
            return Found::Nothing;
        }
        let Some(few) = self.index.offering(key) else { return Found::Nothing };
        let nodes = few.all.iter().filter_map(|number| self.index.node(*number));
        let fits = |node: &&Node| {
            node.tenant == head.tenant
                && (node.trace, node.span) != (head.trace, head.span)
                && node.start <= head.start.saturating_add(SKEW)
                && calls(node, head, sort)
                && !self.is_below(node, head)
        };
        let mut nodes: SmallVec<[&Node; 8]> = nodes.filter(fits).collect();
        nodes.sort_by_key(|node| (node.trace, node.span));
        nodes.dedup_by_key(|node| (node.trace, node.span));
        if nodes.is_empty() {
            return Found::Nothing;
        }
        let (count, more) = (nodes.len(), few.more);
        // Who holds the call is nearer than who asked for it.
        let nearest = nodes.iter().map(|node| distance(node, head)).min().unwrap_or_default();
        nodes.retain(|node| distance(node, head) == nearest);
        if nodes.len() > 1 {
            // Of spans within each other the innermost.
            let outer: SmallVec<[u64; 8]> = nodes.iter().map(|node| node.parent).collect();
            nodes.retain(|node| !outer.contains(&node.span));
        }
        match nodes.as_slice() {
            [node] if !more => Found::One(self.chosen(node, head, sort, count)),
            _ => Found::Several(sort.evidence(), count),
        }
    }

    /// How far the framework's own ids of the head's service agree with those of spans.
    fn shadows(&self, head: &Facts, sort: Sort) -> Shadows {
        let of = self.index.hasher.hash_one((head.tenant, head.service, sort));
        self.index.shadows.get(of).copied().unwrap_or_default()
    }

    /// A candidate as what was found, or who stands for it.
    fn chosen(&self, node: &Node, head: &Facts, sort: Sort, candidates: usize) -> Match {
        let inside = node.end.saturating_add(SKEW) >= head.start;
        let confidence = match sort {
            Sort::Message | Sort::ToolCall => 0.995,
            Sort::Arguments if at_once(node, head) => ASKED_FOR_NOW,
            Sort::Arguments => ASKED_FOR,
            Sort::Task | Sort::Request if !inside => 0.9,
            Sort::Shadow(_) if !self.shadows(head, sort).are_sure() => 0.97,
            _ if !inside && !matches!(sort, Sort::Shadow(_)) => 0.97,
            _ => 0.995,
        };
        let mut found = Match {
            trace: node.trace,
            span: node.span,
            service: node.service,
            evidence: sort.evidence(),
            tier: sort.tier(),
            confidence,
            candidates,
            cause: None,
            ended: node.end,
        };
        if node.role == Role::Llm && head.role != Role::Llm && self.tool_below_agent {
            found.cause = Some((node.trace, node.span));
            let nested = node.end >= head.end && node.start <= head.start;
            if node.parent != 0 && !nested {
                // Its parent is known by name though it may not have ended.
                (found.span, found.ended) = (node.parent, 0);
                let parent = self.index.find(node.trace, node.parent);
                found.service = parent.map_or(node.service, |parent| parent.service);
            } else if !nested {
                // The model is torn off too, and whose step it was is not known.
                found.confidence = found.confidence.min(UNKNOWN_AGENT);
            }
        }
        found
    }

    /// Whether `node` stands below the head, as far as that is known.
    fn is_below(&self, node: &Node, head: &Facts) -> bool {
        let mut at = *node;
        for _ in 0..limits::ORPHAN_DEPTH {
            if at.trace != head.trace || at.parent == 0 {
                return false;
            }
            if at.parent == head.span {
                return true;
            }
            match self.index.find(at.trace, at.parent) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        true
    }

    /// The traces of the head's groups that it is amid of, and when the latest of them ended.
    pub fn groups(&mut self, head: &Facts) -> (Traces, Option<u64>) {
        let (mut traces, mut last) = (Traces::new(), 0);
        for group in head.groups().collect::<SmallVec<[u64; 2]>>() {
            let Some(known) = self.index.group(group) else { continue };
            last = last.max(known.last_beside(head.trace));
            let (all, more) = (known.traces.all.clone(), known.traces.more);
            if more && all.len() < 2 {
                continue;
            }
            for trace in all {
                if trace == head.trace || traces.iter().any(|(known, _)| *known == trace) {
                    continue;
                }
                if let Some(known) = self.index.trace(trace, self.now)
                    && self.is_amid(head, &known)
                {
                    traces.push((trace, known));
                }
            }
        }
        let end = traces.iter().map(|(_, trace)| trace.end).max();
        (traces, end.or_else(|| self.sent_from(head, last)))
    }

    /// When those ended that are forgotten, and of which the head still is: a message may have
    /// waited for long. Only where such messages usually have a sender.
    fn sent_from(&self, head: &Facts, last: u64) -> Option<u64> {
        let most = limits::ORPHAN_TRANSIT_MAX.as_nanos() as u64;
        let waited = head.start.checked_sub(last).is_some_and(|waited| waited <= most);
        let sent = head.kind == CONSUMER && self.index.is_child(head.operation, 0.5);
        (last > 0 && waited && sent).then_some(last)
    }

    /// Whether the head begins while `trace` goes on, and not with it.
    pub fn is_amid(&self, head: &Facts, trace: &Trace) -> bool {
        let begun = trace.start.saturating_add(limits::ORPHAN_DISTANCE.as_nanos() as u64);
        let own = trace.root.is_some_and(|root| root.operation == head.operation);
        let waits = head.kind == CONSUMER;
        let grace = if waits { limits::ORPHAN_TRANSIT_MAX.as_nanos() as u64 } else { 0 };
        let end = trace.end.saturating_add(grace);
        begun <= head.start && head.start <= end && !own && !trace.is_over_merged()
    }

    /// The parent by what it says of itself and by time: among the clients of the head's service,
    /// and the spans of `traces`. Whether a client may have called it is yielded too.
    fn by_time(&mut self, head: &Facts, traces: &[(u128, Trace)]) -> (Found, bool) {
        let mut weights = Weights::default();
        self.gave_up |= !calls::weigh(self.index, head, &mut weights, self.now);
        let called = !weights.is_empty();
        let own = traces.iter().any(|(trace, _)| *trace == head.trace);
        let evidence = if own { evidence::TRACE_ID } else { evidence::SESSION };
        Holders { index: self.index, head, evidence }.weigh(traces, &mut weights);
        // What usually is a root mostly is called from outside.
        let roots = self.index.share_of_roots(head.operation).unwrap_or(0.0);
        let elsewhere = if traces.is_empty() { UNSEEN } else { UNSEEN_GROUP };
        let unseen = if own { UNSEEN_OWN } else { elsewhere + UNSEEN_ROOT * roots };
        (weights.decide(unseen), called)
    }

    /// The parent of a step that belongs to no group, among the runs of its process; `None` if that
    /// was asked too often, or too much came since.
    pub fn in_process(&mut self, head: &Facts) -> Option<Found> {
        let all = self.index.len().min(limits::ORPHAN_SCAN);
        if !self.index.may_scan(all, self.now) {
            return None;
        }
        let runs = process::runs(self.index, head)?;
        if runs.traces.len() > limits::ORPHAN_RUNS {
            return Some(Found::Several(evidence::INSTANCE, runs.traces.len()));
        }
        let mut traces = Traces::new();
        for trace in runs.traces {
            traces.extend(self.index.trace(trace, self.now).map(|known| (trace, known)));
        }
        let mut weights = Weights::default();
        Holders { index: self.index, head, evidence: evidence::INSTANCE }
            .weigh(&traces, &mut weights);
        Some(weights.decide(UNSEEN + runs.open as f64 * UNLIKELY))
    }
}

/// What a tool's arguments and time say together. Arguments count for more; where several models
/// asked for the same, time may tell which.
fn agreed(by_arguments: Found, by_time: Found) -> Found {
    match (by_arguments, by_time) {
        (Found::Nothing, by_time) => by_time,
        (Found::One(one), Found::One(other)) => {
            let same = (one.trace, one.span) == (other.trace, other.span);
            let both = other.confidence.max(one.confidence);
            let confidence = if same { both } else { one.confidence };
            Found::One(Match { confidence, ..one })
        }
        (Found::One(one), _) => Found::One(one),
        (Found::Several(..), Found::One(other)) => Found::One(other),
        (several, _) => several,
    }
}

/// Whether a span of this sort may have called the head under a key of this sort.
fn calls(node: &Node, head: &Facts, sort: Sort) -> bool {
    match sort {
        Sort::ToolCall => match node.role {
            Role::Llm => head.role != Role::Llm,
            Role::Tool if head.role == Role::Tool => runs(node, head),
            _ => node.kind != SERVER || head.kind != CLIENT,
        },
        Sort::Message => node.kind != CONSUMER,
        Sort::Mcp => node.kind != SERVER,
        // Who answers a request may send another one under its id meanwhile.
        Sort::Request | Sort::Task => {
            node.kind != SERVER || (head.kind != SERVER && runs(node, head))
        }
        _ => true,
    }
}

/// Whether a model may have asked for the head: its answer is there when the tool begins, or holds
/// it, and no longer ago than spans are remembered.
fn asked_for(node: &Node, head: &Facts) -> bool {
    let most = limits::ORPHAN_CANDIDATE_TIME.as_nanos() as u64;
    let before =
        node.end <= head.start.saturating_add(SKEW) && head.start.saturating_sub(node.end) <= most;
    let holds = node.start <= head.start && head.end <= node.end;
    node.tenant == head.tenant && node.role == Role::Llm && (before || holds)
}

/// Whether a tool runs as soon as it was asked for.
fn at_once(node: &Node, head: &Facts) -> bool {
    head.start.abs_diff(node.end) <= SKEW || node.end >= head.end
}

/// Whether a span runs another one with the id of the same call: it asks and the other one answers,
/// or it holds the other one in time. Never both each other.
fn runs(node: &Node, head: &Facts) -> bool {
    let holds = node.start <= head.start && head.end <= node.end;
    match (node.kind, head.kind) {
        (CLIENT, SERVER) => true,
        (SERVER, CLIENT) if node.service != head.service => false,
        _ => holds && (node.start, node.end) != (head.start, head.end),
    }
}

/// How far a caller is from the head: clients first, then who holds the call, then the model.
fn distance(node: &Node, head: &Facts) -> u8 {
    match (node.role, node.kind) {
        (Role::Llm, _) => 2,
        (_, CLIENT | PRODUCER) if matches!(head.kind, SERVER | CONSUMER) => 0,
        _ => 1,
    }
}
