//! The JSON mapping.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::bench::{Bench, same};
use super::support::{Daemon, Sink, client, daemon};
use super::table::{Checked, Row, Why, both, ensure};
use super::wire::JSON;

pub const ROWS: &[Row] = &[
    both("C54", "-", "ids are hexadecimal in either case; base64 is refused", |b| {
        let ids = r#""traceId":"5B8EFFF798038103D269B633813fc60c","spanId":"EEE19B7EC3C1B174""#;
        if let Some(span) = one(b, &span(ids))? {
            same(&span.trace_id[..4], &[0x5b, 0x8e, 0xff, 0xf7])?;
            same(span.span_id.len(), 8)?;
        }
        for id in ["W47/95gDgQPSabYzgT/GDA==", "abc", "xy"] {
            b.json(&span(&format!(r#""traceId":"{id}""#)), 400)?;
            b.json(&span(&format!(r#""parentSpanId":"{id}""#)), 400)?;
            b.json(&span(&format!(r#""links":[{{"spanId":"{id}"}}]"#)), 400)?;
        }
        Ok(())
    }),
    both("C55", "MUST", "enums are integers; names are refused", |b| {
        if let Some(span) = one(b, &span(r#""kind":3,"status":{"code":2}"#))? {
            same((span.kind, span.status.map(|status| status.code)), (3, Some(2)))?;
        }
        b.json(&span(r#""kind":"SPAN_KIND_SERVER""#), 400)
    }),
    both("C56", "MUST", "unknown names are ignored at every level", |b| {
        let unknown = r#""x":{"y":[1,{"z":null}]},"w":[[]],"#;
        let any = format!(r#"{{{unknown}"stringValue":"v"}}"#);
        let attribute = format!(r#"{{{unknown}"key":"k","value":{any}}}"#);
        let fields = format!(r#"{unknown}"name":"n","attributes":[{attribute}]"#);
        let text = format!(
            r#"{{{unknown}"resourceSpans":[{{{unknown}"scopeSpans":[{{{unknown}"spans":[{{{fields}}}]}}]}}]}}"#
        );
        if let Some(span) = one(b, &text)? {
            same((span.name.as_str(), span.attributes.len()), ("n", 1))?;
        }
        Ok(())
    }),
    both("C57", "MUST", "keys are lowerCamelCase alone", |b| {
        let fields = r#""name":"n","dropped_attributes_count":"x","start_time_unix_nano":[]"#;
        let Some(span) = one(b, &span(fields))? else { return Ok(()) };
        same((span.dropped_attributes_count, span.start_time_unix_nano), (0, 0))
    }),
    both("C58", "-", "64-bit integers as strings and as numbers, exactly", |b| {
        for (text, expected) in [
            ("\"18446744073709551615\"", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("1e3", Some(1000)),
            ("\"1000\"", Some(1000)),
            ("1.5", None),
            ("-1", None),
            ("18446744073709551616", None),
        ] {
            let text = span(&format!(r#""startTimeUnixNano":{text}"#));
            let Some(expected) = expected else {
                b.json(&text, 400)?;
                continue;
            };
            if let Some(span) = one(b, &text)? {
                same(span.start_time_unix_nano, expected)?;
            }
        }
        for (text, expected) in [
            ("\"-1\"", -1),
            ("\"-9223372036854775808\"", i64::MIN),
            ("9223372036854775807", i64::MAX),
        ] {
            value(b, &format!(r#"{{"intValue":{text}}}"#), Value::IntValue(expected))?;
        }
        Ok(())
    }),
    both("C59", "-", "bytes are base64, standard or URL-safe, padded or not", |b| {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            let any = format!(r#"{{"bytesValue":"{text}"}}"#);
            value(b, &any, Value::BytesValue(vec![0xfb, 0xff]))?;
        }
        Ok(())
    }),
    both("C60", "-", "doubles: numbers, NaN, Infinity, exponents", |b| {
        for (text, expected) in [
            ("1.5", 1.5),
            ("-2e-3", -0.002),
            ("\"Infinity\"", f64::INFINITY),
            ("\"-Infinity\"", f64::NEG_INFINITY),
            ("\"1.5\"", 1.5),
            ("3", 3.0),
        ] {
            let any = format!(r#"{{"doubleValue":{text}}}"#);
            value(b, &any, Value::DoubleValue(expected))?;
        }
        let found = any(b, r#"{"doubleValue":"NaN"}"#)?;
        let is_nan = |value: Value| matches!(value, Value::DoubleValue(found) if found.is_nan());
        ensure(found.is_none_or(|found| found.is_some_and(is_nan)), || "not NaN".to_owned())
    }),
    both("C61", "-", "null is the default", |b| {
        let fields = r#""name":null,"kind":null,"attributes":null,"status":null,"traceId":null"#;
        b.json(&span(fields), 200)?;
        b.json(r#"{"resourceSpans":null}"#, 200)
    }),
    both("C62", "-", "duplicate keys: refused, or the last wins", |b| {
        let reply = b.post("/v1/traces", &[JSON], span(r#""name":"a","name":"b""#))?;
        match reply.status {
            400 => Ok(()),
            200 => match b.sink() {
                Ok(_) => {
                    let span = one(b, &span(r#""name":"a","name":"b""#))?;
                    same(span.map(|span| span.name), Some("b".to_owned()))
                }
                Err(_) => Ok(()),
            },
            other => Err(format!("HTTP {other}").into()),
        }
    }),
    both("C63", "-", "two values in one AnyValue are refused", |b| {
        let any = r#"{"stringValue":"a","intValue":"1"}"#;
        b.json(&span(&format!(r#""attributes":[{{"key":"k","value":{any}}}]"#)), 400)
    }),
    both("C64", "-", "empty values, bytes, mixed arrays, maps", |b| {
        same(any(b, "{}")?.flatten(), None)?;
        let mixed = r#"{"arrayValue":{"values":[{"intValue":1},{"stringValue":"a"},{}]}}"#;
        b.json(&attribute(mixed), 200)?;
        let map = r#"{"kvlistValue":{"values":[{"key":"k","value":{"boolValue":true}}]}}"#;
        b.json(&attribute(map), 200)
    }),
    both("C65", "-", "duplicate attribute keys pass unchanged", |b| {
        let twice = r#"{"key":"k","value":{"intValue":1}}"#;
        let Some(span) = one(b, &span(&format!(r#""attributes":[{twice},{twice}]"#)))? else {
            return Ok(());
        };
        same(span.attributes.len(), 2)
    }),
    both("C66", "-", "ids of other lengths and of zeros pass through", |b| {
        for id in ["", "00", "00000000000000000000000000000000"] {
            let Some(span) = one(b, &span(&format!(r#""traceId":"{id}""#)))? else { continue };
            same(span.trace_id.len(), id.len() / 2)?;
        }
        Ok(())
    }),
    both("C67", "-", "examples survive JSON to protobuf to JSON", golden),
    both("C68", "-", "a BOM, bytes behind the value, an array at the top: 400", |b| {
        for text in ["\u{feff}{}", "{} {}", "{}x", "[]", "[{}]", "null x", "1", "\"\""] {
            b.json(text, 400)?;
        }
        Ok(())
    }),
    both("C69", "-", "an unpaired surrogate: 400", |b| {
        for name in [r"\uD800", r"\uDC00", r"\uD800x", r"\uD800\uD800"] {
            b.json(&span(&format!(r#""name":"{name}""#)), 400)?;
        }
        if let Some(span) = one(b, &span(r#""name":"\uD83D\uDE00""#))? {
            same(span.name.as_str(), "\u{1f600}")?;
        }
        Ok(())
    }),
];

/// A request with one span of these fields.
fn span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

fn attribute(any: &str) -> String {
    span(&format!(r#""attributes":[{{"key":"k","value":{any}}}]"#))
}

/// The one span of `text` as it arrived, where that is seen.
fn one(b: &Bench, text: &str) -> Result<Option<Span>, Why> {
    let request = b.through::<ExportTraceServiceRequest>("/v1/traces", JSON, text.to_owned())?;
    let Some(mut request) = request else { return Ok(None) };
    let span = request.resource_spans.pop().and_then(|mut group| group.scope_spans.pop());
    let span = span.and_then(|mut group| group.spans.pop());
    Ok(Some(span.ok_or_else(|| "the span did not arrive".to_owned())?))
}

/// The value of an attribute as it arrived, where that is seen.
fn any(b: &Bench, any: &str) -> Result<Option<Option<Value>>, Why> {
    let Some(mut span) = one(b, &attribute(any))? else { return Ok(None) };
    let value = span.attributes.pop().and_then(|pair| pair.value);
    Ok(Some(value.and_then(|any| any.value)))
}

fn value(b: &Bench, text: &str, expected: Value) -> Checked {
    let found = any(b, text)?;
    ensure(found.is_none_or(|found| found.as_ref() == Some(&expected)), || {
        format!("{text} is not {expected:?}")
    })
}

const TRACES: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",
"value":{"stringValue":"my.service"}}]},"scopeSpans":[{"scope":{"name":"my.library",
"version":"1.0.0","attributes":[{"key":"my.scope.attribute","value":{"stringValue":"some"}}]},
"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
"parentSpanId":"eee19b7ec3c1b173","name":"I'm a server span","startTimeUnixNano":
"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,"attributes":[
{"key":"my.span.attr","value":{"stringValue":"some value"}}],"events":[{"name":"e",
"timeUnixNano":"1544712660500000000"}],"status":{"code":1}}]}]}]}"#;

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":
{"stringValue":"my.service"}}]},"scopeLogs":[{"scope":{"name":"my.library"},"logRecords":[{
"timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000000",
"severityNumber":10,"severityText":"Information","traceId":"5b8efff798038103d269b633813fc60c",
"spanId":"eee19b7ec3c1b174","body":{"stringValue":"Example log record"},"attributes":[
{"key":"int.attribute","value":{"intValue":"10"}},{"key":"map.attribute","value":{"kvlistValue":
{"values":[{"key":"some.map.key","value":{"stringValue":"some value"}}]}}}]}]}]}]}"#;

const METRICS: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[]},"scopeMetrics":[{"scope":
{"name":"my.library"},"metrics":[{"name":"my.counter","unit":"1","sum":{"aggregationTemporality":
1,"isMonotonic":true,"dataPoints":[{"asDouble":5,"startTimeUnixNano":"1544712660300000000",
"timeUnixNano":"1544712660300000000"}]}},{"name":"my.histogram","histogram":{
"aggregationTemporality":1,"dataPoints":[{"count":"2","sum":2,"bucketCounts":["1","1"],
"explicitBounds":[1],"min":0,"max":2}]}}]}]}]}"#;

/// The examples mean what the official types read out of them, and as JSON they mean the same
/// again behind an exporter that writes JSON.
fn golden(b: &Bench) -> Checked {
    let traces: ExportTraceServiceRequest = read(TRACES)?;
    if let Some(found) = b.through::<ExportTraceServiceRequest>("/v1/traces", JSON, TRACES)? {
        same(found, traces.clone())?;
    }
    let logs = b.through::<ExportLogsServiceRequest>("/v1/logs", JSON, LOGS)?;
    if let Some(found) = logs {
        same(found, read(LOGS)?)?;
    }
    let metrics = b.through::<ExportMetricsServiceRequest>("/v1/metrics", JSON, METRICS)?;
    if let Some(found) = metrics {
        same(found, read(METRICS)?)?;
    }
    if !b.is_ours() {
        return Ok(());
    }
    let sink = Sink::start();
    let exporter = format!(
        "otlp_http: {{endpoint: \"{}\", encoding: json, compression: none}}",
        sink.endpoint()
    );
    let daemon = Daemon::start(
        &daemon::config(&exporter, &["otlp_http"]).replace("[sensitive, baggage, orphans]", "[]"),
    );
    client::post_json(&daemon.http(), "/v1/traces", TRACES);
    let arrived = sink.wait_for_requests(1);
    // The sink has read the JSON with the official types.
    same(arrived[0].traces(), traces)
}

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Why> {
    Ok(serde_json::from_str(text).map_err(|error| error.to_string())?)
}
