//! One span or log record at a time: edits for what must go.

use super::super::counts::raise;
use super::{Hit, Rule, Rules};
use crate::batch::Signal;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{event, link, log_record, span};
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::Field;
use crate::otlp::write::put_int_attribute;
use crate::processors::inspect::{Inspector, Item, Part};
use crate::processors::names::Pattern;
use smallvec::SmallVec;
use std::sync::Arc;

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

/// What goes of one span or record.
#[derive(Default)]
struct Findings {
    /// Its own attributes and events.
    gone: SmallVec<[Part; 8]>,
    /// How many of these are events.
    events: usize,
    /// Attributes, those of its events and links included.
    attributes: Tally,
}

/// The inspector.
pub struct Scrub {
    rules: Arc<Rules>,
    removed: Removed,
}

impl Scrub {
    pub fn new(rules: Arc<Rules>) -> Scrub {
        Scrub { rules, removed: Removed::default() }
    }

    /// Takes out of a span what must go.
    fn span(&mut self, span: &mut Item<'_>, edits: &mut Edits) {
        let mut found = Findings::default();
        for attribute in &span.attributes {
            if let Some(Hit::Remove(rule)) = self.rules.attributes.find(span.key(*attribute)) {
                found.gone.push(*attribute);
                found.attributes.add(rule, 1);
            }
        }
        for part in &span.parts {
            match part.number {
                span::EVENTS if self.event(span.field(*part), &mut found, edits) => {
                    found.gone.push(*part);
                    found.events += 1;
                }
                span::LINKS => self.link(span.field(*part), &mut found.attributes, edits),
                _ => {}
            }
        }
        let own = found.gone.len() - found.events;
        self.change(span, &found, edits, span::ATTRIBUTES);
        if own > 0 {
            let number = span::DROPPED_ATTRIBUTES_COUNT;
            raise(edits, span.message, number, span.other(number), own);
        }
    }

    /// Takes a log record out of its scope group, or out of it what must go.
    fn record(&mut self, record: &mut Item<'_>, edits: &mut Edits) {
        let rules = &*self.rules;
        let (mut rule, mut found) = (None, Findings::default());
        for attribute in &record.attributes {
            match rules.attributes.find(record.key(*attribute)) {
                Some(Hit::Mark) if is_true(record.field(*attribute)) => {
                    rule = Some(Rule::Marked);
                }
                Some(Hit::EventName) => {
                    let attribute = view::Attribute::of(record.field(*attribute));
                    let name = attribute.and_then(|attribute| attribute.value.as_text());
                    rule = rule.or(rules.events.find(name.unwrap_or_default()));
                }
                Some(Hit::Remove(rule)) => {
                    found.gone.push(*attribute);
                    found.attributes.add(rule, 1);
                }
                _ => {}
            }
        }
        let name = record.other(log_record::EVENT_NAME);
        rule = rule.or_else(|| rules.events.find(name?.bytes()));
        let body = record.parts.iter().find(|part| part.number == log_record::BODY).copied();
        match (rule, body) {
            (Some(rule @ (Rule::Marked | Rule::ContentEvent)), _) => {
                self.removed.records.add(rule, 1);
                return record.remove(edits);
            }
            (Some(rule), Some(body)) => {
                edits.remove(record.message, &record.field(body));
                record.hide(&[body]);
                found.attributes.add(rule, 1);
            }
            _ => {}
        }
        let own = found.gone.len();
        self.change(record, &found, edits, log_record::ATTRIBUTES);
        if own > 0 {
            let number = log_record::DROPPED_ATTRIBUTES_COUNT;
            raise(edits, record.message, number, record.other(number), own);
        }
    }

    /// Looks at a span event and yields whether it goes whole. If its name decides, what stands
    /// behind is not looked at; edits within what goes whole do no harm.
    fn event(&mut self, field: Field<'_>, found: &mut Findings, edits: &mut Edits) -> bool {
        let rules = &*self.rules;
        let Some(event) = field.message() else { return false };
        let (mut lost, mut dropped, mut rule) = (Tally::default(), None, None);
        for part in event.fields() {
            match part.number {
                event::NAME if rules.events.find(part.bytes()) == Some(Rule::ContentEvent) => {
                    rule = Some(Rule::ContentEvent);
                    break;
                }
                event::ATTRIBUTES => match rules.attributes.find(view::key(&part)) {
                    Some(Hit::Mark) if is_true(part) => rule = Some(Rule::Marked),
                    Some(Hit::Remove(rule)) => {
                        edits.remove(event, &part);
                        lost.add(rule, 1);
                    }
                    _ => {}
                },
                event::DROPPED_ATTRIBUTES_COUNT => dropped = Some(part),
                _ => {}
            }
        }
        if let Some(rule) = rule {
            self.removed.events.add(rule, 1);
            return true;
        }
        if lost.total() > 0 {
            raise(edits, event, event::DROPPED_ATTRIBUTES_COUNT, dropped, lost.total());
            found.attributes.join(&lost);
        }
        false
    }

    /// Takes attributes out of a link.
    fn link(&self, field: Field<'_>, attributes: &mut Tally, edits: &mut Edits) {
        let Some(link) = field.message() else { return };
        let mut lost = Tally::default();
        for part in link.fields().filter(|part| part.number == link::ATTRIBUTES) {
            if let Some(Hit::Remove(rule)) = self.rules.attributes.find(view::key(&part)) {
                edits.remove(link, &part);
                lost.add(rule, 1);
            }
        }
        if lost.total() > 0 {
            let number = link::DROPPED_ATTRIBUTES_COUNT;
            raise(edits, link, number, link.field(number), lost.total());
            attributes.join(&lost);
        }
    }

    /// Says what was found as edits, and hides it from those behind. `attributes` is the number of
    /// the item's field.
    fn change(
        &mut self,
        item: &mut Item<'_>,
        found: &Findings,
        edits: &mut Edits,
        attributes: u32,
    ) {
        let all = found.attributes.total();
        if found.events > 0 {
            let number = span::DROPPED_EVENTS_COUNT;
            raise(edits, item.message, number, item.other(number), found.events);
            count(edits, item, attributes, &self.rules.removed_events, found.events);
        }
        if all > 0 {
            count(edits, item, attributes, &self.rules.removed_attributes, all);
            self.removed.attributes.join(&found.attributes);
        }
        if !found.gone.is_empty() {
            for part in &found.gone {
                edits.remove(item.message, &item.field(*part));
            }
            item.hide(&found.gone);
        }
    }
}

impl Inspector for Scrub {
    fn keys(&self) -> Vec<Pattern> {
        self.rules.attributes.patterns()
    }

    fn item(&mut self, item: &mut Item<'_>, _now: Moment, edits: &mut Edits) {
        match item.signal {
            Signal::Traces => self.span(item, edits),
            Signal::Logs => self.record(item, edits),
            Signal::Metrics => {}
        }
    }

    fn end(&mut self, _now: Moment, _edits: &mut Edits) {
        self.rules.counters.add(&std::mem::take(&mut self.removed));
    }
}

/// Adds `n` to the attribute `key` of `item`, where an earlier processor may have left a count.
fn count(edits: &mut Edits, item: &Item<'_>, attributes: u32, key: &str, n: usize) {
    let found = item.attributes.iter().find(|attribute| item.key(**attribute) == key.as_bytes());
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

/// Whether the mark in `field` is set.
fn is_true(field: Field<'_>) -> bool {
    match view::Attribute::of(field).map(|attribute| attribute.value) {
        Some(AnyValue::Bool(value)) => value,
        Some(AnyValue::Int(value)) => value != 0,
        Some(AnyValue::Text(text)) => {
            TRUE.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
        }
        _ => false,
    }
}
