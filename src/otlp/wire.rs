//! The protobuf wire format: varints, tags, and walking the fields of a message.
//!
//! [`Message`] remembers where its bytes stand in the whole request, because an edit is a place
//! in the request. Walking is for bytes that [`super::check`] has passed: it cannot fail, and
//! over bytes that nobody checked it ends early instead of panicking.

/// Longest varint that protobuf allows, in bytes.
pub const VARINT_MAX: usize = 10;

/// The part of a tag that says how a value is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    Varint,
    Fixed64,
    Len,
    GroupStart,
    GroupEnd,
    Fixed32,
}

impl WireType {
    /// The wire type of a tag; `None` for 6 and 7, which protobuf does not define.
    pub fn of(tag: u64) -> Option<WireType> {
        Some(match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Len,
            3 => WireType::GroupStart,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return None,
        })
    }
}

impl WireType {
    /// What stands in the low three bits of a tag.
    #[inline]
    pub const fn code(self) -> u32 {
        match self {
            WireType::Varint => 0,
            WireType::Fixed64 => 1,
            WireType::Len => 2,
            WireType::GroupStart => 3,
            WireType::GroupEnd => 4,
            WireType::Fixed32 => 5,
        }
    }
}

/// Reads a varint at `at`: its value and the offset behind it. `None` if it is cut off, longer
/// than ten bytes or larger than 64 bits.
#[inline]
pub fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    match *bytes.get(at..)? {
        [first @ 0..0x80, ..] => Some((u64::from(first), at + 1)),
        // The length of most spans.
        [low, high @ 0..0x80, ..] => Some((u64::from(low & 0x7f) | u64::from(high) << 7, at + 2)),
        _ => long_varint(bytes, at),
    }
}

fn long_varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (k, byte) in bytes.get(at..)?.iter().take(VARINT_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * k);
        if byte & 0x80 == 0 {
            // Of the tenth byte only one bit is left in a number of 64.
            return (k + 1 < VARINT_MAX || *byte < 2).then_some((value, at + k + 1));
        }
    }
    None
}

/// Bytes that [`put_varint`] writes for `value`.
#[inline]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `value` in the fewest bytes.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the tag of field `number`.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire: WireType) {
    put_varint(out, u64::from(number << 3 | wire.code()));
}

/// Appends a varint field.
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, WireType::Varint);
    put_varint(out, value);
}

/// Appends a length-delimited field.
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_tag(out, number, WireType::Len);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a fixed64 field.
pub fn put_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, WireType::Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a fixed32 field.
pub fn put_fixed32_field(out: &mut Vec<u8>, number: u32, value: u32) {
    put_tag(out, number, WireType::Fixed32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a message field whose body `write` appends; the length prefix is minimal.
pub fn put_message_field(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_message(out, number);
    write(out);
    end_message(out, start);
}

/// Begins a length-delimited field whose length is not known yet. What follows is its body, up to
/// [`end_message`] with the returned offset.
#[inline]
pub fn begin_message(out: &mut Vec<u8>, number: u32) -> usize {
    put_tag(out, number, WireType::Len);
    // Room for a length below 128, as most are; a longer one moves the body.
    out.push(0);
    out.len()
}

/// Ends the field whose body began at `start`: writes its length in the fewest bytes.
#[inline]
pub fn end_message(out: &mut Vec<u8>, start: usize) {
    end_message_within(out, start, 1);
}

/// Begins a length-delimited field that will be about `size` bytes long; yields the start of its
/// body and the room for its length. Where the room is right nothing is moved in the end.
pub fn begin_message_of(out: &mut Vec<u8>, number: u32, size: usize) -> (usize, usize) {
    put_tag(out, number, WireType::Len);
    let room = varint_len(size as u64);
    out.resize(out.len() + room, 0);
    (out.len(), room)
}

/// Ends the field whose body began at `start`, before which there is so much room for its length.
#[inline]
pub fn end_message_within(out: &mut Vec<u8>, start: usize, room: usize) {
    let len = out.len() - start;
    let size = varint_len(len as u64);
    let first = start - room;
    if size > room {
        out.resize(out.len() + size - room, 0);
    }
    if size != room {
        out.copy_within(start..start + len, first + size);
        out.truncate(first + size + len);
    }
    let mut rest = len as u64;
    for (k, byte) in out.iter_mut().skip(first).take(size).enumerate() {
        *byte = rest as u8 & 0x7f | if k + 1 < size { 0x80 } else { 0 };
        rest >>= 7;
    }
}

/// A message's bytes, and the offset at which they start in the request.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub bytes: &'a [u8],
    pub start: usize,
}

impl<'a> Message<'a> {
    /// A whole request.
    pub fn root(bytes: &'a [u8]) -> Message<'a> {
        Message { bytes, start: 0 }
    }

    /// The fields in the order in which they came.
    #[inline]
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self.bytes, at: self.start }
    }

    /// The messages in field `number`, in order.
    #[inline]
    pub fn messages(self, number: u32) -> impl Iterator<Item = Message<'a>> {
        self.fields().filter(move |f| f.number == number).filter_map(|f| f.message())
    }

    /// The field `number`. Checked requests hold a singular field at most once.
    #[inline]
    pub fn field(self, number: u32) -> Option<Field<'a>> {
        self.fields().find(|f| f.number == number)
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Len(&'a [u8]),
    /// A group: obsolete, unknown to OTLP, carried along unread.
    Group,
}

/// One field of a message. `at..end` are offsets in the request, tag included.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    pub at: usize,
    pub end: usize,
}

impl<'a> Field<'a> {
    /// The payload of a length-delimited field as a message.
    #[inline]
    pub fn message(self) -> Option<Message<'a>> {
        match self.value {
            Value::Len(bytes) => Some(Message { bytes, start: self.end - bytes.len() }),
            _ => None,
        }
    }

    /// The payload of a length-delimited field; empty for another wire type.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self.value {
            Value::Len(bytes) => bytes,
            _ => &[],
        }
    }

    /// The number in a varint or fixed field; 0 for another wire type.
    #[inline]
    pub fn number_value(self) -> u64 {
        match self.value {
            Value::Varint(v) | Value::Fixed64(v) => v,
            Value::Fixed32(v) => u64::from(v),
            _ => 0,
        }
    }
}

/// Walks the fields of a message.
pub struct Fields<'a> {
    rest: &'a [u8],
    /// Where the rest starts in the request.
    at: usize,
}

impl<'a> Fields<'a> {
    /// Where the next field begins.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The payload of the next field if it has this tag, a length-delimited one of one byte, and is
    /// shorter than 128 bytes. Where most fields are of one kind this is a quicker walk over them.
    #[inline(always)]
    pub fn next_short(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [first, len @ 0..=0x7f, rest @ ..] = self.rest else { return None };
        if *first != tag {
            return None;
        }
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        self.rest = rest;
        self.at += 2 + value.len();
        Some(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    // Always inlined, so that the walk and its field stay in registers where only a number is
    // looked at.
    #[inline(always)]
    fn next(&mut self) -> Option<Field<'a>> {
        // Most fields are short texts and messages, with a tag and a length of one byte each, and
        // times. More cases here make the walk slower, not faster: measured.
        let (number, value, rest) = match self.rest {
            [tag @ 0..=0x7f, len @ 0..=0x7f, rest @ ..]
                if tag & 7 == 2 && rest.len() >= usize::from(*len) =>
            {
                let (value, rest) = rest.split_at_checked(usize::from(*len))?;
                (u32::from(tag >> 3), Value::Len(value), rest)
            }
            [tag @ 0..=0x7f, rest @ ..] if tag & 7 == 1 => {
                let (value, rest) = rest.split_first_chunk()?;
                (u32::from(tag >> 3), Value::Fixed64(u64::from_le_bytes(*value)), rest)
            }
            rest => unusual(rest)?,
        };
        let at = self.at;
        self.at += self.rest.len() - rest.len();
        self.rest = rest;
        Some(Field { number, value, at, end: self.at })
    }
}

/// The number and value of the field that `bytes` begin with, whatever it is, and what follows.
#[inline(never)]
fn unusual(bytes: &[u8]) -> Option<(u32, Value<'_>, &[u8])> {
    match bytes {
        [tag @ 0..=0x7f, value @ 0..=0x7f, rest @ ..] if tag & 7 == 0 => {
            Some((u32::from(tag >> 3), Value::Varint(u64::from(*value)), rest))
        }
        [tag @ 0..=0x7f, low @ 0x80..=0xff, high @ 0..=0x7f, rest @ ..] if tag & 7 == 2 => {
            let len = usize::from(low & 0x7f) | usize::from(*high) << 7;
            let (value, rest) = rest.split_at_checked(len)?;
            Some((u32::from(tag >> 3), Value::Len(value), rest))
        }
        bytes => {
            let (tag, body) = varint(bytes, 0)?;
            let (value, end) = read_value(bytes, tag, body)?;
            Some(((tag >> 3) as u32, value, bytes.get(end..)?))
        }
    }
}

#[inline]
fn read_value(bytes: &[u8], tag: u64, at: usize) -> Option<(Value<'_>, usize)> {
    Some(match WireType::of(tag)? {
        WireType::Len => {
            let (len, start) = varint(bytes, at)?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            (Value::Len(bytes.get(start..end)?), end)
        }
        WireType::Varint => {
            let (value, end) = varint(bytes, at)?;
            (Value::Varint(value), end)
        }
        WireType::Fixed64 => {
            let value = bytes.get(at..at + 8)?.try_into().ok()?;
            (Value::Fixed64(u64::from_le_bytes(value)), at + 8)
        }
        WireType::Fixed32 => {
            let value = bytes.get(at..at + 4)?.try_into().ok()?;
            (Value::Fixed32(u32::from_le_bytes(value)), at + 4)
        }
        WireType::GroupStart => (Value::Group, skip_group(bytes, tag >> 3, at, GROUP_NESTING_MAX)?),
        WireType::GroupEnd => return None,
    })
}

/// Deepest nesting of groups that is skipped. Groups are obsolete and unknown to OTLP, so any
/// real nesting is an attack on the skipper.
pub const GROUP_NESTING_MAX: usize = 16;

/// The offset behind the end of the group `number` whose body starts at `at`. `None` if it is cut
/// off, ends with another number, or nests deeper than `depth`.
pub fn skip_group(bytes: &[u8], number: u64, mut at: usize, depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    loop {
        let (tag, body) = varint(bytes, at)?;
        if tag >> 3 == 0 || tag >> 32 != 0 {
            return None;
        }
        at = match WireType::of(tag)? {
            WireType::GroupEnd => return (tag >> 3 == number).then_some(body),
            WireType::GroupStart => skip_group(bytes, tag >> 3, body, depth)?,
            _ => read_value(bytes, tag, body)?.1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_in_the_fewest_bytes_whatever_was_expected() {
        for size in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let mut expected = vec![];
            put_bytes_field(&mut expected, 3, &vec![7; size]);
            for guess in [0, 200, 20_000, 3_000_000] {
                let mut out = vec![];
                let (start, room) = begin_message_of(&mut out, 3, guess);
                out.resize(out.len() + size, 7);
                end_message_within(&mut out, start, room);
                assert!(out == expected, "{size} bytes where {guess} were expected");
            }
        }
    }

    #[test]
    fn varints_of_every_length_come_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = vec![];
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                assert_eq!(varint(&out, 0), Some((value, out.len())));
                let cut = out.len() - 1;
                assert_eq!(varint(out.get(..cut).unwrap_or_default(), 0), None);
            }
        }
    }

    #[test]
    fn a_varint_of_eleven_bytes_is_refused_and_a_padded_one_read() {
        assert_eq!(varint(&[0x80; 11], 0), None);
        assert_eq!(varint(&[0x81, 0x80, 0x00], 0), Some((1, 3)));
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(varint(&largest, 0), Some((u64::MAX, 10)));
        largest[9] = 2;
        assert_eq!(varint(&largest, 0), None);
    }

    #[test]
    fn a_message_field_has_a_minimal_length() {
        for len in [0usize, 1, 127, 128, 16_383, 16_384] {
            let mut out = vec![];
            put_message_field(&mut out, 1, |out| out.resize(out.len() + len, 7));
            let field = Message::root(&out).field(1).map(Field::bytes);
            assert_eq!(field, Some(vec![7u8; len].as_slice()));
            assert_eq!(out.len(), 1 + varint_len(len as u64) + len);
        }
    }

    #[test]
    fn groups_are_skipped_whole_and_too_deep_ones_end_the_walk() {
        let mut out = vec![];
        put_tag(&mut out, 9, WireType::GroupStart);
        put_varint_field(&mut out, 1, 5);
        put_tag(&mut out, 9, WireType::GroupEnd);
        put_varint_field(&mut out, 2, 6);
        let seen: Vec<_> = Message::root(&out).fields().map(|f| (f.number, f.value)).collect();
        assert_eq!(seen, [(9, Value::Group), (2, Value::Varint(6))]);
        let deep = vec![0x4b; 10_000];
        assert_eq!(Message::root(&deep).fields().count(), 0);
    }
}
