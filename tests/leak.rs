//! Nothing sensitive leaves by accident: a canary in every place where text can stand, by every
//! name of every dialect and in every form, through the real binary with `sensitive: {}`, and none
//! in the bytes that reach the backend, however they are read. What must stay is there, as it was.

mod support;

#[path = "leak/places.rs"]
mod places;
#[path = "leak/table.rs"]
mod table;

use std::collections::HashMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use places::{Planted, any, form, kept, leaked, own_record, own_span};
use prost::Message;
use spanloom::batch::Signal;
use spanloom::otlp::json::to_json;
use support::client::{self, LOGS, METRICS, TRACES};
use support::daemon::to_sink;
use support::spans::{flag, number, pair, text};
use support::{Daemon, Sink};
use table::{CONTENT, COUNTS, EVENTS, GENERIC, KEPT};

/// Cases in one request.
const TOGETHER: usize = 250;

/// What is planted, and the words to say so.
struct Case {
    what: String,
    planted: Planted,
}

/// The cases of a test. Each has a number, which stands in its canary and its trace id.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn canary(&self) -> String {
        format!("CANARY{:05}X", self.0.len())
    }

    fn add(&mut self, what: String, planted: Planted) {
        self.0.push(Case { what, planted });
    }

    /// A canary in one of the forms in an attribute at `place`.
    fn attribute(&mut self, key: &str, form_name: &str, place: &str) {
        let (n, canary) = (self.0.len(), self.canary());
        let own = KeyValue {
            key: key.into(),
            value: Some(form(form_name, &canary)),
            ..KeyValue::default()
        };
        self.add(format!("{key} as {form_name} on {place}"), places::at(place, n, own));
    }

    fn span(&mut self, what: &str, change: impl FnOnce(&mut places::Span, &str)) {
        let (mut span, canary) = (own_span(self.0.len(), vec![]), self.canary());
        change(&mut span, &canary);
        self.add(what.into(), Planted::span(span));
    }

    fn record(&mut self, what: &str, change: impl FnOnce(&mut LogRecord, &str)) {
        let (mut record, canary) = (own_record(self.0.len(), vec![]), self.canary());
        change(&mut record, &canary);
        self.add(what.into(), Planted::record(record));
    }

    /// Sends all of them, by gRPC in protobuf and by HTTP in JSON, and returns what the backend
    /// was sent once the binary has drained.
    #[track_caller]
    fn pass(&self) -> Vec<support::Received> {
        let sink = Sink::start();
        let yaml = to_sink(&sink)
            .replace("[sensitive, baggage, orphans]", "[sensitive]")
            .replace("[sensitive, baggage]", "[sensitive]")
            .replace("metrics: {rec", "metrics: {processors: [sensitive], rec");
        let mut daemon = Daemon::start(&yaml);
        for cases in self.0.chunks(TOGETHER) {
            for (signal, path, bytes) in requests(cases) {
                let reply = client::grpc(&daemon.grpc(), path, &[], client::framed(false, &bytes));
                assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
                let json = String::from_utf8(to_json(signal.message(), &bytes)).expect("JSON");
                let path = format!("/v1/{}", signal.name());
                let reply = client::post_json(&daemon.http(), &path, &json);
                assert_eq!(reply.status, 200, "{}", reply.text());
            }
        }
        assert!(daemon.stop().success());
        sink.received()
    }

    /// Passes all and asserts that no canary is left and that each span has what must stay.
    #[track_caller]
    fn check(&self) {
        for (n, case) in self.0.iter().enumerate() {
            let own = requests(std::slice::from_ref(case));
            let planted = own.iter().any(|(_, _, bytes)| leaked(bytes) == Some(n));
            assert!(planted, "{}: there is a canary to begin with", case.what);
        }
        let received = self.pass();
        for one in &received {
            if let Some(number) = leaked(&one.message) {
                let what = self.0.get(number).map_or("?", |case| case.what.as_str());
                panic!("leaked: {what}");
            }
        }
        let spans: Vec<_> = received.iter().filter(|one| one.is("trace")).collect();
        let mut arrived = HashMap::new();
        for seen in spans.iter().flat_map(|one| one.spans()) {
            if let Some(n) = places::number(&seen.span.trace_id) {
                arrived.entry(n).or_insert(vec![]).push(seen.span);
            }
        }
        for (n, case) in self.0.iter().enumerate() {
            if let Planted::Span(..) = case.planted {
                let spans = arrived.remove(&n).unwrap_or_default();
                assert_eq!(spans.len(), 2, "{}: in protobuf and in JSON", case.what);
                spans.iter().for_each(|span| places::check_kept(&case.what, n, span));
            }
        }
        println!("{} cases, in protobuf and in JSON", self.0.len());
    }
}

/// One request for each signal that occurs.
fn requests(cases: &[Case]) -> Vec<(Signal, &'static str, Bytes)> {
    let planted = || cases.iter().map(|case| case.planted.clone());
    let resource_spans = planted().filter_map(Planted::spans).collect();
    let resource_logs = planted().filter_map(Planted::logs).collect();
    let resource_metrics = planted().filter_map(Planted::metrics).collect();
    let traces = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let logs = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let metrics = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    let all = [
        (Signal::Traces, TRACES, traces),
        (Signal::Logs, LOGS, logs),
        (Signal::Metrics, METRICS, metrics),
    ];
    let all = all.into_iter().filter(|(_, _, bytes)| !bytes.is_empty());
    all.map(|(signal, path, bytes)| (signal, path, bytes.into())).collect()
}

#[test]
fn content_of_any_dialect_in_any_form_at_any_place() {
    let mut cases = Cases::default();
    for key in CONTENT.iter().flat_map(|(_, keys)| *keys) {
        places::PLACES.iter().for_each(|place| cases.attribute(key, "text", place));
        for form_name in places::FORMS.iter().skip(1) {
            ["span", "event", "record"].iter().for_each(|p| cases.attribute(key, form_name, p));
        }
    }
    for key in GENERIC {
        for form_name in places::FORMS {
            ["span", "record"].iter().for_each(|place| cases.attribute(key, form_name, place));
        }
    }
    assert!(cases.0.len() >= 400);
    cases.check();
}

#[test]
fn content_of_any_dialect_as_a_member_of_json_in_text() {
    let mut cases = Cases::default();
    for key in CONTENT.iter().flat_map(|(_, keys)| *keys) {
        for place in ["span", "event", "link", "scope", "resource", "record", "body", "gauge"] {
            for depth in 0..2 {
                let mut json =
                    serde_json::json!({ "a": [1, { *key: cases.canary() }] }).to_string();
                if depth > 0 {
                    json = serde_json::json!({ "payload": json }).to_string();
                }
                let (n, own) = (cases.0.len(), pair("note", text(&json)));
                cases.add(format!("{key} in {json} on {place}"), places::at(place, n, own));
            }
        }
    }
    cases.check();
}

#[test]
fn events_and_records_of_content_and_what_is_marked() {
    let mut cases = Cases::default();
    let planted = |form_name: &str, canary: &str| KeyValue {
        key: "anything".into(),
        value: Some(form(form_name, canary)),
        ..KeyValue::default()
    };
    let event = |name: &str, attributes: Vec<KeyValue>| Event {
        name: name.into(),
        attributes,
        ..Event::default()
    };
    for form_name in places::FORMS {
        for name in EVENTS {
            cases.span(&format!("event {name}"), |span, canary| {
                span.events.push(event(name, vec![planted(form_name, canary)]));
            });
            cases.record(&format!("record {name}"), |record, canary| {
                record.event_name = (*name).into();
                record.body = Some(form(form_name, canary));
            });
            cases.record(&format!("record {name} by attribute"), |record, canary| {
                record.attributes.push(pair("event.name", text(name)));
                record.body = Some(form(form_name, canary));
            });
        }
        for name in ["gen_ai.client.inference.operation.details", "gen_ai.evaluation.result"] {
            cases.record(&format!("body of {name}"), |record, canary| {
                record.event_name = name.into();
                record.body = Some(form(form_name, canary));
            });
        }
        for mark in [flag(true), text("Yes"), number(1)] {
            let mark = || pair("sensitive", mark.clone());
            cases.span("a marked event", |span, canary| {
                span.events.push(event("e", vec![planted(form_name, canary), mark()]));
            });
            cases.span("a marked span", |span, canary| {
                span.attributes.extend([planted(form_name, canary), mark()]);
                span.events.push(event("e", vec![planted(form_name, canary)]));
                let attributes = vec![planted(form_name, canary)];
                span.links.push(Link { attributes, ..Link::default() });
            });
            cases.record("a marked record", |record, canary| {
                record.attributes.extend([planted(form_name, canary), mark()]);
                record.body = Some(form(form_name, canary));
            });
            for place in ["span", "event", "link", "record", "body", "gauge", "exemplar of sum"] {
                for above in ["resource", "scope"] {
                    let (n, canary) = (cases.0.len(), cases.canary());
                    let mut case = places::at(place, n, planted(form_name, &canary));
                    case.mark(above, mark());
                    cases.add(format!("{form_name} on {place}, its {above} marked"), case);
                }
            }
        }
    }
    cases.check();
}

#[test]
fn what_errors_say() {
    let mut cases = Cases::default();
    for before in ["", "ValueError: ", "Traceback (most recent call last):\n  x\nE: "] {
        let said = |canary: &str| format!("{before}{canary}\n{canary}");
        cases.span("a status", |span, canary| {
            span.status = Some(Status { code: 2, message: said(canary) });
        });
        for key in ["exception.message", "exception.stacktrace", "error.message"] {
            for place in places::PLACES {
                let (n, own) = (cases.0.len(), pair(key, text(&said(&cases.canary()))));
                cases.add(format!("{key} on {place}"), places::at(place, n, own));
            }
        }
        for name in
            ["exception", "gen_ai.client.operation.exception", "messaging.process.exception"]
        {
            cases.span(name, |span, canary| {
                let own = ["exception.message", "exception.stacktrace"];
                let attributes = own.map(|key| pair(key, text(&said(canary)))).to_vec();
                span.events.push(Event { name: name.into(), attributes, ..Event::default() });
            });
            cases.record(name, |record, canary| {
                record.event_name = name.into();
                record.attributes.push(pair("exception.message", text(&said(canary))));
            });
        }
    }
    cases.check();
}

/// One for each detector that is on by default.
const SECRETS: [&str; 12] = [
    "canary.7f3a@example.com",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\n-----END PRIVATE KEY-----",
    "AKIAQ3EGRT5CANARYQ7X",
    "sk-ant-api03-9Canary7f3a9Canary7f3a9",
    "sk-proj-9Canary7f3a9Canary7f3aT3BlbkFJx",
    "ghp_9Canary7f3a9Canary7f3a9Canary7f3a9Can",
    "xoxb-123456789012-canary7f3a",
    "canary:7f3acanary@db.example.com",
    "Bearer 9canary7f3acanary7f3a",
];

#[test]
fn secrets_of_a_known_form_where_no_name_tells_of_them() {
    let mut cases = Cases::default();
    for secret in SECRETS {
        let said = match secret.contains("db.example") {
            true => format!("postgres://{secret}/x"),
            false => format!("he wrote {secret} and left"),
        };
        let said = said.as_str();
        for place in places::PLACES {
            for form_name in ["text", "bytes", "array", "map", "json", "json in json"] {
                let own = KeyValue {
                    key: "note".into(),
                    value: Some(form(form_name, said)),
                    ..KeyValue::default()
                };
                let n = cases.0.len();
                cases.add(format!("{secret} as {form_name}"), places::at(place, n, own));
            }
        }
        cases.record("a body", |record, _| record.body = Some(any(text(said))));
        cases.record("an event's name", |record, _| record.event_name = said.into());
        cases.span("a name", |span, _| {
            span.events.push(Event { name: said.into(), ..Event::default() })
        });
        cases.span("a trace state", |span, _| span.trace_state = format!("a={said}"));
        cases.span("a status", |span, _| {
            span.status = Some(Status { code: 2, message: said.into() });
        });
        cases.span("a link", |span, _| {
            span.links.push(Link { trace_state: said.into(), ..Link::default() });
        });
        for scope in [0, 1] {
            let (mut span, n) = (own_span(cases.0.len(), vec![]), cases.0.len());
            if scope == 0 {
                span.name = said.into();
            }
            let mut planted = Planted::span(span);
            if scope == 1 {
                planted.name_scope(said);
            }
            cases.add(format!("a span's or a scope's name {n}"), planted);
        }
    }
    for one in cases.pass() {
        for secret in SECRETS {
            let found = places::readings(&one.message).iter().any(|text| text.contains(secret));
            assert!(!found, "{secret} is in what left by {}", one.path);
        }
    }
}

#[test]
fn what_must_stay_stays_as_it_was() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&to_sink(&sink).replace(", baggage, orphans", ""));
    let mut all: Vec<_> = KEPT.iter().map(|(key, value)| pair(key, text(value))).collect();
    all.extend(COUNTS.iter().map(|key| pair(key, number(420))));
    all.push(KeyValue {
        key: "gen_ai.response.finish_reasons".into(),
        value: Some(form("array", "stop")),
        ..KeyValue::default()
    });
    let mut span = own_span(0, all.clone());
    span.status = Some(Status { code: 2, message: "RateLimitError".into() });
    span.trace_state = "rojo=00f067aa0ba902b7".into();
    span.events.push(Event {
        name: "exception".into(),
        attributes: vec![pair("exception.type", text("RateLimitError"))],
        ..Event::default()
    });
    let link = Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Link::default() };
    span.links.push(link);
    let request = |planted: Planted| ExportTraceServiceRequest {
        resource_spans: planted.spans().into_iter().collect(),
    };
    let sent = request(Planted::span(span));
    client::grpc_export(&daemon.grpc(), TRACES, &sent);
    let mut record = own_record(0, all);
    record.body = Some(any(text("the planner gave up after 3 attempts in 1_250 ms")));
    let logs = Planted::record(record).logs().into_iter().collect();
    let logs = ExportLogsServiceRequest { resource_logs: logs };
    client::grpc_export(&daemon.grpc(), LOGS, &logs);
    assert!(daemon.stop().success());
    let received = sink.received();
    let find = |signal: &str| received.iter().find(|one| one.is(signal)).expect("it arrived");
    assert_eq!(find("trace").traces(), sent);
    assert_eq!(find("trace").message, sent.encode_to_vec(), "byte for byte");
    assert_eq!(find("logs").message, logs.encode_to_vec(), "byte for byte");
    assert_eq!(kept().len(), places::KEPT_HERE);
}
