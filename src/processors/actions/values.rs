//! Values of attributes: encoded, as text, hashed and converted, with the Collector's results.

use crate::config::{self, Node};
use crate::otlp::fields::{any_value, key_value, list};
use crate::otlp::text::put_text;
use crate::otlp::view::{self as otlp, AnyValue, members, values};
use crate::otlp::wire::{Message, put_bytes_field, put_fixed64_field};
use crate::otlp::wire::{put_message_field, put_varint_field};
use crate::otlp::write::put_text_value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt::Write;

/// What the encoded `AnyValue` in `bytes` holds.
pub fn view(bytes: &[u8]) -> AnyValue<'_> {
    AnyValue::of(Message::root(bytes))
}

/// An encoded text.
pub fn text(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 6);
    put_text_value(&mut out, value);
    out
}

fn int(value: i64) -> Vec<u8> {
    let mut out = vec![];
    put_varint_field(&mut out, any_value::INT, value as u64);
    out
}

fn double(value: f64) -> Vec<u8> {
    let mut out = vec![];
    put_fixed64_field(&mut out, any_value::DOUBLE, value.to_bits());
    out
}

/// The value of a configuration, encoded; its type is that of the YAML.
pub fn encode(node: &Node) -> Vec<u8> {
    let mut out = vec![];
    put(&mut out, node);
    out
}

/// The depth is that of the file, which is bounded where it is read.
fn put(out: &mut Vec<u8>, node: &Node) {
    match &node.value {
        config::Value::Null => {}
        config::Value::Bool(value) => put_varint_field(out, any_value::BOOL, u64::from(*value)),
        config::Value::Int(value) => put_varint_field(out, any_value::INT, *value as u64),
        config::Value::Float(value) => put_fixed64_field(out, any_value::DOUBLE, value.to_bits()),
        config::Value::Text(value) => put_text_value(out, value.as_bytes()),
        config::Value::List(nodes) => put_message_field(out, any_value::ARRAY, |out| {
            for node in nodes {
                put_message_field(out, list::VALUES, |out| put(out, node));
            }
        }),
        config::Value::Map(entries) => put_message_field(out, any_value::KVLIST, |out| {
            for entry in entries {
                put_message_field(out, list::VALUES, |out| {
                    put_bytes_field(out, key_value::KEY, entry.name.as_bytes());
                    put_message_field(out, key_value::VALUE, |out| put(out, &entry.node));
                });
            }
        }),
    }
}

/// The value as text: of bytes Base64, of lists and maps JSON with sorted keys, of none nothing.
pub fn as_text(value: AnyValue<'_>) -> Cow<'_, [u8]> {
    let mut out = String::new();
    match value {
        AnyValue::Text(text) => return Cow::Borrowed(text),
        AnyValue::Empty => {}
        AnyValue::Bool(value) => drop(write!(out, "{value}")),
        AnyValue::Int(value) => drop(write!(out, "{value}")),
        AnyValue::Double(value) => put_double(&mut out, value),
        AnyValue::Bytes(bytes) => STANDARD.encode_string(bytes, &mut out),
        AnyValue::Array(_) | AnyValue::Map(_) => put_json(&mut out, value),
    }
    Cow::Owned(out.into_bytes())
}

/// The shortest digits that read as `value`, with an exponent only where JSON has one.
fn put_double(out: &mut String, value: f64) {
    let size = value.abs();
    let _ = match () {
        () if value.is_infinite() => write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' }),
        () if size >= 1e21 => write!(out, "{}", format!("{value:e}").replace('e', "e+")),
        () if size != 0.0 && size < 1e-6 => write!(out, "{value:e}"),
        () => write!(out, "{value}"),
    };
}

/// The depth is that of values, which the door has bounded.
fn put_json(out: &mut String, value: AnyValue<'_>) {
    match value {
        AnyValue::Empty => out.push_str("null"),
        AnyValue::Array(array) => {
            out.push('[');
            for (k, value) in values(array).enumerate() {
                out.push_str(if k > 0 { "," } else { "" });
                put_json(out, value);
            }
            out.push(']');
        }
        AnyValue::Map(map) => {
            let mut members: Vec<_> = members(map).collect();
            members.sort_by_key(|member| member.key);
            out.push('{');
            for (k, member) in members.into_iter().enumerate() {
                out.push_str(if k > 0 { "," } else { "" });
                put_text(out, member.key);
                out.push(':');
                put_json(out, member.value);
            }
            out.push('}');
        }
        AnyValue::Text(_) | AnyValue::Bytes(_) => put_text(out, &as_text(value)),
        _ => out.push_str(otlp::text(&as_text(value))),
    }
}

/// A text, truth value or number as text, without exponents; nothing else has one here.
pub fn plain(value: AnyValue<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        AnyValue::Double(value) if value.is_finite() => {
            Some(Cow::Owned(value.to_string().into_bytes()))
        }
        AnyValue::Text(_) | AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) => {
            Some(as_text(value))
        }
        _ => None,
    }
}

/// Whether two values are of the same type and equal.
pub fn same(a: AnyValue<'_>, b: AnyValue<'_>) -> bool {
    match (a, b) {
        (AnyValue::Empty, AnyValue::Empty) => true,
        (AnyValue::Text(a), AnyValue::Text(b)) | (AnyValue::Bytes(a), AnyValue::Bytes(b)) => a == b,
        (AnyValue::Bool(a), AnyValue::Bool(b)) => a == b,
        (AnyValue::Int(a), AnyValue::Int(b)) => a == b,
        (AnyValue::Double(a), AnyValue::Double(b)) => a == b,
        (AnyValue::Array(_), AnyValue::Array(_)) | (AnyValue::Map(_), AnyValue::Map(_)) => {
            as_text(a) == as_text(b)
        }
        _ => false,
    }
}

/// The text that replaces a value: SHA-256 in hexadecimal of a text's bytes, of a number's eight
/// (little-endian), of a truth value's one. Of an empty text and of all other types it is empty,
/// as in the Collector: nothing of them remains.
pub fn hash(value: AnyValue<'_>) -> Vec<u8> {
    let number;
    let bytes: &[u8] = match value {
        AnyValue::Text(text) => text,
        AnyValue::Bool(value) => {
            if value {
                &[1]
            } else {
                &[0]
            }
        }
        AnyValue::Int(value) => {
            number = value.to_le_bytes();
            &number
        }
        AnyValue::Double(value) => {
            number = value.to_le_bytes();
            &number
        }
        _ => &[],
    };
    let mut out = String::new();
    if !bytes.is_empty() {
        for byte in digest(&SHA256, bytes).as_ref() {
            let _ = write!(out, "{byte:02x}");
        }
    }
    text(out.as_bytes())
}

/// What a value is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Int,
    Double,
    Text,
}

/// The converted value; `None` where it stays as it is: of the type already, or a text that is no
/// number, or a list, a map, bytes or nothing, which are no numbers either.
pub fn convert(value: AnyValue<'_>, to: Target) -> Option<Vec<u8>> {
    match (to, value) {
        (Target::Text, AnyValue::Text(_)) => None,
        (Target::Text, value) => Some(text(&as_text(value))),
        (Target::Int, AnyValue::Double(value)) => Some(int(value as i64)),
        (Target::Int, AnyValue::Bool(value)) => Some(int(i64::from(value))),
        (Target::Int, AnyValue::Text(value)) => otlp::text(value).parse().ok().map(int),
        (Target::Double, AnyValue::Int(value)) => Some(double(value as f64)),
        (Target::Double, AnyValue::Bool(value)) => Some(double(f64::from(u8::from(value)))),
        (Target::Double, AnyValue::Text(value)) => otlp::text(value).parse().ok().map(double),
        _ => None,
    }
}
