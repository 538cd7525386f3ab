//! Pieces of a torn run through the real binary: what arrives of them in each mode, and that the
//! place of `sensitive` does not matter.

mod support;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::client::{self, LOGS};
use support::conservation::conserved_at_rest;
use support::spans::{hex, text, with};
use support::{Daemon, Seen, Sink, daemon, eventually, request, span};

/// A configuration with these processors for spans and for log records.
fn config(sink: &Sink, orphans: &str, spans: &str, records: &str) -> String {
    daemon::to_sink(sink)
        .replace(
            "  orphans: {head_hold: 0s}",
            &format!("  orphans: {{head_hold: 1s, {orphans}}}\n  trace_window: {{idle: 500ms}}"),
        )
        .replace("[sensitive, baggage, orphans]", spans)
        .replace("[sensitive, baggage]", records)
}

#[track_caller]
fn send(daemon: &Daemon, spans: impl IntoIterator<Item = Span>) {
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request(spans));
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// Sends a record of each of these spans.
#[track_caller]
fn log(daemon: &Daemon, spans: &[(u128, u64)]) {
    let record = |(trace, span): &(u128, u64)| LogRecord {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: span.to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let log_records = spans.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let reply =
        client::grpc_export(&daemon.grpc(), LOGS, &ExportLogsServiceRequest { resource_logs });
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
}

/// Trace and span of all records that arrived, in order.
fn records(sink: &Sink) -> Vec<(String, String)> {
    let scopes = sink.logs().into_iter().flat_map(|request| request.resource_logs);
    let scopes = scopes.flat_map(|group| group.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records);
    let mut ids: Vec<_> =
        records.map(|record| (hex(&record.trace_id), hex(&record.span_id))).collect();
    ids.sort();
    ids
}

const CALL: &str = "call_Zx81kQp0aa";

/// An agent whose model asks for a tool.
fn agent() -> [Span; 2] {
    let messages = format!(
        r#"[{{"role":"assistant","parts":[{{"type":"text","content":"CANARY"}},{{"type":"tool_call",
        "id":"{CALL}","name":"search","arguments":{{"id":"CANARY-0001"}}}}]}}]"#
    );
    let chat =
        [("gen_ai.operation.name", text("chat")), ("gen_ai.output.messages", text(&messages))];
    let agent = [("gen_ai.operation.name", text("invoke_agent"))];
    [with(span("chat", 1, 2, 1), chat), with(span("agent", 1, 1, 0), agent)]
}

/// That tool, in a trace of its own, with something below it.
fn tool() -> [Span; 2] {
    let execute =
        [("gen_ai.operation.name", text("execute_tool")), ("gen_ai.tool.call.id", text(CALL))];
    [span("query", 2, 6, 5), with(span("tool", 2, 5, 0), execute)]
}

fn by_name<'a>(arrived: &'a [Seen], name: &str) -> &'a Seen {
    let seen = arrived.iter().find(|seen| seen.span.name == name);
    seen.unwrap_or_else(|| panic!("{name} did not arrive"))
}

#[test]
fn log_records_follow_the_spans_of_a_joined_piece() {
    let sink = Sink::start();
    let row = "[trace_window, orphans]";
    let daemon = Daemon::start(&config(&sink, "mode: rewrite", row, row));
    // Records come before the spans that they are of.
    log(&daemon, &[(2, 5), (2, 6), (1, 1), (9, 1)]);
    send(&daemon, tool());
    send(&daemon, agent());
    let arrived = sink.wait_for_spans(4);
    assert!(arrived.iter().all(|seen| hex(&seen.span.trace_id) == format!("{:032x}", 1)));
    assert_eq!(hex(&by_name(&arrived, "tool").span.parent_span_id), format!("{:016x}", 1));
    // One comes when all is over.
    log(&daemon, &[(2, 6)]);
    let expected = [(1, 1), (1, 5), (1, 6), (1, 6), (9, 1)]
        .map(|(trace, span)| (format!("{trace:032x}"), format!("{span:016x}")));
    let all = eventually(|| (records(&sink).len() == 5).then(|| records(&sink)));
    assert_eq!(all.as_deref(), Some(&expected[..]), "{:?}", records(&sink));
    assert_eq!(daemon.metric("spanloom_orphans_rewritten_records", ""), 3.0);
}

#[test]
fn a_tool_is_joined_though_the_messages_that_name_its_call_are_taken_out_before() {
    for row in [
        "[sensitive, baggage, orphans]",
        "[sensitive, trace_window, baggage, orphans]",
        "[trace_window, orphans, sensitive]",
    ] {
        let sink = Sink::start();
        let daemon = Daemon::start(&config(&sink, "mode: tag", row, "[sensitive, baggage]"));
        send(&daemon, agent());
        send(&daemon, tool());
        let arrived = sink.wait_for_spans(4);
        let tool = by_name(&arrived, "tool");
        let said = |name: &str| tool.text(&format!("app.agent.orphan.{name}")).map(str::to_owned);
        assert_eq!(said("evidence").as_deref(), Some("tool_call_id"), "{row}: {tool:?}");
        assert_eq!(said("parent.span_id").as_deref(), Some("0000000000000001"), "{row}");
        assert!(!sink.has_seen("CANARY"), "{row}");
    }
}

#[test]
fn a_head_and_its_parent_are_linked_to_each_other() {
    for row in ["[sensitive, baggage, orphans]", "[sensitive, trace_window, baggage, orphans]"] {
        let sink = Sink::start();
        let daemon = Daemon::start(&config(&sink, "mode: link", row, "[sensitive, baggage]"));
        let [chat, agent] = agent();
        send(&daemon, tool());
        send(&daemon, [chat]);
        send(&daemon, [agent]);
        let arrived = sink.wait_for_spans(4);
        let links = |name: &str| {
            let links = by_name(&arrived, name).span.links.iter();
            links.map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect::<Vec<_>>()
        };
        let id = |trace: u128, span: u64| (format!("{trace:032x}"), format!("{span:016x}"));
        assert_eq!(links("tool"), [id(1, 1), id(1, 2)], "{row}");
        assert_eq!(links("agent"), [id(2, 5)], "{row}");
        assert_eq!(daemon.metric("spanloom_orphans_links_back", ""), 1.0, "{row}");
    }
}

#[test]
fn what_becomes_known_of_a_head_that_has_left_is_told_and_accounted_for() {
    let sink = Sink::start();
    let row = "[sensitive, baggage, orphans]";
    let config = config(&sink, "settle: 1s, hold_max: 1s", row, "[sensitive, baggage]");
    let daemon = Daemon::start(&config);
    let [chat, agent] = agent();
    send(&daemon, [chat]);
    let arrived = sink.wait_for_spans(1);
    assert_eq!(arrived[0].text("app.agent.orphan.status"), Some("pending"), "{arrived:?}");
    send(&daemon, [agent]);
    let arrived = sink.wait_for_spans(3);
    let bridge = by_name(&arrived, "orphan resolved");
    assert_eq!(hex(&bridge.span.parent_span_id), format!("{:016x}", 2));
    assert_eq!(bridge.text("app.agent.orphan.parent.span_id"), Some("0000000000000001"));
    let accounts = conserved_at_rest(&daemon);
    let account = accounts.iter().find(|(id, _)| id.starts_with("traces ")).expect("a pipeline").1;
    assert_eq!((account.accepted, account.made, account.delivered), (2.0, 1.0, 3.0));
}
