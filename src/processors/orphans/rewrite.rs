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
use super::index::Index;
use super::seen::Seen;
use super::tags::{self, Finding, Tags};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{link, span};
use crate::otlp::view::Span;
use crate::otlp::wire::{Message, put_bytes_field, put_fixed32_field};
use crate::otlp::write::put_hex_attribute;
use crate::processors::Setup;
use crate::telemetry::Counter;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
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
            hasher,
            done: setup.counter("spanloom_orphans_rewritten", done, &[]),
            refused: CAUSES.map(refused).into(),
        }
    }

    /// Where spans of `trace` go, if not where they are.
    pub fn alias(&self, trace: u128, now: Moment) -> Option<u128> {
        let alias = self.aliases.get(self.hasher.hash_one(trace))?;
        let lives = alias.since + limits::ORPHAN_ALIAS_TIME > now.monotonic;
        (alias.trace != 0 && lives).then_some(alias.trace)
    }

    /// Decides on the fragment of `head`, of which `spans` are the span ids.
    pub fn decide(
        &mut self,
        head: &Facts,
        finding: &Finding,
        spans: &[u64],
        (index, seen): (&mut Index, &Seen),
        now: Moment,
    ) -> Option<Move> {
        let parent = finding.parent.as_ref()?;
        if parent.tier > 1 || parent.confidence < CERTAIN || head.parent.is_some() {
            return None;
        }
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
        if target.is_over_merged() {
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

/// Writes into `edits` that `item` goes where `to` says.
pub fn rewrite(item: Span<'_>, to: &Move, tags: &Tags, edits: &mut Edits) {
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
