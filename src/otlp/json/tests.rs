//! The JSON mapping, rule by rule.

use super::super::check::{Bounds, check};
use super::super::schema::{ANY_VALUE, LOGS, METRICS, Message, TRACES};
use super::super::text;
use super::*;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use prost::Message as _;

const BOUNDS: Bounds = Bounds { items: 100, elements: 1000, value_nesting: 8 };

/// The bytes of `json`, which pass the check within the same bounds.
#[track_caller]
fn read(message: &'static Message, json: &str) -> Vec<u8> {
    let bytes = from_json(message, json.as_bytes(), &BOUNDS).unwrap_or_else(|e| panic!("{e}"));
    let tally = check(message, &bytes, &BOUNDS).unwrap();
    assert!(!tally.repeated_singular);
    bytes
}

#[track_caller]
fn refused(message: &'static Message, json: &[u8], what: &str) {
    let error = from_json(message, json, &BOUNDS).unwrap_err().to_string();
    let shown = String::from_utf8_lossy(json.get(..json.len().min(80)).unwrap());
    assert!(error.contains(what), "{shown}: {error}");
}

/// A request of one span whose fields are `fields`.
fn span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

/// The span with `fields` in the text notation, without the lines above it.
#[track_caller]
fn span_text(fields: &str) -> String {
    let text = text::print(&TRACES, &read(&TRACES, &span(fields)));
    text.trim_start_matches("resource -\nscope -\n").trim_end().to_string()
}

/// An attribute `k` with the JSON `value`, in the text notation.
#[track_caller]
fn value_text(value: &str) -> String {
    span_text(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#))
        .replace("span -/- k=", "")
}

#[track_caller]
fn value_refused(value: &str, what: &str) {
    let json = span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#));
    refused(&TRACES, json.as_bytes(), what);
}

/// Writing what was read yields `json` again, but for white space.
#[track_caller]
fn round_trips(message: &'static Message, json: &str) {
    let strip = |json: &str| json.split('\n').map(str::trim).collect::<String>();
    let written = String::from_utf8(to_json(message, &read(message, json))).unwrap();
    assert_eq!(written, strip(json));
}

#[test]
fn ids_are_hexadecimal_of_either_case_and_pass_in_any_length() {
    let ids = r#""traceId":"5B8EFFF798038103d269b633813fc60c","spanId":"EEE19b7ec3c1b174""#;
    assert_eq!(span_text(ids), "span 5b8efff798038103d269b633813fc60c/eee19b7ec3c1b174");
    let json = String::from_utf8(to_json(&TRACES, &read(&TRACES, &span(ids)))).unwrap();
    assert_eq!(
        json,
        span(&ids.to_lowercase().replace("traceid", "traceId").replace("spanid", "spanId"))
    );
    let short = r#""traceId":"0102","spanId":"","parentSpanId":"00""#;
    assert_eq!(span_text(short), "span x0102/- parent=x00");
}

#[test]
fn ids_that_are_odd_or_not_hexadecimal_are_refused() {
    for id in [r#""abc""#, r#""zz""#, r#""W47/95gDgQPSabYzgT/GDA==""#, r#""+1""#] {
        let json = span(&format!(r#""traceId":{id}"#));
        refused(
            &TRACES,
            json.as_bytes(),
            "in resourceSpans[0].scopeSpans[0].spans[0].traceId: an id",
        );
    }
    refused(&TRACES, span(r#""spanId":12"#).as_bytes(), "an id is a text");
}

#[test]
fn enums_are_integers_and_names_are_refused() {
    assert_eq!(span_text(r#""kind":2"#), "span -/- kind=server");
    assert_eq!(span_text(r#""kind":-1,"status":{"code":2}"#), "span -/- kind=-1 status=error");
    for kind in [r#""SPAN_KIND_SERVER""#, r#""2""#] {
        refused(&TRACES, span(&format!(r#""kind":{kind}"#)).as_bytes(), "an enum is an integer");
    }
    refused(&TRACES, span(r#""kind":3000000000"#).as_bytes(), "no integer of 32 bits");
    refused(&TRACES, span(r#""kind":1.5"#).as_bytes(), "no integer of 32 bits");
}

#[test]
fn unknown_keys_are_ignored_at_every_level() {
    let unknown = r#""x":{"a":[1,{"b":null}],"c":"\u00e9"},"y":[true,false,1e9],"#;
    let json = format!(
        r#"{{{unknown}"resourceSpans":[{{{unknown}"resource":{{{unknown}"attributes":[{{{unknown}
        "key":"k","value":{{{unknown}"arrayValue":{{{unknown}"values":[
        {{{unknown}"intValue":1}}]}}}}}}]}},
        "scopeSpans":[{{{unknown}"scope":{{{unknown}"name":"s"}},"spans":[{{{unknown}"name":"n",
        "events":[{{{unknown}"name":"e"}}],"links":[{{{unknown}"spanId":"01"}}],
        "status":{{{unknown}"code":1}}}}]}}]}}]}}"#
    );
    let expected =
        "resource k=[1]\nscope \"s\"\nspan -/- \"n\" status=ok\n  event \"e\"\n  link -/x01\n";
    assert_eq!(text::print(&TRACES, &read(&TRACES, &json)), expected);
}

#[test]
fn snake_case_is_unknown_and_escapes_in_keys_are_read() {
    let json = r#""dropped_attributes_count":7,"trace_id":"xyz","na\u006de":"n""#;
    assert_eq!(span_text(json), "span -/- \"n\"");
}

#[test]
fn integers_of_64_bits_are_exact_in_both_forms() {
    for (value, expected) in [
        ("\"-1\"", "-1"),
        ("-1", "-1"),
        ("\"9223372036854775807\"", "9223372036854775807"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9007199254740993", "9007199254740993"),
        ("1e3", "1000"),
        ("\"1E+3\"", "1000"),
        ("1.50e1", "15"),
        ("100e-2", "1"),
        ("-0", "0"),
        ("0.0", "0"),
        ("0e99999999999999999", "0"),
    ] {
        assert_eq!(value_text(&format!(r#"{{"intValue":{value}}}"#)), expected, "{value}");
    }
    for value in [
        "1.5",
        "\"1.5\"",
        "1e-1",
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1e400",
        "1e99999999999999999999",
        "\"\"",
        "\" 1\"",
        "\"+1\"",
        "\"0x1\"",
        "\"01\"",
        "true",
        "[]",
        "\"NaN\"",
    ] {
        value_refused(&format!(r#"{{"intValue":{value}}}"#), "");
    }
}

#[test]
fn times_take_the_whole_range() {
    let max =
        "\"startTimeUnixNano\":18446744073709551615,\"endTimeUnixNano\":\"18446744073709551615\"";
    let text = "span -/- unix:18446744073709551615..unix:18446744073709551615";
    assert_eq!(span_text(max), text);
    for time in ["18446744073709551616", "-1", "\"-1\"", "1e20", "0.5"] {
        let json = span(&format!(r#""startTimeUnixNano":{time}"#));
        refused(&TRACES, json.as_bytes(), "64 bits without a sign");
    }
    refused(&TRACES, span(r#""flags":4294967296"#).as_bytes(), "32 bits without a sign");
    assert_eq!(span_text(r#""flags":"4294967295""#), "span -/- flags=0xffffffff");
}

#[test]
fn doubles_are_numbers_or_three_words() {
    for (value, expected) in [
        ("1", "1.0"),
        ("-0", "-0.0"),
        ("1.5e3", "1500.0"),
        ("\"1.5\"", "1.5"),
        ("\"NaN\"", "NaN"),
        ("\"Infinity\"", "inf"),
        ("\"-Infinity\"", "-inf"),
        ("1e-400", "0.0"),
    ] {
        assert_eq!(value_text(&format!(r#"{{"doubleValue":{value}}}"#)), expected, "{value}");
    }
    for value in ["1e400", "\"inf\"", "\"nan\"", "\"\"", "true", "\"1.\""] {
        value_refused(&format!(r#"{{"doubleValue":{value}}}"#), "");
    }
}

#[test]
fn bytes_are_base64_of_either_alphabet_padded_or_not() {
    for (value, expected) in [
        ("+/+/", "0xfbffbf"),
        ("-_-_", "0xfbffbf"),
        ("AQI=", "0x0102"),
        ("AQI", "0x0102"),
        ("AQ==", "0x01"),
        ("AQ", "0x01"),
        ("", "0x"),
    ] {
        assert_eq!(value_text(&format!(r#"{{"bytesValue":"{value}"}}"#)), expected, "{value}");
    }
    for value in ["A", "A===", "AQ I", "é"] {
        value_refused(&format!(r#"{{"bytesValue":"{value}"}}"#), "not base64");
    }
}

#[test]
fn null_means_absent() {
    let json =
        r#""traceId":null,"name":null,"kind":null,"attributes":null,"status":null,"flags":null"#;
    assert_eq!(span_text(json), "span -/-");
    assert_eq!(value_text("null"), "null");
    assert_eq!(value_text(r#"{"stringValue":null,"intValue":1}"#), "1");
    refused(&TRACES, br#"{"resourceSpans":[null]}"#, "in resourceSpans[0]: an object is expected");
}

#[test]
fn zeros_count_where_presence_does() {
    assert_eq!(value_text(r#"{"intValue":0}"#), "0");
    assert_eq!(value_text(r#"{"boolValue":false}"#), "false");
    assert_eq!(value_text(r#"{"stringValue":""}"#), "\"\"");
    let zeros = r#""kind":0,"flags":0,"name":"","spanId":"","attributes":[]"#;
    assert_eq!(read(&TRACES, &span(zeros)), read(&TRACES, &span("")));
}

#[test]
fn a_known_key_twice_is_refused_and_an_unknown_one_is_not() {
    refused(&TRACES, span(r#""name":"a","name":"b""#).as_bytes(), "a key occurs twice");
    refused(&TRACES, span(r#""attributes":[],"attributes":[]"#).as_bytes(), "a key occurs twice");
    assert_eq!(span_text(r#""x":1,"x":2"#), "span -/-");
}

#[test]
fn a_value_has_one_member_at_most() {
    value_refused(r#"{"stringValue":"a","intValue":1}"#, "excludes a key that stands before it");
    assert_eq!(value_text("{}"), "null");
    let deep = r#"{"kvlistValue":{"values":[{"key":"a","value":{}},{"key":"a"}]}}"#;
    assert_eq!(value_text(deep), r#"{"a":null,"a":null}"#);
    let mixed = r#"{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":2},{}]}}"#;
    assert_eq!(value_text(mixed), "[true,2.0,null]");
}

#[test]
fn what_is_not_json_is_refused_at_its_place() {
    for (json, what) in [
        ("\u{feff}{}", "a byte order mark"),
        ("", "line 1, column 1: an object is expected"),
        ("[]", "an object is expected"),
        ("{} x", "line 1, column 4: the text goes on"),
        ("{}{}", "the text goes on"),
        ("{\n \"x\":1,\n}", "line 3, column 1: a key in quotes"),
        ("{\"x\":[1,]}", "column 9: a JSON value is expected"),
        ("{\"x\":1 \"y\":2}", "a comma or the end"),
        ("{\"x\" 1}", "a colon is expected"),
        ("{/* */}", "a key in quotes"),
        ("{// \n}", "a key in quotes"),
        ("{\"x\":NaN}", "a JSON value"),
        ("{\"x\":Infinity}", "a JSON value"),
        ("{\"x\":01}", "a JSON value"),
        ("{\"x\":1.}", "a JSON value"),
        ("{\"x\":.5}", "a JSON value"),
        ("{\"x\":+1}", "a JSON value"),
        ("{\"x\":1e}", "a JSON value"),
        ("{\"x\":--1}", "a JSON value"),
        ("{\"x\":'a'}", "a JSON value"),
        ("{\"x\":tru}", "a JSON value"),
        ("{\"x\":truex}", "a comma or the end"),
        ("{x:1}", "a key in quotes"),
        ("{\"x\":\"\u{1}\"}", "a control character"),
        ("{\"x\":\"\n\"}", "a control character"),
        ("{\"x\":\"\\x\"}", "an unknown escape"),
        ("{\"x\":\"\\u12g4\"}", "four hexadecimal digits"),
        ("{\"x\":\"\\ud800\"}", "a surrogate stands alone"),
        ("{\"x\":\"\\ud800\\u0041\"}", "a surrogate stands alone"),
        ("{\"x\":\"\\udc00\"}", "a surrogate stands alone"),
        ("{\"x\":\"", "a string does not end"),
        ("{\"x\":\"\\", "an unknown escape"),
        ("{\"x\"", "a colon"),
        ("{", "a key in quotes"),
        ("{\"resourceSpans\":{}}", "in resourceSpans: an array is expected"),
        ("{\"resourceSpans\":[[]]}", "in resourceSpans[0]: an object is expected"),
    ] {
        refused(&TRACES, json.as_bytes(), what);
    }
    refused(&TRACES, b"{\"x\":\"\xff\"}", "column 7: the text is not UTF-8");
}

#[test]
fn escapes_are_read_and_surrogates_paired() {
    assert_eq!(
        value_text(r#"{"stringValue":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#),
        "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\té😀\""
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels);
        format!("{open}{}", "]}}".repeat(levels))
    };
    assert_eq!(value_text(&nested(8)), format!("{}{}", "[".repeat(8), "]".repeat(8)));
    value_refused(&nested(9), "deeper than 8 levels");
    value_refused(&nested(100_000), "deeper than 8 levels");
    let unknown =
        |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    read(&TRACES, &unknown(UNKNOWN_NESTING_MAX));
    refused(&TRACES, unknown(UNKNOWN_NESTING_MAX + 2).as_bytes(), "nested too deeply");
    refused(&TRACES, "{\"x\":".repeat(100_000).as_bytes(), "nested too deeply");
}

#[test]
fn items_and_elements_are_bounded() {
    let many = |n: usize, one: &str| vec![one; n].join(",");
    let spans =
        |n| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, many(n, "{}"));
    read(&TRACES, &spans(100));
    refused(&TRACES, spans(101).as_bytes(), "too many items: a request may hold 100");
    let attributes = span(&format!(r#""attributes":[{}]"#, many(1000, "{}")));
    refused(&TRACES, attributes.as_bytes(), "too many elements: a request may hold 1000");
    let counts = many(1001, "1");
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":
        {{"dataPoints":[{{"bucketCounts":[{counts}]}}]}}}}]}}]}}]}}"#
    );
    refused(&METRICS, json.as_bytes(), "too many elements");
}

#[test]
fn long_keys_and_many_unknown_keys_take_linear_time() {
    let key = "k".repeat(1 << 20);
    read(&TRACES, &format!(r#"{{"{key}":1,"{key}":2}}"#));
    let keys: String = (0..1_000_000).map(|k| format!("\"{k}\":0,")).collect();
    read(&TRACES, &format!(r#"{{{keys}"resourceSpans":[]}}"#));
}

#[test]
fn a_trace_round_trips() {
    round_trips(
        &TRACES,
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"planner"}}],
        "droppedAttributesCount":1,"entityRefs":[{"schemaUrl":"u","type":"service",
        "idKeys":["service.name"],"descriptionKeys":[]}]},
        "scopeSpans":[{"scope":{"name":"lib","version":"1.0","attributes":[{"key":"a",
        "value":{"stringValue":"b\"\\\n\u0001"}}]},
        "spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
        "traceState":"a=b",
        "parentSpanId":"eee19b7ec3c1b173","name":"chat","kind":3,
        "startTimeUnixNano":"1544712660000000000",
        "endTimeUnixNano":"1544712661000000000",
        "attributes":[{"key":"n","value":{"intValue":"-523"}},{"key":"d",
        "value":{"doubleValue":0.7}},
        {"key":"b","value":{"boolValue":false}},{"key":"e","value":{}},{"key":"y",
        "value":{"bytesValue":"AAECAw=="}},
        {"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"},
        {"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}}]}}}],
        "droppedAttributesCount":1,
        "events":[{"timeUnixNano":"1544712660300000000","name":"gen_ai.content.prompt",
        "attributes":[],"droppedAttributesCount":2}],
        "droppedEventsCount":3,
        "links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175",
        "flags":1}],
        "droppedLinksCount":4,"status":{"message":"boom","code":2},"flags":257}],
        "schemaUrl":"s"}],"schemaUrl":"r"}]}"#
            .replace("\"descriptionKeys\":[]", "\"descriptionKeys\":[\"host\"]")
            .replace("\"attributes\":[],", "\"attributes\":[{\"key\":\"gen_ai.prompt\"}],")
            .as_str(),
    );
}

#[test]
fn logs_and_events_round_trip() {
    round_trips(
        &LOGS,
        r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"planner"}}]},
        "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
        {"timeUnixNano":"1544712660300000000","severityNumber":10,"severityText":"Information",
        "body":{"stringValue":"Example"},"attributes":[{"key":"m","value":{"kvlistValue":{"values":[
        {"key":"k","value":{"stringValue":"v"}}]}}}],"droppedAttributesCount":1,"flags":1,
        "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
        "observedTimeUnixNano":"1544712660300000001"},
        {"body":{"kvlistValue":{"values":[{"key":"prompt","value":{"stringValue":"hi"}}]}},
        "eventName":"gen_ai.client.inference.operation.details"}]}]}]}"#,
    );
}

/// One metric of each type, as OTLP/JSON.
const ALL_METRICS: &str = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
    {"name":"g","description":"d","unit":"1","gauge":{"dataPoints":[{"timeUnixNano":"5",
        "asDouble":1.5,"flags":1}]}},
    {"name":"s","sum":{"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"5","exemplars":[
    {"timeUnixNano":"4","spanId":"eee19b7ec3c1b174",
        "traceId":"5b8efff798038103d269b633813fc60c","asInt":"-3",
    "filteredAttributes":[{"key":"k","value":{"intValue":"1"}}]}],"asInt":"-9223372036854775808"}],
    "aggregationTemporality":2,"isMonotonic":true}},
    {"name":"h","histogram":{"dataPoints":[{"timeUnixNano":"5","count":"18446744073709551615",
        "sum":0.0,
    "bucketCounts":["1","18446744073709551615"],"explicitBounds":[-1.5,"NaN"],
        "min":0.0,"max":"Infinity"}],
    "aggregationTemporality":1}},
    {"name":"e","exponentialHistogram":{"dataPoints":[{"attributes":[{"key":"k",
        "value":{"boolValue":true}}],
    "timeUnixNano":"5","count":"3","scale":-2,"zeroCount":"1","positive":{"offset":-1,
        "bucketCounts":["0","2","300"]},
    "negative":{},"zeroThreshold":0.25}]}},
    {"name":"q","summary":{"dataPoints":[{"count":"2","sum":3.5,"quantileValues":[
        {"quantile":0.5,"value":1.0}]}]},
    "metadata":[{"key":"k","value":{"stringValue":"v"}}]}]}]}]}"#;

#[test]
fn metrics_of_every_type_round_trip() {
    round_trips(&METRICS, ALL_METRICS);
}

#[test]
fn metrics_mean_what_they_say() {
    let bytes = read(&METRICS, ALL_METRICS);
    let request = ExportMetricsServiceRequest::decode(&*bytes).unwrap();
    let metrics: Vec<Metric> = request.resource_metrics[0].scope_metrics[0].metrics.clone();
    let Some(metric::Data::Sum(sum)) = &metrics[1].data else { panic!("{metrics:?}") };
    let expected = Some(number_data_point::Value::AsInt(i64::MIN));
    assert_eq!((sum.data_points[0].value, sum.is_monotonic), (expected, true));
    let Some(metric::Data::Histogram(h)) = &metrics[2].data else { panic!("{metrics:?}") };
    assert_eq!(h.data_points[0].bucket_counts, [1, u64::MAX]);
    assert_eq!((h.data_points[0].sum, h.data_points[0].min), (Some(0.0), Some(0.0)));
    let Some(metric::Data::ExponentialHistogram(e)) = &metrics[3].data else { panic!() };
    assert_eq!((e.data_points[0].scale, e.data_points[0].max), (-2, None));
    let positive = e.data_points[0].positive.clone().unwrap();
    assert_eq!((positive.offset, positive.bucket_counts), (-1, vec![0, 2, 300]));
    let two = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{},"sum":{}}]}]}]}"#;
    refused(&METRICS, two, "excludes a key");
}

#[test]
fn any_message_of_the_tables_can_be_read_alone() {
    let bytes = read(&ANY_VALUE, r#"{"stringValue":"x"}"#);
    assert_eq!(to_json(&ANY_VALUE, &bytes), br#"{"stringValue":"x"}"#);
}
