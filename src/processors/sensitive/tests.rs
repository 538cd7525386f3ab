//! `sensitive`: spans and log records in and out, and a model to hold it against.

use crate::batch::Signal;
use crate::processors::tests::{Bench, check};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

#[test]
fn events_go_by_name_and_by_mark() {
    check(
        "sensitive",
        "{}",
        r#"
span 1/a1 "chat" n=523
  event "gen_ai.content.prompt" @5ms text="hello" sensitive=true
  event "retry" @6ms attempt=2
  event "note" @7ms sensitive=true
"#,
        r#"
span 1/a1 "chat" dropped_events=2 n=523 app.agent.sensitive.removed_events=2
  event "retry" @6ms attempt=2
"#,
    );
}

#[test]
fn a_mark_is_true_as_a_bool_a_text_or_a_number() {
    let cases = [
        ("sensitive=true", true),
        ("sensitive=\"true\"", true),
        ("sensitive=\"TRUE\"", true),
        ("sensitive=\"1\"", true),
        ("sensitive=\"Yes\"", true),
        ("sensitive=\"on\"", true),
        ("sensitive=1", true),
        ("sensitive=-7", true),
        ("app.sensitive=true", true),
        ("sensitive=false", false),
        ("sensitive=0", false),
        ("sensitive=\"no\"", false),
        ("sensitive=\"\"", false),
        ("sensitive=\"truely\"", false),
        ("sensitive=null", false),
        ("sensitive=[true]", false),
        ("insensitive=true", false),
        ("sensitive.x=true", false),
    ];
    for (mark, goes) in cases {
        let mut bench = Bench::new(Signal::Traces, "sensitive", "{}");
        let before = format!("span 1/a1\n  event \"e\" @1s a=1 {mark}\n");
        match goes {
            true => bench
                .check(&before, "span 1/a1 dropped_events=1 app.agent.sensitive.removed_events=1"),
            false => bench.check_untouched(&before),
        }
        assert_eq!(
            bench.metric("spanloom_sensitive_removed_events", "rule=\"marked\""),
            u64::from(goes),
            "{mark}"
        );
    }
}

#[test]
fn content_and_credentials_go_wherever_attributes_stand() {
    check(
        "sensitive",
        "prefix: x",
        r#"
span 1/a1 input.value="hi" gen_ai.usage.input_tokens=5 rpc.request.metadata.cookie=["x"]
  event "note" input.value="hi" k=1
  link 2/b1 tool.parameters="x" k=1
"#,
        r#"
span 1/a1 dropped_attributes=2 gen_ai.usage.input_tokens=5 x.sensitive.removed_attributes=4
  event "note" dropped_attributes=1 k=1
  link 2/b1 dropped_attributes=1 k=1
"#,
    );
}

#[test]
fn what_was_counted_before_is_added_to() {
    check(
        "sensitive",
        "prefix: x",
        r#"
span 1/a1 dropped_events=3 x.sensitive.removed_events=2
  event "gen_ai.choice"
span 1/a2 dropped_attributes=3 ai.prompt="" x.sensitive.removed_attributes=9
  event "e" dropped_attributes=1 gen_ai.prompt="x"
"#,
        r#"
span 1/a1 dropped_events=4 x.sensitive.removed_events=3
span 1/a2 dropped_attributes=4 x.sensitive.removed_attributes=11
  event "e" dropped_attributes=2
"#,
    );
}

#[test]
fn what_is_not_sensitive_passes_untouched() {
    let mut bench = Bench::new(Signal::Traces, "sensitive", "{}");
    bench.check_untouched("resource service.name=\"planner\"\nspan 1/a1 \"chat\" sensitive=true");
    bench.check_untouched("span 1/a1 k=1\n  event \"gen_ai.content.prompts\" k=1\n  event \"e\"");
    bench.check_untouched("span 1/a1 gen_ai.prompt.name=\"p\" gen_ai.input.messages_ref=\"s3:\"");
}

#[test]
fn the_preset_marked_takes_only_what_is_marked() {
    let mut bench = Bench::new(Signal::Traces, "sensitive", "preset: marked");
    let kept =
        "span 1/a1 gen_ai.prompt=\"x\"\n  event \"gen_ai.content.prompt\" gen_ai.prompt=\"\"";
    bench.check_untouched(kept);
    bench.check(
        "span 1/a1 gen_ai.prompt=\"x\"\n  event \"e\" sensitive=true",
        "span 1/a1 dropped_events=1 gen_ai.prompt=\"x\" app.agent.sensitive.removed_events=1",
    );
}

#[test]
fn marks_and_prefix_are_configurable() {
    check(
        "sensitive",
        "{mark_keys: [secret], prefix: x}",
        "span 1/a1\n  event \"e\" secret=true\n  event \"f\" sensitive=true",
        "span 1/a1 dropped_events=1 x.sensitive.removed_events=1\n  event \"f\" sensitive=true",
    );
}

#[test]
fn log_records_go_or_lose_their_content() {
    let mut bench = Bench::new(Signal::Logs, "sensitive", "prefix: x");
    bench.check(
        r#"
log 1/a1 info "kept" k=1
log 1/a1 info "marked" sensitive=true
log 1/a1 info event_name="gen_ai.user.message" body={"content":"hi"}
log 1/a1 info "older senders" event.name="gen_ai.choice" gen_ai.prompt="x"
log 1/a1 "text" event_name="gen_ai.evaluation.result" gen_ai.prompt="x"
"#,
        r#"
log 1/a1 info "kept" k=1
log 1/a1 event_name="gen_ai.evaluation.result" dropped_attributes=1 x.sensitive.removed_attributes=2
"#,
    );
    for (metric, rule, n) in [
        ("log_records", "marked", 1),
        ("log_records", "content_event", 2),
        ("attributes", "content_attribute", 1),
        ("attributes", "content_body", 1),
    ] {
        let metric = format!("spanloom_sensitive_removed_{metric}");
        assert_eq!(bench.metric(&metric, &format!("rule=\"{rule}\"")), n, "{metric} {rule}");
    }
    assert_eq!(bench.pass(crate::processors::tests::request("log 1/a1 sensitive=true")), "");
}

#[test]
fn metrics_pass_untouched() {
    let mut bench = Bench::new(Signal::Metrics, "sensitive", "{}");
    let bytes = Bytes::new();
    assert_eq!(bench.pass(bytes.clone()), bytes);
}

/// Attribute keys by what must become of them, written down apart from the tables under test.
const CONTENT: [&str; 5] = [
    "gen_ai.input.messages",
    "gen_ai.prompt.0.content",
    "input.value",
    "ai.prompt",
    "llm.prompts.0",
];
const PLAIN: [&str; 5] = ["k", "gen_ai.prompt.name", "gen_ai.operation.name", "", "sensitivity"];
const CONTENT_EVENTS: [&str; 2] = ["gen_ai.content.prompt", "gen_ai.choice"];
const PLAIN_EVENTS: [&str; 3] = ["retry", "", "gen_ai.content.promp"];

fn value() -> impl Strategy<Value = Option<AnyValue>> {
    prop_oneof![
        Just(None),
        any::<bool>().prop_map(|b| Some(AnyValue { value: Some(Value::BoolValue(b)) })),
        (-1i64..2).prop_map(|n| Some(AnyValue { value: Some(Value::IntValue(n)) })),
        "true|on|x{0,200}".prop_map(|t| Some(AnyValue { value: Some(Value::StringValue(t)) })),
    ]
}

fn attribute() -> impl Strategy<Value = KeyValue> {
    let keys: Vec<&str> = CONTENT.into_iter().chain(PLAIN).chain(["sensitive"]).collect();
    (proptest::sample::select(keys), value()).prop_map(|(key, value)| KeyValue {
        key: key.into(),
        value,
        ..Default::default()
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    proptest::collection::vec(attribute(), 0..4)
}

fn event() -> impl Strategy<Value = Event> {
    let names: Vec<&str> = CONTENT_EVENTS.into_iter().chain(PLAIN_EVENTS).collect();
    (proptest::sample::select(names), attributes(), 0u32..2, any::<u64>()).prop_map(
        |(name, attributes, dropped_attributes_count, time_unix_nano)| Event {
            name: name.into(),
            attributes,
            dropped_attributes_count,
            time_unix_nano,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    attributes().prop_map(|attributes| Link { attributes, ..Default::default() })
}

fn span() -> impl Strategy<Value = Span> {
    let events = proptest::collection::vec(event(), 0..4);
    let links = proptest::collection::vec(link(), 0..2);
    (attributes(), events, links, 0u32..2, 0u32..2, any::<u32>()).prop_map(
        |(attributes, events, links, dropped_events_count, dropped_attributes_count, flags)| Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            name: "chat".into(),
            attributes,
            events,
            links,
            dropped_events_count,
            dropped_attributes_count,
            flags,
            ..Default::default()
        },
    )
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scopes = proptest::collection::vec(proptest::collection::vec(span(), 0..4), 0..3);
    scopes.prop_map(|scopes| ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: scopes
                .into_iter()
                .map(|spans| ScopeSpans { spans, ..Default::default() })
                .collect(),
            ..Default::default()
        }],
    })
}

fn is_marked(attributes: &[KeyValue]) -> bool {
    let is_true = |value: &AnyValue| match &value.value {
        Some(Value::BoolValue(b)) => *b,
        Some(Value::IntValue(n)) => *n != 0,
        Some(Value::StringValue(t)) => ["true", "on"].contains(&t.as_str()),
        _ => false,
    };
    attributes.iter().any(|a| a.key == "sensitive" && a.value.as_ref().is_some_and(is_true))
}

/// Removes content attributes, and yields how many.
fn strip(attributes: &mut Vec<KeyValue>, dropped: &mut u32) -> u32 {
    let before = attributes.len();
    attributes.retain(|a| !CONTENT.contains(&a.key.as_str()));
    let removed = (before - attributes.len()) as u32;
    *dropped += removed;
    removed
}

/// What `sensitive` must make of a span, on the oracle's structs: removed events and attributes.
fn model(span: &mut Span) -> (u32, u32) {
    let before = span.events.len();
    span.events.retain(|e| !CONTENT_EVENTS.contains(&e.name.as_str()) && !is_marked(&e.attributes));
    let events = (before - span.events.len()) as u32;
    span.dropped_events_count += events;
    let mut removed = strip(&mut span.attributes, &mut span.dropped_attributes_count);
    for event in &mut span.events {
        removed += strip(&mut event.attributes, &mut event.dropped_attributes_count);
    }
    for link in &mut span.links {
        removed += strip(&mut link.attributes, &mut link.dropped_attributes_count);
    }
    for (name, n) in [("removed_events", events), ("removed_attributes", removed)] {
        if n > 0 {
            let value = Some(AnyValue { value: Some(Value::IntValue(n.into())) });
            let key = format!("app.agent.sensitive.{name}");
            span.attributes.push(KeyValue { key, value, ..Default::default() });
        }
    }
    (events, removed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_goes_is_counted_and_the_rest_stays(request in request()) {
        let bytes = Bytes::from(request.encode_to_vec());
        let mut bench = Bench::new(Signal::Traces, "sensitive", "{}");
        let passed = bench.pass(bytes.clone());
        let (mut expected, mut events, mut attributes) = (request, 0, 0);
        for resource in &mut expected.resource_spans {
            for span in resource.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
                let removed = model(span);
                events += removed.0;
                attributes += removed.1;
            }
        }
        let mut scopes = expected.resource_spans.iter().flat_map(|r| &r.scope_spans);
        if scopes.any(|scope| !scope.spans.is_empty()) {
            prop_assert_eq!(ExportTraceServiceRequest::decode(passed.clone()).ok(), Some(expected));
        }
        if events + attributes == 0 && !passed.is_empty() {
            prop_assert_eq!(passed.as_ptr(), bytes.as_ptr());
        }
        let metric = |what: &str| bench.metric(&format!("spanloom_sensitive_removed_{what}"), "");
        prop_assert_eq!(metric("events"), u64::from(events));
        prop_assert_eq!(metric("attributes"), u64::from(attributes));
    }
}
