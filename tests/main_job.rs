//! The main job through the real binary: what a client exports, what the backend receives.

mod support;

use prost::Message;
use support::client::{self, TRACES};
use support::spans::{and_event, flag, number, text, with};
use support::{Answer, Daemon, Seen, Sink, daemon, event, eventually, request, span};

/// A request that needs every processor: a marked event, baggage, a tool call without a parent.
fn broken_run() -> Vec<opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest>
{
    let baggage = [("baggage", text("user.id=alice,session.id=s-42"))];
    let entry = with(span("POST /ask", 1, 1, 0), baggage);
    let prompt = event("note", [("text", text("CANARY")), ("sensitive", flag(true))]);
    let chat = and_event(span("chat", 1, 3, 1), prompt);
    let chat = and_event(chat, event("retry", [("attempt", number(2))]));
    let role = [("gen_ai.operation.name", text("execute_tool"))];
    let tool = with(span("execute_tool get_weather", 2, 9, 0), role);
    vec![request([entry]), request([chat, tool])]
}

#[track_caller]
fn assert_done(spans: &[Seen], sink: &Sink) {
    let named = |name: &str| {
        let found = spans.iter().find(|seen| seen.span.name == name);
        found.unwrap_or_else(|| panic!("{name} did not arrive"))
    };
    assert!(!sink.has_seen("CANARY"), "sensitive text reached the backend");
    assert!(!named("chat").has_event("note"));
    assert!(named("chat").has_event("retry"));
    assert_eq!(named("chat").text("user.id"), Some("alice"));
    assert_eq!(named("chat").text("session.id"), Some("s-42"));
    let signature = named("execute_tool get_weather").text("app.agent.orphan.signature");
    assert_eq!(signature, Some("tool_call_root"));
}

#[test]
fn a_broken_run_over_grpc_arrives_stripped_identified_and_tagged() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    for request in broken_run() {
        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request);
        assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
        sink.wait_for_spans(1);
    }
    assert_done(&sink.wait_for_spans(3), &sink);
}

#[test]
fn a_broken_run_over_http_arrives_stripped_identified_and_tagged() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink_by_http(&sink));
    for request in broken_run() {
        let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body.is_empty(), "full success leaves partial_success unset");
        sink.wait_for_spans(1);
    }
    assert_done(&sink.wait_for_spans(3), &sink);
}

#[test]
fn json_becomes_the_same_spans() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
        "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","name":"chat",
        "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000",
        "events":[{"name":"note","attributes":[
            {"key":"sensitive","value":{"stringValue":"true"}},
            {"key":"text","value":{"stringValue":"CANARY"}}]}],
        "attributes":[{"key":"n","value":{"intValue":"9007199254740993"}}]}]}]}]}"#;
    let reply = client::post_json(&daemon.http(), "/v1/traces", json);
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    let spans = sink.wait_for_spans(1);
    assert_eq!(spans[0].value("n"), Some(&number(9_007_199_254_740_993)));
    assert!(!sink.has_seen("CANARY"));
}

#[test]
fn what_nobody_edits_leaves_byte_for_byte() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let mut body = request([span("plain", 7, 1, 0)]).encode_to_vec();
    // A field that no OTLP version knows: number 999, two bytes.
    body.extend_from_slice(&[0xba, 0x3e, 2, 1, 2]);
    let reply = client::grpc(&daemon.grpc(), TRACES, &[], client::framed(false, &body));
    assert_eq!(reply.grpc_status(), Some(0));
    let received = sink.wait_for_requests(1);
    assert_eq!(received[0].message.as_ref(), body.as_slice());
}

#[test]
fn a_prompt_of_forty_mebibytes_is_no_problem() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let long = "x".repeat(40 << 20);
    let prompt = event("gen_ai.content.prompt", [("gen_ai.prompt", text(&long))]);
    let stripped = request([and_event(span("chat", 1, 1, 0), prompt)]);
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/traces", &stripped).status, 200);
    assert_eq!(sink.wait_for_spans(1)[0].span.dropped_events_count, 1);
    let kept = request([with(span("render", 2, 2, 0), [("page", text(&long))])]);
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/traces", &kept).status, 200);
    let spans = sink.wait_for_spans(2);
    assert_eq!(spans[1].text("page").map(str::len), Some(long.len()));
}

#[test]
fn logs_lose_marked_records_and_metrics_pass() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
    };
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let record = |name: &str, marked: bool| LogRecord {
        event_name: name.into(),
        attributes: vec![support::spans::pair("sensitive", flag(marked))],
        ..LogRecord::default()
    };
    let log_records = vec![record("CANARY", true), record("kept", false)];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/logs", &logs).status, 200);
    let point = NumberDataPoint { time_unix_nano: 1, ..NumberDataPoint::default() };
    let gauge = metric::Data::Gauge(Gauge { data_points: vec![point] });
    let metrics = vec![Metric { name: "tokens".into(), data: Some(gauge), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let metrics = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    };
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/metrics", &metrics).status, 200);
    let received = sink.wait_for_requests(2);
    assert!(received.iter().any(|r| r.is("metrics") && r.message == metrics.encode_to_vec()));
    assert!(sink.has_seen("kept") && !sink.has_seen("CANARY"));
}

#[test]
fn a_backend_that_comes_back_gets_everything() {
    let sink = Sink::start();
    sink.answer_next([
        Answer::Http(503, vec![("retry-after", "1".into())]),
        Answer::Http(503, vec![("retry-after", "1".into())]),
    ]);
    let yaml = daemon::config(
        &format!(
            "otlp_http: {{endpoint: \"{}\", retry_on_failure: {{initial_interval: 50ms}}}}",
            sink.endpoint()
        ),
        &["otlp_http"],
    );
    let daemon = Daemon::start(&yaml);
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request([span("a", 1, 1, 0)]));
    assert_eq!(reply.status, 200, "accepted into the queue while the backend is away");
    let received = sink.wait_for_requests(3);
    assert_eq!(received.len(), 3, "two refused attempts and one that was taken");
    let sent = || (daemon.metric("otelcol_exporter_sent_spans", "") == 1.0).then_some(());
    assert!(eventually(sent).is_some(), "one span is counted as sent");
}

#[test]
fn a_full_queue_pushes_back_with_a_retry_hint_and_loses_nothing() {
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let yaml = daemon::config(
        &format!(
            "otlp_http: {{endpoint: \"{}\", sending_queue: {{limit_mib: 1}}}}",
            sink.endpoint()
        ),
        &["otlp_http"],
    );
    let daemon = Daemon::start(&yaml);
    let big = "x".repeat(300 << 10);
    let body = |id| request([with(span("a", 1, id, 0), [("page", text(&big))])]);
    let replies: Vec<_> =
        (1..=6).map(|id| client::post_protobuf(&daemon.http(), "/v1/traces", &body(id))).collect();
    let refused: Vec<_> = replies.iter().filter(|r| r.status == 503).collect();
    let accepted = replies.iter().filter(|r| r.status == 200).count();
    assert!(!refused.is_empty(), "{:?}", replies.iter().map(|r| r.status).collect::<Vec<_>>());
    assert!(refused.iter().all(|r| r.header("retry-after").is_some()));
    assert_eq!(accepted + refused.len(), replies.len());
    sink.answer_always(Answer::Ok);
    // The sink remembers refused attempts too: only what is new after the last refusal counts.
    let delivered = || {
        let sent = daemon.metric("otelcol_exporter_sent_spans", "");
        (sent == accepted as f64).then_some(())
    };
    assert!(eventually(delivered).is_some(), "what was accepted arrives");
}

#[test]
fn sigterm_delivers_what_is_queued_and_ends_with_zero() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&daemon::to_sink(&sink));
    for id in 1..=50 {
        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([span("a", 1, id, 0)]));
        assert_eq!(reply.grpc_status(), Some(0));
    }
    let status = daemon.stop();
    assert_eq!(sink.wait_for_spans(50).len(), 50);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_reload_with_a_broken_file_changes_nothing_and_says_why() {
    let sink = Sink::start();
    let yaml = daemon::to_sink(&sink);
    let daemon = Daemon::start(&yaml);
    let address = daemon.grpc();
    daemon.rewrite_config("receivers: {otlp: {protocolz: {}}}");
    daemon.signal("HUP");
    daemon.wait_for_log("protocolz");
    let reply = client::grpc_export(&address, TRACES, &request([span("a", 1, 1, 0)]));
    assert_eq!(reply.grpc_status(), Some(0), "the old configuration still runs");
    sink.wait_for_spans(1);
}

#[test]
fn health_is_answered_and_metrics_have_the_collectors_names() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let ready = || (client::get(&daemon.health_check(), "/").status == 200).then_some(());
    assert!(eventually(ready).is_some());
    client::grpc_export(&daemon.grpc(), TRACES, &request([span("a", 1, 1, 0)]));
    sink.wait_for_spans(1);
    for name in [
        "otelcol_receiver_accepted_spans",
        "otelcol_processor_incoming_items",
        "otelcol_exporter_sent_spans",
    ] {
        let counted = || (daemon.metric(name, "") >= 1.0).then_some(());
        assert!(eventually(counted).is_some(), "{name}");
    }
}

#[test]
fn what_clients_say_never_adds_a_series_to_the_metrics() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let send = |n: u64| {
        let role =
            [("gen_ai.operation.name", text("execute_tool")), ("tenant", text(&n.to_string()))];
        let body =
            request([with(span(&format!("name {n}"), n.into(), n, 0), role)]).encode_to_vec();
        let agent = format!("client/{n}");
        let headers = [("content-type", "application/x-protobuf"), ("user-agent", agent.as_str())];
        assert_eq!(client::post(&daemon.http(), "/v1/traces", &headers, body).status, 200);
    };
    let series = || client::get(&daemon.metrics(), "/metrics").text().lines().count();
    send(1);
    sink.wait_for_spans(1);
    let before = series();
    (2..=300).for_each(send);
    sink.wait_for_spans(300);
    assert_eq!(series(), before);
}

#[test]
fn a_secret_stands_in_no_log_line_no_metric_and_no_answer() {
    let sink = Sink::start();
    sink.answer_always(Answer::Http(401, vec![("x-echo", "SECRET-CANARY".into())]));
    let yaml = daemon::config(
        &format!(
            "otlp_http: {{endpoint: \"{}\", headers: {{authorization: SECRET-CANARY}}}}",
            sink.endpoint()
        ),
        &["otlp_http"],
    );
    let daemon = Daemon::start_with(&yaml, |command| {
        command.args(["--set", "service.telemetry.logs.level=debug"]);
    });
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request([span("a", 1, 1, 0)]));
    daemon.wait_for_log("401");
    let received = sink.wait_for_requests(1);
    assert_eq!(received[0].headers["authorization"], "SECRET-CANARY", "the backend gets it");
    let metrics = client::get(&daemon.metrics(), "/metrics").text();
    let bad = client::post(&daemon.http(), "/v1/traces", &[], "junk").text();
    for said in daemon.log_lines().into_iter().chain([reply.text(), metrics, bad]) {
        assert!(!said.contains("SECRET-CANARY"), "{said}");
    }
}
