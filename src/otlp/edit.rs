//! Edits are values: what to remove, replace and append, and one function that applies them.
//!
//! An edit names a place in the request by offset. [`Edits::apply`] copies what is kept in as few
//! runs as possible and rewrites the lengths of the messages above each edit in the fewest bytes.
//! It knows no schema: an edit inside a field's payload changes that field's length and its
//! ancestors'. A request without edits is not copied at all, and unknown fields survive.
//!
//! Appending goes to the end of a message, in the order given. An edit inside a removed or replaced
//! field is ignored, so a processor may drop a span after having looked at its parts; of several
//! edits of one field the last one counts.

use super::wire::{Field, Message, put_varint, varint, varint_len};
use bytes::Bytes;

/// A list of edits to one request.
#[derive(Default, Debug)]
pub struct Edits {
    list: Vec<Edit>,
    /// The new bytes of replacements and appendices.
    arena: Vec<u8>,
    removed_items: usize,
}

#[derive(Clone, Copy, Debug)]
struct Edit {
    /// Where the message starts that the edit belongs to.
    message: u32,
    /// What is left out; for an appendix, empty and at the message's start.
    at: u32,
    end: u32,
    /// What is put in its place: a range of the arena.
    new: (u32, u32),
    append: bool,
    /// Items that are left out.
    items: u32,
}

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Edits that were made.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets all edits but the first so many.
    pub(super) fn truncate(&mut self, count: usize) {
        self.list.truncate(count);
    }

    /// Forgets all edits and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.arena.clear();
        self.removed_items = 0;
    }

    /// Items that the last [`Edits::apply`] left out, as told by [`Edits::remove_item`]
    /// and [`Edits::remove_items`].
    pub fn removed_items(&self) -> usize {
        self.removed_items
    }

    /// Bytes that replacements and appendices bring.
    pub fn new_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Leaves `field` out of `message`.
    pub fn remove(&mut self, message: Message<'_>, field: &Field<'_>) {
        self.replace(message, field, |_| {});
    }

    /// Leaves an item (span or log record) out of its scope group and counts it.
    pub fn remove_item(&mut self, scope_group: Message<'_>, field: &Field<'_>) {
        self.remove_items(scope_group, field, 1);
    }

    /// Leaves out a field of `message` that holds `items` items, and counts them.
    pub fn remove_items(&mut self, message: Message<'_>, field: &Field<'_>, items: usize) {
        let (message, at, end) = (message.start as u32, field.at as u32, field.end as u32);
        let items = items as u32;
        self.list.push(Edit { message, at, end, new: (0, 0), append: false, items });
    }

    /// Puts the fields that `write` appends in the place of `field` of `message`.
    pub fn replace(
        &mut self,
        message: Message<'_>,
        field: &Field<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let new = self.put(write);
        let (message, at, end) = (message.start as u32, field.at as u32, field.end as u32);
        self.list.push(Edit { message, at, end, new, append: false, items: 0 });
    }

    /// Puts the fields that `write` appends at the end of `message`.
    pub fn append(&mut self, message: Message<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let new = self.put(write);
        let at = message.start as u32;
        self.list.push(Edit { message: at, at, end: at, new, append: true, items: 0 });
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let start = self.arena.len() as u32;
        write(&mut self.arena);
        (start, self.arena.len() as u32)
    }

    /// The request with the edits in it. `request` must be the one that the edits were made for.
    pub fn apply(&mut self, request: &Bytes) -> Bytes {
        if self.list.is_empty() {
            self.removed_items = 0;
            return request.clone();
        }
        self.sort();
        let list = std::mem::take(&mut self.list);
        let edited = self.write(request, &list);
        self.list = list;
        edited
    }

    /// The same without what `more` removes, which are removals alone, in order.
    pub fn apply_with(&mut self, more: &Edits, request: &Bytes) -> Bytes {
        self.sort();
        let mut list = Vec::with_capacity(self.list.len() + more.list.len());
        let mut more = more.list.iter().peekable();
        for edit in &self.list {
            while let Some(removal) = more.next_if(|removal| removal.at <= edit.at) {
                list.push(*removal);
            }
            list.push(*edit);
        }
        list.extend(more);
        self.write(request, &list)
    }

    /// Edits of one message come in the order of its fields, appendices first; a processor that
    /// walks once emits them so, and then they are applied in one pass over a sorted list.
    fn sort(&mut self) {
        self.list.sort_by_key(|edit| u64::from(edit.at) << 1 | u64::from(!edit.append));
    }

    fn write(&mut self, request: &Bytes, list: &[Edit]) -> Bytes {
        let mut pass = Pass {
            bytes: request,
            edits: list,
            next: 0,
            plan: Vec::with_capacity(list.len() * 4),
            removed_items: 0,
        };
        let size = pass.message(0, request.len());
        self.removed_items = pass.removed_items;
        let mut out = Vec::with_capacity(size);
        for piece in pass.plan {
            match piece {
                Piece::Kept(from, to) => {
                    out.extend_from_slice(request.get(from..to).unwrap_or_default());
                }
                Piece::New((from, to)) => {
                    let new = self.arena.get(from as usize..to as usize);
                    out.extend_from_slice(new.unwrap_or_default());
                }
                Piece::Length(size) => put_varint(&mut out, size as u64),
            }
        }
        Bytes::from(out)
    }
}

/// The walk that turns edits into a plan of what to write.
struct Pass<'a> {
    bytes: &'a [u8],
    edits: &'a [Edit],
    /// The next edit.
    next: usize,
    plan: Vec<Piece>,
    removed_items: usize,
}

/// A piece of the new request.
#[derive(Clone, Copy)]
enum Piece {
    /// A range of the old one.
    Kept(usize, usize),
    /// A range of the arena.
    New((u32, u32)),
    /// The length of the message that follows.
    Length(usize),
}

/// What stands next in a message.
enum Step {
    /// An edit of the message itself.
    Here(Edit),
    /// A field of the message with edits inside: its payload.
    Inside { payload: usize, end: usize },
    /// No more edits in the message.
    Rest,
}

impl Pass<'_> {
    /// The next step in the message `start..end`, of which all before `at` is done.
    fn step(&mut self, start: usize, end: usize, at: &mut usize) -> Step {
        let Some(edit) = self.edits.get(self.next).copied() else {
            return Step::Rest;
        };
        let place = edit.at as usize;
        // An appendix may stand at the very end: that of an empty message. No message outside
        // this one can start there, for its tag would have to stand before.
        if place > end || (place == end && !edit.append) {
            return Step::Rest;
        }
        if edit.message as usize == start {
            self.next += 1;
            return Step::Here(self.last_of(edit));
        }
        // The edit stands in some field of this message: find it, field by field.
        while *at < end {
            let Some((payload, next)) = field_bounds(self.bytes, *at) else {
                return Step::Rest;
            };
            // An empty message starts at its end, which may be the end of those around it too.
            if place < next || (place == next && edit.append) {
                return Step::Inside { payload, end: next };
            }
            *at = next;
        }
        Step::Rest
    }

    /// The last edit of the field that `edit` is of; those before it are passed over.
    fn last_of(&mut self, mut edit: Edit) -> Edit {
        while let Some(next) = self.edits.get(self.next).copied() {
            if edit.append || next.append || next.at != edit.at {
                break;
            }
            self.next += 1;
            edit = next;
        }
        edit
    }

    /// Passes over the edits inside what a removal leaves out.
    fn skip_inside(&mut self, edit: &Edit) {
        let inside = |e: &Edit| e.at < edit.end || (e.append && e.at == edit.end);
        while self.edits.get(self.next).is_some_and(inside) {
            self.next += 1;
        }
    }

    /// Plans the message `start..end`; yields its new size.
    fn message(&mut self, start: usize, end: usize) -> usize {
        let (mut size, mut at, mut kept) = (0, start, start);
        let mut appended = self.next..self.next;
        loop {
            match self.step(start, end, &mut at) {
                Step::Here(edit) if edit.append => appended.end = self.next,
                Step::Here(edit) => {
                    size += self.keep(kept, edit.at as usize) + self.put(&edit);
                    self.removed_items += edit.items as usize;
                    kept = edit.end as usize;
                    at = kept;
                    self.skip_inside(&edit);
                }
                Step::Inside { payload, end: next } => {
                    size += self.keep(kept, tag_end(self.bytes, at));
                    let slot = self.plan.len();
                    self.plan.push(Piece::Length(0));
                    let body = self.message(payload, next);
                    if let Some(length) = self.plan.get_mut(slot) {
                        *length = Piece::Length(body);
                    }
                    size += varint_len(body as u64) + body;
                    (kept, at) = (next, next);
                }
                Step::Rest => break,
            }
        }
        size += self.keep(kept, end);
        for edit in self.edits.get(appended).unwrap_or_default() {
            size += self.put(edit);
        }
        size
    }

    fn keep(&mut self, from: usize, to: usize) -> usize {
        self.plan.push(Piece::Kept(from, to));
        to - from
    }

    fn put(&mut self, edit: &Edit) -> usize {
        self.plan.push(Piece::New(edit.new));
        (edit.new.1 - edit.new.0) as usize
    }
}

/// The payload's start and the end of the field at `at`.
fn field_bounds(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = Message { bytes: bytes.get(at..)?, start: at };
    let field = rest.fields().next()?;
    Some((field.end - field.bytes().len(), field.end))
}

/// The offset behind the tag at `at`.
fn tag_end(bytes: &[u8], at: usize) -> usize {
    varint(bytes, at).map_or(at, |(_, end)| end)
}

#[cfg(test)]
mod tests {
    use super::super::fields::{request, resource_group, scope_group, span};
    use super::super::schema::TRACES;
    use super::super::text;
    use super::super::view::Request;
    use super::super::wire::{put_bytes_field, put_message_field};
    use super::*;

    /// The request `text` with the edits that `edit` makes of it.
    #[track_caller]
    fn edited(text: &str, edit: impl FnOnce(Request<'_>, &mut Edits)) -> String {
        let request = Bytes::from(text::parse(text).unwrap());
        let mut edits = Edits::default();
        edit(Request::new(&request), &mut edits);
        text::print(&TRACES, &edits.apply(&request))
    }

    fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str) {
        put_message_field(out, number, |out| put_bytes_field(out, 1, key.as_bytes()));
    }

    #[test]
    fn an_empty_message_at_the_end_of_others_can_be_appended_to() {
        // The span is the last of its scope group, which is the last of its resource group.
        let mut bytes = vec![];
        for _ in 0..2 {
            put_message_field(&mut bytes, request::RESOURCE_GROUPS, |out| {
                put_message_field(out, resource_group::SCOPE_GROUPS, |out| {
                    put_message_field(out, scope_group::ITEMS, |_| {});
                });
            });
        }
        let bytes = Bytes::from(bytes);
        let mut edits = Edits::default();
        for group in Request::new(&bytes).resource_groups() {
            for span in group.scope_groups().flat_map(|group| group.spans()) {
                edits.append(span.0, |out| put_attribute(out, span::ATTRIBUTES, "k"));
            }
        }
        let printed = text::print(&TRACES, &edits.apply(&bytes));
        assert_eq!(printed, "resource -\nscope -\nspan -/- k=null\n".repeat(2));
    }

    #[test]
    fn items_that_are_left_out_are_counted_once() {
        let request = Bytes::from(text::parse("span 1/1\nspan 1/2\nspan 1/3").unwrap());
        let mut edits = Edits::default();
        for group in Request::new(&request).resource_groups().flat_map(|g| g.scope_groups()) {
            for (field, times) in group.item_fields().zip([2, 0, 1]) {
                (0..times).for_each(|_| edits.remove_item(group.0, &field));
            }
        }
        for _ in 0..2 {
            let printed = text::print(&TRACES, &edits.apply(&request));
            assert_eq!(printed, "resource -\nscope -\nspan 1/2\n");
            assert_eq!(edits.removed_items(), 2);
        }
    }

    #[test]
    fn of_several_edits_of_one_field_the_last_counts() {
        let printed = edited("span 1/1 \"a\" k=1", |request, edits| {
            for span in request.resource_groups().flat_map(|g| g.scope_groups()) {
                for span in span.spans() {
                    let name = span.0.field(span::NAME).unwrap();
                    edits.remove(span.0, &name);
                    edits.replace(span.0, &name, |out| put_bytes_field(out, span::NAME, b"b"));
                    let attribute = span.attributes().next().unwrap().field;
                    let key = attribute.message().unwrap().field(1).unwrap();
                    edits.remove(attribute.message().unwrap(), &key);
                    edits.replace(span.0, &attribute, |out| put_attribute(out, 9, "c"));
                    edits.append(span.0, |out| put_attribute(out, 9, "d"));
                    edits.remove(span.0, &attribute);
                }
            }
        });
        assert_eq!(printed, "resource -\nscope -\nspan 1/1 \"b\" d=null\n");
    }
}
