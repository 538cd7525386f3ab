//! What the room of the bytes costs, on 100 agent-shaped spans in 54 KB: nine attributes each,
//! and an event on every fourth.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use prost::Message as _;
use spanloom::limits;
use spanloom::otlp::check::check;
use spanloom::otlp::edit::Edits;
use spanloom::otlp::fields::span;
use spanloom::otlp::join::{join, split};
use spanloom::otlp::json::{from_json, to_json};
use spanloom::otlp::partition::partition;
use spanloom::otlp::schema::TRACES;
use spanloom::otlp::text;
use spanloom::otlp::view::{AnyValue, Request, Span};
use spanloom::otlp::wire::{put_bytes_field, put_message_field};
use spanloom::processors::places::shard_of;
use std::fmt::Write;

fn main() {
    divan::main();
}

fn request() -> Bytes {
    let mut text =
        String::from("resource service.name=\"planner\" host.name=\"a\"\nscope \"agents\"\n");
    let prompt = "Please answer in one sentence. ".repeat(5);
    for k in 1..=100 {
        let _ = writeln!(
            text,
            "span {:x}/{k:x} parent=1 \"chat gpt-4o\" kind=client {k}..900ms flags=0x101 status=ok \
             gen_ai.operation.name=\"chat\" gen_ai.system=\"openai\" gen_ai.request.model=\"gpt-4o\" \
             gen_ai.response.model=\"gpt-4o-2024-08-06\" gen_ai.usage.input_tokens={k}23 \
             gen_ai.usage.output_tokens=77 gen_ai.request.temperature=0.7 \
             gen_ai.response.finish_reasons=[\"stop\"] gen_ai.prompt=\"{prompt}\"",
            k / 10 + 1
        );
        if k % 4 == 0 {
            let _ =
                writeln!(text, "  event \"gen_ai.content.prompt\" @5ms gen_ai.prompt=\"hello\"");
        }
    }
    Bytes::from(text::parse(&text).unwrap())
}

fn spans(request: &[u8]) -> impl Iterator<Item = Span<'_>> {
    let groups = Request::new(request).resource_groups().flat_map(|g| g.scope_groups());
    groups.flat_map(|g| g.spans())
}

#[divan::bench]
fn copy(bencher: Bencher) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| black_box(&request).to_vec());
}

#[divan::bench]
fn check_at_the_door(bencher: Bencher) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| check(&TRACES, black_box(&request), &limits::REQUEST).unwrap());
}

#[divan::bench]
fn prost_decode(bencher: Bencher) {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| ExportTraceServiceRequest::decode(black_box(&*request)).unwrap());
}

#[divan::bench]
fn walk_all_attributes(bencher: Bencher) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| {
        let attributes = spans(black_box(&request)).flat_map(|span| {
            span.attributes().chain(span.events().flat_map(|event| event.attributes()))
        });
        attributes.filter(|a| matches!(a.value, AnyValue::Text(t) if t.len() > 100)).count()
    });
}

/// One attribute out of each span, and one in.
#[divan::bench]
fn edit_every_span(bencher: Bencher) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    let mut edits = Edits::default();
    bencher.bench_local(|| {
        edits.clear();
        for span in spans(black_box(&request)) {
            if let Some(prompt) = span.attributes().find(|a| a.key == b"gen_ai.prompt") {
                edits.remove(span.0, &prompt.field);
            }
            edits.append(span.0, |out| {
                put_message_field(out, span::ATTRIBUTES, |out| {
                    put_bytes_field(out, 1, b"user.id");
                    put_message_field(out, 2, |out| put_bytes_field(out, 1, b"alice"));
                });
            });
        }
        edits.apply(&request)
    });
}

#[divan::bench]
fn join_ten(bencher: Bencher) {
    let requests = vec![request(); 10];
    let bencher = bencher.counter(BytesCount::new(10 * requests[0].len()));
    bencher.bench(|| join(black_box(&requests)));
}

#[divan::bench]
fn split_at_8_kib(bencher: Bencher) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| split(&TRACES, black_box(&request), 8 << 10));
}

/// Eleven traces of nine or ten spans in a row among so many shards.
#[divan::bench(args = [2, 4, 8, 16])]
fn part_by_trace(bencher: Bencher, shards: usize) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| {
        partition(&TRACES, black_box(&request), |span| {
            let id = span.field(span::TRACE_ID).map(|field| field.bytes());
            shard_of(id.unwrap_or_default(), shards)
        })
    });
}

#[divan::bench]
fn read_json(bencher: Bencher) {
    let json = to_json(&TRACES, &request());
    let bencher = bencher.counter(BytesCount::new(json.len()));
    bencher.bench(|| from_json(&TRACES, black_box(&json), &limits::REQUEST).unwrap());
}

#[divan::bench]
fn write_json(bencher: Bencher) {
    let request = request();
    let bencher = bencher.counter(BytesCount::new(request.len()));
    bencher.bench(|| to_json(&TRACES, black_box(&request)));
}
