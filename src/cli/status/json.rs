//! A status as JSON: the fields of the API by their names, numbers as numbers.

use crate::status::{Component, Pipeline, Status};
use crate::telemetry::{Finding, Kind, Series};
use serde_json::{Map, Value, json};

pub fn json(status: &Status) -> Value {
    json!({
        "version": status.version,
        "start_time_unix_nano": status.started,
        "time_unix_nano": status.time,
        "ready": status.ready,
        "pipelines": status.graph.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
        "components": status.graph.components.iter().map(component).collect::<Vec<_>>(),
        "metrics": status.series.iter().map(metric).collect::<Vec<_>>(),
        "findings": status.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn pipeline(pipeline: &Pipeline) -> Value {
    json!({
        "id": pipeline.id,
        "signal": pipeline.signal,
        "receivers": pipeline.receivers,
        "processors": pipeline.processors,
        "exporters": pipeline.exporters,
    })
}

fn component(component: &Component) -> Value {
    json!({
        "class": component.class,
        "id": component.id,
        "type": component.kind,
        "metrics": component.series.iter().map(metric).collect::<Vec<_>>(),
    })
}

fn metric(series: &Series) -> Value {
    let labels = series.labels.iter().map(|(name, value)| (name.clone(), json!(value)));
    json!({
        "name": series.name,
        "labels": labels.collect::<Map<String, Value>>(),
        "kind": if series.kind == Kind::Counter { "counter" } else { "gauge" },
        "value": series.value,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "time_unix_nano": finding.time,
        "processor": finding.processor,
        "signature": finding.signature,
        "service": finding.service,
        "span_name": finding.span,
        "trace_id": hex(&finding.trace_id),
    })
}

/// Bytes in hexadecimal, as trace ids are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
