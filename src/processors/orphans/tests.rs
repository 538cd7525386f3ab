//! `orphans`: spans in, spans out.

use crate::batch::Signal;
use crate::processors::tests::{Bench, check, request as parse};
use proptest::prelude::*;

/// Judges at once.
const NOW: &str = "{head_hold: 0s}";

/// The tags of a root, as they are written.
fn tags(signature: &str, evidence: &str, cause: &str, signatures: &str) -> String {
    let cause = match cause {
        "" => String::new(),
        cause => format!(" app.agent.orphan.cause=\"{cause}\""),
    };
    let status =
        if evidence == "parent_id" || cause.contains("pending") { "pending" } else { "unresolved" };
    format!(
        "app.agent.orphan.signature=\"{signature}\" app.agent.orphan.status=\"{status}\" \
         app.agent.orphan.evidence=\"{evidence}\"{cause} app.agent.orphan.signatures=[{signatures}]"
    )
}

#[test]
fn a_root_that_executes_a_tool_is_tagged() {
    let tags = tags("tool_call_root", "span_role", "", "\"tool_call_root\"");
    for role in [
        r#"gen_ai.operation.name="execute_tool""#,
        r#"openinference.span.kind="TOOL""#,
        r#"traceloop.span.kind="tool""#,
        r#"langfuse.observation.type="tool""#,
    ] {
        for parent in ["", " parent=0"] {
            let before = format!("span 1/a1{parent} \"t\" 0..5ms {role}");
            check("orphans", NOW, &before, &format!("{before} {tags}"));
        }
        let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
        bench.check_untouched(&format!("span 1/a1 parent=b1 \"t\" 0..5ms {role}"));
    }
}

#[test]
fn what_is_tagged_is_noted_with_its_place() {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    let tool = "0..5ms gen_ai.operation.name=\"execute_tool\"";
    let request = format!(
        "resource service.name=\"web\"\nscope -\nspan 1/a1 \"ask\" 0..9ms\nspan 1/a2 \"late\" \
         5ms..6ms\nresource -\nscope -\nspan 2/a1 \"fine\" 0..9ms\nresource \
         service.name=\"tools\"\nscope -\nspan 2/a2 parent=a1 \"child\" 0..1ms\nscope \
         -\nspan 3/a1 \"search\" {tool}"
    );
    bench.pass(parse(&request));
    let noted: Vec<_> =
        bench.findings().into_iter().map(|f| (f.signature, f.service, f.span)).collect();
    let expected = [("tool_call_root", "tools", "search"), ("mid_sequence_root", "web", "late")];
    assert_eq!(noted, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    assert_eq!(bench.findings()[0].trace_id[15], 3);
}

#[test]
fn the_later_of_two_roots_of_a_trace_is_tagged() {
    let second = tags("mid_sequence_root", "trace_id", "", "\"mid_sequence_root\"");
    check(
        "orphans",
        NOW,
        "span 1/a2 \"second\" 5ms..6ms\nspan 1/a1 \"first\" 0..9ms\nspan 2/a1 0..9ms",
        &format!(
            "span 1/a2 \"second\" 5ms..6ms {second}\nspan 1/a1 \"first\" 0..9ms\nspan 2/a1 0..9ms"
        ),
    );
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    bench.check_untouched("span 1/a1 0..9ms");
    bench.check_untouched("span 1/a1 0..9ms");
    let llm = tags("mid_sequence_root", "trace_id", "llm_root", "\"mid_sequence_root\"");
    let chat = "span 1/a2 5ms..6ms gen_ai.operation.name=\"chat\"";
    bench.check(chat, &format!("{chat} {llm}"));
    let tool = "span 1/a3 5ms..6ms gen_ai.operation.name=\"execute_tool\"";
    let parent = "app.agent.orphan.signature=\"tool_call_root\" \
                  app.agent.orphan.status=\"resolved\" \
                  app.agent.orphan.evidence=\"trace_id\" \
                  app.agent.orphan.signatures=[\"tool_call_root\",\"mid_sequence_root\"] \
                  app.agent.orphan.candidates=1 app.agent.orphan.tier=2 \
                  app.agent.orphan.confidence=0.96 \
                  app.agent.orphan.parent.trace_id=\"00000000000000000000000000000001\" \
                  app.agent.orphan.parent.span_id=\"00000000000000a2\"";
    bench.check(tool, &format!("{tool} {parent}"));
    assert_eq!(bench.metric("spanloom_orphans_found", "signature=\"mid_sequence_root\""), 1);
    assert_eq!(bench.metric("spanloom_orphans_found", "signature=\"tool_call_root\""), 1);
    assert_eq!(bench.metric("spanloom_orphans_late", ""), 0);
    // The tool's parent is said, the model's is not.
    assert_eq!(bench.metric("spanloom_orphans_abstained", "cause=\"unresolved\""), 1);
    assert_eq!(bench.metric("spanloom_orphans_abstained", ""), 1);
}

#[test]
fn what_has_no_start_did_not_begin_in_1970() {
    for child in ["-..700ms", "-..-"] {
        let child = format!("span 1/a2 parent=a1 \"call\" {child} kind=client");
        let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
        bench.check_untouched(&format!("{child}\nspan 1/a1 \"ask\" 500ms..900ms"));
        // Nor is a root without a start the one that the others came after.
        let llm = tags("mid_sequence_root", "trace_id", "", "\"mid_sequence_root\"");
        let late = "span 1/a3 \"late\" -..-";
        bench.check(late, &format!("{late} {llm}"));
    }
}

#[test]
fn a_second_root_that_passed_before_the_first_is_counted() {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    bench.check_untouched("span 1/a2 5ms..6ms");
    bench.wait(1);
    bench.check_untouched("span 1/a1 0..9ms");
    assert_eq!(bench.metric("spanloom_orphans_late", ""), 1);
}

/// What was passed on, as text.
fn print(batches: &[bytes::Bytes]) -> Vec<String> {
    let message = Signal::Traces.message();
    batches.iter().map(|bytes| crate::otlp::text::print(message, bytes)).collect()
}

#[test]
fn heads_that_are_due_together_leave_together_and_what_waits_longer_stays() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    let tool = "0..5ms gen_ai.operation.name=\"execute_tool\"";
    let dangling = "span 3/c2 parent=c1 \"step\" 0..5ms";
    for request in [
        format!("span 2/b1 \"one\" {tool}"),
        format!("{dangling}\nspan 5/b2 \"two\" {tool}"),
        format!("span 4/d1 \"three\" {tool}"),
    ] {
        assert!(bench.pass_all(parse(&request)).is_empty());
    }
    bench.wait(8);
    // Its trace still grows, so its parent may come.
    bench.check_untouched("span 3/c3 parent=c2 \"below\" 1ms..2ms");
    let left = print(&bench.wake(8));
    assert_eq!((left.len(), bench.held()), (1, 1), "{left:?}");
    assert_eq!(left[0].matches("orphan.signature=\"tool_call_root\"").count(), 3, "{left:?}");
    assert!(!left[0].contains("step"), "{left:?}");
    let left = print(&bench.wake(12));
    assert_eq!((left.len(), bench.held()), (1, 0), "{left:?}");
    assert!(left[0].contains("span 3/c2") && left[0].contains("wait_ms=2"), "{left:?}");
}

#[test]
fn each_head_waits_as_long_as_it_may_whoever_it_waits_with() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    let mut held = vec![];
    for seconds in (0..80).step_by(5) {
        // Two traces without roots that grow, so that parents may still come.
        for (trace, since) in [(3, 0), (6, 40)].into_iter().filter(|(_, since)| *since <= seconds) {
            let parent = if since == seconds { "parent=c1" } else { "parent=c2" };
            let id = if since == seconds { "c2".to_owned() } else { format!("d{seconds}") };
            bench.pass_all(parse(&format!("span {trace}/{id} {parent} \"step\" 0..5ms")));
        }
        let left = print(&bench.wake(5));
        assert!(!left.concat().contains("orphan"), "{left:?}");
        held.push(bench.held());
    }
    // The first for 60 s, the second since 40 s.
    let expected = [vec![1; 8], vec![2; 3], vec![1; 5]].concat();
    assert_eq!(held, expected);
}

#[test]
fn a_head_waits_for_evidence_and_everything_else_passes() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    let call = "gen_ai.tool.call.id=\"call_Zx81kQp0aa\"";
    let tool =
        format!("span 2/b1 \"search\" 5ms..9ms gen_ai.operation.name=\"execute_tool\" {call}");
    let below = "span 2/b2 parent=b1 \"SELECT\" 6ms..8ms";
    bench.check(&format!("{below}\n{tool}"), below);
    assert_eq!(bench.held(), 1, "it is not dropped");
    bench.wait(5);
    let model = "span 1/a2 parent=a1 \"chat\" 1ms..4ms gen_ai.operation.name=\"chat\" \
                 llm.output_messages.0.message.tool_calls.0.tool_call.id=\"call_Zx81kQp0aa\"";
    bench.check_untouched(&format!(
        "resource service.name=\"planner\"\nscope -\n{model}\n\
         span 1/a1 \"ask\" 0..20ms gen_ai.operation.name=\"invoke_agent\""
    ));
    assert!(bench.wake(9).is_empty(), "it still waits");
    let passed = print(&bench.wake(2));
    assert_eq!(passed.len(), 1);
    for tag in [
        "signature=\"tool_call_root\"",
        "signatures=[\"tool_call_root\",\"trace_discontinuity\"]",
        "status=\"resolved\"",
        "evidence=\"tool_call_id\"",
        "tier=1",
        "parent.trace_id=\"00000000000000000000000000000001\"",
        "parent.span_id=\"00000000000000a1\"",
        "parent.service=\"planner\"",
        "wait_ms=16000",
    ] {
        assert!(passed[0].contains(tag), "{tag} in {}", passed[0]);
    }
    assert!(bench.finish().is_empty(), "it left once");
    assert_eq!(bench.held(), 0);
}

/// A torn MCP call: what the client did, and what the server did in a trace of its own.
const CLIENT: &str = "resource service.name=\"client\"\nscope -\n\
    span 1/a1 \"invoke_agent\" 0..500ms gen_ai.operation.name=\"invoke_agent\"\n\
    span 1/a2 parent=a1 \"tools/call x\" kind=client 100ms..420ms mcp.method.name=\"tools/call\" \
    mcp.session.id=\"S\" jsonrpc.request.id=\"7\"";
const SERVER: &str = "resource service.name=\"server\"\nscope -\n\
    span 2/b2 parent=b1 \"SELECT\" 140ms..200ms\n  link 2/b1\n\
    span 2/b1 \"tools/call x\" kind=server 130ms..400ms mcp.method.name=\"tools/call\" \
    mcp.session.id=\"S\" jsonrpc.request.id=\"7\"";

#[test]
fn a_fragment_gets_the_trace_of_its_parent_if_that_is_certain() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "mode: rewrite");
    bench.check_untouched(CLIENT);
    assert!(bench.pass(parse(SERVER)).is_empty(), "the fragment is held whole");
    let passed = print(&bench.wake(16));
    assert_eq!(passed.len(), 1);
    let original = "app.agent.orphan.original_trace_id=\"00000000000000000000000000000002\"";
    let lines: Vec<&str> = passed[0].lines().filter(|line| !line.starts_with("re")).collect();
    assert!(lines[1].starts_with("span 1/b2 parent=b1 \"SELECT\""), "{passed:?}");
    assert!(lines[1].contains(original) && lines[2] == "  link 1/b1", "{passed:?}");
    assert!(lines[3].starts_with("span 1/b1 parent=a2 \"tools/call x\""), "{passed:?}");
    assert!(lines[3].contains("flags=0x300") && lines[3].contains(original), "{passed:?}");
    assert_eq!(bench.metric("spanloom_orphans_rewritten", ""), 1);
    // What comes late follows.
    let late = "span 2/b3 parent=b1 \"late\" 150ms..160ms";
    bench.check(late, &format!("{} {original}", late.replace("2/b3", "1/b3")));
}

#[test]
fn what_could_make_things_worse_is_not_rewritten() {
    // A span of the same id stands in the parent's trace.
    let same = CLIENT.to_owned() + "\nspan 1/b2 parent=a1 \"other\" 1ms..2ms";
    let mut bench = Bench::new(Signal::Traces, "orphans", "mode: rewrite");
    bench.check_untouched(&same);
    bench.pass(parse(SERVER));
    let passed = print(&bench.wake(16));
    assert!(passed[0].contains("span 2/b1") && passed[0].contains("parent.span_id"), "{passed:?}");
    assert_eq!(bench.metric("spanloom_orphans_refused_rewrites", "cause=\"collision\""), 1);
}

#[test]
fn a_head_gets_a_link_to_its_parent() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "mode: link");
    bench.check_untouched(CLIENT);
    let first = print(&[bench.pass(parse(SERVER))]);
    let passed = [first, print(&bench.wake(16))].concat().join("");
    let link = "link 1/a2 app.agent.link.type=\"suspected_parent\" \
                app.agent.link.confidence=0.995 app.agent.link.evidence=\"mcp_request_id\"";
    assert!(passed.contains(link), "{passed}");
    assert!(passed.contains("span 2/b1"), "{passed}");
}

#[test]
fn what_is_held_at_the_end_is_handed_over() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    let tool = "span 2/b1 \"search\" 5ms..9ms gen_ai.operation.name=\"execute_tool\"";
    assert!(bench.pass(parse(tool)).is_empty());
    assert_eq!(bench.held(), 1, "it is held and was not dropped");
    assert!(print(&bench.finish())[0].contains("tool_call_root"));
    assert_eq!(bench.held(), 0);
}

#[test]
fn a_head_that_finds_no_room_is_judged_early_and_says_so() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{limit_mib: 0}");
    let tool = "span 2/b1 \"search\" 5ms..9ms gen_ai.operation.name=\"execute_tool\"";
    let passed = print(&[bench.pass(parse(tool))]);
    assert!(passed[0].contains("orphan.cause=\"budget\""), "{passed:?}");
    assert!(passed[0].contains("orphan.status=\"unresolved\""), "{passed:?}");
    assert_eq!((bench.held(), bench.metric("spanloom_orphans_hurried", "")), (0, 1));
}

#[test]
fn two_runs_of_one_call_are_not_each_other_s_parent() {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    let tool = "gen_ai.operation.name=\"execute_tool\" gen_ai.tool.call.id=\"call_Zx81kQp0aa\"";
    let passed = bench.pass(parse(&format!(
        "span 2/b1 \"search\" 5ms..9ms {tool}\nspan 3/c1 \"search\" 5ms..9ms {tool}\n\
         span 4/d1 \"search\" 15ms..19ms {tool}"
    )));
    assert!(!print(&[passed])[0].contains("parent.span_id"));
    // One that holds the other in time runs it.
    let passed = bench.pass(parse(&format!("span 5/e1 \"search\" 16ms..18ms {tool}")));
    assert!(print(&[passed])[0].contains("parent.span_id=\"00000000000000d1\""));
}

#[test]
fn a_message_may_have_waited_for_long() {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    // That is how it usually is: the worker's spans have a sender.
    for n in 1..=200 {
        bench.check_untouched(&format!(
            "span {n:x}/a1 \"send\" 0..1ms kind=producer\n\
             span {n:x}/a2 parent=a1 \"process\" 2ms..3ms kind=consumer"
        ));
    }
    bench.check_untouched("span 7001/a1 \"ask\" 0..900ms session.id=\"s\"");
    bench.check_untouched("span 7002/a1 \"ask\" 0..900ms session.id=\"t\" kind=server");
    bench.wait(1800);
    let late = |trace: u32, session: &str, ms: u64| {
        let end = ms + 5;
        format!(
            "span {trace:x}/b1 \"process\" {ms}ms..{end}ms kind=consumer session.id=\"{session}\""
        )
    };
    let passed = print(&[bench.pass(parse(&late(0x8001, "s", 1_800_000)))]);
    assert!(passed[0].contains("[\"mid_sequence_root\",\"unexplained_gap\"]"), "{passed:?}");
    assert!(passed[0].contains("gap_ms=1799100"), "{passed:?}");
    bench.check_untouched(&late(0x8002, "other", 1_800_000));
    // Longer than anything waits.
    bench.check_untouched(&late(0x8003, "t", 5_000_000));
}

#[test]
fn tenants_are_never_joined() {
    let call = "gen_ai.tool.call.id=\"call_Zx81kQp0aa\"";
    for (other, joined) in [("acme", true), ("umbrella", false)] {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
        bench.check_untouched(&format!(
            "resource tenant.id=\"acme\"\nscope -\n\
             span 1/a1 parent=a0 \"call\" 0..9ms kind=client {call}\n\
             span 1/a0 \"ask\" 0..10ms"
        ));
        let first = bench.pass(parse(&format!(
            "resource tenant.id=\"{other}\"\nscope -\n\
             span 2/b1 \"search\" 5ms..9ms gen_ai.operation.name=\"execute_tool\" {call}"
        )));
        let passed = [print(&[first]), print(&bench.finish())].concat();
        assert_eq!(passed.iter().any(|text| text.contains("parent.span_id")), joined, "{passed:?}");
    }
}

#[test]
fn deliberate_beginnings_are_not_tagged() {
    for head in [
        "kind=server gen_ai.operation.name=\"execute_tool\"",
        "gen_ai.operation.name=\"execute_tool\"\n  link 2/b1",
        "kind=consumer gen_ai.operation.name=\"execute_tool\"\n  link 1/b1",
        "\"chat\" gen_ai.operation.name=\"chat\"",
        "gen_ai.operation.name=\"execute_tool\" app.agent.orphan.signature=\"tool_call_root\"",
    ] {
        Bench::new(Signal::Traces, "orphans", NOW).check_untouched(&format!("span 1/a1 {head}"));
    }
}

#[test]
fn a_parent_that_never_came_is_missing_once_the_root_is_settled() {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    bench.check_untouched("span 1/a3 parent=ff 3ms..4ms\nspan 1/a1 0..9ms");
    bench.wait(14);
    bench.check_untouched("span 1/a4 parent=ff 3ms..4ms");
    bench.wait(1);
    // A parent that was seen, one in the same batch, and a span that outlived the root.
    bench.check_untouched("span 1/a5 parent=a1 3ms..4ms\nspan 1/a6 parent=a4 3ms..4ms");
    bench.check_untouched("span 1/a7 parent=a8 3ms..4ms\nspan 1/a8 parent=a1 3ms..4ms");
    bench.check_untouched("span 1/a9 parent=ff 3ms..10ms");
    for (flags, cause) in
        [("", "unknown"), (" flags=0x100", "pending_local"), (" flags=0x300", "remote_unseen")]
    {
        let span = format!("span 1/aa parent=ff 3ms..4ms{flags}");
        let tags = tags("missing_parent", "parent_id", cause, "\"missing_parent\"");
        bench.check(&span, &format!("{span} {tags}"));
    }
    let tool = "span 1/ab parent=ff 3ms..4ms gen_ai.operation.name=\"execute_tool\"";
    let both = "\"tool_call_root\",\"missing_parent\"";
    let tool_tags = tags("tool_call_root", "span_role", "unknown", both);
    bench.check(tool, &format!("{tool} {}", tool_tags.replace("unresolved", "pending")));
    bench.check_untouched("span 1/ac parent=ff 3ms..4ms kind=server flags=0x300");
}

#[test]
fn nothing_is_called_missing_that_may_have_been_forgotten() {
    let mut bench = Bench::new(Signal::Traces, "orphans", "{head_hold: 0s, limit_spans: 4}");
    bench.check_untouched("span 1/a1 0..9ms");
    bench.wait(20);
    bench.check_untouched("span 2/a1 0..9ms\nspan 2/a2 parent=a1\nspan 2/a3 parent=a1");
    bench.check_untouched("span 2/a4 parent=a1\nspan 2/a5 parent=a1");
    bench.check_untouched("span 1/a3 parent=ff 3ms..4ms");
}

#[test]
fn the_prefix_is_configurable() {
    let span = "span 1/a1 gen_ai.operation.name=\"execute_tool\"";
    let tags = tags("tool_call_root", "span_role", "", "\"tool_call_root\"");
    let tags = tags.replace("app.agent", "x");
    check("orphans", "{head_hold: 0s, prefix: x}", span, &format!("{span} {tags}"));
}

#[test]
fn spans_with_invalid_ids_pass() {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    bench
        .check_untouched("span -/- gen_ai.operation.name=\"execute_tool\"\nspan 0/0\nspan x01/x02");
}

proptest! {
    #[test]
    fn an_intact_trace_is_never_tagged(
        parents in proptest::collection::vec(any::<proptest::sample::Index>(), 1..30),
        order in any::<proptest::sample::Index>(),
        cuts in proptest::collection::vec(any::<bool>(), 40),
        waits in proptest::collection::vec(0u64..2, 40),
    ) {
        // Span n is a child of one before it, and lies within it in time; children pass first.
        let count = parents.len() + 1;
        let mut lines = vec!["span 1/1 \"root\" 0..1000ms".to_owned()];
        for (n, parent) in parents.iter().enumerate() {
            let parent = parent.index(n + 1) + 1;
            let (start, end) = (n + 1, 1000 - (n + 1));
            lines.push(format!("span 1/{:x} parent={parent:x} {start}ms..{end}ms", n + 2));
        }
        lines.reverse();
        // The root may pass earlier than that, as if its process exported sooner.
        if let Some(root) = lines.pop() {
            lines.insert(order.index(count), root);
        }
        let mut bench = Bench::new(Signal::Traces, "orphans", "{head_hold: 0s, settle: 60s}");
        let mut batch = String::new();
        for (line, (cut, wait)) in lines.iter().zip(cuts.iter().zip(waits)) {
            batch += line;
            batch.push('\n');
            if *cut {
                bench.check_untouched(&std::mem::take(&mut batch));
                bench.wait(wait);
            }
        }
        bench.check_untouched(&batch);
    }
}

/// What is said of a torn tool whose framework names its parent, after so many spans of the
/// framework's that name as parent the span with this id.
fn shadow(before: usize, named: &str) -> String {
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    let ids = |own: &str, parent: &str| {
        format!("langsmith.span.id=\"{own}\" langsmith.span.parent_id=\"{parent}\"")
    };
    for n in 0..before {
        let (trace, agent, step) = (n + 16, format!("a{n}"), format!("s{n}"));
        bench.check_untouched(&format!(
            "span {trace:x}/a1 \"agent\" 0..9ms {}\n\
             span {trace:x}/a2 parent=a1 \"step\" 1ms..9ms {}\n\
             span {trace:x}/a3 parent=a2 \"model\" 2ms..3ms {}",
            ids(&agent, ""),
            ids(&step, &agent),
            ids(&format!("m{n}"), if named == "a2" { &step } else { &agent }),
        ));
    }
    let passed = bench.pass(parse(&format!(
        "span 1/c1 \"agent\" 0..99ms {}\n\
         span 2/b1 \"tool\" 5ms..9ms langsmith.span.kind=\"tool\" {}",
        ids("run-1", ""),
        ids("run-2", "run-1")
    )));
    print(&[passed]).concat()
}

#[test]
fn ids_of_a_framework_s_own_are_believed_while_they_agree_with_those_of_spans() {
    for (before, confidence) in [(0, "0.97"), (5, "0.97"), (200, "0.995")] {
        let said = shadow(before, "a2");
        assert!(said.contains("evidence=\"shadow_id\""), "{before}: {said}");
        assert!(said.contains(&format!("orphan.confidence={confidence} ")), "{before}: {said}");
    }
    for before in [20, 200] {
        let said = shadow(before, "a1");
        assert!(said.contains("tool_call_root") && !said.contains("shadow_id"), "{said}");
        assert!(!said.contains("parent.span_id"), "{said}");
    }
}

#[test]
fn a_context_may_stand_in_an_event() {
    let noted = "traceparent=\"00-00000000000000000000000000000001-00000000000000a1-01\"";
    let agent = "span 1/a1 \"agent\" 0..9ms";
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    let hook = format!("span 2/b1 \"hook\" 1ms..2ms\n  event \"request\" @1ms {noted}");
    let said = bench.pass(parse(&format!("{agent}\n{hook}")));
    let said = print(&[said]).concat();
    for tag in ["evidence=\"captured_traceparent\"", "parent.span_id=\"00000000000000a1\""] {
        assert!(said.contains(tag), "{tag} in {said}");
    }
}

#[test]
fn what_is_called_from_outside_is_counted_and_tagged_if_asked() {
    let tool = "span 1/a1 \"tools/call x\" kind=server 0..5ms mcp.method.name=\"tools/call\"";
    let server = "span 2/b1 parent=b9 \"GET /cart\" kind=server 0..5ms flags=0x300";
    let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
    bench.check_untouched(&format!("{tool}\n{server}\nspan 3/c1 \"GET /\" kind=server 0..5ms"));
    assert_eq!(bench.metric("spanloom_orphans_external", ""), 2);
    let mut bench = Bench::new(Signal::Traces, "orphans", "{external: true}");
    assert!(bench.pass(parse(&format!("{tool}\n{server}"))).is_empty());
    let said = print(&bench.wake(40)).concat();
    for tag in [
        "signature=\"tool_call_root\"",
        "cause=\"uninstrumented_caller\"",
        "signature=\"missing_parent\"",
        "cause=\"remote_unseen\"",
    ] {
        assert!(said.contains(tag), "{tag} in {said}");
    }
    assert_eq!(bench.metric("spanloom_orphans_external", ""), 0);
}

#[test]
fn roots_that_are_configured_are_not_tagged() {
    let nightly = "span 2/b1 \"nightly run\" 400ms..600ms session.id=\"s\"";
    let before = "span 1/a1 \"agent\" 0..900ms session.id=\"s\"";
    let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
    let said = bench.pass(parse(&format!("{before}\n{nightly}")));
    assert!(print(&[said])[0].contains("mid_sequence_root"));
    for roots in ["nightly run", "nightly*"] {
        let yaml = format!("{{head_hold: 0s, roots: [\"{roots}\"]}}");
        let mut bench = Bench::new(Signal::Traces, "orphans", &yaml);
        bench.check_untouched(&format!("{before}\n{nightly}"));
    }
}

#[test]
fn one_of_two_callers_is_not_chosen() {
    let call = "gen_ai.tool.call.id=\"call_Zx81kQ00000001\"";
    let caller = |trace: u32| format!("span {trace}/2 parent=1 \"call\" 0..30ms {call}");
    let tool = format!("span 3/1 \"t\" 50ms..80ms gen_ai.operation.name=\"execute_tool\" {call}");
    let mut bench = Bench::new(Signal::Traces, "orphans", "{head_hold: 1s, hold_max: 2s}");
    let mut left = bench.pass_all(parse(&format!("{}\n{}\n{tool}", caller(1), caller(2))));
    (0..9).for_each(|_| left.extend(bench.wake(1)));
    let said = print(&left).concat();
    assert!(said.contains("status=\"ambiguous\"") && said.contains("candidates=2"), "{said}");
}

#[test]
fn a_noted_context_of_the_own_trace_counts_unless_it_is_what_was_handed_on() {
    let said = |noted: &str| {
        let noted = format!("00-{:032x}-{noted:0>16}-01", 1);
        let spans = format!(
            "span 1/a1 \"agent\" 0..90ms gen_ai.operation.name=\"invoke_agent\"\n\
             span 1/c1 parent=b1 \"GET\" kind=client 6ms..8ms\n\
             span 1/b1 \"chat\" 5ms..9ms gen_ai.operation.name=\"chat\" traceparent=\"{noted}\""
        );
        let mut bench = Bench::new(Signal::Traces, "orphans", NOW);
        print(&[bench.pass(parse(&spans))]).concat()
    };
    let above = said("a1");
    assert!(above.contains("evidence=\"captured_traceparent\""), "{above}");
    assert!(above.contains("parent.span_id=\"00000000000000a1\""), "{above}");
    for handed_on in ["b1", "c1", "d1"] {
        let said = said(handed_on);
        assert!(said.contains("mid_sequence_root") && !said.contains("captured"), "{said}");
    }
}
