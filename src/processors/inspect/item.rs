//! One span or log record, read once for all inspectors of a row.

use super::super::sieve::{Meanings, Sieve};
use super::Inspector;
use crate::batch::Signal;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{key_value, log_record, span};
use crate::otlp::view;
use crate::otlp::wire::{Field, Message, Value, WireType};

/// A span or a log record, its fields sorted by what they are for.
pub struct Item<'a> {
    pub signal: Signal,
    /// What it stands in, and where.
    pub resource_group: Message<'a>,
    /// Where attributes of the resource begin that were taken out or changed: nobody is to read
    /// them.
    pub resource_hidden: Vec<usize>,
    pub scope_group: Message<'a>,
    pub field: Field<'a>,
    pub message: Message<'a>,
    /// Empty if there is none, as are the other ids.
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    /// Always empty in a log record.
    pub parent_span_id: &'a [u8],
    /// Those that mean something to an inspector in the row.
    pub attributes: Vec<Part>,
    /// The others, once an inspector wants them all: [`Item::show_all`].
    pub rest: Vec<Part>,
    /// All other length-delimited fields that OTLP knows, in order.
    pub parts: Vec<Part>,
    /// What the other fields hold, by their number; 0 for what is not there.
    numbers: [u64; NUMBERS],
    /// A bit for each of those that is there.
    present: u32,
    /// Ids of calls in what was taken out: they stay, and nobody sees what stood around them.
    pub call_ids: Vec<&'a [u8]>,
    pub(super) removed: bool,
    pub(super) meanings: Meanings,
    /// The place in the row of the inspector that it is shown to.
    pub(super) place: usize,
}

/// A length-delimited field of an item, unread. Small and without a value, because many are written
/// for every item: to write whole [`Field`]s took twice as long as all the rest of the walk. Each
/// of its words is written and read whole: a processor waits for what it reads across two of its
/// latest writes.
#[derive(Clone, Copy)]
pub struct Part {
    /// Where it begins in the request, and in the upper half where it ends.
    range: u64,
    /// Its number; the bytes of tag and length; [`KEY_ONLY`].
    kind: u32,
    /// Of an attribute the number of its meanings.
    meanings: u32,
}

/// Fields of an item that OTLP knows are numbered below this.
const NUMBERS: usize = 17;

/// A bit of [`Part::kind`]: of an attribute only the key is shown.
const KEY_ONLY: u32 = 1 << 31;

/// Field numbers of an item by signal; 0 for what there is not.
pub(super) struct Shape {
    trace_id: u32,
    span_id: u32,
    parent_span_id: u32,
    attributes: u32,
    /// The largest that OTLP knows.
    last: u32,
}

pub(super) const SPAN: Shape = Shape {
    trace_id: span::TRACE_ID,
    span_id: span::SPAN_ID,
    parent_span_id: span::PARENT_SPAN_ID,
    attributes: span::ATTRIBUTES,
    last: span::FLAGS,
};
pub(super) const LOG_RECORD: Shape = Shape {
    trace_id: log_record::TRACE_ID,
    span_id: log_record::SPAN_ID,
    parent_span_id: 0,
    attributes: log_record::ATTRIBUTES,
    last: log_record::EVENT_NAME,
};

impl<'a> Item<'a> {
    pub(super) fn new(signal: Signal, meanings: Meanings) -> Item<'a> {
        let nowhere = Message { bytes: &[], start: 0 };
        Item {
            signal,
            resource_group: nowhere,
            resource_hidden: Vec::new(),
            scope_group: nowhere,
            field: Field { number: 0, value: Value::Len(&[]), at: 0, end: 0 },
            message: nowhere,
            trace_id: &[],
            span_id: &[],
            parent_span_id: &[],
            attributes: Vec::new(),
            rest: Vec::new(),
            parts: Vec::new(),
            numbers: [0; NUMBERS],
            present: 0,
            call_ids: Vec::new(),
            removed: false,
            meanings,
            place: 0,
        }
    }

    /// Reads the item in `field` of `scope_group`, which has this `shape`.
    #[inline]
    pub(super) fn read<'i>(
        &mut self,
        scope_group: Message<'a>,
        field: Field<'a>,
        shape: &Shape,
        sieve: &mut Sieve,
        inspectors: &[Box<dyn Inspector + 'i>],
    ) {
        (self.scope_group, self.field) = (scope_group, field);
        self.message = Message { bytes: field.bytes(), start: field.end - field.bytes().len() };
        (self.trace_id, self.span_id, self.parent_span_id) = (&[], &[], &[]);
        (self.removed, self.numbers) = (false, [0; NUMBERS]);
        self.attributes.clear();
        self.rest.clear();
        self.parts.clear();
        self.call_ids.clear();
        let tag = (shape.attributes << 3 | WireType::Len.code()) as u8;
        let mut fields = self.message.fields();
        let mut present = 0;
        loop {
            // Half of all fields are attributes that are known.
            let at = fields.at();
            if let Some(bytes) = fields.next_short(tag) {
                let known = sieve.known(bytes);
                if known != Some(0) {
                    let (number, value) = (shape.attributes, Value::Len(bytes));
                    let field = Field { number, value, at, end: fields.at() };
                    match known {
                        Some(meanings) => {
                            self.attributes.push(Part { meanings, ..Part::of(&field) })
                        }
                        None => self.look(&field, sieve, inspectors),
                    }
                }
                continue;
            }
            let Some(field) = fields.next() else { break };
            let Value::Len(bytes) = field.value else {
                if let Some(number) = self.numbers.get_mut(field.number as usize) {
                    *number = field.number_value();
                    present |= 1 << field.number;
                }
                continue;
            };
            if field.number == shape.trace_id {
                self.trace_id = bytes;
            } else if field.number == shape.span_id {
                self.span_id = bytes;
            } else if field.number == shape.parent_span_id {
                self.parent_span_id = bytes;
            } else if field.number == shape.attributes {
                self.look(&field, sieve, inspectors);
            } else if field.number <= shape.last {
                self.parts.push(Part::of(&field));
            }
        }
        self.present = present;
    }

    /// Asks what `attribute` means.
    #[inline(never)]
    fn look<'i>(
        &mut self,
        attribute: &Field<'_>,
        sieve: &mut Sieve,
        inspectors: &[Box<dyn Inspector + 'i>],
    ) {
        let meanings = sieve.look(attribute.bytes(), inspectors, &mut self.meanings);
        if meanings != 0 {
            self.attributes.push(Part { meanings, ..Part::of(attribute) });
        }
    }

    /// What the inspector that is shown the item said of an attribute; it may have been changed
    /// since by one of those before.
    #[inline]
    pub fn meaning(&self, attribute: Part) -> u16 {
        self.meanings.of(attribute.meanings, self.place)
    }

    /// Puts all other attributes into [`Item::rest`].
    pub fn show_all(&mut self) {
        let number = self.attribute_number();
        let mut listed = self.attributes.iter().peekable();
        self.rest.clear();
        for field in self.message.fields().filter(|field| field.number == number) {
            if listed.next_if(|part| part.at() == field.at).is_none() {
                self.rest.push(Part::of(&field));
            }
        }
    }

    /// The key of one of the attributes.
    pub fn key(&self, attribute: Part) -> &'a [u8] {
        view::key_in(self.bytes(attribute))
    }

    /// Reads a part of this item.
    #[inline]
    pub fn field(&self, part: Part) -> Field<'a> {
        let value = Value::Len(self.bytes(part));
        Field { number: part.number(), value, at: part.at(), end: part.end() }
    }

    /// The payload of a part of this item. Where that is enough it is cheaper than
    /// [`Item::field`].
    #[inline]
    pub fn bytes(&self, part: Part) -> &'a [u8] {
        let from = (part.at() + part.head()).wrapping_sub(self.message.start);
        let bytes = self.message.bytes.get(from..part.end().wrapping_sub(self.message.start));
        let bytes = bytes.unwrap_or_default();
        if part.kind & KEY_ONLY == 0 { bytes } else { only_key(bytes) }
    }

    /// The number in the field `number`; 0 if there is none.
    #[inline]
    pub fn number(&self, number: u32) -> u64 {
        self.numbers.get(number as usize).copied().unwrap_or(0)
    }

    /// The field `number`, if it is none of those that have a place of their own here.
    pub fn other(&self, number: u32) -> Option<Field<'a>> {
        if self.present.checked_shr(number).is_some_and(|present| present & 1 != 0) {
            return self.message.field(number);
        }
        let part = self.parts.iter().find(|part| part.number() == number)?;
        Some(self.field(*part))
    }

    /// Hides these fields from the inspectors behind, since they are taken out: attributes first,
    /// then the rest of them, then others, each in the order in which they stand here.
    pub fn hide(&mut self, gone: &[Part]) {
        let attributes = gone.partition_point(|part| part.number() == self.attribute_number());
        let (attributes, others) = gone.split_at(attributes);
        let mut gone = attributes.iter().peekable();
        let mut stays = |part: &Part| gone.next_if(|gone| gone.at() == part.at()).is_none();
        if !attributes.is_empty() {
            self.attributes.retain(&mut stays);
            self.rest.retain(&mut stays);
        }
        let mut gone = others.iter().peekable();
        if !others.is_empty() {
            self.parts.retain(|part| gone.next_if(|gone| gone.at() == part.at()).is_none());
        }
    }

    /// The number of the field with attributes.
    fn attribute_number(&self) -> u32 {
        match self.signal {
            Signal::Logs => log_record::ATTRIBUTES,
            _ => span::ATTRIBUTES,
        }
    }

    /// Hides the values of these attributes from the inspectors behind, since they are changed:
    /// those see the keys alone.
    pub fn hide_values(&mut self, changed: &[Part]) {
        for part in self.attributes.iter_mut().chain(&mut self.rest) {
            if changed.iter().any(|changed| changed.at() == part.at()) {
                part.kind |= KEY_ONLY;
            }
        }
    }

    /// Takes the item out of its request.
    pub fn remove(&mut self, edits: &mut Edits) {
        edits.remove_item(self.scope_group, &self.field);
        self.removed = true;
    }
}

impl Part {
    /// The number of the field.
    #[inline]
    pub fn number(self) -> u32 {
        self.kind & 0xffff
    }

    #[inline]
    fn head(self) -> usize {
        (self.kind >> 16 & 0xff) as usize
    }

    #[inline]
    fn at(self) -> usize {
        self.range as u32 as usize
    }

    #[inline]
    fn end(self) -> usize {
        (self.range >> 32) as usize
    }

    /// The part that is `field`, of a number that OTLP knows.
    #[inline]
    fn of(field: &Field<'_>) -> Part {
        let head = field.end - field.at - field.bytes().len();
        let range = u64::from(field.at as u32) | (field.end as u64) << 32;
        Part { range, kind: field.number | (head as u32) << 16, meanings: 0 }
    }
}

/// Of the bytes of an attribute those of its key, as a field.
#[inline(never)]
fn only_key(attribute: &[u8]) -> &[u8] {
    let key = Message::root(attribute).field(key_value::KEY);
    key.and_then(|key| attribute.get(key.at..key.end)).unwrap_or_default()
}
