//! What needs no closer look: attributes, texts, events and links of which a first look shows that
//! they stay, or go whole.

use super::detect::Detectors;
use super::names::{self, Hit};
use super::parts::{self, Content, is_true, may_be_json};
use super::rules::{self, RuleId, Rules};
use crate::otlp::fields::{event, link};
use crate::otlp::view;
use crate::otlp::wire::{Field, Message};
use crate::processors::repeats::Repeats;

/// What becomes of an event by its name and mark: it goes by a rule, stays, or (`None`) must be
/// looked at.
pub fn of_event(rules: &Rules, passed: &mut Repeats, field: Field<'_>) -> Option<Option<RuleId>> {
    let mut closer = false;
    for part in field.message()?.fields() {
        match part.number {
            event::NAME if rules.events.find(part.bytes()) == Some(rules::CONTENT_EVENT) => {
                return Some(Some(rules::CONTENT_EVENT));
            }
            event::NAME => closer |= !passes_text(rules, part.bytes()),
            event::ATTRIBUTES if passed.has(part.bytes()) => {}
            event::ATTRIBUTES => {
                let passes = match rules.attributes.find(view::key(&part)) {
                    Some(Hit::Mark) if is_true(part) => return Some(Some(rules::MARKED)),
                    Some(Hit::Mark) => continue,
                    Some(Hit::Keep) => passes_value(rules, part.bytes()),
                    None => passes(rules, part.bytes()),
                    Some(_) => false,
                };
                if passes {
                    passed.offer(part.bytes(), 0);
                }
                closer |= !passes;
            }
            _ => {}
        }
    }
    (!closer).then_some(None)
}

pub fn passes_link(rules: &Rules, field: Field<'_>) -> bool {
    let mut fields = field.message().into_iter().flat_map(Message::fields);
    fields.all(|field| match field.number {
        link::ATTRIBUTES => false,
        link::TRACE_STATE => passes_text(rules, field.bytes()),
        _ => true,
    })
}

/// Whether `attribute`, of a key that no rule names, needs no closer look.
pub fn passes(rules: &Rules, attribute: &[u8]) -> bool {
    names::by_part(view::key_in(attribute)).is_none() && passes_value(rules, attribute)
}

/// Whether the value of `attribute` needs no closer look.
pub fn passes_value(rules: &Rules, attribute: &[u8]) -> bool {
    match parts::content(attribute) {
        Content::Number => true,
        Content::Text(text) => passes_text(rules, text),
        Content::Inside => false,
    }
}

/// Whether `text` needs no closer look.
pub fn passes_text(rules: &Rules, text: &[u8]) -> bool {
    let may_hit = |detectors: &Detectors| detectors.may_hit(text);
    !may_be_json(text) && !rules.detectors.as_ref().is_some_and(may_hit)
}
