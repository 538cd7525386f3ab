//! Random edits, done twice: as `Edits` of the bytes and by other means.

use crate::source::Source;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use spanloom::otlp::edit::Edits;
use spanloom::otlp::fields::{event, resource, span};
use spanloom::otlp::schema::{self, Kind};
use spanloom::otlp::view::{self, Request};
use spanloom::otlp::wire::{self, put_bytes_field, put_varint, put_varint_field, varint};

/// Edits of `bytes`, and the same edits of `request`, which `bytes` decode to.
pub fn edit_traces(
    source: &mut Source<'_>,
    bytes: &[u8],
    request: &mut ExportTraceServiceRequest,
) -> Edits {
    let mut edits = Edits::default();
    for (group, twin) in Request::new(bytes).resource_groups().zip(&mut request.resource_spans) {
        if let (Some(resource), Some(twin)) = (group.resource(), &mut twin.resource) {
            edit_attributes(
                source,
                &mut edits,
                resource,
                resource::ATTRIBUTES,
                &mut twin.attributes,
            );
        }
        for (scope_group, twin) in group.scope_groups().zip(&mut twin.scope_spans) {
            let mut kept = vec![];
            for (field, twin) in scope_group.item_fields().zip(&mut twin.spans) {
                edit_span(source, &mut edits, field.message().unwrap(), twin);
                kept.push(!source.once_in(6));
                if kept.last() == Some(&false) {
                    edits.remove_item(scope_group.0, &field);
                }
            }
            retain(&mut twin.spans, kept);
        }
    }
    edits
}

fn retain<T>(list: &mut Vec<T>, kept: Vec<bool>) {
    let mut kept = kept.into_iter();
    list.retain(|_| kept.next().unwrap());
}

fn edit_span(source: &mut Source<'_>, edits: &mut Edits, span: wire::Message<'_>, twin: &mut Span) {
    edit_attributes(source, edits, span, span::ATTRIBUTES, &mut twin.attributes);
    let mut kept = vec![];
    for (field, twin) in span.fields().filter(|f| f.number == span::EVENTS).zip(&mut twin.events) {
        let event = field.message().unwrap();
        edit_attributes(source, edits, event, event::ATTRIBUTES, &mut twin.attributes);
        kept.push(!source.once_in(4));
        if kept.last() == Some(&false) {
            edits.remove(span, &field);
        }
    }
    retain(&mut twin.events, kept);
    let mut kept = vec![];
    for field in span.fields().filter(|f| f.number == span::LINKS) {
        kept.push(!source.once_in(4));
        if kept.last() == Some(&false) {
            edits.remove(span, &field);
        }
    }
    retain(&mut twin.links, kept);
    if source.once_in(4) {
        twin.name = source.text();
        set(edits, span, span::NAME, |out| put_bytes_field(out, span::NAME, twin.name.as_bytes()));
    }
    if source.once_in(4) {
        let status = source.status();
        let body = status.encode_to_vec();
        set(edits, span, span::STATUS, |out| put_bytes_field(out, span::STATUS, &body));
        twin.status = Some(status);
    }
    if source.once_in(4) {
        let count = twin.dropped_events_count.wrapping_add(source.number() as u32);
        twin.dropped_events_count = count;
        let number = span::DROPPED_EVENTS_COUNT;
        set(edits, span, number, |out| put_varint_field(out, number, count.into()));
    }
}

/// Replaces the singular field `number`, or appends it.
fn set(
    edits: &mut Edits,
    message: wire::Message<'_>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>),
) {
    match message.field(number) {
        Some(field) => edits.replace(message, &field, write),
        None => edits.append(message, write),
    }
}

fn edit_attributes(
    source: &mut Source<'_>,
    edits: &mut Edits,
    message: wire::Message<'_>,
    number: u32,
    twins: &mut Vec<KeyValue>,
) {
    let mut kept = vec![];
    for (attribute, twin) in view::attributes(message, number).zip(twins.iter_mut()) {
        if let (
            view::AnyValue::Map(map),
            Some(AnyValue { value: Some(Value::KvlistValue(twin)) }),
        ) = (attribute.value, &mut twin.value)
        {
            edit_attributes(source, edits, map, 1, &mut twin.values);
        }
        let choice = source.below(8);
        kept.push(choice != 1);
        match choice {
            1 => edits.remove(message, &attribute.field),
            2 => {
                *twin = source.key_value(2);
                let body = twin.encode_to_vec();
                edits.replace(message, &attribute.field, |out| put_bytes_field(out, number, &body));
            }
            _ => {}
        }
    }
    retain(twins, kept);
    while source.once_in(4) {
        twins.push(source.key_value(2));
        let body = twins.last().unwrap().encode_to_vec();
        edits.append(message, |out| put_bytes_field(out, number, &body));
    }
}

/// One edit, to be told in any order.
enum Step<'a> {
    Put(wire::Message<'a>, wire::Field<'a>, Vec<u8>),
    Append(wire::Message<'a>, Vec<u8>),
}

/// Edits of any field of any message of `bytes`, and the bytes that they must result in.
pub fn edit_anywhere(
    source: &mut Source<'_>,
    message: &'static schema::Message,
    bytes: &[u8],
) -> (Edits, Vec<u8>) {
    let mut steps = vec![];
    let result = walk(source, bytes, message, wire::Message::root(bytes), &mut steps);
    match source.below(3) {
        0 => {}
        1 => steps.sort_by_key(|step| matches!(step, Step::Append(..))),
        _ => steps.sort_by_key(|step| match step {
            Step::Put(_, field, _) => std::cmp::Reverse(field.at),
            Step::Append(message, _) => std::cmp::Reverse(message.start),
        }),
    }
    let mut edits = Edits::default();
    for step in &steps {
        match step {
            Step::Put(message, field, new) if new.is_empty() => edits.remove(*message, field),
            Step::Put(message, field, new) => {
                edits.replace(*message, field, |out| out.extend_from_slice(new));
            }
            Step::Append(message, new) => {
                edits.append(*message, |out| out.extend_from_slice(new));
            }
        }
    }
    (edits, result.unwrap_or_else(|| bytes.to_vec()))
}

/// The edited `message`, if it is edited.
fn walk<'a>(
    source: &mut Source<'_>,
    bytes: &[u8],
    known: &'static schema::Message,
    message: wire::Message<'a>,
    steps: &mut Vec<Step<'a>>,
) -> Option<Vec<u8>> {
    let (mut out, mut changed) = (vec![], false);
    for field in message.fields() {
        let child = match known.field(field.number).map(|f| f.kind) {
            Some(Kind::Message(child)) => {
                walk(source, bytes, child, field.message().unwrap(), steps)
            }
            _ => None,
        };
        let mut new = vec![];
        match source.below(16) {
            1 => steps.push(Step::Put(message, field, vec![])),
            2 => {
                if source.once_in(2) {
                    put_bytes_field(&mut new, 77, b"overridden");
                    steps.push(Step::Put(message, field, std::mem::take(&mut new)));
                }
                put_bytes_field(&mut new, 78, &source.bytes());
                steps.push(Step::Put(message, field, new.clone()));
                out.extend_from_slice(&new);
            }
            _ => {
                match child {
                    Some(body) => {
                        let (_, tag) = varint(bytes, field.at).unwrap();
                        out.extend_from_slice(&bytes[field.at..tag]);
                        put_varint(&mut out, body.len() as u64);
                        out.extend_from_slice(&body);
                        changed = true;
                    }
                    None => out.extend_from_slice(&bytes[field.at..field.end]),
                }
                continue;
            }
        }
        changed = true;
    }
    while source.once_in(16) {
        let mut new = vec![];
        put_bytes_field(&mut new, 79, &source.bytes());
        out.extend_from_slice(&new);
        steps.push(Step::Append(message, new));
        changed = true;
    }
    changed.then_some(out)
}
