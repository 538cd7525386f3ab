//! Requests in which a singular field occurs twice, brought to the form that everyone writes.
//!
//! Protobuf lets a sender repeat a singular field: the last number or text wins, messages merge,
//! and merging messages is joining their bytes. No exporter is known to do so, so the views
//! behind the door do not have to look for it: such a request is rewritten here, once, and is the
//! only one that does not pass byte for byte. Unknown fields and their order survive.

use super::schema::{Field, Kind, Label, Message};
use super::wire::{self, begin_message, end_message};

/// `bytes`, checked as `message`, with every singular field at most once in each message.
pub fn merge(message: &'static Message, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    write(message, &[bytes], &mut out);
    out
}

/// Appends the message whose bytes are `runs` in a row. Fields do not cross runs. Nothing is
/// remembered per field, for there may be one in two bytes; runs are messages, which are bounded.
fn write(message: &'static Message, runs: &[&[u8]], out: &mut Vec<u8>) {
    let fields =
        || runs.iter().flat_map(|run| wire::Message::root(run).fields().map(|f| (*run, f)));
    let mut occurrences = [0usize; SLOTS];
    for (_, field) in fields() {
        if let Some(count) = slot(message, field.number).and_then(|s| occurrences.get_mut(s)) {
            *count += 1;
        }
    }
    let mut left = occurrences;
    for (run, field) in fields() {
        let slot = slot(message, field.number);
        if let Some(left) = slot.and_then(|s| left.get_mut(s)) {
            *left -= 1;
            if *left > 0 {
                continue;
            }
        }
        match message.field(field.number) {
            Some(Field { kind: Kind::Message(child), .. }) => {
                let start = begin_message(out, field.number);
                if slot.and_then(|s| occurrences.get(s)).is_some_and(|count| *count > 1) {
                    write(child, &joined(message, field.number, fields().map(|(_, f)| f)), out);
                } else {
                    write(child, &[field.bytes()], out);
                }
                end_message(out, start);
            }
            _ => out.extend_from_slice(run.get(field.at..field.end).unwrap_or_default()),
        }
    }
}

/// Singular fields have numbers below this.
const SLOTS: usize = 64;

/// Where occurrences of the singular field `number` are counted: together with those that it
/// excludes. No message has two oneofs, so they share slot 0. `None` for other fields.
fn slot(message: &'static Message, number: u32) -> Option<usize> {
    match message.field(number)?.label {
        Label::Many => None,
        Label::Oneof => Some(0),
        Label::One | Label::Optional => Some(number as usize),
    }
}

/// The payloads that make up the singular message `number`: all, but in a oneof only those since
/// another member was set.
fn joined<'a>(
    message: &'static Message,
    number: u32,
    fields: impl Iterator<Item = wire::Field<'a>>,
) -> Vec<&'a [u8]> {
    let mut runs = vec![];
    for field in fields.filter(|f| slot(message, f.number) == slot(message, number)) {
        if field.number == number {
            runs.push(field.bytes());
        } else {
            runs.clear();
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::super::schema::{ANY_VALUE, TRACES};
    use super::super::wire::{put_bytes_field, put_message_field, put_varint_field};
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
