//! Spans and log records in, what is left of them out; verdicts; mistakes in the configuration.

use super::super::tests::{Bench, request, section};
use super::super::{Built, LIST};
use super::*;
use crate::receipt::{Receipt, Receipts};
use crate::telemetry::Registry;
use std::sync::Mutex;

const BEFORE: &str = r#"
resource service.name="web"
scope "http"
span 1/1 "GET /healthz" kind=server 0..1ms
span 1/2 parent=1 "SELECT" kind=client 0..1ms status=error:"boom" db="pg" dropped_attributes=2
  event "heartbeat" @1ms n=1
  event "row" @2ms n=2
  link 2/1 k=1
resource service.name="load-test"
span 2/1 "GET /" kind=server 0..1ms
"#;

/// Asserts what becomes of `before`; a backslash ends a line of `after` that goes on.
#[track_caller]
fn check(yaml: &str, before: &str, after: &str) {
    Bench::new(Signal::Traces, "filter", yaml).check(before, &after.replace("\\\n", ""));
}

#[test]
fn a_span_goes_if_one_condition_holds() {
    check(
        r#"traces: {span: ['name == "GET /healthz"', 'kind == SPAN_KIND_CLIENT']}"#,
        BEFORE,
        "resource service.name=\"load-test\"\nspan 2/1 \"GET /\" kind=server 0..1ms\n",
    );
}

#[test]
fn spans_that_stay_stay_as_they_were() {
    check(
        r#"traces: {span: 'resource.attributes["service.name"] == "web" and IsRootSpan()'}"#,
        BEFORE,
        r#"
resource service.name="web"
scope "http"
span 1/2 parent=1 "SELECT" kind=client 0..1ms status=error:"boom" db="pg" dropped_attributes=2
  event "heartbeat" @1ms n=1
  event "row" @2ms n=2
  link 2/1 k=1
resource service.name="load-test"
span 2/1 "GET /" kind=server 0..1ms
"#,
    );
    let mut bench = Bench::new(
        Signal::Traces,
        "filter",
        r#"traces: {resource: ['attributes["x"] == 1'], span: ['name == "x"'],
                    spanevent: ['name == "x"']}"#,
    );
    bench.check_untouched(BEFORE);
    bench.check_untouched("resource a=1\nscope \"empty\"\nscope \"b\"\nspan 1/1 \"a\"\n");
    assert_eq!(bench.metric("otelcol_processor_filter_spans_filtered", ""), 0);
}

#[test]
fn without_conditions_nothing_happens() {
    Bench::new(Signal::Traces, "filter", "{}").check_untouched(BEFORE);
    Bench::new(Signal::Traces, "filter", "{logs: {log_record: ['true']}}").check_untouched(BEFORE);
}

#[test]
fn a_resource_goes_whole_and_what_is_inside_is_not_asked_about() {
    let yaml = r#"
traces:
  resource: ['attributes["service.name"] == "web"']
  # It would refuse the request if it were asked about the spans of web.
  span: ['resource.attributes["service.name"] == "web" and HasPrefix(attributes["x"], "")']
"#;
    let mut bench = Bench::new(Signal::Traces, "filter", yaml);
    bench.check(
        BEFORE,
        "resource service.name=\"load-test\"\nspan 2/1 \"GET /\" kind=server 0..1ms\n",
    );
    assert_eq!(bench.metric("otelcol_processor_filter_spans_filtered", "processor=\"filter\""), 2);
    assert_eq!(bench.metric("spanloom_filter_errors", ""), 0);
}

#[test]
fn events_of_a_dropped_span_are_not_asked_about_and_a_span_without_events_stays() {
    let before = "span 1/1 \"a\" dropped_events=4\n event \"x\"\n event \"y\"\n\
                  span 1/2 \"b\"\n event \"x\"\n";
    let yaml = r#"
traces:
  span: ['name == "b"']
  spanevent: ['span.name == "b" and HasPrefix(attributes["x"], "")', 'event_index >= 0']
"#;
    let mut bench = Bench::new(Signal::Traces, "filter", yaml);
    bench.check(before, "span 1/1 \"a\" dropped_events=6\n");
    assert_eq!(bench.metric("spanloom_filter_removed_events", ""), 2);
    assert_eq!(bench.metric("spanloom_filter_errors", ""), 0);
}

#[test]
fn events_go_one_by_one_and_are_counted_on_their_span() {
    check(
        r#"traces: {spanevent: ['name == "heartbeat" and span.attributes["db"] == "pg"']}"#,
        BEFORE,
        r#"
resource service.name="web"
scope "http"
span 1/1 "GET /healthz" kind=server 0..1ms
span 1/2 parent=1 "SELECT" kind=client 0..1ms status=error:"boom" db="pg" \
    dropped_attributes=2 dropped_events=1
  event "row" @2ms n=2
  link 2/1 k=1
resource service.name="load-test"
span 2/1 "GET /" kind=server 0..1ms
"#,
    );
    check(
        r#"traces: {spanevent: ['event_index == 1']}"#,
        "span 1/1 \"a\"\n event \"x\"\n event \"y\"\n event \"z\"\n\
         span 1/2 \"b\"\n event \"x\"\n",
        "span 1/1 \"a\" dropped_events=1\n event \"x\"\n event \"z\"\n\
         span 1/2 \"b\"\n event \"x\"\n",
    );
}

#[test]
fn what_is_emptied_goes_and_what_came_empty_stays() {
    check(
        r#"traces: {span: ['name == "x"']}"#,
        r#"
resource a=1
scope "one"
span 1/1 "x"
scope "two"
span 1/2 "y"
scope "none"
resource a=2
span 1/3 "x"
span 1/4 "x"
resource a=3
scope "none"
resource a=4
"#,
        r#"
resource a=1
scope "two"
span 1/2 "y"
scope "none"
resource a=3
scope "none"
resource a=4
"#,
    );
    check("traces: {span: ['true']}", BEFORE, "");
}

#[test]
fn keep_structure_keeps_what_children_need() {
    let mut bench = Bench::new(
        Signal::Traces,
        "filter",
        r#"{keep_structure: true, traces: {span: ['resource.attributes["service.name"] == "web"'],
            spanevent: ['true']}}"#,
    );
    bench.check(
        BEFORE,
        &r#"
resource service.name="web"
scope "http"
span 1/1 "GET /healthz" kind=server 0..1ms
span 1/2 parent=1 "SELECT" kind=client 0..1ms status=error \
    dropped_attributes=3 dropped_events=2 dropped_links=1
resource service.name="load-test"
span 2/1 "GET /" kind=server 0..1ms
"#
        .replace("\\\n", ""),
    );
    assert_eq!(bench.metric("spanloom_filter_reduced_spans", ""), 2);
    assert_eq!(bench.metric("otelcol_processor_filter_spans_filtered", ""), 0);
    check(
        r#"{keep_structure: true, traces: {resource: ['true']}}"#,
        "resource a=1\nspan 1/1 \"x\" flags=0x1 trace_state=\"a=b\" k=1\n",
        "resource a=1\nspan 1/1 \"x\" flags=0x1 trace_state=\"a=b\" dropped_attributes=1\n",
    );
}

#[test]
fn the_list_form_finds_the_context_in_the_paths() {
    let yaml = r#"
trace_conditions:
  - resource.attributes["service.name"] == "load-test"
  - scope.name == "noise"
  - span.name == "GET /healthz" and resource.attributes["service.name"] == "web"
  - spanevent.name == "row" and span.kind == SPAN_KIND_CLIENT
  - context: span
    conditions: ['name == "x"', 'HasPrefix(attributes["missing"], "a")']
    error_mode: silent
"#;
    check(
        yaml,
        &format!(
            "{BEFORE}resource a=1\nscope \"noise\"\nspan 3/1 \"n\"\n\
             scope \"b\"\nspan 3/2 \"x\"\nspan 3/3 \"y\"\n"
        ),
        r#"
resource service.name="web"
scope "http"
span 1/2 parent=1 "SELECT" kind=client 0..1ms status=error:"boom" db="pg" \
    dropped_attributes=2 dropped_events=1
  event "heartbeat" @1ms n=1
  link 2/1 k=1
resource a=1
scope "b"
span 3/3 "y"
"#,
    );
}

#[test]
fn log_records_go_by_their_own_conditions() {
    let yaml = r#"
logs:
  resource: ['attributes["service.name"] == "noisy"']
  log_record:
    - severity_number != 0 and severity_number < SEVERITY_NUMBER_INFO
    - IsMatch(body, "^GET /healthz")
"#;
    let mut bench = Bench::new(Signal::Logs, "filter", yaml);
    bench.check(
        "resource service.name=\"noisy\"\nlog -/- \"a\"\nlog -/- \"b\"\n\
         resource service.name=\"web\"\nlog -/- debug \"c\"\nlog -/- info \"d\"\nlog -/- \"e\"\n\
         log -/- \"GET /healthz 200\"\nlog -/- body={\"m\":1}\n",
        "resource service.name=\"web\"\nlog -/- info \"d\"\nlog -/- \"e\"\n\
         log -/- body={\"m\":1}\n",
    );
    assert_eq!(bench.metric("otelcol_processor_filter_logs_filtered", ""), 4);
    let mut kept =
        Bench::new(Signal::Logs, "filter", "{keep_structure: true, logs: {log_record: ['true']}}");
    kept.check("log -/- \"a\"\n", "");
}

/// What the client is told about a span whose condition has no answer.
fn verdict(mode: &str) -> (Option<Verdict>, usize) {
    let kind = LIST.iter().find(|kind| kind.component.name == "filter").unwrap();
    let yaml = format!("{mode}\ntraces: {{span: ['HasPrefix(attributes[\"x\"], \"a\")']}}");
    let section = section("filter", &yaml).unwrap();
    let registry = Registry::default();
    let setup = Setup::new("filter/x", "traces", Signal::Traces, &registry);
    let Built::Stateless(filter) = (kind.build)(&section, &setup) else {
        panic!("it has no state")
    };
    let bytes = request("span 1/1 \"a\"\nspan 1/2 \"b\" x=\"abc\"\n");
    let mut batch = Batch::parse(Signal::Traces, bytes, Moment::default()).unwrap();
    let told = Arc::new(Mutex::new(None));
    let teller = told.clone();
    batch.receipts =
        Receipts::from(Receipt::new(move |verdict| *teller.lock().unwrap() = Some(verdict)));
    let mut out = Out::default();
    filter.process(batch, Moment::default(), &mut out);
    let items = out.take().iter().map(Batch::items).sum();
    let told = told.lock().unwrap().take();
    (told, items)
}

#[test]
fn a_condition_without_an_answer_refuses_the_request_or_counts_as_false() {
    for mode in ["", "error_mode: propagate"] {
        let (told, items) = verdict(mode);
        let told = told.expect("the client is told at once");
        assert_eq!((told.http(), items), (500, 0));
        assert_eq!(
            told.reason(),
            "filter/x: the condition `HasPrefix(attributes[\"x\"], \"a\")` on span has no answer: \
             HasPrefix takes a string and found nil (error_mode is propagate)"
        );
    }
    for mode in ["error_mode: ignore", "error_mode: silent"] {
        assert_eq!(verdict(mode).1, 1, "{mode}: the span that the condition holds for is gone");
    }
}

#[track_caller]
fn refused(yaml: &str, expected: &str) {
    let problems = section("filter", yaml).expect_err(yaml);
    assert_eq!(problems, expected, "{yaml}");
}

#[test]
fn every_mistake_is_reported_with_its_place_and_column() {
    refused(
        "traces:\n  span:\n    - nmae == \"x\"\n    - name == \"x\"\n    - 'IsMatch(name, \"(\")'\n\
         \x20 spanevent: ['span.kind = 1']\nlogs:\n  log_record: [body, 5]\n",
        "yaml::3:7: traces::span[0]: column 1: unknown path \"nmae\": span has no \"nmae\"; \
         did you mean \"name\"?\n\
         yaml::5:7: traces::span[2]: column 15: bad regular expression: unclosed group\n\
         yaml::6:15: traces::spanevent[0]: column 11: \"=\" is not a comparison; write \"==\"\n\
         yaml::8:16: logs::log_record[0]: column 1: this is a value of any type and no condition; \
         compare it: body == …\n\
         yaml::8:22: logs::log_record[1]: found 5; write a condition as a text, in quotes",
    );
    refused(
        "trace_conditions: ['true', 'log.body == 1', {context: span, error_mode: x, conditions: \
         ['x == 1']}, {context: metric, conditions: []}]\n",
        "yaml::1:20: trace_conditions[0]: no path says what the condition is about; begin paths \
         with resource, scope, span, spanevent\n\
         yaml::1:28: trace_conditions[1]: traces have no log\n\
         yaml::1:73: trace_conditions[2]::error_mode: found \"x\"; write one of ignore, silent, \
         propagate\n\
         yaml::1:89: trace_conditions[2]::conditions[0]: column 1: unknown path \"x\": span has no \
         \"x\"; its paths are name, attributes, kind, status.code, status.message, trace_id, \
         span_id, parent_span_id, trace_state, start_time_unix_nano, end_time_unix_nano, \
         dropped_attributes_count, dropped_events_count, dropped_links_count, flags\n\
         yaml::1:111: trace_conditions[3]::context: found \"metric\"; write one of resource, \
         scope, span, spanevent",
    );
    refused(
        "traces: {span: ['true']}\ntrace_conditions: ['span.kind == 1']\n",
        "yaml::2:19: trace_conditions: stands beside traces; write all conditions in one of the \
         two",
    );
}

#[test]
fn the_older_form_is_an_error_that_shows_the_new_one() {
    let problems = section("filter", "spans: {exclude: {match_type: strict}}").unwrap_err();
    assert!(problems.contains("yaml::1:1: spans: is not supported here: "), "{problems}");
    assert!(problems.contains("traces: {span: ['"), "{problems}");
    let problems = section("filter", "logs: {include: {match_type: strict}}").unwrap_err();
    assert!(problems.contains("yaml::1:8: logs::include: is not supported here: "), "{problems}");
    let problems = section("filter", "metrics: {metric: ['true']}").unwrap_err();
    assert!(problems.contains("can be dropped by their resource alone"), "{problems}");
}
