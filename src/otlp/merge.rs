//! Requests in which a singular field occurs twice, brought to the form that everyone writes.
//!
//! Protobuf lets a sender repeat a singular field: the last number or text wins, messages merge,
//! and merging messages is joining their bytes. No exporter is known to do so, so the views
//! behind the door do not have to look for it: such a request is rewritten here, once, and is the
//! only one that does not pass byte for byte. Unknown fields and their order survive.

use super::schema::{ANY_VALUE, Field, Kind, Label, Message};
use super::wire::{self, Value, put_message_field};

/// `bytes`, checked as `message`, with every singular field at most once in each message.
pub fn merge(message: &'static Message, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    write(message, bytes, &mut out);
    out
}

fn write(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    let fields: Vec<wire::Field<'_>> = wire::Message::root(bytes).fields().collect();
    for (k, field) in fields.iter().enumerate() {
        let known = message.field(field.number);
        let later = fields.get(k + 1..).unwrap_or_default();
        let Some(known) = known else {
            out.extend_from_slice(bytes.get(field.at..field.end).unwrap_or_default());
            continue;
        };
        if known.label != Label::Many && later.iter().any(|f| overrides(message, known, f)) {
            continue;
        }
        match (known.kind, field.value) {
            (Kind::Message(child), Value::Len(_)) => {
                let earlier = fields.get(..=k).unwrap_or_default();
                let body = joined(message, known, earlier);
                put_message_field(out, field.number, |out| write(child, &body, out));
            }
            _ => out.extend_from_slice(bytes.get(field.at..field.end).unwrap_or_default()),
        }
    }
}

/// Whether the later field `f` takes the place of the earlier `known`.
fn overrides(message: &'static Message, known: &Field, f: &wire::Field<'_>) -> bool {
    let rival = message.field(f.number);
    let same_oneof = known.label == Label::Oneof
        && rival.is_some_and(|rival| rival.label == Label::Oneof)
        && std::ptr::eq(message, &ANY_VALUE);
    f.number == known.number || same_oneof
}

/// The bytes of the run of occurrences that ends with the last of `fields`.
fn joined(message: &'static Message, known: &Field, fields: &[wire::Field<'_>]) -> Vec<u8> {
    if known.label == Label::Many {
        return fields.last().map(|f| f.bytes().to_vec()).unwrap_or_default();
    }
    let rivals = fields.iter().rev().filter(|f| overrides(message, known, f));
    let run: Vec<_> = rivals.take_while(|f| f.number == known.number).collect();
    run.iter().rev().flat_map(|f| f.bytes().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::TRACES;
    use super::super::wire::{put_bytes_field, put_varint_field};
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use prost::Message as _;

    fn body(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![];
        write(&mut out);
        out
    }

    #[test]
    fn two_resources_in_one_group_become_one() {
        let attribute = |key: &str| {
            body(|out| {
                put_message_field(out, 1, |out| put_bytes_field(out, 1, key.as_bytes()));
            })
        };
        let group = body(|out| {
            put_bytes_field(out, 1, &attribute("a"));
            put_bytes_field(out, 99, b"kept");
            put_bytes_field(out, 1, &attribute("b"));
        });
        let request = body(|out| put_bytes_field(out, 1, &group));
        let merged = merge(&TRACES, &request);
        let decode = |bytes: &[u8]| ExportTraceServiceRequest::decode(bytes).ok();
        assert_eq!(decode(&merged), decode(&request));
        let once = wire::Message::root(&merged).messages(1).next();
        assert_eq!(once.map(|g| g.messages(1).count()), Some(1));
        assert_eq!(once.map(|g| g.messages(99).count()), Some(1));
    }

    #[test]
    fn in_a_value_the_last_member_wins_and_arrays_join() {
        let list = |n: u64| body(|out| put_message_field(out, 1, |o| put_varint_field(o, 3, n)));
        let cases: [Vec<u8>; 3] = [
            body(|out| {
                put_bytes_field(out, 5, &list(1));
                put_bytes_field(out, 5, &list(2));
            }),
            body(|out| {
                put_bytes_field(out, 5, &list(1));
                put_bytes_field(out, 1, b"text");
                put_bytes_field(out, 5, &list(2));
            }),
            body(|out| {
                put_bytes_field(out, 5, &list(1));
                put_bytes_field(out, 1, b"text");
            }),
        ];
        for case in cases {
            let merged = merge(&ANY_VALUE, &case);
            assert_eq!(AnyValue::decode(&*merged).ok(), AnyValue::decode(&*case).ok());
            assert_eq!(wire::Message::root(&merged).fields().count(), 1);
        }
    }
}
