//! Actions as a table, on spans, log records and data points; what is selected; mistakes.

use super::super::tests::{Bench, request, section};
use super::super::{Built, LIST, Out, Setup};
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::moment::Moment;
use crate::receipt::{Receipt, Receipts};
use crate::telemetry::Registry;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogram, Gauge, Histogram, Metric};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics, Sum, Summary};
use prost::Message;
use std::sync::{Arc, Mutex};

/// Asserts what actions make of attributes, on a span and on a log record. Nothing around the
/// attributes changes, and nothing at all if they stay.
#[track_caller]
fn check(actions: &str, before: &str, after: &str) {
    let yaml = format!("actions: [{actions}]");
    let span = |attributes: &str| {
        format!(
            "resource a=1\nscope \"s\" a=1\nspan 1/1 \"n\" {attributes} dropped_attributes=1\n\
             \x20 event \"e\" a=1\n  link 1/2 a=1\n"
        )
    };
    let log = |attributes: &str| format!("resource a=1\nscope \"s\"\nlog 1/1 \"n\" {attributes}\n");
    for (signal, text) in [(Signal::Traces, &span as &dyn Fn(&str) -> String), (Signal::Logs, &log)]
    {
        let mut bench = Bench::new(signal, "attributes", &yaml);
        match before == after {
            true => bench.check_untouched(&text(before)),
            false => bench.check(&text(before), &text(after)),
        }
    }
}

#[test]
fn insert_sets_what_is_absent() {
    check("{key: a, action: insert, value: 1}", "b=2", "b=2 a=1");
    check("{key: a, action: insert, value: 1}", "a=2", "a=2");
    check("{key: a, action: INSERT, value: 1}", "", "a=1");
    check("{key: a, action: insert, from_attribute: b}", "b=\"x\"", "b=\"x\" a=\"x\"");
    check("{key: a, action: insert, from_attribute: b}", "c=1", "c=1");
}

#[test]
fn update_sets_what_is_present() {
    check("{key: a, action: update, value: x}", "a=1 b=2", "a=\"x\" b=2");
    check("{key: a, action: update, value: x}", "b=2", "b=2");
    check(
        "{key: a, action: update, from_attribute: b}",
        "a=1 b=[1,{\"c\":2}]",
        "a=[1,{\"c\":2}] b=[1,{\"c\":2}]",
    );
    check("{key: a, action: update, from_attribute: b}", "a=1", "a=1");
    check("{key: a, action: update, value: 1}", "a=1", "a=1");
}

#[test]
fn upsert_sets_in_both_cases() {
    check("{key: a, action: upsert, value: x}", "a=1", "a=\"x\"");
    check("{key: a, action: upsert, value: x}", "b=1", "b=1 a=\"x\"");
    check("{key: a, action: upsert, from_attribute: b}", "b=1", "b=1 a=1");
    check("{key: a, action: upsert, from_attribute: c}", "a=1", "a=1");
}

#[test]
fn values_have_the_type_of_the_yaml() {
    for (yaml, value) in [
        ("text", "\"text\""),
        ("\"5\"", "\"5\""),
        ("\"\"", "\"\""),
        ("5", "5"),
        ("-5", "-5"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("[a, 1, [false]]", "[\"a\",1,[false]]"),
        ("{k: {l: 1}, m: []}", "{\"k\":{\"l\":1},\"m\":[]}"),
    ] {
        check(&format!("{{key: a, action: insert, value: {yaml}}}"), "", &format!("a={value}"));
    }
}

#[test]
fn a_default_stands_in_for_an_attribute_that_is_not_there() {
    let action = "{key: a, action: insert, from_attribute: b, default_value: none}";
    check(action, "b=1", "b=1 a=1");
    check(action, "c=1", "c=1 a=\"none\"");
    check("{key: a, action: update, default_value: x}", "a=1", "a=\"x\"");
}

#[test]
fn delete_goes_by_key_and_by_pattern() {
    check("{key: a, action: delete}", "a=1 b=2 aa=3", "b=2 aa=3");
    check("{key: a, action: delete}", "b=2", "b=2");
    check("{pattern: ^a, action: delete}", "a=1 b=2 aa=3 ba=4", "b=2 ba=4");
    check("{pattern: \"b$\", key: a, action: delete}", "a=1 b=2 ab=3 c=4", "c=4");
}

#[test]
fn hash_is_sha_256_of_the_value() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    check("{key: a, action: hash}", "a=\"abc\" b=\"abc\"", &format!("a=\"{abc}\" b=\"abc\""));
    check("{pattern: ., action: hash}", "a=\"abc\" b=\"abc\"", &format!("a=\"{abc}\" b=\"{abc}\""));
    let one = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a";
    let zero = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    check("{key: a, action: hash}", "a=true", &format!("a=\"{one}\""));
    check("{key: a, action: hash}", "a=false", &format!("a=\"{zero}\""));
    // 01 00 00 00 00 00 00 00 and 00 00 00 00 00 00 f8 3f.
    let int = "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8";
    check("{key: a, action: hash}", "a=1", &format!("a=\"{int}\""));
    let double = "e163f8cb0f7067a7fc78ca859a77f849aea3214f38fb75b884e4a16be725c905";
    check("{key: a, action: hash}", "a=1.5", &format!("a=\"{double}\""));
    for nothing in ["[1]", "{\"k\":1}", "0x0a"] {
        check("{key: a, action: hash}", &format!("a={nothing}"), "a=\"\"");
    }
    check("{key: b, action: hash}", "a=1", "a=1");
}

#[test]
fn extract_sets_named_groups() {
    let action = "{key: url, action: extract, pattern: \"^(?P<scheme>[a-z]+)://(?P<host>[^/]+)\"}";
    check(action, "url=\"http://x/y\"", "url=\"http://x/y\" scheme=\"http\" host=\"x\"");
    check(action, "url=\"http://x/y\" host=1", "url=\"http://x/y\" host=\"x\" scheme=\"http\"");
    check(action, "url=\"x\"", "url=\"x\"");
    check(action, "url=5", "url=5");
    check(action, "other=\"http://x\"", "other=\"http://x\"");
    let optional = "{key: a, action: extract, pattern: \"^x(?P<y>y)?(?:z)\"}";
    check(optional, "a=\"xz\"", "a=\"xz\" y=\"\"");
}

#[test]
fn convert_leaves_alone_what_it_cannot_convert() {
    let int = "{key: a, action: convert, converted_type: int}";
    check(int, "a=\"123\"", "a=123");
    check(int, "a=\"-7\"", "a=-7");
    check(int, "a=\"1.5\"", "a=\"1.5\"");
    check(int, "a=\"x\"", "a=\"x\"");
    check(int, "a=99.9", "a=99");
    check(int, "a=true b=true", "a=1 b=true");
    check(int, "a=5", "a=5");
    check(int, "a=[1]", "a=[1]");
    check(int, "b=\"1\"", "b=\"1\"");
    let double = "{key: a, action: convert, converted_type: double}";
    check(double, "a=\"1.5\"", "a=1.5");
    check(double, "a=3", "a=3.0");
    check(double, "a=false", "a=0.0");
    check(double, "a=\"x\"", "a=\"x\"");
    let string = "{key: a, action: convert, converted_type: string}";
    check(string, "a=5", "a=\"5\"");
    check(string, "a=1.5", "a=\"1.5\"");
    check(string, "a=1e21", "a=\"1e+21\"");
    check(string, "a=1e-7", "a=\"1e-7\"");
    check(string, "a=100000.0", "a=\"100000\"");
    check(string, "a=true", "a=\"true\"");
    check(string, "a=null", "a=\"\"");
    check(
        string,
        "a=[1,\"x\",{\"b\":null,\"a\":0x0a}]",
        r#"a="[1,\"x\",{\"a\":\"Cg==\",\"b\":null}]""#,
    );
    check(string, "a=\"x\"", "a=\"x\"");
}

#[test]
fn each_action_sees_what_those_before_have_made() {
    check(
        "{key: b, action: insert, from_attribute: a}, {key: a, action: delete}, \
         {key: b, action: convert, converted_type: int}, \
         {key: c, action: upsert, from_attribute: b}",
        "a=\"5\"",
        "b=5 c=5",
    );
    check(
        "{key: a, action: delete}, {key: a, action: insert, value: new}",
        "a=\"old\" b=1",
        "b=1 a=\"new\"",
    );
    check("{key: a, action: insert, value: 1}, {key: a, action: delete}", "b=1", "b=1");
}

#[test]
fn of_a_key_that_stands_twice_no_old_value_survives() {
    check("{key: a, action: upsert, value: x}", "a=1 b=2 a=3", "a=\"x\" b=2 a=\"x\"");
    check("{key: a, action: delete}", "a=1 b=2 a=3", "b=2");
    check("{key: b, action: upsert, from_attribute: a}", "a=1 a=2", "a=1 a=2 b=1");
    check("{key: a, action: convert, converted_type: int}", "a=\"1\" a=\"2\"", "a=1 a=2");
    check("{pattern: a, action: hash}", "a=[] a={}", "a=\"\" a=\"\"");
}

#[test]
fn fields_that_nobody_knows_stay() {
    // A span whose attribute k=1 has a field 9 more: 4a is the attribute, 48 05 the field.
    let span = [0x4a, 9, 0x0a, 1, b'k', 0x12, 2, 0x18, 1, 0x48, 5];
    let wrap = |body: &[u8], tag: u8| [&[tag, body.len() as u8], body].concat();
    let request = wrap(&wrap(&wrap(&span, 0x12), 0x12), 0x0a);
    let yaml = "actions: [{key: k, action: update, value: x}]";
    let after = Bench::new(Signal::Traces, "attributes", yaml).pass(Bytes::from(request));
    let attribute = [0x4a, 10, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, b'x', 0x48, 5];
    assert_eq!(after, wrap(&wrap(&wrap(&attribute, 0x12), 0x12), 0x0a));
}

#[test]
fn what_grows_beyond_its_bound_is_refused_as_too_large() {
    let items = 1 + (limits::ADDED_BYTES >> 20);
    let value = "x".repeat(1 << 20);
    let yaml = format!("actions: [{{key: a, action: insert, value: {value}}}]");
    let section = section("attributes", &yaml).unwrap();
    let kind = LIST.iter().find(|kind| kind.component.name == "attributes").unwrap();
    let registry = Registry::default();
    let signal = Signal::Traces;
    let setup = Setup::new("attributes/x", "traces", signal, &registry);
    let Built::Stateless(processor) = (kind.build)(&section, &setup) else {
        panic!("it has no state")
    };
    for (items, code) in [(1, None), (items, Some(413))] {
        let bytes = request(&"span 1/1\n".repeat(items));
        let mut batch = Batch::parse(signal, bytes, Moment::default()).unwrap();
        let told = Arc::new(Mutex::new(None));
        let teller = told.clone();
        batch.receipts =
            Receipts::from(Receipt::new(move |verdict| *teller.lock().unwrap() = Some(verdict)));
        let mut out = Out::default();
        processor.process(batch, Moment::default(), &mut out);
        assert_eq!(out.take().len(), usize::from(code.is_none()));
        let told = told.lock().unwrap().take();
        assert_eq!(told.filter(|_| code.is_some()).map(|verdict| verdict.http()), code);
    }
}

fn pair(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

/// One metric of each type, with a point each that has `attributes`.
fn metrics(attributes: &[KeyValue]) -> ExportMetricsServiceRequest {
    let attributes = attributes.to_vec();
    let number = NumberDataPoint { attributes: attributes.clone(), ..Default::default() };
    let histogram = HistogramDataPoint { attributes: attributes.clone(), ..Default::default() };
    let exponential =
        ExponentialHistogramDataPoint { attributes: attributes.clone(), ..Default::default() };
    let summary = SummaryDataPoint { attributes, ..Default::default() };
    let data = [
        Data::Gauge(Gauge { data_points: vec![number.clone()] }),
        Data::Sum(Sum { data_points: vec![number.clone(), number], ..Default::default() }),
        Data::Histogram(Histogram { data_points: vec![histogram], ..Default::default() }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            ..Default::default()
        }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ];
    let metrics = data.into_iter().enumerate().map(|(k, data)| Metric {
        name: format!("metric.{k}"),
        data: Some(data),
        ..Default::default()
    });
    let scope = ScopeMetrics { metrics: metrics.collect(), ..Default::default() };
    let group = ResourceMetrics { scope_metrics: vec![scope], ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }
}

#[test]
fn data_points_of_every_type_are_changed() {
    let yaml = "actions: [{key: a, action: delete}, {key: c, action: insert, value: 3}]";
    let before = metrics(&[pair("a", 1), pair("b", 2)]);
    let mut bench = Bench::new(Signal::Metrics, "attributes", yaml);
    let after = bench.pass(Bytes::from(before.encode_to_vec()));
    let expected = metrics(&[pair("b", 2), pair("c", 3)]);
    assert_eq!(ExportMetricsServiceRequest::decode(after), Ok(expected));
}

#[test]
fn metrics_are_selected_by_name_and_resource() {
    let yaml = "{actions: [{key: a, action: delete}],
        include: {match_type: regexp, metric_names: [\"[034]$\"]},
        exclude: {match_type: strict, metric_names: [metric.4]}}";
    let before = metrics(&[pair("a", 1)]);
    let mut bench = Bench::new(Signal::Metrics, "attributes", yaml);
    let after = bench.pass(Bytes::from(before.encode_to_vec()));
    let mut expected = before;
    let changed = &mut expected.resource_metrics[0].scope_metrics[0].metrics;
    let empty = metrics(&[]).resource_metrics.remove(0).scope_metrics.remove(0).metrics;
    for place in [0, 3] {
        changed[place] = empty[place].clone();
    }
    assert_eq!(ExportMetricsServiceRequest::decode(after), Ok(expected));
}

#[track_caller]
fn refused(yaml: &str, expected: &[&str]) {
    let problems = section("attributes", yaml).expect_err(yaml);
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "{yaml}");
}

#[test]
fn every_mistake_in_actions_is_reported_with_its_place() {
    refused(
        "actions:
- {action: insert, key: a}
- {action: insert, value: 1}
- {action: upsert, key: a, value: 1, from_attribute: b}
- {action: delete}
- {action: delete, key: a, value: 1}
- {action: hash, pattern: \"(\"}
- {action: extract, key: a}
- {action: extract, key: a, pattern: \"a(b)\"}
- {action: extract, key: a, pattern: ab}
- {action: convert, key: a}
- {action: convert, key: a, converted_type: bool}
- {action: rename, key: a}
- {key: a}
- {action: insert, key: a, from_context: metadata.x}
- {action: extract, key: a, pattern: \"(?P<x>(?-u:.))\"}
",
        &[
            "yaml::2:3: actions[0]: insert needs what to set: one of value, from_attribute, \
             default_value",
            "yaml::3:3: actions[1]: insert needs the `key` of an attribute",
            "yaml::4:54: actions[2]::from_attribute: stands beside `value`; write one of the two",
            "yaml::5:3: actions[3]: delete needs the `key` of an attribute or a `pattern` of keys",
            "yaml::6:35: actions[4]::value: delete does not use it; it takes pattern",
            "yaml::7:27: actions[5]::pattern: bad regular expression: unclosed group",
            "yaml::8:3: actions[6]: extract needs a `pattern` whose named groups are the keys to \
             set",
            "yaml::9:38: actions[7]::pattern: one of its groups has no name; write (?P<key>…) \
             around what to take and (?:…) around the rest",
            "yaml::10:38: actions[8]::pattern: it has no named group; write (?P<key>…) around what \
             to take",
            "yaml::11:3: actions[9]: convert needs a `converted_type`: int, double or string",
            "yaml::12:45: actions[10]::converted_type: found \"bool\"; write one of int, double, \
             string",
            "yaml::13:12: actions[11]::action: found \"rename\"; write one of insert, update, \
             upsert, delete, hash, extract, convert",
            "yaml::14:3: actions[12]::action: must be set: set where it is absent, where it is \
             present, in both cases; delete; replace by the SHA-256; set the named groups of \
             `pattern`; convert to `converted_type`",
            "yaml::15:28: actions[13]::from_context: is not supported here: what a request carries \
             beside its data (headers, authentication, the client's address) does not travel with \
             the data here; let the sender set an attribute and use `from_attribute`, or set a \
             `value`",
            "yaml::16:38: actions[14]::pattern: it can match parts of a character; leave out (?-u)",
        ],
    );
    refused("actions: []", &["yaml::1:10: actions: has no entry; write at least one action"]);
}
