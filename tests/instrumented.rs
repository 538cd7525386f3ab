//! Instrumentations of LLM clients and of an agent framework, as users install them and with the
//! capture of content on, send an agent's run through the real binary to a sink. The program is
//! `tests/instrumented/program.py`; `.ci/run sdks` installs what it needs below `target/interop`.
//! Where that is missing a test is skipped with the reason; under CI=true it fails.

mod support;

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use support::daemon::to_sink;
use support::{Daemon, Seen, Sink, python};

const PACKAGES: &str = "openai, agents, opentelemetry.util.genai";
const MODEL: &str = "gpt-4o-2024-08-06";

/// The names that a dialect has for the model and for the counts of tokens.
struct Dialect {
    model: &'static str,
    tokens: [&'static str; 2],
}

const GENAI: Dialect = Dialect {
    model: "gen_ai.request.model",
    tokens: ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"],
};
const OPENINFERENCE: Dialect = Dialect {
    model: "llm.model_name",
    tokens: ["llm.token_count.prompt", "llm.token_count.completion"],
};

#[test]
fn opentelemetry_s_openai() {
    check("openai-v2", &GENAI);
}

#[test]
fn openinference_s_openai() {
    check("openinference", &OPENINFERENCE);
}

#[test]
fn openllmetry_s_openai() {
    check("openllmetry", &GENAI);
}

#[test]
fn openai_agents_with_openinference() {
    check("agents", &OPENINFERENCE);
}

/// What was said is in what the instrumentation sends, and in nothing that leaves; every span
/// leaves, and so do the model and the tokens.
#[track_caller]
fn check(instrumentation: &str, dialect: &Dialect) {
    let Some(python) = python(PACKAGES) else {
        return;
    };
    let direct = Sink::start();
    let sent = run(&python, instrumentation, &direct.endpoint());
    let before = direct.wait_for_spans(sent);
    let said = ["QUESTION", "SYSTEM", "ARGUMENT", "ANSWER", "ERROR"];
    for said in said.map(|what| format!("CANARY-{what}")) {
        assert!(direct.has_seen(&said), "{instrumentation} captures {said}");
    }
    let sink = Sink::start();
    let mut daemon = Daemon::start(&to_sink(&sink));
    let sent = run(&python, instrumentation, &format!("http://{}", daemon.grpc()));
    assert!(daemon.stop().success());
    let after = sink.spans();
    assert_eq!(after.len(), sent, "as many spans arrive as were made");
    let spans = after.iter().map(|seen| format!("{seen:?}"));
    let leaked: Vec<_> = spans.filter(|span| span.contains("CANARY")).collect();
    assert!(leaked.is_empty(), "{leaked:#?}");
    assert!(!sink.has_seen("CANARY"), "a log record or a metric has a canary");
    for key in [dialect.model, dialect.tokens[0], dialect.tokens[1]] {
        assert_eq!(values(&after, key), values(&before, key), "{key}");
    }
    let models = values(&after, dialect.model);
    assert!(models.contains(&format!("{:?}", Value::StringValue(MODEL.into()))), "{models:?}");
    assert!(values(&after, dialect.tokens[1]).contains(&"IntValue(17)".into()), "counts stay");
}

/// The values of `key` on all spans, in order.
fn values(spans: &[Seen], key: &str) -> Vec<String> {
    let mut values: Vec<_> =
        spans.iter().filter_map(|span| Some(format!("{:?}", span.value(key)?))).collect();
    values.sort();
    values
}

/// Runs the program to its end and returns how many spans it made.
#[track_caller]
fn run(python: &Path, instrumentation: &str, endpoint: &str) -> usize {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instrumented/program.py");
    let mut client = Command::new(python);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        client.env_remove(name);
    }
    client.arg(program).arg(instrumentation).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    // Model and backend are both on loopback.
    client.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let output = client.stdin(Stdio::null()).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the program failed: {stderr}");
    let line = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    let report: serde_json::Value =
        serde_json::from_slice(line.unwrap_or_default()).expect("a line of JSON");
    let spans = report["spans"].as_u64().unwrap_or(0) as usize;
    assert!(spans >= 5, "the program made {spans} spans: {stderr}");
    spans
}
