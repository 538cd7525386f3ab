//! What is selected, as a table: a processor marks the items that it is applied to.

use super::super::tests::{Bench, request, section};
use crate::batch::Signal;
use crate::otlp::text;

const TRACES: &str = r#"
resource service.name="web" env="prod" n=1
scope "http" version="1.2"
span 1/1 "GET /users" kind=server user="ann" status_code=200 ratio=0.5 ok=true
span 1/2 "GET /healthz" kind=server
scope "db"
span 1/3 "SELECT" kind=client user="bob" list=[1,{"a":2}]
resource service.name="worker" env="test" n=2
scope "http" version="2.0"
span 1/4 "job" user="ann"
resource a=1
span 1/5 "GET /other" kind=producer
"#;

const LOGS: &str = r#"
resource service.name="web"
scope "app" version="1"
log 1/1 info "started" user="ann"
log 1/2 error "failed: x" severity_text="ERROR"
log 1/3 body={"m":1} severity_text="INFO"
resource service.name="worker"
log 1/4 warn "failed: y"
log 1/5 debug "x"
"#;

/// The last digits of the ids of the items that the attributes processor is applied to.
#[track_caller]
fn selected(signal: Signal, selection: &str) -> String {
    let yaml = format!("{{actions: [{{key: hit, action: insert, value: 1}}], {selection}}}");
    let before = if signal == Signal::Logs { LOGS } else { TRACES };
    let bytes = Bench::new(signal, "attributes", &yaml).pass(request(before));
    let printed = text::print(signal.message(), &bytes);
    let hits = printed.lines().filter(|line| line.ends_with(" hit=1"));
    hits.filter_map(|line| line.split(['/', ' ']).nth(2)).collect()
}

#[track_caller]
fn spans(selection: &str, expected: &str) {
    assert_eq!(selected(Signal::Traces, selection), expected, "{selection}");
}

#[track_caller]
fn logs(selection: &str, expected: &str) {
    assert_eq!(selected(Signal::Logs, selection), expected, "{selection}");
}

#[test]
fn spans_are_selected_by_their_properties() {
    let strict = |properties: &str| format!("include: {{match_type: strict, {properties}}}");
    let regexp = |properties: &str| format!("include: {{match_type: regexp, {properties}}}");
    spans("", "12345");
    spans(&strict("services: [web]"), "123");
    spans(&strict("services: [other, worker]"), "4");
    spans(&strict("services: [we]"), "");
    spans(&regexp("services: [we]"), "123");
    spans(&regexp("services: [\"^e\"]"), "");
    spans(&regexp("services: [.*]"), "12345");
    spans(&strict("span_names: [SELECT, job]"), "34");
    spans(&strict("span_names: [GET]"), "");
    spans(&regexp("span_names: [\"^GET \", job]"), "1245");
    spans(&regexp("span_names: [\"^GET /[hu]\"]"), "12");
    spans(&strict("span_kinds: [SPAN_KIND_SERVER]"), "12");
    spans(&strict("span_kinds: [SPAN_KIND_CLIENT, SPAN_KIND_PRODUCER]"), "35");
    spans(&regexp("span_kinds: [CLIENT]"), "3");
    spans(&strict("attributes: [{key: user}]"), "134");
    spans(&strict("attributes: [{key: user, value: ann}]"), "14");
    spans(&strict("attributes: [{key: user, value: ann}, {key: ok, value: true}]"), "1");
    spans(&strict("attributes: [{key: status_code, value: 200}]"), "1");
    spans(&strict("attributes: [{key: status_code, value: \"200\"}]"), "");
    spans(&strict("attributes: [{key: ratio, value: 0.5}]"), "1");
    spans(&strict("attributes: [{key: list, value: [1, {a: 2}]}]"), "3");
    spans(&strict("attributes: [{key: list, value: [1]}]"), "");
    spans(&regexp("attributes: [{key: user, value: \"^[ab]\"}]"), "134");
    spans(&regexp("attributes: [{key: user}]"), "134");
    spans(&regexp("attributes: [{key: status_code, value: \"^2..$\"}]"), "1");
    spans(&regexp("attributes: [{key: ratio, value: \"^0.5$\"}]"), "1");
    spans(&regexp("attributes: [{key: ok, value: true}]").replace("true", "\"true\""), "1");
    spans(&regexp("attributes: [{key: list, value: .}]"), "");
    spans(&strict("resources: [{key: env, value: prod}]"), "123");
    spans(&strict("resources: [{key: env, value: prod}, {key: n, value: 1}]"), "123");
    spans(&strict("resources: [{key: env, value: prod}, {key: n, value: 2}]"), "");
    spans(&regexp("resources: [{key: env}]"), "1234");
    spans(&strict("libraries: [{name: http}]"), "124");
    spans(&strict("libraries: [{name: http}, {name: db}]"), "1234");
    spans(&strict("libraries: [{name: http, version: \"1.2\"}]"), "12");
    spans(&strict("libraries: [{name: db, version: \"\"}]"), "3");
    spans(&strict("libraries: [{name: http, version: \"\"}]"), "");
    spans(&regexp("libraries: [{name: h, version: \"^[12]\"}]"), "124");
}

#[test]
fn all_properties_must_match_and_exclude_takes_away() {
    spans("include: {match_type: strict, services: [web], span_names: [SELECT, job]}", "3");
    spans("exclude: {match_type: strict, services: [web]}", "45");
    spans("exclude: {match_type: strict, services: [web], span_names: [SELECT, job]}", "1245");
    spans(
        "include: {match_type: strict, services: [web]}, \
         exclude: {match_type: regexp, span_names: [healthz]}",
        "13",
    );
    spans(
        "include: {match_type: strict, services: [web]}, \
         exclude: {match_type: strict, services: [web]}",
        "",
    );
}

#[test]
fn log_records_are_selected_by_their_properties() {
    logs("", "12345");
    logs("include: {match_type: strict, log_bodies: [started, x]}", "15");
    logs("include: {match_type: regexp, log_bodies: [\"^failed\"]}", "24");
    logs("exclude: {match_type: regexp, log_bodies: [.]}", "3");
    logs("include: {match_type: strict, log_severity_texts: [ERROR]}", "2");
    logs("include: {match_type: regexp, log_severity_texts: [\"^[EI]\"]}", "23");
    logs("include: {match_type: strict, log_severity_number: {min: 13}}", "24");
    logs(
        "include: {match_type: strict, log_severity_number: {min: 13, match_undefined: true}}",
        "234",
    );
    logs("include: {match_type: strict, attributes: [{key: user, value: ann}]}", "1");
    logs("include: {match_type: strict, resources: [{key: service.name, value: worker}]}", "45");
    logs("include: {match_type: strict, libraries: [{name: app, version: \"1\"}]}", "123");
    logs("include: {match_type: strict, services: [worker]}", "45");
}

#[test]
fn properties_of_another_signal_match_nothing() {
    logs("include: {match_type: strict, span_names: [x], services: [web]}", "");
    logs("exclude: {match_type: strict, span_names: [x], services: [web]}", "12345");
    spans("include: {match_type: strict, log_bodies: [x]}", "");
}

#[track_caller]
fn refused(name: &str, yaml: &str, expected: &[&str]) {
    let problems = section(name, yaml).expect_err(yaml);
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "{yaml}");
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    refused(
        "attributes",
        "actions: [{action: delete, key: a}]
include:
  match_type: regexp
  services: [ok, \"(\"]
  attributes: [{key: a, value: 5}, {value: x}, {key: a, value: \"[\"}]
  libraries: [{name: \"[\"}, {name: a, version: 1.2}]
exclude:
  match_type: strict
  span_kinds: [SPAN_KIND_SERVER, server]
",
        &[
            "yaml::4:13: include::services[1]: bad regular expression: unclosed group",
            "yaml::5:32: include::attributes[0]::value: found 5; match_type regexp wants a regular \
             expression as a text, in quotes",
            "yaml::5:36: include::attributes[1]::key: must be set: the attribute",
            "yaml::5:64: include::attributes[2]::value: bad regular expression: unclosed character \
             class",
            "yaml::6:22: include::libraries[0]::name: bad regular expression: unclosed character \
             class",
            "yaml::6:47: include::libraries[1]::version: found 1.2; put quotes around it to make \
             it a text",
            "yaml::9:15: exclude::span_kinds[1]: found \"server\"; write one of \
             SPAN_KIND_INTERNAL, SPAN_KIND_SERVER, SPAN_KIND_CLIENT, SPAN_KIND_PRODUCER, \
             SPAN_KIND_CONSUMER",
        ],
    );
    refused(
        "attributes",
        "{actions: [{action: delete, key: a}], include: {services: [web]}, exclude: {match_type: \
         strict}}",
        &[
            "yaml::1:39: include::match_type: must be set: how texts are compared",
            "yaml::1:67: exclude: says nothing to match; write at least one of services, \
             span_names, span_kinds, log_bodies, log_severity_texts, log_severity_number, \
             metric_names, attributes, resources, libraries",
        ],
    );
    refused(
        "attributes",
        "{actions: [{action: delete, key: a}], include: {match_type: strict, span_names: [x], \
         log_bodies: [x]}}",
        &["yaml::1:39: include: no signal has all of span_names, log_bodies, so nothing can \
             match; write one processor for each signal"],
    );
    refused(
        "span",
        "{status: {code: Ok}, include: {match_type: strict, log_bodies: [x], services: [x]}}",
        &["yaml::1:64: include::log_bodies: is a property of logs; this processor has traces"],
    );
}
