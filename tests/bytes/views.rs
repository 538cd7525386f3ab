//! What views see, as prost structs: the two must be equal.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use spanloom::otlp::fields::{self, link, log_record, span};
use spanloom::otlp::view::{self, Attribute, ResourceGroup, ScopeGroup};
use spanloom::otlp::wire::{Field, Message};

fn text(bytes: &[u8]) -> String {
    view::text(bytes).to_string()
}

fn string(message: Message<'_>, number: u32) -> String {
    message.field(number).map(|f| text(f.bytes())).unwrap_or_default()
}

fn bytes(message: Message<'_>, number: u32) -> Vec<u8> {
    message.field(number).map(|f| f.bytes().to_vec()).unwrap_or_default()
}

fn number(message: Message<'_>, number: u32) -> u64 {
    message.field(number).map(Field::number_value).unwrap_or_default()
}

pub fn value(value: view::AnyValue<'_>) -> AnyValue {
    AnyValue {
        value: match value {
            view::AnyValue::Empty => None,
            view::AnyValue::Text(t) => Some(Value::StringValue(text(t))),
            view::AnyValue::Bool(b) => Some(Value::BoolValue(b)),
            view::AnyValue::Int(i) => Some(Value::IntValue(i)),
            view::AnyValue::Double(d) => Some(Value::DoubleValue(d)),
            view::AnyValue::Bytes(b) => Some(Value::BytesValue(b.to_vec())),
            view::AnyValue::Array(array) => Some(Value::ArrayValue(ArrayValue {
                values: view::values(array).map(self::value).collect(),
            })),
            view::AnyValue::Map(map) => {
                Some(Value::KvlistValue(KeyValueList { values: attributes(view::members(map)) }))
            }
        },
    }
}

fn attributes<'a>(attributes: impl Iterator<Item = Attribute<'a>>) -> Vec<KeyValue> {
    attributes
        .map(|a| KeyValue { key: text(a.key), value: Some(value(a.value)), ..Default::default() })
        .collect()
}

fn resource(group: ResourceGroup<'_>) -> Option<Resource> {
    let resource = group.resource()?;
    Some(Resource {
        attributes: attributes(group.attributes()),
        dropped_attributes_count: number(resource, fields::resource::DROPPED_ATTRIBUTES_COUNT)
            as u32,
        entity_refs: vec![],
    })
}

fn scope(group: ScopeGroup<'_>) -> Option<InstrumentationScope> {
    let scope = group.scope()?;
    Some(InstrumentationScope {
        name: text(group.name()),
        version: string(scope, fields::scope::VERSION),
        attributes: attributes(group.attributes()),
        dropped_attributes_count: number(scope, fields::scope::DROPPED_ATTRIBUTES_COUNT) as u32,
    })
}

fn event(event: view::Event<'_>) -> Event {
    Event {
        time_unix_nano: event.time(),
        name: text(event.name()),
        attributes: attributes(event.attributes()),
        dropped_attributes_count: number(event.0, fields::event::DROPPED_ATTRIBUTES_COUNT) as u32,
    }
}

fn link(message: Message<'_>) -> Link {
    Link {
        trace_id: bytes(message, link::TRACE_ID),
        span_id: bytes(message, link::SPAN_ID),
        trace_state: string(message, link::TRACE_STATE),
        attributes: attributes(view::attributes(message, link::ATTRIBUTES)),
        dropped_attributes_count: number(message, link::DROPPED_ATTRIBUTES_COUNT) as u32,
        flags: number(message, link::FLAGS) as u32,
    }
}

fn span(span: view::Span<'_>) -> Span {
    Span {
        trace_id: span.trace_id().to_vec(),
        span_id: span.span_id().to_vec(),
        trace_state: text(span.trace_state()),
        parent_span_id: span.parent_span_id().to_vec(),
        flags: span.flags() as u32,
        name: text(span.name()),
        kind: span.kind() as i32,
        start_time_unix_nano: span.start_time(),
        end_time_unix_nano: span.end_time(),
        attributes: attributes(span.attributes()),
        dropped_attributes_count: number(span.0, span::DROPPED_ATTRIBUTES_COUNT) as u32,
        events: span.events().map(event).collect(),
        dropped_events_count: number(span.0, span::DROPPED_EVENTS_COUNT) as u32,
        links: span.links().map(link).collect(),
        dropped_links_count: number(span.0, span::DROPPED_LINKS_COUNT) as u32,
        status: span.0.field(span::STATUS).map(|_| Status {
            message: text(span.status_message()),
            code: span.status_code() as i32,
        }),
    }
}

pub fn traces(request: &[u8]) -> ExportTraceServiceRequest {
    let scope_spans = |group: ScopeGroup<'_>| ScopeSpans {
        scope: scope(group),
        spans: group.spans().map(span).collect(),
        schema_url: string(group.0, fields::scope_group::SCHEMA_URL),
    };
    let resource_spans = |group: ResourceGroup<'_>| ResourceSpans {
        resource: resource(group),
        scope_spans: group.scope_groups().map(scope_spans).collect(),
        schema_url: string(group.0, fields::resource_group::SCHEMA_URL),
    };
    let groups = view::Request::new(request).resource_groups();
    ExportTraceServiceRequest { resource_spans: groups.map(resource_spans).collect() }
}

fn log_record(log: view::LogRecord<'_>) -> LogRecord {
    LogRecord {
        time_unix_nano: log.time(),
        observed_time_unix_nano: number(log.0, log_record::OBSERVED_TIME),
        severity_number: number(log.0, log_record::SEVERITY_NUMBER) as i32,
        severity_text: text(log.severity_text()),
        body: log.0.field(log_record::BODY).map(|_| value(log.body())),
        attributes: attributes(log.attributes()),
        dropped_attributes_count: number(log.0, log_record::DROPPED_ATTRIBUTES_COUNT) as u32,
        flags: number(log.0, log_record::FLAGS) as u32,
        trace_id: log.trace_id().to_vec(),
        span_id: log.span_id().to_vec(),
        event_name: text(log.event_name()),
    }
}

pub fn logs(request: &[u8]) -> ExportLogsServiceRequest {
    let scope_logs = |group: ScopeGroup<'_>| ScopeLogs {
        scope: scope(group),
        log_records: group.log_records().map(log_record).collect(),
        schema_url: string(group.0, fields::scope_group::SCHEMA_URL),
    };
    let resource_logs = |group: ResourceGroup<'_>| ResourceLogs {
        resource: resource(group),
        scope_logs: group.scope_groups().map(scope_logs).collect(),
        schema_url: string(group.0, fields::resource_group::SCHEMA_URL),
    };
    let groups = view::Request::new(request).resource_groups();
    ExportLogsServiceRequest { resource_logs: groups.map(resource_logs).collect() }
}
