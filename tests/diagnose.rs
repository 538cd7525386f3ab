//! `spanloom diagnose` as a stranger uses it: files in, a report and an exit code out.

mod support;

use std::fs;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::daemon::command;
use tempfile::TempDir;

const TRACE: [&str; 2] = ["000000000000000000000000000000a1", "000000000000000000000000000000b2"];

/// A span of OTLP/JSON in the `trace`th trace; `parent` 0 for none.
fn span(trace: usize, id: u64, parent: u64, name: &str, attributes: Value) -> Value {
    let at = |offset: u64| (1_700_000_000_000_000_000 + (id + offset) * 1_000_000).to_string();
    let hex = |id: u64| if id == 0 { String::new() } else { format!("{id:016x}") };
    json!({
        "traceId": TRACE[trace], "spanId": hex(id), "parentSpanId": hex(parent), "name": name,
        "kind": 1, "startTimeUnixNano": at(0), "endTimeUnixNano": at(40), "attributes": attributes,
    })
}

fn request(service: &str, spans: &[Value]) -> String {
    let name = json!({"key": "service.name", "value": {"stringValue": service}});
    let scopes = json!([{"spans": spans}]);
    let group = json!({"resource": {"attributes": [name]}, "scopeSpans": scopes});
    json!({"resourceSpans": [group]}).to_string()
}

fn tool() -> Value {
    json!([{"key": "gen_ai.operation.name", "value": {"stringValue": "execute_tool"}}])
}

/// A run whose tool call stands in a trace of its own.
fn torn() -> String {
    let agent = [span(0, 1, 0, "invoke_agent", json!([])), span(0, 2, 1, "chat", json!([]))];
    let lines = [request("web", &agent), request("tools", &[span(1, 3, 0, "search", tool())])];
    lines.join("\n")
}

/// Writes `content` into a file and has it diagnosed; the exit code and both outputs.
#[track_caller]
fn diagnose(options: &[&str], content: &str) -> (Option<i32>, String, String) {
    let folder = TempDir::new().expect("a scratch folder");
    let file = folder.path().join("spans.json");
    fs::write(&file, content).expect("it is written");
    let output = command().arg("diagnose").args(options).arg(&file).output();
    parts(output.expect("the binary starts"))
}

fn parts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_torn_trace_is_drawn_and_exit_code_3() {
    let (code, report, _) = diagnose(&[], &torn());
    assert_eq!(code, Some(3), "{report}");
    for part in ["before", "tools: search", "◀ [1] tool_call_root", "remedy", "boundary", "3 spans"]
    {
        assert!(report.contains(part), "no {part} in\n{report}");
    }
    assert!(report.lines().all(|line| line.chars().count() <= 100), "{report}");
    assert!(!report.contains('\x1b'), "colours without a terminal: {report}");
}

#[test]
fn a_whole_trace_is_exit_code_0() {
    let spans = [
        span(0, 1, 0, "invoke_agent", json!([])),
        span(0, 2, 1, "chat", json!([])),
        span(0, 3, 1, "search", tool()),
    ];
    let (code, report, _) = diagnose(&[], &request("web", &spans));
    assert_eq!((code, report.as_str()), (Some(0), "no trace is torn: 3 spans in 1 trace\n"));
    let (code, lines, _) = diagnose(&["--format", "json"], &request("web", &spans));
    assert_eq!((code, lines.as_str()), (Some(0), ""));
}

#[test]
fn a_finding_is_an_object_with_the_tags_without_their_prefix() {
    let (code, lines, _) = diagnose(&["--format", "json"], &torn());
    assert_eq!(code, Some(3));
    let finding: Value = serde_json::from_str(lines.trim_end()).expect("one line of JSON");
    let expected = [
        ("trace_id", json!(TRACE[1])),
        ("span_id", json!("0000000000000003")),
        ("service", json!("tools")),
        ("name", json!("search")),
        ("signature", json!("tool_call_root")),
    ];
    for (key, value) in expected {
        assert_eq!(finding[key], value, "{finding}");
    }
    let signatures = finding["signatures"].as_array().expect("a list");
    assert_eq!(signatures[0], "tool_call_root");
    for key in ["status", "evidence", "boundary", "remedy"] {
        assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {finding}");
    }
}

#[test]
fn a_parent_that_is_in_no_file_is_lost() {
    let mut orphan = span(0, 3, 9, "chat", json!([]));
    orphan["flags"] = json!(0x100);
    let spans = [span(0, 1, 0, "invoke_agent", json!([])), orphan];
    let (code, lines, _) = diagnose(&["--format", "json"], &request("web", &spans));
    assert_eq!((code, lines.lines().count()), (Some(3), 1), "{lines}");
    let finding: Value = serde_json::from_str(&lines).expect("one line of JSON");
    let said = ["signature", "status", "cause"].map(|key| finding[key].clone());
    assert_eq!(said, ["missing_parent", "unresolved", "lost_local"].map(Value::from));
}

#[test]
fn the_standard_input_and_several_files_are_read() {
    let mut child = command();
    child.args(["diagnose", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::piped()).spawn().expect("the binary starts");
    let stdin = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut &stdin, torn().as_bytes()).expect("it is read");
    drop(stdin);
    let (code, report, _) = parts(child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(3), "{report}");

    let folder = TempDir::new().expect("a scratch folder");
    let files = ["a", "b"].map(|name| folder.path().join(name));
    for (file, line) in files.iter().zip(torn().lines()) {
        fs::write(file, line).expect("it is written");
    }
    let output = command().arg("diagnose").args(&files).output().expect("the binary starts");
    let (code, both, _) = parts(output);
    assert_eq!((code, both), (Some(3), report));
}

#[test]
fn what_is_wrong_is_a_sentence_with_file_and_place() {
    let (code, _, said) = diagnose(&[], &format!("{}\nhello", torn()));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("spans.json:3: not valid JSON"), "{said}");
    let missing = command().args(["diagnose", "/nowhere/at/all.json"]).output().expect("it runs");
    let (code, _, said) = parts(missing);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot read /nowhere/at/all.json"), "{said}");
    let (code, _, said) = parts(command().arg("diagnose").output().expect("it runs"));
    assert_eq!(code, Some(1), "{said}");
}
