//! What is learned from spans whose parent is known: how operations call each other, how calls look
//! in time, and how good guesses of callers are.
//!
//! Of one in a hundred calls that name their caller the caller is hidden, as it were, and searched
//! for by time alone. Where such guesses are wrong too often, no caller is said to be known by time
//! ([`super::delays`]); so what is said is measured on the stream itself. And ids of a framework's
//! own are believed while they name the parents that spans name.

use super::calls;
use super::facts::{CLIENT, Facts, Key, SERVER, Sort};
use super::index::{self, Index};
use super::meters::Meters;
use crate::moment::Moment;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// One of so many calls is a probe.
const PROBES: u64 = 100;

/// How a guess ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Right,
    Wrong,
    /// Nobody was likely enough.
    Abstained,
}

/// Learns from a span whose parent is known. One that comes `late`, behind its parent or before it
/// in another batch, may have it anywhere; others have it near.
pub fn learn(
    index: &mut Index,
    meters: &Meters,
    (facts, parent): (&Facts, u64),
    late: bool,
    now: Moment,
) {
    if facts.kind == SERVER {
        index.calls.update(facts.service, |calls| calls.last = now.monotonic);
    }
    let sample = index::is_sample(facts.trace);
    let probe = facts.kind == SERVER && is_probe(facts.span);
    if !facts.is_boundary() || !(sample || probe) {
        return;
    }
    let above = match late {
        true => index.find(facts.trace, parent).copied(),
        false => index.near(facts.trace, parent, now).copied(),
    };
    let Some(above) = above else { return };
    let called = (above.kind, facts.kind) == (CLIENT, SERVER);
    if probe && called {
        let result = calls::probe(index, facts, &above, now);
        index.delays.probed(&above, facts, result);
        meters.probed(result);
    }
    if !sample {
        return;
    }
    if called {
        index.delays.learn(&above, facts);
    }
    compare(index, facts, parent);
    let edge = index.hasher.hash_one((above.operation, facts.operation));
    index.edges.update(edge, |seen| *seen = seen.saturating_add(1));
}

/// Compares the parent that a framework's own ids name with the span's parent.
fn compare(index: &mut Index, facts: &Facts, parent: u64) {
    let own = facts.names.iter().filter(|key| matches!(key.sort, Sort::Shadow(_)));
    for key in own.copied().collect::<SmallVec<[Key; 2]>>() {
        let few = index.offering(key.hash).map(|few| (few.all.clone(), few.more));
        let Some((all, false)) = few else { continue };
        let mut named = all.iter().filter_map(|number| index.node(*number));
        let Some(named) = named.next().map(|node| (node.trace, node.span)) else { continue };
        let right = named == (facts.trace, parent);
        let of = index.hasher.hash_one((facts.tenant, facts.service, key.sort));
        index.shadows.update(of, |shadows| {
            shadows.right = shadows.right.saturating_add(u32::from(right));
            shadows.wrong = shadows.wrong.saturating_add(u32::from(!right));
        });
    }
}

/// Whether a call is a probe. Ids of spans are random, but for those that are counted.
fn is_probe(span: u64) -> bool {
    span.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff_ffff < u64::from(u32::MAX) / PROBES
}
