//! `mode: rewrite`: spans in, one tree out.

use crate::batch::{Batch, Signal};
use crate::moment::Moment;
use crate::otlp::text;
use crate::processors::tests::{request, section};
use crate::processors::{Built, LIST, Out, Setup, Stateful};
use crate::telemetry::Registry;
use std::time::Duration;

/// The processor, its time and what it passed on.
struct Run {
    processor: Box<dyn Stateful>,
    registry: Registry,
    now: Moment,
    passed: Vec<Batch>,
}

impl Run {
    fn new(yaml: &str) -> Run {
        let registry = Registry::default();
        let kind = LIST.iter().find(|kind| kind.component.name == "orphans").unwrap();
        let section = section("orphans", &format!("{{mode: rewrite{yaml}}}")).unwrap();
        let setup = Setup::new("orphans", "traces", Signal::Traces, &registry);
        let Built::Stateful(processor) = (kind.build)(&section, &setup) else { panic!("its kind") };
        Run { processor, registry, now: Moment::default(), passed: vec![] }
    }

    /// Takes a request, and some seconds.
    fn take(&mut self, notation: &str, seconds: u64) -> &mut Run {
        let mut out = Out::default();
        let batch = Batch::parse(Signal::Traces, request(notation), self.now).unwrap();
        self.processor.process(batch, self.now, &mut out);
        self.now = self.now.plus(Duration::from_secs(seconds));
        if self.processor.wake_at().is_some_and(|at| at <= self.now) {
            self.processor.wake(self.now, &mut out);
        }
        self.passed.extend(out.take());
        self
    }

    /// All spans that came out, without the tags that the tagger writes, in order of their ids.
    fn ended(&mut self) -> Vec<String> {
        let mut out = Out::default();
        self.processor.finish(self.now, &mut out);
        self.passed.extend(out.take());
        let mut lines = vec![];
        for batch in &self.passed {
            let parsed = Batch::parse(Signal::Traces, batch.bytes().clone(), self.now).unwrap();
            assert_eq!(parsed.items(), batch.items(), "the count of items is kept");
            let printed = text::print(Signal::Traces.message(), batch.bytes());
            lines.extend(printed.lines().filter(|line| line.contains("span ")).map(|line| {
                let words = line.split(' ').filter(|word| {
                    let own = word.contains(".original_");
                    own || !word.starts_with("app.agent.") && !word.contains('"')
                });
                words.collect::<Vec<_>>().join(" ").replace("app.agent.orphan.", "")
            }));
        }
        lines.sort();
        lines
    }

    fn refused(&self, cause: &str) -> bool {
        let line = format!("cause=\"{cause}\"");
        let text = self.registry.render();
        let mut lines = text.lines().filter(|line| line.contains("spanloom_orphans_refused"));
        lines.any(|found| found.contains(&line) && !found.ends_with(" 0"))
    }
}

/// An agent whose tool is called under an id, and that tool in a trace of its own.
const AGENT: &str = "resource service.name=\"web\"\nscope -\n\
    span 1/a1 \"agent\" 0..900ms gen_ai.operation.name=\"invoke_agent\"\n\
    span 1/a2 parent=a1 \"chat\" kind=client 10..90ms gen_ai.operation.name=\"chat\" \
    llm.output_messages.0.message.tool_calls.0.tool_call.id=\"call_u7Kp2Qx9Ls\"\n";
const TOOL: &str = "resource service.name=\"tools\"\nscope -\n\
    span 2/b2 parent=b1 \"query\" kind=client 120..180ms\n\
    span 2/b1 \"tool\" 100..200ms gen_ai.operation.name=\"execute_tool\" \
    gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"\n";

const JOINED: [&str; 4] = [
    "span 1/a1 0..900ms",
    "span 1/a2 parent=a1 kind=client 10ms..90ms",
    "span 1/b1 parent=a1 100ms..200ms flags=0x300 original_trace_id=2",
    "span 1/b2 parent=b1 kind=client 120ms..180ms original_trace_id=2",
];

#[track_caller]
fn check(run: &mut Run, expected: &[&str]) {
    let long = |line: &str| line.replace("_id=2", &format!("_id=\"{:032x}\"", 2));
    let expected: Vec<String> = expected.iter().map(|line| long(line)).collect();
    let found: Vec<String> = run.ended();
    assert_eq!(found, expected);
}

#[test]
fn a_fragment_with_a_certain_parent_becomes_a_part_of_its_trace() {
    check(Run::new("").take(&format!("{AGENT}{TOOL}"), 0), &JOINED);
    check(Run::new("").take(AGENT, 3).take(TOOL, 3), &JOINED);
    // The tool came before anybody could know who called it.
    check(Run::new("").take(TOOL, 3).take(AGENT, 20), &JOINED);
}

/// The tool calls a service over a queue, which calls nobody.
const QUEUE: &str = "resource service.name=\"tools\"\nscope -\n\
    span 2/b3 parent=b1 \"send\" kind=producer 130..131ms messaging.message.id=\"m-1\" \
    messaging.destination.name=\"q\"\n";
const WORKER: &str = "resource service.name=\"worker\"\nscope -\n\
    span 3/c1 \"process\" kind=consumer 150..190ms messaging.message.id=\"m-1\" \
    messaging.destination.name=\"q\"\n  link 3/c9\n";

#[test]
fn fragments_of_fragments_end_in_the_first_trace_whatever_comes_first() {
    let worker = WORKER.replace("\n  link 3/c9", "");
    let tool = format!("{TOOL}{}", QUEUE.replace("resource service.name=\"tools\"\nscope -\n", ""));
    let orders: [[&str; 3]; 4] = [
        [AGENT, &tool, &worker],
        [&worker, &tool, AGENT],
        [&tool, &worker, AGENT],
        [&worker, AGENT, &tool],
    ];
    for order in orders {
        let mut run = Run::new("");
        for part in order {
            run.take(part, 3);
        }
        run.take("span 9/91", 20);
        let ended = run.ended();
        let of_first = ended.iter().filter(|line| line.contains("span 1/"));
        assert_eq!((of_first.count(), ended.len()), (6, 7), "{order:?}: {ended:#?}");
        let worker = ended.iter().find(|line| line.contains("span 1/c1"));
        let worker = worker.expect("it is joined");
        assert!(worker.contains("parent=b3") && worker.contains("flags=0x300"), "{worker}");
        let id = format!("original_trace_id=\"{:032x}\"", 3);
        assert!(worker.contains(&id), "{worker}");
    }
}

#[test]
fn late_spans_follow_for_a_while() {
    let late = "span 2/b7 parent=b2 130..140ms\n  link 2/b1\n  link 7/71";
    let mut run = Run::new(", alias_ttl: 60s");
    let ended = run.take(&format!("{AGENT}{TOOL}"), 30).take(late, 31).take(late, 0).ended();
    let moved: Vec<&String> = ended.iter().filter(|line| line.contains("b7")).collect();
    assert_eq!(moved.len(), 2);
    assert!(moved[0].contains("span 1/b7 parent=b2"), "{moved:?}");
    assert!(moved[1].contains("span 2/b7 parent=b2"), "{moved:?}");
    let printed: Vec<String> = run
        .passed
        .iter()
        .map(|batch| text::print(Signal::Traces.message(), batch.bytes()))
        .collect();
    let printed = printed.concat();
    assert!(printed.contains("link 1/b1") && printed.contains("link 7/71"), "{printed}");
}

#[test]
fn what_is_intact_passes_as_it_came() {
    let whole =
        "span 1/a1 0..9ms\nspan 1/a2 parent=a1 1..2ms gen_ai.operation.name=\"execute_tool\"";
    let mut run = Run::new("");
    let bytes = request(whole);
    let batch = Batch::parse(Signal::Traces, bytes.clone(), run.now).unwrap();
    let mut out = Out::default();
    run.processor.process(batch, run.now, &mut out);
    let passed = out.take();
    assert_eq!(passed[0].bytes().as_ptr(), bytes.as_ptr());
}

#[track_caller]
fn check_refused(requests: &[&str], cause: &str) {
    let mut run = Run::new("");
    for part in requests {
        run.take(part, 20);
    }
    let ended = run.ended();
    assert!(ended.iter().any(|line| line.contains("span 2/b1")), "{ended:#?}");
    assert!(!ended.iter().any(|line| line.contains("original")), "{ended:#?}");
    assert!(run.refused(cause), "{cause}: {}", run.registry.render());
}

#[test]
fn what_is_not_certain_is_refused_and_counted() {
    let second = format!("{AGENT}{TOOL}span 2/b8 \"another root\" 150..160ms\n");
    check_refused(&[&second], "several_heads");
    check_refused(&["span 2/b2 parent=b1 \"query\" kind=client 120..180ms", AGENT, TOOL], "late");
    check_refused(&[&format!("{AGENT}span 1/b2 parent=a1 5..6ms"), TOOL], "collision");
}

#[test]
fn what_a_session_joins_stays_apart() {
    let agent = AGENT.replace("0..900ms", "0..900ms session.id=\"s-1\"");
    let tool = TOOL.replace("gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"", "session.id=\"s-1\"");
    let ended = Run::new("").take(&agent, 3).take(&tool, 20).ended();
    assert!(ended.iter().any(|line| line.contains("span 2/b1")), "{ended:#?}");
    assert!(!ended.iter().any(|line| line.contains("original")), "{ended:#?}");
}

#[test]
fn what_waits_is_bounded_and_nothing_is_lost() {
    let mut run = Run::new(", limit_mib: 1");
    for n in 1..200u64 {
        let note = "x".repeat(20_000);
        let tool = format!(
            "span {n:x}/b2 parent=b1 note=\"{note}\"\nspan {n:x}/b1 100..200ms \
             gen_ai.operation.name=\"execute_tool\" gen_ai.tool.call.id=\"call_u7Kp2Qx9L{n}\""
        );
        run.take(&tool, 0);
    }
    let passed: usize = run.passed.iter().map(Batch::items).sum();
    assert!(passed > 0, "nothing left early");
    assert_eq!(run.ended().len(), 2 * 199);
}
