//! The command line as a stranger uses it: each command, and each kind of mistake.

mod support;

use std::net::TcpListener;
use std::process::Output;
use support::daemon::{command, run};
use support::{Daemon, Sink, client, request, span};

/// Columns of the demo's left side.
const SIDE: usize = 78;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn validate(yaml: &str) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = run(["validate", "--config", &format!("yaml:{yaml}")]);
    (status.code(), text(&stderr))
}

#[test]
fn validate_names_five_different_mistakes_at_once() {
    let yaml = "receivers:
  otlp:
    protocols:
      grpc: {endpoint: 127.0.0.1:4317, max_recv_msg_size_mib: lots}
processors:
  sensitve: {}
  baggage: {}
exporters:
  otlp_grpc:
    endpoint: http://localhost:4317
    timeuot: 5s
    retry_on_failure: {initial_interval: 5}
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [otlp_grpc]
";
    let (code, said) = validate(yaml);
    assert_eq!(code, Some(1));
    let expected: [(&str, &[&str]); 5] = [
        (":4:", &["max_recv_msg_size_mib", "lots"]),
        (":6:", &["sensitve", "sensitive"]),
        (":11:", &["timeuot", "timeout"]),
        (":12:", &["initial_interval", "5s"]),
        (":17:", &["batch", "not configured"]),
    ];
    for (line, words) in expected {
        let found = said.lines().any(|l| l.contains(line) && words.iter().all(|w| l.contains(w)));
        assert!(found, "no line with {line} and {words:?} in:\n{said}");
    }
}

#[test]
fn fragments_are_rewritten_only_behind_a_window() {
    let config = |processors: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{}}}}}}}}
processors: {{trace_window: {{}}, orphans: {{mode: rewrite}}}}
exporters: {{nop: {{}}}}
service: {{pipelines: {{traces: {{receivers: [otlp], processors: [{processors}], exporters: [nop]}}}}}}
"
        )
    };
    assert_eq!(validate(&config("trace_window, orphans")).0, Some(0));
    for processors in ["orphans, trace_window", "orphans"] {
        let (code, said) = validate(&config(processors));
        assert_eq!(code, Some(1));
        assert!(said.contains("must stand behind `trace_window`"), "{said}");
    }
}

#[test]
fn every_sample_configuration_is_valid_and_does_its_job() {
    for sample in ["default", "sidecar", "gateway"] {
        let path = format!("{}/config/{sample}.yaml", env!("CARGO_MANIFEST_DIR"));
        assert!(run(["validate", "--config", &path]).status.success(), "{sample}");
        let sink = Sink::start();
        let exporter = match sample {
            "sidecar" => "otlp_http",
            _ => "otlp_grpc",
        };
        let to_sink = format!(
            "exporters: {{{exporter}: {{endpoint: \"{}\"}}}}
service:
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: 0}}}}}}}}]}}}}
  pipelines: {{traces: {{exporters: [{exporter}]}}, logs: {{exporters: [{exporter}]}}, metrics: {{exporters: [{exporter}]}}}}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:0\"}}, http: {{endpoint: \"127.0.0.1:0\"}}}}}}}}
extensions:
  health_check: {{endpoint: \"127.0.0.1:0\"}}
  status: {{endpoint: \"127.0.0.1:0\"}}",
            sink.endpoint()
        );
        let sample = std::fs::read_to_string(&path).expect("the sample is there");
        let daemon = Daemon::start_with(&sample, |command| {
            command.arg("--config").arg(format!("yaml:{to_sink}"));
        });
        let reply =
            client::post_protobuf(&daemon.http(), "/v1/traces", &request([span("a", 1, 1, 0)]));
        assert_eq!(reply.status, 200, "{path}");
        sink.wait_for_spans(1);
    }
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let yaml = format!(
        "yaml:{}",
        support::daemon::config("debug: {}", &["debug"]).replacen("127.0.0.1:0", &address, 1)
    );
    let output = run(["--config", &yaml]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn a_missing_file_and_an_unknown_option_are_usage_errors() {
    for arguments in [["--config", "/nowhere/at/all.yaml"], ["--confg", "x"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(arguments[1]) || arguments[0] == "--confg");
    }
}

#[test]
fn components_lists_what_the_schema_knows() {
    let listed = text(&run(["components"]).stdout);
    let schema = text(&run(["schema"]).stdout);
    for name in ["otlp", "sensitive", "baggage", "orphans", "otlp_grpc", "otlp_http", "debug"] {
        assert!(listed.contains(name) && schema.contains(name), "{name}");
    }
    serde_json::from_str::<serde_json::Value>(&schema).expect("the schema is JSON");
}

#[test]
fn print_config_shows_defaults_as_comments_and_hides_secrets() {
    let yaml = support::daemon::config(
        "otlp_http: {endpoint: \"http://localhost:1\", headers: {authorization: SECRET-CANARY}}",
        &["otlp_http"],
    );
    let printed = text(&run(["print-config", "--config", &format!("yaml:{yaml}")]).stdout);
    assert!(printed.contains("# timeout: 30s") && printed.contains("  authorization"), "{printed}");
    assert!(!printed.contains("SECRET-CANARY"));
}

#[test]
fn the_demo_shows_the_run_before_and_after() {
    let output = command().arg("demo").output().expect("it runs");
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    let (tagged, joined) = shown.split_once("mode: rewrite").expect("it is played twice");
    let (mut before, mut after) = (String::new(), String::new());
    for line in tagged.lines() {
        before.extend(line.chars().take(SIDE));
        after.extend(line.chars().skip(SIDE));
    }
    assert!(before.contains("4111 1111 1111 1111") && !after.contains("4111"), "{shown}");
    assert!(after.contains("tool_call_root") && !before.contains("tool_call_root"), "{shown}");
    assert!(after.contains("alice"), "{shown}");
    let traces = |text: &str| text.matches("trace 0000").count();
    assert_eq!((traces(&before), traces(&after), traces(joined)), (4, 4, 1), "{shown}");
    assert!(joined.contains("· 12 spans ·") && !joined.contains("4111"), "{shown}");
    // Every span of the joined run is alice's.
    assert_eq!(joined.matches("user.id=alice").count(), 12, "{shown}");
}

#[test]
fn load_sends_what_it_says_and_the_backend_has_it() {
    let sink = Sink::start();
    let daemon = Daemon::start(&support::daemon::to_sink(&sink));
    let endpoint = format!("http://{}", daemon.grpc());
    let output = run([
        "load",
        "--endpoint",
        &endpoint,
        "--protocol",
        "grpc",
        "--rate",
        "1000",
        "--seconds",
        "1",
        "--spans",
        "50",
    ]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    let acked = said.lines().find(|line| line.starts_with("acknowledged")).expect("a line");
    let acked: usize = acked.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("n");
    assert!(acked >= 50);
    assert_eq!(sink.wait_for_spans(acked).len(), acked);
}
