//! One span or log record at a time: edits for what must go.
//!
//! Most spans hold nothing of the sort, or only attributes and events that go whole by their
//! name. For those [`Scrub::quick`] is enough: names are looked up, and one pass over the texts
//! that stay proves that nothing in them needs a closer look. Any sign of one (a text that begins
//! as JSON, an array, an error's message, a byte that could belong to a secret, a mark on what is
//! above, a rule of the user) leads to [`Scrub::span`], which looks at everything.

use super::super::counts::raise;
use super::calls;
use super::names::Hit;
use super::parts::{self, is_true};
use super::quick::{self, passes, passes_link, passes_text, passes_value};
use super::rules::{self, Place, Preset, Removed, RuleId, Rules};
use super::value::{Done, Treat};
use crate::batch::Signal;
use crate::moment::Moment;
use crate::otlp::edit::{Edits, Filling};
use crate::otlp::fields::{log_record, resource, scope, span, status};
use crate::otlp::view::{self, AnyValue, ResourceGroup, ScopeGroup};
use crate::otlp::wire::{Field, Message, put_varint_field};
use crate::otlp::write::put_int_attribute;
use crate::processors::inspect::{Inspector, Item, Part};
use crate::processors::repeats::Repeats;
use smallvec::SmallVec;
use std::sync::Arc;

/// What an attribute means here: nothing; something once all is looked at; a mark, if it is true;
/// that all must be looked at; that it goes by the rule of the number behind these.
const PASSES: u16 = 0;
const KNOWN: u16 = 1;
const MARK: u16 = 2;
const CLOSER: u16 = 3;
const REMOVE: u16 = 4;

/// Fields that go whole, in the order of [`Item::hide`].
pub type Gone = SmallVec<[Part; 8]>;

/// The inspector.
pub struct Scrub {
    rules: Arc<Rules>,
    removed: Removed,
    /// Whether the resource and the scope above are marked.
    marked: (bool, bool),
    /// Names that need no closer look, and attributes of events that need none; apart, since a name
    /// may look like an attribute.
    passed: Repeats,
    passed_inside: Repeats,
    /// Where edits go that are not to be made.
    unmade: Edits,
    /// What was told last of an item of this batch, and where it stands: most are told the same.
    told: Option<((Signal, Done, usize), Filling)>,
}

impl Scrub {
    pub fn new(rules: Arc<Rules>) -> Scrub {
        Scrub {
            rules,
            removed: Removed::default(),
            marked: (false, false),
            passed: Repeats::default(),
            passed_inside: Repeats::default(),
            unmade: Edits::default(),
            told: None,
        }
    }

    /// Takes out of a span what goes by name; false, and nothing done, if that is not enough.
    fn quick(&mut self, span: &mut Item<'_>, edits: &mut Edits) -> bool {
        if self.looks_at_all() {
            return false;
        }
        let rules = &*self.rules;
        let (mut gone, mut by) = (Gone::new(), SmallVec::<[RuleId; 8]>::new());
        for part in &span.attributes {
            match span.meaning(*part) {
                PASSES | KNOWN => {}
                MARK if !is_true(span.field(*part)) => {}
                MARK | CLOSER => return false,
                rule => {
                    gone.push(*part);
                    by.push(usize::from(rule - REMOVE));
                }
            }
        }
        let own = gone.len();
        for part in &span.parts {
            match part.number() {
                span::NAME | span::TRACE_STATE => {
                    let text = span.bytes(*part);
                    if !self.passed.has(text) {
                        if !passes_text(rules, text) {
                            return false;
                        }
                        self.passed.offer(text, 0);
                    }
                }
                span::EVENTS => {
                    match quick::of_event(rules, &mut self.passed_inside, span.field(*part)) {
                        Some(Some(rule)) => {
                            gone.push(*part);
                            by.push(rule);
                        }
                        Some(None) => {}
                        None => return false,
                    }
                }
                span::LINKS if !passes_link(rules, span.field(*part)) => return false,
                span::STATUS if has(span.field(*part), status::MESSAGE) => return false,
                _ => {}
            }
        }
        if gone.is_empty() {
            return true;
        }
        for (place, rule) in by.iter().enumerate() {
            match place < own {
                true => self.removed.attributes.add(*rule, 1),
                false => self.removed.events.add(*rule, 1),
            }
        }
        let done = Done { events: gone.len() - own, attributes: own, values: 0 };
        self.finish(span, &gone, own, done, edits);
        true
    }

    /// Whether nothing may be passed over.
    fn looks_at_all(&self) -> bool {
        let rules = &*self.rules;
        rules.is_thorough() || rules.dry_run || self.marked != (false, false)
    }

    /// Starts to look at an item, or at what stands above items.
    fn treat(&mut self, active: u64, marked: bool) -> Treat<'_> {
        Treat {
            strict: marked || self.rules.preset == Preset::Strict,
            rules: &self.rules,
            active,
            is_genai: false,
            removed: &mut self.removed,
            done: Done::default(),
        }
    }

    /// A bit for each rule of the user whose condition holds. One without an answer counts as
    /// true, except for what keeps.
    fn active(&self, item: &Item<'_>) -> u64 {
        let rules = &*self.rules;
        let mut row = None;
        let mut active = 0;
        for (place, rule) in rules.user.iter().enumerate() {
            let keeps = matches!(rule.action, rules::Action::Keep);
            let holds = match rule.condition {
                Ok(None) => true,
                Err(()) => false,
                Ok(Some(condition)) => {
                    let row = row.get_or_insert_with(|| {
                        let mut row = rules.conditions.row();
                        rules.conditions.resource(&mut row, ResourceGroup(item.resource_group));
                        rules.conditions.scope(&mut row, ScopeGroup(item.scope_group));
                        rules.conditions.item(&mut row, item.message);
                        row
                    });
                    rules.conditions.holds(condition, row).unwrap_or(!keeps)
                }
            };
            active |= u64::from(holds).checked_shl(place as u32).unwrap_or(0);
        }
        active
    }

    /// The rules of the user without a condition.
    fn unconditional(&self) -> u64 {
        let rules = self.rules.user.iter().enumerate();
        let bits =
            rules.filter(|(_, rule)| rule.condition == Ok(None)).map(|(place, _)| 1 << place);
        bits.fold(0, |all, bit: u64| all | bit)
    }

    /// Whether one of the attributes marks the item.
    fn is_marked(&self, item: &Item<'_>) -> bool {
        item.attributes.iter().any(|part| {
            let field = item.field(*part);
            self.rules.attributes.find(view::key(&field)) == Some(Hit::Mark) && is_true(field)
        })
    }

    /// Looks at everything in a span.
    fn span(&mut self, span: &mut Item<'_>, edits: &mut Edits) {
        span.show_all();
        let marked = self.marked.0 || self.marked.1 || self.is_marked(span);
        let active = self.active(span);
        let mut unmade = std::mem::take(&mut self.unmade);
        let dry = self.rules.dry_run;
        let target = if dry { &mut unmade } else { &mut *edits };
        let mut treat = self.treat(active, marked);
        let (mut gone, changed) = parts::own_attributes(&mut treat, span, target);
        let own = gone.len();
        for part in &span.parts {
            let field = span.field(*part);
            match part.number() {
                span::NAME => {
                    parts::text(&mut treat, Place::SpanName, span.message, field, target);
                }
                span::TRACE_STATE => {
                    parts::text(&mut treat, Place::TraceState, span.message, field, target);
                }
                span::EVENTS if parts::event(&mut treat, field, target) => gone.push(*part),
                span::LINKS => parts::link(&mut treat, field, target),
                span::STATUS => {
                    let status = field.message();
                    let message = status.and_then(|s| Some((s, s.field(status::MESSAGE)?)));
                    if let Some((status, field)) = message {
                        parts::text(&mut treat, Place::StatusMessage, status, field, target);
                    }
                }
                _ => {}
            }
        }
        let mut done = treat.done;
        done.events = gone.len() - own;
        self.keep(unmade);
        self.finish(span, &gone, own, done, edits);
        if !dry {
            span.hide_values(&changed);
        }
    }

    /// Takes a log record out of its scope group, or out of it what must go.
    fn record(&mut self, record: &mut Item<'_>, edits: &mut Edits) {
        record.show_all();
        let marked = self.is_marked(record);
        let above = self.marked.0 || self.marked.1;
        let active = self.active(record);
        let mut unmade = std::mem::take(&mut self.unmade);
        let dry = self.rules.dry_run;
        let target = if dry { &mut unmade } else { &mut *edits };
        let name = parts::event_name(record, &self.rules);
        let mut treat = self.treat(active, above || marked);
        let rule = match treat.event(name) {
            Some(rule) => rule,
            None if marked => Some(rules::MARKED),
            None => treat.rules.events.find(name),
        };
        if let Some(rule) = rule.filter(|rule| *rule != rules::BODY) {
            treat.removed.records.add(rule, 1);
            if !dry {
                self.keep(unmade);
                return record.remove(edits);
            }
        }
        let (mut gone, changed) = parts::own_attributes(&mut treat, record, target);
        let own = gone.len();
        for part in &record.parts {
            let field = record.field(*part);
            match part.number() {
                log_record::BODY if parts::body(&mut treat, rule, field, target) => {
                    gone.push(*part);
                }
                log_record::EVENT_NAME => {
                    parts::text(&mut treat, Place::EventName, record.message, field, target);
                }
                _ => {}
            }
        }
        let done = treat.done;
        self.keep(unmade);
        self.finish(record, &gone, own, done, edits);
        if !dry {
            record.hide_values(&changed);
        }
    }

    /// Takes back the memory of edits that are not to be made.
    fn keep(&mut self, mut unmade: Edits) {
        unmade.clear();
        self.unmade = unmade;
    }

    /// Says what was found as edits, and hides it from those behind. The first `own` of `gone`
    /// are attributes.
    fn finish(
        &mut self,
        item: &mut Item<'_>,
        gone: &Gone,
        own: usize,
        done: Done,
        edits: &mut Edits,
    ) {
        self.tell(item, own, done, edits);
        if self.rules.dry_run || gone.is_empty() {
            return;
        }
        let (own, attributes) = (gone.get(..own).unwrap_or_default(), attribute_fields(item).0);
        calls::keep(&self.rules, item, own, attributes, edits);
        for part in gone {
            edits.remove(item.message, &item.field(*part));
        }
        item.hide(gone);
    }

    /// Says in counts of ours what was found, and in those of OTLP what is taken out, `own` of it
    /// attributes.
    fn tell(&mut self, item: &Item<'_>, own: usize, done: Done, edits: &mut Edits) {
        let rules = &*self.rules;
        let (attributes, dropped) = attribute_fields(item);
        let counts = [
            (&rules.keys.events, done.events),
            (&rules.keys.attributes, done.attributes),
            (&rules.keys.values, done.values),
        ];
        let counts = counts.into_iter().filter(|(_, n)| *n > 0);
        let made = if rules.dry_run { [0; 2] } else { [done.events, own] };
        let raised = [span::DROPPED_EVENTS_COUNT, dropped].into_iter().zip(made);
        let raised = raised.filter(|(_, n)| *n > 0);
        let what = (item.signal, done, own);
        let is_count =
            |part: &Part| item.meaning(*part) == KNOWN && rules.keys.has(item.key(*part));
        let is_told = |(number, _)| item.other(number).is_some();
        if item.attributes.iter().any(is_count) || raised.clone().any(is_told) {
            counts.for_each(|(key, n)| count(edits, item, attributes, key, n));
            raised.for_each(|(k, n)| raise(edits, item.message, k, item.other(k), n));
        } else if let Some((_, told)) = self.told.filter(|(told, _)| *told == what) {
            edits.append_again(item.message, told);
        } else if done != Done::default() || own > 0 {
            let told = edits.append_first(item.message, |out| {
                counts
                    .for_each(|(k, n)| put_int_attribute(out, attributes, k.as_bytes(), n as i64));
                raised.for_each(|(k, n)| put_varint_field(out, k, n as u64));
            });
            self.told = Some((what, told));
        }
    }

    /// Treats the attributes of a resource or scope, and puts those that are not as they were into
    /// `hidden`; whether one marks it.
    fn above(
        &mut self,
        message: Option<Message<'_>>,
        fields: (u32, u32),
        hidden: &mut Vec<usize>,
        edits: &mut Edits,
    ) -> bool {
        let Some(message) = message else { return false };
        let attributes = || message.fields().filter(|field| field.number == fields.0);
        let rules = self.rules.clone();
        let is_mark =
            |field: &Field<'_>| rules.attributes.find(view::key(field)) == Some(Hit::Mark);
        let marked = attributes().any(|field| is_mark(&field) && is_true(field));
        let active = self.unconditional();
        let dry = rules.dry_run;
        let mut unmade = std::mem::take(&mut self.unmade);
        let target = if dry { &mut unmade } else { edits };
        let mut treat = self.treat(active, marked);
        let touched = parts::attributes(&mut treat, message, fields, target);
        // A resource has no name.
        if fields.0 == scope::ATTRIBUTES
            && let Some(name) = message.field(scope::NAME)
        {
            parts::text(&mut treat, Place::ScopeName, message, name, target);
        }
        self.keep(unmade);
        if !dry {
            hidden.extend(touched);
        }
        marked
    }
}

impl Inspector for Scrub {
    fn meaning(&self, attribute: &[u8]) -> u16 {
        let rules = &*self.rules;
        let key = view::key_in(attribute);
        match rules.attributes.find(key) {
            Some(Hit::Remove(rule)) => REMOVE.saturating_add(rule as u16),
            Some(Hit::Mark) => MARK,
            Some(Hit::Keep) if rules.keys.has(key) => KNOWN,
            Some(Hit::EventName) if passes_value(rules, attribute) => KNOWN,
            Some(Hit::Keep) if passes_value(rules, attribute) => PASSES,
            None if passes(rules, attribute) => PASSES,
            _ => CLOSER,
        }
    }

    fn resource(&mut self, group: ResourceGroup<'_>, hidden: &mut Vec<usize>, edits: &mut Edits) {
        let fields = (resource::ATTRIBUTES, resource::DROPPED_ATTRIBUTES_COUNT);
        self.marked.0 = self.above(group.resource(), fields, hidden, edits);
    }

    fn scope(&mut self, group: ScopeGroup<'_>, signal: Signal, edits: &mut Edits) {
        let fields = (scope::ATTRIBUTES, scope::DROPPED_ATTRIBUTES_COUNT);
        self.marked.1 = self.above(group.scope(), fields, &mut vec![], edits);
        if signal == Signal::Metrics {
            let (dry, active) = (self.rules.dry_run, self.unconditional());
            let marked = self.marked.0 || self.marked.1;
            let mut unmade = std::mem::take(&mut self.unmade);
            let target = if dry { &mut unmade } else { edits };
            let mut treat = self.treat(active, marked);
            parts::metrics(&mut treat, group, target);
            self.keep(unmade);
        }
    }

    fn item(&mut self, item: &mut Item<'_>, _now: Moment, edits: &mut Edits) {
        match item.signal {
            Signal::Traces => {
                if !self.quick(item, edits) {
                    self.span(item, edits);
                }
            }
            Signal::Logs => self.record(item, edits),
            Signal::Metrics => {}
        }
    }

    fn end(&mut self, _now: Moment, _edits: &mut Edits) {
        self.told = None;
        self.rules.counters.add(&mut self.removed);
    }
}

/// The numbers of the fields with the attributes of an item and with the count of those dropped.
fn attribute_fields(item: &Item<'_>) -> (u32, u32) {
    match item.signal {
        Signal::Logs => (log_record::ATTRIBUTES, log_record::DROPPED_ATTRIBUTES_COUNT),
        _ => (span::ATTRIBUTES, span::DROPPED_ATTRIBUTES_COUNT),
    }
}

/// Whether the message in `field` has a field `number`.
fn has(field: Field<'_>, number: u32) -> bool {
    field.message().is_some_and(|message| message.field(number).is_some())
}

/// Adds `n` to the attribute `key` of `item`, where an earlier processor may have left a count.
fn count(edits: &mut Edits, item: &Item<'_>, attributes: u32, key: &str, n: usize) {
    let is_it = |part: &&Part| item.meaning(**part) == KNOWN && item.key(**part) == key.as_bytes();
    let found = item.attributes.iter().find(is_it);
    let found = found.map(|attribute| item.field(*attribute));
    let before = match found.and_then(view::Attribute::of) {
        Some(view::Attribute { value: AnyValue::Int(n), .. }) => n.max(0),
        _ => 0,
    };
    let sum = before.saturating_add(n as i64);
    let write = |out: &mut Vec<u8>| put_int_attribute(out, attributes, key.as_bytes(), sum);
    match found {
        Some(found) => edits.replace(item.message, &found, write),
        None => edits.append(item.message, write),
    }
}
