//! The spans of some traces that may have called a head because they were open then: weighed by
//! what such spans were seen to call, and by how the head fits into what else happened below them.
//!
//! Frameworks do one thing after the other. A step begins when the last one ends, and the next one
//! begins, or the whole ends, when it is done; so the time between them tells the agent whose step
//! it is from others that are open as well. A span whose end has not come counts too, by what it is
//! known to have called: its children name it.

use super::delays::Fit;
use super::facts::{CLIENT, CONSUMER, Facts, INTERNAL, PRODUCER, SERVER};
use super::index::Index;
use super::node::Node;
use super::tags::evidence;
use super::trace::Trace;
use super::weights::{Candidate, Weights};
use super::words::Role;
use crate::limits;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// Nanoseconds within which times of one process are the same.
const SLACK: u64 = 2_000_000;

/// Milliseconds that usually pass between two steps, half of them less; and between things that
/// have nothing to do with each other.
const STEP: f64 = 5.0;
const APART: f64 = 1000.0;

/// What a step says at least that comes late, and that is followed by nothing.
const LATE: f64 = 0.02;
const ENDED: f64 = 0.1;

/// How often the steps beside the head are lost too, so that its place says nothing: below a span
/// that has others below it, below one that has none, and below one that has not come.
const TORN: f64 = 0.3;
const ALONE: f64 = 0.8;
const NAMED: f64 = 0.05;

/// How often a span calls something while another call of it is open.
const BESIDE: f64 = 0.1;

/// Odds below which a span that has not come is nobody's parent.
const LEAST: f64 = 0.002;

/// How often a span that answers nobody has a parent in another service.
const ELSEWHERE: f64 = 0.02;

/// How sure a parent is at most of an operation that was never seen to call the head's: where a
/// group or the trace says where to look, and where time alone does.
const UNKNOWN: f64 = 0.96;
const UNKNOWN_BY_TIME: f64 = 0.9;

/// What is thought of how operations call each other before any was seen, in samples.
const BEFORE: f64 = 3.0;

/// Milliseconds that a message waits at least and at most.
const TRANSIT: (f64, f64) = (1.0, 3_600_000.0);

/// A search of holders.
pub struct Holders<'h> {
    pub index: &'h Index,
    pub head: &'h Facts,
    pub evidence: &'static str,
}

/// What is known of the time around the head below one span.
struct Around {
    /// The latest that happened before it, and the next behind it.
    before: u64,
    behind: u64,
    /// Something else was going on meanwhile.
    busy: bool,
}

impl Holders<'_> {
    /// Weighs the spans of `traces`.
    pub fn weigh(&self, traces: &[(u128, Trace)], weights: &mut Weights) {
        let share = limits::ORPHAN_TRACE_NODES / traces.len().max(1);
        for (trace, known) in traces {
            let own = *trace == self.head.trace;
            let nodes = self.index.of_trace(Index::latest(known)).take(share);
            let tenant = self.head.tenant;
            let alike = |node: &Node| node.tenant == 0 || tenant == 0 || node.tenant == tenant;
            let nodes = nodes.filter(|node| node.span != self.head.span && alike(node));
            let mut nodes: SmallVec<[&Node; 64]> =
                nodes.filter(|node| !own || !self.is_below(node)).collect();
            nodes.sort_unstable_by_key(|node| (node.parent, node.span));
            nodes.dedup_by_key(|node| (node.parent, node.span));
            for node in &nodes {
                self.seen(node, &nodes, weights);
                if weights.is_full() {
                    return;
                }
            }
            if !matches!(self.head.kind, SERVER | CONSUMER) {
                let families = nodes.chunk_by(|a, b| a.parent == b.parent);
                families.for_each(|family| self.unseen(family, weights));
            }
        }
    }

    /// Weighs a span that passed.
    fn seen(&self, node: &Node, nodes: &[&Node], weights: &mut Weights) {
        let Some(suits) = self.suits(node) else { return };
        let (prior, known) = self.prior(node, suits);
        let from = nodes.partition_point(|other| other.parent < node.span);
        let family = nodes.get(from..).unwrap_or_default();
        let family = family.iter().take_while(|other| other.parent == node.span);
        let family: SmallVec<[&Node; 16]> = family.copied().collect();
        let odds = match (self.head.kind, node.kind) {
            (SERVER, CLIENT) => self.call(node),
            (CONSUMER, PRODUCER) => self.message(node, &family),
            (CONSUMER, _) => LATE,
            _ => {
                let loose = if family.is_empty() { ALONE } else { TORN };
                self.step(&self.around(Some(node), &family), node.service, loose)
            }
        };
        let mut one = Candidate::of(node, self.evidence, prior * odds);
        if !known {
            let by_time = self.evidence == evidence::INSTANCE;
            one.most = if by_time { UNKNOWN_BY_TIME } else { UNKNOWN };
        }
        weights.add(one);
    }

    /// Weighs a span that has not come by those that name it as their parent.
    fn unseen(&self, family: &[&Node], weights: &mut Weights) {
        let Some(first) = family.first().filter(|first| first.parent != 0) else { return };
        let local = family.iter().any(|node| matches!(node.kind, 0 | INTERNAL | CLIENT));
        let own = first.trace == self.head.trace && first.parent == self.head.span;
        if own || !local || self.index.find(first.trace, first.parent).is_some() {
            return;
        }
        let agent = family.iter().any(|node| matches!(node.role, Role::Llm | Role::Tool));
        let suits = match (agent, self.head.role) {
            (true, Role::Llm | Role::Tool | Role::Agent | Role::Chain) => 0.5,
            _ => 0.1,
        };
        let around = self.around(None, family);
        if around.before == 0 && around.behind == u64::MAX {
            return;
        }
        let place = if first.service == self.head.service { 1.0 } else { ELSEWHERE };
        let odds = suits * place * self.step(&around, first.service, NAMED);
        if odds < LEAST {
            return;
        }
        let mut one = Candidate::of(first, self.evidence, odds);
        (one.span, one.ended) = (first.parent, 0);
        weights.add(one);
    }

    /// How often spans of this sort call such a head; `None` if this one did not.
    fn suits(&self, node: &Node) -> Option<f64> {
        let head = self.head;
        // Clocks of two hosts are not one: the head's times by the clock of the node.
        let (offset, sd) = self.index.delays.of(node.service, head.service).offset();
        let local = node.service == head.service;
        let (offset, slack) =
            if local { (0, SLACK) } else { ((offset * 1e6) as i64, SLACK + (sd * 3e6) as u64) };
        let [start, end] = [head.start, head.end].map(|at| at.saturating_add_signed(-offset));
        if node.start > start.saturating_add(slack) {
            return None;
        }
        if head.kind == CONSUMER {
            return match (node.kind, node.role) {
                (PRODUCER, _) => Some(1.0),
                (SERVER, _) | (_, Role::Agent) => Some(0.1),
                _ => None,
            };
        }
        if node.end.saturating_add(slack) < end {
            return None;
        }
        match (head.role, head.kind, node.role, node.kind) {
            (_, SERVER, Role::Llm, _) => None,
            (_, SERVER, _, CLIENT) => Some(1.0),
            (_, SERVER, Role::Tool, _) => Some(0.2),
            (_, SERVER, Role::Agent | Role::Chain, _) => Some(0.1),
            (_, SERVER, ..) => Some(0.02),
            (_, _, Role::Agent | Role::Chain, _) => Some(1.0),
            (Role::Tool, _, Role::Llm, _) => Some(0.1),
            (_, _, Role::Tool, _) => Some(0.5),
            (_, _, Role::None, SERVER | CONSUMER) => Some(0.5),
            _ => None,
        }
    }

    /// How likely an operation is to be the head's parent, by what was seen of both, and whether it
    /// was seen as that.
    fn prior(&self, node: &Node, suits: f64) -> (f64, bool) {
        let answers = matches!(self.head.kind, SERVER | CONSUMER);
        let local = node.service == self.head.service;
        let place = if answers || local { 1.0 } else { ELSEWHERE };
        let rate = self.index.rates.get(self.head.operation).copied().unwrap_or_default();
        let edge = self.index.hasher.hash_one((node.operation, self.head.operation));
        let seen = self.index.edges.get(edge).copied().unwrap_or(0);
        let likely =
            (f64::from(seen) + BEFORE * suits * place) / (f64::from(rate.children) + BEFORE);
        (likely, seen > 0)
    }

    /// What happened around the head below a span, as far as it is known.
    fn around(&self, node: Option<&Node>, family: &[&Node]) -> Around {
        let head = self.head;
        let mut around = Around {
            before: node.map_or(0, |node| node.start),
            behind: node.map_or(u64::MAX, |node| node.end),
            busy: false,
        };
        for child in family {
            for at in [child.start, child.end] {
                if at <= head.start.saturating_add(SLACK) {
                    around.before = around.before.max(at);
                } else if at.saturating_add(SLACK) >= head.end {
                    around.behind = around.behind.min(at);
                }
            }
            let meanwhile = child.start.saturating_add(SLACK) < head.end
                && head.start.saturating_add(SLACK) < child.end;
            let abreast = head.role == Role::Tool && child.role == Role::Tool;
            around.busy |= meanwhile && !abreast;
        }
        around
    }

    /// The odds of a step that begins and ends as the head does.
    fn step(&self, around: &Around, service: u64, loose: f64) -> f64 {
        let head = self.head;
        let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
        let scale = if service == head.service {
            STEP
        } else {
            STEP + self.index.delays.of(service, head.service).offset().1
        };
        let odds = |apart: f64| APART * scale / (scale + apart).powi(2);
        let before = if around.before == 0 { 1.0 } else { odds(ms(around.before, head.start)) };
        let behind =
            if around.behind == u64::MAX { 1.0 } else { odds(ms(head.end, around.behind)) };
        let busy = if around.busy { BESIDE } else { 1.0 };
        // Without a group nothing else speaks for it.
        let loose = if self.evidence == evidence::INSTANCE { 0.0 } else { loose };
        (before.max(LATE) * behind.max(ENDED) * (1.0 - loose) + loose) * busy
    }

    /// The odds of a call that the head answers.
    fn call(&self, node: &Node) -> f64 {
        let fit = Fit::of(node, self.head.start, self.head.end);
        let took = node.end.saturating_sub(node.start) as f64 / 1e6;
        let pair = self.index.delays.of(node.service, self.head.service);
        let answered = if self.index.is_answered(node) { BESIDE * BESIDE } else { 1.0 };
        let named = node.peer == 0 || node.peer == self.head.service || node.peer == self.head.peer;
        let tools = node.tool == 0 || self.head.tool == 0 || node.tool == self.head.tool;
        let fits = if named && tools { 1.0 } else { BESIDE };
        pair.density(fit) * APART * (took + STEP) * answered * fits
    }

    /// The odds of a message that the head receives.
    fn message(&self, node: &Node, family: &[&Node]) -> f64 {
        let waited = self.head.start.saturating_sub(node.end) as f64 / 1e6;
        let received = family.iter().any(|child| child.kind == CONSUMER);
        let density = 1.0 / (waited.max(TRANSIT.0) * (TRANSIT.1 / TRANSIT.0).ln());
        density * 60.0 * APART * if received { BESIDE } else { 1.0 }
    }

    /// Whether `node` stands below the head, as far as that is known.
    fn is_below(&self, node: &Node) -> bool {
        let mut at = *node;
        for _ in 0..limits::ORPHAN_DEPTH {
            if at.trace != self.head.trace || at.parent == 0 {
                return false;
            }
            if at.parent == self.head.span {
                return true;
            }
            match self.index.find(at.trace, at.parent) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::processors::tests::{Bench, request};

    /// What an agent asks another service in its session, and by whose clock it is 30 ms earlier
    /// there, with this parent.
    fn asked(trace: u32, answer: &str) -> String {
        format!(
            "resource service.name=\"web\"\nscope -\nspan {trace:x}/a1 \"ask\" 0..900ms \
             gen_ai.operation.name=\"invoke_agent\" session.id=\"s{trace}\"\n\
             span {trace:x}/a2 parent=a1 \"call\" kind=client 500ms..700ms \
             session.id=\"s{trace}\"\n\
             resource service.name=\"there\"\nscope -\n\
             span {answer} \"answer\" kind=server 472ms..668ms session.id=\"s{trace}\""
        )
    }

    #[test]
    fn what_began_before_its_caller_by_another_clock_is_called_by_it() {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{head_hold: 0s}");
        for n in 1..=200 {
            bench.check_untouched(&asked(n, &format!("{n:x}/b1 parent=a2")));
        }
        let printed = bench.pass(request(&asked(0x801, "901/b1")));
        let printed = text::print(Signal::Traces.message(), &printed);
        for tag in ["status=\"resolved\"", "parent.span_id=\"00000000000000a2\""] {
            assert!(printed.contains(tag), "{tag} in {printed}");
        }
    }
}
