//! `mode: link`: heads and their parents in, both linked to each other out.

use crate::batch::Signal;
use crate::otlp::text;
use crate::processors::tests::{Bench, request};

/// An agent that calls a server, and what that does in a trace of its own.
const CLIENT: &str = "span 1/a2 parent=a1 \"call\" kind=client 100ms..420ms \
    mcp.method.name=\"tools/call\" mcp.session.id=\"S\" jsonrpc.request.id=\"7\"";
const SERVER: &str = "span 2/b1 \"answer\" kind=server 130ms..400ms \
    mcp.method.name=\"tools/call\" mcp.session.id=\"S\" jsonrpc.request.id=\"7\"";
const CALL: &str = "span 1/a2 parent=a1 \"call\" kind=client 100ms..420ms";
/// The model of an agent that asks for a tool, the tool, and the agent.
const CHAT: &str = "span 1/a2 parent=a1 \"chat\" 10ms..90ms gen_ai.operation.name=\"chat\" \
    llm.output_messages.0.message.tool_calls.0.tool_call.id=\"call_u7Kp2Qx9Ls\"";
const TOOL: &str = "span 2/b1 \"tool\" 100ms..200ms gen_ai.operation.name=\"execute_tool\" \
    gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"";
const AGENT: &str = "span 1/a1 \"agent\" 0..900ms gen_ai.operation.name=\"invoke_agent\"";

/// Takes these requests one after the other: the spans and links that came out, in order of ids.
#[track_caller]
fn check(mode: &str, requests: &[&str], expected: &[&str], missed: u64) {
    let mut bench = Bench::new(Signal::Traces, "orphans", &format!("mode: {mode}"));
    let mut passed: Vec<_> = requests.iter().map(|spans| bench.pass(request(spans))).collect();
    passed.extend(bench.wake(16));
    let printed: String =
        passed.iter().map(|bytes| text::print(Signal::Traces.message(), bytes)).collect();
    let mut spans: Vec<String> = vec![];
    for line in printed.lines() {
        let words = line.trim().split(' ').filter(|word| {
            let link = word.starts_with("app.agent.link.type") && line.starts_with("  ");
            link || !word.contains('=')
        });
        let short = words.collect::<Vec<_>>().join(" ").replace("app.agent.link.type=", "");
        match line.split(' ').next() {
            Some("span") => spans.push(short.split(" \"").next().unwrap_or_default().to_owned()),
            Some("") => spans.last_mut().expect("a span").push_str(&format!(" {short}")),
            _ => {}
        }
    }
    spans.sort();
    assert_eq!(spans, expected, "{printed}");
    let links = expected.iter().filter(|line| line.contains("suspected_child")).count();
    assert_eq!(bench.metric("spanloom_orphans_links_back", ""), links as u64, "{printed}");
    assert_eq!(bench.metric("spanloom_orphans_missed_links", "cause=\"gone\""), missed);
}

const BOTH: [&str; 2] =
    ["span 1/a2 link 2/b1 \"suspected_child\"", "span 2/b1 link 1/a2 \"suspected_parent\""];

#[test]
fn a_parent_in_the_same_batch_is_linked_to_its_head() {
    let batch = format!("{SERVER}\n{CLIENT}\n{AGENT}");
    check("link", &[&batch], &["span 1/a1", BOTH[0], BOTH[1]], 0);
    check("tag", &[&batch], &["span 1/a1", "span 1/a2", "span 2/b1"], 0);
}

#[test]
fn a_parent_that_comes_while_its_head_waits_is_linked_to_it() {
    let call = CALL.replace("kind=client", "kind=client gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"");
    check("link", &[TOOL, &call, AGENT], &["span 1/a1", BOTH[0], BOTH[1]], 0);
}

#[test]
fn a_parent_that_is_known_by_name_alone_is_linked_when_it_comes() {
    let expected = [
        "span 1/a1 link 2/b1 \"suspected_child\"",
        "span 1/a2",
        "span 2/b1 link 1/a1 \"suspected_parent\" link 1/a2 \"caused_by_generation\"",
    ];
    check("link", &[CHAT, TOOL, AGENT], &expected, 0);
    check(
        "link",
        &[TOOL, CHAT, AGENT],
        &["span 1/a1 link 2/b1 \"suspected_child\"", expected[1], expected[2]],
        0,
    );
}

#[test]
fn a_parent_that_has_left_is_counted() {
    check("link", &[CLIENT, AGENT, SERVER], &["span 1/a1", "span 1/a2", BOTH[1]], 1);
}

#[test]
fn a_parent_has_no_more_links_than_sdks_write() {
    let tools: Vec<String> = (1..=130)
        .map(|n| {
            let server = SERVER.replace("2/b1", &format!("{:x}/b1", n + 1));
            server.replace("kind=server 130ms", &format!("kind=server {}ms", 100 + n))
        })
        .collect();
    let mut bench = Bench::new(Signal::Traces, "orphans", "mode: link");
    let printed = text::print(
        Signal::Traces.message(),
        &bench.pass(request(&format!("{CLIENT}\n{AGENT}\n{}", tools.join("\n")))),
    );
    assert_eq!(printed.matches("suspected_child").count(), 128, "{printed}");
    assert_eq!(bench.metric("spanloom_orphans_missed_links", "cause=\"full\""), 2);
}
