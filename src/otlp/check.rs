//! One walk that proves a request well-formed, so that everything behind it cannot fail.
//!
//! Proven: every tag, length and varint; the wire type of every known field; UTF-8 in every
//! text; the nesting of values; the number of elements. Unknown fields are proven walkable and
//! left alone. The walk allocates nothing, so a hostile body costs its own size and no more.
//!
//! The judgement is prost's (tests hold the two against each other on mutated bytes) but for the
//! bounds: items and elements are counted here and not there, values nest less deeply here, and
//! groups within each other too ([`GROUP_NESTING_MAX`]).

use super::schema::{ANY_VALUE, Field, KEY_VALUE, Kind, Label, Message, Step};
use super::wire::{GROUP_NESTING_MAX, WireType, skip_group, varint};

/// What a request may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Spans, log records or data points.
    pub items: usize,
    /// Messages of any kind: attributes, values, events, links, items.
    pub elements: usize,
    /// Arrays and maps within each other in one attribute value.
    pub value_nesting: usize,
}

/// What the walk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub items: usize,
    pub elements: usize,
    /// A singular field occurs twice in some message, which protobuf allows and means "merge".
    pub repeated_singular: bool,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes are not what they claim to be.
    #[error("not a valid {message}: {what} at byte {at}")]
    Bytes { message: &'static str, what: &'static str, at: usize },
    /// A known field has another wire type.
    #[error("not a valid {message}: field {field} has the wrong wire type at byte {at}")]
    WrongType { message: &'static str, field: &'static str, at: usize },
    /// Well-formed so far, but more than a bound allows.
    #[error("too many {what}: a request may hold {limit}")]
    TooMany { what: &'static str, limit: usize },
    /// Values nested deeper than the bound.
    #[error("attribute values are nested deeper than {limit} levels")]
    TooDeep { limit: usize },
}

impl Malformed {
    /// Whether the request is refused for its size rather than for being wrong.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Malformed::TooMany { .. })
    }
}

/// Checks `bytes` as a `message` of [`super::schema`] within `bounds`.
pub fn check(message: &'static Message, bytes: &[u8], bounds: &Bounds) -> Result<Tally, Malformed> {
    let mut walk = Walk { bounds, tally: Tally::default() };
    walk.message(message, bytes, 0, 0)?;
    Ok(walk.tally)
}

struct Walk<'a> {
    bounds: &'a Bounds,
    tally: Tally,
}

impl Walk<'_> {
    /// Checks the message `bytes`, which stands at `base` in the request, `nesting` values deep.
    fn message(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        base: usize,
        nesting: usize,
    ) -> Result<(), Malformed> {
        let (mut at, mut seen) = (0, 0);
        loop {
            if let Some(size) = self.usual(message, bytes.get(at..), &mut seen)? {
                at += size;
                continue;
            }
            if at == bytes.len() {
                return Ok(());
            }
            let Some((tag, wire, start, next)) = extent(bytes, at) else {
                return Err(broken(message, bytes, at, base));
            };
            if let Some(field) = message.field((tag >> 3) as u32) {
                self.tally.repeated_singular |= seen & field.singular != 0;
                seen |= field.singular;
                let value = bytes.get(start..next).unwrap_or_default();
                if field.wire == wire {
                    self.value(message, field, value, base + start, nesting)?;
                } else {
                    packed(message, field, wire, value, base + start)?;
                }
            }
            at = next;
        }
    }

    /// Proves the usual field at the beginning of `bytes`, or the usual attributes if it is one,
    /// and yields the size: known, tag and length one byte each, the value a plain one. Of any
    /// other this says nothing.
    #[inline(always)]
    fn usual(
        &mut self,
        message: &'static Message,
        bytes: Option<&[u8]>,
        seen: &mut u32,
    ) -> Result<Option<usize>, Malformed> {
        let Some(bytes @ [tag, first, rest @ ..]) = bytes else { return Ok(None) };
        let usual = message.usual(*tag);
        let size = match usual.step {
            Step::Fixed64 if rest.len() >= 7 => 9,
            Step::Varint if *first < 0x80 => 2,
            Step::Bytes | Step::Text if *first < 0x80 => {
                let Some(value) = rest.get(..usize::from(*first)) else { return Ok(None) };
                if usual.step == Step::Text && !is_utf8(value) {
                    return Ok(None);
                }
                2 + value.len()
            }
            Step::Attribute => {
                let (size, attributes) = plain_attributes(*tag, bytes);
                self.count(2 * attributes, false)?;
                return Ok((size > 0).then_some(size));
            }
            _ => return Ok(None),
        };
        self.tally.repeated_singular |= *seen & usual.singular != 0;
        *seen |= usual.singular;
        Ok(Some(size))
    }

    /// Checks a known field's value, which stands at `at` in the request.
    #[inline(never)]
    fn value(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        value: &[u8],
        at: usize,
        nesting: usize,
    ) -> Result<(), Malformed> {
        match field.kind {
            Kind::Text if !is_utf8(value) => {
                let what = "a text is not UTF-8";
                Err(Malformed::Bytes { message: message.name, what, at })
            }
            Kind::Message(child) => {
                self.count(1, child.item)?;
                // Only values can nest without bound: each array or map enters one level.
                let deeper = nesting + usize::from(std::ptr::eq(message, &ANY_VALUE));
                if deeper > self.bounds.value_nesting {
                    return Err(Malformed::TooDeep { limit: self.bounds.value_nesting });
                }
                if std::ptr::eq(child, &KEY_VALUE) && is_plain_attribute(value) {
                    return self.count(1, false);
                }
                self.message(child, value, at, deeper)
            }
            _ => Ok(()),
        }
    }

    /// Counts so many messages, of which one may be an item.
    #[inline]
    fn count(&mut self, elements: usize, item: bool) -> Result<(), Malformed> {
        self.tally.elements += elements;
        self.tally.items += usize::from(item);
        if self.tally.items > self.bounds.items {
            return Err(Malformed::TooMany { what: "items", limit: self.bounds.items });
        }
        if self.tally.elements > self.bounds.elements {
            return Err(Malformed::TooMany { what: "elements", limit: self.bounds.elements });
        }
        Ok(())
    }
}

/// Checks a value that is laid out otherwise than its field says: it may be numbers of a list,
/// packed. It stands at `at` in the request.
#[cold]
fn packed(
    message: &'static Message,
    field: &'static Field,
    wire: WireType,
    value: &[u8],
    at: usize,
) -> Result<(), Malformed> {
    let packable = wire == WireType::Len && field.label == Label::Many;
    let whole = match field.wire {
        WireType::Fixed64 => value.len().is_multiple_of(8),
        WireType::Fixed32 => value.len().is_multiple_of(4),
        WireType::Varint => {
            let mut end = 0;
            while let Some((_, next)) = varint(value, end) {
                end = next;
            }
            end == value.len()
        }
        _ => false,
    };
    if packable && whole {
        return Ok(());
    }
    Err(Malformed::WrongType { message: message.name, field: field.name, at })
}

/// The tag of the field at `at`, and where its value starts and ends. `None` if anything about it
/// is wrong, which [`broken`] then names.
#[inline]
fn extent(bytes: &[u8], at: usize) -> Option<(u64, WireType, usize, usize)> {
    let (tag, body) = varint(bytes, at)?;
    if !(8..1 << 32).contains(&tag) {
        return None;
    }
    let wire = WireType::of(tag)?;
    let (start, end) = match wire {
        WireType::Len => {
            let (len, start) = varint(bytes, body)?;
            (start, start.checked_add(usize::try_from(len).ok()?)?)
        }
        WireType::Varint => (body, varint(bytes, body)?.1),
        WireType::Fixed64 => (body, body + 8),
        WireType::Fixed32 => (body, body + 4),
        WireType::GroupStart => (body, skip_group(bytes, tag >> 3, body, GROUP_NESTING_MAX)?),
        WireType::GroupEnd => return None,
    };
    (end <= bytes.len()).then_some((tag, wire, start, end))
}

/// What is wrong with the field at `at` of `message`, which stands at `base` in the request.
#[cold]
fn broken(message: &'static Message, bytes: &[u8], at: usize, base: usize) -> Malformed {
    let what = match varint(bytes, at) {
        None => "a tag is cut off or too long",
        Some((tag, _)) if !(8..1 << 32).contains(&tag) => "a field number is out of range",
        Some((tag, body)) => match WireType::of(tag) {
            None => "an unknown wire type",
            Some(WireType::Len) if varint(bytes, body).is_none() => {
                "a length is cut off or too long"
            }
            Some(WireType::Len) => "a length points behind the end",
            Some(WireType::Varint) => "a number is cut off or too long",
            Some(WireType::Fixed64 | WireType::Fixed32) => "a value is cut off",
            Some(WireType::GroupStart) => "a group is broken or nested too deeply",
            Some(WireType::GroupEnd) => "a group ends that never began",
        },
    };
    Malformed::Bytes { message: message.name, what, at: base + at }
}

/// The size of the plain attributes that `bytes` begin with, in fields with this tag, and how many
/// they are. Where attributes have nothing but ASCII in them, tags and lengths included, all their
/// texts are proven at once. Not inlined: within the walk it would run out of registers.
#[inline(never)]
fn plain_attributes(tag: u8, bytes: &[u8]) -> (usize, usize) {
    // Behind the last attribute, and behind the last byte that is proven.
    let (mut rest, mut unproven, mut count) = (bytes, bytes, 0);
    while let Some((attribute, behind)) = short_field(tag, rest)
        && let Some(number) = bytes_of_number(attribute)
    {
        if number > 0 {
            let texts = unproven.len() - behind.len() - number;
            if !unproven.get(..texts).is_some_and(is_ascii) {
                return attributes_one_by_one(tag, bytes);
            }
            unproven = behind;
        }
        (rest, count) = (behind, count + 1);
    }
    match unproven.get(..unproven.len() - rest.len()).is_some_and(is_ascii) {
        true => (bytes.len() - rest.len(), count),
        false => attributes_one_by_one(tag, bytes),
    }
}

/// The same where texts go beyond ASCII.
#[inline(never)]
fn attributes_one_by_one(tag: u8, bytes: &[u8]) -> (usize, usize) {
    let (mut rest, mut count) = (bytes, 0);
    while let Some((attribute, behind)) = short_field(tag, rest)
        && is_plain_attribute(attribute)
    {
        (rest, count) = (behind, count + 1);
    }
    (bytes.len() - rest.len(), count)
}

/// The value of the field that `bytes` begin with, if it has this tag and under 128 bytes, and what
/// follows.
#[inline(always)]
fn short_field(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [first, len @ 0..0x80, rest @ ..] if *first == tag => {
            rest.split_at_checked(usize::from(*len))
        }
        _ => None,
    }
}

/// How many bytes at the end of a plain attribute are a number and need not be ASCII; `None` if
/// it is not plain or not short. Of its texts this proves nothing.
#[inline(always)]
fn bytes_of_number(attribute: &[u8]) -> Option<usize> {
    let [0x0a, key @ 0..0x80, rest @ ..] = attribute else { return None };
    let [0x12, len @ 0..0x80, value @ ..] = rest.get(usize::from(*key)..)? else { return None };
    match value {
        _ if usize::from(*len) != value.len() => None,
        [0x0a, len, text @ ..] if usize::from(*len) == text.len() => Some(0),
        [0x10 | 0x18, 0..0x80] => Some(0),
        [0x10 | 0x18, number @ ..] => {
            varint(number, 0).filter(|(_, end)| *end == number.len()).map(|(_, end)| end)
        }
        [0x21, double @ ..] if double.len() == 8 => Some(8),
        _ => None,
    }
}

/// Whether `bytes` are the attribute that nearly every sender writes: a key, then one value that
/// is no list, in the fewest bytes. Such a one needs no walk; of any other this says nothing.
#[inline]
fn is_plain_attribute(bytes: &[u8]) -> bool {
    match bytes_of_number(bytes) {
        Some(number) if is_ascii(bytes.get(..bytes.len() - number).unwrap_or_default()) => true,
        _ => is_plain_in_parts(bytes),
    }
}

/// The same for a longer attribute, another value than text, or letters beyond ASCII.
fn is_plain_in_parts(bytes: &[u8]) -> bool {
    let Some((key, [0x12, value @ ..])) = short_text(bytes) else {
        return false;
    };
    let Some((len, start)) = varint(value, 0) else {
        return false;
    };
    let value = value.get(start..).unwrap_or_default();
    let proven = match value {
        [0x0a, text @ ..] => match varint(text, 0) {
            Some((len, start)) => {
                let text = text.get(start..).unwrap_or_default();
                len == text.len() as u64 && is_utf8(text)
            }
            None => false,
        },
        [0x10 | 0x18, number @ ..] => varint(number, 0).is_some_and(|(_, end)| end == number.len()),
        [0x21, double @ ..] => double.len() == 8,
        _ => false,
    };
    proven && len == value.len() as u64 && is_utf8(key)
}

/// The text of under 128 bytes in field 1 that `bytes` begin with, and what follows.
#[inline]
fn short_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [0x0a, len @ 0..0x80, rest @ ..] => rest.split_at_checked(usize::from(*len)),
        _ => None,
    }
}

/// Whether `text` is UTF-8. Nearly all texts are ASCII.
#[inline]
fn is_utf8(text: &[u8]) -> bool {
    is_ascii(text) || std::str::from_utf8(text).is_ok()
}

/// Whether `text` is ASCII, sixteen bytes at a time; short texts pay no call.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    const HIGH: u128 = u128::from_le_bytes([0x80; 16]);
    let (words, rest) = text.as_chunks::<16>();
    let all = match (text.last_chunk::<16>(), rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        (Some(last), ..) => u128::from_le_bytes(*last),
        (None, Some(first), Some(last)) => {
            u128::from(u64::from_le_bytes(*first) | u64::from_le_bytes(*last))
        }
        _ => u128::from(rest.iter().fold(0, |all, byte| all | byte)),
    };
    words.iter().fold(all, |all, word| all | u128::from_le_bytes(*word)) & HIGH == 0
}
