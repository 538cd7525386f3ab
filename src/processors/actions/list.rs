//! The attributes of one message as they will be: actions change the list one after the other, and
//! what has changed in the end becomes edits.
//!
//! A key may stand twice in what arrives. Reading takes the first, as the Collector does; writing
//! and removing take all of them, so that no copy of an old value survives.

use super::super::walk::bounded;
use super::values::view;
use crate::otlp::edit::Edits;
use crate::otlp::fields::key_value;
use crate::otlp::view::{self as otlp, AnyValue};
use crate::otlp::wire::{Field, Message, put_bytes_field};
use crate::otlp::write::put_attribute;
use crate::verdict::Verdict;
use std::borrow::Cow;

/// An encoded `AnyValue`: of the request, of the configuration, or made here.
pub type Value<'a> = Cow<'a, [u8]>;

/// The list. One serves all messages of a request in turn.
#[derive(Default)]
pub struct List<'a> {
    slots: Vec<Slot<'a>>,
}

struct Slot<'a> {
    key: Cow<'a, [u8]>,
    /// Where it stands, if it arrived with the message.
    field: Option<Field<'a>>,
    /// What it is set to; `None` is what it arrived with.
    new: Option<Value<'a>>,
    removed: bool,
}

impl<'a> Slot<'a> {
    fn is(&self, key: &[u8]) -> bool {
        !self.removed && *self.key == *key
    }

    /// The value that it arrived with, encoded.
    fn old(&self) -> &'a [u8] {
        let value = self.field.and_then(Field::message).and_then(|m| m.field(key_value::VALUE));
        value.map(Field::bytes).unwrap_or_default()
    }

    fn value(&self) -> Value<'a> {
        match &self.new {
            Some(new) => new.clone(),
            None => Cow::Borrowed(self.old()),
        }
    }

    /// The value to write, if it is another than the one that arrived.
    fn changed(&self) -> Option<&Value<'a>> {
        self.new.as_ref().filter(|new| self.field.is_none() || ***new != *self.old())
    }
}

impl<'a> List<'a> {
    /// No attributes.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// The attributes that `message` has in its field `number`.
    pub fn load(&mut self, message: Message<'a>, number: u32) {
        self.clear();
        for field in message.fields().filter(|field| field.number == number) {
            let key = Cow::Borrowed(otlp::key(&field));
            self.slots.push(Slot { key, field: Some(field), new: None, removed: false });
        }
    }

    /// The first value of `key`, encoded.
    pub fn get(&self, key: &[u8]) -> Option<Value<'a>> {
        self.slots.iter().find(|slot| slot.is(key)).map(Slot::value)
    }

    pub fn has(&self, key: &[u8]) -> bool {
        self.slots.iter().any(|slot| slot.is(key))
    }

    /// Whether no attribute is left.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.removed)
    }

    /// Sets every attribute `key`; whether there is any.
    pub fn update(&mut self, key: &[u8], value: &Value<'a>) -> bool {
        let mut found = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.is(key)) {
            slot.new = Some(value.clone());
            found = true;
        }
        found
    }

    /// Sets every attribute `key`, or adds one.
    pub fn set(&mut self, key: impl Into<Cow<'a, [u8]>>, value: Value<'a>) {
        let key = key.into();
        if !self.update(&key, &value) {
            self.slots.push(Slot { key, field: None, new: Some(value), removed: false });
        }
    }

    /// Removes the attributes whose keys are `wanted`.
    pub fn remove(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.removed) {
            slot.removed = wanted(&slot.key);
        }
    }

    /// Sets the attributes whose keys are `wanted` to what `change` makes of their values.
    pub fn change(
        &mut self,
        wanted: impl Fn(&[u8]) -> bool,
        change: impl Fn(AnyValue<'_>) -> Option<Vec<u8>>,
    ) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.removed && wanted(&slot.key)) {
            let new = change(view(&slot.value()));
            slot.new = new.map(Cow::Owned).or(slot.new.take());
        }
    }

    /// Says as edits what has changed since [`List::load`] of the same message. `id` is the
    /// processor's, for the refusal of what grows beyond its bound.
    pub fn emit(
        &self,
        message: Message<'_>,
        number: u32,
        edits: &mut Edits,
        id: &str,
    ) -> Result<(), Verdict> {
        for slot in &self.slots {
            match (&slot.field, slot.changed()) {
                (Some(field), _) if slot.removed => edits.remove(message, field),
                (None, Some(value)) if !slot.removed => {
                    edits.append(message, |out| put_attribute(out, number, &slot.key, value));
                }
                // Inside the attribute, so that fields that nobody here knows stay.
                (Some(field), Some(value)) => {
                    let Some(attribute) = field.message() else { continue };
                    let write = |out: &mut Vec<u8>| put_bytes_field(out, key_value::VALUE, value);
                    match attribute.field(key_value::VALUE) {
                        Some(old) => edits.replace(attribute, &old, write),
                        None => edits.append(attribute, write),
                    }
                }
                _ => continue,
            }
            bounded(edits, id)?;
        }
        Ok(())
    }

    /// Appends all attributes that are left, in the field `number` of whatever carries them.
    pub fn put(&self, out: &mut Vec<u8>, number: u32) {
        for slot in self.slots.iter().filter(|slot| !slot.removed) {
            put_attribute(out, number, &slot.key, &slot.value());
        }
    }
}
