//! The engine: learns from every span, asks the judge about heads, and lets those wait that it is
//! not sure of.

use super::Mode;
use super::backs::Backs;
use super::facts::{Facts, INTERNAL, Reader};
use super::gaps::Gaps;
use super::hold::{Block, Head, Hold};
use super::index::Index;
use super::judge::{Judge, Verdict, is_external, legitimate};
use super::learning;
use super::ledger::{Entry, Ledger};
use super::links;
use super::meters::{self, Meters};
use super::noted;
use super::rewrite::{self, Rewrites};
use super::roots::Roots;
use super::seen::Seen;
use super::services::Services;
use super::tags::{self, Finding, Signature, Tags, status};
use super::trace::Root;
use super::words;
use crate::batch::Batch;
use crate::config::Section;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::span;
use crate::otlp::view::{Request, ResourceGroup};
use crate::otlp::wire::Message;
use crate::processors::fragments::{Fragments, Place};
use crate::processors::inspect::{Inspector, Item};
use crate::processors::memory::{span_key, trace_key};
use crate::processors::{Out, Setup};
use crate::telemetry::Findings;
use foldhash::fast::RandomState;
use std::sync::Arc;
use std::time::Duration;

mod answers;
mod late;
mod release;

use release::Waits;

/// Spans that wait for the rest of their batch.
const WAITING_MAX: usize = 4096;

/// A span to be judged once its batch is read.
struct Waiting {
    /// Where it starts in the request.
    start: usize,
    facts: Facts,
}

/// The processor.
pub struct Orphans {
    mode: Mode,
    tags: Tags,
    link_names: links::Names,
    backs: Backs,
    rewrites: Rewrites,
    fragments: Arc<Fragments>,
    /// Where spans of the current trace go.
    alias: Option<u128>,
    /// Trace and start of the spans of this batch, if fragments are held.
    passed: Vec<(u128, usize)>,
    reader: Reader,
    services: Services,
    index: Index,
    seen: Seen,
    settle: Duration,
    head_hold: Duration,
    hold_max: Duration,
    tool_below_agent: bool,
    /// Whether what is called from outside is tagged.
    external: bool,
    waiting: Vec<Waiting>,
    /// Keys that heads wait for, and that spans of this batch offer.
    awaited: Vec<u64>,
    /// Starts of the spans of this batch that are to be held, and what was read of them.
    holding: Vec<(usize, Option<Facts>)>,
    hold: Hold,
    gaps: Gaps,
    ledger: Ledger,
    /// Heads that leave with the block at hand and where they start, for the ledger; and bridges
    /// that are still to be passed.
    leaving: Vec<(usize, Entry)>,
    bridges: Vec<Batch>,
    /// The attribute by which tenants are told apart.
    tenant: String,
    /// What was tagged in this batch, in order, and where it starts.
    tagged: Vec<(usize, Signature)>,
    edits: Edits,
    meters: Meters,
    id: String,
    findings: Findings,
}

impl Orphans {
    pub fn new(section: &Section, setup: &Setup<'_>) -> Orphans {
        let (mode, tags) = (Mode::of(section), Tags::new(section.text("prefix")));
        let hasher = RandomState::default();
        let call_ids = format!("{}.sensitive.call_ids", section.text("prefix"));
        let tells = words::tells(tags.name(tags::SIGNATURE), section.text("tenant"), &call_ids);
        let boundaries = setup.portion(section.count("limit_boundaries"));
        let limit = usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX);
        Orphans {
            mode,
            tags,
            link_names: links::Names::new(section.text("prefix")),
            backs: Backs::new(section.text("prefix"), hasher.clone(), setup),
            rewrites: Rewrites::new(hasher.clone(), setup),
            fragments: Fragments::of(setup),
            alias: None,
            passed: vec![],
            reader: Reader::new(tells, Roots::new(section.list("roots")), hasher.clone()),
            services: Services::default(),
            index: Index::new(boundaries, meters::memory(section, setup), hasher),
            seen: Seen::new(setup.portion(section.count("limit_spans"))),
            settle: section.duration("settle"),
            head_hold: section.duration("head_hold"),
            hold_max: section.duration("hold_max"),
            tool_below_agent: section.text("tool_parent") != "model",
            external: section.bool("external"),
            waiting: vec![],
            awaited: vec![],
            holding: vec![],
            hold: Hold::new(setup.portion(limit), setup.account.charge(0), mode),
            gaps: meters::gaps(setup),
            ledger: Ledger::new(
                setup.portion(limits::ORPHAN_LEDGER),
                section.duration("ledger"),
                setup.account.charge(0),
            ),
            leaving: vec![],
            bridges: vec![],
            tenant: section.text("tenant").to_owned(),
            tagged: vec![],
            edits: Edits::default(),
            meters: Meters::new(setup),
            id: setup.id.to_owned(),
            findings: setup.registry.findings.clone(),
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
            external: self.external,
            now,
            called: false,
        }
    }

    /// Judges the spans that waited for the rest of their batch.
    fn settle_batch(&mut self, now: Moment, edits: &mut Edits) {
        self.index.leave(now);
        let mut waiting = std::mem::take(&mut self.waiting);
        for Waiting { start, facts } in waiting.drain(..) {
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
                Verdict::Pass => self.meters.external.add(usize::from(is_external(&facts))),
                Verdict::Tag(finding) if !self.holds_all(&facts) => {
                    self.link_back(&facts, &finding, edits);
                    self.tag(start, (&facts, *finding), false, now, edits);
                }
                Verdict::Wait | Verdict::Tag(_) => self.holding.push((start, Some(facts))),
            }
        }
        // Its memory is used again.
        self.waiting = waiting;
    }

    /// Whether the head's whole fragment is held, since it may be rewritten.
    fn holds_all(&self, head: &Facts) -> bool {
        self.mode == Mode::Rewrite && head.parent.is_none() && !self.head_hold.is_zero()
    }

    /// Learns from a span whose parent is known.
    fn learn(&mut self, facts: &Facts, parent: u64, now: Moment) {
        learning::learn(&mut self.index, &self.meters, (facts, parent), false, now);
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
            parent.service = self.services.name(parent.service_hash);
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
}

impl Inspector for Orphans {
    fn meaning(&self, attribute: &[u8]) -> u16 {
        self.reader.meaning(attribute)
    }

    fn may_hold(&self) -> bool {
        !self.head_hold.is_zero()
    }

    fn begin(&mut self, now: Moment) {
        self.index.expire(now);
        self.ledger.begin(now);
        self.meters.boundaries.set(self.index.len() as i64);
        self.alias = None;
        self.holding.clear();
        self.passed.clear();
    }

    fn resource(&mut self, group: ResourceGroup<'_>, hidden: &mut Vec<usize>, _: &mut Edits) {
        (self.reader.service, self.reader.tenant) = (0, 0);
        self.saw(group);
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
            self.services.learn(hash, attribute.value);
        }
    }

    /// Learns from a span; one that may be an orphan waits for the rest of its batch.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits) {
        let (Some(trace), Some(span)) = (trace_key(item.trace_id), span_key(item.span_id)) else {
            return;
        };
        let entered = self.index.enter(trace, self.seen.number(), now);
        if entered {
            self.ledger.follow(trace);
            self.gaps.follow(trace);
            if self.mode == Mode::Rewrite {
                self.alias = self.rewrites.alias(trace, now);
            }
        }
        if self.mode == Mode::Rewrite {
            self.passed.push((trace, item.message.start));
            if let Some(to) = self.alias {
                rewrite::retrace(item.message, &to.to_le_bytes(), &self.tags, edits);
            }
        }
        self.seen.insert(trace, span);
        self.ledger.comes(trace, span, self.reader.service);
        self.gaps.note(item, &self.reader);
        let parent = span_key(item.parent_span_id);
        let kind = item.number(span::KIND);
        let ordinary = parent.is_some() && kind <= u64::from(INTERNAL);
        let told = !ordinary || self.reader.tells(item);
        let open = parent.is_none_or(|parent| !self.seen.contains(trace, parent));
        if !told && !open {
            return;
        }
        let mut facts = Facts::default();
        (facts.trace, facts.span, facts.parent) = (trace, span, parent);
        self.reader.read(item, &mut facts);
        if parent.is_none() {
            self.root(&facts, now);
        }
        if facts.is_boundary() || parent.is_none() {
            self.index.add(&facts, now);
            self.ledger.offers(&facts);
            if self.mode == Mode::Link {
                self.backs.comes((trace, span), item.message.start, edits);
                let offers = facts.offers.iter().map(|key| key.hash);
                self.awaited.extend(offers.filter(|key| self.hold.awaits(*key)));
            }
        }
        if open && !(parent.is_none() && legitimate(&facts)) {
            self.waiting.push(Waiting { start: item.message.start, facts });
        } else if let Some(parent) = parent {
            self.learn(&facts, parent, now);
        }
        if self.waiting.len() >= WAITING_MAX {
            self.settle_batch(now, edits);
        }
    }

    fn end(&mut self, now: Moment, edits: &mut Edits) {
        self.settle_batch(now, edits);
        self.tell_late(now, edits);
        self.gaps.count();
        match self.mode {
            Mode::Tag => {}
            Mode::Link => self.answer(now, edits),
            Mode::Rewrite => rewrite::hold_whole(&mut self.holding, &mut self.passed),
        }
    }

    fn look_back(&mut self, request: Request<'_>, now: Moment) {
        self.found(request, now);
    }

    fn holds(&mut self) -> Vec<usize> {
        self.holding.iter().map(|(start, _)| *start).collect()
    }

    fn hold(&mut self, batch: Batch, now: Moment) {
        let head = |facts| Head::new(facts, now.monotonic);
        let heads = self.holding.drain(..).map(|(_, facts)| facts.map(head)).collect();
        let block = Block::new(batch, heads, now.monotonic);
        if self.mode == Mode::Rewrite {
            self.rewrites.open(&block);
        }
        self.hold.put(block, now.monotonic + self.head_hold);
    }

    fn held(&self) -> usize {
        self.hold.items()
    }

    fn wake_at(&self) -> Option<Moment> {
        let (held, late) = (self.hold.next(), self.ledger.next());
        let late = late.map(|monotonic| Moment { monotonic, unix_nanos: 0 });
        held.into_iter().chain(late).min()
    }

    fn wake(&mut self, now: Moment, out: &mut Out) {
        while let Some((block, early)) = self.hold.take(now, false) {
            let waits = if early { Waits::Room } else { Waits::All };
            if early {
                self.meters.hurried.add(block.heads().count());
            }
            if let Some(block) = self.release(block, waits, now, out) {
                self.hold.put(block, now.monotonic + self.settle / 4);
            }
        }
        self.pass_late(now, out);
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
