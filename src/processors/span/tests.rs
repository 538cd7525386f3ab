//! Names and statuses before and after, as a table from the Collector's documentation.

use super::super::tests::{Bench, section};
use crate::batch::Signal;

/// Asserts what becomes of one span, given as its name and attributes.
#[track_caller]
fn check(yaml: &str, before: &str, after: &str) {
    let mut bench = Bench::new(Signal::Traces, "span", yaml);
    let span = |rest: &str| format!("resource a=1\nscope \"s\"\nspan 1/1 {rest}\n  event \"e\"\n");
    match before == after {
        true => bench.check_untouched(&span(before)),
        false => bench.check(&span(before), &span(after)),
    }
}

#[test]
fn a_name_is_made_of_attributes_if_all_are_there() {
    let yaml = "name: {from_attributes: [db.svc, operation], separator: \"::\"}";
    check(
        yaml,
        "\"old\" db.svc=\"pg\" operation=\"get\"",
        "\"pg::get\" db.svc=\"pg\" operation=\"get\"",
    );
    check(
        yaml,
        "\"old\" operation=\"get\" db.svc=\"pg\"",
        "\"pg::get\" operation=\"get\" db.svc=\"pg\"",
    );
    check(yaml, "db.svc=\"pg\" operation=\"get\"", "\"pg::get\" db.svc=\"pg\" operation=\"get\"");
    check(yaml, "\"old\" db.svc=\"pg\"", "\"old\" db.svc=\"pg\"");
    check(yaml, "\"old\"", "\"old\"");
    check(yaml, "\"a::b\" db.svc=\"a\" operation=\"b\"", "\"a::b\" db.svc=\"a\" operation=\"b\"");
    check("name: {from_attributes: [a, a]}", "\"x\" a=\"b\"", "\"bb\" a=\"b\"");
    check("name: {from_attributes: [a]}", "\"x\" a=\"\"", "a=\"\"");
}

#[test]
fn values_of_every_type_make_a_name() {
    let yaml = "name: {from_attributes: [a]}";
    for (value, name) in [
        ("5", "5"),
        ("-5", "-5"),
        ("1.5", "1.5"),
        ("100.0", "100"),
        ("1e21", "1000000000000000000000"),
        ("1e-7", "0.0000001"),
        ("true", "true"),
        ("null", "<unknown-attribute-type>"),
        ("[1]", "<unknown-attribute-type>"),
        ("{\"b\":1}", "<unknown-attribute-type>"),
        ("0x0a", "<unknown-attribute-type>"),
    ] {
        check(yaml, &format!("\"x\" a={value}"), &format!("\"{name}\" a={value}"));
    }
}

#[test]
fn attributes_are_taken_out_of_a_name() {
    let document =
        r"name: {to_attributes: {rules: ['^\/api\/v1\/document\/(?P<documentId>.*)\/update$']}}";
    check(
        document,
        "\"/api/v1/document/12345678/update\"",
        "\"/api/v1/document/{documentId}/update\" documentId=\"12345678\"",
    );
    check(document, "\"/api/v1/document/1/get\" k=1", "\"/api/v1/document/1/get\" k=1");
    check(document, "k=1", "k=1");
    let two = "name: {to_attributes: {rules: ['^(?P<a>[a-z]+)-(?P<b>[0-9]+)']}}";
    check(two, "\"x-1 y\" b=5", "\"{a}-{b} y\" b=\"1\" a=\"x\"");
    let keep = "name: {to_attributes: {rules: ['/(?P<id>[0-9]+)'], keep_original_name: true}}";
    check(keep, "\"/users/17\"", "\"/users/17\" id=\"17\"");
}

#[test]
fn each_rule_sees_the_name_that_the_one_before_made() {
    let rules = r"rules: ['^/(?P<a>[a-z]+)', '/(?P<b>[0-9]+)', '\{(?P<c>a)\}']";
    let yaml = format!("name: {{to_attributes: {{{rules}}}}}");
    check(&yaml, "\"/x/1\"", "\"/{{c}}/{b}\" a=\"x\" b=\"1\" c=\"a\"");
    let yaml = format!("name: {{to_attributes: {{{rules}, break_after_match: true}}}}");
    check(&yaml, "\"/x/1\"", "\"/{a}/1\" a=\"x\"");
    check(&yaml, "\"/1/2\"", "\"/{b}/2\" b=\"1\"");
    check(&yaml, "\"none\"", "\"none\"");
}

#[test]
fn groups_that_take_no_part_or_stand_inside_another_change_no_name() {
    let yaml = "name: {to_attributes: {rules: ['^x(?P<y>y)?(?P<z>z)']}}";
    check(yaml, "\"xz\"", "\"x{z}\" z=\"z\"");
    let yaml = "name: {to_attributes: {rules: ['(?P<all>a(?P<part>b)c)']}}";
    check(yaml, "\"-abc-\"", "\"-{all}-\" all=\"abc\" part=\"b\"");
}

#[test]
fn attributes_make_the_name_that_the_rules_see() {
    let yaml = "name: {from_attributes: [route], to_attributes: {rules: ['(?P<id>[0-9]+)']}}";
    check(yaml, "\"x\" route=\"/u/7\"", "\"/u/{id}\" route=\"/u/7\" id=\"7\"");
}

#[test]
fn a_status_is_set() {
    let error = "status: {code: Error, description: bad}";
    check(error, "\"a\"", "\"a\" status=error:\"bad\"");
    check(error, "\"a\" status=ok", "\"a\" status=error:\"bad\"");
    check(error, "\"a\" status=error:\"x\"", "\"a\" status=error:\"bad\"");
    check(error, "\"a\" status=error:\"bad\"", "\"a\" status=error:\"bad\"");
    check("status: {code: Error}", "\"a\" status=error:\"x\"", "\"a\" status=error");
    check("status: {code: Ok}", "\"a\" status=error:\"x\"", "\"a\" status=ok");
    check("status: {code: ok}", "\"a\"", "\"a\" status=ok");
    check("status: {code: Unset}", "\"a\"", "\"a\"");
}

#[test]
fn only_selected_spans_are_changed() {
    let yaml = "{name: {from_attributes: [a]}, status: {code: Ok}, include: {match_type: strict, \
                services: [web]}, exclude: {match_type: regexp, span_names: [\"^x\"]}}";
    Bench::new(Signal::Traces, "span", yaml).check(
        "resource service.name=\"web\"\nspan 1/1 \"one\" a=1\nspan 1/2 \"x\" a=1\n\
         resource service.name=\"other\"\nspan 1/3 \"two\" a=1\n",
        "resource service.name=\"web\"\nspan 1/1 \"1\" a=1 status=ok\nspan 1/2 \"x\" a=1\n\
         resource service.name=\"other\"\nspan 1/3 \"two\" a=1\n",
    );
}

#[track_caller]
fn refused(yaml: &str, expected: &[&str]) {
    let problems = section("span", yaml).expect_err(yaml);
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "{yaml}");
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    refused(
        "{}",
        &["yaml::1:1: does nothing; write name::from_attributes, name::to_attributes or status"],
    );
    refused(
        "name: {separator: x}",
        &["yaml::1:1: does nothing; write name::from_attributes, name::to_attributes or status"],
    );
    refused(
        "{name: {to_attributes: {rules: [a, \"(\", \"(b)\"]}}, status: {code: Ok, description: x}}",
        &[
            "yaml::1:32: name::to_attributes::rules[1]: bad regular expression: unclosed group",
            "yaml::1:32: name::to_attributes::rules[2]: one of its groups has no name; write \
             (?P<key>…) around what to take and (?:…) around the rest",
            "yaml::1:83: status::description: only an Error has one; the code is Ok",
        ],
    );
    refused(
        "{name: {to_attributes: {rules: []}}, status: {code: Fine}}",
        &[
            "yaml::1:32: name::to_attributes::rules: has no entry; write at least one regular \
             expression",
            "yaml::1:53: status::code: found \"Fine\"; write one of Ok, Error, Unset",
        ],
    );
}
