//! Tables of conditions with their answers, of texts with their errors, and properties.

use super::ast::{Comparison, Expr, Key, Node, Operator};
use super::*;
use crate::otlp::text;
use crate::otlp::view::Request;
use proptest::prelude::*;

/// A span as an agent sends it, with an event and its surroundings.
const SPAN: &str = r#"
resource service.name="planner" replicas=3 dropped_attributes=1 schema_url="http://r"
scope "openai_v2" version="1.2" lib="py" schema_url="http://s"
span a1/b2 parent=c3 "chat gpt-4o" kind=client 0..900ms \
    trace_state="vendor=abc, rojo=00f0" flags=0x1 status=error:"timed out" \
    dropped_attributes=2 dropped_events=4 dropped_links=5 gen_ai.system="openai" tokens=523 \
    cost=0.25 stream=true empty=null list=["a",1,true] nested={"user":{"id":"u1"},"n":7} \
    raw=0x0aff text_number="42" half=2.5 round=2.0 "with blank"="x" a=1 a=2
  event "gen_ai.content.prompt" @5ms n=1 dropped_attributes=3 role="user"
"#;

/// A root span that has next to nothing.
const ROOT: &str = r#"span 1/2 "root""#;

const LOG: &str = r#"
resource service.name="planner"
scope "logger"
log a1/b2 warn2 body={"level":"info","tags":["x","y"],"n":{"m":1}} @5ms observed=6ms \
    severity_text="WARNING" event_name="gen_ai.choice" flags=0x1 dropped_attributes=2 k="v" n=5
"#;

const PLAIN_LOG: &str = r#"log -/- "GET /healthz 200""#;

/// What a condition answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    True,
    False,
    /// It fails when it is asked.
    Failure,
    /// It is refused when it is read.
    Refused,
}
use Is::{Failure as Fails, False, Refused, True};

/// What `condition` answers about the first item of `request`, or about the last event of it.
fn ask(context: Context, request: &str, condition: &str) -> Result<bool, String> {
    // A backslash ends a line of the notation that goes on.
    let bytes = text::parse(&request.replace("\\\n", "")).unwrap();
    let conditions = Conditions::compile(context, &[condition])
        .map_err(|errors| format!("refused: {}", errors[0].1))?;
    let mut row = conditions.row();
    let group = Request::new(&bytes).resource_groups().next().unwrap();
    conditions.resource(&mut row, group);
    let scope = group.scope_groups().next().unwrap();
    conditions.scope(&mut row, scope);
    let item = scope.item_fields().next().unwrap().message().unwrap();
    conditions.item(&mut row, item);
    if context == Context::SpanEvent {
        let events = crate::otlp::view::Span(item).events();
        let (index, event) = events.enumerate().last().unwrap();
        conditions.event(&mut row, event.0, index);
    }
    conditions.holds(0, &row).map_err(|failure| failure.to_string())
}

#[track_caller]
fn check(context: Context, request: &str, cases: &[(&str, Is)]) {
    for (condition, expected) in cases {
        let answer = ask(context, request, condition);
        let found = match &answer {
            Ok(true) => True,
            Ok(false) => False,
            Err(text) if text.starts_with("refused: ") => Refused,
            Err(_) => Fails,
        };
        assert_eq!(found, *expected, "{condition}: {answer:?}");
    }
}

#[test]
fn values_of_one_type_compare_as_one_expects() {
    check(
        Context::Span,
        SPAN,
        &[
            (r#"name == "chat gpt-4o""#, True),
            (r#"name != "chat gpt-4o""#, False),
            (r#"name == "chat""#, False),
            (r#"name < "d""#, True),
            (r#"name >= "chat""#, True),
            (r#"name > "chat gpt-4o""#, False),
            (r#"name <= "chat gpt-4o""#, True),
            (r#"attributes["gen_ai.system"] == "openai""#, True),
            (r#"attributes["gen_ai.system"] != "openai""#, False),
            (r#"attributes["tokens"] == 523"#, True),
            (r#"attributes["tokens"] > 522"#, True),
            (r#"attributes["tokens"] > 523"#, False),
            (r#"attributes["tokens"] >= 523"#, True),
            (r#"attributes["tokens"] < 523"#, False),
            (r#"attributes["tokens"] <= 523"#, True),
            (r#"523 == attributes["tokens"]"#, True),
            (r#"attributes["cost"] == 0.25"#, True),
            (r#"attributes["cost"] < .5"#, True),
            (r#"attributes["cost"] > -1.5"#, True),
            (r#"attributes["stream"] == true"#, True),
            (r#"attributes["stream"] != true"#, False),
            (r#"attributes["stream"] > false"#, True),
            (r#"attributes["stream"] <= false"#, False),
            (r#"attributes["raw"] == 0x0aff"#, True),
            (r#"attributes["raw"] == 0x0aFF"#, True),
            (r#"attributes["raw"] < 0x0b"#, True),
            (r#"attributes["raw"] != 0x0a"#, True),
            (r#"attributes["with blank"] == "x""#, True),
            (r#"attributes["list"] == ["a", 1, true]"#, True),
            (r#"attributes["list"] == ["a", 1]"#, False),
            (r#"attributes["list"] != ["b", 1, true]"#, True),
            (r#"attributes["list"] < ["b", 1, true]"#, False),
            (r#"attributes["nested"] == attributes["nested"]"#, True),
            (r#"attributes["nested"] == attributes["nested"]["user"]"#, False),
            (r#"attributes["nested"] >= attributes["nested"]"#, False),
            (r#"1 == 1"#, True),
            (r#""a" == "b""#, False),
        ],
    );
}

#[test]
fn values_of_different_types_are_unequal_and_have_no_order() {
    check(
        Context::Span,
        SPAN,
        &[
            (r#"attributes["tokens"] == "523""#, False),
            (r#"attributes["tokens"] != "523""#, True),
            (r#"attributes["tokens"] < "9""#, False),
            (r#"attributes["tokens"] >= "9""#, False),
            (r#"attributes["stream"] == "true""#, False),
            (r#"attributes["stream"] == 1"#, False),
            (r#"attributes["stream"] != 1"#, True),
            (r#"name == 5"#, False),
            (r#"name != 5"#, True),
            (r#"attributes["raw"] == "0aff""#, False),
            (r#"attributes["list"] == "a""#, False),
            (r#"attributes["nested"] != attributes["list"]"#, True),
            // Whole and other numbers are the exception.
            (r#"attributes["round"] == 2"#, True),
            (r#"2 == attributes["round"]"#, True),
            (r#"attributes["half"] > 2"#, True),
            (r#"attributes["half"] <= 2"#, False),
            (r#"attributes["tokens"] == 523.0"#, True),
            (r#"attributes["tokens"] < 523.5"#, True),
            (r#"3 < 2.5"#, False),
        ],
    );
}

#[test]
fn what_is_missing_is_nil() {
    check(
        Context::Span,
        SPAN,
        &[
            (r#"attributes["missing"] == nil"#, True),
            (r#"attributes["missing"] != nil"#, False),
            (r#"nil == attributes["missing"]"#, True),
            (r#"attributes["tokens"] == nil"#, False),
            (r#"attributes["tokens"] != nil"#, True),
            (r#"attributes["empty"] == nil"#, True),
            (r#"attributes["missing"] == "x""#, False),
            (r#"attributes["missing"] != "x""#, True),
            (r#"attributes["missing"] < 5"#, False),
            (r#"attributes["missing"] > 5"#, False),
            (r#"attributes["missing"] <= nil"#, True),
            (r#"attributes["missing"] < nil"#, False),
            (r#"attributes["missing"] == attributes["absent"]"#, True),
            (r#"attributes["missing"]["deeper"] == nil"#, True),
            (r#"attributes["nested"]["missing"] == nil"#, True),
            (r#"attributes["nested"]["missing"]["deeper"] == nil"#, True),
            (r#"nil == nil"#, True),
            (r#"nil != nil"#, False),
            (r#"name == nil"#, False),
            (r#"trace_state["missing"] == nil"#, True),
            (r#"resource.attributes["missing"] == nil"#, True),
        ],
    );
    check(
        Context::Span,
        ROOT,
        &[
            (r#"resource.attributes["service.name"] == nil"#, True),
            (r#"instrumentation_scope.name == """#, True),
            (r#"status.code == STATUS_CODE_UNSET"#, True),
            (r#"status.message == """#, True),
            (r#"kind == SPAN_KIND_UNSPECIFIED"#, True),
            (r#"trace_state == """#, True),
            (r#"end_time_unix_nano == 0"#, True),
            (r#"Len(attributes) == 0"#, True),
        ],
    );
}

#[test]
fn members_of_maps_and_lists_are_reached_by_key() {
    check(
        Context::Span,
        SPAN,
        &[
            (r#"attributes["nested"]["user"]["id"] == "u1""#, True),
            (r#"attributes["nested"]["n"] == 7"#, True),
            (r#"attributes["list"][0] == "a""#, True),
            (r#"attributes["list"][1] == 1"#, True),
            (r#"attributes["list"][2] == true"#, True),
            (r#"attributes["list"][3] == nil"#, Fails),
            (r#"attributes["list"][-1] == nil"#, Fails),
            (r#"attributes["list"]["a"] == nil"#, Fails),
            (r#"attributes["nested"][0] == nil"#, Fails),
            (r#"attributes["tokens"]["x"] == nil"#, Fails),
            (r#"attributes["a"] == 1"#, True),
            (r#"attributes[0] == 1"#, Refused),
            (r#"name["x"] == 1"#, Refused),
            (r#"Split(name, " ")[1] == "gpt-4o""#, True),
            (r#"Split(name, " ")[2] == "gpt-4o""#, Fails),
        ],
    );
}

#[test]
fn not_binds_tighter_than_and_and_and_than_or() {
    check(
        Context::Span,
        SPAN,
        &[
            ("true", True),
            ("false", False),
            ("not true", False),
            ("not false", True),
            ("true and true", True),
            ("true and false", False),
            ("true or false", True),
            ("false or false", False),
            ("true or true and false", True),
            ("(true or true) and false", False),
            ("false and true or true", True),
            ("false and (true or true)", False),
            ("not false and false", False),
            ("not (false and false)", True),
            ("not true or true", True),
            ("not (true or true)", False),
            (r#"not name == "x""#, True),
            (r#"not name == "x" and not kind == SPAN_KIND_SERVER"#, True),
            (r#"name == "x" or kind == SPAN_KIND_CLIENT and status.code == 2"#, True),
            ("((((true))))", True),
            ("true and\n  not\tfalse", True),
            // What decides ends the question, so that a failure behind it does not count.
            (r#"false and HasPrefix(attributes["missing"], "x")"#, False),
            (r#"true or HasPrefix(attributes["missing"], "x")"#, True),
            (r#"true and HasPrefix(attributes["missing"], "x")"#, Fails),
            (r#"HasPrefix(attributes["missing"], "x") or true"#, Fails),
            (
                r#"attributes["list"] != nil and HasPrefix(attributes["gen_ai.system"], "open")"#,
                True,
            ),
            (r#"(name == "x") == false"#, True),
        ],
    );
}

const SPAN_PATHS: &[(&str, Is)] = &[
    (r#"span.name == "chat gpt-4o""#, True),
    (r#"span.attributes["tokens"] == 523"#, True),
    ("kind == SPAN_KIND_CLIENT", True),
    ("kind == 3", True),
    ("span.kind != SPAN_KIND_SERVER", True),
    (r#"kind.string == "Client""#, True),
    (r#"span.kind.string == "Server""#, False),
    ("status.code == STATUS_CODE_ERROR", True),
    ("status.code == STATUS_CODE_OK", False),
    (r#"status.message == "timed out""#, True),
    (r#"IsMatch(span.status.message, "time")"#, True),
    ("trace_id == TraceID(0x000000000000000000000000000000a1)", True),
    ("trace_id == 0x000000000000000000000000000000a1", True),
    (r#"trace_id == TraceID("000000000000000000000000000000a1")"#, True),
    ("trace_id == TraceID(0x000000000000000000000000000000a2)", False),
    (r#"trace_id.string == "000000000000000000000000000000a1""#, True),
    ("span_id == SpanID(0x00000000000000b2)", True),
    (r#"span_id.string == "00000000000000b2""#, True),
    ("parent_span_id == SpanID(0x00000000000000c3)", True),
    (r#"parent_span_id.string == "00000000000000c3""#, True),
    (r#"parent_span_id != SpanID(0x0000000000000000)"#, True),
    ("IsRootSpan()", False),
    ("not IsRootSpan()", True),
    (r#"trace_state["rojo"] == "00f0""#, True),
    (r#"trace_state["vendor"] == "abc""#, True),
    (r#"trace_state == "vendor=abc, rojo=00f0""#, True),
    ("start_time_unix_nano == 1780000000000000000", True),
    ("end_time_unix_nano - start_time_unix_nano == 900000000", True),
    ("(end_time_unix_nano - start_time_unix_nano) / 1000000 > 500", True),
    ("dropped_attributes_count == 2", True),
    ("dropped_events_count == 4", True),
    ("dropped_links_count == 5", True),
    ("flags == 1", True),
    (r#"resource.attributes["service.name"] == "planner""#, True),
    (r#"resource.attributes["replicas"] == 3"#, True),
    ("resource.dropped_attributes_count == 1", True),
    (r#"resource.schema_url == "http://r""#, True),
    (r#"instrumentation_scope.name == "openai_v2""#, True),
    (r#"scope.name == "openai_v2""#, True),
    (r#"scope.version == "1.2""#, True),
    (r#"scope.attributes["lib"] == "py""#, True),
    (r#"instrumentation_scope.schema_url == "http://s""#, True),
    ("event_index == 0", Refused),
    (r#"body == "x""#, Refused),
    ("severity_number > SEVERITY_NUMBER_INFO", Refused),
];

const SPAN_PATHS_OF_ROOT: &[(&str, Is)] = &[
    ("IsRootSpan()", True),
    (r#"parent_span_id.string == """#, True),
    ("parent_span_id == SpanID(0x0000000000000000)", True),
    (r#"kind.string == "Unspecified""#, True),
];

#[test]
fn paths_of_spans() {
    check(Context::Span, SPAN, SPAN_PATHS);
    check(Context::Span, ROOT, SPAN_PATHS_OF_ROOT);
    check(Context::Span, r#"span 1/2 parent=0 "x""#, &[("IsRootSpan()", True)]);
}

#[test]
fn paths_of_span_events() {
    check(
        Context::SpanEvent,
        SPAN,
        &[
            (r#"name == "gen_ai.content.prompt""#, True),
            (r#"spanevent.name == "gen_ai.content.prompt""#, True),
            (r#"span.name == "chat gpt-4o""#, True),
            (r#"attributes["n"] == 1"#, True),
            (r#"attributes["tokens"] == nil"#, True),
            (r#"span.attributes["tokens"] == 523"#, True),
            (r#"spanevent.attributes["role"] == "user""#, True),
            ("time_unix_nano == 1780000000005000000", True),
            ("time_unix_nano - span.start_time_unix_nano < 6000000", True),
            ("event_index == 0", True),
            ("event_index > 0", False),
            ("dropped_attributes_count == 3", True),
            ("span.status.code == STATUS_CODE_ERROR", True),
            (r#"scope.name == "openai_v2""#, True),
            (r#"resource.attributes["service.name"] == "planner""#, True),
            (r#"status.code == 2"#, Refused),
        ],
    );
}

#[test]
fn paths_of_scopes_and_resources() {
    check(
        Context::Resource,
        SPAN,
        &[
            (r#"attributes["service.name"] == "planner""#, True),
            (r#"resource.attributes["service.name"] != "planner""#, False),
            (r#"IsMatch(attributes["service.name"], "^plan")"#, True),
            ("dropped_attributes_count > 0", True),
            (r#"span.name == "x""#, Refused),
            (r#"name == "x""#, Refused),
            ("IsRootSpan()", Refused),
        ],
    );
    check(
        Context::Scope,
        SPAN,
        &[
            (r#"name == "openai_v2""#, True),
            (r#"instrumentation_scope.version == "1.2""#, True),
            (r#"resource.attributes["replicas"] == 3"#, True),
            (r#"span.name == "x""#, Refused),
        ],
    );
}

#[test]
fn paths_of_log_records() {
    check(
        Context::Log,
        LOG,
        &[
            ("severity_number == SEVERITY_NUMBER_WARN2", True),
            ("severity_number < SEVERITY_NUMBER_ERROR", True),
            ("log.severity_number >= SEVERITY_NUMBER_INFO4", True),
            ("severity_number == 14", True),
            ("severity_number == SEVERITY_NUMBER_UNSPECIFIED", False),
            (r#"severity_text == "WARNING""#, True),
            (r#"body["level"] == "info""#, True),
            (r#"body["n"]["m"] == 1"#, True),
            (r#"body["tags"][1] == "y""#, True),
            (r#"body["missing"] == nil"#, True),
            (
                r#"body.string == "{\"level\":\"info\",\"n\":{\"m\":1},\"tags\":[\"x\",\"y\"]}""#,
                True,
            ),
            (r#"IsMatch(body, "\"level\":\"info\"")"#, True),
            ("IsMap(body)", True),
            (r#"event_name == "gen_ai.choice""#, True),
            (r#"log.attributes["k"] == "v""#, True),
            (r#"attributes["n"] > 4.5"#, True),
            ("time_unix_nano < observed_time_unix_nano", True),
            ("flags == 1", True),
            ("dropped_attributes_count == 2", True),
            ("trace_id == TraceID(0x000000000000000000000000000000a1)", True),
            (r#"span_id.string == "00000000000000b2""#, True),
            (r#"resource.attributes["service.name"] == "planner""#, True),
            (r#"instrumentation_scope.name == "logger""#, True),
            ("kind == SPAN_KIND_CLIENT", Refused),
            ("severity_number == SEVERITY_NUMBER_WARN5", Refused),
        ],
    );
    check(
        Context::Log,
        PLAIN_LOG,
        &[
            (r#"body == "GET /healthz 200""#, True),
            (r#"IsMatch(body, "^GET /healthz")"#, True),
            (r#"IsMatch(body, "POST")"#, False),
            (r#"body["x"] == nil"#, Fails),
            ("severity_number == SEVERITY_NUMBER_UNSPECIFIED", True),
            ("severity_number < SEVERITY_NUMBER_INFO", True),
            (r#"trace_id.string == """#, True),
            ("trace_id == TraceID(0x00000000000000000000000000000000)", True),
        ],
    );
}

#[test]
fn arithmetic() {
    check(
        Context::Span,
        SPAN,
        &[
            ("1 + 2 * 3 == 7", True),
            ("(1 + 2) * 3 == 9", True),
            ("7 - 2 - 1 == 4", True),
            ("7 - (2 - 1) == 6", True),
            ("7 / 2 == 3", True),
            ("-7 / 2 == -3", True),
            ("7.0 / 2.0 == 3.5", True),
            ("1-1 == 0", True),
            ("1 - -1 == 2", True),
            (r#"attributes["tokens"] * 2 == 1046"#, True),
            (r#"attributes["tokens"]-3 == 520"#, True),
            (r#"attributes["cost"] + 0.5 == 0.75"#, True),
            (r#"attributes["cost"] * 2 == 0.5"#, True),
            (r#"attributes["tokens"] / 2.0 == 261.5"#, True),
            (r#"attributes["tokens"] / 0.0 == 1"#, Fails),
            (r#"Double(attributes["tokens"]) * attributes["cost"] > 130.0"#, True),
            (r#"attributes["tokens"] / 0 == 1"#, Fails),
            (r#"attributes["cost"] / 0.0 == 1"#, Fails),
            (r#"attributes["missing"] + 1 == 1"#, Fails),
            (r#"attributes["gen_ai.system"] + 1 == 1"#, Fails),
            ("9223372036854775807 + attributes[\"tokens\"] > 0", Fails),
            ("-9223372036854775808 / -1 > 0", Fails),
            ("1 + 1.5 == 2.5", True),
            (r#"name + 1 == 2"#, Refused),
        ],
    );
}

#[test]
fn functions_on_text() {
    check(
        Context::Span,
        SPAN,
        &[
            (r#"IsMatch(name, "^chat ")"#, True),
            (r#"IsMatch(name, "gpt-\\d\\w")"#, True),
            (r#"IsMatch(name, "^gpt")"#, False),
            (r#"IsMatch(name, "(?i)CHAT")"#, True),
            (r#"IsMatch(name, "")"#, True),
            (r#"IsMatch(attributes["tokens"], "^5\\d+$")"#, True),
            (r#"IsMatch(attributes["cost"], "^0\\.25$")"#, True),
            (r#"IsMatch(attributes["stream"], "true")"#, True),
            (r#"IsMatch(attributes["raw"], "^0aff$")"#, True),
            (r#"IsMatch(attributes["list"], "^\\[\"a\",1,true\\]$")"#, True),
            (r#"IsMatch(attributes["missing"], ".*")"#, False),
            (r#"IsMatch(attributes["empty"], ".*")"#, False),
            (r#"not IsMatch(attributes["missing"], ".*")"#, True),
            (r#"IsMatch(name, "(")"#, Refused),
            (r#"IsMatch(name, name)"#, Refused),
            (r#"IsMatch(name, 5)"#, Refused),
            (r#"HasPrefix(name, "chat")"#, True),
            (r#"HasPrefix(name, "gpt")"#, False),
            (r#"HasPrefix(attributes["tokens"], "5")"#, Fails),
            (r#"HasPrefix(attributes["missing"], "5")"#, Fails),
            (r#"HasPrefix(5, "5")"#, Refused),
            (r#"HasSuffix(name, "4o")"#, True),
            (r#"HasSuffix(name, "chat")"#, False),
            (r#"ToLowerCase("ÄB") == "äb""#, True),
            (r#"ToUpperCase(name) == "CHAT GPT-4O""#, True),
            (r#"Substring(name, 5, 3) == "gpt""#, True),
            (r#"Substring(name, 0, 99) == "gpt""#, Fails),
            (r#"Substring(name, -1, 2) == "gpt""#, Fails),
            (r#"Substring(name, 0, 0) == """#, Fails),
            (r#"Concat([name, attributes["tokens"]], ":") == "chat gpt-4o:523""#, True),
            (r#"Concat(["a", "b"], "") == "ab""#, True),
            (r#"Concat([attributes["missing"]], "") == "<nil>""#, True),
            (r#"Split("a,b", ",") == ["a", "b"]"#, True),
            (r#"Split("ab", "") == ["a", "b"]"#, True),
            (r#"Len(name) == 11"#, True),
            (r#"Len("ä") == 2"#, True),
            (r#"Len(attributes["list"]) == 3"#, True),
            (r#"Len(attributes["nested"]) == 2"#, True),
            (r#"Len(attributes) > 10"#, True),
            (r#"Len(attributes["missing"]) == 0"#, Fails),
            (r#"Len(attributes["tokens"]) == 3"#, Fails),
            (r#"Len(5) == 1"#, Refused),
            (r#"ContainsValue(["chat", "chat gpt-4o"], name)"#, True),
            (r#"ContainsValue(attributes["list"], 1)"#, True),
            (r#"ContainsValue(attributes["list"], "1")"#, False),
            (r#"ContainsValue(attributes["missing"], "1")"#, Fails),
        ],
    );
}

#[test]
fn functions_on_types() {
    check(
        Context::Span,
        SPAN,
        &[
            (r#"IsString(name)"#, True),
            (r#"IsString(attributes["tokens"])"#, False),
            (r#"IsString(attributes["missing"])"#, False),
            (r#"IsInt(attributes["tokens"])"#, True),
            (r#"IsInt(attributes["cost"])"#, False),
            (r#"IsDouble(attributes["cost"])"#, True),
            (r#"IsBool(attributes["stream"])"#, True),
            (r#"IsMap(attributes["nested"])"#, True),
            (r#"IsMap(attributes["list"])"#, False),
            (r#"IsList(attributes["list"])"#, True),
            (r#"IsString(attributes["tokens"]) == false"#, True),
            (r#"Int(attributes["text_number"]) == 42"#, True),
            (r#"Int(attributes["half"]) == 2"#, True),
            (r#"Int(attributes["stream"]) == 1"#, True),
            (r#"Int(name) == nil"#, True),
            (r#"Int(attributes["missing"]) == nil"#, True),
            (r#"Int(attributes["list"]) == nil"#, Fails),
            (r#"Int("5") + 1 == 6"#, True),
            (r#"Double("2.5") == 2.5"#, True),
            (r#"Double(attributes["tokens"]) == 523.0"#, True),
            (r#"Double(name) == nil"#, True),
            (r#"String(attributes["tokens"]) == "523""#, True),
            (r#"String(attributes["round"]) == "2""#, True),
            (r#"String(attributes["missing"]) == nil"#, True),
            (r#"String(attributes["nested"]["user"]) == "{\"id\":\"u1\"}""#, True),
            ("TraceID(0x01) == trace_id", Refused),
            ("SpanID(5) == span_id", Refused),
        ],
    );
}

/// The error that `condition` has when it is read.
#[track_caller]
fn refused(context: Context, condition: &str, expected: &str) {
    match Conditions::compile(context, &[condition]) {
        Ok(_) => panic!("{condition} was taken"),
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(|(_, error)| error.to_string()).collect();
            assert_eq!(errors.join("\n"), expected, "{condition}");
        }
    }
}

/// Conditions on a span that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("", "column 1: the condition is empty"),
    ("  ", "column 3: the condition is empty"),
    (
        r#"nmae == "x""#,
        "column 1: unknown path \"nmae\": span has no \"nmae\"; did you mean \"name\"?",
    ),
    (
        r#"true and span.statuscode == 1"#,
        "column 10: unknown path \"span.statuscode\": span has no \"statuscode\"; \
         did you mean \"span.status.code\"?",
    ),
    (
        r#"start_time > 5"#,
        "column 1: unknown path \"start_time\": span has no \"start_time\"; \
         did you mean \"start_time_unix_nano\"?",
    ),
    (
        r#"severity_text == "x""#,
        "column 1: unknown path \"severity_text\": span has no \"severity_text\"; \
         it is a path of log",
    ),
    (r#"resource == 1"#, "column 1: \"resource\" is no value by itself; write resource.attributes"),
    (
        r#"metric.name == "x""#,
        "column 1: \"metric.name\": a condition on span sees span, scope, \
         instrumentation_scope, resource and no metric",
    ),
    (
        r#"SEVERITY_NUMBER_INFO == 1"#,
        "column 1: unknown enum \"SEVERITY_NUMBER_INFO\": the enums of span are \
         SPAN_KIND_* and STATUS_CODE_*",
    ),
    (r#"IsMatsh(name, "x")"#, "column 1: unknown function \"IsMatsh\"; did you mean \"IsMatch\"?"),
    (
        r#"set(name, "x")"#,
        "column 1: unknown function \"set\"; functions of conditions begin with a capital, \
         editors do not",
    ),
    (r#"HasPrefix(name)"#, "column 1: HasPrefix takes a string, a string; found 1 arguments"),
    (r#"HasPrefix(name, 5)"#, "column 17: HasPrefix takes a string here and found a whole number"),
    (
        r#"attributes["x"]"#,
        "column 11: this is a value of any type and no condition; \
         compare it: attributes[\"x\"] == …",
    ),
    (r#"name = "x""#, "column 6: \"=\" is not a comparison; write \"==\""),
    (r#"true && true"#, "column 6: \"&\" is not an operator; write \"and\""),
    (r#"name == 'x'"#, "column 9: a string stands in double quotes"),
    (r#"name == "x"#, "column 9: the string that begins here has no closing quote"),
    (r#"(name == "x""#, "column 13: found the end where ')' was expected to close the parenthesis"),
    (r#"name == "#, "column 9: found the end where a value was expected"),
    (r#"name "x""#, "column 6: found a string where the condition could have ended"),
    (r#"name == "a" == true"#, "column 13: a comparison has two sides; join several with \"and\""),
    (
        r#"IsMatch(name, "\d")"#,
        "column 16: \\d is not an escape; a backslash in a string, as in a regular expression, \
         is written \\\\",
    ),
    (r#"IsMatch(name, "(")"#, "column 15: bad regular expression: unclosed group"),
    (
        r#"IsMatch(name, "(\\w{999}){999}")"#,
        "column 15: the regular expression takes more than 1048576 bytes compiled",
    ),
    (r#"attributes[name] == 1"#, "column 12: found \"name\"; a key is a string or a whole number"),
    (
        "name ==\n  \"ä\" and nmae == 1",
        "line 2, column 11: unknown path \"nmae\": \
         span has no \"nmae\"; did you mean \"name\"?",
    ),
    (
        r#""ä" == nmae"#,
        "column 8: unknown path \"nmae\": span has no \"nmae\"; \
         did you mean \"name\"?",
    ),
    ("99999999999999999999 == 1", "column 1: 99999999999999999999 does not fit 64 bits"),
    ("span_id == 0x1", "column 12: bytes are 0x and pairs of hexadecimal digits: 0x0aff"),
    ("span_id == SpanID(0x01)", "column 12: SpanID takes 8 bytes"),
    (
        "true where true",
        "column 6: \"where\" belongs to statements; here stands only the \
         condition",
    ),
];

#[test]
fn errors_point_at_the_column_and_say_what_would_be_right() {
    for (condition, expected) in REFUSED {
        refused(Context::Span, condition, expected);
    }
    refused(
        Context::Resource,
        "IsRootSpan()",
        "column 1: IsRootSpan asks about a span; resource has none",
    );
}

#[test]
fn all_errors_of_all_conditions_are_found_at_once() {
    let texts = [r#"nmae == 1 or IsMatsh(x) or kidn == 2"#, "true", "false or"];
    let errors = Conditions::compile(Context::Span, &texts).unwrap_err();
    let places: Vec<_> = errors.iter().map(|(place, error)| (*place, error.column)).collect();
    assert_eq!(places, [(0, 1), (0, 14), (0, 28), (2, 9)]);
}

#[test]
fn nesting_length_and_parts_are_bounded() {
    let nested = |levels| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    let most = crate::limits::CONDITION_NESTING - 1;
    assert!(Conditions::compile(Context::Span, &[&nested(most)]).is_ok());
    refused(
        Context::Span,
        &nested(most + 1),
        "column 65: the condition is nested more than 64 \
         levels deep",
    );
    let long = vec!["true"; 1024].join(" or ");
    refused(
        Context::Span,
        &long,
        "column 8189: the condition has more than 1024 parts; write \
         several, of which one must hold",
    );
    let sum = vec!["1"; 66].join(" + ");
    refused(Context::Span, &sum, "column 259: more than 64 operations in a row");
    let huge = format!("name == \"{}\"", "x".repeat(1 << 14));
    refused(
        Context::Span,
        &huge,
        "column 1: the condition has 16394 bytes, at most 16384 are \
         taken",
    );
}

/// Values of one item must not be seen by the next.
#[test]
fn a_row_forgets_what_the_item_before_had() {
    let bytes = text::parse("span 1/1 \"a\" kind=client k=1 status=ok\nspan 1/2 \"\"").unwrap();
    let texts = [r#"attributes["k"] == 1 and name == "a" and kind == 3 and status.code == 1"#];
    let conditions = Conditions::compile(Context::Span, &texts).unwrap();
    let nothing = [r#"attributes["k"] == nil and name == "" and kind == 0 and status.code == 0"#];
    let empty = Conditions::compile(Context::Span, &nothing).unwrap();
    let (mut row, mut other) = (conditions.row(), empty.row());
    let scope = Request::new(&bytes).resource_groups().next().unwrap().scope_groups().next();
    let answers = scope.unwrap().spans().map(|span| {
        conditions.item(&mut row, span.0);
        empty.item(&mut other, span.0);
        (conditions.holds(0, &row).unwrap(), empty.holds(0, &other).unwrap())
    });
    assert_eq!(answers.collect::<Vec<_>>(), [(true, false), (false, true)]);
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,8}".prop_filter("a keyword", |word| {
        !["and", "or", "not", "true", "false", "nil"].contains(&word.as_str())
    })
}

fn leaf() -> impl Strategy<Value = Node> {
    prop_oneof![
        any::<String>().prop_map(Node::Text),
        any::<i64>().prop_map(Node::Int),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Node::Double),
        any::<bool>().prop_map(Node::Bool),
        Just(Node::Nil),
        proptest::collection::vec(any::<u8>(), 1..9).prop_map(Node::Bytes),
        "[A-Z][A-Z0-9_]{0,8}".prop_map(Node::Enum),
        proptest::collection::vec(name(), 1..4).prop_map(Node::Path),
    ]
}

fn tree() -> impl Strategy<Value = Expr> {
    let expr = |node| Expr { node, at: 0 };
    leaf().prop_map(expr).prop_recursive(6, 64, 4, move |inner| {
        let pair = (inner.clone(), inner.clone());
        let boxed = |(a, b): (Expr, Expr)| (Box::new(a), Box::new(b));
        let operator = prop_oneof![
            Just(Operator::Add),
            Just(Operator::Subtract),
            Just(Operator::Multiply),
            Just(Operator::Divide)
        ];
        let comparison = prop_oneof![
            Just(Comparison::Equal),
            Just(Comparison::Unequal),
            Just(Comparison::Less),
            Just(Comparison::Greater),
            Just(Comparison::AtMost),
            Just(Comparison::AtLeast)
        ];
        let list = |least| proptest::collection::vec(inner.clone(), least..4);
        let key = prop_oneof![any::<String>().prop_map(Key::Text), any::<i64>().prop_map(Key::Int)];
        prop_oneof![
            list(0).prop_map(Node::List),
            list(2).prop_map(Node::And),
            list(2).prop_map(Node::Or),
            ("[A-Z][A-Za-z0-9]{0,8}", list(0)).prop_map(|(name, list)| Node::Call(name, list)),
            (inner.clone(), key).prop_map(|(of, key)| Node::Index(Box::new(of), key)),
            inner.clone().prop_map(|of| Node::Not(Box::new(of))),
            (pair.clone(), operator).prop_map(move |(pair, operator)| {
                let (a, b) = boxed(pair);
                Node::Math(a, operator, b)
            }),
            (pair, comparison).prop_map(move |(pair, comparison)| {
                let (a, b) = boxed(pair);
                Node::Compare(a, comparison, b)
            }),
        ]
        .prop_map(expr)
    })
}

/// Pieces of conditions in any order: most are wrong, in ways that letters alone are not.
fn soup() -> impl Strategy<Value = String> {
    const PIECES: [&str; 36] = [
        "name",
        "attributes",
        "[",
        "]",
        "\"k\"",
        "(",
        ")",
        "==",
        "<",
        "and",
        "or",
        "not",
        "true",
        "nil",
        "IsMatch",
        "Len",
        ",",
        ".",
        "-",
        "1",
        "1.5",
        "0x0a",
        "+",
        "/",
        "body",
        "kind",
        "Split",
        "\"",
        "\\",
        "SPAN_KIND_CLIENT",
        "trace_id",
        "string",
        "IsRootSpan",
        "resource",
        "ä",
        "e9",
    ];
    proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..24)
        .prop_map(|words| words.join(" "))
}

fn never_panics(condition: &str) {
    if let Ok(expr) = parse(condition) {
        assert_eq!(parse(&expr.to_string()).unwrap(), expr, "{expr}");
    }
    for (context, item) in [(Context::Span, SPAN), (Context::Log, LOG), (Context::SpanEvent, SPAN)]
    {
        let _ = ask(context, item, condition);
    }
}

proptest! {
    #[test]
    fn a_printed_tree_reads_as_itself(expr in tree()) {
        let text = expr.to_string();
        match parse(&text) {
            Ok(read) => prop_assert_eq!(read, expr, "{}", text),
            Err(error) => prop_assert!(false, "{}: {}", text, error),
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        never_panics(&text);
    }

    #[test]
    fn pieces_of_conditions_never_panic(text in soup()) {
        never_panics(&text);
    }
}
