//! The status of a running daemon: over the API as its .proto says it, and as `spanloom status` shows
//! it.

mod support;

use std::process::Output;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use spanloom::status::{Component, Graph, METHOD, Pipeline, Status, message};
use spanloom::telemetry::{Finding, Kind, Series};
use support::client::{self, TRACES};
use support::daemon::{command, run, to_sink};
use support::spans::{text, with};
use support::{Daemon, Sink, eventually, request, span};

/// The usual configuration with the extension.
fn config(sink: &Sink) -> String {
    let yaml =
        to_sink(sink).replace("extensions: [health_check]", "extensions: [health_check, status]");
    yaml.replace("extensions:\n", "extensions:\n  status: {endpoint: \"127.0.0.1:0\"}\n")
}

/// A daemon that has passed on three spans, one of them a tool call without a parent.
fn busy(sink: &Sink) -> Daemon {
    let daemon = Daemon::start(&config(sink));
    let role = [("gen_ai.operation.name", text("execute_tool")), ("query", text("CANARY"))];
    let spans = [span("ask", 1, 1, 0), span("chat", 1, 2, 1), with(span("search", 2, 9, 0), role)];
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    sink.wait_for_spans(3);
    let sent = || (daemon.metric("otelcol_exporter_sent_spans", "otlp_grpc") == 3.0).then_some(());
    eventually(sent).expect("the delivery is counted");
    daemon
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn status_of(daemon: &Daemon, options: &[&str]) -> String {
    let mut command = command();
    command.args(["status", "--endpoint", &daemon.address("status")]).args(options);
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    assert!(status.success(), "{}", said(&stderr));
    said(&stdout)
}

/// `GetStatusResponse`, by the .proto alone.
fn response() -> MessageDescriptor {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = "spanloom/status/v1/status.proto";
    let files = protox::compile([file], [folder]).expect("the .proto compiles");
    let pool = DescriptorPool::from_file_descriptor_set(files).expect("and stands by itself");
    let service = pool.services().next().expect("a service");
    let method = service.methods().next().expect("a method");
    assert_eq!(format!("/{}/{}", service.full_name(), method.name()), METHOD);
    method.output()
}

/// Asserts that every field of every message in it is set, and that none is unknown.
#[track_caller]
fn all_fields_set(message: &DynamicMessage) {
    let name = message.descriptor().full_name().to_owned();
    assert_eq!(message.unknown_fields().count(), 0, "{name}");
    for field in message.descriptor().fields() {
        assert!(message.has_field(&field), "{name}.{} is not written", field.name());
        match message.get_field(&field).as_ref() {
            Value::Message(inner) => all_fields_set(inner),
            Value::List(items) => {
                items.iter().filter_map(Value::as_message).for_each(all_fields_set);
            }
            _ => {}
        }
    }
}

fn full() -> Status {
    let labels = vec![("rule".to_owned(), "marked".to_owned())];
    let series = Series { name: "removed".to_owned(), labels, kind: Kind::Counter, value: -5 };
    let ids = |id: &str| vec![id.to_owned()];
    Status {
        version: "1.2.3".to_owned(),
        started: 1,
        time: u64::MAX,
        ready: true,
        graph: Graph {
            pipelines: vec![Pipeline {
                id: "traces/a".to_owned(),
                signal: "traces".to_owned(),
                receivers: ids("otlp"),
                processors: ids("orphans"),
                exporters: ids("debug"),
            }],
            components: vec![Component {
                class: "processor".to_owned(),
                id: "orphans/a".to_owned(),
                kind: "orphans".to_owned(),
                series: vec![series.clone()],
            }],
        },
        series: vec![series],
        findings: vec![Finding {
            time: 7,
            processor: "orphans/a".to_owned(),
            signature: "tool_call_root".to_owned(),
            service: "tools".to_owned(),
            span: "search".to_owned(),
            trace_id: vec![9; 16],
        }],
    }
}

/// All of it in protobuf's text format, by the names that the .proto has.
const FULL: [&str; 9] = [
    r#"version:"1.2.3",start_time_unix_nano:1,time_unix_nano:18446744073709551615,ready:true,"#,
    r#"pipelines:[{id:"traces/a",signal:"traces",receivers:["otlp"],processors:["orphans"],"#,
    r#"exporters:["debug"]}],"#,
    r#"components:[{class:"processor",id:"orphans/a",type:"orphans",metrics:["#,
    r#"{name:"removed",labels:[{key:"rule",value:"marked"}],kind:KIND_COUNTER,value:-5}]}],"#,
    r#"metrics:[{name:"removed",labels:[{key:"rule",value:"marked"}],kind:KIND_COUNTER,value:-5}],"#,
    r#"findings:[{time_unix_nano:7,processor:"orphans/a",signature:"tool_call_root","#,
    r#"service:"tools",span_name:"search","#,
    r#"trace_id:"\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t"}]"#,
];

#[test]
fn what_is_written_by_hand_is_what_the_proto_says() {
    let bytes = message::encode(&full());
    let read = DynamicMessage::decode(response(), bytes.as_slice()).expect("it is one");
    all_fields_set(&read);
    assert_eq!(read.to_text_format(), FULL.concat());
}

#[test]
fn a_client_of_the_api_learns_what_runs_what_it_counts_and_what_was_found() {
    let sink = Sink::start();
    let daemon = busy(&sink);
    let empty = client::framed(false, &[]);
    let reply = client::grpc(&daemon.address("status"), METHOD, &[], empty);
    assert_eq!((reply.status, reply.grpc_status()), (200, Some(0)), "{reply:?}");
    assert!(!said(&reply.body).contains("CANARY"), "a finding holds a value");
    let status = DynamicMessage::decode(response(), reply.grpc_message()).expect("a status");
    let printed = status.to_text_format();
    for part in [
        "ready:true",
        r#"{id:"logs",signal:"logs",receivers:["otlp"],processors:["sensitive","baggage"],"#,
        r#"{class:"extension",id:"status",type:"status"}"#,
        r#"{name:"otelcol_exporter_sent_spans",kind:KIND_COUNTER,value:3}"#,
        r#"processor:"orphans",signature:"tool_call_root""#,
        r#"span_name:"search""#,
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
}

#[test]
fn status_prints_the_pipeline_its_numbers_and_its_findings_once() {
    let sink = Sink::start();
    let daemon = busy(&sink);
    let shown = status_of(&daemon, &["--once"]);
    let squeezed: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "traces otlp → sensitive → baggage → orphans → otlp_grpc",
        "otlp traces 3 - 0 -",
        "orphans traces 3 - 3 -",
        "otlp_grpc traces 3 - 0 - 0 B 0 %",
        "orphans found signature=tool_call_root 1 -",
    ] {
        assert!(squeezed.iter().any(|shown| shown == line), "{line}\n{shown}");
    }
    let finding = squeezed.last().expect("a line");
    assert!(finding.contains("tool_call_root 0000") && finding.ends_with("search"), "{shown}");
    assert!(!shown.contains('\x1b') && !shown.contains("CANARY"), "{shown}");
    assert_eq!(status_of(&daemon, &[]).lines().count(), shown.lines().count(), "no terminal");
}

#[test]
fn status_prints_json_for_programs() {
    let sink = Sink::start();
    let daemon = busy(&sink);
    let json = status_of(&daemon, &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(
        (&json["ready"], &json["version"]),
        (&true.into(), &env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!(json["pipelines"][0]["processors"][2], "orphans");
    let components = json["components"].as_array().expect("components");
    let sent = components.iter().find(|component| component["id"] == "otlp_grpc");
    let metrics = sent.expect("the exporter")["metrics"].as_array().expect("metrics");
    let sent = metrics.iter().find(|metric| metric["name"] == "otelcol_exporter_sent_spans");
    assert_eq!(sent.expect("a counter")["value"], 3);
    assert_eq!(json["findings"][0]["trace_id"], format!("{:032x}", 2));
    assert_eq!(json["findings"][0]["span_name"], "search");
    assert_eq!(json["findings"][0]["service"], "agent");
}

#[test]
fn the_graph_is_that_of_the_last_reload() {
    let sink = Sink::start();
    let daemon = Daemon::start(&config(&sink));
    assert!(status_of(&daemon, &["--once"]).contains("baggage → orphans"));
    daemon.rewrite_config(&config(&sink).replace("baggage, orphans]", "orphans]"));
    daemon.signal("HUP");
    daemon.wait_for_log("the new configuration is in use");
    let changed = || status_of(&daemon, &["--once"]).contains("sensitive → orphans").then_some(());
    eventually(changed).expect("the new pipeline is shown");
}

#[test]
fn where_nothing_listens_a_sentence_says_what_to_turn_on() {
    let output = run(["status", "--endpoint", "127.0.0.1:1"]);
    let said = said(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["127.0.0.1:1 does not answer", "extensions: {status: {}}", "extensions: [status]"]
    {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn at_the_wrong_port_a_sentence_says_so() {
    let sink = Sink::start();
    let daemon = Daemon::start(&config(&sink));
    let output = run(["status", "--endpoint", &daemon.grpc()]);
    let said = said(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("gRPC status 12") && said.contains("there is no method"), "{said}");
}

#[test]
fn what_is_no_call_of_the_api_is_refused_and_the_port_goes_on() {
    let sink = Sink::start();
    let daemon = Daemon::start(&config(&sink));
    let address = daemon.address("status");
    let call = |path: &str, body: &[u8]| client::grpc(&address, path, &[], body.to_vec());
    assert_eq!(call("/spanloom.status.v1.StatusService/Stop", &[0; 5]).grpc_status(), Some(12));
    assert_eq!(call(METHOD, &[]).grpc_status(), Some(13), "no message");
    assert_eq!(call(METHOD, &[0, 0, 0, 0, 9]).grpc_status(), Some(13), "half a message");
    assert_eq!(call(METHOD, &[0; 64 << 10]).grpc_status(), Some(8), "too large");
    let json = [("content-type", "application/json")];
    assert_eq!(client::grpc(&address, METHOD, &json, "{}").status, 415);
    assert_eq!(call(METHOD, &[0; 5]).grpc_status(), Some(0));
}

#[test]
fn an_endpoint_beyond_loopback_is_an_error_that_says_why() {
    let sink = Sink::start();
    let yaml = config(&sink)
        .replace("status: {endpoint: \"127.0.0.1:0\"}", "status: {endpoint: \"0.0.0.0:0\"}");
    let output = run(["validate", "--config", &format!("yaml:{yaml}")]);
    let said = said(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("extensions::status::endpoint: answers whoever asks"), "{said}");
}
