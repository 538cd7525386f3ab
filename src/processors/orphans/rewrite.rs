//! `mode: rewrite`: joins what was torn off, for backends that show one trace and no links.
//!
//! It stands around the tagger, and knows of a head what the tagger wrote onto it. A fragment, all
//! spans of a trace whose head is held, waits with its head; when the head comes out with a parent
//! that is certain (an exact key, tier 0 or 1), all spans of the fragment get the parent's trace id
//! and the head its parent. Span ids stay. What was there before stands in the tags
//! `original_trace_id` and `original_parent_span_id`.
//!
//! What was joined is remembered for `alias_ttl`, so that late spans follow. A fragment that is
//! joined to one that waits itself waits with it. It takes whole traces, so a `trace_window` must
//! stand before it: a fragment of which something has passed is not joined.
//!
//! Refused, and counted by cause: a fragment with several heads or of which spans have passed, one
//! that would meet its own span ids or itself, traces of too many fragments or spans, and what is
//! over-merged.
//!
//! Absent here: log records, which keep the trace id that they came with.

use super::aliases::Aliases;
use super::seen::Seen;
use super::tags::{self, Tags, status};
use crate::batch::Batch;
use crate::config::Section;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{link, span};
use crate::otlp::partition::partition;
use crate::otlp::view::{AnyValue, Request, ScopeGroup, Span, text};
use crate::otlp::wire::{put_bytes_field, put_fixed32_field};
use crate::otlp::write::put_hex_attribute;
use crate::processors::memory::{span_key, trace_key};
use crate::processors::{Out, Setup, Stateful};
use crate::telemetry::Counter;
use crate::verdict::Verdict;
use foldhash::fast::RandomState;
use std::time::Duration;

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
type HashSet<K> = std::collections::HashSet<K, RandomState>;

/// Whether it is known that the parent is in another process, and whether it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// How sure a parent must be.
const CONFIDENCE: f64 = 0.99;

/// The processor.
pub struct Rewrite {
    tagger: Box<dyn Stateful>,
    tags: Tags,
    /// Fragments that wait, by trace.
    open: HashMap<u128, Open>,
    bytes: usize,
    limit: usize,
    aliases: Aliases,
    /// Spans that passed, by the trace that they passed in; and traces of which any did.
    seen: Seen,
    edits: Edits,
    meters: Meters,
}

/// The spans of a trace that wait for others of it.
#[derive(Default)]
struct Open {
    parts: Vec<Batch>,
    missing: HashSet<u64>,
    came: Duration,
}

/// A parent that a head is to get.
#[derive(Clone, Copy, Debug)]
struct Join {
    trace: u128,
    span: u64,
    remote: bool,
}

/// What a head says of its parent.
struct Head {
    span: u64,
    merged: bool,
    join: Option<Join>,
}

struct Meters {
    spans: Counter,
    fragments: Counter,
    hurried: Counter,
    refused: [Counter; 5],
}

/// Why a fragment is not joined.
#[derive(Clone, Copy)]
enum Refusal {
    Heads,
    Late,
    Collision,
    Limit,
    Merged,
}

impl Refusal {
    const ALL: [(Refusal, &'static str); 5] = [
        (Refusal::Heads, "several_heads"),
        (Refusal::Late, "late"),
        (Refusal::Collision, "collision"),
        (Refusal::Limit, "limit"),
        (Refusal::Merged, "over_merged"),
    ];
}

impl Rewrite {
    pub fn new(section: &Section, setup: &Setup<'_>, tagger: Box<dyn Stateful>) -> Rewrite {
        let counter = |name: &str, help: &str| setup.counter(name, help, &[]);
        let refused = Refusal::ALL.map(|(_, cause)| {
            let help = "Fragments with a certain parent that were not joined to it, by cause.";
            setup.counter("spanloom_orphans_refused", help, &[("cause", cause)])
        });
        let fragments = "Fragments that were joined to the trace of their parent.";
        let hurried = "Fragments that passed as they came because too much was held.";
        Rewrite {
            tagger,
            tags: Tags::new(section.text("prefix")),
            open: HashMap::default(),
            bytes: 0,
            limit: usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX),
            aliases: Aliases::new(section.count("limit_traces"), section.duration("alias_ttl")),
            seen: Seen::new(section.count("limit_spans")),
            edits: Edits::default(),
            meters: Meters {
                spans: counter("spanloom_orphans_rewritten_spans", "Spans of joined fragments."),
                fragments: counter("spanloom_orphans_rewritten_fragments", fragments),
                hurried: counter("spanloom_orphans_rewrite_hurried", hurried),
                refused,
            },
        }
    }

    /// Takes what the tagger passes on. Traces of interest are those that wait, that have a head
    /// with a certain parent, or that were joined; all others pass as they are.
    fn take(&mut self, batch: Batch, now: Moment, out: &mut Out) {
        let mut places: HashMap<u128, usize> = HashMap::default();
        let mut traces = vec![];
        for span in spans(batch.request()) {
            let Some(trace) = trace_key(span.trace_id()) else { continue };
            let interesting = self.open.contains_key(&trace)
                || self.aliases.contains(trace)
                || self.head(span, &[]).is_some_and(|head| head.join.is_some());
            if interesting && !places.contains_key(&trace) {
                traces.push(trace);
                places.insert(trace, traces.len());
            }
        }
        let parts = partition(batch.signal().message(), batch.bytes(), |item| {
            let trace = trace_key(Span(item).trace_id());
            trace.and_then(|trace| places.get(&trace)).copied().unwrap_or(0)
        });
        for (place, part) in parts {
            let part = batch.part(part.bytes, part.items);
            match place.checked_sub(1).and_then(|place| traces.get(place)) {
                Some(trace) => self.take_part(*trace, part, now, out),
                None => self.pass(part, out),
            }
        }
        batch.settle(&Verdict::Accepted);
    }

    /// Takes spans of one trace.
    fn take_part(&mut self, trace: u128, part: Batch, now: Moment, out: &mut Out) {
        let mut open = self.open.remove(&trace).unwrap_or_default();
        for span in spans(part.request()) {
            if let Some(id) = span_key(span.span_id()) {
                open.missing.remove(&id);
            }
        }
        self.bytes += part.weight();
        open.parts.push(part);
        if open.missing.is_empty() {
            return self.close(trace, open, now, out);
        }
        for part in &mut open.parts {
            part.receipts.take_custody();
        }
        self.open.insert(trace, open);
    }

    /// Joins a trace that is complete, as far as its heads know where to.
    fn close(&mut self, trace: u128, open: Open, now: Moment, out: &mut Out) {
        self.bytes -= open.parts.iter().map(Batch::weight).sum::<usize>().min(self.bytes);
        let Some(batch) = Batch::joined(open.parts) else { return };
        let known = self.aliases.of(trace);
        if known != trace {
            let moved = self.rewrite(batch, trace, known, None);
            return self.pass(moved, out);
        }
        let heads = self.heads(trace, &batch);
        let joins = heads.iter().filter_map(|head| Some((head.span, head.join?)));
        let elsewhere: Vec<(u64, Join)> =
            joins.clone().filter(|(_, join)| self.aliases.of(join.trace) != trace).collect();
        let within: Vec<(u64, Join)> = joins.filter(|(_, join)| join.trace == trace).collect();
        let mut batch = batch;
        for (head, join) in within {
            batch = self.rewrite(batch, trace, trace, Some((head, join)));
        }
        let Some((head, join)) = elsewhere.first().copied() else {
            return self.pass(batch, out);
        };
        let target = self.aliases.of(join.trace);
        if let Some(refusal) = self.refusal(trace, target, &heads, &batch, now) {
            if let Some(counter) = self.meters.refused.get(refusal as usize) {
                counter.add(1);
            }
            return self.pass(batch, out);
        }
        self.meters.fragments.add(1);
        let moved = self.rewrite(batch, trace, target, Some((head, join)));
        match self.open.get_mut(&target) {
            // The parent's own trace waits to be joined: this goes where it goes.
            Some(waiting) => {
                self.bytes += moved.weight();
                waiting.parts.push(moved);
            }
            None => self.pass(moved, out),
        }
    }

    /// Why the one fragment that `batch` is cannot be joined to `target`; it is noted if it can.
    fn refusal(
        &mut self,
        trace: u128,
        target: u128,
        heads: &[Head],
        batch: &Batch,
        now: Moment,
    ) -> Option<Refusal> {
        let has_passed = |span: Span<'_>, seen: &Seen, trace: u128| {
            span_key(span.span_id()).is_some_and(|id| seen.contains(trace, id))
        };
        if heads.iter().any(|head| head.merged) {
            return Some(Refusal::Merged);
        }
        if heads.len() != 1 {
            return Some(Refusal::Heads);
        }
        if self.seen.contains(trace, 0) {
            return Some(Refusal::Late);
        }
        if spans(batch.request()).any(|span| has_passed(span, &self.seen, target)) {
            return Some(Refusal::Collision);
        }
        let noted = self.aliases.add(trace, target, batch.items(), now);
        (!noted).then_some(Refusal::Limit)
    }

    /// The heads among the spans of `trace`.
    fn heads(&self, trace: u128, batch: &Batch) -> Vec<Head> {
        let ids: HashSet<u64> =
            spans(batch.request()).filter_map(|span| span_key(span.span_id())).collect();
        let mut heads = vec![];
        for group in batch.request().resource_groups() {
            let service = group.attributes().find(|attribute| attribute.key == b"service.name");
            let service = service.and_then(|attribute| attribute.value.as_text());
            for span in group.scope_groups().flat_map(ScopeGroup::spans) {
                let parent = span_key(span.parent_span_id());
                let is_inner = parent.is_some_and(|parent| {
                    ids.contains(&parent) || self.seen.contains(trace, parent)
                });
                if !is_inner {
                    heads.extend(self.head(span, service.unwrap_or_default()));
                }
            }
        }
        heads
    }

    /// Reads the tags of a span of `service`.
    fn head(&self, span: Span<'_>, service: &[u8]) -> Option<Head> {
        let mut head = Head { span: span_key(span.span_id())?, merged: false, join: None };
        let (mut resolved, mut exact, mut sure, mut remote) = (false, false, false, false);
        let (mut trace, mut parent) = (None, None);
        let name = |name: &str| self.tags.name(name).as_bytes();
        for attribute in span.attributes() {
            let (key, value) = (attribute.key, attribute.value);
            let word = value.as_text().unwrap_or_default();
            if key == name(tags::STATUS) {
                resolved = word == status::RESOLVED.as_bytes();
            } else if key == name(tags::SIGNATURE) {
                head.merged = word == tags::Signature::OverMerged.name().as_bytes();
            } else if key == name(tags::TIER) {
                exact = matches!(value, AnyValue::Int(0 | 1));
            } else if key == name(tags::CONFIDENCE) {
                sure = matches!(value, AnyValue::Double(sure) if sure >= CONFIDENCE);
            } else if key == name(tags::PARENT_TRACE_ID) {
                trace = u128::from_str_radix(text(word), 16).ok().map(u128::swap_bytes);
            } else if key == name(tags::PARENT_SPAN_ID) {
                parent = u64::from_str_radix(text(word), 16).ok().map(u64::swap_bytes);
            } else if key == name(tags::PARENT_SERVICE) {
                remote = word != service;
            }
        }
        if resolved && exact && sure {
            head.join = trace.zip(parent).map(|(trace, span)| Join { trace, span, remote });
        }
        Some(head)
    }

    /// `batch`, whose spans are of the trace `from`, with the trace id `to`, and with its parent
    /// at the head.
    fn rewrite(&mut self, batch: Batch, from: u128, to: u128, head: Option<(u64, Join)>) -> Batch {
        let mut edits = std::mem::take(&mut self.edits);
        for span in spans(batch.request()) {
            let own = span_key(span.span_id());
            let join = head.filter(|(id, _)| Some(*id) == own).map(|(_, join)| join);
            if from != to {
                self.move_span(span, from, to, &mut edits);
            }
            if let Some(join) = join {
                self.join_head(span, join, &mut edits);
            }
        }
        if from != to {
            self.meters.spans.add(batch.items());
        }
        let batch = if edits.is_empty() { batch } else { batch.edited(&mut edits) };
        self.edits = edits;
        batch
    }

    fn move_span(&self, span: Span<'_>, from: u128, to: u128, edits: &mut Edits) {
        let id = to.to_le_bytes();
        let original = self.tags.name(tags::ORIGINAL_TRACE_ID).as_bytes();
        let mut known = false;
        for field in span.0.fields() {
            match field.number {
                span::TRACE_ID => {
                    edits.replace(span.0, &field, |out| put_bytes_field(out, span::TRACE_ID, &id));
                }
                span::LINKS => {
                    let Some(message) = field.message() else { continue };
                    let own = message.field(link::TRACE_ID);
                    if let Some(own) = own.filter(|own| trace_key(own.bytes()) == Some(from)) {
                        edits.replace(message, &own, |out| {
                            put_bytes_field(out, link::TRACE_ID, &id)
                        });
                    }
                }
                span::ATTRIBUTES => known |= crate::otlp::view::key(&field) == original,
                _ => {}
            }
        }
        // One that is joined again had another id at first.
        if !known {
            edits.append(span.0, |out| {
                put_hex_attribute(out, span::ATTRIBUTES, original, &from.to_le_bytes());
            });
        }
    }

    fn join_head(&self, span: Span<'_>, join: Join, edits: &mut Edits) {
        let before = span.parent_span_id().to_vec();
        let remote = if join.remote { HAS_IS_REMOTE | IS_REMOTE } else { HAS_IS_REMOTE };
        let flags = (span.flags() as u32 & !(HAS_IS_REMOTE | IS_REMOTE)) | remote;
        let fields = span.0.fields();
        let old = fields.filter(|f| matches!(f.number, span::PARENT_SPAN_ID | span::FLAGS));
        old.for_each(|field| edits.remove(span.0, &field));
        let original = self.tags.name(tags::ORIGINAL_PARENT_SPAN_ID).as_bytes();
        edits.append(span.0, |out| {
            put_bytes_field(out, span::PARENT_SPAN_ID, &join.span.to_le_bytes());
            put_fixed32_field(out, span::FLAGS, flags);
            if before.iter().any(|byte| *byte != 0) {
                put_hex_attribute(out, span::ATTRIBUTES, original, &before);
            }
        });
    }

    /// Passes spans on, and notes that they did.
    fn pass(&mut self, batch: Batch, out: &mut Out) {
        for span in spans(batch.request()) {
            if let (Some(trace), Some(id)) = (trace_key(span.trace_id()), span_key(span.span_id()))
            {
                self.seen.insert(trace, id);
                self.seen.insert(trace, 0);
            }
        }
        out.pass(batch);
    }

    /// Notes which spans of `held` the tagger did not pass on, and takes the others.
    fn sort(&mut self, came: Vec<(u128, u64)>, passed: Vec<Batch>, now: Moment, out: &mut Out) {
        let ids = |batch: &Batch| -> Vec<(u128, u64)> { ids(batch.request()) };
        let left: HashSet<(u128, u64)> = passed.iter().flat_map(ids).collect();
        for (trace, span) in came.into_iter().filter(|id| !left.contains(id)) {
            let open = self.open.entry(trace).or_default();
            open.came = if open.missing.is_empty() { now.monotonic } else { open.came };
            open.missing.insert(span);
        }
        for batch in passed {
            self.take(batch, now, out);
        }
        self.relieve(out);
    }

    /// Passes the fragments that wait longest as they are, if too much waits.
    fn relieve(&mut self, out: &mut Out) {
        while self.bytes > self.limit {
            let oldest = self.open.iter().filter(|(_, open)| !open.parts.is_empty());
            let oldest = oldest.min_by_key(|(_, open)| open.came).map(|(trace, _)| *trace);
            let Some(open) = oldest.and_then(|trace| self.open.get_mut(&trace)) else { return };
            let parts = std::mem::take(&mut open.parts);
            self.meters.hurried.add(1);
            for part in parts {
                self.bytes -= part.weight().min(self.bytes);
                self.pass(part, out);
            }
        }
    }
}

impl Stateful for Rewrite {
    fn process(&mut self, batch: Batch, now: Moment, out: &mut Out) {
        self.aliases.expire(now);
        let came = ids(batch.request());
        let mut tagged = Out::default();
        self.tagger.process(batch, now, &mut tagged);
        self.sort(came, tagged.take(), now, out);
    }

    fn wake_at(&self) -> Option<Moment> {
        self.tagger.wake_at()
    }

    fn wake(&mut self, now: Moment, out: &mut Out) {
        let mut tagged = Out::default();
        self.tagger.wake(now, &mut tagged);
        self.sort(vec![], tagged.take(), now, out);
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        let mut tagged = Out::default();
        self.tagger.finish(now, &mut tagged);
        self.sort(vec![], tagged.take(), now, out);
        for (_, open) in std::mem::take(&mut self.open) {
            open.parts.into_iter().for_each(|part| self.pass(part, out));
        }
    }
}

fn spans(request: Request<'_>) -> impl Iterator<Item = Span<'_>> {
    request.resource_groups().flat_map(|group| group.scope_groups()).flat_map(ScopeGroup::spans)
}

/// The valid ids of all spans.
fn ids(request: Request<'_>) -> Vec<(u128, u64)> {
    spans(request)
        .filter_map(|span| Some((trace_key(span.trace_id())?, span_key(span.span_id())?)))
        .collect()
}
