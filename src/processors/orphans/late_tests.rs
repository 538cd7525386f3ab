//! What becomes known of heads after they have left.

use crate::batch::Signal;
use crate::otlp::text;
use crate::processors::tests::{Bench, request};

const CHAT: &str = "resource service.name=\"planner\" zone=\"a\"\nscope -\n\
    span 1/a2 parent=a1 \"chat\" 10ms..90ms gen_ai.operation.name=\"chat\" flags=0x100";
const SECOND: &str = "resource service.name=\"planner\" zone=\"a\"\nscope -\n\
    span 1/a3 parent=a1 \"chat\" 100ms..190ms gen_ai.operation.name=\"chat\" flags=0x100";
const AGENT: &str = "resource service.name=\"planner\"\nscope -\n\
    span 1/a1 \"agent\" 0..900ms gen_ai.operation.name=\"invoke_agent\"";
const TOOL: &str = "resource service.name=\"tools\"\nscope -\n\
    span 2/b1 \"search\" 100ms..200ms gen_ai.operation.name=\"execute_tool\" tenant.id=\"t\" \
    gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"";
const MODEL: &str = "resource service.name=\"planner\"\nscope -\n\
    span 1/a2 parent=a1 \"chat\" 10ms..90ms gen_ai.operation.name=\"chat\" tenant.id=\"t\" \
    llm.output_messages.0.message.tool_calls.0.tool_call.id=\"call_u7Kp2Qx9Ls\"";

/// What left, request by request.
fn print(passed: &[bytes::Bytes]) -> Vec<String> {
    passed.iter().map(|bytes| text::print(Signal::Traces.message(), bytes)).collect()
}

/// Heads that leave, and then what comes.
fn late(yaml: &str, heads: &[&str], then: &str) -> (Bench, Vec<String>) {
    let mut bench = Bench::new(Signal::Traces, "orphans", yaml);
    let mut left: Vec<_> = heads.iter().flat_map(|spans| bench.pass_all(request(spans))).collect();
    (0..80).for_each(|_| left.extend(bench.wake(1)));
    let left = print(&left).concat();
    assert_eq!(left.matches("orphan.signature=").count(), heads.len(), "all left: {left}");
    assert!(!left.contains("orphan.head"), "nothing is known yet: {left}");
    let passed = print(&bench.pass_all(request(then)));
    assert!(!passed[0].contains("app.agent.orphan"), "what came is as it came: {passed:?}");
    (bench, passed)
}

#[track_caller]
fn has(text: &str, all: &[&str]) {
    for one in all {
        assert!(text.contains(one), "{one} in {text}");
    }
}

#[test]
fn a_parent_that_comes_late_is_told_of_once_for_all_that_missed_it() {
    let (mut bench, passed) = late("{}", &[CHAT, SECOND], AGENT);
    assert_eq!(passed.len(), 2, "what came, and a bridge: {passed:?}");
    let lines: Vec<&str> = passed[1].lines().collect();
    assert_eq!(lines[0], "resource service.name=\"planner\" zone=\"a\"");
    assert_eq!(lines.len(), 6, "one span and three links: {passed:?}");
    assert!(!passed[1].contains("/a2 ") || !lines[2].starts_with("span 1/a2"), "{passed:?}");
    has(
        lines[2],
        &[
            "parent=a2 \"orphan resolved\" kind=internal 10ms..10ms",
            "orphan.head.span_id=\"00000000000000a2\" app.agent.orphan.head.count=2",
            "orphan.status=\"resolved\" app.agent.orphan.evidence=\"parent_id\"",
            "signatures=[\"missing_parent\"]",
            "orphan.confidence=1",
            "parent.span_id=\"00000000000000a1\" app.agent.orphan.parent.service=\"planner\"",
        ],
    );
    assert!(!passed[1].contains("orphan.signature="), "it is no head itself: {passed:?}");
    has(lines[3], &["link 1/a2 app.agent.link.type=\"orphan\""]);
    has(lines[4], &["link 1/a3 app.agent.link.type=\"orphan\""]);
    has(lines[5], &["link 1/a1 app.agent.link.type=\"suspected_parent\""]);
    assert_eq!(bench.metric("spanloom_orphans_late_results", "result=\"came\""), 1);
    assert_eq!(bench.metric("spanloom_orphans_ledger", ""), 0);
    let again = bench.pass_all(request(AGENT));
    assert_eq!(again.len(), 1, "it is told once");
}

#[test]
fn a_caller_that_comes_late_is_told_of_in_the_trace_of_the_head() {
    for mode in ["tag", "link", "rewrite"] {
        let (mut bench, passed) = late(&format!("mode: {mode}"), &[TOOL], AGENT);
        assert_eq!(passed.len(), 1, "nobody asked for that: {passed:?}");
        let passed = print(&bench.pass_all(request(MODEL)));
        assert_eq!(passed.len(), 2, "{mode}: {passed:?}");
        has(
            &passed[1],
            &[
                "resource service.name=\"tools\"",
                "span 2/",
                "parent=b1 \"orphan resolved\"",
                "tenant.id=\"t\"",
                "orphan.evidence=\"tool_call_id\"",
                "orphan.signatures=[\"tool_call_root\",\"trace_discontinuity\"]",
                "orphan.parent.trace_id=\"00000000000000000000000000000001\"",
                "orphan.parent.span_id=\"00000000000000a1\"",
                "link 2/b1 app.agent.link.type=\"orphan\"",
                "link 1/a1 app.agent.link.type=\"suspected_parent\"",
            ],
        );
        assert_eq!(bench.metric("spanloom_orphans_late_results", "result=\"found\""), 1);
    }
}

#[test]
fn a_context_that_was_noted_is_followed_when_its_trace_comes() {
    let noted = "span 3/c1 \"hook\" 100ms..200ms prov.trace.parent=\"\
                 00-00000000000000000000000000000001-00000000000000a1-01\"";
    let (_, passed) = late("{}", &[noted], AGENT);
    assert_eq!(passed.len(), 2, "{passed:?}");
    has(&passed[1], &["span 3/", "parent=c1", "evidence=\"captured_traceparent\""]);
}

#[test]
fn a_parent_that_never_comes_is_lost_when_its_process_is_silent() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    bench.pass_all(request(CHAT));
    (0..80).for_each(|_| drop(bench.wake(1)));
    let other = "resource service.name=\"planner\"\nscope -\nspan 9/91 \"else\" 0..1ms";
    for _ in 0..13 {
        assert!(bench.wake(3600 - 60).is_empty(), "its process lives");
        bench.check_untouched(other);
    }
    // Twelve hours on, of which it was silent for more than one.
    let told: Vec<String> = (0..13).flat_map(|_| print(&bench.wake(3600))).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    has(
        &told[0],
        &["parent=a2 \"orphan unresolved\"", "status=\"unresolved\"", "cause=\"lost_local\""],
    );
    assert_eq!(bench.metric("spanloom_orphans_late_results", "result=\"lost\""), 1);
    // Too late.
    assert_eq!(bench.pass_all(request(AGENT)).len(), 1);
}

#[test]
fn nothing_is_told_of_what_was_not_asked() {
    let (bench, passed) = late("{ledger: 0s}", &[CHAT], AGENT);
    assert_eq!(passed.len(), 1, "{passed:?}");
    assert_eq!(bench.metric("spanloom_orphans_ledger", ""), 0);
    let other = AGENT.replace("1/a1", "7/a1");
    let (_, passed) = late("{}", &[CHAT], &other);
    assert_eq!(passed.len(), 1, "a span of the same id in another trace: {passed:?}");
}

#[test]
fn the_oldest_are_forgotten_when_there_are_too_many() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    let heads = crate::limits::ORPHAN_LEDGER + 500;
    for from in (0..heads).step_by(500) {
        let head = |n: usize| format!("span {:x}/a2 parent=a1 \"b\" 0..1ms", n + 1);
        let lines: Vec<String> = (from..from + 500).map(head).collect();
        bench.pass_all(request(&lines.join("\n")));
    }
    (0..80).for_each(|_| drop(bench.wake(1)));
    assert_eq!(bench.metric("spanloom_orphans_ledger", ""), crate::limits::ORPHAN_LEDGER as u64);
    assert_eq!(bench.metric("spanloom_orphans_late_results", "result=\"forgotten\""), 500);
    let parent = |n: usize| request(&format!("span {n:x}/a1 \"root\" 0..9ms"));
    assert_eq!(bench.pass_all(parent(1)).len(), 1);
    assert_eq!(bench.pass_all(parent(heads)).len(), 2);
}
