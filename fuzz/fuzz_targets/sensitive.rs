//! Generated values (arrays, maps, JSON within text, within each other) with canaries below names
//! of content and secrets anywhere: none is left, and what is left is a request.
#![no_main]

#[path = "../../tests/bytes/source.rs"]
#[allow(dead_code)]
mod source;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use source::Source;
use spanloom::batch::{Batch, Signal};
use spanloom::config::Section;
use spanloom::moment::Moment;
use spanloom::processors::inspect::Inspection;
use spanloom::processors::{Built, LIST, Setup};
use spanloom::telemetry::Registry;
use std::cell::RefCell;

/// Stands only below names of content.
const CANARY: &str = "CANARY-7f3a";
/// Stands anywhere, in texts of its own.
const SECRET: &str = "canary.7f3a@example.com";

/// Names of content, and others.
const HIDING: [&str; 5] =
    ["input.value", "gen_ai.prompt", "password", "x.headers", "gen_ai.completion.0"];
const PLAIN: [&str; 6] = ["a", "é\"\\", "nested", "0", "", "role"];

/// As the configuration of a user has it.
const CONFIGURATIONS: [&str; 3] = [
    "{}",
    "{preset: strict, allow_keys: [k]}",
    "{rules: [{name: x, pattern: 'x+', action: mask}, {name: t, keys: [t*], action: hash, key: k}]}",
];

thread_local! {
    /// One processor for each configuration and signal, which goes on from input to input.
    static ROWS: RefCell<Vec<Inspection<'static>>> = RefCell::new(
        CONFIGURATIONS
            .iter()
            .flat_map(|yaml| [Signal::Traces, Signal::Logs].map(|signal| row(yaml, signal)))
            .collect(),
    );
}

fn row(yaml: &str, signal: Signal) -> Inspection<'static> {
    let kind = LIST.iter().find(|kind| kind.component.name == "sensitive").unwrap();
    let section = Section::from_yaml(kind.component.keys, yaml).unwrap();
    let registry = Registry::default();
    match (kind.build)(&section, &Setup::new("sensitive", "p", signal, &registry)) {
        Built::Stateless(processor) => Inspection::new(vec![processor.inspector().unwrap()]),
        _ => unreachable!("it is stateless"),
    }
}

/// A value as JSON has it, with names in the order in which they were made.
enum Json {
    Text(String),
    Number(u64),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    fn make(source: &mut Source<'_>, depth: usize, hidden: bool) -> Json {
        match source.below(if depth == 0 { 3 } else { 9 }) {
            0 if hidden => Json::Text(CANARY.into()),
            0 => Json::Text(SECRET.into()),
            1 => Json::Number(source.number()),
            2 => Json::Text(odd(source)),
            3 => Json::List(source.list(4, |source| Json::make(source, depth - 1, hidden))),
            4 | 5 => Json::Map(source.list(4, |source| {
                let hides = source.once_in(2);
                let name = match (hides, source.once_in(4)) {
                    (true, _) => HIDING[source.below(HIDING.len())].into(),
                    (_, true) => odd(source),
                    _ => PLAIN[source.below(PLAIN.len())].into(),
                };
                (name, Json::make(source, depth - 1, hidden || hides))
            })),
            6 => {
                let said = Json::make(source, depth - 1, true);
                Json::Map(vec![
                    ("role".into(), Json::Text("user".into())),
                    ("content".into(), said),
                ])
            }
            // A bare text is no structure that anybody could read from outside.
            _ => match Json::make(source, depth - 1, hidden) {
                inner @ (Json::List(_) | Json::Map(_)) => Json::Text(inner.written()),
                inner => inner,
            },
        }
    }

    fn written(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        match self {
            Json::Text(text) => quoted(text),
            Json::Number(number) => number.to_string(),
            Json::List(list) => {
                let list: Vec<_> = list.iter().map(Json::written).collect();
                format!("[{}]", list.join(", "))
            }
            Json::Map(map) => {
                let pair = |(name, value): &(String, Json)| {
                    format!("{}: {}", quoted(name), value.written())
                };
                format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// As an `AnyValue`, of which some parts stay JSON within text.
    fn value(&self, source: &mut Source<'_>) -> AnyValue {
        let value = match self {
            Json::List(list) if !source.once_in(4) => {
                let values = list.iter().map(|json| json.value(source)).collect();
                Value::ArrayValue(ArrayValue { values })
            }
            Json::Map(map) if !source.once_in(4) => {
                let pair = |(key, json): &(String, Json)| pair(key, json.value(source));
                Value::KvlistValue(KeyValueList { values: map.iter().map(pair).collect() })
            }
            Json::Text(text) if source.once_in(8) => Value::BytesValue(text.clone().into()),
            Json::Text(text) => Value::StringValue(text.clone()),
            other => Value::StringValue(other.written()),
        };
        AnyValue { value: Some(value) }
    }
}

/// Any text without a canary.
fn odd(source: &mut Source<'_>) -> String {
    let text = match source.once_in(2) {
        true => String::from_utf8_lossy(&source.bytes()).into_owned(),
        false => source.text(),
    };
    text.replace("CANARY", "").replace("canary", "")
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..Default::default() }
}

/// A request with `own` at one of the places.
fn request(place: usize, own: KeyValue) -> (Signal, Vec<u8>) {
    let at = |wanted: usize| if place == wanted { vec![own.clone()] } else { vec![] };
    if place < 4 {
        let event = Event { name: "e".into(), attributes: at(1), ..Default::default() };
        let link = Link { attributes: at(2), ..Default::default() };
        let span = Span {
            attributes: [vec![pair("t", AnyValue::default())], at(0)].concat(),
            events: vec![event],
            links: vec![link],
            ..Default::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let resource = Some(Resource { attributes: at(3), ..Default::default() });
        let group = ResourceSpans { resource, scope_spans, ..Default::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![group] };
        return (Signal::Traces, request.encode_to_vec());
    }
    let body = own.value.clone().filter(|_| place == 5);
    let record = LogRecord { attributes: at(4), body, ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    (Signal::Logs, ExportLogsServiceRequest { resource_logs }.encode_to_vec())
}

fuzz_target!(|data: &[u8]| {
    let source = &mut Source::new(data);
    let (place, configuration) = (source.below(6), source.below(CONFIGURATIONS.len()));
    let is_cut = source.once_in(4);
    let json = Json::make(source, 6, false);
    let value = match is_cut {
        false => json.value(source),
        true => {
            // Cut off, as by a limit on the length of attributes.
            let text = json.written();
            let end = source.number() as usize % (text.len() + 1);
            let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            AnyValue { value: Some(Value::StringValue(text[..end].into())) }
        }
    };
    let (signal, bytes) = request(place, pair("k", value));
    let Ok(batch) = Batch::parse(signal, bytes.into(), Moment::default()) else { return };
    let items = batch.items();
    let number = configuration * 2 + usize::from(signal == Signal::Logs);
    let passed = ROWS.with_borrow_mut(|rows| rows[number].run(batch, Moment::default()));
    let left = Batch::parse(signal, Bytes::from(passed.bytes().to_vec()), Moment::default());
    assert_eq!(left.unwrap().items(), items);
    let seen = String::from_utf8_lossy(passed.bytes());
    assert!(!seen.contains(CANARY), "{}\nbecame {seen}", json.written());
    // Half a secret has no form any more.
    assert!(is_cut || !seen.contains(SECRET), "{}\nbecame {seen}", json.written());
});
