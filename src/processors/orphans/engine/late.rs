//! What becomes known of heads after they have left: told by bridges.

use super::super::bridge::{Bridge, around};
use super::super::facts::Facts;
use super::super::judge::Verdict;
use super::super::ledger::{self, Entry, Late};
use super::super::tags::{Finding, Parent, cause, evidence, status};
use super::Orphans;
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::span;
use crate::otlp::view::{Request, ResourceGroup, ScopeGroup, Span};
use crate::processors::Out;
use bytes::Bytes;
use std::hash::BuildHasher;
use std::time::Duration;

/// A confidence from which on a parent is known.
const SURE: f64 = 0.9;

impl Orphans {
    /// Remembers a head that leaves, if more may become known of it. `start` is where it starts in
    /// its request.
    pub(super) fn leaves(&mut self, start: usize, head: &Facts, finding: &Finding, came: Duration) {
        if self.ledger.takes(head, finding) {
            self.leaving.push((start, ledger::entry(head, finding, came)));
        }
    }

    /// Remembers the heads that leave with `request`.
    pub(super) fn remember(&mut self, request: Request<'_>, now: Moment) {
        if self.leaving.is_empty() {
            return;
        }
        let mut leaving = std::mem::take(&mut self.leaving).into_iter().peekable();
        for group in request.resource_groups() {
            let end = group.0.start + group.0.bytes.len();
            if leaving.peek().is_none_or(|(start, _)| *start >= end) {
                continue;
            }
            let instance = self.instance(group);
            let fields = around(group.0);
            let fits = fields.len() <= limits::ORPHAN_GROUP_BYTES;
            let (fields, mut own) = self.ledger.share(if fits { fields } else { vec![] });
            for item in group.scope_groups().flat_map(ScopeGroup::spans) {
                let Some((_, mut entry)) = leaving.next_if(|(start, _)| *start == item.0.start)
                else {
                    continue;
                };
                entry.tenant = self.tenant_of(item);
                // Without all that tells its tenant nothing is told.
                if !fits || entry.tenant.len() > limits::ORPHAN_GROUP_BYTES {
                    self.meters.late_results.forgotten.add(1);
                    continue;
                }
                (entry.group, entry.own) = (fields.clone(), std::mem::take(&mut own));
                entry.instance = instance;
                self.ledger.saw(instance);
                let forgotten = self.ledger.put(entry, now);
                self.meters.late_results.forgotten.add(forgotten);
            }
        }
        self.meters.ledger.set(self.ledger.len() as i64);
    }

    /// The process that the spans of `group` come from.
    fn instance(&self, group: ResourceGroup<'_>) -> u64 {
        let mut attributes = group.attributes();
        let id = attributes.find(|attribute| attribute.key == b"service.instance.id");
        let id = id.or_else(|| group.attributes().find(|a| a.key == b"service.name"));
        id.map_or(0, |id| self.reader.value(id.value))
    }

    /// Notes that a process lives, if anybody waits for spans of it.
    pub(super) fn saw(&mut self, group: ResourceGroup<'_>) {
        if self.ledger.watches() {
            let instance = self.instance(group);
            self.ledger.saw(instance);
        }
    }

    /// The attribute that tells the tenant of a span, as it stands there.
    fn tenant_of(&self, item: Span<'_>) -> Box<[u8]> {
        let key = self.tenant.as_bytes();
        let fields = item.0.fields().filter(|field| field.number == span::ATTRIBUTES);
        let mut own = fields.filter(|field| crate::otlp::view::key(field) == key);
        let range = own.next().map(|field| field.at - item.0.start..field.end - item.0.start);
        range.and_then(|range| item.0.bytes.get(range)).unwrap_or_default().into()
    }

    /// Tells of heads that have left what spans of this batch say of them.
    pub(super) fn tell_late(&mut self, now: Moment, edits: &mut Edits) {
        for (late, entry) in self.ledger.answered() {
            let finding = came(&late, &entry);
            self.meters.late_results.came.add(1);
            self.tell(entry, finding, now);
        }
        for number in self.ledger.asked() {
            let Some(head) = self.ledger.root(number) else { continue };
            let Verdict::Tag(finding) = self.judge(now).due(&head, true) else { continue };
            let sure = |parent: &Parent| parent.tier <= 1 && parent.confidence >= SURE;
            if !finding.parent.as_ref().is_some_and(sure) {
                continue;
            }
            let Some(entry) = self.ledger.take(number) else { continue };
            self.link_back(&head, &finding, edits);
            self.join(&head, &finding, now);
            self.meters.late_results.found.add(1);
            self.tell(entry, *finding, now);
        }
    }

    /// Gives up heads whose parent did not come in time, and passes the bridges that were built.
    pub(super) fn pass_late(&mut self, now: Moment, out: &mut Out) {
        while let Some(entry) = self.ledger.given_up(now) {
            // Nothing is new of the others.
            if entry.finding.status != status::PENDING {
                self.meters.late_results.expired.add(1);
                continue;
            }
            let finding = lost(&entry);
            self.meters.late_results.lost.add(1);
            self.tell(entry, finding, now);
        }
        self.bridges.drain(..).for_each(|bridge| out.pass(bridge));
        self.meters.ledger.set(self.ledger.len() as i64);
    }

    /// Builds the bridge that tells `finding` of the head in `entry`.
    fn tell(&mut self, entry: Entry, mut finding: Finding, now: Moment) {
        let waited = now.monotonic.saturating_sub(entry.came);
        finding.wait_ms = i64::try_from(waited.as_millis()).ok();
        self.rewrites.follow(&mut finding, now);
        if let Some(parent) = &mut finding.parent {
            parent.service = self.services.name(parent.service_hash);
        }
        let (trace, span) = (entry.head.trace, entry.head.span);
        let id = self.reader.hasher.hash_one((trace, span, "bridge")).max(1);
        let trace = self.rewrites.alias(trace, now).unwrap_or(trace);
        let bridge = Bridge { trace, id, entry: &entry, finding: &finding };
        let bytes = Bytes::from(bridge.request(&self.tags, &self.link_names));
        // It is built of what was checked, and small.
        if let Ok(batch) = Batch::parse(Signal::Traces, bytes, now) {
            self.bridges.push(batch);
        }
    }
}

/// What is known of a head once its parent came.
fn came(late: &Late, entry: &Entry) -> Finding {
    let parent = Parent {
        trace: late.trace,
        span: late.span,
        service: String::new(),
        service_hash: late.service,
        tier: 0,
        confidence: 1.0,
    };
    Finding {
        status: status::RESOLVED,
        evidence: evidence::PARENT_ID,
        cause: None,
        parent: Some(parent),
        candidates: 1,
        ..entry.finding.clone()
    }
}

/// What is known of one whose parent never came.
fn lost(entry: &Entry) -> Finding {
    let local = entry.finding.cause == Some(cause::PENDING_LOCAL);
    let cause = if local { Some(cause::LOST_LOCAL) } else { entry.finding.cause };
    Finding { status: status::UNRESOLVED, cause, ..entry.finding.clone() }
}
