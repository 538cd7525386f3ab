//! Every place where an attribute can stand, every form that a value can have, and every way to
//! read what arrived.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope};
use opentelemetry_proto::tonic::common::v1::{KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};
use serde_json::json;

pub use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::spans::{number as int, pair, text};

/// Where attributes stand, in all three signals.
pub const PLACES: [&str; 22] = [
    "span",
    "event",
    "link",
    "scope",
    "resource",
    "map on a span",
    "record",
    "body",
    "scope of records",
    "resource of records",
    "gauge",
    "sum",
    "histogram",
    "exponential histogram",
    "summary",
    "exemplar of gauge",
    "exemplar of sum",
    "exemplar of histogram",
    "exemplar of exponential histogram",
    "scope of metrics",
    "resource of metrics",
    "map on a gauge",
];

/// What a value can be; a text first.
pub const FORMS: [&str; 8] =
    ["text", "bytes", "array", "map", "json", "json in json", "escaped", "base64"];

/// Attributes that each span and record has beside what is planted.
pub const KEPT_HERE: usize = 5;

pub fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// `canary` in one of the forms.
pub fn form(name: &str, canary: &str) -> AnyValue {
    let parts = json!([{"type": "text", "content": canary}]);
    let json = json!([{"role": "user", "content": canary, "parts": parts}]).to_string();
    let map = |key: &str, value: AnyValue| {
        let pair = KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() };
        any(Value::KvlistValue(KeyValueList { values: vec![pair] }))
    };
    match name {
        "text" => any(text(canary)),
        "bytes" => any(Value::BytesValue(canary.into())),
        "array" => {
            let values = vec![any(text(canary)), any(text("x"))];
            any(Value::ArrayValue(ArrayValue { values }))
        }
        "map" => map("in", map("k", any(text(canary)))),
        "json" => any(text(&json)),
        "json in json" => any(text(&json!({ "messages": json }).to_string())),
        "escaped" => {
            let escaped: String = canary.encode_utf16().map(|u| format!("\\u{u:04x}")).collect();
            any(text(&json.replace(canary, &escaped)))
        }
        _ => any(text(&STANDARD_NO_PAD.encode(canary))),
    }
}

/// One resource with what is planted in it.
#[derive(Clone)]
pub enum Planted {
    Span(ResourceSpans),
    Record(ResourceLogs),
    Metric(ResourceMetrics),
}

impl Planted {
    pub fn span(span: Span) -> Planted {
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        Planted::Span(ResourceSpans { scope_spans, ..ResourceSpans::default() })
    }

    pub fn record(record: LogRecord) -> Planted {
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        Planted::Record(ResourceLogs { scope_logs, ..ResourceLogs::default() })
    }

    fn metric(data: Data) -> Planted {
        let metrics = vec![Metric { name: "m".into(), data: Some(data), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        Planted::Metric(ResourceMetrics { scope_metrics, ..ResourceMetrics::default() })
    }

    pub fn spans(self) -> Option<ResourceSpans> {
        if let Planted::Span(spans) = self { Some(spans) } else { None }
    }

    pub fn logs(self) -> Option<ResourceLogs> {
        if let Planted::Record(logs) = self { Some(logs) } else { None }
    }

    pub fn metrics(self) -> Option<ResourceMetrics> {
        if let Planted::Metric(metrics) = self { Some(metrics) } else { None }
    }

    fn resource(&mut self) -> &mut Resource {
        let resource = match self {
            Planted::Span(group) => &mut group.resource,
            Planted::Record(group) => &mut group.resource,
            Planted::Metric(group) => &mut group.resource,
        };
        resource.get_or_insert_default()
    }

    fn scope(&mut self) -> &mut InstrumentationScope {
        let scope = match self {
            Planted::Span(group) => &mut group.scope_spans[0].scope,
            Planted::Record(group) => &mut group.scope_logs[0].scope,
            Planted::Metric(group) => &mut group.scope_metrics[0].scope,
        };
        scope.get_or_insert_default()
    }

    /// Puts an attribute on the resource or the scope.
    pub fn mark(&mut self, above: &str, own: KeyValue) {
        match above {
            "resource" => self.resource().attributes.push(own),
            _ => self.scope().attributes.push(own),
        }
    }

    pub fn name_scope(&mut self, name: &str) {
        self.scope().name = name.into();
    }
}

/// Case `n` with `own` at one of [`PLACES`].
pub fn at(place: &str, n: usize, own: KeyValue) -> Planted {
    let (head, tail) = place.split_once(" of ").unwrap_or((place, ""));
    let in_map = |own: KeyValue| pair("k", Value::KvlistValue(KeyValueList { values: vec![own] }));
    match (head, tail) {
        ("span", _) => Planted::span(own_span(n, vec![own])),
        ("map on a span", _) => Planted::span(own_span(n, vec![in_map(own)])),
        ("event", _) => {
            let event = Event { name: "e".into(), attributes: vec![own], ..Event::default() };
            Planted::span(Span { events: vec![event], ..own_span(n, vec![]) })
        }
        ("link", _) => {
            let link = Link { attributes: vec![own], ..Link::default() };
            Planted::span(Span { links: vec![link], ..own_span(n, vec![]) })
        }
        ("record", _) => Planted::record(own_record(n, vec![own])),
        ("body", _) => {
            let body = Some(any(Value::KvlistValue(KeyValueList { values: vec![own] })));
            Planted::record(LogRecord { body, ..own_record(n, vec![]) })
        }
        ("scope" | "resource", signal) => {
            let mut planted = match signal {
                "" => Planted::span(own_span(n, vec![])),
                "records" => Planted::record(own_record(n, vec![])),
                _ => Planted::metric(data("gauge", vec![], vec![])),
            };
            planted.mark(head, own);
            planted
        }
        ("exemplar", kind) => Planted::metric(data(kind, vec![], vec![own])),
        ("map on a gauge", _) => Planted::metric(data("gauge", vec![in_map(own)], vec![])),
        (kind, _) => Planted::metric(data(kind, vec![own], vec![])),
    }
}

/// A point of the kind with these attributes and those of an exemplar.
fn data(kind: &str, attributes: Vec<KeyValue>, filtered_attributes: Vec<KeyValue>) -> Data {
    let exemplars = match filtered_attributes.is_empty() {
        true => vec![],
        false => vec![Exemplar { filtered_attributes, ..Exemplar::default() }],
    };
    let number = || NumberDataPoint {
        attributes: attributes.clone(),
        exemplars: exemplars.clone(),
        ..NumberDataPoint::default()
    };
    match kind {
        "gauge" => Data::Gauge(Gauge { data_points: vec![number()] }),
        "sum" => Data::Sum(Sum { data_points: vec![number()], ..Sum::default() }),
        "histogram" => {
            let point = HistogramDataPoint { attributes, exemplars, ..Default::default() };
            Data::Histogram(Histogram { data_points: vec![point], ..Histogram::default() })
        }
        "exponential histogram" => {
            let point =
                ExponentialHistogramDataPoint { attributes, exemplars, ..Default::default() };
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![point],
                ..ExponentialHistogram::default()
            })
        }
        "summary" => {
            let point = SummaryDataPoint { attributes, ..SummaryDataPoint::default() };
            Data::Summary(Summary { data_points: vec![point] })
        }
        other => panic!("no kind of metric: {other}"),
    }
}

/// What each span and record has beside what is planted.
pub fn kept() -> Vec<KeyValue> {
    vec![
        pair("gen_ai.operation.name", text("chat")),
        pair("gen_ai.request.model", text("gpt-4o")),
        pair("gen_ai.usage.input_tokens", int(420)),
        pair("gen_ai.tool.name", text("get_weather")),
        pair("gen_ai.input.messages_ref", text("s3://bucket/in.json")),
    ]
}

/// The span of case `n`, which says its number in its trace id.
pub fn own_span(n: usize, own: Vec<KeyValue>) -> Span {
    Span {
        trace_id: (1 + n as u128).to_be_bytes().to_vec(),
        span_id: vec![8; 8],
        parent_span_id: vec![9; 8],
        name: "chat gpt-4o".into(),
        kind: 3,
        start_time_unix_nano: 1_780_000_000_000_000_000,
        end_time_unix_nano: 1_780_000_000_900_000_000,
        attributes: [kept(), own].concat(),
        status: Some(Status { code: 2, message: String::new() }),
        ..Span::default()
    }
}

pub fn own_record(n: usize, own: Vec<KeyValue>) -> LogRecord {
    LogRecord {
        time_unix_nano: 1_780_000_000_000_000_000,
        trace_id: (1 + n as u128).to_be_bytes().to_vec(),
        span_id: vec![8; 8],
        attributes: [kept(), own].concat(),
        ..LogRecord::default()
    }
}

/// The case that a trace id is about.
pub fn number(trace_id: &[u8]) -> Option<usize> {
    let id = u128::from_be_bytes(trace_id.try_into().ok()?);
    usize::try_from(id).ok()?.checked_sub(1)
}

/// Asserts that `span` of case `n` is what it was but for what was planted.
#[track_caller]
pub fn check_kept(what: &str, n: usize, span: &Span) {
    let whole = own_span(n, vec![]);
    assert_eq!(span.trace_id, whole.trace_id, "{what}");
    assert_eq!(span.span_id, whole.span_id, "{what}");
    assert_eq!(span.parent_span_id, whole.parent_span_id, "{what}");
    assert_eq!((&span.name, span.kind), (&whole.name, whole.kind), "{what}");
    assert_eq!(span.start_time_unix_nano, whole.start_time_unix_nano, "{what}");
    assert_eq!(span.end_time_unix_nano, whole.end_time_unix_nano, "{what}");
    assert_eq!(span.status.as_ref().map(|status| status.code), Some(2), "{what}");
    assert_eq!(span.attributes[..KEPT_HERE], whole.attributes, "{what}");
}

/// `bytes` as text: raw, without JSON's escapes once, twice and three times, and what words of
/// base64 in any of these say.
pub fn readings(bytes: &[u8]) -> Vec<String> {
    let mut all = vec![String::from_utf8_lossy(bytes).into_owned()];
    for _ in 0..3 {
        let unescaped = unescape(all.last().expect("one at least"));
        all.push(unescaped);
    }
    let is_between = |c: char| !c.is_ascii_alphanumeric() && !"+/-_".contains(c);
    let mut decoded = vec![];
    for text in &all {
        for word in text.split(is_between).filter(|word| word.len() >= 12) {
            // A byte before it, as a length is, may look like a letter.
            for from in 0..4 {
                let word = &word[from..];
                for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    let whole = &word[..word.len() - word.len() % 4];
                    let bytes = engine.decode(word).or_else(|_| engine.decode(whole));
                    decoded.extend(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
        }
    }
    all.push(decoded.join("\n"));
    all
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        let code = rest.strip_prefix('u').and_then(|hex| hex.get(..4));
        let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if let Some(character) = code.and_then(char::from_u32) {
            out.push(character);
            rest = &rest[5..];
        }
    }
    out + rest
}

/// The number of a case whose canary can be read in `bytes`.
pub fn leaked(bytes: &[u8]) -> Option<usize> {
    let readings = readings(bytes);
    let (text, at) = readings.iter().find_map(|text| Some((text, text.find("CANARY")?)))?;
    let digits = text.get(at + 6..at + 11).unwrap_or_default();
    Some(digits.parse().unwrap_or(usize::MAX))
}
