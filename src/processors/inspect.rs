//! Inspection: processors that look at one span or log record after the other, in one walk.
//!
//! A walk over all fields costs more than what most processors do with them, and so does writing
//! the request anew. Inspectors that stand in a row share both: each item is read once into an
//! [`Item`], shown to each of them in order, and all their edits are applied together.
//!
//! An inspector sees what came in without what those before it took out, of what they changed the
//! key alone, and not yet what they added. Whoever must see additions too is no inspector.

use super::sieve::{Meanings, Sieve};
use super::{Out, Stateless};
use crate::batch::{Batch, Signal};
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{key_value, log_record, span};
use crate::otlp::view::{self, Request, ResourceGroup, ScopeGroup};
use crate::otlp::wire::{Field, Message, Value, WireType};
use std::sync::Arc;

/// A processor that looks at items one by one and says what it changes as edits.
pub trait Inspector: Send {
    /// What `attribute` means to it, as a number of its own; 0 if it need not be shown it, and then
    /// others may not be either. It is asked once for many attributes of the same bytes, and of
    /// the same key if they hold numbers, so nothing else may count.
    fn meaning(&self, _attribute: &[u8]) -> u16 {
        0
    }

    /// What is to run at the beginning of its pipeline, where the metadata of requests is known.
    fn door(&self) -> Option<Arc<dyn Stateless>> {
        None
    }

    /// A batch begins.
    fn begin(&mut self, _now: Moment) {}

    /// The items of `group` follow. What it takes out of the resource or changes there it puts
    /// into `hidden`, as [`Item::resource_hidden`] has it.
    fn resource(
        &mut self,
        _group: ResourceGroup<'_>,
        _hidden: &mut Vec<usize>,
        _edits: &mut Edits,
    ) {
    }

    /// The items of `group` follow; metrics are no items, and stand in it.
    fn scope(&mut self, _group: ScopeGroup<'_>, _signal: Signal, _edits: &mut Edits) {}

    /// Looks at the next item.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits);

    /// The batch has no more items.
    fn end(&mut self, now: Moment, edits: &mut Edits);

    /// Looks at the whole request once more, as it came in.
    fn look_back(&mut self, _request: Request<'_>, _now: Moment) {}

    /// Whether it may hold items. Then it is the last of its row, since what follows sees those
    /// items later and in other batches.
    fn may_hold(&self) -> bool {
        false
    }

    /// Where the items of this batch start that it holds, in order.
    fn holds(&mut self) -> Vec<usize> {
        vec![]
    }

    /// Takes over the items that it holds, with the edits of the whole row in them.
    fn hold(&mut self, _items: Batch, _now: Moment) {}

    /// As of [`super::Stateful`], of what is held.
    fn held(&self) -> usize {
        0
    }

    fn wake_at(&self) -> Option<Moment> {
        None
    }

    fn wake(&mut self, _now: Moment, _out: &mut Out) {}

    fn finish(&mut self, _now: Moment, _out: &mut Out) {}
}

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
    /// All other fields that OTLP knows, in order.
    pub parts: Vec<Part>,
    /// The numbers among those, by number of their field; 0 for what is not there.
    numbers: [u64; NUMBERS],
    /// Ids of calls in what was taken out: they stay, and nobody sees what stood around them.
    pub call_ids: Vec<&'a [u8]>,
    removed: bool,
    meanings: Meanings,
    /// The place in the row of the inspector that it is shown to.
    place: usize,
}

/// A field of an item, unread. Small and without a value, because one is written for every field
/// of every item: to write whole [`Field`]s took twice as long as all the rest of the walk. Each of
/// its words is written and read whole: a processor waits for what it reads across two of its
/// latest writes.
#[derive(Clone, Copy)]
pub struct Part {
    /// Where it begins in the request, and in the upper half where it ends.
    range: u64,
    /// Its number; the bytes of tag and length, if it is length-delimited; [`KEY_ONLY`].
    kind: u32,
    /// Of an attribute the number of its meanings.
    meanings: u32,
}

/// Fields of an item that OTLP knows are numbered below this.
const NUMBERS: usize = 17;

/// A bit of [`Part::kind`]: of an attribute only the key is shown.
const KEY_ONLY: u32 = 1 << 31;

/// Field numbers of an item by signal; 0 for what there is not.
struct Shape {
    trace_id: u32,
    span_id: u32,
    parent_span_id: u32,
    attributes: u32,
    /// The largest that OTLP knows.
    last: u32,
}

const SPAN: Shape = Shape {
    trace_id: span::TRACE_ID,
    span_id: span::SPAN_ID,
    parent_span_id: span::PARENT_SPAN_ID,
    attributes: span::ATTRIBUTES,
    last: span::FLAGS,
};
const LOG_RECORD: Shape = Shape {
    trace_id: log_record::TRACE_ID,
    span_id: log_record::SPAN_ID,
    parent_span_id: 0,
    attributes: log_record::ATTRIBUTES,
    last: log_record::EVENT_NAME,
};

impl<'a> Item<'a> {
    fn new(signal: Signal, meanings: Meanings) -> Item<'a> {
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
            call_ids: Vec::new(),
            removed: false,
            meanings,
            place: 0,
        }
    }

    /// Reads the item in `field` of `scope_group`, which has this `shape`.
    #[inline]
    fn read<'i>(
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
            if field.number == shape.trace_id {
                self.trace_id = field.bytes();
            } else if field.number == shape.span_id {
                self.span_id = field.bytes();
            } else if field.number == shape.parent_span_id {
                self.parent_span_id = field.bytes();
            } else if field.number == shape.attributes {
                self.look(&field, sieve, inspectors);
            } else if field.number <= shape.last {
                self.parts.push(Part::of(&field));
                if let Some(number) = self.numbers.get_mut(field.number as usize) {
                    *number = field.number_value();
                }
            }
        }
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
        match part.head() {
            0 => self.unusual(part),
            _ => {
                let value = Value::Len(self.bytes(part));
                Field { number: part.number(), value, at: part.at(), end: part.end() }
            }
        }
    }

    /// The payload of a part of this item, empty if it is no length-delimited one. Where that is
    /// enough it is cheaper than [`Item::field`].
    #[inline]
    pub fn bytes(&self, part: Part) -> &'a [u8] {
        let from = (part.at() + part.head()).wrapping_sub(self.message.start);
        let bytes = self.message.bytes.get(from..part.end().wrapping_sub(self.message.start));
        let bytes = bytes.unwrap_or_default();
        if part.is_whole() { bytes } else { part.of_payload(bytes) }
    }

    /// The number in the field `number`; 0 if there is none.
    #[inline]
    pub fn number(&self, number: u32) -> u64 {
        self.numbers.get(number as usize).copied().unwrap_or(0)
    }

    /// A part that is not length-delimited.
    #[inline(never)]
    fn unusual(&self, part: Part) -> Field<'a> {
        let (at, end, start) = (part.at(), part.end(), self.message.start);
        let bytes = self.message.bytes.get(at.wrapping_sub(start)..end.wrapping_sub(start));
        let field = Message { bytes: bytes.unwrap_or_default(), start: at }.fields().next();
        field.unwrap_or(Field { number: part.number(), value: Value::Len(&[]), at, end })
    }

    /// The field `number`, if it is none of those that have a place of their own here.
    pub fn other(&self, number: u32) -> Option<Field<'a>> {
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

    /// Whether it is length-delimited and all of it is shown.
    #[inline]
    fn is_whole(self) -> bool {
        self.kind & KEY_ONLY == 0 && self.head() > 0
    }

    /// What is shown of the payload of a part that is not whole.
    #[inline(never)]
    fn of_payload(self, bytes: &[u8]) -> &[u8] {
        if self.head() > 0 { only_key(bytes) } else { &[] }
    }

    /// The part that is `field`, of a number that OTLP knows.
    #[inline]
    fn of(field: &Field<'_>) -> Part {
        let head = match field.value {
            Value::Len(bytes) => field.end - field.at - bytes.len(),
            _ => 0,
        };
        let range = u64::from(field.at as u32) | (field.end as u64) << 32;
        Part { range, kind: field.number | (head as u32) << 16, meanings: 0 }
    }
}

/// Of the bytes of an attribute those of its key, as a field.
fn only_key(attribute: &[u8]) -> &[u8] {
    let key = Message::root(attribute).field(key_value::KEY);
    key.and_then(|key| attribute.get(key.at..key.end)).unwrap_or_default()
}

/// Inspectors in a row.
pub struct Inspection<'i> {
    pub(super) inspectors: Vec<Box<dyn Inspector + 'i>>,
    sieve: Sieve,
    meanings: Meanings,
    /// Items of the last batch that each inspector left.
    pub(super) left: Vec<usize>,
    edits: Edits,
}

impl<'i> Inspection<'i> {
    pub fn new(inspectors: Vec<Box<dyn Inspector + 'i>>) -> Inspection<'i> {
        let (left, meanings) = (vec![0; inspectors.len()], Meanings::new(inspectors.len()));
        let (sieve, edits) = (Sieve::default(), Edits::default());
        Inspection { inspectors, sieve, meanings, left, edits }
    }

    /// Shows `batch` to all of them and applies what they want.
    pub fn run(&mut self, batch: Batch, now: Moment) -> Batch {
        self.look(&batch, now);
        self.edit(batch)
    }

    /// Shows `batch` to all of them.
    pub(super) fn look(&mut self, batch: &Batch, now: Moment) {
        self.left.fill(0);
        self.inspectors.iter_mut().for_each(|inspector| inspector.begin(now));
        match batch.signal() {
            Signal::Traces => self.walk(batch, now, Some(&SPAN)),
            Signal::Logs => self.walk(batch, now, Some(&LOG_RECORD)),
            Signal::Metrics => {
                self.left.fill(batch.items());
                self.walk(batch, now, None);
            }
        }
        for inspector in &mut self.inspectors {
            inspector.end(now, &mut self.edits);
            inspector.look_back(batch.request(), now);
        }
    }

    /// The batch that was looked at with what they want.
    pub(super) fn edit(&mut self, batch: Batch) -> Batch {
        if self.edits.is_empty() { batch } else { batch.edited(&mut self.edits) }
    }

    /// The same of a part of it: so many items, those that `cut` does not remove.
    pub(super) fn part(&mut self, batch: &Batch, cut: &Edits, items: usize) -> Batch {
        batch.part(self.edits.apply_with(cut, batch.bytes()), items)
    }

    /// Forgets what they want of the batch.
    pub(super) fn forget(&mut self) {
        self.edits.clear();
    }

    #[inline]
    fn walk(&mut self, batch: &Batch, now: Moment, shape: Option<&Shape>) {
        let signal = batch.signal();
        let mut item = Item::new(signal, std::mem::take(&mut self.meanings));
        for group in batch.request().resource_groups() {
            item.resource_hidden.clear();
            for inspector in &mut self.inspectors {
                inspector.resource(group, &mut item.resource_hidden, &mut self.edits);
            }
            item.resource_group = group.0;
            for scope_group in group.scope_groups() {
                let edits = &mut self.edits;
                let each = self.inspectors.iter_mut();
                each.for_each(|inspector| inspector.scope(scope_group, signal, edits));
                let Some(shape) = shape else { continue };
                for field in scope_group.item_fields() {
                    item.read(scope_group.0, field, shape, &mut self.sieve, &self.inspectors);
                    let row = self.inspectors.iter_mut().zip(&mut self.left);
                    for (place, (inspector, left)) in row.enumerate() {
                        item.place = place;
                        inspector.item(&mut item, now, &mut self.edits);
                        if item.removed {
                            break;
                        }
                        *left += 1;
                    }
                }
            }
        }
        self.meanings = item.meanings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::text;
    use bytes::Bytes;

    /// Takes out every attribute with its key, and items that have an attribute `remove`.
    struct Taker(&'static str);

    impl Inspector for Taker {
        fn meaning(&self, attribute: &[u8]) -> u16 {
            u16::from(
                ["remove", self.0].iter().any(|key| key.as_bytes() == view::key_in(attribute)),
            )
        }

        fn item(&mut self, item: &mut Item<'_>, _: Moment, edits: &mut Edits) {
            let named = |name: &str| {
                let keys = item.attributes.iter().copied();
                keys.filter(|part| item.key(*part) == name.as_bytes()).collect::<Vec<Part>>()
            };
            let (gone, remove) = (named(self.0), named("remove"));
            if !remove.is_empty() {
                return item.remove(edits);
            }
            gone.iter().for_each(|part| edits.remove(item.message, &item.field(*part)));
            item.hide(&gone);
        }

        fn end(&mut self, _: Moment, _: &mut Edits) {}
    }

    /// Writes down the attributes that it is shown.
    struct Witness(Vec<String>);

    impl Inspector for &mut Witness {
        fn meaning(&self, attribute: &[u8]) -> u16 {
            u16::from([&b"a"[..], b"b"].contains(&view::key_in(attribute)))
        }

        fn item(&mut self, item: &mut Item<'_>, _: Moment, _: &mut Edits) {
            let keys = item.attributes.iter().map(|part| view::text(item.key(*part)));
            self.0.push(keys.collect::<Vec<_>>().join(" "));
        }

        fn end(&mut self, _: Moment, _: &mut Edits) {}
    }

    #[test]
    fn those_behind_do_not_see_what_was_taken_out() {
        let request = "span 1/1 a=1 b=2 c=3\nspan 1/2 remove=1 a=1\nspan 1/3 b=1";
        let bytes = Bytes::from(text::parse(request).unwrap());
        let batch = Batch::parse(Signal::Traces, bytes, Moment::default()).unwrap();
        let mut witness = Witness(vec![]);
        let row: Vec<Box<dyn Inspector + '_>> = vec![Box::new(Taker("a")), Box::new(&mut witness)];
        let mut row = Inspection::new(row);
        let batch = row.run(batch, Moment::default());
        assert_eq!(row.left, [2, 2]);
        drop(row);
        assert_eq!(witness.0, ["b", "b"]);
        let printed = text::print(Signal::Traces.message(), batch.bytes());
        assert_eq!(printed, "resource -\nscope -\nspan 1/1 b=2 c=3\nspan 1/3 b=1\n");
    }
}
