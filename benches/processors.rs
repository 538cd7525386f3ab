//! What each step of a trace pipeline costs per span: the check at the door and each processor.
//!
//! The payload is agent-shaped: 100 spans of about 540 bytes in traces of ten, nine attributes,
//! every third span with a prompt event and one that stays, each root with baggage. Rates are in
//! spans: `cargo bench --bench processors`.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spanloom::batch::{Batch, Signal};
use spanloom::config::Section;
use spanloom::moment::Moment;
use spanloom::processors::inspect::{Inspection, Inspector};
use spanloom::processors::{Built, LIST, Out, Setup};
use spanloom::telemetry::Registry;

const SPANS: usize = 100;
const PROMPT: &str = "What is the weather in Paris, for alice@example.com? ";

fn main() {
    divan::main();
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let bytes = payload();
    bencher.counter(ItemsCount::new(SPANS)).bench(|| {
        Batch::parse(Signal::Traces, black_box(bytes.clone()), Moment::default()).map(|b| b.items())
    });
}

#[divan::bench(args = ["sensitive", "baggage", "orphans"])]
fn one(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, &[name]);
}

#[divan::bench]
fn all_three(bencher: Bencher<'_, '_>) {
    run(bencher, &["sensitive", "baggage", "orphans"]);
}

/// The same with trace ids that never come again, once the memories of traces are full.
#[divan::bench(args = ["baggage", "orphans", "all"])]
fn fresh_traces(bencher: Bencher<'_, '_>, names: &str) {
    let names = match names {
        "all" => &["sensitive", "baggage", "orphans"][..],
        one => &[one],
    };
    let mut row = Inspection::new(names.iter().map(|name| built(name)).collect());
    let mut batch = fresh();
    for _ in 0..12_000 {
        row.run(batch(), Moment::default());
    }
    bencher
        .counter(ItemsCount::new(SPANS))
        .with_inputs(batch)
        .bench_local_values(|batch| row.run(batch, Moment::default()));
}

/// Traces come whole and leave when the memory is full, as at the highest rates, so that each span
/// is touched again long after it came.
#[divan::bench(args = [1, 64])]
fn trace_window(bencher: Bencher<'_, '_>, limit_mib: usize) {
    let yaml = format!("{{limit_mib: {limit_mib}}}");
    let Built::Stateful(mut window) = build("trace_window", &yaml) else {
        unreachable!("a window holds state")
    };
    let mut batch = fresh();
    let mut out = Out::default();
    let mut pass = move |batch| {
        window.process(batch, Moment::default(), &mut out);
        out.take()
    };
    for _ in 0..limit_mib * 20 {
        pass(batch());
    }
    bencher.counter(ItemsCount::new(SPANS)).with_inputs(batch).bench_local_values(pass);
}

/// What `sensitive` costs on 20 KB of text that stays, all default detectors on.
#[divan::bench]
fn kept_text(bencher: Bencher<'_, '_>) {
    let prose = "The planner asked the weather service twice, and gave up after 30 seconds. \
                 span 9f0f3f2e-8f0c-4c2f took 1_250 ms; see https://docs.example.com/a?b=1 \n";
    let kept: String = prose.chars().cycle().take(20_000).collect();
    let spans = (0..SPANS).map(|n| {
        let mut span = span(n);
        span.attributes.push(text("note", &kept));
        span
    });
    let bytes = request(spans.collect());
    let size = bytes.len();
    let mut row = Inspection::new(vec![built("sensitive")]);
    let batch = Batch::parse(Signal::Traces, bytes, Moment::default()).expect("well-formed");
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| row.run(black_box(batch.clone()), Moment::default()));
}

/// Passes the payload through these processors with their defaults, as a pipeline would: in a row.
fn run(bencher: Bencher<'_, '_>, names: &[&str]) {
    let mut row = Inspection::new(names.iter().map(|name| built(name)).collect());
    let batch = Batch::parse(Signal::Traces, payload(), Moment::default()).expect("well-formed");
    bencher
        .counter(ItemsCount::new(SPANS))
        .bench_local(|| row.run(black_box(batch.clone()), Moment::default()));
}

/// Batches of the payload with trace ids that never come again.
fn fresh() -> impl FnMut() -> Batch {
    let template = payload();
    // The field with a trace id, as far as all ids agree.
    let id = [&[10, 16][..], &7u64.to_be_bytes()].concat();
    let places = template.windows(id.len()).enumerate().filter(|(_, bytes)| *bytes == id);
    let places: Vec<usize> = places.map(|(at, _)| at + 2).collect();
    assert_eq!(places.len(), SPANS);
    let mut next = 0u64;
    move || {
        let mut bytes = template.to_vec();
        for (n, at) in places.iter().enumerate() {
            // Ids are random: neighbours have nothing in common.
            let trace = (next + n as u64 / 10 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bytes[at + 8..at + 16].copy_from_slice(&trace.to_be_bytes());
        }
        next += SPANS as u64 / 10;
        Batch::parse(Signal::Traces, Bytes::from(bytes), Moment::default()).expect("well-formed")
    }
}

fn build(name: &str, yaml: &str) -> Built {
    let kind = LIST.iter().find(|kind| kind.component.name == name).expect("in the list");
    let section = Section::from_yaml(kind.component.keys, yaml).expect("it is valid");
    let registry = Registry::default();
    (kind.build)(&section, &Setup::new(name, "traces", Signal::Traces, &registry))
}

fn built(name: &str) -> Box<dyn Inspector> {
    match build(name, "{}") {
        Built::Inspector(inspector) => inspector,
        Built::Stateless(processor) => processor.inspector().expect("can inspect"),
        Built::Stateful(_) => unreachable!("not one of the three"),
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn payload() -> Bytes {
    request((0..SPANS).map(span).collect())
}

fn request(spans: Vec<Span>) -> Bytes {
    let resource =
        Resource { attributes: vec![text("service.name", "planner")], ..Default::default() };
    let scope = InstrumentationScope { name: "openai_v2".into(), ..Default::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..Default::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..Default::default()
    };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
    Bytes::from(request.encode_to_vec())
}

fn span(n: usize) -> Span {
    let (root, role) = (n.is_multiple_of(10), n % 3);
    let start = 1_780_000_000_000_000_000 + n as u64 * 1000;
    let mut attributes = vec![
        text("gen_ai.operation.name", ["chat", "execute_tool", "invoke_agent"][role]),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "gpt-4o-2024-08-06"),
        text("gen_ai.response.id", "chatcmpl-9J3uIL87gldCFtiIbyaOvTeYBRA3l"),
        int("gen_ai.usage.input_tokens", 523),
        int("gen_ai.usage.output_tokens", 97),
        text("server.address", "api.openai.com"),
        int("server.port", 443),
    ];
    if root {
        let baggage = "user.id=alice,session.id=9f0f3f2e-8f0c-4c2f-a2a5-1234567890ab,tenant=acme";
        attributes.push(text("baggage", baggage));
    }
    Span {
        trace_id: [7u64.to_be_bytes(), (1 + n as u64 / 10).to_be_bytes()].concat(),
        span_id: (1 + n as u64).to_be_bytes().to_vec(),
        parent_span_id: if root { vec![] } else { (n as u64).to_be_bytes().to_vec() },
        name: ["chat gpt-4o", "execute_tool get_weather", "invoke_agent planner"][role].into(),
        kind: 1 + role as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 900_000,
        attributes,
        events: if role == 0 { events(start) } else { vec![] },
        ..Default::default()
    }
}

fn events(start: u64) -> Vec<Event> {
    let prompt: String = PROMPT.chars().cycle().take(318).collect();
    let event = |time_unix_nano, name: &str, attributes| Event {
        time_unix_nano,
        name: name.into(),
        attributes,
        ..Default::default()
    };
    let mark = attribute("sensitive", Value::BoolValue(true));
    vec![
        event(start, "gen_ai.content.prompt", vec![text("gen_ai.prompt", &prompt), mark]),
        event(start + 5, "retry", vec![int("attempt", 2)]),
    ]
}
