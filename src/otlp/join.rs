//! Joining requests, and cutting them at a budget of bytes.
//!
//! A request is one repeated field, so joining is concatenation. A cut prefers the boundaries
//! that cost nothing: runs of resource groups are slices of the request. Only a group that alone
//! exceeds the budget is taken apart, by scope groups and then by items, and only then bytes are
//! copied, once: each fragment repeats what stands around its items (resource, scope, schema URLs,
//! unknown fields). An item is never cut; one that exceeds the budget gets a part of its own, so
//! that whoever refuses it refuses nothing else.

use super::fields::{metric, request, resource_group, scope_group};
use super::schema::{self, METRICS};
use super::wire::{Field, Message, WireType, put_tag, put_varint, varint_len};
use bytes::Bytes;
use std::ops::Range;

/// What fragments repeat may take up to one part in this many of the budget. Each two fragments
/// in a row together exceed what is left of the budget, so taking a group apart adds two thirds
/// to its size at most; a group that would repeat more is left whole.
pub const HEADER_SHARE: usize = 4;

/// A piece of a request: a request of its own.
#[derive(Clone, Debug)]
pub struct Part {
    pub bytes: Bytes,
    /// Spans, log records or data points.
    pub items: usize,
}

/// All of `requests` (of one signal) in one. Bytes are copied unless there is only one.
pub fn join(requests: &[Bytes]) -> Bytes {
    match requests {
        [] => Bytes::new(),
        [one] => one.clone(),
        many => {
            let mut out = Vec::with_capacity(many.iter().map(Bytes::len).sum());
            many.iter().for_each(|request| out.extend_from_slice(request));
            Bytes::from(out)
        }
    }
}

/// Cuts a checked request of type `message` into parts of at most `max` bytes, in order. Larger
/// are only: an item whose bytes and surroundings exceed `max`, alone; a group that would repeat
/// too much ([`HEADER_SHARE`]), whole; an unknown field. There is at least one part.
pub fn split(message: &'static schema::Message, request: &Bytes, max: usize) -> Vec<Part> {
    let mut cutter = Cutter { message, max, headers: vec![], parts: vec![] };
    let (mut start, mut end, mut items) = (0, 0, 0);
    for field in Message::root(request).fields() {
        if field.end - start > max && end > start {
            cutter.parts.push(Part { bytes: request.slice(start..end), items });
            (start, items) = (end, 0);
        }
        end = field.end;
        if end - start > max && field.number == request::RESOURCE_GROUPS {
            cutter.cut(request, field);
            start = end;
        } else {
            items += cutter.items_in(field);
        }
    }
    if end > start || cutter.parts.is_empty() {
        cutter.parts.push(Part { bytes: request.slice(start..end), items });
    }
    cutter.parts
}

struct Cutter {
    message: &'static schema::Message,
    max: usize,
    /// What fragments repeat of the resource group and of the scope group.
    headers: Vec<Vec<u8>>,
    parts: Vec<Part>,
}

/// What a part takes of a request: fields that stand in a row are one range.
#[derive(Default)]
struct Body {
    ranges: Vec<Range<usize>>,
    len: usize,
    items: usize,
}

impl Body {
    fn push(&mut self, field: Field<'_>, items: usize) {
        match self.ranges.last_mut().filter(|last| last.end == field.at) {
            Some(last) => last.end = field.end,
            None => self.ranges.push(field.at..field.end),
        }
        self.len += field.end - field.at;
        self.items += items;
    }
}

/// The fields that hold the next level, from the request down.
pub const CHILDREN: [u32; 3] =
    [request::RESOURCE_GROUPS, resource_group::SCOPE_GROUPS, scope_group::ITEMS];

impl Cutter {
    /// Takes the group in `field` apart; `headers` are those around it.
    fn cut(&mut self, request: &[u8], field: Field<'_>) {
        let level = self.headers.len() + 1;
        let children = CHILDREN.get(level).copied();
        let (mut header, mut parts) = (vec![], vec![]);
        for inside in field.message().into_iter().flat_map(Message::fields) {
            match Some(inside.number) == children {
                true => parts.push(inside),
                false => header.extend_from_slice(bytes_of(request, inside)),
            }
        }
        self.headers.push(header);
        let repeated: usize = self.headers.iter().map(Vec::len).sum();
        if repeated > self.max / HEADER_SHARE {
            self.headers.pop();
            let mut whole = Body::default();
            whole.push(field, self.items_in(field));
            return self.emit(request, whole);
        }
        let mut body = Body::default();
        for child in parts {
            let len = child.end - child.at;
            if body.len > 0 && self.framed(body.len + len) > self.max {
                self.emit(request, std::mem::take(&mut body));
            }
            if self.framed(len) > self.max && level < 2 {
                self.cut(request, child);
            } else {
                body.push(child, self.items_in(child));
            }
        }
        if body.len > 0 {
            self.emit(request, body);
        }
        self.headers.pop();
    }

    /// The size of a part whose innermost level holds `len` bytes besides its header.
    fn framed(&self, len: usize) -> usize {
        framed(&self.headers, len)
    }

    /// Adds a part that holds `body` inside all headers.
    fn emit(&mut self, request: &[u8], body: Body) {
        let mut out = Vec::with_capacity(self.framed(body.len));
        for (k, (header, number)) in self.headers.iter().zip(CHILDREN).enumerate() {
            let inner = framed(self.headers.get(k + 1..).unwrap_or_default(), body.len);
            put_tag(&mut out, number, WireType::Len);
            put_varint(&mut out, (header.len() + inner) as u64);
            out.extend_from_slice(header);
        }
        for range in body.ranges {
            out.extend_from_slice(request.get(range).unwrap_or_default());
        }
        self.parts.push(Part { bytes: Bytes::from(out), items: body.items });
    }

    /// The items in `field`, which stands inside all headers.
    fn items_in(&self, field: Field<'_>) -> usize {
        items(self.message, field, self.headers.len())
    }
}

/// `len` bytes inside of `headers`, each a message of its own.
fn framed(headers: &[Vec<u8>], len: usize) -> usize {
    headers.iter().rev().fold(len, |len, header| {
        let body = len + header.len();
        1 + varint_len(body as u64) + body
    })
}

/// The items in `field` of a message `level` levels below the request.
pub fn items(message: &'static schema::Message, field: Field<'_>, level: usize) -> usize {
    if CHILDREN.get(level) != Some(&field.number) {
        return 0;
    }
    let fields = field.message().into_iter().flat_map(Message::fields);
    if level + 1 < CHILDREN.len() {
        return fields.map(|field| items(message, field, level + 1)).sum();
    }
    field.message().map_or(0, |item| count(message, item))
}

/// How much `item` (a span, a log record, a metric) counts in a request of type `message`: a
/// metric as many as it has data points.
pub fn count(message: &'static schema::Message, item: Message<'_>) -> usize {
    if !std::ptr::eq(message, &METRICS) {
        return 1;
    }
    let data = item.fields().filter(|f| metric::DATA.contains(&f.number));
    data.filter_map(Field::message).map(|data| data.messages(metric::DATA_POINTS).count()).sum()
}

/// All of `field`, tag and length included.
pub fn bytes_of<'a>(request: &'a [u8], field: Field<'_>) -> &'a [u8] {
    request.get(field.at..field.end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::schema::{LOGS, TRACES};
    use super::super::text;
    use super::super::wire::put_bytes_field;
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

    /// [`FOUR`] with 100 bytes more in each span.
    fn four() -> String {
        FOUR.lines()
            .map(|line| {
                let more = format!(" p=\"{}\"", "x".repeat(96));
                format!("{line}{}\n", if line.starts_with("span") { &more } else { "" })
            })
            .collect()
    }

    /// The parts of `text` cut at `max`, as the names of their spans.
    #[track_caller]
    fn names(text: &str, max: usize) -> Vec<String> {
        let request = Bytes::from(text::parse(text).unwrap());
        let parts = split(&TRACES, &request, max);
        let printed = parts.iter().map(|part| {
            assert!(part.bytes.len() <= max || part.items <= 1, "{} bytes", part.bytes.len());
            let text = text::print(&TRACES, &part.bytes);
            assert_eq!(part.items, text.matches("\nspan ").count());
            text
        });
        let words = printed.map(|text| text.split('"').map(str::to_string).collect::<Vec<_>>());
        let numbers = ["one", "two", "three", "four"];
        words
            .map(|mut words| {
                words.retain(|word| numbers.contains(&word.as_str()));
                words.join(" ")
            })
            .collect()
    }

    #[test]
    fn a_cut_goes_by_groups_then_scopes_then_items() {
        assert_eq!(names(&four(), 10_000), ["one two three four"]);
        assert_eq!(names(&four(), 600), ["one two three", "four"]);
        assert_eq!(names(&four(), 400), ["one two", "three", "four"]);
        assert_eq!(names(&four(), 200), ["one", "two", "three", "four"]);
    }

    #[test]
    fn fragments_repeat_the_resource_and_the_scope() {
        let four = four();
        let request = Bytes::from(text::parse(&four).unwrap());
        let parts = split(&TRACES, &request, 200);
        let text = text::print(&TRACES, &parts[1].bytes);
        let lines: Vec<&str> = four.lines().collect();
        assert_eq!(text, format!("{}\n{}\n{}\n", lines[0], lines[1], lines[3]));
    }

    #[test]
    fn what_fits_is_not_copied() {
        let request = Bytes::from(text::parse(&four()).unwrap());
        let parts = split(&TRACES, &request, 600);
        assert_eq!(parts[0].bytes.as_ptr(), request.as_ptr());
        assert_eq!(parts[1].bytes.as_ptr_range().end, request.as_ptr_range().end);
    }

    #[test]
    fn an_oversize_item_is_alone() {
        let big = "x".repeat(300);
        let text = format!("log 1/1 \"a\"\nlog 1/2 \"{big}\"\nlog 1/3 \"c\"\n");
        let request = Bytes::from(text::parse(&text).unwrap());
        let parts = split(&LOGS, &request, 150);
        let sizes: Vec<_> = parts.iter().map(|p| (p.items, p.bytes.len() > 150)).collect();
        assert_eq!(sizes, [(1, false), (1, true), (1, false)]);
    }

    #[test]
    fn a_group_that_would_repeat_too_much_stays_whole() {
        let header = "h".repeat(60);
        let text = format!("resource k=\"{header}\"\nscope -\nspan 1/1\nspan 1/2\nspan 1/3\n");
        let request = Bytes::from(text::parse(&text).unwrap());
        let parts = split(&TRACES, &request, 100);
        assert_eq!(parts.iter().map(|p| p.items).collect::<Vec<_>>(), [3]);
        assert_eq!(split(&TRACES, &request, 4 * 80).len(), 1);
    }

    #[test]
    fn there_is_always_a_part_and_unknown_fields_come_along() {
        assert_eq!(split(&TRACES, &Bytes::new(), 1).len(), 1);
        let mut bytes = text::parse(FOUR).unwrap();
        put_bytes_field(&mut bytes, 99, b"unknown");
        let parts = split(&TRACES, &Bytes::from(bytes), 100);
        assert!(parts.last().unwrap().bytes.ends_with(b"unknown"));
    }

    #[test]
    fn what_stands_between_items_is_repeated_before_them() {
        use super::super::wire::put_message_field as put;
        // A span of 100 bytes by its name, or an unknown field.
        let of = |fields: &[&str]| {
            let mut out = vec![];
            put(&mut out, 1, |out| {
                put(out, 2, |out| {
                    for name in fields {
                        match name.parse::<u32>() {
                            Ok(number) => put_bytes_field(out, number, b"unknown"),
                            Err(_) => put_bytes_field(out, 2, name.repeat(100).as_bytes()),
                        }
                    }
                });
            });
            Bytes::from(out)
        };
        let parts = split(&TRACES, &of(&["a", "b", "98", "c", "d", "99"]), 350);
        let bytes: Vec<_> = parts.iter().map(|part| part.bytes.clone()).collect();
        assert_eq!(bytes, [of(&["98", "99", "a", "b", "c"]), of(&["98", "99", "d"])]);
        assert_eq!(parts.iter().map(|part| part.items).collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn data_points_are_the_items_of_metrics() {
        let mut request = vec![];
        let point = |out: &mut Vec<u8>| put_bytes_field(out, metric::DATA_POINTS, &[]);
        let sum = |out: &mut Vec<u8>| {
            point(out);
            point(out);
        };
        use super::super::wire::put_message_field as put;
        put(&mut request, 1, |out| put(out, 2, |out| put(out, 2, |out| put(out, 7, sum))));
        let parts = split(&METRICS, &Bytes::from(request), 1000);
        assert_eq!(parts.iter().map(|p| p.items).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn joining_is_concatenation() {
        let [a, b] = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        assert_eq!(join(&[a.clone(), b]), "ab");
        assert_eq!(join(std::slice::from_ref(&a)).as_ptr(), a.as_ptr());
        assert_eq!(join(&[]), "");
    }
}
