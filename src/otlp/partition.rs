//! Parting a request by a key of its items: a shard of its traces, a route.
//!
//! Every part repeats what stands around its items (resource, scope, schema URLs, unknown fields),
//! in front of them. Items keep their order. One walk finds whose each item is, and a second one
//! writes all parts, in runs of items that stay together.

use super::fields::{request, resource_group, scope_group};
use super::join::{CHILDREN, Part, bytes_of, count, items};
use super::schema;
use super::wire::{Field, Message, begin_message_of, end_message_within};
use bytes::Bytes;

/// Bytes of what stands around items for which a part has room from the beginning, at most.
const AROUND: usize = 4096;

/// Parts a checked request of type `message` by what `shard_of` says of each item: the shards that
/// have items, in order, with their parts. Nothing is copied for only one. What holds no items goes
/// to the first of the shards, or to shard 0.
pub fn partition<'a>(
    message: &'static schema::Message,
    request: &'a Bytes,
    shard_of: impl FnMut(Message<'a>) -> usize,
) -> Vec<(usize, Part)> {
    partition_within(message, request, usize::MAX, shard_of).unwrap_or_default()
}

/// The same, unless parts would repeat more than `most` bytes of what stands around items: a
/// client may send much of it.
pub fn partition_within<'a>(
    message: &'static schema::Message,
    request: &'a Bytes,
    most: usize,
    mut shard_of: impl FnMut(Message<'a>) -> usize,
) -> Option<Vec<(usize, Part)>> {
    let groups = Message::root(request).messages(request::RESOURCE_GROUPS);
    let scope_groups = groups.flat_map(|group| group.messages(resource_group::SCOPE_GROUPS));
    let all = scope_groups.flat_map(|group| group.messages(scope_group::ITEMS));
    let sized = |item: Message<'a>| (shard_of(item), item.bytes.len());
    let (shards, sizes): (Vec<usize>, Vec<usize>) = all.map(sized).unzip();
    let mut found = shards.clone();
    found.sort_unstable();
    found.dedup();
    let fields = Message::root(request).fields();
    if found.len() < 2 {
        let items = fields.map(|field| items(message, field, 0)).sum();
        let shard = found.first().copied().unwrap_or_default();
        return Some(vec![(shard, Part { bytes: request.clone(), items })]);
    }
    // A part that is held is not to hold much more than it needs, and is not to be moved.
    let around = (request.len() - sizes.iter().sum::<usize>()).min(AROUND);
    let piece = |shard: &usize| {
        let own = shards.iter().zip(&sizes).filter(|(of, _)| *of == shard);
        let size = own.map(|(_, size)| size).sum::<usize>();
        let out = Vec::with_capacity(size + size / 32 + around);
        Piece { shard: *shard, out, size, items: 0, open: [None; 2] }
    };
    let pieces = found.iter().map(piece).collect();
    let shards = shards.into_iter();
    let mut parting = Parting { message, request, shards, found, pieces, left: most };
    for field in fields {
        parting.put(field)?;
    }
    let part = |p: Piece| (p.shard, Part { bytes: Bytes::from(p.out), items: p.items });
    Some(parting.pieces.into_iter().map(part).collect())
}

/// A part on its way.
struct Piece {
    shard: usize,
    out: Vec<u8>,
    /// Bytes of its items.
    size: usize,
    items: usize,
    /// Where the body of its resource group begins, and of its scope group, if it has them yet,
    /// and the room for their lengths.
    open: [Option<(usize, usize)>; 2],
}

struct Parting<'a> {
    message: &'static schema::Message,
    request: &'a [u8],
    /// The shards of the items that are still to come.
    shards: std::vec::IntoIter<usize>,
    found: Vec<usize>,
    pieces: Vec<Piece>,
    /// Bytes that may still be repeated.
    left: usize,
}

impl<'a> Parting<'a> {
    /// Puts a field of the request. `None` if too much would be repeated.
    fn put(&mut self, field: Field<'a>) -> Option<()> {
        let group = field.message().filter(|_| field.number == request::RESOURCE_GROUPS);
        let header = group.map(|group| self.header(group, resource_group::SCOPE_GROUPS));
        let scopes = group.into_iter().flat_map(Message::fields);
        let mut empty = true;
        for scope in scopes.filter(|field| field.number == resource_group::SCOPE_GROUPS) {
            empty = false;
            self.put_scope(scope, header.as_deref().unwrap_or_default())?;
        }
        if empty && let Some(first) = self.pieces.first_mut() {
            first.out.extend_from_slice(bytes_of(self.request, field));
        }
        self.pieces.iter_mut().for_each(|piece| piece.close(0));
        Some(())
    }

    /// Puts a scope group of the resource group with `header`.
    fn put_scope(&mut self, field: Field<'a>, header: &[u8]) -> Option<()> {
        let scope = field.message()?;
        let own = self.header(scope, scope_group::ITEMS);
        // Items of one shard in a row are copied together.
        let mut run: Option<(usize, usize, usize)> = None;
        for item in scope.fields().filter(|field| field.number == scope_group::ITEMS) {
            let shard = self.shards.next()?;
            let piece = self.found.binary_search(&shard).ok()?;
            let items = item.message().map_or(0, |item| count(self.message, item));
            self.pieces.get_mut(piece)?.items += items;
            match &mut run {
                Some((of, _, end)) if *of == piece && *end == item.at => *end = item.end,
                _ => {
                    self.put_run(run.replace((piece, item.at, item.end)))?;
                    self.open(piece, 0, header)?;
                    self.open(piece, 1, &own)?;
                }
            }
        }
        if run.is_none() {
            self.open(0, 0, header)?;
            self.pieces.first_mut()?.out.extend_from_slice(bytes_of(self.request, field));
        }
        self.put_run(run)?;
        self.pieces.iter_mut().for_each(|piece| piece.close(1));
        Some(())
    }

    fn put_run(&mut self, run: Option<(usize, usize, usize)>) -> Option<()> {
        if let Some((piece, at, end)) = run {
            let bytes = self.request.get(at..end)?;
            self.pieces.get_mut(piece)?.out.extend_from_slice(bytes);
        }
        Some(())
    }

    /// Begins the group of a piece at `level` if it has not begun, with what stands around its
    /// children.
    fn open(&mut self, piece: usize, level: usize, header: &[u8]) -> Option<()> {
        let piece = self.pieces.get_mut(piece)?;
        let open = piece.open.get_mut(level)?;
        if open.is_none() {
            self.left = self.left.checked_sub(header.len())?;
            let number = *CHILDREN.get(level)?;
            *open = Some(begin_message_of(&mut piece.out, number, piece.size));
            piece.out.extend_from_slice(header);
        }
        Some(())
    }

    /// The fields of `group` besides its `children`.
    fn header(&self, group: Message<'_>, children: u32) -> Vec<u8> {
        let mut header = vec![];
        for field in group.fields().filter(|field| field.number != children) {
            header.extend_from_slice(bytes_of(self.request, field));
        }
        header
    }
}

impl Piece {
    fn close(&mut self, level: usize) {
        if let Some((body, room)) = self.open.get_mut(level).and_then(Option::take) {
            end_message_within(&mut self.out, body, room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::TRACES;
    use super::super::text;
    use super::*;

    const FOUR: &str = "\
resource schema_url=\"r\" service.name=\"a\"
scope \"s\" version=\"1\" schema_url=\"t\"
span 1/1 \"one\"
span 1/2 \"two\"
scope \"u\"
span 1/3 \"three\"
resource service.name=\"b\"
scope -
span 2/4 \"four\"
";

    #[test]
    fn a_partition_keeps_order_and_surroundings() {
        let request = Bytes::from(text::parse(FOUR).unwrap());
        let parts = partition(&TRACES, &request, |span| {
            usize::from(span.field(2).is_some_and(|id| id.bytes().ends_with(&[2])))
        });
        let printed: Vec<_> = parts
            .iter()
            .map(|(shard, part)| (*shard, part.items, text::print(&TRACES, &part.bytes)))
            .collect();
        let without = |names: &[&str]| -> String {
            let lines = FOUR.lines().filter(|line| !names.iter().any(|name| line.contains(name)));
            lines.flat_map(|line| [line, "\n"]).collect()
        };
        let second = without(&["one", "three", "four", "\"u\"", "\"b\"", "scope -"]);
        assert_eq!(printed, [(0, 3, without(&["two"])), (1, 1, second)]);
        let whole = partition(&TRACES, &request, |_| 7);
        assert_eq!((whole[0].0, whole[0].1.items), (7, 4));
        assert_eq!(whole[0].1.bytes.as_ptr(), request.as_ptr());
        assert_eq!(partition(&TRACES, &Bytes::new(), |_| 7)[0].0, 0);
    }

    #[test]
    fn what_would_be_repeated_too_often_is_not_parted() {
        let header = "h".repeat(1000);
        let spans: String = (1..=8).map(|n| format!("span {n:x}/1\n")).collect();
        let request = text::parse(&format!("resource k=\"{header}\"\nscope -\n{spans}")).unwrap();
        let request = Bytes::from(request);
        let part = |most: usize| {
            let mut n = 0;
            partition_within(&TRACES, &request, most, |_| {
                n += 1;
                n % 4
            })
        };
        assert_eq!(part(10_000).map(|parts| parts.len()), Some(4));
        assert_eq!(part(3_000).map(|parts| parts.len()), None);
    }
}
