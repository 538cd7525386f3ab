//! The engine: learns from every span, asks the judge about heads, and lets those wait that it is
//! not sure of.

use super::Mode;
use super::facts::{Facts, INTERNAL, Reader, SERVER};
use super::hold::{Block, Hold};
use super::index::{self, Index, Root};
use super::judge::{Judge, Verdict, legitimate};
use super::links;
use super::meters::{self, Meters};
use super::noted;
use super::rewrite::{self, Rewrites};
use super::seen::Seen;
use super::tags::{self, Finding, Signature, Tags, status};
use super::words;
use crate::batch::Batch;
use crate::config::Section;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::span;
use crate::otlp::view::{self, AnyValue, Request, ResourceGroup};
use crate::otlp::wire::Message;
use crate::processors::fragments::{Fragments, Place};
use crate::processors::inspect::{Inspector, Item};
use crate::processors::memory::{span_key, trace_key};
use crate::processors::names::Pattern;
use crate::processors::{Out, Setup};
use crate::telemetry::Findings;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// Spans that wait for the rest of their batch.
const WAITING_MAX: usize = 4096;

/// A span to be judged once its batch is read.
struct Waiting {
    /// Where it starts in the request, and its number among those left.
    start: usize,
    number: u32,
    facts: Facts,
}

/// What a block may still wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nothing,
    /// Fragments that are held, and that its own go into.
    Others,
    /// Those, and evidence.
    All,
}

/// The processor.
pub struct Orphans {
    mode: Mode,
    tags: Tags,
    link_names: links::Names,
    rewrites: Rewrites,
    fragments: Arc<Fragments>,
    /// Where spans of the current trace go.
    alias: Option<u128>,
    /// Trace and number of the spans of this batch, if fragments are held.
    passed: Vec<(u128, u32)>,
    reader: Reader,
    services: HashMap<u64, String, RandomState>,
    index: Index,
    seen: Seen,
    settle: Duration,
    head_hold: Duration,
    hold_max: Duration,
    tool_below_agent: bool,
    /// The trace of the last span, and how many of it came since it was entered.
    current: (u128, u32),
    number: u32,
    waiting: Vec<Waiting>,
    /// Numbers of the spans of this batch that are to be held, and what was read of them.
    holding: Vec<(u32, Option<Facts>)>,
    hold: Hold,
    /// What was tagged in this batch, in order, and where it starts.
    tagged: Vec<(usize, Signature)>,
    edits: Edits,
    meters: Meters,
    id: String,
    findings: Findings,
}

impl Orphans {
    pub fn new(section: &Section, setup: &Setup<'_>) -> Orphans {
        let tags = Tags::new(section.text("prefix"));
        let hasher = RandomState::default();
        let tells = words::tells(tags.name(tags::SIGNATURE), section.text("tenant"));
        let boundaries = setup.portion(section.count("limit_boundaries"));
        let limit = usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX);
        Orphans {
            mode: Mode::of(section),
            tags,
            link_names: links::Names::new(section.text("prefix")),
            rewrites: Rewrites::new(hasher.clone(), setup),
            fragments: Fragments::of(setup),
            alias: None,
            passed: vec![],
            reader: Reader { tells, hasher: hasher.clone(), service: 0, tenant: 0 },
            services: HashMap::default(),
            index: Index::new(boundaries, meters::memory(section, setup), hasher),
            seen: Seen::new(setup.portion(section.count("limit_spans"))),
            settle: section.duration("settle"),
            head_hold: section.duration("head_hold"),
            hold_max: section.duration("hold_max"),
            tool_below_agent: section.text("tool_parent") != "model",
            current: (0, 0),
            number: 0,
            waiting: vec![],
            holding: vec![],
            hold: Hold::new(setup.portion(limit), setup.account.charge(0)),
            tagged: vec![],
            edits: Edits::default(),
            meters: Meters::new(setup),
            id: setup.id.to_owned(),
            findings: setup.registry.findings.clone(),
        }
    }

    /// Notes that spans of `trace` pass.
    fn enter(&mut self, trace: u128, now: Moment) {
        let (before, count) = std::mem::replace(&mut self.current, (trace, 0));
        if count > 0 {
            self.index.traces.update(before, now, |known| known.spans += count);
        }
        let number = self.seen.number();
        self.index.traces.update(trace, now, |known| {
            known.since = known.since.or(Some(number));
            known.first = known.first.min(now.monotonic);
            known.last = now.monotonic;
        });
        if self.mode == Mode::Rewrite {
            self.alias = self.rewrites.alias(trace, now);
        }
    }

    /// Notes a root. The one that started first stays.
    fn root(&mut self, facts: &Facts, now: Moment) {
        let root = Root {
            span: facts.span,
            start: if facts.start == 0 { u64::MAX } else { facts.start },
            end: facts.end,
            operation: facts.operation,
            passed: now.monotonic,
        };
        let earlier = self.index.traces.update(facts.trace, now, |known| match known.root {
            Some(before) if before.span == root.span || before.start <= root.start => None,
            before => {
                known.root = Some(root);
                before
            }
        });
        if earlier.is_some_and(|before| before.passed != now.monotonic) {
            self.meters.late.add(1);
        }
    }

    fn judge(&mut self, now: Moment) -> Judge<'_> {
        Judge {
            index: &mut self.index,
            seen: &self.seen,
            settle: self.settle,
            tool_below_agent: self.tool_below_agent,
            now,
            called: false,
        }
    }

    /// Judges the spans that waited for the rest of their batch.
    fn settle_batch(&mut self, now: Moment, edits: &mut Edits) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for Waiting { start, number, facts } in waiting.drain(..) {
            if let Some(parent) = facts.parent
                && self.seen.contains(facts.trace, parent)
            {
                self.learn(&facts, parent, now);
                continue;
            }
            let mut verdict = self.judge(now).first(&facts);
            if verdict == Verdict::Wait && self.head_hold.is_zero() {
                verdict = self.judge(now).due(&facts, true);
            }
            match verdict {
                Verdict::Pass => {}
                Verdict::Tag(finding) if !self.holds_all(&facts) => {
                    self.tag(start, (&facts, *finding), false, now, edits);
                }
                Verdict::Wait | Verdict::Tag(_) => self.holding.push((number, Some(facts))),
            }
        }
        // Its memory is used again.
        self.waiting = waiting;
    }

    /// Whether the head's whole fragment is held, since it may be rewritten.
    fn holds_all(&self, head: &Facts) -> bool {
        self.mode == Mode::Rewrite && head.parent.is_none() && !self.head_hold.is_zero()
    }

    /// Holds the fragments of the heads that are held.
    fn hold_fragments(&mut self) {
        let heads = self.holding.iter().filter_map(|(_, facts)| facts.as_ref());
        let roots = heads.filter(|facts| facts.parent.is_none());
        let torn: HashSet<u128, RandomState> = roots.map(|facts| facts.trace).collect();
        if !torn.is_empty() {
            let held: HashSet<u32, RandomState> = self.holding.iter().map(|(n, _)| *n).collect();
            let below = self.passed.iter().filter(|(trace, _)| torn.contains(trace));
            let below = below.filter(|(_, number)| !held.contains(number));
            self.holding.extend(below.map(|(_, number)| (*number, None)));
            self.holding.sort_by_key(|(number, _)| *number);
        }
        self.passed.clear();
    }

    /// Learns from a span whose parent is known.
    fn learn(&mut self, facts: &Facts, parent: u64, now: Moment) {
        if facts.kind == SERVER {
            self.index.calls.update(facts.service, |calls| calls.last = now.monotonic);
        }
        if !facts.is_boundary() || !index::is_sample(facts.trace) {
            return;
        }
        let above = self.index.find(facts.trace, parent).map(|node| node.operation);
        if let Some(above) = above {
            let edge = self.index.hasher.hash_one((above, facts.operation));
            self.index.edges.update(edge, |seen| *seen = seen.saturating_add(1));
        }
    }

    /// Says that all of the head's trace is below its parent, if that is resolved.
    fn join(&mut self, head: &Facts, finding: &Finding, now: Moment) {
        let Some(parent) = finding.parent.as_ref().filter(|_| finding.status == status::RESOLVED)
        else {
            return;
        };
        let first = self.index.trace(head.trace, now).and_then(|trace| trace.root);
        if parent.trace != head.trace && first.is_some_and(|root| root.span == head.span) {
            let above = Place { trace: parent.trace, span: parent.span };
            self.fragments.join(head.trace, above, now);
        }
    }

    /// Notes what was tagged in `request`.
    fn found(&mut self, request: Request<'_>, now: Moment) {
        let tagged = std::mem::take(&mut self.tagged);
        if !tagged.is_empty() {
            noted::note(&self.findings, &self.id, &tagged, request, now);
        }
    }

    fn tag(
        &mut self,
        start: usize,
        (head, mut finding): (&Facts, Finding),
        mended: bool,
        now: Moment,
        edits: &mut Edits,
    ) {
        let Some(signature) = finding.signatures.first().copied() else { return };
        if let Some(parent) = &finding.parent
            && parent.confidence >= 0.9
            && finding.evidence == tags::evidence::CLIENT_SERVER
        {
            self.index.answer(parent.trace, parent.span);
        }
        if let Some(parent) = &mut finding.parent {
            let service = self.services.get(&parent.service_hash);
            parent.service = service.cloned().unwrap_or_default();
        }
        if self.mode == Mode::Rewrite {
            self.rewrites.follow(&mut finding, now);
        }
        self.join(head, &finding, now);
        let message = Message { bytes: &[], start };
        edits.append(message, |out| {
            self.tags.put(out, &finding);
            if self.mode != Mode::Tag {
                links::put(out, &finding, &self.link_names, !mended);
            }
        });
        self.meters.tagged(signature, finding.status);
        if self.tagged.len() < limits::FINDINGS {
            self.tagged.push((start, signature));
        }
    }

    /// Judges the heads of a block. Yields the block again if it is to wait longer: for evidence,
    /// or for the fragments into which its own go.
    fn release(&mut self, block: Block, waits: Waits, now: Moment, out: &mut Out) -> Option<Block> {
        let waited = now.monotonic.saturating_sub(block.came);
        let last = waits != Waits::All || waited >= self.hold_max;
        let alone = waits == Waits::Nothing || waited >= self.hold_max;
        let mut verdicts = Vec::with_capacity(block.heads.len());
        for head in &block.heads {
            verdicts.push(match head {
                None => Verdict::Pass,
                Some(head) => match self.judge(now).due(head, last) {
                    Verdict::Wait => return Some(block),
                    verdict => verdict,
                },
            });
        }
        let mut moves = vec![];
        if self.mode == Mode::Rewrite {
            if !alone && rewrite::awaits(&block, &verdicts, &self.hold) {
                return Some(block);
            }
            let known = (&mut self.index, &mut self.seen);
            moves = self.rewrites.decide(&block, &verdicts, known, now);
            self.rewrites.close(&block);
        }
        let mut edits = std::mem::take(&mut self.edits);
        let heads = verdicts.into_iter().zip(&block.heads);
        for ((verdict, head), item) in heads.zip(block.spans()) {
            let mended = rewrite::mend(item, &moves, &self.tags, &mut edits);
            match (verdict, head) {
                (Verdict::Tag(mut finding), Some(head)) => {
                    finding.wait_ms = i64::try_from(waited.as_millis()).ok();
                    self.tag(item.0.start, (head, *finding), mended, now, &mut edits);
                }
                (_, Some(Facts { trace, parent: Some(parent), .. }))
                    if !self.seen.contains(*trace, *parent) =>
                {
                    self.meters.open.add(1);
                }
                _ => {}
            }
        }
        self.found(block.batch.request(), now);
        let tagged = !edits.is_empty();
        out.pass(if tagged { block.batch.edited(&mut edits) } else { block.batch });
        self.edits = edits;
        None
    }
}

impl Inspector for Orphans {
    fn keys(&self) -> Vec<Pattern> {
        self.reader.tells.patterns()
    }

    fn may_hold(&self) -> bool {
        !self.head_hold.is_zero()
    }

    fn begin(&mut self, now: Moment) {
        self.index.expire(now);
        self.meters.boundaries.set(self.index.len() as i64);
        (self.current, self.number, self.alias) = ((0, 0), 0, None);
        self.holding.clear();
        self.passed.clear();
    }

    fn resource(&mut self, group: ResourceGroup<'_>, hidden: &mut Vec<usize>, _: &mut Edits) {
        (self.reader.service, self.reader.tenant) = (0, 0);
        for attribute in group.attributes() {
            let is_service = attribute.key == b"service.name";
            let is_tenant =
                matches!(self.reader.tells.find(attribute.key), Some(words::Tell::Tenant));
            if !(is_service || is_tenant) || hidden.contains(&attribute.field.at) {
                continue;
            }
            let hash = self.reader.value(attribute.value);
            if is_tenant {
                self.reader.tenant = hash;
                continue;
            }
            self.reader.service = hash;
            let known = self.services.len() >= limits::ORPHAN_SERVICES;
            if let AnyValue::Text(name) = attribute.value
                && !known
                && !self.services.contains_key(&hash)
            {
                let name = view::text(name);
                let end = name.floor_char_boundary(limits::FINDING_TEXT_BYTES);
                self.services.insert(hash, name.get(..end).unwrap_or_default().to_owned());
            }
        }
    }

    /// Learns from a span; one that may be an orphan waits for the rest of its batch.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits) {
        let number = self.number;
        self.number += 1;
        let (Some(trace), Some(span)) = (trace_key(item.trace_id), span_key(item.span_id)) else {
            return;
        };
        if trace != self.current.0 {
            self.enter(trace, now);
        }
        self.current.1 += 1;
        if self.mode == Mode::Rewrite {
            self.passed.push((trace, number));
            if let Some(to) = self.alias {
                rewrite::retrace(item.message, &to.to_le_bytes(), &self.tags, edits);
            }
        }
        self.seen.insert(trace, span);
        let parent = span_key(item.parent_span_id);
        let kind = item.parts.iter().find(|part| part.number() == span::KIND);
        let kind = kind.map_or(0, |kind| item.number(*kind));
        let told = parent.is_none() || kind > u64::from(INTERNAL) || self.reader.tells(item);
        let open = parent.is_none_or(|parent| !self.seen.contains(trace, parent));
        if !told && !open {
            return;
        }
        let mut facts = Facts { trace, span, parent, ..Facts::default() };
        self.reader.read(item, &mut facts);
        if parent.is_none() {
            self.root(&facts, now);
        }
        if facts.is_boundary() || parent.is_none() {
            self.index.add(&facts, now);
        }
        if open && !(parent.is_none() && legitimate(&facts)) {
            self.waiting.push(Waiting { start: item.message.start, number, facts });
        } else if let Some(parent) = parent {
            self.learn(&facts, parent, now);
        }
        if self.waiting.len() >= WAITING_MAX {
            self.settle_batch(now, edits);
        }
    }

    fn end(&mut self, now: Moment, edits: &mut Edits) {
        let (trace, count) = std::mem::take(&mut self.current);
        if count > 0 {
            self.index.traces.update(trace, now, |known| known.spans += count);
        }
        self.settle_batch(now, edits);
        if self.mode == Mode::Rewrite {
            self.hold_fragments();
        }
    }

    fn look_back(&mut self, request: Request<'_>, now: Moment) {
        self.found(request, now);
    }

    fn holds(&mut self) -> Vec<u32> {
        self.holding.iter().map(|(number, _)| *number).collect()
    }

    fn hold(&mut self, batch: Batch, now: Moment) {
        let heads = self.holding.drain(..).map(|(_, facts)| facts).collect();
        let block = Block { batch, heads, came: now.monotonic };
        if self.mode == Mode::Rewrite {
            self.rewrites.open(&block);
        }
        self.hold.put(block, now.monotonic + self.head_hold);
    }

    fn held(&self) -> usize {
        self.hold.items()
    }

    fn wake_at(&self) -> Option<Moment> {
        self.hold.next()
    }

    fn wake(&mut self, now: Moment, out: &mut Out) {
        while let Some((block, early)) = self.hold.take(now, false) {
            let waits = if early { Waits::Nothing } else { Waits::All };
            if early {
                self.meters.hurried.add(block.heads.len());
            }
            if let Some(block) = self.release(block, waits, now, out) {
                self.hold.put(block, now.monotonic + self.settle / 4);
            }
        }
        self.meters.held.set(self.hold.bytes() as i64);
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        // Fragments that others go into leave first, however long the chain.
        let mut waits = Waits::Others;
        for _ in 0..limits::ORPHAN_DEPTH {
            let count = self.hold.len();
            for _ in 0..count {
                let Some((block, _)) = self.hold.take(now, true) else { return };
                if let Some(block) = self.release(block, waits, now, out) {
                    self.hold.put(block, now.monotonic + self.hold_max + self.head_hold);
                }
            }
            if self.hold.len() == count {
                waits = Waits::Nothing;
            }
        }
        while let Some((block, _)) = self.hold.take(now, true) {
            self.release(block, Waits::Nothing, now, out);
        }
    }
}
