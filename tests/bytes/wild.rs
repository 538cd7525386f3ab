//! Requests as no exporter writes them and protobuf allows them: unknown fields of every wire
//! type, padded varints, numbers unpacked, singular fields repeated.

use crate::source::Source;
use spanloom::otlp::schema::{Kind, Label, Message};
use spanloom::otlp::wire::{self, Value, WireType, put_tag, put_varint};
use spanloom::otlp::wire::{put_bytes_field, put_fixed32_field, put_fixed64_field};

/// How wild.
#[derive(Clone, Copy)]
pub struct Wild {
    pub unknown: bool,
    pub padding: bool,
    pub repeats: bool,
}

pub const TAME: Wild = Wild { unknown: false, padding: false, repeats: false };
pub const UNKNOWN: Wild = Wild { unknown: true, padding: true, repeats: false };
pub const REPEATS: Wild = Wild { unknown: true, padding: true, repeats: true };

/// `bytes`, of type `message`, written wildly: it means the same to prost, but for what
/// `repeats` puts in.
pub fn rewrite(
    source: &mut Source<'_>,
    message: &'static Message,
    bytes: &[u8],
    wild: Wild,
) -> Vec<u8> {
    let mut out = vec![];
    let fields: Vec<_> = wire::Message::root(bytes).fields().collect();
    for field in &fields {
        put_unknown(source, &mut out, wild);
        let raw = &bytes[field.at..field.end];
        let Some(known) = message.field(field.number) else {
            out.extend_from_slice(raw);
            continue;
        };
        let Value::Len(payload) = field.value else {
            if wild.repeats && known.label != Label::Many && source.once_in(16) {
                out.extend_from_slice(raw);
            }
            out.extend_from_slice(raw);
            continue;
        };
        let body = match known.kind {
            Kind::Message(child) => rewrite(source, child, payload, wild),
            _ => payload.to_vec(),
        };
        if wild.repeats && known.label != Label::Many && source.once_in(8) {
            // Another occurrence before it: its fields merge, or it is overridden.
            put_len(source, &mut out, field.number, &body, wild);
        }
        if wild.repeats && known.label == Label::Oneof && source.once_in(8) {
            let other = message.fields.iter().find(|f| f.label == Label::Oneof);
            if let Some(Kind::Text) = other.map(|f| f.kind) {
                put_bytes_field(&mut out, 1, b"overridden");
            }
        }
        put_len(source, &mut out, field.number, &body, wild);
    }
    put_unknown(source, &mut out, wild);
    out
}

/// A length-delimited field, with a padded length now and then.
fn put_len(source: &mut Source<'_>, out: &mut Vec<u8>, number: u32, body: &[u8], wild: Wild) {
    if !wild.padding || !source.once_in(16) {
        return put_bytes_field(out, number, body);
    }
    put_padded(out, u64::from(number) << 3 | 2);
    put_padded(out, body.len() as u64);
    out.extend_from_slice(body);
}

fn put_padded(out: &mut Vec<u8>, value: u64) {
    put_varint(out, value);
    if let Some(last) = out.last_mut() {
        *last |= 0x80;
    }
    out.push(0x80);
    out.push(0);
}

fn put_unknown(source: &mut Source<'_>, out: &mut Vec<u8>, wild: Wild) {
    while wild.unknown && source.once_in(12) {
        let number = [99, 2000, (1 << 29) - 1][source.below(3)];
        match source.below(5) {
            0 => wire::put_varint_field(out, number, source.number()),
            1 => put_fixed64_field(out, number, source.number()),
            2 => put_bytes_field(out, number, &source.bytes()),
            3 => put_fixed32_field(out, number, source.number() as u32),
            _ => {
                put_tag(out, number, WireType::GroupStart);
                put_bytes_field(out, 1, &source.bytes());
                put_tag(out, 7, WireType::GroupStart);
                put_tag(out, 7, WireType::GroupEnd);
                put_tag(out, number, WireType::GroupEnd);
            }
        }
    }
}

/// Every unknown field of `bytes` at any level, in order: what must survive.
pub fn unknown(message: &'static Message, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![];
    for field in wire::Message::root(bytes).fields() {
        match (message.field(field.number).map(|f| f.kind), field.message()) {
            (Some(Kind::Message(child)), Some(body)) => found.extend(unknown(child, body.bytes)),
            (Some(_), _) => {}
            (None, _) => found.push(bytes[field.at..field.end].to_vec()),
        }
    }
    found
}

/// `bytes` with a few bytes changed, removed, put in or cut off.
pub fn mutate(source: &mut Source<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..=source.below(3) {
        let place = (source.byte() as usize * 256 + source.byte() as usize) % (bytes.len() + 1);
        match source.below(6) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, source.byte()),
            2 if place < bytes.len() => drop(bytes.remove(place)),
            3 => {
                let end = bytes.len().min(place + source.below(20));
                let copy = bytes[place..end].to_vec();
                bytes.splice(place..place, copy);
            }
            4 if place < bytes.len() => bytes[place] ^= 1 << source.below(8),
            _ if place < bytes.len() => bytes[place] = source.byte(),
            _ => {}
        }
    }
}
