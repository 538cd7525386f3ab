//! A status as the bytes of `proto/spanloom/status/v1/status.proto`.
//!
//! Written by hand on the walk that OTLP is read by: five messages do not need a library. A test
//! reads what is written here by the .proto alone.

use super::{Component, Pipeline, Status};
use crate::otlp::wire::{self, Field, Message};
use crate::otlp::wire::{put_bytes_field, put_fixed64_field, put_message_field, put_varint_field};
use crate::telemetry::{Finding, Kind, Series};

/// Bytes being written: proto3 leaves out what is empty or zero.
type Out = Vec<u8>;

/// The status as a `GetStatusResponse`.
pub fn encode(status: &Status) -> Vec<u8> {
    let mut out = vec![];
    put_text(&mut out, 1, &status.version);
    put_time(&mut out, 2, status.started);
    put_time(&mut out, 3, status.time);
    if status.ready {
        put_varint_field(&mut out, 4, 1);
    }
    for pipeline in &status.graph.pipelines {
        put_message_field(&mut out, 5, |out| put_pipeline(out, pipeline));
    }
    for component in &status.graph.components {
        put_message_field(&mut out, 6, |out| {
            put_text(out, 1, &component.class);
            put_text(out, 2, &component.id);
            put_text(out, 3, &component.kind);
            put_all_series(out, 4, &component.series);
        });
    }
    put_all_series(&mut out, 7, &status.series);
    for finding in &status.findings {
        put_message_field(&mut out, 8, |out| {
            put_time(out, 1, finding.time);
            put_text(out, 2, &finding.processor);
            put_text(out, 3, &finding.signature);
            put_text(out, 4, &finding.service);
            put_text(out, 5, &finding.span);
            if !finding.trace_id.is_empty() {
                put_bytes_field(out, 6, &finding.trace_id);
            }
        });
    }
    out
}

fn put_pipeline(out: &mut Out, pipeline: &Pipeline) {
    put_text(out, 1, &pipeline.id);
    put_text(out, 2, &pipeline.signal);
    for (number, ids) in
        [(3, &pipeline.receivers), (4, &pipeline.processors), (5, &pipeline.exporters)]
    {
        ids.iter().for_each(|id| put_bytes_field(out, number, id.as_bytes()));
    }
}

fn put_all_series(out: &mut Out, number: u32, all: &[Series]) {
    for series in all {
        put_message_field(out, number, |out| {
            put_text(out, 1, &series.name);
            for (name, value) in &series.labels {
                put_message_field(out, 2, |out| {
                    put_text(out, 1, name);
                    put_text(out, 2, value);
                });
            }
            put_varint_field(out, 3, if series.kind == Kind::Counter { 1 } else { 2 });
            if series.value != 0 {
                put_varint_field(out, 4, series.value as u64);
            }
        });
    }
}

fn put_text(out: &mut Out, number: u32, text: &str) {
    if !text.is_empty() {
        put_bytes_field(out, number, text.as_bytes());
    }
}

fn put_time(out: &mut Out, number: u32, nanos: u64) {
    if nanos != 0 {
        put_fixed64_field(out, number, nanos);
    }
}

/// Reads a `GetStatusResponse`. Fields of later versions are passed over; what is broken reads as
/// absent.
pub fn decode(bytes: &[u8]) -> Status {
    let mut status = Status::default();
    for field in Message::root(bytes).fields() {
        match field.number {
            1 => status.version = text(field),
            2 => status.started = field.number_value(),
            3 => status.time = field.number_value(),
            4 => status.ready = field.number_value() != 0,
            5 => status.graph.pipelines.extend(field.message().map(pipeline)),
            6 => status.graph.components.extend(field.message().map(component)),
            7 => status.series.extend(field.message().map(series)),
            8 => status.findings.extend(field.message().map(finding)),
            _ => {}
        }
    }
    status
}

fn text(field: Field<'_>) -> String {
    String::from_utf8_lossy(field.bytes()).into_owned()
}

fn pipeline(message: wire::Message<'_>) -> Pipeline {
    let mut pipeline = Pipeline::default();
    for field in message.fields() {
        match field.number {
            1 => pipeline.id = text(field),
            2 => pipeline.signal = text(field),
            3 => pipeline.receivers.push(text(field)),
            4 => pipeline.processors.push(text(field)),
            5 => pipeline.exporters.push(text(field)),
            _ => {}
        }
    }
    pipeline
}

fn component(message: wire::Message<'_>) -> Component {
    let mut component = Component::default();
    for field in message.fields() {
        match field.number {
            1 => component.class = text(field),
            2 => component.id = text(field),
            3 => component.kind = text(field),
            4 => component.series.extend(field.message().map(series)),
            _ => {}
        }
    }
    component
}

fn series(message: wire::Message<'_>) -> Series {
    let (name, labels) = (String::new(), vec![]);
    let mut series = Series { name, labels, kind: Kind::Gauge, value: 0 };
    for field in message.fields() {
        match field.number {
            1 => series.name = text(field),
            2 => {
                let part = |number| {
                    let entry = field.message().and_then(|entry| entry.field(number));
                    entry.map(text).unwrap_or_default()
                };
                series.labels.push((part(1), part(2)));
            }
            3 if field.number_value() == 1 => series.kind = Kind::Counter,
            4 => series.value = field.number_value() as i64,
            _ => {}
        }
    }
    series
}

fn finding(message: wire::Message<'_>) -> Finding {
    let mut finding = Finding::default();
    for field in message.fields() {
        match field.number {
            1 => finding.time = field.number_value(),
            2 => finding.processor = text(field),
            3 => finding.signature = text(field),
            4 => finding.service = text(field),
            5 => finding.span = text(field),
            6 => finding.trace_id = field.bytes().to_vec(),
            _ => {}
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::Graph;
    use super::*;

    /// A status in which every field holds something of its own.
    fn full() -> Status {
        let texts = |text: &str| vec![text.to_owned(), format!("{text}/2")];
        let series = |name: &str, kind, value| {
            let labels = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
            Series { name: name.to_owned(), labels, kind, value }
        };
        Status {
            version: "1.2.3".to_owned(),
            started: 1,
            time: u64::MAX,
            ready: true,
            graph: Graph {
                pipelines: vec![Pipeline {
                    id: "traces/a".to_owned(),
                    signal: "traces".to_owned(),
                    receivers: texts("r"),
                    processors: texts("p"),
                    exporters: texts("e"),
                }],
                components: vec![Component {
                    class: "exporter".to_owned(),
                    id: "debug/a".to_owned(),
                    kind: "debug".to_owned(),
                    series: vec![series("sent", Kind::Counter, 1 << 40)],
                }],
            },
            series: vec![series("size", Kind::Gauge, -1)],
            findings: vec![Finding {
                time: 7,
                processor: "orphans".to_owned(),
                signature: "tool_call_root".to_owned(),
                service: "tools".to_owned(),
                span: "execute_tool ä".to_owned(),
                trace_id: vec![9; 16],
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for status in [Status::default(), full()] {
            assert_eq!(decode(&encode(&status)), status);
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_read_without_a_panic() {
        let bytes = encode(&full());
        for end in 0..bytes.len() {
            decode(&bytes[..end]);
        }
    }
}
