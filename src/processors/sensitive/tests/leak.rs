//! The leak test: a canary in every place where text can stand, in every dialect, and none of them
//! in what passes, however it is written or read; and what must stay is there.

use super::super::names;
use crate::batch::Signal;
use crate::otlp::json::{from_json, to_json};
use crate::processors::tests::Bench;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastrand::Rng;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope};
use opentelemetry_proto::tonic::common::v1::{KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use std::time::{Duration, Instant};

const CANARY: &str = "CANARY-7f3a";

/// A secret of a known form, for the places where no name tells of content.
const SECRET: &str = "canary.7f3a@example.com";

/// What a place holds, by the form of its value.
const FORMS: [&str; 6] = ["text", "bytes", "array", "map", "json", "json in json"];

/// Names of what must stay, whatever the dialect.
const KEPT: [&str; 12] = [
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.response.finish_reasons",
    "gen_ai.tool.name",
    "gen_ai.conversation.id",
    "gen_ai.input.messages_ref",
    "llm.token_count.prompt",
    "ai.usage.promptTokens",
    "langfuse.observation.type",
    "session.id",
    "service.name",
];

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    any(Value::StringValue(text.into()))
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..Default::default() }
}

/// `canary` in one of the forms.
fn form(name: &str, canary: &str) -> AnyValue {
    let json = format!(r#"[{{"role":"user","parts":[{{"type":"text","content":"{canary}"}}]}}]"#);
    match name {
        "text" => text(canary),
        "bytes" => any(Value::BytesValue(canary.into())),
        "array" => any(Value::ArrayValue(ArrayValue { values: vec![text(canary), text("x")] })),
        "map" => {
            let inner =
                any(Value::KvlistValue(KeyValueList { values: vec![pair("k", text(canary))] }));
            any(Value::KvlistValue(KeyValueList { values: vec![pair("in", inner)] }))
        }
        "json" => text(&json),
        _ => text(&serde_json::json!({ "messages": json }).to_string()),
    }
}

fn kept() -> Vec<KeyValue> {
    KEPT.iter().map(|key| pair(key, text("kept"))).collect()
}

/// A span in which `own` stand beside what must stay.
fn span(own: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        parent_span_id: vec![9; 8],
        name: "chat gpt-4o".into(),
        kind: 3,
        start_time_unix_nano: 1_780_000_000_000_000_000,
        end_time_unix_nano: 1_780_000_000_900_000_000,
        attributes: [kept(), own].concat(),
        status: Some(Status { code: 2, message: String::new() }),
        ..Default::default()
    }
}

fn request(resource: Vec<KeyValue>, scope: Vec<KeyValue>, span: Span) -> Bytes {
    let scope = InstrumentationScope { name: "s".into(), attributes: scope, ..Default::default() };
    let spans = ScopeSpans { scope: Some(scope), spans: vec![span], ..Default::default() };
    let resource = Resource { attributes: resource, ..Default::default() };
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![spans],
        ..Default::default()
    }];
    Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

fn logs(record: LogRecord) -> Bytes {
    let logs = ScopeLogs { log_records: vec![record], ..Default::default() };
    let resource_logs = vec![ResourceLogs { scope_logs: vec![logs], ..Default::default() }];
    Bytes::from(ExportLogsServiceRequest { resource_logs }.encode_to_vec())
}

/// Every request with a canary in one attribute, at each place where attributes stand.
fn places(own: KeyValue) -> Vec<(&'static str, Signal, Bytes)> {
    let at = vec![own];
    let event =
        |name: &str| Event { name: name.to_string(), attributes: at.clone(), ..Default::default() };
    let link = Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: at.clone(),
        ..Default::default()
    };
    let map = any(Value::KvlistValue(KeyValueList { values: at.clone() }));
    let record = LogRecord { attributes: at.clone(), ..Default::default() };
    let body = LogRecord { body: Some(map.clone()), ..Default::default() };
    let traces = Signal::Traces;
    vec![
        ("span", traces, request(vec![], vec![], span(at.clone()))),
        (
            "event",
            traces,
            request(vec![], vec![], Span { events: vec![event("e")], ..span(vec![]) }),
        ),
        ("link", traces, request(vec![], vec![], Span { links: vec![link], ..span(vec![]) })),
        ("scope", traces, request(vec![], at.clone(), span(vec![]))),
        ("resource", traces, request(at.clone(), vec![], span(vec![]))),
        ("member of a map", traces, request(vec![], vec![], span(vec![pair("k", map)]))),
        ("record", Signal::Logs, logs(record)),
        ("body", Signal::Logs, logs(body)),
    ]
}

/// Whether `bytes` hold the canary: raw, within JSON's escapes, or in base64.
fn leaks(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let unescaped = text.replace('\\', "");
    let holds = |text: &str| text.contains("CANARY") || text.contains("canary.");
    let is_base64 = |c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c);
    let words = text.split(is_base64).filter(|word| word.len() >= 8);
    let decoded = words.filter_map(|word| STANDARD.decode(word).ok());
    holds(&text)
        || holds(&unescaped)
        || decoded.into_iter().any(|d| holds(&String::from_utf8_lossy(&d)))
}

/// Passes the request through the default, as protobuf and as JSON, and asserts that no canary is
/// left and that everything else is.
#[track_caller]
fn check(what: &str, signal: Signal, bytes: Bytes) {
    assert!(leaks(&bytes), "{what}: there is a canary to begin with");
    let json = to_json(signal.message(), &bytes);
    let from = from_json(signal.message(), &json, &crate::limits::REQUEST);
    let from = from.unwrap_or_else(|_| panic!("{what}: the JSON is read"));
    for bytes in [bytes, Bytes::from(from)] {
        let passed = Bench::new(signal, "sensitive", "{}").pass(bytes);
        let json = to_json(signal.message(), &passed);
        assert!(!leaks(&passed) && !leaks(&json), "{what}: {}", String::from_utf8_lossy(&json));
        if signal == Signal::Traces {
            let request = ExportTraceServiceRequest::decode(passed).unwrap();
            let left = &request.resource_spans[0].scope_spans[0].spans[0];
            let whole = span(vec![]);
            assert_eq!(left.trace_id, whole.trace_id);
            assert_eq!(
                (&left.span_id, &left.parent_span_id),
                (&whole.span_id, &whole.parent_span_id)
            );
            assert_eq!((&left.name, left.kind), (&whole.name, whole.kind));
            assert_eq!(left.start_time_unix_nano, whole.start_time_unix_nano);
            assert_eq!(left.end_time_unix_nano, whole.end_time_unix_nano);
            assert_eq!(left.status.as_ref().map(|status| status.code), Some(2));
            assert_eq!(left.attributes[..KEPT.len()], kept(), "{what}");
        }
    }
}

#[test]
fn no_content_leaves_by_name_in_any_dialect_at_any_place() {
    let mut cases = 0;
    for key in names::examples() {
        for (k, name) in FORMS.iter().enumerate() {
            // Each name at each place, and each in each form on the span.
            for (place, signal, bytes) in places(pair(&key, form(name, CANARY))) {
                if *name == "text" || place == "span" || k % 8 == cases % 8 {
                    check(&format!("{key} as {name} on {place}"), signal, bytes);
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} cases");
    assert!(cases >= 400);
}

#[test]
fn no_event_or_record_of_content_leaves() {
    for name in names::event_examples() {
        for form_name in FORMS {
            let own = vec![pair("anything", form(form_name, CANARY))];
            let event = Event { name: name.to_string(), attributes: own, ..Default::default() };
            let bytes = request(vec![], vec![], Span { events: vec![event], ..span(vec![]) });
            check(&format!("event {name}"), Signal::Traces, bytes);
            let body = Some(form(form_name, CANARY));
            let event_name = name.to_string();
            let by_field = LogRecord { event_name, body: body.clone(), ..Default::default() };
            check(&format!("record {name}"), Signal::Logs, logs(by_field));
            let attributes = vec![pair("event.name", text(name))];
            let by_attribute = LogRecord { attributes, body, ..Default::default() };
            check(&format!("record {name} by attribute"), Signal::Logs, logs(by_attribute));
        }
    }
}

#[test]
fn nothing_marked_leaves() {
    let mark = || pair("sensitive", any(Value::BoolValue(true)));
    for form_name in FORMS {
        let own = || pair("anything", form(form_name, CANARY));
        for (place, signal, bytes) in places(own()).into_iter().take(3) {
            // The mark stands on the span, the scope or the resource.
            let request = ExportTraceServiceRequest::decode(bytes).unwrap();
            for level in 0..3 {
                let mut request = request.clone();
                let resource = &mut request.resource_spans[0];
                match level {
                    0 => resource.resource.as_mut().unwrap().attributes.push(mark()),
                    1 => resource.scope_spans[0].scope.as_mut().unwrap().attributes.push(mark()),
                    _ => resource.scope_spans[0].spans[0].attributes.push(mark()),
                }
                let what = format!("{form_name} on {place}, marked at {level}");
                check(&what, signal, Bytes::from(request.encode_to_vec()));
            }
        }
        let event =
            Event { name: "e".into(), attributes: vec![own(), mark()], ..Default::default() };
        let bytes = request(vec![], vec![], Span { events: vec![event], ..span(vec![]) });
        check("a marked event", Signal::Traces, bytes);
        let body = Some(form(form_name, CANARY));
        let record = LogRecord { attributes: vec![own(), mark()], body, ..Default::default() };
        check("a marked record", Signal::Logs, logs(record));
    }
}

#[test]
fn no_text_of_an_error_leaves() {
    for said in
        [CANARY, "ValueError: CANARY", "Traceback (most recent call last):\nE: CANARY\n CANARY"]
    {
        let status = Some(Status { code: 2, message: said.into() });
        check("status", Signal::Traces, request(vec![], vec![], Span { status, ..span(vec![]) }));
        for key in ["exception.message", "exception.stacktrace", "error.message"] {
            for (place, signal, bytes) in places(pair(key, text(said))) {
                check(&format!("{key} on {place}"), signal, bytes);
            }
        }
    }
}

#[test]
fn no_secret_of_a_known_form_leaves() {
    for form_name in FORMS {
        for (place, signal, bytes) in places(pair("anything", form(form_name, SECRET))) {
            check(&format!("{form_name} on {place}"), signal, bytes);
        }
        let body = Some(form(form_name, SECRET));
        check("a body", Signal::Logs, logs(LogRecord { body, ..Default::default() }));
    }
    let event = Event { name: format!("to {SECRET}"), ..Default::default() };
    let link = Link { trace_state: format!("a={SECRET}"), ..Default::default() };
    check(
        "an event's name",
        Signal::Traces,
        request(vec![], vec![], Span { events: vec![event], ..span(vec![]) }),
    );
    check(
        "a link's state",
        Signal::Traces,
        request(vec![], vec![], Span { links: vec![link], ..span(vec![]) }),
    );
    let trace_state = format!("a={SECRET}");
    check(
        "a trace state",
        Signal::Traces,
        request(vec![], vec![], Span { trace_state, ..span(vec![]) }),
    );
}

/// A random JSON value with the canary below a name of content somewhere in it, and with secrets
/// anywhere else.
fn random_json(rng: &mut Rng, depth: usize, hidden: bool) -> serde_json::Value {
    use serde_json::{Value, json};
    let names = ["input.value", "gen_ai.prompt", "password", "x.headers", "gen_ai.completion.0"];
    let plain = ["a", "é\"\\", "nested", "0", ""];
    match rng.usize(0..if depth == 0 { 3 } else { 8 }) {
        0 if hidden => Value::from(CANARY),
        0 => Value::from(SECRET),
        1 => Value::from(rng.i64(..)),
        2 => Value::from("\u{1f980}\n\t\\ \"quoted\" {["),
        3 => (0..rng.usize(0..4)).map(|_| random_json(rng, depth - 1, hidden)).collect(),
        4 | 5 => {
            let count = rng.usize(0..4);
            let member = |rng: &mut Rng| {
                let hides = rng.bool();
                let name = if hides { names[rng.usize(0..5)] } else { plain[rng.usize(0..5)] };
                (name.to_owned(), random_json(rng, depth - 1, hidden || hides))
            };
            Value::Object((0..count).map(|_| member(rng)).collect())
        }
        6 => json!({"role": "user", "content": random_json(rng, depth - 1, true)}),
        _ => {
            let inner = random_json(rng, depth - 1, hidden);
            // A bare text is no structure that anybody could read from outside.
            match inner.is_object() || inner.is_array() {
                true => Value::from(inner.to_string()),
                false => inner,
            }
        }
    }
}

/// `json` as an `AnyValue`, of which some parts stay JSON within text.
fn random_value(rng: &mut Rng, json: &serde_json::Value) -> AnyValue {
    use serde_json::Value as Json;
    match json {
        Json::Array(list) if rng.u8(0..4) > 0 => {
            let values = list.iter().map(|json| random_value(rng, json)).collect();
            any(Value::ArrayValue(ArrayValue { values }))
        }
        Json::Object(map) if rng.u8(0..4) > 0 => {
            let values = map.iter().map(|(key, json)| pair(key, random_value(rng, json))).collect();
            any(Value::KvlistValue(KeyValueList { values }))
        }
        Json::String(plain) => text(plain),
        other => text(&other.to_string()),
    }
}

/// For `SPANLOOM_FUZZ_SECONDS`, or 500 values.
#[test]
fn no_canary_leaves_from_random_values() {
    let seconds = std::env::var("SPANLOOM_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut rng = Rng::with_seed(seconds.unwrap_or(5));
    let (mut cases, mut hidden) = (0, 0);
    let mut bench = Bench::new(Signal::Traces, "sensitive", "{}");
    while cases < 500 || Instant::now() < end {
        cases += 1;
        let json = random_json(&mut rng, 5, false);
        let value = random_value(&mut rng, &json);
        let mut bytes = request(vec![], vec![], span(vec![pair("k", value)]));
        hidden += usize::from(leaks(&bytes));
        let is_cut = rng.u8(0..4) == 0;
        if is_cut {
            // Cut off, as by a limit on the length of attributes.
            let cut = json.to_string();
            let end = (0..=rng.usize(0..=cut.len())).rev().find(|at| cut.is_char_boundary(*at));
            let cut = &cut[..end.unwrap_or(0)];
            bytes = request(vec![], vec![], span(vec![pair("k", text(cut))]));
        }
        let passed = bench.pass(bytes);
        let seen = String::from_utf8_lossy(&passed);
        // Half a secret has no form any more.
        let leaked = if is_cut { seen.contains(CANARY) } else { leaks(&passed) };
        assert!(!leaked, "{json}\nbecame {seen}");
    }
    println!("{cases} values, {hidden} of them with canaries");
    assert!(hidden > cases / 10);
}
