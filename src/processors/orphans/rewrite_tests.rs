//! `mode: rewrite`: pieces of a trace in, one trace out.

use crate::batch::Signal;
use crate::moment::Moment;
use crate::otlp::text;
use crate::processors::fragments::Place;
use crate::processors::tests::{Bench, request};

/// What came out of a run.
struct Run {
    bench: Bench,
    lines: Vec<String>,
}

impl Run {
    fn new(yaml: &str) -> Run {
        let bench = Bench::new(Signal::Traces, "orphans", &format!("{{mode: rewrite{yaml}}}"));
        Run { bench, lines: vec![] }
    }

    fn note(&mut self, batches: &[bytes::Bytes]) {
        for bytes in batches {
            let printed = text::print(Signal::Traces.message(), bytes);
            self.lines.extend(printed.lines().filter(|line| line.contains("span ")).map(plain));
        }
    }

    /// Takes a request, and some seconds.
    fn take(&mut self, notation: &str, seconds: u64) {
        let passed = self.bench.pass(request(notation));
        self.note(&[passed]);
        let woken = self.bench.wake(seconds);
        self.note(&woken);
    }

    /// All spans that came out, in order of their ids.
    fn ended(&mut self) -> Vec<String> {
        let passed = self.bench.finish();
        self.note(&passed);
        self.lines.sort();
        self.lines.clone()
    }

    fn refused(&self, cause: &str) -> u64 {
        self.bench.metric("spanloom_orphans_refused_rewrites", &format!("cause=\"{cause}\""))
    }
}

/// A span without its tags but those of a rewrite, and of the parent's trace.
fn plain(line: &str) -> String {
    let words = line.split(' ').filter(|word| {
        let own = word.contains(".original_") || word.contains(".parent.trace_id");
        own || !word.starts_with("app.agent.") && !word.contains('"')
    });
    let line = words.collect::<Vec<_>>().join(" ").replace("app.agent.orphan.", "");
    line.replace(&"0".repeat(31), "")
}

/// An agent whose tool is called under an id, and that tool in a trace of its own.
const AGENT: &str = "resource service.name=\"web\"\nscope -\n\
    span 1/a1 \"agent\" 0..900ms gen_ai.operation.name=\"invoke_agent\"\n\
    span 1/a2 parent=a1 \"chat\" kind=client 10ms..90ms gen_ai.operation.name=\"chat\" \
    llm.output_messages.0.message.tool_calls.0.tool_call.id=\"call_u7Kp2Qx9Ls\"\n";
const TOOL: &str = "resource service.name=\"tools\"\nscope -\n\
    span 2/b2 parent=b1 \"query\" kind=client 120ms..180ms\n\
    span 2/b1 \"tool\" 100ms..200ms gen_ai.operation.name=\"execute_tool\" \
    gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"\n";
/// The tool sends a message, and that is worked on in a third trace.
const SENT: &str = "span 2/b3 parent=b1 \"send\" kind=producer 130ms..131ms \
    messaging.message.id=\"m-1\" messaging.destination.name=\"q\"\n";
const WORKER: &str = "resource service.name=\"worker\"\nscope -\n\
    span 3/c1 \"process\" kind=consumer 150ms..190ms messaging.message.id=\"m-1\" \
    messaging.destination.name=\"q\"\n";

const JOINED: [&str; 6] = [
    "span 1/a1 0..900ms",
    "span 1/a2 parent=a1 kind=client 10ms..90ms",
    "span 1/b1 parent=a1 100ms..200ms flags=0x300 original_trace_id=\"2\" parent.trace_id=\"1\"",
    "span 1/b2 parent=b1 kind=client 120ms..180ms original_trace_id=\"2\"",
    "span 1/b3 parent=b1 kind=producer 130ms..131ms original_trace_id=\"2\"",
    "span 1/c1 parent=b3 kind=consumer 150ms..190ms flags=0x300 original_trace_id=\"3\" \
     parent.trace_id=\"1\"",
];

#[test]
fn fragments_of_fragments_end_in_the_first_trace_whatever_comes_first() {
    let tool = format!("{TOOL}{SENT}");
    let orders: [[&str; 3]; 6] = [
        [AGENT, &tool, WORKER],
        [AGENT, WORKER, &tool],
        [&tool, AGENT, WORKER],
        [&tool, WORKER, AGENT],
        [WORKER, &tool, AGENT],
        [WORKER, AGENT, &tool],
    ];
    for order in orders {
        // In time, in one request, and cut off by the end.
        for seconds in [3, 0] {
            let mut run = Run::new("");
            order.iter().for_each(|part| run.take(part, seconds));
            if seconds > 0 {
                [14, 1, 2, 4, 4].iter().for_each(|wait| {
                    let woken = run.bench.wake(*wait);
                    run.note(&woken);
                });
                assert_eq!(run.lines.len(), 6, "nothing waits any longer: {order:?}");
            }
            assert_eq!(run.ended(), JOINED, "{order:?}");
        }
        let mut run = Run::new("");
        run.take(&order.concat(), 20);
        assert_eq!(run.ended(), JOINED, "{order:?}");
    }
}

#[test]
fn a_fragment_that_must_leave_early_waits_for_no_other() {
    let mut run = Run::new(", limit_mib: 0, ledger: 0s");
    [WORKER, &format!("{TOOL}{SENT}"), AGENT].iter().for_each(|part| run.take(part, 0));
    assert!(run.bench.metric("spanloom_orphans_hurried", "") > 0);
    assert_eq!(run.ended().len(), 6, "every span leaves once");
}

#[test]
fn fragments_that_belong_into_each_other_are_not_both_moved() {
    let call = |n: u64| format!("gen_ai.tool.call.id=\"call_u7Kp2Qx9L{n}\"");
    let fragment = |n: u64, own: u64, other: u64| {
        format!(
            "span {n}/b{n} \"tool\" 100ms..200ms gen_ai.operation.name=\"execute_tool\" {}\n\
             span {n}/c{n} parent=b{n} \"chat\" 110ms..120ms gen_ai.operation.name=\"chat\" \
             llm.output_messages.0.message.tool_calls.0.tool_call.id=\"call_u7Kp2Qx9L{other}\"\n",
            call(own)
        )
    };
    let mut run = Run::new("");
    run.take(&fragment(2, 7, 8), 1);
    run.take(&fragment(3, 8, 7), 14);
    (0..20).for_each(|_| run.take("span 9/91 parent=90", 5));
    let moved = run.ended().iter().filter(|line| line.contains("original_trace_id")).count();
    assert_eq!((moved, run.refused("cycle")), (2, 1), "{:#?}", run.lines);
}

#[test]
fn a_span_id_that_came_with_another_fragment_is_a_collision() {
    let other = TOOL.replace("2/", "4/").replace("b1", "d1").replace("call_u7", "call_w8");
    let second = AGENT.replace("/a2 parent=a1", "/a3 parent=a1").replace("call_u7", "call_w8");
    let second = second.lines().last().unwrap_or_default();
    let mut run = Run::new("");
    run.take(&format!("{AGENT}{second}"), 3);
    run.take(TOOL, 3);
    run.take(&other, 20);
    let ended = run.ended();
    assert_eq!(run.refused("collision"), 1, "{ended:#?}");
    assert!(ended.iter().any(|line| line.starts_with("span 4/d1")), "{ended:#?}");
    assert!(ended.iter().any(|line| line.starts_with("span 1/b2")), "{ended:#?}");
}

#[test]
fn what_a_session_joins_stays_apart() {
    let agent = AGENT.replace("0..900ms", "0..900ms session.id=\"s-1\"");
    let tool = TOOL.replace("gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"", "session.id=\"s-1\"");
    let mut run = Run::new("");
    run.take(&agent, 3);
    run.take(&tool, 20);
    let ended = run.ended();
    assert!(ended.iter().any(|line| line.starts_with("span 2/b1")), "{ended:#?}");
    assert!(!ended.iter().any(|line| line.contains("original")), "{ended:#?}");
}

#[test]
fn a_fragment_whose_parent_is_resolved_is_known_as_one_in_every_mode() {
    let key = |id: u64| u64::from_be(id);
    let trace = |id: u128| u128::from_be(id);
    for mode in ["tag", "link", "rewrite"] {
        let yaml = format!("{{mode: {mode}, head_hold: 0s}}");
        let mut bench = Bench::new(Signal::Traces, "orphans", &yaml);
        bench.pass(request(AGENT));
        bench.pass(request(TOOL));
        let above = bench.fragments().above(trace(2), Moment::default());
        assert_eq!(above, Some(Place { trace: trace(1), span: key(0xa1) }), "{mode}");
        // A second root's parent is not that of its trace; and who may be the parent is not.
        let second = TOOL.replace("2/", "4/") + "span 4/d1 \"first\" 0..300ms\n";
        bench.pass(request(&second));
        assert_eq!(bench.fragments().above(trace(4), Moment::default()), None, "{mode}");
    }
}

/// Log records of the tool's trace, and of others.
const RECORDS: &str = "log 2/b1 info \"tool\"\nlog 1/a1 info \"agent\"\nlog -/- info \"none\"";

fn records(batches: &[bytes::Bytes]) -> String {
    batches.iter().map(|bytes| text::print(Signal::Logs.message(), bytes)).collect()
}

#[test]
fn log_records_follow_a_rewritten_trace() {
    let original = format!("app.agent.orphan.original_trace_id=\"{:032x}\"", 2);
    let tool = |trace: u8| format!("log {trace}/b1 info \"tool\"");
    for mode in ["rewrite", "link"] {
        let yaml = format!("mode: {mode}");
        let mut spans = Bench::new(Signal::Traces, "orphans", &yaml);
        let mut logs = spans.beside(Signal::Logs, "orphans", &yaml);
        if mode == "link" {
            logs.check_untouched(RECORDS);
            continue;
        }
        // The records come first, and wait on while the tool's trace is held.
        logs.check(RECORDS, "log -/- info \"none\"");
        spans.wait(10);
        spans.pass(request(TOOL));
        assert!(logs.wake(16).is_empty());
        spans.pass(request(AGENT));
        spans.wake(16);
        let passed = records(&logs.wake(11));
        assert!(passed.contains(&format!("{} {original}", tool(1))), "{passed}");
        assert!(passed.contains("log 1/a1 info \"agent\"\n"), "{passed}");
        // Late ones follow at once; another pipeline with the same spans decides for itself.
        logs.check(&tool(2), &format!("{} {original}", tool(1)));
        assert_eq!(logs.metric("spanloom_orphans_rewritten_records", ""), 2);
        let mut other = spans.beside(Signal::Traces, "orphans", &yaml);
        other.pass(request(AGENT));
        assert!(other.pass(request(TOOL)).is_empty());
        let again = other.wake(16).concat();
        let again = text::print(Signal::Traces.message(), &again);
        assert!(again.contains("span 1/b1 parent=a1"), "{again}");
    }
}

#[test]
fn log_records_wait_for_no_decision_longer_than_they_may() {
    let yaml = "{mode: rewrite, head_hold: 5s, hold_max: 8s}";
    let mut spans = Bench::new(Signal::Traces, "orphans", yaml);
    let mut logs = spans.beside(Signal::Logs, "orphans", yaml);
    spans.pass(request(TOOL));
    logs.pass(request(RECORDS));
    assert!(logs.wake(7).is_empty(), "the trace is undecided");
    assert!(logs.held() > 0, "they are not dropped");
    assert!(records(&logs.wake(1)).contains("log 2/b1"));
    assert_eq!(logs.held(), 0);
    // And in no more memory than they may.
    let mut logs = spans.beside(Signal::Logs, "orphans", "{mode: rewrite, limit_mib: 0}");
    let whole = logs.pass(request("log 2/b1 info \"tool\""));
    assert!(records(&[whole]).contains("log 2/b1"));
    assert_eq!(logs.metric("spanloom_orphans_hurried_records", ""), 1);
}
