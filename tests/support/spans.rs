//! Spans in short: to build requests and to look at what arrived. Ids are numbers, written out
//! as the 16 and 8 bytes that OTLP wants.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

/// A span as it arrived, with the attributes of its resource.
#[derive(Debug, Clone)]
pub struct Seen {
    pub span: Span,
    pub resource: Vec<KeyValue>,
}

impl Seen {
    pub fn all(request: ExportTraceServiceRequest) -> Vec<Seen> {
        let mut all = Vec::new();
        for group in request.resource_spans {
            let resource = group.resource.unwrap_or_default().attributes;
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            all.extend(spans.map(|span| Seen { span, resource: resource.clone() }));
        }
        all
    }

    /// The span id in hexadecimal.
    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// A string attribute. None when it is absent or of another type.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        find(&self.span.attributes, key)
    }

    pub fn has_event(&self, name: &str) -> bool {
        self.span.events.iter().any(|event| event.name == name)
    }
}

pub fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|one| one.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A span with `parent` 0 for a root: `span("chat", 1, 3, 2)` is span 3 of trace 1, child of 2.
pub fn span(name: &str, trace: u128, id: u64, parent: u64) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: name.into(),
        kind: 1,
        start_time_unix_nano: 1_700_000_000_000_000_000 + id,
        end_time_unix_nano: 1_700_000_000_100_000_000 + id,
        ..Span::default()
    }
}

/// The span with attributes more; values by `text`, `flag` and `number`.
pub fn with<const N: usize>(mut span: Span, attributes: [(&str, Value); N]) -> Span {
    span.attributes.extend(attributes.map(|(key, value)| pair(key, value)));
    span
}

/// The span with one event more.
pub fn and_event(mut span: Span, event: Event) -> Span {
    span.events.push(event);
    span
}

pub fn event<const N: usize>(name: &str, attributes: [(&str, Value); N]) -> Event {
    let attributes = attributes.map(|(key, value)| pair(key, value)).to_vec();
    Event {
        name: name.into(),
        time_unix_nano: 1_700_000_000_000_000_001,
        attributes,
        ..Event::default()
    }
}

pub fn text(value: &str) -> Value {
    Value::StringValue(value.into())
}

pub fn flag(value: bool) -> Value {
    Value::BoolValue(value)
}

pub fn number(value: i64) -> Value {
    Value::IntValue(value)
}

pub fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// A request with these spans of one service.
pub fn request(spans: impl IntoIterator<Item = Span>) -> ExportTraceServiceRequest {
    let resource =
        Resource { attributes: vec![pair("service.name", text("agent"))], ..Resource::default() };
    let scope = InstrumentationScope { name: "test".into(), ..InstrumentationScope::default() };
    let scope = ScopeSpans {
        scope: Some(scope),
        spans: spans.into_iter().collect(),
        ..ScopeSpans::default()
    };
    let group = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}
