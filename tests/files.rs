//! The `file` exporter and the `otlp_json_file` receiver through the real binary.

mod support;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::client::{self, TRACES};
use support::spans::{and_event, find, flag, number, pair, text, with};
use support::{Answer, Daemon, Sink, daemon, event, eventually, request, span};
use tempfile::TempDir;

/// What an agent exports goes to a file by the exporter keys `write`; what stands in files named
/// `traces*` there is read and goes to `sink`.
fn config(folder: &Path, write: &str, sink: &Sink) -> String {
    let (folder, endpoint) = (folder.display(), sink.endpoint());
    format!(
        "receivers:
  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:0\"}}, grpc: {{endpoint: \"127.0.0.1:0\"}}}}}}
  otlp_json_file:
    include: [\"{folder}/traces*\"]
    start_at: beginning
    poll_interval: 5ms
exporters:
  file: {{path: \"{folder}/traces.out\", {write}}}
  otlp_grpc:
    endpoint: \"{endpoint}\"
    sending_queue: {{enabled: false}}
    retry_on_failure: {{enabled: false}}
service:
  telemetry: {{metrics: {{address: \"127.0.0.1:0\"}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
    traces/read: {{receivers: [otlp_json_file], exporters: [otlp_grpc]}}
"
    )
}

/// A request that has what spans can have.
fn rich(trace: u128) -> ExportTraceServiceRequest {
    let any = |value| AnyValue { value: Some(value) };
    let list = vec![any(number(-1)), any(text("\u{1F9F5} \"quoted\"\n"))];
    let map = vec![pair("in", flag(true)), pair("none", Value::ArrayValue(ArrayValue::default()))];
    let mut chat = with(
        span("chat gpt", trace, 3, 1),
        [
            ("int", number(i64::MIN)),
            ("double", Value::DoubleValue(0.1)),
            ("bytes", Value::BytesValue(vec![0, 255, 128])),
            ("list", Value::ArrayValue(ArrayValue { values: list })),
            ("map", Value::KvlistValue(KeyValueList { values: map })),
        ],
    );
    chat = and_event(chat, event("retry", [("attempt", number(2))]));
    chat.links = vec![Link {
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        trace_state: "a=b".into(),
        attributes: vec![pair("k", text("v"))],
        dropped_attributes_count: 3,
        flags: 1,
    }];
    chat.status = Some(Status { message: "boom".into(), code: 2 });
    chat.trace_state = "vendor=1".into();
    chat.flags = 0x301;
    chat.dropped_attributes_count = 4;
    chat.kind = 3;
    let mut request = request([span("root", trace, 1, 0), chat]);
    let group = &mut request.resource_spans[0];
    group.schema_url = "https://opentelemetry.io/schemas/1.30.0".into();
    group.scope_spans[0].schema_url = "https://example.com/scope".into();
    request
}

#[test]
fn what_is_written_and_read_again_is_equal_in_every_format() {
    for write in [
        "format: json",
        "format: proto",
        "format: json, compression: zstd",
        "format: proto, compression: zstd, fsync: true",
    ] {
        let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
        let daemon = Daemon::start(&config(folder.path(), write, &sink));
        let sent: Vec<_> = (1..=3).map(rich).collect();
        for request in &sent {
            let reply = client::post_protobuf(&daemon.http(), "/v1/traces", request);
            assert_eq!(reply.status, 200, "{write}: {reply:?}");
        }
        sink.wait_for_spans(6);
        let mut groups: Vec<_> =
            sink.received().iter().flat_map(|r| r.traces().resource_spans).collect();
        groups.sort_by_key(|group| group.scope_spans[0].spans[0].trace_id.clone());
        let expected: Vec<_> = sent.into_iter().flat_map(|r| r.resource_spans).collect();
        assert_eq!(groups, expected, "{write}");
    }
}

#[test]
fn what_was_answered_stands_in_the_file_of_its_owner_even_if_the_process_is_killed() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    let path = folder.path().join("traces.out");
    let mut daemon = Daemon::start(&config(folder.path(), "append: true", &sink));
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([span("kept", 1, 1, 0)]));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    daemon.signal("KILL");
    daemon.wait();
    let file = fs::read_to_string(&path).expect("the file is there");
    assert!(file.ends_with("}\n") && file.contains("\"name\":\"kept\""), "{file}");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_full_disk_tells_clients_to_come_back() {
    let sink = Sink::start();
    let yaml = config(Path::new("/nowhere"), "", &sink);
    let daemon = Daemon::start(&yaml.replace("/nowhere/traces.out", "/dev/full"));
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request([span("a", 1, 1, 0)]));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
    daemon.wait_for_log("make room on the disk");
}

#[test]
fn rotation_while_reading_loses_nothing() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    let write = "rotation: {max_megabytes: 1}";
    let daemon = Daemon::start(&config(folder.path(), write, &sink));
    let long = "x".repeat(200 << 10);
    for id in 1..=30 {
        let spans = [with(span("long", 1, id, 0), [("text", text(&long))])];
        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
        assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    }
    let mut ids: Vec<String> = sink.wait_for_spans(30).iter().map(|seen| seen.id()).collect();
    ids.sort();
    let expected: Vec<String> = (1..=30).map(|id| format!("{id:016x}")).collect();
    assert_eq!(ids, expected);
    let names = fs::read_dir(folder.path()).expect("the folder").flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let aside = names.iter().filter(|name| name.starts_with("traces-20") && name.ends_with(".out"));
    assert!(aside.count() >= 4, "{names:?}");
}

#[test]
fn a_reload_loses_nothing_and_sends_nothing_twice() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    let yaml = config(folder.path(), "", &sink);
    let daemon = Daemon::start(&yaml);
    client::grpc_export(&daemon.grpc(), TRACES, &request([span("before", 1, 1, 0)]));
    sink.wait_for_spans(1);
    // Another queue, so that the document differs; the file and its reader are as they were.
    daemon.rewrite_config(&yaml.replace("{enabled: false}}", "{enabled: false}}  #"));
    daemon.signal("HUP");
    daemon.wait_for_log("the new configuration is in use");
    let address = eventually(|| {
        let lines = daemon.log_lines();
        let is_new = |line: &String| line.contains("listening") && line.contains("otlp/grpc");
        let line = lines.iter().filter(|line| is_new(line)).nth(1)?.clone();
        line.rsplit_once("127.0.0.1:").map(|(_, port)| format!("127.0.0.1:{port}"))
    });
    let after = request([span("after", 1, 2, 0)]);
    client::grpc_export(address.expect("it listens again").trim(), TRACES, &after);
    let names: Vec<_> = sink.wait_for_spans(2).into_iter().map(|seen| seen.span.name).collect();
    assert_eq!(names, ["before", "after"]);
    let file = fs::read_to_string(folder.path().join("traces.out")).expect("the file");
    assert_eq!(file.lines().count(), 2, "a reload does not empty what the process has written");
}

#[test]
fn bad_lines_are_named_and_the_rest_arrives() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    let line = |name: &str| {
        let id = "\"traceId\":\"00000000000000000000000000000001\",\"spanId\":\"0000000000000001\"";
        let span = format!("{{{id},\"name\":\"{name}\"}}");
        format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{span}]}}]}}]}}\n")
    };
    let bad = "{\"resourceSpans\":[{\"scopeSpans\":\"CANARY\"}]}\n";
    let lines = [&line("one"), "no json\n", bad, &line("two"), "{\"other\":1}\n"].concat();
    fs::write(folder.path().join("traces.jsonl"), lines).expect("it is written");
    let daemon = Daemon::start(&config(folder.path(), "", &sink));
    let names: Vec<_> = sink.wait_for_spans(2).into_iter().map(|seen| seen.span.name).collect();
    assert_eq!(names, ["one", "two"]);
    for expected in [
        "traces.jsonl:2: is no JSON object; passed over",
        "traces.jsonl:3: not valid OTLP/JSON at line 1, column ",
        "traces.jsonl:5: has none of resourceSpans, resourceLogs and resourceMetrics",
    ] {
        daemon.wait_for_log(expected);
    }
    assert!(!daemon.log_lines().iter().any(|line| line.contains("CANARY")));
    assert_eq!(daemon.metric("spanloom_receiver_bad_records", "otlp_json_file"), 3.0);
}

#[test]
fn what_the_backend_does_not_take_is_offered_until_it_does() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    sink.answer_next([Answer::Grpc(14, vec![]), Answer::Grpc(3, vec![])]);
    let daemon = Daemon::start(&config(folder.path(), "", &sink));
    client::grpc_export(&daemon.grpc(), TRACES, &request([span("late", 1, 1, 0)]));
    let requests = sink.wait_for_requests(3);
    assert!(requests.iter().all(|request| request.spans()[0].span.name == "late"));
    daemon.wait_for_log("1 spans are not taken yet, trying again");
    let accepted = || {
        let metric = "otelcol_receiver_accepted_spans";
        (daemon.metric(metric, "otlp_json_file") == 1.0).then_some(())
    };
    assert!(eventually(accepted).is_some());
}

#[test]
fn files_that_cannot_be_written_and_ports_in_use_are_said_together() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let exporters = "file: {path: missing/one.jsonl}\nfile/2: {path: missing/two.jsonl}";
    let yaml = daemon::config(exporters, &["file", "file/2"]).replacen("127.0.0.1:0", &address, 1);
    let output = daemon::run(["--config", &format!("yaml:{yaml}")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for expected in [
        "exporters::file: cannot write missing/one.jsonl: No such file or directory (os error 2); \
         create the directory missing, or set create_directory: true (yaml::",
        "exporters::file/2: cannot write missing/two.jsonl",
        "exporters::file::path)",
        &address,
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn nop_takes_everything_and_receives_nothing() {
    let yaml = daemon::config("nop: {}", &["nop"]);
    let yaml =
        yaml.replace("receivers:\n", "receivers:\n  nop: {}\n").replace("[otlp]", "[otlp, nop]");
    let mut daemon = Daemon::start(&yaml);
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([span("a", 1, 1, 0)]));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    assert_eq!(daemon.metric("otelcol_exporter_sent_spans", "nop"), 1.0);
    assert!(daemon.stop().success());
}

#[test]
fn what_is_written_is_what_came() {
    let (sink, folder) = (Sink::start(), TempDir::new().expect("a scratch folder"));
    let daemon = Daemon::start(&config(folder.path(), "", &sink));
    client::post_protobuf(&daemon.http(), "/v1/traces", &rich(1));
    let chat = sink.wait_for_spans(2).into_iter().find(|seen| seen.span.name == "chat gpt");
    let chat = chat.expect("it arrives");
    assert_eq!(find(&chat.resource, "service.name"), Some(&text("agent")));
    assert_eq!(find(&chat.resource, "log.file.name"), None, "nothing is added");
}
