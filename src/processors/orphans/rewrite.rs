//! Rewriting: a fragment whose parent is certain gets the trace of its parent.
//!
//! Only by exact keys (tier 0 or 1) with a confidence of 0.99, and never where it could make
//! things worse: into a trace that is several in one, that ended long ago, that has a span of the
//! same id, that stands below the fragment itself, or that has become too large; nor a fragment
//! into which another one went already, since what went there has left. What is refused is counted
//! by cause, and tagged as ever.
//!
//! Span ids stay. Spans of the fragment that come later follow by an alias.

use super::ages::Ages;
use super::facts::Facts;
use super::fates::Fates;
use super::hold::{Block, Head, Hold};
use super::index::Index;
use super::judge::Verdict;
use super::seen::Seen;
use super::tags::{self, Finding, Parent, Tags};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{link, span};
use crate::otlp::view::Span;
use crate::otlp::wire::{Message, put_bytes_field, put_fixed32_field};
use crate::otlp::write::put_hex_attribute;
use crate::processors::Setup;
use crate::processors::memory::{span_key, trace_key};
use crate::telemetry::Counter;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// A confidence from which on a parent is certain.
const CERTAIN: f64 = 0.99;

/// Span flags that say that the parent is in another process.
const REMOTE: u32 = 0x300;

/// Where the spans of a trace go.
#[derive(Clone, Copy, Default)]
struct Alias {
    /// 0 if they stay.
    trace: u128,
    since: Duration,
    /// Fragments that went into this trace.
    fragments: u32,
}

/// What was rewritten.
pub struct Rewrites {
    aliases: Ages<Alias>,
    fates: Arc<Fates>,
    hasher: RandomState,
    done: Counter,
    refused: Vec<(&'static str, Counter)>,
}

/// The head of a fragment: where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub from: u128,
    pub trace: u128,
    pub parent: u64,
    pub head: u64,
    pub remote: bool,
}

const CAUSES: [&str; 7] =
    ["over_merged", "closed", "collision", "cycle", "size", "received", "unseen"];

impl Rewrites {
    pub fn new(hasher: RandomState, setup: &Setup<'_>) -> Rewrites {
        let refused = |cause: &'static str| {
            let help =
                "Fragments that keep their trace although their parent is certain, by cause.";
            (cause, setup.counter("spanloom_orphans_refused_rewrites", help, &[("cause", cause)]))
        };
        let done = "Fragments that got the trace of their parent.";
        Rewrites {
            aliases: Ages::new(setup.portion(limits::ORPHAN_ALIASES)),
            fates: Fates::of(setup),
            hasher,
            done: setup.counter("spanloom_orphans_rewritten", done, &[]),
            refused: CAUSES.map(refused).into(),
        }
    }

    /// Says that fragments are held in `block`.
    pub fn open(&self, block: &Block) {
        block.roots().for_each(|trace| self.fates.open(trace));
    }

    /// Says that the fragments in `block` are decided.
    pub fn close(&self, block: &Block) {
        block.roots().for_each(|trace| self.fates.close(trace));
    }

    /// Where spans of `trace` go, if not where they are.
    pub fn alias(&self, trace: u128, now: Moment) -> Option<u128> {
        let alias = self.aliases.get(self.hasher.hash_one(trace))?;
        let lives = alias.since + limits::ORPHAN_ALIAS_TIME > now.monotonic;
        (alias.trace != 0 && lives).then_some(alias.trace)
    }

    /// Names traces in `finding` as they are called since they were rewritten.
    pub fn follow(&self, finding: &mut Finding, now: Moment) {
        let parent = finding.parent.as_mut().map(|parent| &mut parent.trace);
        let asked_by = finding.asked_by.as_mut().map(|(trace, _)| trace);
        for trace in parent.into_iter().chain(asked_by) {
            *trace = self.alias(*trace, now).unwrap_or(*trace);
        }
    }

    /// Decides on the fragments whose heads stand in `block`: where they go, in order of their
    /// traces.
    pub fn decide(
        &mut self,
        block: &Block,
        known: (&mut Index, &mut Seen),
        now: Moment,
    ) -> Vec<Move> {
        let (index, seen) = known;
        let ids = |item: Span<'_>| Some((trace_key(item.trace_id())?, span_key(item.span_id())?));
        let mut items: Vec<(u128, u64)> = block.spans().filter_map(ids).collect();
        items.sort_unstable();
        let mut moves: Vec<Move> = vec![];
        for (head, parent) in outer_first(certain(block).collect()) {
            let from = items.partition_point(|(trace, _)| *trace < head.trace);
            let to = items.partition_point(|(trace, _)| *trace <= head.trace);
            let below = items.get(from..to).unwrap_or_default();
            let below: Vec<u64> = below.iter().map(|(_, span)| *span).collect();
            if moves.iter().any(|to| to.from == head.trace && to.trace != to.from) {
                continue;
            }
            let decided = self.decide_one(head, parent, &below, (&mut *index, &*seen), now);
            if let Some(to) = decided.filter(|to| to.trace != to.from) {
                // What comes after it finds it there.
                below.iter().for_each(|span| seen.insert(to.trace, *span));
                let count = u32::try_from(below.len()).unwrap_or(u32::MAX);
                index.traces.update(to.trace, now, |trace| {
                    trace.spans = trace.spans.saturating_add(count);
                });
            }
            moves.extend(decided);
        }
        moves.sort_unstable_by_key(|to| to.from);
        moves
    }

    /// Decides on the fragment of `head`, of which `spans` are the span ids.
    fn decide_one(
        &mut self,
        head: &Facts,
        parent: &Parent,
        spans: &[u64],
        (index, seen): (&mut Index, &Seen),
        now: Moment,
    ) -> Option<Move> {
        let trace = self.alias(parent.trace, now).unwrap_or(parent.trace);
        if let Some(cause) = self.refusal(head, (parent.trace, trace), spans, (index, seen), now) {
            let counter = self.refused.iter().find(|(known, _)| *known == cause);
            counter.iter().for_each(|(_, counter)| counter.add(1));
            return None;
        }
        if trace != head.trace {
            let since = now.monotonic;
            self.aliases.update(self.hasher.hash_one(head.trace), |alias| {
                (alias.trace, alias.since) = (trace, since);
            });
            self.aliases.update(self.hasher.hash_one(trace), |alias| alias.fragments += 1);
            self.fates.moved(head.trace, trace, now);
        }
        self.done.add(1);
        let remote = parent.service_hash != 0 && parent.service_hash != head.service;
        Some(Move { from: head.trace, trace, parent: parent.span, head: head.span, remote })
    }

    /// Why the fragment of `head` keeps its trace, although it belongs to `named`, which goes to
    /// `trace`.
    fn refusal(
        &self,
        head: &Facts,
        (named, trace): (u128, u128),
        spans: &[u64],
        (index, seen): (&mut Index, &Seen),
        now: Moment,
    ) -> Option<&'static str> {
        if trace == head.trace {
            // The head alone gets a parent, unless that stands in what went out from here.
            return (named != head.trace).then_some("cycle");
        }
        let Some(target) = index.trace(named, now) else { return Some("unseen") };
        let of = |trace: u128| self.aliases.get(self.hasher.hash_one(trace)).copied();
        let fragments = of(trace).unwrap_or_default().fragments;
        let merged =
            |index: &mut Index| index.trace(trace, now).is_some_and(|t| t.is_over_merged());
        if target.is_over_merged() || merged(index) {
            return Some("over_merged");
        }
        if target.last + limits::ORPHAN_CLOSED_TIME < now.monotonic {
            return Some("closed");
        }
        if of(head.trace).is_some_and(|own| own.fragments > 0) {
            return Some("received");
        }
        if fragments >= limits::ORPHAN_FRAGMENTS
            || target.spans as usize + spans.len() > limits::ORPHAN_MENDED_SPANS
        {
            return Some("size");
        }
        let collides = |id: &u64| seen.contains(trace, *id) || seen.contains(named, *id);
        spans.iter().any(collides).then_some("collision")
    }
}

/// The heads of `block` that have a certain parent, and that.
fn certain(block: &Block) -> impl Iterator<Item = (&Facts, &Parent)> {
    block.heads().filter_map(|Head { facts: head, verdict, .. }| {
        let Some(Verdict::Tag(finding)) = verdict else { return None };
        let parent = finding.parent.as_ref()?;
        let sure = parent.tier <= 1 && parent.confidence >= CERTAIN && head.parent.is_none();
        sure.then_some((head, parent))
    })
}

/// The same, those first into whose traces others of them go.
fn outer_first<'b>(mut open: Vec<(&'b Facts, &'b Parent)>) -> Vec<(&'b Facts, &'b Parent)> {
    let mut sorted = Vec::with_capacity(open.len());
    for _ in 0..limits::ORPHAN_DEPTH {
        let undecided: HashSet<u128, RandomState> =
            open.iter().map(|(head, _)| head.trace).collect();
        let inner = |(head, parent): &(&Facts, &Parent)| {
            parent.trace != head.trace && undecided.contains(&parent.trace)
        };
        let (waiting, ready): (Vec<_>, Vec<_>) = open.iter().partition(|one| inner(one));
        open = waiting;
        if ready.is_empty() {
            break;
        }
        sorted.extend(ready);
    }
    sorted.extend(open);
    sorted
}

/// Adds to what is held the fragments of the roots in it: of this batch trace and start of all that
/// `passed`.
pub fn hold_whole(holding: &mut Vec<(usize, Option<Facts>)>, passed: &mut Vec<(u128, usize)>) {
    let heads = holding.iter().filter_map(|(_, facts)| facts.as_ref());
    let roots = heads.filter(|facts| facts.parent.is_none());
    let torn: HashSet<u128, RandomState> = roots.map(|facts| facts.trace).collect();
    if !torn.is_empty() {
        let held: HashSet<usize, RandomState> = holding.iter().map(|(start, _)| *start).collect();
        let below = passed.iter().filter(|(trace, _)| torn.contains(trace));
        let below = below.filter(|(_, start)| !held.contains(start));
        holding.extend(below.map(|(_, start)| (*start, None)));
        holding.sort_by_key(|(start, _)| *start);
    }
    passed.clear();
}

/// Whether fragments of `block` belong into others that are held, and do not know where those go.
pub fn awaits(block: &Block, hold: &Hold) -> bool {
    certain(block)
        .any(|(head, parent)| parent.trace != head.trace && hold.has_root_of(parent.trace))
}

/// Rewrites `item` as `moves` say. Yields whether it is the head of one.
pub fn mend(item: Span<'_>, moves: &[Move], tags: &Tags, edits: &mut Edits) -> bool {
    let Some(trace) = trace_key(item.trace_id()).filter(|_| !moves.is_empty()) else {
        return false;
    };
    let from = moves.partition_point(|to| to.from < trace);
    let mut mended = false;
    for to in moves.iter().skip(from).take_while(|to| to.from == trace) {
        rewrite(item, to, tags, edits);
        mended |= span_key(item.span_id()) == Some(to.head);
    }
    mended
}

/// Writes into `edits` that `item` goes where `to` says.
fn rewrite(item: Span<'_>, to: &Move, tags: &Tags, edits: &mut Edits) {
    let message = item.0;
    let trace = to.trace.to_le_bytes();
    if to.trace != to.from {
        retrace(message, &trace, tags, edits);
    }
    if item.span_id() != to.head.to_le_bytes() {
        return;
    }
    set(message, span::PARENT_SPAN_ID, edits, |out| {
        put_bytes_field(out, span::PARENT_SPAN_ID, &to.parent.to_le_bytes());
    });
    if to.remote {
        set(message, span::FLAGS, edits, |out| {
            put_fixed32_field(out, span::FLAGS, item.flags() as u32 | REMOTE);
        });
    }
}

/// Gives a span another trace, and its links within its own the same.
pub fn retrace(message: Message<'_>, trace: &[u8], tags: &Tags, edits: &mut Edits) {
    let Some(own) = message.field(span::TRACE_ID) else { return };
    edits.replace(message, &own, |out| put_bytes_field(out, span::TRACE_ID, trace));
    for linked in message.messages(span::LINKS) {
        if let Some(id) = linked.field(link::TRACE_ID).filter(|id| id.bytes() == own.bytes()) {
            edits.replace(linked, &id, |out| put_bytes_field(out, link::TRACE_ID, trace));
        }
    }
    edits.append(message, |out| {
        let key = tags.name(tags::ORIGINAL_TRACE_ID).as_bytes();
        put_hex_attribute(out, span::ATTRIBUTES, key, own.bytes());
    });
}

/// Puts a field in the place of the one of its number, or where there is none.
fn set(message: Message<'_>, number: u32, edits: &mut Edits, write: impl FnOnce(&mut Vec<u8>)) {
    match message.field(number) {
        Some(field) => edits.replace(message, &field, write),
        None => edits.append(message, write),
    }
}
