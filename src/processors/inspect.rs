//! Inspection: processors that look at one span or log record after the other, in one walk.
//!
//! A walk over all fields costs more than what most processors do with them, and so does writing
//! the request anew. Inspectors that stand in a row share both: each item is read once into an
//! [`Item`], shown to each of them in order, and all their edits are applied together.
//!
//! An inspector sees what came in without what those before it took out, of what they changed the
//! key alone, and not yet what they added. Whoever must see additions too is no inspector.

use super::names::{Names, Pattern};
use super::sieve::{Place, Sieve};
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
    /// The attribute keys that it looks at.
    fn keys(&self) -> Vec<Pattern>;

    /// Whether it looks at all attributes of the items of this scope, which then stand in
    /// [`Item::rest`] if they have none of the keys.
    fn all(&self) -> bool {
        false
    }

    /// What it says of attributes that have none of the keys; `None` if it looks at none of them.
    fn others(&self) -> Option<&dyn Others> {
        None
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

    /// The numbers, in order, of the items of this batch that it holds, among those that it was
    /// shown.
    fn holds(&mut self) -> Vec<u32> {
        vec![]
    }

    /// Takes over the items that it holds, with the edits of the whole row in them.
    fn hold(&mut self, _items: Batch, _now: Moment) {}

    /// As of [`Stateful`]: what it took over and has not passed on.
    fn held(&self) -> usize {
        0
    }

    /// As of [`Stateful`], of what is held.
    fn wake_at(&self) -> Option<Moment> {
        None
    }

    fn wake(&mut self, _now: Moment, _out: &mut Out) {}

    fn finish(&mut self, _now: Moment, _out: &mut Out) {}
}

/// Tells attributes that may be passed over from those to look at.
pub trait Others {
    /// Whether `attribute`, which has none of the keys, is left as it is, in whatever item it
    /// stands, and if it is a number, whatever the number. One that does not pass stands in
    /// [`Item::rest`].
    fn pass(&self, attribute: &Field<'_>) -> bool;
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
    /// Those that some inspector in the row looks at.
    pub attributes: Vec<Part>,
    /// Of the others those that some inspector in the row does not let pass.
    pub rest: Vec<Part>,
    /// All other fields that OTLP knows, in order.
    pub parts: Vec<Part>,
    removed: bool,
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
}

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
    fn new(signal: Signal) -> Item<'a> {
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
            removed: false,
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
        self.removed = false;
        self.attributes.clear();
        self.rest.clear();
        self.parts.clear();
        let tag = (shape.attributes << 3 | WireType::Len.code()) as u8;
        let mut fields = self.message.fields();
        loop {
            // Half of all fields are attributes that are known.
            let at = fields.at();
            if let Some(bytes) = fields.next_short(tag) {
                let known = sieve.known(bytes);
                if known != Some(Place::Passed) {
                    let (number, value) = (shape.attributes, Value::Len(bytes));
                    let field = Field { number, value, at, end: fields.at() };
                    self.put(&field, known.unwrap_or_else(|| sieve.look(&field, inspectors)));
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
                self.put(&field, sieve.look(&field, inspectors));
            } else if field.number <= shape.last {
                self.parts.push(Part::of(&field));
            }
        }
    }

    /// Puts `attribute` where it belongs.
    fn put(&mut self, attribute: &Field<'_>, place: Place) {
        match place {
            Place::Listed => self.attributes.push(Part::of(attribute)),
            Place::Rest => self.rest.push(Part::of(attribute)),
            Place::Passed => {}
        }
    }

    /// Puts all other attributes into [`Item::rest`], whoever lets them pass.
    pub fn show_all(&mut self) {
        let number = match self.signal {
            Signal::Logs => log_record::ATTRIBUTES,
            _ => span::ATTRIBUTES,
        };
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

    /// The number in a part that is none but a number. Where that is enough it is cheaper than
    /// [`Item::field`].
    #[inline]
    pub fn number(&self, part: Part) -> u64 {
        let start = self.message.start;
        let bytes = self.message.bytes.get(part.at().wrapping_sub(start)..);
        let bytes = bytes.and_then(|bytes| bytes.get(..part.end().wrapping_sub(part.at())));
        match bytes {
            Some([tag @ 0..0x80, number @ 0..0x80]) if tag & 7 == 0 => u64::from(*number),
            Some([tag @ 0..0x80, number @ ..]) if tag & 7 == 1 => {
                number.try_into().map(u64::from_le_bytes).unwrap_or_default()
            }
            _ => self.field(part).number_value(),
        }
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
        let mut gone = gone.iter().peekable();
        let mut stays = |part: &Part| gone.next_if(|gone| gone.at() == part.at()).is_none();
        self.attributes.retain(&mut stays);
        self.rest.retain(&mut stays);
        self.parts.retain(stays);
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
        Part { range, kind: field.number | (head as u32) << 16 }
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
    /// Items of the last batch that each inspector left.
    pub(super) left: Vec<usize>,
    edits: Edits,
}

impl<'i> Inspection<'i> {
    pub fn new(inspectors: Vec<Box<dyn Inspector + 'i>>) -> Inspection<'i> {
        let keys = inspectors.iter().flat_map(|inspector| inspector.keys());
        let keys = Arc::new(Names::new(keys.map(|pattern| (pattern, ()))));
        let left = vec![0; inspectors.len()];
        Inspection { inspectors, sieve: Sieve::new(keys), left, edits: Edits::default() }
    }

    /// Shows `batch` to all of them and applies what they want.
    pub fn run(&mut self, batch: Batch, now: Moment) -> Batch {
        self.left.fill(0);
        self.inspectors.iter_mut().for_each(|inspector| inspector.begin(now));
        match batch.signal() {
            Signal::Traces => self.walk(&batch, now, Some(&SPAN)),
            Signal::Logs => self.walk(&batch, now, Some(&LOG_RECORD)),
            Signal::Metrics => {
                self.left.fill(batch.items());
                self.walk(&batch, now, None);
            }
        }
        let edits = &mut self.edits;
        for inspector in &mut self.inspectors {
            inspector.end(now, edits);
            inspector.look_back(batch.request(), now);
        }
        if edits.is_empty() { batch } else { batch.edited(edits) }
    }

    #[inline]
    fn walk(&mut self, batch: &Batch, now: Moment, shape: Option<&Shape>) {
        let signal = batch.signal();
        let mut item = Item::new(signal);
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
                self.sieve.ask(&self.inspectors);
                for field in scope_group.item_fields() {
                    item.read(scope_group.0, field, shape, &mut self.sieve, &self.inspectors);
                    for (inspector, left) in self.inspectors.iter_mut().zip(&mut self.left) {
                        inspector.item(&mut item, now, &mut self.edits);
                        if item.removed {
                            break;
                        }
                        *left += 1;
                    }
                }
            }
        }
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
        fn keys(&self) -> Vec<Pattern> {
            ["remove", self.0].map(Pattern::exact).into()
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
        fn keys(&self) -> Vec<Pattern> {
            ["a", "b"].map(Pattern::exact).into()
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
