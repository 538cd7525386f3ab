//! Connectors through the real binary: what goes where, who is answered when, how it ends.

mod support;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Status;
use std::fs;
use support::client::{self, TRACES};
use support::spans::{pair, text};
use support::{Answer, Daemon, Sink, daemon, eventually, request, span};
use tempfile::TempDir;

/// A configuration whose pipeline `traces` ends in `routing` with the keys `routing`, in lines or
/// braces. Behind it `traces/a` and `traces/b` lead to one sink each, without a queue.
fn config(routing: &str, a: &Sink, b: &Sink) -> String {
    let routing = routing.trim().replace('\n', "\n    ");
    let exporter = |sink: &Sink| {
        let endpoint = sink.endpoint();
        format!(
            "{{endpoint: \"{endpoint}\", sending_queue: {{enabled: false}}, \
             retry_on_failure: {{enabled: false}}}}"
        )
    };
    format!(
        "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:0\"}}, http: {{endpoint: \"127.0.0.1:0\"}}}}}}
processors:
  baggage: {{}}
connectors:
  routing:
    {routing}
exporters:
  otlp_grpc/a: {}
  otlp_grpc/b: {}
service:
  telemetry: {{metrics: {{address: \"127.0.0.1:0\"}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [routing]}}
    traces/a: {{receivers: [routing], exporters: [otlp_grpc/a]}}
    traces/b: {{receivers: [routing], exporters: [otlp_grpc/b]}}
",
        exporter(a),
        exporter(b)
    )
}

/// A request of two services.
fn two_services() -> ExportTraceServiceRequest {
    let mut failed = span("failed", 1, 2, 1);
    failed.status = Some(Status { message: String::new(), code: 2 });
    let mut first = request([span("root", 1, 1, 0), failed]);
    let mut second = request([span("job", 2, 3, 0)]);
    let resource = second.resource_spans[0].resource.as_mut().expect("a resource");
    resource.attributes = vec![pair("service.name", text("job"))];
    first.resource_spans.append(&mut second.resource_spans);
    first
}

fn names(sink: &Sink, enough: usize) -> Vec<String> {
    let mut names: Vec<_> =
        sink.wait_for_spans(enough).into_iter().map(|seen| seen.span.name).collect();
    names.sort();
    names
}

#[test]
fn each_part_goes_where_its_route_leads() {
    let (a, b) = (Sink::start(), Sink::start());
    let routing = r#"
table:
  - condition: attributes["service.name"] == "job"
    pipelines: [traces/a]
  - statement: route() where span.status.code == STATUS_CODE_ERROR
    action: copy
    pipelines: [traces/a]
default_pipelines: [traces/b]
"#;
    let daemon = Daemon::start(&config(routing, &a, &b));
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &two_services());
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    assert_eq!(names(&a, 2), ["failed", "job"]);
    assert_eq!(names(&b, 2), ["failed", "root"]);
    let sent = |id| daemon.metric("otelcol_exporter_sent_spans", id);
    assert_eq!((sent("otlp_grpc/a"), sent("otlp_grpc/b")), (2.0, 2.0));
    assert_eq!(daemon.metric("spanloom_routing_dropped_items", "routing"), 0.0);
}

#[test]
fn what_matches_no_route_is_dropped_counted_and_said_once() {
    let (a, b) = (Sink::start(), Sink::start());
    let routing = "{table: [{condition: span.name == \"root\", pipelines: [traces/a, traces/b]}]}";
    let daemon = Daemon::start(&config(routing, &a, &b));
    for _ in 0..2 {
        let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &two_services());
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!((names(&a, 2), names(&b, 2)), (vec!["root".into(); 2], vec!["root".into(); 2]));
    assert_eq!(daemon.metric("spanloom_routing_dropped_items", "routing"), 4.0);
    let said = |line: &&String| line.contains("no route takes some of the data");
    assert_eq!(daemon.log_lines().iter().filter(said).count(), 1);
}

#[test]
fn a_client_is_answered_by_the_worst_of_all_pipelines() {
    let (a, b) = (Sink::start(), Sink::start());
    let routing = "{table: [{context: span, condition: name == \"job\", pipelines: [traces/b]}], \
                   default_pipelines: [traces/a]}";
    let daemon = Daemon::start(&config(routing, &a, &b));
    b.answer_next([Answer::Grpc(14, vec![])]);
    let post = || client::post_protobuf(&daemon.http(), "/v1/traces", &two_services()).status;
    assert_eq!(post(), 503, "one of the two did not take its part");
    assert_eq!(post(), 200);
    assert_eq!(b.wait_for_requests(2).len(), 2);
}

#[test]
fn a_condition_without_an_answer_refuses_the_request() {
    let (a, b) = (Sink::start(), Sink::start());
    let condition = "HasPrefix(attributes[\"path\"], \"/in\")";
    let routing = format!(
        "{{table: [{{context: span, condition: '{condition}', pipelines: [traces/a, traces/b]}}]}}"
    );
    let daemon = Daemon::start(&config(&routing, &a, &b));
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &two_services());
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("HasPrefix takes a string and found nil"), "{}", reply.text());
}

#[test]
fn what_is_held_passes_all_pipelines_when_the_process_ends() {
    let sink = Sink::start();
    let yaml =
        config("{table: [{statement: route(), pipelines: [traces/a, traces/b]}]}", &sink, &sink);
    // Each has a task of its own; a closed one turns away what comes.
    let yaml = yaml
        .replace("{receivers: [otlp],", "{receivers: [otlp], processors: [baggage],")
        .replace("{receivers: [routing],", "{receivers: [routing], processors: [baggage],")
        .replace("sending_queue: {enabled: false}", "sending_queue: {batch: {flush_timeout: 1h}}");
    let mut daemon = Daemon::start(&yaml);
    for id in 1..=50 {
        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([span("held", 1, id, 0)]));
        assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    }
    assert!(daemon.stop().success());
    assert_eq!(sink.spans().len(), 100);
}

#[test]
fn forward_joins_pipelines() {
    let (a, b) = (Sink::start(), Sink::start());
    let yaml = config("{}", &a, &b).replace("routing", "forward");
    let daemon = Daemon::start(&yaml);
    client::grpc_export(&daemon.grpc(), TRACES, &request([span("both", 1, 1, 0)]));
    assert_eq!((names(&a, 1), names(&b, 1)), (vec!["both".into()], vec!["both".into()]));
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    let sink = Sink::start();
    let routing = "\
table:
  - condition: span.nmae == \"x\"
    pipelines: [traces/a]
  - statement: route() where span.name == \"x\"
    pipelines: [traces/q]
default_pipelines: [traces]
";
    let yaml = config(routing, &sink, &sink)
        .replace("exporters: [otlp_grpc/b]", "exporters: [otlp_grpc/b, forward]")
        .replace("{receivers: [otlp],", "{receivers: [otlp, forward],")
        .replace("connectors:\n", "connectors:\n  forward: {}\n");
    let folder = TempDir::new().expect("a scratch folder");
    let file = folder.path().join("config.yaml");
    fs::write(&file, yaml).expect("the configuration is written");
    let output = daemon::run(["validate", "--config", &file.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        "config.yaml:9:20: connectors::routing::table[0]::condition: column 1: unknown path \
         \"span.nmae\": span has no \"nmae\"; did you mean \"span.name\"?",
        "connectors::routing::table[1]::pipelines: references pipeline \"traces/q\" which is not \
         configured",
        "connectors::routing::default_pipelines: references pipeline \"traces\" which does not \
         begin with it; add \"routing\" to its receivers",
        "service::pipelines::traces: feeds itself: traces -> routing -> traces/b -> forward -> \
         traces; take one of these steps out",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn the_sample_keeps_tests_and_failures_in_files() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    let sample = format!("{}/config/routing.yaml", env!("CARGO_MANIFEST_DIR"));
    let sample = fs::read_to_string(sample).expect("the sample is there");
    let free = "receivers: {otlp: {protocols: {grpc: {endpoint: \"127.0.0.1:0\"}, http: \
                {endpoint: \"127.0.0.1:0\"}}}}\nservice: {telemetry: {metrics: {address: \
                \"127.0.0.1:0\"}}}";
    let daemon = Daemon::start_with(&sample, |command| {
        command.env("BACKEND_ENDPOINT", sink.address()).env("DATA_DIR", folder.path());
        command.arg("--config").arg(format!("yaml:{free}"));
    });
    let mut sent = two_services();
    let resource = sent.resource_spans[1].resource.as_mut().expect("a resource");
    resource.attributes = vec![pair("service.name", text("load-test"))];
    client::grpc_export(&daemon.grpc(), TRACES, &sent);
    assert_eq!(names(&sink, 2), ["failed", "root"]);
    let has = |file: &str, name: &str| {
        let path = folder.path().join(file);
        let found = || fs::read_to_string(&path).ok().filter(|text| text.contains(name));
        eventually(found).is_some_and(|text| text.lines().count() == 1)
    };
    assert!(has("tests.jsonl", "\"job\"") && has("errors.jsonl", "\"failed\""));
}
