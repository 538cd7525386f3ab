//! The values that a list of conditions reads, gathered in one walk over each message.
//!
//! Conditions name what they read by slot. A message is walked once however many conditions there
//! are, and attributes that none of them asks for are passed over by the length of their key.

use super::paths::{Access, Level};
use super::value::Value;
use crate::otlp::fields::{span, status};
use crate::otlp::view::{self, AnyValue, Attribute};
use crate::otlp::wire::{Field, Message};
use std::borrow::Cow;

/// The slots of one request's values. Filled level by level by
/// [`Conditions`](super::Conditions).
#[derive(Clone, Debug, Default)]
pub struct Row<'a> {
    values: Vec<Value<'a>>,
}

impl<'a> Row<'a> {
    pub(super) fn new(slots: usize) -> Row<'a> {
        Row { values: vec![Value::Nil; slots] }
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> &Value<'a> {
        self.values.get(slot).unwrap_or(&Value::Nil)
    }

    #[inline]
    fn set(&mut self, slot: usize, value: Value<'a>) {
        if let Some(place) = self.values.get_mut(slot) {
            *place = value;
        }
    }
}

/// What is read of one level.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// The field that holds attributes.
    attributes: u32,
    /// Attributes by key.
    keys: Vec<(Vec<u8>, usize)>,
    /// A bit for each length of a key, the last for all longer ones.
    lengths: u64,
    /// Other fields.
    fields: Vec<(u32, Access, usize)>,
    /// A bit for each number of such a field.
    numbers: u64,
    /// Fields of the group around the level's message.
    group: Vec<(u32, usize)>,
    /// The place among the events.
    index: Option<usize>,
}

/// What is read, by level.
#[derive(Clone, Debug, Default)]
pub(super) struct Gather {
    levels: [Wanted; 4],
    slots: usize,
    /// What each slot reads, to find it again.
    known: Vec<(Level, Access, Option<String>)>,
}

impl Gather {
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The slot for `access` on `level`, and for the attribute `key` of it.
    pub(super) fn slot(&mut self, level: Level, access: Access, key: Option<&str>) -> usize {
        let known = self
            .known
            .iter()
            .position(|(l, a, k)| (*l, *a) == (level, access) && k.as_deref() == key);
        if let Some(slot) = known {
            return slot;
        }
        let slot = self.slots;
        self.slots += 1;
        self.known.push((level, access, key.map(str::to_owned)));
        let Some(wanted) = self.levels.get_mut(level as usize) else { return slot };
        match (access, key) {
            (Access::Attributes(number), Some(key)) => {
                wanted.attributes = number;
                wanted.lengths |= bit(key.len());
                wanted.keys.push((key.as_bytes().to_vec(), slot));
            }
            (Access::GroupText(number), _) => wanted.group.push((number, slot)),
            (Access::EventIndex, _) => wanted.index = Some(slot),
            (access, _) => {
                let number = number_of(access);
                // All attributes together need no walk: their message stands for them.
                if !matches!(access, Access::Attributes(_)) {
                    wanted.numbers |= bit(number as usize);
                }
                wanted.fields.push((number, access, slot));
            }
        }
        slot
    }

    /// Fills the slots of `level` from its `message`, which stands in `group`.
    pub(super) fn fill<'a>(
        &self,
        row: &mut Row<'a>,
        level: Level,
        message: Option<Message<'a>>,
        group: Option<Message<'a>>,
        index: usize,
    ) {
        let Some(wanted) = self.levels.get(level as usize) else { return };
        for (number, slot) in &wanted.group {
            let text = group.and_then(|group| group.field(*number)).map(Field::bytes);
            row.set(*slot, Value::Text(Cow::Borrowed(text.unwrap_or_default())));
        }
        if let Some(slot) = wanted.index {
            row.set(slot, Value::Int(i64::try_from(index).unwrap_or(i64::MAX)));
        }
        wanted.fill(row, message);
    }
}

impl Wanted {
    fn fill<'a>(&self, row: &mut Row<'a>, message: Option<Message<'a>>) {
        for (_, access, slot) in &self.fields {
            row.set(*slot, absent(*access, message));
        }
        for (_, slot) in &self.keys {
            row.set(*slot, Value::Nil);
        }
        let Some(message) = message else { return };
        if self.numbers == 0 && self.keys.is_empty() {
            return;
        }
        for field in message.fields() {
            if field.number == self.attributes {
                self.attribute(row, field);
            }
            if self.numbers & bit(field.number as usize) != 0 {
                self.field(row, field);
            }
        }
    }

    /// Of two attributes with one key, the first counts.
    #[inline]
    fn attribute<'a>(&self, row: &mut Row<'a>, field: Field<'a>) {
        let key = view::key(&field);
        if self.lengths & bit(key.len()) == 0 {
            return;
        }
        for (wanted, slot) in &self.keys {
            if wanted == key && matches!(row.get(*slot), Value::Nil) {
                let value = Attribute::of(field).map_or(AnyValue::Empty, |found| found.value);
                row.set(*slot, value.into());
            }
        }
    }

    fn field<'a>(&self, row: &mut Row<'a>, field: Field<'a>) {
        for (number, access, slot) in &self.fields {
            if *number != field.number {
                continue;
            }
            let value = match access {
                Access::Text(_) | Access::TraceState => Value::Text(Cow::Borrowed(field.bytes())),
                Access::Id(..) | Access::HexId(..) if field.bytes().is_empty() => continue,
                Access::Id(..) | Access::HexId(..) => Value::Bytes(Cow::Borrowed(field.bytes())),
                Access::StatusCode => {
                    let code = field.message().and_then(|status| status.field(status::CODE));
                    Value::Int(code.map_or(0, |code| code.number_value() as i64))
                }
                Access::StatusMessage => {
                    let text = field.message().and_then(|status| status.field(status::MESSAGE));
                    Value::Text(Cow::Borrowed(text.map(Field::bytes).unwrap_or_default()))
                }
                Access::Body | Access::BodyText => {
                    field.message().map_or(Value::Nil, |body| AnyValue::of(body).into())
                }
                _ => Value::Int(field.number_value() as i64),
            };
            row.set(*slot, value);
        }
    }
}

/// The bit for a length or field number; those from 63 on share one.
#[inline]
fn bit(n: usize) -> u64 {
    1 << n.min(63)
}

fn number_of(access: Access) -> u32 {
    match access {
        Access::Attributes(number)
        | Access::Text(number)
        | Access::GroupText(number)
        | Access::Number(number)
        | Access::Id(number, _)
        | Access::HexId(number, _) => number,
        Access::TraceState => span::TRACE_STATE,
        Access::KindName => span::KIND,
        Access::StatusCode | Access::StatusMessage => span::STATUS,
        Access::Body | Access::BodyText => crate::otlp::fields::log_record::BODY,
        Access::EventIndex => 0,
    }
}

/// What a field reads as that is not there.
fn absent<'a>(access: Access, message: Option<Message<'a>>) -> Value<'a> {
    const ZERO: [u8; 16] = [0; 16];
    match access {
        Access::Attributes(number) => {
            Value::Map(message.unwrap_or(Message { bytes: &[], start: 0 }), number)
        }
        Access::Text(_) | Access::TraceState | Access::StatusMessage | Access::GroupText(_) => {
            Value::Text(Cow::Borrowed(&[]))
        }
        Access::Id(_, len) | Access::HexId(_, len) => {
            Value::Bytes(Cow::Borrowed(ZERO.get(..len).unwrap_or_default()))
        }
        Access::Body | Access::BodyText => Value::Nil,
        _ => Value::Int(0),
    }
}
