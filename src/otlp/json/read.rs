//! Text to bytes.

use super::super::check::Bounds;
use super::super::schema::{ANY_VALUE, Field, Kind, Label, Message};
use super::super::wire::{begin_message, end_message, put_bytes_field, put_fixed32_field};
use super::super::wire::{put_fixed64_field, put_varint, put_varint_field};
use super::Malformed;
use super::number::{double, signed, unsigned};
use super::token::{Fault, Tokens};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::fmt::Write;

/// The protobuf bytes of the `message` that `text` notates in JSON, within `bounds`. They pass
/// [`check`](super::super::check::check) within the same bounds, and hold every singular field at
/// most once. Numbers in lists count as elements too: two characters of JSON become eight bytes.
pub fn from_json(
    message: &'static Message,
    text: &[u8],
    bounds: &Bounds,
) -> Result<Vec<u8>, Malformed> {
    let place = |fault: Fault, path: &[Step]| {
        let (line, column) = Tokens::place(text, fault.at);
        Malformed::Text { what: fault.what, line, column, path: name_path(path) }
    };
    let tokens = Tokens::new(text).map_err(|fault| place(fault, &[]))?;
    let mut reader = Reader { tokens, bounds, items: 0, elements: 0, path: vec![] };
    // Protobuf takes about half of what JSON takes.
    let mut out = Vec::with_capacity(text.len() / 2);
    match reader.document(message, &mut out) {
        Ok(()) => Ok(out),
        Err(Refusal::Fault(fault)) => Err(place(fault, &reader.path)),
        Err(Refusal::TooMany { what, limit }) => Err(Malformed::TooMany { what, limit }),
        Err(Refusal::TooDeep) => Err(Malformed::TooDeep { limit: bounds.value_nesting }),
    }
}

/// Why reading ends early.
enum Refusal {
    Fault(Fault),
    TooMany { what: &'static str, limit: usize },
    TooDeep,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}

/// A step from a message to what is in it.
enum Step {
    Field(&'static str),
    Index(usize),
}

fn name_path(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        let _ = match step {
            Step::Field(name) if out.is_empty() => write!(out, " in {name}"),
            Step::Field(name) => write!(out, ".{name}"),
            Step::Index(index) => write!(out, "[{index}]"),
        };
    }
    out
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    bounds: &'a Bounds,
    items: usize,
    elements: usize,
    /// Where reading is; after a fault, where it was.
    path: Vec<Step>,
}

impl<'a> Reader<'a> {
    fn document(&mut self, message: &'static Message, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.message(message, out, 0)?;
        if self.tokens.peek().is_some() {
            return Ok(self.tokens.fault("the text goes on behind the request")?);
        }
        Ok(())
    }

    /// Reads an object as the fields of `message`, `nesting` values deep.
    fn message(
        &mut self,
        message: &'static Message,
        out: &mut Vec<u8>,
        nesting: usize,
    ) -> Result<(), Refusal> {
        if !self.tokens.take(b'{') {
            return Ok(self.tokens.fault("an object is expected")?);
        }
        let (mut seen, mut member) = (0u64, false);
        let mut more = !self.tokens.take(b'}');
        while more {
            self.tokens.peek();
            let at = self.tokens.at;
            let key = self.tokens.key()?;
            match message.named(&key) {
                None => self.tokens.skip(0)?,
                Some(field) => {
                    self.path.push(Step::Field(field.name));
                    if seen & 1 << field.number != 0 {
                        return Err(Fault { what: "a key occurs twice", at }.into());
                    }
                    seen |= 1 << field.number;
                    let set = self.field(message, field, out, nesting)?;
                    if set && field.label == Label::Oneof && std::mem::replace(&mut member, true) {
                        let what = "this excludes a key that stands before it";
                        return Err(Fault { what, at }.into());
                    }
                    self.path.pop();
                }
            }
            more = self.tokens.more(b'}')?;
        }
        Ok(())
    }

    /// Reads the value of `field`: whether it is set, that is, not null.
    fn field(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        out: &mut Vec<u8>,
        nesting: usize,
    ) -> Result<bool, Refusal> {
        if self.tokens.peek() == Some(b'n') && self.tokens.take_word(b"null") {
            return Ok(false);
        }
        // Only values can nest without bound: each array or map enters one level.
        let nesting = nesting + usize::from(std::ptr::eq(message, &ANY_VALUE));
        if field.label != Label::Many {
            self.value(field, out, nesting)?;
            return Ok(true);
        }
        if !self.tokens.take(b'[') {
            return Ok(self.tokens.fault("an array is expected")?);
        }
        let packed = !matches!(field.kind, Kind::Message(_) | Kind::Text | Kind::Bytes | Kind::Id);
        let before = out.len();
        let start = if packed { begin_message(out, field.number) } else { before };
        let mut more = !self.tokens.take(b']');
        let mut index = 0;
        while more {
            self.path.push(Step::Index(index));
            if packed {
                self.count(false)?;
                self.packed(field, out)?;
            } else {
                self.value(field, out, nesting)?;
            }
            self.path.pop();
            index += 1;
            more = self.tokens.more(b']')?;
        }
        if packed && index > 0 {
            end_message(out, start);
        } else if packed {
            out.truncate(before);
        }
        Ok(true)
    }

    /// Reads one value of `field`. Zeros and empty texts that mean as much as nothing are left out.
    fn value(
        &mut self,
        field: &'static Field,
        out: &mut Vec<u8>,
        nesting: usize,
    ) -> Result<(), Refusal> {
        let number = field.number;
        match field.kind {
            Kind::Message(child) => {
                self.count(child.item)?;
                if nesting > self.bounds.value_nesting {
                    return Err(Refusal::TooDeep);
                }
                let start = begin_message(out, number);
                self.message(child, out, nesting)?;
                end_message(out, start);
            }
            Kind::Text => {
                self.begin_string("a text in quotes is expected")?;
                let before = out.len();
                let start = begin_message(out, number);
                self.tokens.string_into(out)?;
                if out.len() == start && field.label == Label::One {
                    out.truncate(before);
                } else {
                    end_message(out, start);
                }
            }
            Kind::Id => {
                let at = self.begin_string("an id is a text of hexadecimal digits")?;
                let text = self.tokens.string()?;
                let what = "an id has an even number of hexadecimal digits, and nothing else";
                let id = hex(&text).ok_or(Fault { what, at })?;
                if !id.is_empty() {
                    put_bytes_field(out, number, &id);
                }
            }
            Kind::Bytes => {
                let at = self.begin_string("bytes are a text in base64")?;
                let text = self.tokens.string()?;
                let bytes = base64(&text).ok_or(Fault { what: "bytes are not base64", at })?;
                put_bytes_field(out, number, &bytes);
            }
            kind => {
                let bits = self.number(kind)?;
                if bits != 0 || field.label != Label::One {
                    match kind {
                        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                            put_fixed64_field(out, number, bits);
                        }
                        Kind::Fixed32 => put_fixed32_field(out, number, bits as u32),
                        _ => put_varint_field(out, number, bits),
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads one number of a list.
    fn packed(&mut self, field: &'static Field, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let bits = self.number(field.kind)?;
        match field.kind {
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Kind::Fixed32 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
            _ => put_varint(out, bits),
        }
        Ok(())
    }

    /// Reads a boolean or a number of `kind`, as the bits that protobuf writes.
    fn number(&mut self, kind: Kind) -> Result<u64, Refusal> {
        let first = self.tokens.peek();
        let at = self.tokens.at;
        if let Kind::Bool = kind {
            let value = self.tokens.take_word(b"true");
            if !value && !self.tokens.take_word(b"false") {
                return Ok(self.tokens.fault("true or false is expected")?);
            }
            return Ok(value.into());
        }
        let text = match first {
            Some(b'"') if matches!(kind, Kind::Enum) => {
                return Ok(self.tokens.fault("an enum is an integer, not a name")?);
            }
            Some(b'"') => self.tokens.string()?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(self.tokens.number()?),
            _ => return Ok(self.tokens.fault("a number is expected")?),
        };
        let (bits, what) = match kind {
            Kind::Double => (double(&text).map(f64::to_bits), "this is no double"),
            Kind::Int64 | Kind::Sfixed64 => {
                (signed(&text).map(|n| n as u64), "this is no integer of 64 bits with a sign")
            }
            Kind::Uint64 | Kind::Fixed64 => {
                (unsigned(&text), "this is no integer of 64 bits without a sign")
            }
            Kind::Uint32 | Kind::Fixed32 => {
                let small = unsigned(&text).filter(|n| u32::try_from(*n).is_ok());
                (small, "this is no integer of 32 bits without a sign")
            }
            _ => {
                let small = signed(&text).and_then(|n| i32::try_from(n).ok());
                let zigzag = |n: i32| u64::from((n << 1 ^ n >> 31) as u32);
                let bits = match kind {
                    Kind::Sint32 => small.map(zigzag),
                    _ => small.map(|n| n as u64),
                };
                (bits, "this is no integer of 32 bits with a sign")
            }
        };
        Ok(bits.ok_or(Fault { what, at })?)
    }

    /// The place of the string that stands next; a fault if none does.
    fn begin_string(&mut self, what: &'static str) -> Result<usize, Refusal> {
        match self.tokens.peek() {
            Some(b'"') => Ok(self.tokens.at),
            _ => Ok(self.tokens.fault(what)?),
        }
    }

    fn count(&mut self, item: bool) -> Result<(), Refusal> {
        self.elements += 1;
        self.items += usize::from(item);
        if self.items > self.bounds.items {
            return Err(Refusal::TooMany { what: "items", limit: self.bounds.items });
        }
        if self.elements > self.bounds.elements {
            return Err(Refusal::TooMany { what: "elements", limit: self.bounds.elements });
        }
        Ok(())
    }
}

/// The bytes that hexadecimal `text` of either case stands for.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|d| d as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.chunks(2).map(pair).collect()
}

/// The bytes that `text` stands for in either alphabet of base64, padded or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    ENGINE.decode(text.iter().map(standard).collect::<Vec<u8>>()).ok()
}
