//! Spans that are made to cost much: what is looked at for each stays the same however many there
//! are, and so does what is remembered. `just bounded` sends more of them through the binary.

use super::index::steps;
use crate::batch::Signal;
use crate::otlp::text;
use crate::processors::tests::{Bench, request};

/// Far below of what is sent, so that every bound is reached.
const LIMITS: &str = "limit_mib: 1, limit_traces: 1000, limit_spans: 4000, limit_boundaries: 1000";

/// Nodes and traces that are looked at for each of so many spans; every one of them leaves once.
#[track_caller]
fn cost(mode: &str, count: usize, span: fn(usize) -> String) -> f64 {
    let yaml = format!("{{mode: {mode}, {LIMITS}}}");
    let mut bench = Bench::new(Signal::Traces, "orphans", &yaml);
    let (mut left, spans): (usize, Vec<String>) = (0, (0..count).map(span).collect());
    let count_spans = |bytes: &bytes::Bytes| {
        let printed = text::print(Signal::Traces.message(), bytes);
        printed.lines().filter(|line| line.starts_with("span ")).count()
    };
    steps::take();
    for batch in spans.chunks(500) {
        let passed = bench.pass_all(request(&batch.join("\n")));
        left += passed.iter().map(count_spans).sum::<usize>();
        left += bench.wake(1).iter().map(count_spans).sum::<usize>();
        for (metric, limit) in [
            ("spanloom_orphans_held_bytes", 1 << 20),
            ("spanloom_orphans_traces", 1000),
            ("spanloom_orphans_boundaries", 1000),
        ] {
            let value = bench.metric(metric, "");
            assert!(value <= limit, "{metric} is {value}, at most {limit}");
        }
    }
    left += bench.finish().iter().map(count_spans).sum::<usize>();
    assert_eq!((left, bench.held()), (count, 0), "every span leaves once");
    steps::take() as f64 / count as f64
}

#[track_caller]
fn check(span: fn(usize) -> String) {
    for mode in ["tag", "link", "rewrite"] {
        let [few, many] = [3000, 12_000].map(|count| cost(mode, count, span));
        println!("{mode}: {few:.1} steps for each of 3,000 spans, {many:.1} of 12,000");
        assert!(many <= few * 1.2 + 2.0, "{mode}: {many} steps for each of many, {few} of few");
    }
}

#[test]
fn one_key_on_every_span() {
    check(|n| {
        let keys = "session.id=\"s\" a2a.task.id=\"t\" gen_ai.tool.call.id=\"call_Zx81kQp0\"";
        format!("span {:x}/{:x} {n}ms..{}ms kind=client {keys}", n + 1, n + 1, n + 9)
    });
    check(|n| {
        let tool = "gen_ai.operation.name=\"execute_tool\" gen_ai.tool.call.id=\"call_Zx81kQp0\"";
        format!("span {:x}/1 {n}ms..{}ms {tool}", n + 1, n + 900)
    });
}

#[test]
fn traces_of_one_span() {
    check(|n| format!("span {:x}/1 \"a\" 0..9ms", n + 1));
    check(|n| format!("span {:x}/1 \"a\" 0..9ms gen_ai.operation.name=\"execute_tool\"", n + 1));
}

#[test]
fn parents_in_a_ring() {
    check(|n| {
        let agent = "gen_ai.operation.name=\"invoke_agent\" session.id=\"s\"";
        format!("span 1/{:x} parent={:x} {n}ms..9s {agent}", n + 1, (n + 1) % 1000 + 1)
    });
    // And traces, each of which is below the next one of three.
    check(|n| {
        let (own, next) = (n % 3, (n + 1) % 3);
        format!(
            "span {:x}/{:x} 0..9ms run_id=\"run_{own}\" parent_run_id=\"run_{next}\"",
            own + 1,
            n + 1
        )
    });
}

#[test]
fn one_trace_of_all_spans() {
    check(|n| {
        let agent = "gen_ai.operation.name=\"invoke_agent\"";
        format!("span 1/{:x} {n}ms..200s {agent}", n + 1)
    });
    check(|n| format!("span 1/{:x} parent={:x} 0..9ms kind=server", n + 1, n + 90_000));
}

#[test]
fn tools_and_calls_of_one_session() {
    check(|n| {
        let tool = "gen_ai.operation.name=\"execute_tool\" session.id=\"s\"";
        format!("span {:x}/1 {n}ms..{}ms {tool}", n + 1, n + 900)
    });
    check(|n| {
        let kind = if n % 2 == 0 { "kind=client" } else { "kind=server" };
        format!("span {:x}/1 {n}ms..{}ms {kind} server.address=\"a\"", n + 1, n + 900)
    });
}
