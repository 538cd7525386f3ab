//! Breakers tear traces as they are torn in the wild, and keep the truth.

use super::generator::{Keys, Trace};
use super::random::Random;
use super::span::{Part, Span};
use std::collections::{BTreeMap, HashSet};

/// What is true of a head.
#[derive(Clone, Debug)]
pub struct Torn {
    pub breaker: &'static str,
    /// The signature that must be found.
    pub signature: &'static str,
    /// The parent, if it is in the stream.
    pub parent: Option<(u128, u64)>,
    /// The trace that it was of.
    pub trace: u128,
}

pub type Truth = BTreeMap<(u128, u64), Torn>;

/// A corpus in which some traces are torn.
pub struct Broken {
    pub spans: Vec<Span>,
    pub truth: Truth,
}

const A: &str = "mid_sequence_root";
const B: &str = "trace_discontinuity";
const C: &str = "tool_call_root";
const D: &str = "unexplained_gap";
const E: &str = "missing_parent";
const F: &str = "over_merged";

/// Tears a share of `traces`, each by one breaker.
pub fn break_some(traces: Vec<Trace>, share: f64, keys: Keys, seed: u64) -> Broken {
    let (mut random, mut broken) = (Random(seed), Broken { spans: vec![], truth: Truth::new() });
    let mut merging: Option<(u128, usize, String)> = None;
    for trace in traces {
        let (mut spans, session) = (trace.spans, trace.session);
        if let Some((id, left, first)) = &mut merging {
            if *first != session {
                spans.iter_mut().for_each(|span| span.trace = *id);
                merged(&spans, &mut broken.truth);
                *left -= 1;
            }
        } else if random.chance(share) {
            match random.below(6) {
                0 => no_parent(&mut spans, &mut random, &mut broken.truth),
                1 => new_trace(&mut spans, &mut random, keys, &mut broken.truth),
                2 => cut_tool(&mut spans, &mut random, &mut broken.truth),
                3 => no_producer(&mut spans, &mut random, &mut broken.truth),
                4 => no_ancestor(&mut spans, &mut random, &mut broken.truth),
                _ if keys == Keys::None => {}
                _ => {
                    merged(&spans, &mut broken.truth);
                    merging = spans.first().map(|span| (span.trace, 2, session));
                }
            }
        }
        merging = merging.filter(|(_, left, _)| *left > 0);
        broken.spans.extend(spans);
    }
    broken
}

/// Takes the parents of a share of the heads out of the stream: who is below those misses them.
pub fn absent(broken: &mut Broken, share: f64, seed: u64) {
    let mut random = Random(seed);
    let torn = broken.truth.values().filter(|torn| matches!(torn.breaker, "B1" | "B2" | "B3"));
    let gone: HashSet<(u128, u64)> =
        torn.filter_map(|torn| torn.parent).filter(|_| random.chance(share)).collect();
    for span in broken.spans.iter().filter(|span| gone.contains(&(span.trace, span.parent))) {
        let torn = Torn { breaker: "absent", signature: E, parent: None, trace: span.trace };
        broken.truth.entry((span.trace, span.span)).or_insert(torn);
    }
    broken.truth.retain(|at, _| !gone.contains(at));
    broken.spans.retain(|span| !gone.contains(&(span.trace, span.span)));
}

/// Whether a span says of itself that it executes a tool.
fn is_tool(span: &Span) -> bool {
    span.part == Part::Tool
        || span.attributes.iter().any(|(key, _)| matches!(key.as_str(), "gen_ai.tool.name"))
}

/// One of the spans that `fits`.
fn pick(spans: &[Span], random: &mut Random, fits: impl Fn(&Span) -> bool) -> Option<usize> {
    let all: Vec<usize> =
        (0..spans.len()).filter(|at| spans[*at].parent != 0 && fits(&spans[*at])).collect();
    (!all.is_empty()).then(|| all[random.below(all.len())])
}

/// B1: no parent, in the same trace.
fn no_parent(spans: &mut [Span], random: &mut Random, truth: &mut Truth) {
    let fits = |span: &Span| matches!(span.part, Part::Agent | Part::Model | Part::Tool);
    let Some(at) = pick(spans, random, fits) else { return };
    let signature = if is_tool(&spans[at]) { C } else { A };
    let span = &mut spans[at];
    let trace = span.trace;
    let parent = Some((span.trace, std::mem::take(&mut span.parent)));
    let torn = Torn { breaker: "B1", signature, parent, trace };
    truth.insert((span.trace, span.span), torn);
}

/// Gives a span and all below it a trace of their own.
fn cut(spans: &mut [Span], at: usize, random: &mut Random) {
    let fresh = u128::from(random.next()) << 64 | u128::from(random.next());
    spans[at].parent = 0;
    let mut below: HashSet<u64> = HashSet::from([spans[at].span]);
    for span in spans.iter_mut() {
        if below.contains(&span.parent) || below.contains(&span.span) {
            below.insert(span.span);
            span.trace = fresh;
        }
    }
}

/// B2: a new trace below a call of another process.
fn new_trace(spans: &mut [Span], random: &mut Random, keys: Keys, truth: &mut Truth) {
    let fits = |span: &Span| matches!(span.part, Part::Server);
    let Some(at) = pick(spans, random, fits) else { return };
    let trace = spans[at].trace;
    let parent = Some((trace, spans[at].parent));
    let signature = match (is_tool(&spans[at]), keys) {
        (true, _) => C,
        (false, Keys::Session) => A,
        (false, _) => B,
    };
    cut(spans, at, random);
    let torn = Torn { breaker: "B2", signature, parent, trace };
    truth.insert((spans[at].trace, spans[at].span), torn);
}

/// B3: a tool in a trace of its own.
fn cut_tool(spans: &mut [Span], random: &mut Random, truth: &mut Truth) {
    let Some(at) = pick(spans, random, |span| span.part == Part::Tool) else { return };
    let trace = spans[at].trace;
    let parent = Some((trace, spans[at].parent));
    cut(spans, at, random);
    let torn = Torn { breaker: "B3", signature: C, parent, trace };
    truth.insert((spans[at].trace, spans[at].span), torn);
}

/// B4: the producer is gone, and what it sent for is in a trace of its own.
fn no_producer(spans: &mut Vec<Span>, random: &mut Random, truth: &mut Truth) {
    let Some(at) = pick(spans, random, |span| span.part == Part::Consumer) else { return };
    // The parent is gone.
    let (trace, parent) = (spans[at].trace, None);
    cut(spans, at, random);
    let torn = Torn { breaker: "B4", signature: D, parent, trace };
    truth.insert((spans[at].trace, spans[at].span), torn);
    spans.retain(|span| span.part != Part::Producer);
}

/// B5: a span that has others below it is gone.
fn no_ancestor(spans: &mut Vec<Span>, random: &mut Random, truth: &mut Truth) {
    let parents: HashSet<u64> = spans.iter().map(|span| span.parent).collect();
    let fits = |span: &Span| {
        matches!(span.part, Part::Agent | Part::Tool | Part::Client) && parents.contains(&span.span)
    };
    let Some(at) = pick(spans, random, fits) else { return };
    let gone = spans.remove(at);
    let trace = gone.trace;
    for span in spans.iter().filter(|span| span.parent == gone.span) {
        let torn = Torn { breaker: "B5", signature: E, parent: None, trace };
        truth.insert((span.trace, span.span), torn);
    }
}

/// B6: several sessions in one trace.
fn merged(spans: &[Span], truth: &mut Truth) {
    for span in spans.iter().filter(|span| span.parent == 0) {
        let trace = span.trace;
        let torn = Torn { breaker: "B6", signature: F, parent: None, trace };
        truth.insert((span.trace, span.span), torn);
    }
}
