//! Writing attributes: a `KeyValue` in a field of whatever message carries it.
//!
//! The field number is a parameter, because spans, events, links, records, scopes and resources
//! each hold their attributes in another field. Lengths are computed before anything is written,
//! so nothing is moved afterwards.

use super::fields::{any_value, key_value, list};
use super::wire::{WireType, put_bytes_field, put_message_field, put_tag, put_varint};
use super::wire::{put_fixed64_field, put_varint_field, varint_len};

/// Appends field `number`: an attribute `key` whose value is the encoded `AnyValue` in `value`.
pub fn put_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], value: &[u8]) {
    put_tag(out, number, WireType::Len);
    put_varint(out, (bytes_field_len(key.len()) + bytes_field_len(value.len())) as u64);
    put_bytes_field(out, key_value::KEY, key);
    put_bytes_field(out, key_value::VALUE, value);
}

/// Appends field `number`: an attribute whose value is the text `value`, in UTF-8.
pub fn put_text_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], value: &[u8]) {
    let body = bytes_field_len(value.len());
    put_tag(out, number, WireType::Len);
    put_varint(out, (bytes_field_len(key.len()) + bytes_field_len(body)) as u64);
    put_bytes_field(out, key_value::KEY, key);
    put_tag(out, key_value::VALUE, WireType::Len);
    put_varint(out, body as u64);
    put_text_value(out, value);
}

/// Appends field `number`: an attribute whose value is a whole number.
pub fn put_int_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], value: i64) {
    put_message_field(out, number, |out| {
        put_bytes_field(out, key_value::KEY, key);
        put_message_field(out, key_value::VALUE, |out| {
            put_varint_field(out, any_value::INT, value as u64);
        });
    });
}

/// Appends field `number`: an attribute whose value is a double.
pub fn put_double_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], value: f64) {
    put_message_field(out, number, |out| {
        put_bytes_field(out, key_value::KEY, key);
        put_message_field(out, key_value::VALUE, |out| {
            put_fixed64_field(out, any_value::DOUBLE, value.to_bits());
        });
    });
}

/// Appends field `number`: an attribute whose value is `id` as hexadecimal text.
pub fn put_hex_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], id: &[u8]) {
    put_message_field(out, number, |out| {
        put_bytes_field(out, key_value::KEY, key);
        put_message_field(out, key_value::VALUE, |out| {
            put_message_field(out, any_value::STRING, |out| {
                let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                let digits = id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
                out.extend(digits.map(|digit| digit as u8));
            });
        });
    });
}

/// Appends field `number`: an attribute whose value is an array of texts.
pub fn put_texts_attribute<'a>(
    out: &mut Vec<u8>,
    number: u32,
    key: &[u8],
    values: impl IntoIterator<Item = &'a str>,
) {
    put_message_field(out, number, |out| {
        put_bytes_field(out, key_value::KEY, key);
        put_message_field(out, key_value::VALUE, |out| {
            put_message_field(out, any_value::ARRAY, |out| {
                for value in values {
                    put_message_field(out, list::VALUES, |out| {
                        put_text_value(out, value.as_bytes());
                    });
                }
            });
        });
    });
}

/// Appends the content of an `AnyValue` that is the text `value`.
pub fn put_text_value(out: &mut Vec<u8>, value: &[u8]) {
    put_bytes_field(out, any_value::STRING, value);
}

/// Bytes of a length-delimited field with a number below 16 and `len` bytes of payload.
fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    #[track_caller]
    fn check(key: &str, expected: Value, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = vec![];
        write(&mut out);
        let value = Some(AnyValue { value: Some(expected) });
        let attributes = vec![KeyValue { key: key.into(), value, ..Default::default() }];
        let expected = Resource { attributes, ..Default::default() };
        assert_eq!(Resource::decode(&*out).ok(), Some(expected));
    }

    #[test]
    fn attributes_read_back_as_written() {
        for len in [0, 1, 100, 127, 128, 200, 16_400] {
            let text = "x".repeat(len);
            let value = Value::StringValue(text.clone());
            check(&text, value.clone(), |out| {
                put_text_attribute(out, 1, text.as_bytes(), text.as_bytes());
            });
            let mut encoded = vec![];
            put_text_value(&mut encoded, text.as_bytes());
            check("k", value, |out| put_attribute(out, 1, b"k", &encoded));
        }
        for n in [0, 1, -1, i64::MAX] {
            check("n", Value::IntValue(n), |out| put_int_attribute(out, 1, b"n", n));
        }
        check("d", Value::DoubleValue(0.5), |out| put_double_attribute(out, 1, b"d", 0.5));
        check("h", Value::StringValue("00fa9c".into()), |out| {
            put_hex_attribute(out, 1, b"h", &[0, 0xfa, 0x9c]);
        });
        let text = |t: &str| AnyValue { value: Some(Value::StringValue(t.into())) };
        let values = vec![text("a"), text("")];
        check("l", Value::ArrayValue(ArrayValue { values }), |out| {
            put_texts_attribute(out, 1, b"l", ["a", ""]);
        });
    }
}
