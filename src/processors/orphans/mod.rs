//! `orphans`: tags the spans at which a trace is torn.
//!
//! What is said, and when. Spans pass at once and arrive child-first, so nothing is said of a
//! parent that may still come:
//!
//! - `tool_call_root`: a span without parent (or with an all-zero one) that executes a tool. Its
//!   role decides, so it is certain when the span passes.
//! - `mid_sequence_root`: a second span without parent in one trace. The root that started first
//!   is the trace's, and the others are tagged. A later batch may bring a still earlier root; the
//!   one that passed cannot be tagged any more and is counted in `spanloom_orphans_late`.
//! - `missing_parent`, status `pending`: a span whose parent has not passed, although its trace's
//!   root passed at least `settle` ago, the span ended before the root did, and the memory
//!   reaches back to the trace's first span. On an intact trace this takes an exporter that is
//!   more than `settle` later than the root's and brings the child in an earlier batch than the
//!   parent. Spans that pass before their root are never tagged so.
//!
//! Not tagged: spans of kind SERVER (their caller may not be instrumented), with a link to another
//! trace, or CONSUMER spans with any link: these are deliberate beginnings.
//!
//! Tags are attributes: `app.agent.orphan.signature` (the weightiest), `.signatures` (all),
//! `.status`, `.evidence` (what the finding rests on: `span_role`, `trace_id` or `parent_id`) and
//! `.cause` where it is known. Nothing is dropped, moved or rewritten. The memory is bounded in
//! traces, ids and time.
//!
//! Absent here: holding heads until their parents had time to come, joining fragments of
//! different traces, gaps, over-merged traces, links and rewriting.

mod head;
pub mod remedy;
mod seen;
pub mod tags;

use super::inspect::{Inspector, Item};
use super::memory::{Bounds, Gauges, Memory, span_key, trace_key};
use super::names::{Names, Pattern};
use super::{Built, Kind, Setup};
use crate::config::catalog::{Class, no_check};
use crate::config::{Component, Key, Section};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::span;
use crate::otlp::view::{self, Request, ScopeGroup, Span};
use crate::otlp::wire::Message;
use crate::otlp::write::{put_text_attribute, put_texts_attribute};
use crate::telemetry::{Counter, Finding, Findings};
use head::{Head, Role, Tell};
use seen::Seen;
use smallvec::SmallVec;
use std::time::Duration;

const KEYS: &[Key] = &[
    Key::text("prefix", "app.agent", "what the names of attributes written here begin with"),
    Key::duration(
        "settle",
        limits::ORPHAN_SETTLE,
        "time behind a trace's root after which a parent that never came is missing",
    ),
    Key::int("limit_traces", limits::ORPHAN_TRACES, 1..=1 << 24, "traces that are remembered"),
    Key::int("limit_spans", limits::ORPHAN_SPANS, 2..=1 << 28, "span ids that are remembered"),
    Key::duration("ttl", limits::TRACE_TTL, "how long a silent trace is remembered"),
];

const SAMPLE: &str = "\
# of the attributes that tag a span
prefix: app.agent
# time behind a trace's root after which a parent that never came is missing
settle: 15s
# the memory of traces and span ids
limit_traces: 50000
limit_spans: 500000
ttl: 10m
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "orphans",
        aliases: &[],
        about: "tags the spans at which a trace is torn",
        sample: SAMPLE,
        signals: &["traces"],
        keys: KEYS,
        check: no_check,
    },
    build: |section, setup| Built::Inspector(Box::new(Orphans::new(section, setup))),
};

/// Heads that wait for the rest of their batch.
const WAITING_MAX: usize = 4096;

/// What is wrong at a head, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signature {
    ToolCallRoot,
    MidSequenceRoot,
    MissingParent,
}

impl Signature {
    const ALL: [Signature; 3] =
        [Signature::ToolCallRoot, Signature::MidSequenceRoot, Signature::MissingParent];

    fn name(self) -> &'static str {
        match self {
            Signature::ToolCallRoot => "tool_call_root",
            Signature::MidSequenceRoot => "mid_sequence_root",
            Signature::MissingParent => "missing_parent",
        }
    }

    fn evidence(self) -> &'static str {
        match self {
            Signature::ToolCallRoot => "span_role",
            Signature::MidSequenceRoot => "trace_id",
            Signature::MissingParent => "parent_id",
        }
    }
}

/// What is remembered of a trace.
#[derive(Clone, Copy, Default)]
struct Trace {
    root: Option<Root>,
    /// The number of the half of [`Seen`] at the trace's first span.
    since: Option<u64>,
}

/// The root that started first.
#[derive(Clone, Copy)]
struct Root {
    span: u64,
    start: u64,
    end: u64,
    /// When it passed.
    passed: Duration,
}

/// A span to be judged once its batch is read.
struct Waiting {
    /// Where it starts in the request.
    start: usize,
    trace: u128,
    span: u64,
    /// `None` for a root.
    parent: Option<u64>,
    head: Head,
}

/// The names of the tags.
struct Tags {
    signature: String,
    signatures: String,
    status: String,
    cause: String,
    evidence: String,
}

/// The processor.
struct Orphans {
    tags: Tags,
    tells: Names<Tell>,
    settle: Duration,
    traces: Memory<Trace>,
    seen: Seen,
    /// The trace of the last span, and whether all parents in it should have come: spans of one
    /// trace mostly stand together.
    current: (u128, bool),
    waiting: Vec<Waiting>,
    /// In the order of [`Signature::ALL`].
    found: Vec<Counter>,
    late: Counter,
    id: String,
    /// What was tagged in this batch, in order, and where it starts.
    tagged: Vec<(usize, Signature)>,
    findings: Findings,
}

impl Orphans {
    fn new(section: &Section, setup: &Setup<'_>) -> Orphans {
        let tag = |name: &str| format!("{}.orphan.{name}", section.text("prefix"));
        let found = |signature: &Signature| {
            let help = "Spans tagged as orphans, by their weightiest signature.";
            setup.counter("spanloom_orphans_found", help, &[("signature", signature.name())])
        };
        let late = "Second roots that had passed before the trace's own root came.";
        Orphans {
            tells: head::tells(&tag("signature")),
            tags: Tags {
                signature: tag("signature"),
                signatures: tag("signatures"),
                status: tag("status"),
                cause: tag("cause"),
                evidence: tag("evidence"),
            },
            settle: section.duration("settle"),
            traces: memory(section, setup),
            seen: Seen::new(setup.portion(section.count("limit_spans"))),
            current: (0, false),
            waiting: vec![],
            found: Signature::ALL.iter().map(found).collect(),
            late: setup.counter("spanloom_orphans_late", late, &[]),
            id: setup.id.to_owned(),
            tagged: vec![],
            findings: setup.registry.findings.clone(),
        }
    }

    /// Notes that spans of `trace` pass. Yields whether all parents in it should have come.
    fn enter(&mut self, trace: u128, now: Moment) -> bool {
        let number = self.seen.number();
        let known = self.traces.update(trace, now, |known| {
            known.since = known.since.or(Some(number));
            *known
        });
        let settled = known.root.is_some_and(|r| r.passed + self.settle <= now.monotonic);
        settled && known.since.is_some_and(|since| self.seen.reaches_back_to(since))
    }

    /// Notes a root. The one that started first stays.
    fn root(&mut self, trace: u128, span: u64, head: &Head, now: Moment) {
        let root = Root { span, start: head.start, end: head.end, passed: now.monotonic };
        let earlier = self.traces.update(trace, now, |known| match known.root {
            Some(before) if before.span == span || before.start <= root.start => None,
            before => {
                known.root = Some(root);
                before
            }
        });
        if earlier.is_some_and(|before| before.passed != now.monotonic) {
            self.late.add(1);
        }
    }

    /// Tags those of the waiting spans that are orphans.
    fn judge(&mut self, now: Moment, edits: &mut Edits) {
        for span in std::mem::take(&mut self.waiting) {
            let root = self.traces.get(span.trace, now).and_then(|trace| trace.root);
            let mut found: SmallVec<[Signature; 3]> = SmallVec::new();
            if span.head.role == Some(Role::Tool) {
                found.push(Signature::ToolCallRoot);
            }
            match span.parent {
                None if root.is_some_and(|root| root.span != span.span) => {
                    found.push(Signature::MidSequenceRoot);
                }
                None => {}
                Some(parent) => {
                    let gone = !self.seen.contains(span.trace, parent);
                    match root {
                        Some(root) if gone && span.head.end <= root.end => {
                            found.push(Signature::MissingParent);
                        }
                        _ => continue,
                    }
                }
            }
            if !span.head.is_legitimate() && !span.head.tagged {
                self.tag(&span, &found, edits);
            }
        }
    }

    fn tag(&mut self, span: &Waiting, found: &[Signature], edits: &mut Edits) {
        let Some(signature) = found.first() else {
            return;
        };
        let (status, cause) = match (span.parent, signature) {
            (Some(_), _) => ("pending", Some(span.head.parent_cause())),
            (None, Signature::MidSequenceRoot) => ("unresolved", span.head.root_cause()),
            (None, _) => ("unresolved", None),
        };
        let tags = &self.tags;
        let message = Message { bytes: &[], start: span.start };
        edits.append(message, |out| {
            let mut put = |key: &str, value: &str| {
                put_text_attribute(out, span::ATTRIBUTES, key.as_bytes(), value.as_bytes());
            };
            put(&tags.signature, signature.name());
            put(&tags.status, status);
            put(&tags.evidence, signature.evidence());
            if let Some(cause) = cause {
                put(&tags.cause, cause);
            }
            let names = found.iter().map(|signature| signature.name());
            put_texts_attribute(out, span::ATTRIBUTES, tags.signatures.as_bytes(), names);
        });
        if let Some(counter) = self.found.get(*signature as usize) {
            counter.add(1);
        }
        if self.tagged.len() < limits::FINDINGS {
            self.tagged.push((span.start, *signature));
        }
    }

    /// What is told of a tagged span: where it is, and no value of it.
    fn finding(
        &self,
        signature: Signature,
        span: Span<'_>,
        service: &[u8],
        now: Moment,
    ) -> Finding {
        Finding {
            time: now.unix_nanos,
            processor: self.id.clone(),
            signature: signature.name().to_owned(),
            service: view::text(service).to_owned(),
            span: view::text(span.name()).to_owned(),
            trace_id: span.trace_id().to_vec(),
        }
    }
}

fn memory(section: &Section, setup: &Setup<'_>) -> Memory<Trace> {
    let forgotten = |cause| {
        let help = "Traces of which nothing is known any more, by cause.";
        setup.counter("spanloom_orphans_forgotten_traces", help, &[("cause", cause)])
    };
    let gauges = Gauges {
        traces: setup.level("spanloom_orphans_traces", "Traces that are remembered."),
        evicted: forgotten("evicted"),
        expired: forgotten("expired"),
    };
    let bounds = Bounds {
        traces: setup.portion(section.count("limit_traces")),
        bytes: usize::MAX,
        ttl: section.duration("ttl"),
    };
    Memory::new(bounds, gauges, |_| 0)
}

impl Inspector for Orphans {
    fn keys(&self) -> Vec<Pattern> {
        self.tells.patterns()
    }

    fn begin(&mut self, now: Moment) {
        self.traces.expire(now);
        self.current = (0, false);
    }

    /// Learns from a span; one that may be an orphan waits for the rest of its batch.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits) {
        let (Some(trace), Some(span)) = (trace_key(item.trace_id), span_key(item.span_id)) else {
            return;
        };
        if trace != self.current.0 {
            self.current = (trace, self.enter(trace, now));
        }
        self.seen.insert(trace, span);
        let parent = span_key(item.parent_span_id);
        if parent.is_none() || self.current.1 {
            let head = Head::read(item, &self.tells);
            if parent.is_none() {
                self.root(trace, span, &head, now);
            }
            let start = item.message.start;
            self.waiting.push(Waiting { start, trace, span, parent, head });
        }
        if self.waiting.len() >= WAITING_MAX {
            self.judge(now, edits);
        }
    }

    fn end(&mut self, now: Moment, edits: &mut Edits) {
        self.judge(now, edits);
    }

    /// Notes what was tagged. The spans are looked up only now, and only where there are any.
    fn look_back(&mut self, request: Request<'_>, now: Moment) {
        let tagged = std::mem::take(&mut self.tagged);
        let mut tagged = tagged.into_iter().peekable();
        for group in request.resource_groups() {
            let end = group.0.start + group.0.bytes.len();
            if tagged.peek().is_none_or(|(start, _)| *start >= end) {
                continue;
            }
            let service = group.attributes().find(|attribute| attribute.key == b"service.name");
            let service = service.and_then(|attribute| attribute.value.as_text());
            for span in group.scope_groups().flat_map(ScopeGroup::spans) {
                if let Some((_, signature)) = tagged.next_if(|(start, _)| *start == span.0.start) {
                    let service = service.unwrap_or_default();
                    self.findings.note(self.finding(signature, span, service, now));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
