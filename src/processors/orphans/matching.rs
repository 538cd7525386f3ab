//! The search for a head's parent, by tier: what the head noted itself, keys that exactly one
//! caller offered, and the spans of its groups that hold it in time.
//!
//! A parent has passed here, or is named as parent by a span that did. A group never chooses a
//! parent, it only says where to look.

use super::facts::{CLIENT, CONSUMER, Facts, PRODUCER, SERVER, Sort};
use super::index::{Index, Node, Trace};
use super::tags::evidence;
use super::words::Role;
use crate::limits;
use crate::moment::Moment;
use smallvec::SmallVec;
use std::hash::BuildHasher;

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

    /// The context that the head noted, if its trace passed here.
    fn captured(&mut self, head: &Facts) -> Option<Match> {
        let (trace, span) = head.captured.filter(|(trace, _)| *trace != head.trace)?;
        let known = self.index.trace(trace, self.now)?;
        if known.tenant != 0 && known.tenant != head.tenant {
            return None;
        }
        let node = self.index.find(trace, span);
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

    /// The one that offered `key`.
    fn by_key(&self, head: &Facts, key: u64, sort: Sort) -> Found {
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

    /// A candidate as what was found, or who stands for it.
    fn chosen(&self, node: &Node, head: &Facts, sort: Sort, candidates: usize) -> Match {
        let inside = node.end.saturating_add(SKEW) >= head.start;
        let confidence = match sort {
            Sort::Message | Sort::ToolCall => 0.995,
            Sort::Task | Sort::Request if !inside => 0.9,
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

    /// The parent among the traces of the head's groups, and whether the head is amid one of them.
    /// The end of the latest of those traces is yielded too.
    pub fn in_groups(&mut self, head: &Facts) -> (Found, Option<u64>) {
        let mut traces: SmallVec<[(u128, Trace); 4]> = SmallVec::new();
        for group in head.groups().collect::<SmallVec<[u64; 2]>>() {
            let few = self.index.group(group).map(|few| (few.all.clone(), few.more));
            let Some((all, more)) = few else { continue };
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
        (self.holder(head, &traces, evidence::SESSION), end)
    }

    /// The parent within the head's own trace.
    pub fn in_trace(&mut self, head: &Facts) -> Found {
        let Some(trace) = self.index.trace(head.trace, self.now) else { return Found::Nothing };
        self.holder(head, &[(head.trace, trace)], evidence::TRACE_ID)
    }

    /// Whether the head begins while `trace` goes on, and not with it.
    pub fn is_amid(&self, head: &Facts, trace: &Trace) -> bool {
        let begun = trace.start.saturating_add(limits::ORPHAN_DISTANCE.as_nanos() as u64);
        let own = trace.root.is_some_and(|root| root.operation == head.operation);
        let waits = head.kind == CONSUMER;
        let grace = if waits { limits::ORPHAN_GAP_MAX.as_nanos() as u64 } else { 0 };
        let end = trace.end.saturating_add(grace);
        begun <= head.start && head.start <= end && !own && !trace.is_over_merged()
    }

    /// The innermost span of `traces` that holds the head and may have called it.
    fn holder(&self, head: &Facts, traces: &[(u128, Trace)], evidence: &'static str) -> Found {
        let mut holders: SmallVec<[(u32, Node); 8]> = SmallVec::new();
        let mut proxies: SmallVec<[(Node, u64); 4]> = SmallVec::new();
        let share = limits::ORPHAN_TRACE_NODES / traces.len().max(1);
        for (_, trace) in traces {
            let mut proxy: Option<Node> = None;
            for node in self.index.of_trace(Index::latest(trace)).take(share) {
                if node.span == head.span || self.is_below(node, head) {
                    continue;
                }
                let answers = matches!(head.kind, SERVER | CONSUMER);
                let answered = node.kind == CLIENT && answers && self.index.is_answered(node);
                if let Some(rank) = rank(node, head).filter(|_| !answered) {
                    holders.push((rank, *node));
                }
                // A step that is done and whose parent has not come: that one is still open.
                let done = node.parent != 0 && node.end <= head.start.saturating_add(SKEW / 100);
                let open = done && self.index.find(node.trace, node.parent).is_none();
                let sibling = matches!(node.role, Role::Llm | Role::Tool);
                if open && sibling && proxy.is_none_or(|known| known.end < node.end) {
                    proxy = Some(*node);
                }
            }
            if let Some(proxy) = proxy.filter(|_| head.kind != CONSUMER) {
                proxies.push((proxy, proxy.parent));
            }
        }
        self.innermost(head, &holders, &proxies, evidence)
    }

    fn innermost(
        &self,
        head: &Facts,
        holders: &[(u32, Node)],
        proxies: &[(Node, u64)],
        evidence: &'static str,
    ) -> Found {
        let candidates = holders.len() + proxies.len();
        let learned = |node: &Node| {
            let edge = self.index.hasher.hash_one((node.operation, head.operation));
            self.index.edges.get(edge).copied().unwrap_or(0)
        };
        let known = holders.iter().any(|(_, node)| learned(node) > 0);
        let fits = holders.iter().filter(|(_, node)| !known || learned(node) > 0);
        let mut fits: SmallVec<[(u32, &Node); 8]> =
            fits.map(|(rank, node)| (*rank, node)).collect();
        let best = fits.iter().map(|(rank, _)| *rank).min().unwrap_or(u32::MAX);
        fits.retain(|(rank, _)| *rank == best);
        if fits.len() > limits::ORPHAN_HOLDERS {
            return Found::Several(evidence, candidates);
        }
        // Those that hold another one of them are further out.
        let inner: SmallVec<[&Node; 8]> = fits.iter().map(|(_, node)| *node).collect();
        fits.retain(|(_, node)| !inner.iter().any(|other| self.holds(node, other)));
        let confidence = |one: &Node| match (known, evidence) {
            _ if head.kind == CONSUMER && one.kind != PRODUCER => 0.5,
            (true, _) => 0.97,
            _ if one.kind == CLIENT && is_peer(one, head) => 0.97,
            (false, evidence::TRACE_ID) => 0.92,
            (false, _) if one.role == Role::Agent => 0.93,
            _ => 0.85,
        };
        let found = |node: &Node, span, confidence| Match {
            trace: node.trace,
            span,
            service: node.service,
            evidence,
            tier: 2,
            confidence,
            candidates,
            cause: None,
            ended: if span == node.span { node.end } else { 0 },
        };
        match (fits.as_slice(), proxies) {
            ([], []) => Found::Nothing,
            ([], [(node, parent)]) => Found::One(found(node, *parent, 0.9)),
            ([(_, node)], _) => Found::One(found(node, node.span, confidence(node))),
            _ => Found::Several(evidence, candidates),
        }
    }

    /// Whether `outer` is an ancestor of `inner`, by ids.
    fn holds(&self, outer: &Node, inner: &Node) -> bool {
        let mut at = *inner;
        for _ in 0..limits::ORPHAN_DEPTH {
            if at.trace != outer.trace || at.parent == 0 {
                return false;
            }
            if at.parent == outer.span {
                return true;
            }
            match self.index.find(at.trace, at.parent) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    }
}

/// Whether a span of this sort may have called the head under a key of this sort.
fn calls(node: &Node, head: &Facts, sort: Sort) -> bool {
    match sort {
        Sort::ToolCall => match node.role {
            Role::Llm => head.role != Role::Llm,
            _ => node.kind != SERVER || head.kind != CLIENT,
        },
        Sort::Message => node.kind != CONSUMER,
        Sort::Mcp => node.kind != SERVER,
        Sort::Request | Sort::Task => node.kind != SERVER || head.kind != SERVER,
        _ => true,
    }
}

/// Whether a client says that it calls the head's service, or the same tool.
fn is_peer(node: &Node, head: &Facts) -> bool {
    (node.tool != 0 && node.tool == head.tool) || (node.peer != 0 && node.peer == head.service)
}

/// How far a caller is from the head: clients first, then who holds the call, then the model.
fn distance(node: &Node, head: &Facts) -> u8 {
    match (node.role, node.kind) {
        (Role::Llm, _) => 2,
        (_, CLIENT | PRODUCER) if matches!(head.kind, SERVER | CONSUMER) => 0,
        _ => 1,
    }
}

/// How well a span suits as parent of a head that it holds in time; `None` if it does not.
fn rank(node: &Node, head: &Facts) -> Option<u32> {
    let slack = 2_000_000;
    // Clocks of two hosts are not one.
    let slack = if node.service == head.service { slack } else { 75 * slack };
    let begun = node.start <= head.start.saturating_add(slack);
    if head.kind == CONSUMER {
        let sent = node.end <= head.start.saturating_add(SKEW);
        return match (node.kind, node.role) {
            (PRODUCER, _) if begun && sent => Some(0),
            (SERVER, _) | (_, Role::Agent) if begun => Some(2),
            _ => None,
        };
    }
    if !begun || node.end.saturating_add(slack) < head.end {
        return None;
    }
    let same_tool = is_peer(node, head);
    match (head.role, head.kind, node.role, node.kind) {
        (_, SERVER, Role::Llm, _) => None,
        (_, SERVER, _, CLIENT) if same_tool => Some(0),
        (_, SERVER, _, CLIENT) => Some(1),
        (_, SERVER, Role::Tool, _) => Some(2),
        (_, _, Role::Agent | Role::Chain, _) => Some(3),
        (Role::Agent | Role::Chain | Role::Llm, _, Role::Tool, _) => Some(3),
        (Role::None | Role::Leaf, _, Role::Tool, _) => Some(3),
        (Role::Tool, _, Role::Llm, _) => Some(4),
        (_, _, Role::None, SERVER | CONSUMER) => Some(5),
        _ => None,
    }
}
