//! The walk over one span or log record: one pass over its fields, edits for what must go.
//!
//! A span without anything sensitive costs the pass and nothing else. What is to be removed is
//! noted and said at the end of the span, the appendix first, so that the edits of a request come
//! in the order of its bytes.

use super::super::counts::raise;
use super::{Hit, Rule, Sensitive};
use crate::otlp::edit::Edits;
use crate::otlp::fields::{event, link, log_record, span};
use crate::otlp::view::{self, AnyValue, Attribute, Event};
use crate::otlp::wire::{Field, Message};
use crate::otlp::write::put_int_attribute;

/// Texts that set a mark, in any case.
const TRUE: [&str; 4] = ["true", "1", "yes", "on"];

/// How many things each rule removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([usize; Rule::ALL.len()]);

impl Tally {
    pub fn of(&self, rule: Rule) -> usize {
        self.0.get(rule as usize).copied().unwrap_or(0)
    }

    fn add(&mut self, rule: Rule, n: usize) {
        if let Some(count) = self.0.get_mut(rule as usize) {
            *count += n;
        }
    }

    fn total(&self) -> usize {
        self.0.iter().sum()
    }

    fn join(&mut self, other: &Tally) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

/// What was removed from a request.
#[derive(Debug, Default)]
pub struct Removed {
    pub events: Tally,
    pub attributes: Tally,
    pub records: Tally,
}

/// A message that carries attributes, as field numbers.
struct Shape {
    attributes: u32,
    dropped_attributes: u32,
    /// Whether a mark among its attributes means the whole.
    marks: bool,
}

const EVENT: Shape = Shape {
    attributes: event::ATTRIBUTES,
    dropped_attributes: event::DROPPED_ATTRIBUTES_COUNT,
    marks: true,
};
const LINK: Shape = Shape {
    attributes: link::ATTRIBUTES,
    dropped_attributes: link::DROPPED_ATTRIBUTES_COUNT,
    marks: false,
};

/// What the walk over one span or record found.
#[derive(Default)]
struct Findings<'a> {
    /// Its events and attributes that go.
    gone: Vec<Field<'a>>,
    /// How many of these are events.
    events: usize,
    /// Attributes that go, those of its events and links included.
    attributes: Tally,
    dropped_events: Option<Field<'a>>,
    dropped_attributes: Option<Field<'a>>,
    /// Counts that an earlier processor wrote.
    removed_events: Option<Field<'a>>,
    removed_attributes: Option<Field<'a>>,
}

/// The walk through one request.
pub struct Scrub<'p, 'a> {
    rules: &'p Sensitive,
    edits: &'p mut Edits,
    removed: Removed,
    found: Findings<'a>,
}

impl<'p, 'a> Scrub<'p, 'a> {
    pub fn new(rules: &'p Sensitive, edits: &'p mut Edits) -> Scrub<'p, 'a> {
        Scrub { rules, edits, removed: Removed::default(), found: Findings::default() }
    }

    /// What was removed.
    pub fn finish(self) -> Removed {
        self.removed
    }

    /// Takes out of a span what must go.
    pub fn span(&mut self, span: Message<'a>) {
        for field in span.fields() {
            match field.number {
                span::ATTRIBUTES => self.attribute(field),
                span::EVENTS => self.event(field),
                span::LINKS => {
                    if let Some(link) = field.message() {
                        let lost = self.strip(link, &LINK).unwrap_or_default();
                        self.found.attributes.join(&lost);
                    }
                }
                span::DROPPED_EVENTS_COUNT => self.found.dropped_events = Some(field),
                span::DROPPED_ATTRIBUTES_COUNT => self.found.dropped_attributes = Some(field),
                _ => {}
            }
        }
        self.change(span, span::ATTRIBUTES, span::DROPPED_ATTRIBUTES_COUNT);
    }

    /// Takes a log record out of its scope group, or out of it what must go.
    pub fn record(&mut self, scope_group: Message<'a>, item: &Field<'a>) {
        let Some(record) = item.message() else {
            return;
        };
        let (mut rule, mut body) = (None, None);
        for field in record.fields() {
            match field.number {
                log_record::ATTRIBUTES => match self.rules.attributes.find(view::key(&field)) {
                    Some(Hit::Mark) if is_true(field) => rule = Some(Rule::Marked),
                    Some(Hit::EventName) => {
                        let name = Attribute::of(field).and_then(|a| a.value.as_text());
                        rule = rule.or(self.rules.events.find(name.unwrap_or_default()));
                    }
                    Some(hit) => self.hit(hit, field),
                    None => {}
                },
                log_record::EVENT_NAME => {
                    rule = rule.or_else(|| self.rules.events.find(field.bytes()));
                }
                log_record::BODY => body = Some(field),
                log_record::DROPPED_ATTRIBUTES_COUNT => self.found.dropped_attributes = Some(field),
                _ => {}
            }
        }
        match (rule, body) {
            (Some(rule @ (Rule::Marked | Rule::ContentEvent)), _) => {
                self.edits.remove_item(scope_group, item);
                self.removed.records.add(rule, 1);
                return self.forget();
            }
            (Some(rule), Some(body)) => {
                self.edits.remove(record, &body);
                self.found.attributes.add(rule, 1);
            }
            _ => {}
        }
        self.change(record, log_record::ATTRIBUTES, log_record::DROPPED_ATTRIBUTES_COUNT);
    }

    /// Looks at an attribute of the span itself.
    #[inline]
    fn attribute(&mut self, field: Field<'a>) {
        if let Some(hit) = self.rules.attributes.find(view::key(&field)) {
            self.hit(hit, field);
        }
    }

    /// Notes what an attribute's key stands for.
    fn hit(&mut self, hit: Hit, field: Field<'a>) {
        match hit {
            Hit::Remove(rule) => {
                self.found.gone.push(field);
                self.found.attributes.add(rule, 1);
            }
            Hit::RemovedEvents => self.found.removed_events = Some(field),
            Hit::RemovedAttributes => self.found.removed_attributes = Some(field),
            // Marks are for events and records, and so is an event's name.
            Hit::Mark | Hit::Keep | Hit::EventName => {}
        }
    }

    /// Looks at a span event. If its name decides, its attributes are not looked at.
    fn event(&mut self, field: Field<'a>) {
        let Some(event) = field.message() else {
            return;
        };
        let rule = match self.rules.events.find(Event(event).name()) {
            Some(Rule::ContentEvent) => Rule::ContentEvent,
            _ => match self.strip(event, &EVENT) {
                Some(lost) => return self.found.attributes.join(&lost),
                None => Rule::Marked,
            },
        };
        self.found.gone.push(field);
        self.found.events += 1;
        self.removed.events.add(rule, 1);
    }

    /// Takes attributes out of an event or link: what was taken, or `None` if it is marked. Edits
    /// within what is marked do no harm, for it goes whole.
    fn strip(&mut self, message: Message<'a>, shape: &Shape) -> Option<Tally> {
        let (mut lost, mut dropped) = (Tally::default(), None);
        for field in message.fields() {
            if field.number == shape.attributes {
                match self.rules.attributes.find(view::key(&field)) {
                    Some(Hit::Mark) if shape.marks && is_true(field) => return None,
                    Some(Hit::Remove(rule)) => {
                        self.edits.remove(message, &field);
                        lost.add(rule, 1);
                    }
                    _ => {}
                }
            } else if field.number == shape.dropped_attributes {
                dropped = Some(field);
            }
        }
        if lost.total() > 0 {
            raise(self.edits, message, shape.dropped_attributes, dropped, lost.total());
        }
        Some(lost)
    }

    /// Says what was found as edits: the appendix first, then what stands before it.
    fn change(&mut self, item: Message<'a>, attributes: u32, dropped_attributes: u32) {
        let found = &self.found;
        let (events, all) = (found.events, found.attributes.total());
        if events + all == 0 {
            return self.forget();
        }
        let edits = &mut *self.edits;
        let rules = self.rules;
        if events > 0 {
            let number = span::DROPPED_EVENTS_COUNT;
            raise(edits, item, number, found.dropped_events, events);
            count(edits, item, attributes, &rules.removed_events, found.removed_events, events);
        }
        let own = found.gone.len() - events;
        if own > 0 {
            raise(edits, item, dropped_attributes, found.dropped_attributes, own);
        }
        if all > 0 {
            let key = &rules.removed_attributes;
            count(edits, item, attributes, key, found.removed_attributes, all);
        }
        for field in &found.gone {
            edits.remove(item, field);
        }
        self.removed.attributes.join(&self.found.attributes);
        self.forget();
    }

    /// Makes room for the findings of the next item. Field by field: this runs for every span.
    fn forget(&mut self) {
        let found = &mut self.found;
        found.gone.clear();
        found.events = 0;
        found.attributes = Tally::default();
        found.dropped_events = None;
        found.dropped_attributes = None;
        found.removed_events = None;
        found.removed_attributes = None;
    }
}

/// Adds `n` to the attribute `key` of `message`, which is `found` if it is there.
fn count(
    edits: &mut Edits,
    message: Message<'_>,
    attributes: u32,
    key: &str,
    found: Option<Field<'_>>,
    n: usize,
) {
    let before = match found.and_then(Attribute::of).map(|attribute| attribute.value) {
        Some(AnyValue::Int(n)) => n.max(0),
        _ => 0,
    };
    let sum = before.saturating_add(n as i64);
    let write = |out: &mut Vec<u8>| put_int_attribute(out, attributes, key.as_bytes(), sum);
    match found {
        Some(field) => edits.replace(message, &field, write),
        None => edits.append(message, write),
    }
}

/// Whether the mark in `field` is set.
fn is_true(field: Field<'_>) -> bool {
    match Attribute::of(field).map(|attribute| attribute.value) {
        Some(AnyValue::Bool(value)) => value,
        Some(AnyValue::Int(value)) => value != 0,
        Some(AnyValue::Text(text)) => {
            TRUE.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
        }
        _ => false,
    }
}
