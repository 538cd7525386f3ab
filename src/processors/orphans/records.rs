//! Log records that follow the rewritten traces of the pipeline of spans with the same processor.
//!
//! Records mostly come before the spans of their trace, so in mode `rewrite` all that have a trace
//! wait `head_hold`, and on while their trace is held, `hold_max` at most. Late ones follow at
//! once. In the other modes all pass.
//!
//! Absent here: exemplars of metrics, and at shutdown records whose trace is decided after them.

use super::Mode;
use super::fates::{Fate, Fates};
use super::tags::{self, Tags};
use crate::batch::Batch;
use crate::config::Section;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::log_record;
use crate::otlp::view::{Request, ScopeGroup};
use crate::otlp::wire::{Message, put_bytes_field};
use crate::otlp::write::put_hex_attribute;
use crate::processors::inspect::{Inspector, Item};
use crate::processors::memory::trace_key;
use crate::processors::names::Pattern;
use crate::processors::{Out, Setup};
use crate::telemetry::{Counter, Level};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The processor.
pub struct Records {
    follows: bool,
    fates: Arc<Fates>,
    tags: Tags,
    head_hold: Duration,
    hold_max: Duration,
    number: u32,
    holding: Vec<u32>,
    /// Records that wait and when they came, by the time at which they are due.
    held: BTreeMap<(Duration, u64), (Batch, Duration)>,
    blocks: u64,
    bytes: usize,
    items: usize,
    limit: usize,
    moved: Counter,
    hurried: Counter,
    weight: Level,
}

impl Records {
    pub fn new(section: &Section, setup: &Setup<'_>) -> Records {
        let limit = usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX);
        let moved = "Log records that got the trace of their rewritten span.";
        let hurried = "Requests of log records that left early because too much was held.";
        Records {
            follows: Mode::of(section) == Mode::Rewrite,
            fates: Fates::of(setup),
            tags: Tags::new(section.text("prefix")),
            head_hold: section.duration("head_hold"),
            hold_max: section.duration("hold_max"),
            number: 0,
            holding: vec![],
            held: BTreeMap::new(),
            blocks: 0,
            bytes: 0,
            items: 0,
            limit: setup.portion(limit),
            moved: setup.counter("spanloom_orphans_rewritten_records", moved, &[]),
            hurried: setup.counter("spanloom_orphans_hurried_records", hurried, &[]),
            weight: setup.level("spanloom_orphans_held_bytes", "Bytes of heads that wait."),
        }
    }

    /// Gives a record the trace `to`.
    fn follow(&self, record: Message<'_>, to: u128, edits: &mut Edits) {
        let Some(own) = record.field(log_record::TRACE_ID) else { return };
        edits.replace(record, &own, |out| {
            put_bytes_field(out, log_record::TRACE_ID, &to.to_le_bytes());
        });
        edits.append(record, |out| {
            let key = self.tags.name(tags::ORIGINAL_TRACE_ID).as_bytes();
            put_hex_attribute(out, log_record::ATTRIBUTES, key, own.bytes());
        });
    }

    fn put(&mut self, batch: Batch, came: Duration, due: Duration) {
        self.blocks += 1;
        self.bytes += batch.weight();
        self.items += batch.items();
        self.held.insert((due, self.blocks), (batch, came));
    }

    /// The next records that leave, if those of any trace do; `all` if none may stay.
    fn leave(&mut self, all: bool, now: Moment, out: &mut Out) -> bool {
        let Some(((due, _), _)) = self.held.first_key_value() else { return false };
        let early = *due > now.monotonic;
        if early && !all && self.bytes <= self.limit {
            return false;
        }
        let Some((_, (batch, came))) = self.held.pop_first() else { return false };
        self.bytes = self.bytes.saturating_sub(batch.weight());
        self.items = self.items.saturating_sub(batch.items());
        self.hurried.add(usize::from(early && !all));
        let patient = !early && !all && now.monotonic < came + self.hold_max;
        match self.edits(batch.request(), patient, now) {
            None => self.put(batch, came, now.monotonic + limits::ORPHAN_TICK),
            Some(edits) if edits.is_empty() => out.pass(batch),
            Some(mut edits) => out.pass(batch.edited(&mut edits)),
        }
        true
    }

    /// How the records follow their traces; `None` if one is undecided and they may wait.
    fn edits(&self, request: Request<'_>, patient: bool, now: Moment) -> Option<Edits> {
        let (mut edits, mut moved) = (Edits::default(), 0);
        let scopes = request.resource_groups().flat_map(|group| group.scope_groups());
        for record in scopes.flat_map(ScopeGroup::log_records) {
            let Some(trace) = trace_key(record.trace_id()) else { continue };
            match self.fates.fate(trace, now) {
                Fate::Moved(to) => {
                    self.follow(record.0, to, &mut edits);
                    moved += 1;
                }
                Fate::Open if patient => return None,
                Fate::Open | Fate::Stays => {}
            }
        }
        self.moved.add(moved);
        Some(edits)
    }
}

impl Inspector for Records {
    fn keys(&self) -> Vec<Pattern> {
        vec![]
    }

    fn may_hold(&self) -> bool {
        self.follows && !self.head_hold.is_zero()
    }

    fn begin(&mut self, _now: Moment) {
        self.number = 0;
        self.holding.clear();
    }

    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits) {
        let number = self.number;
        self.number += 1;
        let Some(trace) = trace_key(item.trace_id).filter(|_| self.follows) else { return };
        match self.fates.fate(trace, now) {
            Fate::Moved(to) => {
                self.follow(item.message, to, edits);
                self.moved.add(1);
            }
            Fate::Open | Fate::Stays => self.holding.push(number),
        }
    }

    fn end(&mut self, _now: Moment, _edits: &mut Edits) {}

    fn holds(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.holding)
    }

    fn hold(&mut self, batch: Batch, now: Moment) {
        self.put(batch, now.monotonic, now.monotonic + self.head_hold);
    }

    fn held(&self) -> usize {
        self.items
    }

    fn wake_at(&self) -> Option<Moment> {
        let ((due, _), _) = self.held.first_key_value()?;
        Some(Moment { monotonic: *due, unix_nanos: 0 })
    }

    fn wake(&mut self, now: Moment, out: &mut Out) {
        while self.leave(false, now, out) {}
        self.weight.set(self.bytes as i64);
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        while self.leave(true, now, out) {}
    }
}
