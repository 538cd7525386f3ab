//! What conditions cost per span: five of them through the `filter` processor, which drops
//! nothing, and the language alone.
//!
//! The payload is agent-shaped: 100 spans of about 830 bytes, twelve attributes, two events.
//! `cargo bench --bench condition`; the target is 0.25 µs per span for five conditions.

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use spanloom::batch::{Batch, Signal};
use spanloom::condition::{Conditions, Context};
use spanloom::config::Section;
use spanloom::moment::Moment;
use spanloom::otlp::text;
use spanloom::processors::{Built, LIST, Out, Setup};
use spanloom::telemetry::Registry;

const SPANS: usize = 100;

/// None holds for any span of the payload, so that all are asked.
const FIVE: [&str; 5] = [
    r#"name == "GET /healthz" and IsRootSpan()"#,
    r#"resource.attributes["service.name"] == "load-test""#,
    r#"attributes["gen_ai.usage.input_tokens"] > 100000"#,
    r#"kind == SPAN_KIND_SERVER and HasPrefix(attributes["server.address"], "internal.")"#,
    r#"attributes["gen_ai.request.model"] == nil and status.code == STATUS_CODE_OK"#,
];

fn main() {
    divan::main();
}

/// The processor with the first so many conditions; 0 is what the processor itself costs.
#[divan::bench(args = [0, 1, 5])]
fn filter(bencher: Bencher<'_, '_>, conditions: usize) {
    run(bencher, &FIVE[..conditions]);
}

/// One regular expression on every name.
#[divan::bench]
fn filter_by_pattern(bencher: Bencher<'_, '_>) {
    run(bencher, &[r#"IsMatch(name, "^GET /(healthz|readyz)$")"#]);
}

/// The language alone: gather and ask.
#[divan::bench]
fn five_conditions(bencher: Bencher<'_, '_>) {
    let batch = batch();
    let conditions = Conditions::compile(Context::Span, &FIVE).expect("they are valid");
    bencher.counter(ItemsCount::new(SPANS)).bench_local(|| {
        let mut row = conditions.row();
        let mut held = 0;
        for group in black_box(&batch).request().resource_groups() {
            conditions.resource(&mut row, group);
            for scope in group.scope_groups() {
                conditions.scope(&mut row, scope);
                for span in scope.spans() {
                    conditions.item(&mut row, span.0);
                    held += (0..FIVE.len())
                        .filter(|place| conditions.holds(*place, &row) == Ok(true))
                        .count();
                }
            }
        }
        held
    });
}

/// What reading five conditions costs, once per configuration.
#[divan::bench]
fn compile_five(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Conditions::compile(Context::Span, black_box(&FIVE)).is_ok());
}

fn run(bencher: Bencher<'_, '_>, conditions: &[&str]) {
    let kind = LIST.iter().find(|kind| kind.component.name == "filter").expect("in the list");
    let list: Vec<_> = conditions.iter().map(|condition| format!("  - '{condition}'")).collect();
    let yaml = format!("trace_conditions: []\ntraces:\n span:\n{}\n", list.join("\n"));
    let section = Section::from_yaml(kind.component.keys, &yaml).expect("it is valid");
    let registry = Registry::default();
    let setup = Setup::new("filter", "traces", Signal::Traces, &registry);
    let Built::Stateless(filter) = (kind.build)(&section, &setup) else { return };
    let batch = batch();
    bencher.counter(ItemsCount::new(SPANS)).bench_local(|| {
        let mut out = Out::default();
        filter.process(black_box(batch.clone()), Moment::default(), &mut out);
        let passed = out.take();
        assert_eq!(passed.first().map(Batch::items), Some(SPANS));
        passed
    });
}

fn batch() -> Batch {
    let mut lines = String::from("resource service.name=\"planner\" host.name=\"a-1\"\n");
    lines.push_str("scope \"openai_v2\" version=\"1.2\"\n");
    for n in 0..SPANS {
        let parent = if n % 10 == 0 { String::new() } else { format!("parent={:x} ", n / 10 + 1) };
        lines.push_str(&format!(
            r#"span {:x}/{:x} {parent}"chat gpt-4o" kind=client 0..900ms status=unset gen_ai.operation.name="chat" gen_ai.provider.name="openai" gen_ai.request.model="gpt-4o-2024-08-06" gen_ai.response.id="chatcmpl-9J3uIL87gldCFtiIbyaOvTeYBRA3l" gen_ai.response.model="gpt-4o-2024-08-06" gen_ai.usage.input_tokens=523 gen_ai.usage.output_tokens=97 gen_ai.request.temperature=0.7 gen_ai.conversation.id="conv_5j66UpCpwteGg4YSxUnt7lPY" server.address="api.openai.com" server.port=443 user.id="alice"
  event "gen_ai.content.prompt" @5ms gen_ai.prompt="What is the weather in Paris, for alice@example.com?"
  event "retry" @9ms attempt=1
"#,
            n / 10 + 1,
            n + 1,
        ));
    }
    let bytes = Bytes::from(text::parse(&lines).expect("the notation is valid"));
    Batch::parse(Signal::Traces, bytes, Moment::default()).expect("well-formed")
}
