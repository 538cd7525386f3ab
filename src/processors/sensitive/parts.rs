//! The parts of an item: its attributes, events, links, body; and the points of metrics.

use super::super::counts::raise;
use super::names::{self, Hit};
use super::rules::{self, Place, RuleId, Rules, Subject};
use super::scrub::Gone;
use super::value::{Did, Treat};
use crate::otlp::edit::Edits;
use crate::otlp::fields::{event, exemplar, key_value, link, log_record, metric};
use crate::otlp::view::{self, AnyValue, ScopeGroup};
use crate::otlp::wire::{Field, Message, put_bytes_field};
use crate::processors::inspect::Item;

/// Texts that set a mark, in any case.
const TRUE: [&str; 4] = ["true", "1", "yes", "on"];

/// Treats the attributes of an item: those that go, and those that were changed.
pub fn own_attributes(treat: &mut Treat<'_>, item: &Item<'_>, edits: &mut Edits) -> (Gone, Gone) {
    let all = || item.attributes.iter().chain(&item.rest).copied();
    let keys = || all().map(|part| item.key(part));
    let has_generic = keys().any(|key| treat.rules.attributes.find(key) == Some(Hit::Generic));
    treat.is_genai = has_generic && keys().any(names::is_genai);
    let (mut gone, mut changed) = (Gone::new(), Gone::new());
    for part in all() {
        // The edit of what goes is made with the rest of the item, in one place.
        match treat.attribute(item.message, item.field(part), 0, edits) {
            Did::Removed => gone.push(part),
            Did::Changed => changed.push(part),
            Did::Nothing => {}
        }
    }
    (gone, changed)
}

/// Treats the attributes in the field `fields.0` of `message`, which counts those that it lost in
/// its field `fields.1`. Yields where those begin that are not as they were.
pub fn attributes(
    treat: &mut Treat<'_>,
    message: Message<'_>,
    fields: (u32, u32),
    edits: &mut Edits,
) -> Vec<usize> {
    let (mut lost, mut touched) = (0, vec![]);
    for field in message.fields().filter(|field| field.number == fields.0) {
        let did = treat.attribute(message, field, 0, edits);
        lost += usize::from(did == Did::Removed);
        if did != Did::Nothing {
            touched.push(field.at);
        }
    }
    if lost > 0 {
        raise(edits, message, fields.1, message.field(fields.1), lost);
    }
    touched
}

/// Treats a span event and yields whether it goes whole.
pub fn event(treat: &mut Treat<'_>, field: Field<'_>, edits: &mut Edits) -> bool {
    let Some(event) = field.message() else { return false };
    let name = event.field(event::NAME).map(Field::bytes).unwrap_or_default();
    let hit = |field: &Field<'_>| treat.rules.attributes.find(view::key(field));
    let mut attributes = event.fields().filter(|field| field.number == event::ATTRIBUTES);
    let marked = attributes.any(|field| hit(&field) == Some(Hit::Mark) && is_true(field));
    let by_name = treat.rules.events.find(name).filter(|rule| *rule != rules::BODY);
    let rule = match treat.event(name) {
        Some(rule) => rule,
        None if marked => Some(rules::MARKED),
        None => by_name,
    };
    if let Some(rule) = rule {
        treat.removed.events.add(rule, 1);
        return true;
    }
    let fields = (event::ATTRIBUTES, event::DROPPED_ATTRIBUTES_COUNT);
    self::attributes(treat, event, fields, edits);
    if let Some(field) = event.field(event::NAME) {
        text(treat, Place::EventName, event, field, edits);
    }
    false
}

/// Treats a link.
pub fn link(treat: &mut Treat<'_>, field: Field<'_>, edits: &mut Edits) {
    let Some(link) = field.message() else { return };
    attributes(treat, link, (link::ATTRIBUTES, link::DROPPED_ATTRIBUTES_COUNT), edits);
    if let Some(field) = link.field(link::TRACE_STATE) {
        text(treat, Place::TraceState, link, field, edits);
    }
}

/// Treats a text that is no attribute, in a field of `message`.
pub fn text(
    treat: &mut Treat<'_>,
    place: Place,
    message: Message<'_>,
    field: Field<'_>,
    edits: &mut Edits,
) {
    match treat.text(place, field.bytes()) {
        Some(new) if new.is_empty() => edits.remove(message, &field),
        Some(new) => {
            edits.replace(message, &field, |out| put_bytes_field(out, field.number, &new));
        }
        None => {}
    }
}

/// Treats the body of a log record, which goes by `rule` if that says so; whether it goes whole.
pub fn body(
    treat: &mut Treat<'_>,
    rule: Option<RuleId>,
    field: Field<'_>,
    edits: &mut Edits,
) -> bool {
    let Some(body) = field.message() else { return false };
    let value = AnyValue::of(body);
    let (user, parts) = treat.ask(Subject::Text(Place::Body), value);
    let goes = match user {
        Some((id, user)) if matches!(user.action, rules::Action::Drop) => Some(id),
        Some((_, user)) if matches!(user.action, rules::Action::Keep) => return false,
        Some((id, user)) => {
            treat.replace(body, id, user, edits);
            return false;
        }
        None if rule == Some(rules::BODY) => rule,
        None => treat.strict.then_some(rules::NOT_ALLOWED),
    };
    match goes {
        Some(rule) => {
            treat.dropped(rule);
            true
        }
        None => {
            treat.inside(body, parts, 0, edits);
            false
        }
    }
}

/// The name of the event that a log record stands for.
pub fn event_name<'a>(record: &Item<'a>, rules: &Rules) -> &'a [u8] {
    if let Some(name) = record.other(log_record::EVENT_NAME).filter(|name| !name.bytes().is_empty())
    {
        return name.bytes();
    }
    let mut attributes = record.attributes.iter().map(|part| record.field(*part));
    let named = attributes
        .find(|field| rules.attributes.find(view::key(field)) == Some(Hit::EventName))
        .and_then(view::Attribute::of);
    named.and_then(|attribute| attribute.value.as_text()).unwrap_or_default()
}

/// Treats the points of the metrics in `group` and their exemplars.
pub fn metrics(treat: &mut Treat<'_>, group: ScopeGroup<'_>, edits: &mut Edits) {
    for metric in group.item_fields().filter_map(Field::message) {
        let kinds = metric::DATA.into_iter().zip(metric::POINT_ATTRIBUTES);
        for ((data, own), exemplars) in kinds.zip(metric::POINT_EXEMPLARS) {
            for points in metric.messages(data) {
                for point in points.messages(metric::DATA_POINTS) {
                    uncounted(treat, point, own, edits);
                    let exemplars = exemplars.into_iter().flat_map(|n| point.messages(n));
                    exemplars.for_each(|exemplar| {
                        uncounted(treat, exemplar, exemplar::FILTERED_ATTRIBUTES, edits);
                    });
                }
            }
        }
    }
}

/// Treats attributes of a message that counts none.
fn uncounted(treat: &mut Treat<'_>, message: Message<'_>, number: u32, edits: &mut Edits) {
    for field in message.fields().filter(|field| field.number == number) {
        treat.attribute(message, field, 0, edits);
    }
}

/// Whether the mark in `field` is set.
pub fn is_true(field: Field<'_>) -> bool {
    match view::Attribute::of(field).map(|attribute| attribute.value) {
        Some(AnyValue::Bool(value)) => value,
        Some(AnyValue::Int(value)) => value != 0,
        Some(AnyValue::Text(text)) => {
            TRUE.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
        }
        _ => false,
    }
}

/// What there may be to look at in a value.
pub enum Content<'a> {
    /// Nothing.
    Number,
    Text(&'a [u8]),
    /// Further values, or bytes.
    Inside,
}

/// What there is in the value of the attribute with these bytes.
#[inline]
pub fn content(bytes: &[u8]) -> Content<'_> {
    // Nearly all are a short key and a value whose length takes one byte.
    if let [0x0a, key @ 0..=0x7f, rest @ ..] = bytes
        && let Some([0x12, 0..=0x7f, tag, value @ ..]) = rest.get(usize::from(*key)..)
    {
        match (*tag, value) {
            (0x0a, [length, text @ ..]) if usize::from(*length) == text.len() => {
                return Content::Text(text);
            }
            (0x10 | 0x18, [number]) if *number < 0x80 => return Content::Number,
            (0x10 | 0x18, [more, number]) if *more >= 0x80 && *number < 0x80 => {
                return Content::Number;
            }
            (0x21, value) if value.len() == 8 => return Content::Number,
            _ => {}
        }
    }
    let value = Message::root(bytes).field(key_value::VALUE);
    match value.and_then(Field::message).map(AnyValue::of) {
        Some(AnyValue::Text(text)) => Content::Text(text),
        Some(AnyValue::Array(_) | AnyValue::Map(_) | AnyValue::Bytes(_)) => Content::Inside,
        _ => Content::Number,
    }
}

/// Whether `text` may be JSON.
pub fn may_be_json(text: &[u8]) -> bool {
    let first = text.first();
    first.is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"') || byte.is_ascii_whitespace())
}
