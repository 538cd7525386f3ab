//! Bytes to text.

use super::super::schema::{Field, Kind, Label, Message};
use super::super::wire::{self, Value, varint};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

/// The checked `message` in `bytes`, with every singular field at most once, as OTLP/JSON on one
/// line. What is present is written, zeros too; unknown fields have no name and are left out.
pub fn to_json(message: &'static Message, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    put_message(&mut out, message, wire::Message::root(bytes));
    out
}

fn put_message(out: &mut Vec<u8>, message: &'static Message, body: wire::Message<'_>) {
    let present = body.fields().fold(0u64, |set, f| set | 1u64.checked_shl(f.number).unwrap_or(0));
    out.push(b'{');
    let mut first = true;
    for field in message.fields.iter().filter(|f| present & 1 << f.number != 0) {
        if !std::mem::replace(&mut first, false) {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b"\":");
        let mut values = body.fields().filter(|f| f.number == field.number);
        if field.label != Label::Many {
            if let Some(value) = values.next() {
                put_value(out, field, value);
            }
            continue;
        }
        out.push(b'[');
        let start = out.len();
        for value in values {
            put_values(out, field, value, start);
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Appends what one field of a list holds: one value, or packed numbers.
fn put_values(out: &mut Vec<u8>, field: &'static Field, value: wire::Field<'_>, start: usize) {
    let comma = |out: &mut Vec<u8>| {
        if out.len() > start {
            out.push(b',');
        }
    };
    let packed = match (field.kind, value.value) {
        (Kind::Message(_) | Kind::Text | Kind::Bytes | Kind::Id, _) => None,
        (_, Value::Len(bytes)) => Some(bytes),
        _ => None,
    };
    let Some(bytes) = packed else {
        comma(out);
        return put_value(out, field, value);
    };
    let mut at = 0;
    while at < bytes.len() {
        let (bits, next) = match field.kind {
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => (little_endian(bytes, at, 8), at + 8),
            Kind::Fixed32 => (little_endian(bytes, at, 4), at + 4),
            _ => varint(bytes, at).unwrap_or((0, bytes.len())),
        };
        comma(out);
        put_number(out, field.kind, bits);
        at = next;
    }
}

fn little_endian(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn put_value(out: &mut Vec<u8>, field: &'static Field, value: wire::Field<'_>) {
    match field.kind {
        Kind::Message(child) => match value.message() {
            Some(body) => put_message(out, child, body),
            None => out.extend_from_slice(b"{}"),
        },
        Kind::Text => put_text(out, value.bytes()),
        Kind::Id => {
            out.push(b'"');
            for byte in value.bytes() {
                let digit = |d: u8| if d < 10 { b'0' + d } else { b'a' + d - 10 };
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            out.push(b'"');
        }
        Kind::Bytes => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(value.bytes()).as_bytes());
            out.push(b'"');
        }
        kind => put_number(out, kind, value.number_value()),
    }
}

fn put_number(out: &mut Vec<u8>, kind: Kind, bits: u64) {
    // Writing to memory does not fail.
    let _ = match kind {
        Kind::Bool => write!(out, "{}", bits != 0),
        Kind::Uint32 | Kind::Fixed32 => write!(out, "{}", bits as u32),
        Kind::Sint32 => {
            let bits = bits as u32;
            write!(out, "{}", (bits >> 1) as i32 ^ -((bits & 1) as i32))
        }
        Kind::Uint64 | Kind::Fixed64 => write!(out, "\"{bits}\""),
        Kind::Int64 | Kind::Sfixed64 => write!(out, "\"{}\"", bits as i64),
        Kind::Double => match f64::from_bits(bits) {
            n if n.is_nan() => write!(out, "\"NaN\""),
            f64::INFINITY => write!(out, "\"Infinity\""),
            f64::NEG_INFINITY => write!(out, "\"-Infinity\""),
            n => write!(out, "{n:?}"),
        },
        _ => write!(out, "{}", bits as i32),
    };
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(len) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        let (run, behind) = rest.split_at(len);
        out.extend_from_slice(run);
        let Some((byte, behind)) = behind.split_first() else { break };
        rest = behind;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
