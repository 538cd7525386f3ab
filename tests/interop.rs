//! The official Python and JavaScript SDKs send one multi-agent trace through the real binary to a
//! sink. All they know of spanloom is what stands in OTEL_* variables. The programs are in
//! `tests/interop/`; `.ci/run sdks` installs what they need below `target/interop`. Where that is
//! missing a test is skipped with the reason; under CI=true it fails.

mod support;

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::daemon::{to_sink, to_sink_by_http};
use support::{Daemon, Seen, Sink};

const CANARY: &str = "CANARY-PROMPT";

enum Language {
    Python,
    JavaScript,
}
use Language::{JavaScript, Python};

/// The variables of one run besides the endpoint.
type Variables = &'static [(&'static str, &'static str)];

const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
const PROTOBUF: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
const JSON: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
const GZIP: (&str, &str) = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");

#[test]
fn python_with_the_endpoint_alone_which_means_grpc() {
    an_agent_is_served(Python, &[]);
}

#[test]
fn python_by_grpc_with_gzip() {
    an_agent_is_served(Python, &[GRPC, GZIP]);
}

#[test]
fn python_by_http() {
    an_agent_is_served(Python, &[PROTOBUF]);
}

#[test]
fn python_by_http_with_gzip() {
    an_agent_is_served(Python, &[PROTOBUF, GZIP]);
}

#[test]
fn javascript_with_the_endpoint_alone_which_means_http_protobuf() {
    an_agent_is_served(JavaScript, &[]);
}

#[test]
fn javascript_by_http_protobuf_with_gzip() {
    an_agent_is_served(JavaScript, &[PROTOBUF, GZIP]);
}

#[test]
fn javascript_by_http_json() {
    an_agent_is_served(JavaScript, &[JSON]);
}

#[test]
fn javascript_by_http_json_with_gzip() {
    an_agent_is_served(JavaScript, &[JSON, GZIP]);
}

#[test]
fn javascript_by_grpc() {
    an_agent_is_served(JavaScript, &[GRPC]);
}

#[test]
fn javascript_by_grpc_with_gzip() {
    an_agent_is_served(JavaScript, &[GRPC, GZIP]);
}

/// Every span arrives, nothing sensitive does, baggage stands on the later spans, and the tool call
/// that lost its context is tagged.
#[track_caller]
fn an_agent_is_served(language: Language, variables: Variables) {
    let Some(client) = client(&language) else {
        return;
    };
    let by_grpc = match language {
        Python => variables.is_empty() || variables.contains(&GRPC),
        JavaScript => variables.contains(&GRPC),
    };
    let sink = Sink::start();
    // What comes in by one protocol leaves by the other.
    let daemon = Daemon::start(&if by_grpc { to_sink_by_http(&sink) } else { to_sink(&sink) });
    let address = if by_grpc { daemon.grpc() } else { daemon.http() };
    let sent = run(client, &format!("http://{address}"), variables);
    let arrived = sink.wait_for_spans(sent.len());
    assert_eq!(arrived.len(), sent.len(), "as many spans arrive as were sent");
    assert!(!sink.has_seen(CANARY), "the text of a prompt arrived");
    for one in &sent {
        let span = arrived.iter().find(|span| span.id() == one.id);
        let span = span.unwrap_or_else(|| panic!("{} ({}) did not arrive", one.name, one.id));
        one.check(span);
    }
}

/// A span as the client reported it.
struct Sent {
    kind: String,
    id: String,
    name: String,
}

impl Sent {
    #[track_caller]
    fn check(&self, span: &Seen) {
        let name = &self.name;
        assert_eq!(&span.span.name, name);
        let events: Vec<&str> = span.span.events.iter().map(|event| event.name.as_str()).collect();
        let expected: &[&str] = if name.starts_with("chat") { &["retry"] } else { &[] };
        assert_eq!(events, expected, "events of {name}");
        let values = (span.text("user.id"), span.text("session.id"));
        let signature = span.text("app.agent.orphan.signature");
        match self.kind.as_str() {
            "orphan" => assert_eq!(signature, Some("tool_call_root"), "signature of {name}"),
            _ => {
                assert_eq!(values, (Some("alice"), Some("s-42")), "baggage of {name}");
                assert_eq!(signature, None, "signature of {name}");
            }
        }
    }
}

/// Runs the client to its end and returns what it says it sent.
#[track_caller]
fn run(mut client: Command, endpoint: &str, variables: Variables) -> Vec<Sent> {
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        client.env_remove(name);
    }
    client.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).envs(variables.iter().copied());
    let Output { status, stdout, stderr } =
        client.stdin(Stdio::null()).output().expect("the client starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "the client failed: {stderr}");
    let sent = stdout.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let field = |name: &str| line[name].as_str().unwrap_or_default().to_string();
        Sent { kind: field("kind"), id: field("span_id"), name: field("name") }
    });
    let sent: Vec<Sent> = sent.collect();
    assert_eq!(sent.len(), 6, "the client reports its spans: {stdout}");
    sent
}

/// The client program, or None with the reason on stderr when its SDK is not installed.
#[track_caller]
fn client(language: &Language) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = |variable: &str, folder: &str| -> PathBuf {
        let default = || OsString::from(root.join("target/interop").join(folder));
        PathBuf::from(env::var_os(variable).unwrap_or_else(default))
    };
    let programs = root.join("tests/interop");
    let (command, needed) = match language {
        Python => {
            let python = home("SPANLOOM_INTEROP_PYTHON", "python/bin/python");
            let mut command = Command::new(&python);
            command.arg(programs.join("agents.py"));
            (command, python)
        }
        JavaScript => {
            let folder = home("SPANLOOM_INTEROP_NODE", "node");
            let mut command = Command::new("node");
            command.arg(programs.join("agents.mjs")).arg(&folder);
            (command, folder.join("node_modules/@opentelemetry/sdk-trace"))
        }
    };
    if needed.exists() {
        return Some(command);
    }
    let reason = format!("{} is missing; `.ci/run sdks` installs it", needed.display());
    assert!(env::var("CI").as_deref() != Ok("true"), "{reason}");
    // Past the capture of the test harness, so that a skipped test is seen.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
    None
}
