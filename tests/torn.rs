//! Runs that lose their context in earnest: a thread pool, Celery, MCP and HTTP with the packages
//! that people use, through the real binary into a file, and the file to `spanloom diagnose`. The
//! program is `tests/torn/program.py`; it runs each case once more with the remedy applied, and
//! then nothing is to be found. `.ci/run sdks` installs what it needs below `target/interop`. Where
//! that is missing a test is skipped with the reason; under CI=true it fails.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::daemon::{Daemon, command, config};
use support::python;
use tempfile::TempDir;

const PACKAGES: &str = "celery, mcp, requests, opentelemetry.instrumentation.celery";

/// Parents by the names of the spans that lost them.
type Torn = BTreeMap<String, String>;

#[test]
fn a_thread_pool_loses_a_tool_call() {
    check("pool", "execute_tool get_weather", "tool_call_root", "thread pool", "copy_context");
}

#[test]
fn a_sender_without_instrumentation_loses_the_celery_worker() {
    check("celery-worker", "run/research", "trace_discontinuity", "queue", "enqueued");
}

#[test]
fn a_celery_worker_without_instrumentation_loses_its_sender() {
    check("celery-sender", "process celery", "trace_discontinuity", "queue", "enqueued");
}

#[test]
fn an_mcp_client_over_stdio_that_injects_nothing_loses_the_server() {
    check("mcp-stdio", "tools/call get_weather", "tool_call_root", "MCP", "params._meta");
}

#[test]
fn an_mcp_client_over_http_that_injects_nothing_loses_the_server() {
    check("mcp-http", "tools/call get_weather", "tool_call_root", "MCP", "params._meta");
}

#[test]
fn an_http_client_without_instrumentation_loses_the_service() {
    let boundary = "HTTP without propagation";
    check("http", "GET /search", "trace_discontinuity", boundary, "traceparent");
}

/// The span `head` is found, with this signature, this boundary and a remedy that says `word`; all
/// that is found is torn, each with its right parent. Of the mended run nothing is found.
#[track_caller]
fn check(case: &str, head: &str, signature: &str, boundary: &str, word: &str) {
    let Some(python) = python(PACKAGES) else {
        return;
    };
    let folder = TempDir::new().expect("a scratch folder");
    let (file, torn) = run(&python, folder.path(), case, &[]);
    let Output { status, stdout, stderr } = diagnose(&["--format", "json"], &file);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let recorded = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(status.code(), Some(3), "{case}: {stdout}{stderr}{recorded}");
    let found: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let names = names(&recorded);
    for finding in &found {
        let name = finding["name"].as_str().unwrap_or_default();
        let parent = torn.get(name).unwrap_or_else(|| panic!("{name} is not torn: {finding}"));
        let id = finding["parent_span_id"].as_str().unwrap_or_default();
        assert_eq!(names.get(id), Some(parent), "the parent of {finding}");
    }
    let finding = found.iter().find(|finding| finding["name"] == head);
    let finding = finding.unwrap_or_else(|| panic!("{head} is not found: {stdout}{recorded}"));
    assert_eq!(finding["signature"], signature, "{finding}");
    assert_eq!(finding["boundary"], boundary, "{finding}");
    assert!(finding["remedy"].as_str().is_some_and(|text| text.contains(word)), "{finding}");

    let report = diagnose(&[], &file);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    let wide = report.lines().find(|line| line.chars().count() > 100);
    assert_eq!(wide, None, "{report}");
    for part in ["before", "after", "joined", head, signature, boundary, word] {
        assert!(report.contains(part), "no {part} in {report}");
    }

    if case == "celery-sender" {
        // The other case with Celery has both sides instrumented too.
        return;
    }
    let (file, _) = run(&python, folder.path(), case, &["mended"]);
    let Output { status, stdout, .. } = diagnose(&[], &file);
    let stdout = String::from_utf8_lossy(&stdout);
    assert!(status.success() && stdout.contains("no trace is torn"), "mended {case}: {stdout}");
}

fn diagnose(options: &[&str], file: &Path) -> Output {
    command().arg("diagnose").args(options).arg(file).output().expect("the binary starts")
}

/// Runs the program against a binary of its own that writes into a file; the file, and what the
/// program says is torn.
#[track_caller]
fn run(python: &Path, folder: &Path, case: &str, more: &[&str]) -> (PathBuf, Torn) {
    let file = folder.join(format!("{case}{}.json", more.concat()));
    let exporter = format!("file: {{path: {:?}}}", file.display().to_string());
    let yaml = config(&exporter, &["file"]).replace("[sensitive, baggage, orphans]", "[]");
    let mut daemon = Daemon::start(&yaml);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torn/program.py");
    let mut agent = Command::new(python);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        agent.env_remove(name);
    }
    let queue = folder.join(format!("queue{}", more.concat()));
    fs::create_dir(&queue).expect("a folder for messages");
    agent.arg(program).arg(case).args(more).env("QUEUE", queue);
    agent.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", daemon.http()));
    agent.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let Output { status, stdout, stderr } =
        agent.stdin(Stdio::null()).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "the program failed: {stderr}");
    assert!(daemon.stop().success());
    let line = stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    let torn = serde_json::from_slice(line.unwrap_or_default()).expect("a line of JSON");
    (file, torn)
}

/// The names of all spans in lines of OTLP/JSON by their ids.
fn names(recorded: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for line in recorded.lines() {
        let request: Value = serde_json::from_str(line).expect("a line of JSON");
        let each = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let groups = each(&request, "resourceSpans");
        let scopes = groups.iter().flat_map(|group| each(group, "scopeSpans"));
        for span in scopes.flat_map(|scope| each(&scope, "spans")) {
            let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
            names.insert(text("spanId"), text("name"));
        }
    }
    names
}
