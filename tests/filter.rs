//! The `filter` processor through the real binary: real configuration, what the client is told,
//! what the backend receives, what the log and the metrics say.

mod support;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use support::client::{self, TRACES};
use support::spans::{and_event, number, text, with};
use support::{Daemon, Sink, daemon, event, eventually, request, span};

/// A configuration in which `filter`, a YAML map in braces or lines, is the only processor.
fn config(sink: &Sink, filter: &str) -> String {
    let filter = filter.trim().replace('\n', "\n    ");
    daemon::to_sink(sink)
        .replace("processors:\n  sensitive: {}", &format!("processors:\n  filter:\n    {filter}"))
        .replace("[sensitive, baggage, orphans]", "[filter]")
        .replace("[sensitive, baggage]", "[filter]")
}

#[test]
fn what_a_condition_holds_for_does_not_arrive() {
    let sink = Sink::start();
    let yaml = config(
        &sink,
        r#"
traces:
  resource:
    - attributes["service.name"] == "load-test"
  span:
    - name == "GET /healthz" and IsRootSpan()
    - attributes["tokens"] > 1000
  spanevent:
    - name == "heartbeat"
"#,
    );
    let daemon = Daemon::start(&yaml);
    let chat = with(span("chat", 1, 3, 1), [("tokens", number(5))]);
    let chat = and_event(and_event(chat, event("heartbeat", [])), event("retry", []));
    let spans = [
        span("GET /healthz", 1, 1, 0),
        span("GET /healthz", 1, 2, 1),
        chat,
        with(span("long", 1, 4, 1), [("tokens", number(5000))]),
    ];
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    let arrived = sink.wait_for_spans(2);
    let mut names: Vec<_> = arrived.iter().map(|seen| (seen.id(), &*seen.span.name)).collect();
    names.sort();
    let expected = [("0000000000000002", "GET /healthz"), ("0000000000000003", "chat")];
    assert_eq!(names, expected.map(|(id, name)| (id.to_owned(), name)));
    let chat = arrived.iter().find(|seen| seen.span.name == "chat").unwrap();
    assert!(chat.has_event("retry") && !chat.has_event("heartbeat"));
    assert_eq!(chat.span.dropped_events_count, 1);
    assert_eq!(daemon.metric("otelcol_processor_filter_spans_filtered", "filter"), 2.0);
    assert_eq!(daemon.metric("spanloom_filter_removed_events", "filter"), 1.0);
}

#[test]
fn a_request_of_which_nothing_is_left_is_accepted() {
    let sink = Sink::start();
    let daemon = Daemon::start(&config(&sink, "traces: {span: ['name != \"last\"']}"));
    for name in ["a", "b", "last"] {
        let reply = client::post_protobuf(
            &daemon.http(),
            "/v1/traces",
            &request([span(name, 1, 1, 0), span(name, 1, 2, 1)]),
        );
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let names: Vec<_> = sink.wait_for_spans(2).into_iter().map(|seen| seen.span.name).collect();
    assert_eq!(names, ["last", "last"]);
}

#[test]
fn the_log_says_once_that_children_lose_their_parent() {
    let sink = Sink::start();
    let daemon = Daemon::start(&config(&sink, "traces: {span: ['name == \"parent\"']}"));
    for id in 1..=3 {
        let spans = [span("parent", id, 1, 0), span("child", id, 2, 1)];
        client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
    }
    sink.wait_for_spans(3);
    daemon.wait_for_log("without their parent");
    let lines = daemon.log_lines();
    assert_eq!(lines.iter().filter(|line| line.contains("without their parent")).count(), 1);
}

#[test]
fn keep_structure_keeps_the_span_and_takes_its_content() {
    let sink = Sink::start();
    let filter = "{keep_structure: true, traces: {span: ['name == \"parent\"']}}";
    let daemon = Daemon::start(&config(&sink, filter));
    let parent = with(span("parent", 1, 1, 0), [("prompt", text("CANARY")), ("n", number(1))]);
    let parent = and_event(parent, event("e", [("text", text("CANARY"))]));
    let child = with(span("child", 1, 2, 1), [("n", number(1))]);
    client::grpc_export(&daemon.grpc(), TRACES, &request([parent, child]));
    let arrived = sink.wait_for_spans(2);
    let parent = &arrived.iter().find(|seen| seen.span.name == "parent").unwrap().span;
    assert!(parent.attributes.is_empty() && parent.events.is_empty());
    assert_eq!((parent.dropped_attributes_count, parent.dropped_events_count), (2, 1));
    assert_eq!((parent.kind, parent.start_time_unix_nano > 0), (1, true));
    assert!(!sink.has_seen("CANARY"));
    assert_eq!(daemon.metric("spanloom_filter_reduced_spans", "filter"), 1.0);
}

/// `HasPrefix` has no answer for a span without the attribute.
fn with_error_mode(sink: &Sink, mode: &str) -> Daemon {
    let filter = format!(
        "{{error_mode: {mode}, traces: {{span: ['HasPrefix(attributes[\"path\"], \"/in\")']}}}}"
    );
    Daemon::start(&config(sink, &filter))
}

#[test]
fn error_mode_propagate_refuses_the_request_and_says_why() {
    let sink = Sink::start();
    let daemon = with_error_mode(&sink, "propagate");
    let spans = [with(span("a", 1, 1, 0), [("path", text("/out"))]), span("b", 1, 2, 1)];
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans.clone()));
    assert_eq!(reply.grpc_status(), Some(13), "{reply:?}");
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request(spans.clone()));
    assert_eq!(reply.status, 500);
    let reason = reply.text();
    assert!(reason.contains("HasPrefix takes a string and found nil"), "{reason}");
    let [with_path, _] = spans;
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([with_path]));
    assert_eq!(reply.grpc_status(), Some(0), "a request that has answers passes");
    assert_eq!(sink.wait_for_spans(1)[0].span.name, "a");
}

#[test]
fn error_mode_ignore_logs_and_silent_does_not() {
    for (mode, logs) in [("ignore", true), ("silent", false)] {
        let sink = Sink::start();
        let daemon = with_error_mode(&sink, mode);
        let inside = with(span("inside", 1, 3, 1), [("path", text("/in/x"))]);
        let spans = [span("a", 1, 1, 0), span("b", 1, 2, 1), inside];
        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
        assert_eq!(reply.grpc_status(), Some(0), "{mode}");
        let names: Vec<_> = sink.wait_for_spans(2).into_iter().map(|seen| seen.span.name).collect();
        assert_eq!(names, ["a", "b"], "{mode}");
        let counted = || (daemon.metric("spanloom_filter_errors", "filter") == 2.0).then_some(());
        assert!(eventually(counted).is_some(), "{mode}");
        // Written after the failures, so that what should not stand there would stand there.
        daemon.wait_for_log("without their parent");
        let said = daemon.log_lines().iter().any(|line| line.contains("counts as false"));
        assert_eq!(said, logs, "{mode}");
    }
}

#[test]
fn log_records_are_dropped_by_severity_and_body() {
    let sink = Sink::start();
    let yaml = config(
        &sink,
        r#"
log_conditions:
  - log.severity_number != 0 and log.severity_number < SEVERITY_NUMBER_INFO
  - IsMatch(log.body, "^GET /healthz")
"#,
    );
    let daemon = Daemon::start(&yaml);
    let record = |body: &str, severity| LogRecord {
        body: Some(AnyValue { value: Some(text(body)) }),
        severity_number: severity,
        ..LogRecord::default()
    };
    let log_records =
        vec![record("CANARY", 5), record("GET /healthz CANARY", 9), record("kept", 9)];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/logs", &logs).status, 200);
    sink.wait_for_requests(1);
    assert!(sink.has_seen("kept") && !sink.has_seen("CANARY"));
    assert_eq!(daemon.metric("otelcol_processor_filter_logs_filtered", "filter"), 2.0);
}

#[test]
fn all_bad_conditions_are_reported_at_once_with_line_and_column() {
    let sink = Sink::start();
    let yaml = config(
        &sink,
        r#"
traces:
  span:
    - nmae == "x"
    - name == "x"
  spanevent:
    - IsMatch(name, "(")
logs: {include: {match_type: strict}}
"#,
    );
    let folder = tempfile::TempDir::new().expect("a scratch folder");
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, yaml).expect("the configuration is written");
    let output = daemon::run(["validate", "--config", &file.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        "config.yaml:10:11: processors::filter::traces::span[0]: column 1: unknown path \"nmae\": \
         span has no \"nmae\"; did you mean \"name\"?",
        "config.yaml:13:11: processors::filter::traces::spanevent[0]: column 15: bad regular \
         expression: unclosed group",
        "config.yaml:14:12: processors::filter::logs::include: is not supported here: the \
         include/exclude form has been replaced by conditions",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}
