//! `sensitive`: spans and log records in and out, and a model to hold it against.

mod docs;
mod leak;

use crate::batch::{Batch, Signal};
use crate::moment::Moment;
use crate::otlp::text;
use crate::processors::inspect::Inspection;
use crate::processors::tests::{self as processors, Bench, check, section};
use crate::processors::{Built, LIST, Setup};
use crate::telemetry::Registry;
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

#[test]
fn text_is_found_wherever_it_hides() {
    check(
        "sensitive",
        "prefix: x",
        r#"
resource service.name="planner" process.command_line="run --key CANARY" note="a@example.com"
scope "s" gen_ai.prompt="CANARY" k=1
span 1/a1 "GET /users/bob@example.com" status=error:"ValueError: CANARY" n=1
  event "exception" exception.type="ValueError" exception.message="CANARY" \
    exception.stacktrace="ValueError: CANARY"
  event "note" k={"input.value":"CANARY","n":1} list=["a","bob@example.com"]
  link 2/b1 k="{\"gen_ai.prompt\":\"CANARY\",\"n\":1}"
span 1/a2 vendor.llm.headers.x="CANARY" url.full="https://a.b/c?q=CANARY" \
    chat="[{\"role\":\"user\",\"content\":\"CANARY\"}]"
span 1/a3 gen_ai.operation.name="chat" prompt="CANARY" db.query.text="CANARY"
span 1/a4 prompt="name of a prompt file"
"#,
        r#"
resource dropped_attributes=1 service.name="planner" note="[email]"
scope "s" dropped_attributes=1 k=1
span 1/a1 "GET /users/[email]" status=error:"ValueError: [removed]" n=1 \
    x.sensitive.removed_attributes=1 x.sensitive.redacted_values=6
  event "exception" exception.type="ValueError" exception.message="[removed]" \
    exception.stacktrace="ValueError: [removed]"
  event "note" k={"n":1} list=["a","[email]"]
  link 2/b1 k="{\"gen_ai.prompt\":\"[removed]\",\"n\":1}"
span 1/a2 dropped_attributes=1 url.full="https://a.b/c" \
    chat="[{\"role\":\"user\",\"content\":\"[removed]\"}]" x.sensitive.removed_attributes=1 \
    x.sensitive.redacted_values=2
span 1/a3 dropped_attributes=2 gen_ai.operation.name="chat" x.sensitive.removed_attributes=2
span 1/a4 prompt="name of a prompt file"
"#,
    );
}

#[test]
fn json_within_text_is_read_however_it_is_written() {
    let cases = [
        (r#"{"a":"bob@example.com"}"#, r#"{"a":"[email]"}"#),
        (r#"{"a":"bob\u0040example.com"}"#, r#"{"a":"[email]"}"#),
        (r#"{"a":"{\"password\":\"CANARY\"}"}"#, r#"{"a":"{\"password\":\"[removed]\"}"}"#),
        (r#"{"Authorization":"CANARY"}"#, r#"{"Authorization":"[removed]"}"#),
        (r#"{"gen_ai.prompt":["CANARY","#, r#"{"gen_ai.prompt":"[removed]""#),
        (r#"{"content":"CANARY","role":"user"}"#, r#"{"content":"[removed]","role":"user"}"#),
        (r#"{"content":"kept"}"#, r#"{"content":"kept"}"#),
        (r#"[1,"bob@example.com"#, r#"[1,"[email]"#),
        (r#"[INFO] bob@example.com"#, r#"[INFO] [email]"#),
        (r#"{"n":4111111111111111}"#, r#"{"n":"[payment_card]"}"#),
        (r#""{\"input.value\":\"CANARY\"}""#, r#""{\"input.value\":\"[removed]\"}""#),
        ("[4111 1111 1111 1111]", "[[payment_card]]"),
        ("{\"a\":1}\n{\"api_key\":\"CANARY\"}", "{\"a\":1}\n{\"api_key\":\"[removed]\"}"),
    ];
    for (before, after) in cases {
        let mut bench = Bench::new(Signal::Logs, "sensitive", "prefix: x");
        let log = |text: &str, end: &str| {
            let text = serde_json::to_string(text).unwrap();
            format!("log 1/a1 info body={text}{end}")
        };
        let end = if before == after { "" } else { " x.sensitive.redacted_values=1" };
        bench.check(&log(before, ""), &log(after, end));
    }
}

#[test]
fn below_a_mark_only_structure_stays() {
    let item = r#"span 1/a1 "chat" status=error:"CANARY" gen_ai.usage.input_tokens=5 k="CANARY"
  event "note" @1ms k="CANARY"
  link 2/b1 k="CANARY""#;
    let left = r#"span 1/a1 "chat" dropped_attributes=1 status=error:"[removed]" \
    gen_ai.usage.input_tokens=5 x.sensitive.removed_attributes=3 x.sensitive.redacted_values=1
  event "note" @1ms dropped_attributes=1
  link 2/b1 dropped_attributes=1"#;
    for preset in ["content", "marked"] {
        let yaml = format!("{{prefix: x, preset: {preset}}}");
        for head in
            ["resource sensitive=true\nscope \"s\"\n", "scope \"s\" app.sensitive=\"yes\"\n"]
        {
            check("sensitive", &yaml, &format!("{head}{item}"), &format!("{head}{left}"));
        }
        check(
            "sensitive",
            &yaml,
            "span 1/a1 sensitive=1 k=\"CANARY\"\nspan 1/a2 k=\"kept\"",
            "span 1/a1 dropped_attributes=1 sensitive=1 x.sensitive.removed_attributes=1\n\
             span 1/a2 k=\"kept\"",
        );
        let mut bench = Bench::new(Signal::Logs, "sensitive", &yaml);
        bench.check(
            "scope \"s\" sensitive=true\nlog 1/a1 info body=\"CANARY\" k=\"CANARY\" \
    session.id=\"1\"",
            "scope \"s\" sensitive=true\nlog 1/a1 info dropped_attributes=1 session.id=\"1\" \
             x.sensitive.removed_attributes=2",
        );
    }
}

#[test]
fn strict_keeps_only_what_is_on_the_list() {
    check(
        "sensitive",
        "{prefix: x, preset: strict, allow_keys: [team.*]}",
        r#"
resource service.name="planner" note="CANARY"
span 1/a1 "chat" status=error:"CANARY" gen_ai.request.model="m" team.name="blue" k="CANARY" \
    unknown=1
"#,
        r#"
resource dropped_attributes=1 service.name="planner"
span 1/a1 "chat" dropped_attributes=2 status=error:"[removed]" gen_ai.request.model="m" \
    team.name="blue" x.sensitive.removed_attributes=2 x.sensitive.redacted_values=1
"#,
    );
}

const RULES: &str = r#"
prefix: x
rules:
  - name: playground
    keys: [input.value]
    when: 'resource.attributes["service.name"] == "play"'
    action: keep
  - {name: users, keys: [user.id, "*.user"], action: hash, key: k}
  - {name: short, keys: [note], action: truncate, length: 3}
  - {name: ticket, pattern: 'T-\d+', action: mask}
  - {name: own, pattern: '\w+@own\.example', action: keep}
  - {name: chatter, events: ["debug.*"], action: drop}
  - {name: names, texts: [span_name], action: mask, mask: span}
  - {name: gone, keys: [gone.*], action: drop}
"#;

#[test]
fn rules_of_the_user_come_first() {
    let hash = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"k");
    let hash = ring::hmac::sign(&hash, b"bob");
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bench = Bench::new(Signal::Traces, "sensitive", RULES);
    bench.check(
        r#"
resource service.name="play"
span 1/a1 "chat" input.value="kept" user.id="bob" a.user="bob" note="äöüx" gone.x=1 n=5
  event "debug.x" k=1
  event "e" k="see T-12 of me@own.example or a@b.com"
resource service.name="work"
span 1/a2 "chat" input.value="gone"
"#,
        &format!(
            r#"
resource service.name="play"
span 1/a1 "span" dropped_attributes=1 dropped_events=1 input.value="kept" user.id="{hash}" \
    a.user="{hash}" note="äöü" n=5 x.sensitive.removed_events=1 \
    x.sensitive.removed_attributes=1 x.sensitive.redacted_values=6
  event "e" k="see [ticket] of me@own.example or [email]"
resource service.name="work"
span 1/a2 "span" dropped_attributes=1 x.sensitive.removed_attributes=1 x.sensitive.redacted_values=1
"#
        ),
    );
    for (metric, rule, n) in [
        ("redacted_values", "users", 2),
        ("redacted_values", "ticket", 1),
        ("redacted_values", "email", 1),
        ("removed_events", "chatter", 1),
        ("removed_attributes", "gone", 1),
    ] {
        let metric = format!("spanloom_sensitive_{metric}");
        assert_eq!(bench.metric(&metric, &format!("rule=\"{rule}\"")), n, "{metric} {rule}");
    }
    Bench::new(Signal::Logs, "sensitive", RULES)
        .check("log 1/a1 event_name=\"debug.a\"\nlog 1/a1", "log 1/a1");
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let yaml = "{prefix: x, dry_run: true}";
    let mut bench = Bench::new(Signal::Traces, "sensitive", yaml);
    let lines = |end: &str| {
        format!(
            "resource note=\"a@example.com\"\nspan 1/a1 input.value=\"hi\" \
    k=\"a@example.com\"{end}\n  \
             event \"gen_ai.choice\" k=1\n  event \"e\" k=\"a@example.com\""
        )
    };
    let tags = " x.sensitive.removed_events=1 x.sensitive.removed_attributes=1 \
                x.sensitive.redacted_values=2";
    bench.check(&lines(""), &lines(tags));
    assert_eq!(bench.metric("spanloom_sensitive_removed_events", "content_event"), 1);
    assert_eq!(bench.metric("spanloom_sensitive_redacted_values", "email"), 3);
    let mut bench = Bench::new(Signal::Logs, "sensitive", yaml);
    bench.check(
        "log 1/a1 sensitive=true k=1",
        "log 1/a1 sensitive=true k=1 x.sensitive.removed_attributes=1",
    );
    assert_eq!(bench.metric("spanloom_sensitive_removed_log_records", "marked"), 1);
}

#[test]
fn a_bad_rule_is_named_with_its_line() {
    let cases = [
        ("{name: r, keys: [a], action: shred}", "\"r\""),
        ("{name: r, pattern: '(', action: mask}", "\"r\""),
        ("{name: r, pattern: 'a*', action: mask}", "\"r\" matches the empty text"),
        ("{name: r, pattern: '', keys: [a], action: mask}", "\"r\" has an empty pattern"),
        ("{name: r, action: drop}", "\"r\" is about nothing"),
        ("{name: r, keys: [''], action: drop}", "\"r\" has an empty name"),
        ("{name: r, keys: [a], action: hash}", "\"r\" hashes without a key"),
        ("{name: r, keys: [a], action: truncate}", "\"r\" truncates"),
        ("{name: r, texts: [nowhere], action: drop}", "\"nowhere\""),
        ("{name: r, detectors: [nobody], action: mask}", "\"nobody\""),
        ("{name: r, keys: [a], when: 'name ==', action: drop}", "\"r\""),
        ("{name: r, keys: [a], action: drop, key: k}", "\"r\" does not hash"),
        ("{name: r, events: [a], action: mask}", "\"r\" is about whole events"),
    ];
    for (rule, expected) in cases {
        let yaml = format!("rules:\n  - {{name: fine, keys: [b], action: drop}}\n  - {rule}");
        let said = crate::processors::tests::section("sensitive", &yaml).unwrap_err();
        let named = said.lines().any(|line| line.contains(":3:") && line.contains(expected));
        assert!(named, "{rule}: {said}");
        assert!(!said.contains(":2:"), "{said}");
    }
}

#[test]
fn points_and_exemplars_of_metrics_are_treated() {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::*;
    let text = |key: &str, value: &str| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..Default::default()
    };
    let both = || vec![text("gen_ai.prompt", "CANARY"), text("k", "a@example.com"), text("n", "1")];
    let exemplars = || vec![Exemplar { filtered_attributes: both(), ..Default::default() }];
    let number =
        || NumberDataPoint { attributes: both(), exemplars: exemplars(), ..Default::default() };
    let data = [
        Data::Gauge(Gauge { data_points: vec![number()] }),
        Data::Sum(Sum { data_points: vec![number()], ..Default::default() }),
        Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                attributes: both(),
                exemplars: exemplars(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint {
                attributes: both(),
                exemplars: exemplars(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        Data::Summary(Summary {
            data_points: vec![SummaryDataPoint { attributes: both(), ..Default::default() }],
        }),
    ];
    let metrics =
        data.map(|data| Metric { name: "m".into(), data: Some(data), ..Default::default() });
    let scope_metrics = vec![ScopeMetrics { metrics: metrics.into(), ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics };
    let mut bench = Bench::new(Signal::Metrics, "sensitive", "{}");
    let passed = bench.pass(request.encode_to_vec().into());
    let seen = String::from_utf8_lossy(&passed);
    assert!(!seen.contains("CANARY") && !seen.contains("example.com"), "{seen}");
    assert_eq!(seen.matches("[email]").count(), 9);
    assert_eq!(bench.metric("spanloom_sensitive_removed_attributes", ""), 9);
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

/// What must become of a span that is marked: only what is on the list stays.
fn model_of_marked(span: &mut Span) -> (u32, u32) {
    let strip = |attributes: &mut Vec<KeyValue>, dropped: &mut u32| {
        let before = attributes.len();
        let stays = ["gen_ai.prompt.name", "gen_ai.operation.name", "sensitive"];
        attributes.retain(|a| stays.contains(&a.key.as_str()));
        *dropped += (before - attributes.len()) as u32;
        (before - attributes.len()) as u32
    };
    model_by(span, strip)
}

/// The same where `strip` takes what must go of attributes, counts it there and yields how many.
fn model_by(span: &mut Span, strip: impl Fn(&mut Vec<KeyValue>, &mut u32) -> u32) -> (u32, u32) {
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
    count(span, events, removed);
    (events, removed)
}

/// Says on the span how much was removed.
fn count(span: &mut Span, events: u32, removed: u32) {
    for (name, n) in [("removed_events", events), ("removed_attributes", removed)] {
        if n > 0 {
            let value = Some(AnyValue { value: Some(Value::IntValue(n.into())) });
            let key = format!("app.agent.sensitive.{name}");
            span.attributes.push(KeyValue { key, value, ..Default::default() });
        }
    }
}

/// What `sensitive` must make of a span, on the oracle's structs: removed events and attributes.
fn model(span: &mut Span) -> (u32, u32) {
    if is_marked(&span.attributes) {
        return model_of_marked(span);
    }
    model_by(span, strip)
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

/// What leaves when `baggage` stands directly behind `sensitive`, so that they share a walk.
fn with_baggage_behind(yaml: &str, before: &str) -> String {
    let registry = Registry::default();
    let build = |name: &str, yaml: &str| {
        let kind = LIST.iter().find(|kind| kind.component.name == name).expect("it is listed");
        let section = section(name, yaml).expect("the test's configuration is valid");
        (kind.build)(&section, &Setup::new(name, "traces", Signal::Traces, &registry))
    };
    let Built::Stateless(sensitive) = build("sensitive", "{}") else { panic!("it is stateless") };
    let Built::Inspector(baggage) = build("baggage", yaml) else { panic!("it is an inspector") };
    let mut row = Inspection::new(vec![sensitive.inspector().expect("it inspects"), baggage]);
    let before = processors::request(before);
    let batch = Batch::parse(Signal::Traces, before, Moment::default()).expect("well-formed");
    let after = row.run(batch, Moment::default());
    text::print(Signal::Traces.message(), after.bytes())
}

#[test]
fn what_it_took_from_a_resource_nobody_behind_it_in_the_row_puts_on_spans() {
    let before = "resource user.id=\"bob@example.com\" session.id=\"s\"\nspan 1/a1";
    let after = with_baggage_behind("sources: [resource]", before);
    assert!(after.contains("span 1/a1 session.id=\"s\"\n"), "{after}");
    assert!(!after.contains("bob"), "{after}");
}

#[test]
fn what_it_changed_is_there_for_those_behind_it_in_the_row_and_has_no_value() {
    let counted = "app.agent.sensitive.redacted_values=1";
    for (before, expected) in [
        (
            "user.id=\"bob@example.com\" baggage=\"user.id=al,session.id=s\"",
            "user.id=\"[email]\" baggage=\"user.id=al,session.id=s\" COUNTED session.id=\"s\"",
        ),
        (
            "baggage=\"user.id=bob%40example.com,session.id=s\"",
            "baggage=\"user.id=[email],session.id=s\" COUNTED",
        ),
    ] {
        let after = with_baggage_behind("{}", &format!("span 1/a1 {before}"));
        let expected = format!("span 1/a1 {}\n", expected.replace("COUNTED", counted));
        assert!(after.ends_with(&expected), "{after}, not {expected}");
    }
}

#[test]
fn who_speaks_may_stand_there_as_bytes() {
    check(
        "sensitive",
        "{}",
        r#"span 1/a1 k={"role":0x75736572,"content":"hi"}"#,
        r#"span 1/a1 k={"role":0x75736572} app.agent.sensitive.removed_attributes=1"#,
    );
}

#[test]
fn of_messages_that_go_the_ids_of_calls_stay() {
    let arguments = r#"{"id":"a-secret-1","text":"long enough to be no short attribute any more"}"#;
    let part = format!(r#"{{"type":"tool_call","id":"call_Zx81kQp0","arguments":{arguments}}}"#);
    let messages = format!(r#"[{{"role":"assistant","parts":[{part}]}}]"#).replace('"', "\\\"");
    let messages = format!("gen_ai.output.messages=\"{messages}\"");
    check(
        "sensitive",
        "{}",
        &format!("span 1/a1 \"chat\" {messages}"),
        "span 1/a1 \"chat\" dropped_attributes=1 app.agent.sensitive.removed_attributes=1 \
         app.agent.sensitive.call_ids=[\"call_Zx81kQp0\"]",
    );
    for key in [
        "llm.output_messages.0.message.tool_calls.0.tool_call.id",
        "gen_ai.completion.0.tool_calls.0.id",
    ] {
        let mut bench = Bench::new(Signal::Traces, "sensitive", "{}");
        bench.check_untouched(&format!("span 1/a1 \"chat\" {key}=\"call_Zx81kQp0\""));
    }
    // What is kept is not said twice.
    let keep = "rules: [{name: keep, keys: [gen_ai.output.messages], action: keep}]";
    let mut bench = Bench::new(Signal::Traces, "sensitive", keep);
    bench.check_untouched(&format!("span 1/a1 \"chat\" {messages}"));
}
