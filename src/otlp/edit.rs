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

use super::plan::{Edit, Pass, Piece, Plan};
use super::wire::{Field, Message, put_varint};
use bytes::Bytes;

/// A range of the arena.
type Range = (u32, u32);

/// In the place of its start: what is put in the place of this number.
const RESERVED: u32 = u32::MAX;

/// A list of edits to one request.
#[derive(Default, Debug)]
pub struct Edits {
    list: Vec<Edit>,
    /// The new bytes of replacements and appendices.
    arena: Vec<u8>,
    /// Of places that were reserved what was put there: a range of the arena.
    reserved: Vec<Option<Range>>,
    /// How many of them are still empty.
    empty: usize,
    /// Bytes that are written anew.
    new_bytes: usize,
    removed_items: usize,
}

/// Places that are reserved at most: a request may have half a million empty items, and each place
/// takes 40 bytes. What belongs elsewhere is appended when it is known.
const RESERVED_MAX: usize = 1 << 15;

/// A place that was reserved: its number, and where its message starts.
#[derive(Clone, Copy, Debug)]
pub struct Place(u32, u32);

/// What was put in a place.
#[derive(Clone, Copy, Debug)]
pub struct Filling(Range);

impl Edits {
    /// Whether there are none: places that were reserved and left empty are no edits.
    pub fn is_empty(&self) -> bool {
        self.list.len() == self.empty
    }

    /// Forgets all edits and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.arena.clear();
        self.reserved.clear();
        (self.empty, self.new_bytes, self.removed_items) = (0, 0, 0);
    }

    /// Items that the last [`Edits::apply`] left out, as told by [`Edits::remove_item`]
    /// and [`Edits::remove_items`].
    pub fn removed_items(&self) -> usize {
        self.removed_items
    }

    /// Bytes that replacements and appendices bring.
    pub fn new_bytes(&self) -> usize {
        self.new_bytes
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
        self.append_first(message, write);
    }

    /// The same for what may be [appended again](Edits::append_again).
    pub fn append_first(
        &mut self,
        message: Message<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Filling {
        let new = self.put(write);
        self.append_range(message.start as u32, new);
        Filling(new)
    }

    /// Puts at the end of `message` what was put elsewhere in this request.
    pub fn append_again(&mut self, message: Message<'_>, Filling(range): Filling) {
        self.new_bytes += (range.1 - range.0) as usize;
        self.append_range(message.start as u32, range);
    }

    /// Reserves a place at the end of `message` for what is known later. What is put there then
    /// stands in order, as nothing does that is appended later.
    pub fn reserve(&mut self, message: Message<'_>) -> Place {
        let (at, number) = (message.start as u32, self.reserved.len() as u32);
        if self.reserved.len() < RESERVED_MAX {
            self.append_range(at, (RESERVED, number));
            self.reserved.push(None);
            self.empty += 1;
        }
        Place(number, at)
    }

    /// Puts the fields that `write` appends in a reserved place, in which nothing is yet.
    pub fn fill(&mut self, place: Place, write: impl FnOnce(&mut Vec<u8>)) -> Filling {
        let range = self.put(write);
        self.occupy(place, range);
        Filling(range)
    }

    /// Puts there what was put in another place of this request.
    pub fn fill_again(&mut self, place: Place, Filling(range): Filling) {
        self.new_bytes += (range.1 - range.0) as usize;
        self.occupy(place, range);
    }

    fn occupy(&mut self, Place(number, at): Place, new: Range) {
        match self.reserved.get_mut(number as usize) {
            Some(range) => {
                self.empty -= usize::from(range.is_none());
                *range = Some(new);
            }
            None => self.append_range(at, new),
        }
    }

    fn append_range(&mut self, at: u32, new: Range) {
        self.list.push(Edit { message: at, at, end: at, new, append: true, items: 0 });
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range {
        let start = self.arena.len() as u32;
        write(&mut self.arena);
        let end = self.arena.len() as u32;
        self.new_bytes += (end - start) as usize;
        (start, end)
    }

    /// The request with the edits in it. `request` must be the one that the edits were made for.
    pub fn apply(&mut self, request: &Bytes) -> Bytes {
        if self.is_empty() {
            self.removed_items = 0;
            return request.clone();
        }
        let mut pass = Pass::new(request, self.sorted());
        let size = pass.message(0, request.len());
        let (plan, removed) = (pass.plan(size), pass.removed_items);
        self.removed_items = removed;
        self.write(request, &plan)
    }

    /// Puts the edits behind the first `count` in order. Who walks over items and does so after
    /// each has little to sort, and all of them in order at the end.
    pub fn settle(&mut self, count: usize) {
        if let Some(list) = self.list.get_mut(count..)
            && !list.is_sorted_by_key(Edit::key)
        {
            list.sort_by_key(Edit::key);
        }
    }

    /// In order of their places, appendices of a message first.
    pub(super) fn sorted(&mut self) -> &[Edit] {
        self.resolve();
        let runs = self.list.windows(2).take_while(|pair| is_sorted(pair)).count() + 1;
        if runs < self.list.len() {
            let mut behind = self.list.split_off(runs);
            behind.sort_by_key(Edit::key);
            self.merge(&behind);
        }
        &self.list
    }

    /// Adds edits that were made apart and bring nothing new. Both are in order.
    pub(super) fn add_removals(&mut self, removals: &Edits) {
        self.merge(&removals.list);
    }

    /// Merges `few` edits into the list; both are in order.
    fn merge(&mut self, few: &[Edit]) {
        let mut end = self.list.len();
        self.list.extend_from_slice(few);
        for (before, edit) in few.iter().enumerate().rev() {
            let key = edit.key();
            let rest = self.list.get(..end).unwrap_or_default();
            let from = rest.partition_point(|known| known.key() <= key);
            self.list.copy_within(from..end, from + before + 1);
            if let Some(place) = self.list.get_mut(from + before) {
                *place = *edit;
            }
            end = from;
        }
    }

    /// Lets edits in reserved places be as others, and drops those that stayed empty.
    fn resolve(&mut self) {
        if self.reserved.is_empty() {
            return;
        }
        let reserved = std::mem::take(&mut self.reserved);
        self.list.retain_mut(|edit| {
            if edit.new.0 != RESERVED {
                return true;
            }
            let range = reserved.get(edit.new.1 as usize).copied().flatten();
            edit.new = range.unwrap_or_default();
            range.is_some()
        });
        self.empty = 0;
        self.reserved = reserved;
        self.reserved.clear();
    }

    /// Edits that were made.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets all edits but the first so many.
    pub(super) fn truncate(&mut self, count: usize) {
        self.list.truncate(count);
    }

    /// Writes what `plan` says.
    pub(super) fn write(&self, request: &[u8], plan: &Plan) -> Bytes {
        let mut out = Vec::with_capacity(plan.size);
        for piece in &plan.pieces {
            match *piece {
                Piece::Kept(from, to) => {
                    match request.get(from as usize..to as usize).unwrap_or_default() {
                        // Mostly the tag of an item.
                        [byte] => out.push(*byte),
                        kept => out.extend_from_slice(kept),
                    }
                }
                Piece::New((from, to)) => {
                    let new = self.arena.get(from as usize..to as usize);
                    out.extend_from_slice(new.unwrap_or_default());
                }
                Piece::Length(size) => put_varint(&mut out, u64::from(size)),
            }
        }
        Bytes::from(out)
    }
}

/// Whether two edits are in order.
fn is_sorted(pair: &[Edit]) -> bool {
    pair.is_sorted_by_key(Edit::key)
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
    fn what_is_put_in_a_reserved_place_stands_where_that_was_reserved() {
        let request = "span 1/1 k=1\nspan 1/2 k=1\nspan 1/3 k=1\nspan 1/4 k=1";
        let printed = edited(request, |request, edits| {
            let spans = request.resource_groups().flat_map(|g| g.scope_groups());
            let spans: Vec<_> = spans.flat_map(|group| group.spans()).collect();
            let mut places = vec![];
            for span in &spans {
                places.push(edits.reserve(span.0));
                edits.append(span.0, |out| put_attribute(out, 9, "last"));
            }
            let first = edits.fill(places[2], |out| put_attribute(out, 9, "first"));
            edits.fill_again(places[0], first);
            let first = spans[3].attributes().next().unwrap().field;
            edits.remove(spans[3].0, &first);
        });
        let [own, both] = ["k=1 last=null", "k=1 first=null last=null"];
        let spans = format!("span 1/1 {both}\nspan 1/2 {own}\nspan 1/3 {both}\n");
        assert_eq!(printed, format!("resource -\nscope -\n{spans}span 1/4 last=null\n"));
    }

    #[test]
    fn places_that_stay_empty_are_no_edits() {
        let request = Bytes::from(text::parse("span 1/1\nspan 1/2").unwrap());
        let mut edits = Edits::default();
        let groups = Request::new(&request).resource_groups().flat_map(|g| g.scope_groups());
        let spans: Vec<_> = groups.flat_map(|group| group.spans()).collect();
        let places: Vec<_> = spans.iter().map(|span| edits.reserve(span.0)).collect();
        assert!(edits.is_empty());
        assert_eq!(edits.apply(&request).as_ptr(), request.as_ptr());
        edits.fill(places[1], |out| put_attribute(out, 9, "k"));
        assert!(!edits.is_empty());
        assert_eq!(edits.new_bytes(), 5);
        let printed = text::print(&TRACES, &edits.apply(&request));
        assert_eq!(printed, "resource -\nscope -\nspan 1/1\nspan 1/2 k=null\n");
    }

    #[test]
    fn beyond_the_bound_of_places_what_is_put_there_is_appended() {
        let spans = [0x12, 0x00].repeat(RESERVED_MAX + 3);
        let mut bytes = vec![];
        put_message_field(&mut bytes, request::RESOURCE_GROUPS, |out| {
            put_message_field(out, resource_group::SCOPE_GROUPS, |out| out.extend(&spans));
        });
        let bytes = Bytes::from(bytes);
        let mut edits = Edits::default();
        let groups = Request::new(&bytes).resource_groups().flat_map(|g| g.scope_groups());
        let spans = groups.flat_map(|group| group.spans());
        let places: Vec<_> = spans.map(|span| edits.reserve(span.0)).collect();
        assert_eq!((edits.len(), edits.is_empty()), (RESERVED_MAX, true));
        let first = edits.fill(places[RESERVED_MAX + 1], |out| put_attribute(out, 9, "k"));
        edits.fill_again(places[1], first);
        edits.fill_again(places[RESERVED_MAX + 2], first);
        let printed = text::print(&TRACES, &edits.apply(&bytes));
        let spans: Vec<_> = printed.lines().filter(|line| line.starts_with("span")).collect();
        let filled = spans.iter().enumerate().filter(|(_, span)| span.ends_with("k=null"));
        let filled: Vec<usize> = filled.map(|(number, _)| number).collect();
        assert_eq!(filled, [1, RESERVED_MAX + 1, RESERVED_MAX + 2]);
        assert_eq!(spans.len(), RESERVED_MAX + 3);
    }

    #[test]
    fn edits_are_applied_in_order_in_whatever_order_they_were_made() {
        let spans: String = (1..40).map(|n| format!("span 1/{n} \"a\" k=1\n")).collect();
        let request = Bytes::from(text::parse(&spans).unwrap());
        let groups = Request::new(&request).resource_groups().flat_map(|g| g.scope_groups());
        let spans: Vec<_> = groups.flat_map(|group| group.spans()).collect();
        let make = |edits: &mut Edits, number: usize| {
            let span = &spans[number / 3];
            match number % 3 {
                0 => edits.append(span.0, |out| put_attribute(out, 9, "c")),
                1 => edits.remove(span.0, &span.0.field(span::NAME).unwrap()),
                _ => edits.remove(span.0, &span.attributes().next().unwrap().field),
            }
        };
        let expected: String = (1..40).map(|n| format!("span 1/{n} c=null\n")).collect();
        let mut numbers: Vec<usize> = (0..spans.len() * 3).collect();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            let mut edits = Edits::default();
            for number in &numbers {
                let settled = edits.len();
                make(&mut edits, *number);
                edits.settle(settled.saturating_sub(random.usize(..4)));
            }
            let printed = text::print(&TRACES, &edits.apply(&request));
            assert_eq!(printed, format!("resource -\nscope -\n{expected}"));
            random.shuffle(&mut numbers);
        }
        let mut edits = Edits::default();
        for (span, key) in [(1, "a"), (0, "b"), (1, "c")] {
            edits.append(spans[span].0, |out| put_attribute(out, 9, key));
        }
        let printed = text::print(&TRACES, &edits.apply(&request));
        let expected = "span 1/1 \"a\" k=1 b=null\nspan 1/2 \"a\" k=1 a=null c=null\n";
        assert!(printed.contains(expected), "{printed}");
    }

    #[test]
    fn a_span_whose_place_stays_empty_leaves_as_it_came() {
        // The first span's length takes two bytes where one would do.
        let spans = [0x12, 0x82, 0x00, 0x0a, 0x00, 0x12, 0x02, 0x0a, 0x00];
        let mut bytes = vec![];
        put_message_field(&mut bytes, request::RESOURCE_GROUPS, |out| {
            put_message_field(out, resource_group::SCOPE_GROUPS, |out| out.extend(spans));
        });
        let bytes = Bytes::from(bytes);
        let groups = Request::new(&bytes).resource_groups().flat_map(|g| g.scope_groups());
        let all: Vec<_> = groups.flat_map(|group| group.spans()).collect();
        let mut edits = Edits::default();
        let places: Vec<_> = all.iter().map(|span| edits.reserve(span.0)).collect();
        assert_eq!(places.len(), 2);
        edits.append(all[1].0, |out| put_attribute(out, 9, "k"));
        let edited = edits.apply(&bytes);
        assert!(edited.windows(5).any(|window| window == &spans[..5]), "{edited:?}");
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
