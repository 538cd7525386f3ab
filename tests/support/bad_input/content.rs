//! Protobuf and JSON.

use super::wire::{JSON, PROTOBUF, call, framed, of_size, one_span, post, spans};
use super::{Checked, Row, Target, row};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

pub const ROWS: &[Row] = &[
    row("B26", "an empty body", |t| {
        for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
            post(t, path, &[PROTOBUF], "", 200)?;
            post(t, path, &[JSON], "{}", 200)?;
        }
        call(t, &[], framed(false, b""), 0).map(drop)
    }),
    row("B27", "a request cut off at every byte", |t| {
        let whole = one_span();
        for end in 0..whole.len() {
            let cut = &whole[..end];
            let status = if end == 0 { 200 } else { 400 };
            protobuf(t, cut, status)?;
        }
        Ok(())
    }),
    row("B28", "unknown groups, 10 000 deep", |t| {
        let deep = [[0x4b].repeat(10_000), [0x4c].repeat(10_000)].concat();
        protobuf(t, &deep, 400)
    }),
    row("B29", "impossible field numbers and wire types", |t| {
        // Field 0; field 2^29; wire types 6 and 7; a varint of eleven bytes.
        let number = [0x80, 0x80, 0x80, 0x80, 0x10, 0];
        let varint = [[0x08].to_vec(), [0x80].repeat(10), vec![0]].concat();
        for body in [&[0x02, 0][..], &number, &[0x0e, 0], &[0x0f, 0], &varint] {
            protobuf(t, body, 400)?;
        }
        Ok(())
    }),
    row("B30", "unknown fields of every wire type", |t| {
        // Fields 999 to 1003: varint, fixed64, bytes, group, fixed32.
        let unknown = [
            &[0xb8, 0x3e, 5][..],
            &[0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xca, 0x3e, 1, 9],
            &[0xd3, 0x3e, 0x08, 1, 0xd4, 0x3e],
            &[0xdd, 0x3e, 1, 2, 3, 4],
        ];
        protobuf(t, &[one_span(), unknown.concat()].concat(), 200)
    }),
    row("B31", "enums that nobody knows", |t| {
        let with = |kind| spans(vec![Span { kind, ..Span::default() }]);
        protobuf(t, &with(i32::MAX), 200)?;
        protobuf(t, &with(-1), 200)
    }),
    row("B32", "times that cannot be", |t| {
        let with = |start, end| {
            let (start_time_unix_nano, end_time_unix_nano) = (start, end);
            spans(vec![Span { start_time_unix_nano, end_time_unix_nano, ..Span::default() }])
        };
        for (start, end) in [(2, 1), (0, 0), (u64::MAX, u64::MAX)] {
            protobuf(t, &with(start, end), 200)?;
        }
        Ok(())
    }),
    row("B33", "metrics on the path of traces", |t| {
        let metrics = vec![Metric { name: "tokens".to_owned(), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics =
            vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        // On the wire a metric with a name is a span with an odd trace id, which passes.
        protobuf(t, &ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(), 200)
    }),
    row("B34", "keys in snake_case", |t| json(t, r#"{"resource_spans": 5}"#, 200)),
    row("B35", "ids that are no hexadecimal numbers", |t| {
        for id in ["abc", "zz", "AAECAwQFBgc="] {
            json(t, &span(&format!(r#""traceId": "{id}""#)), 400)?;
        }
        Ok(())
    }),
    row("B36", "numbers above 2^53", |t| {
        for number in ["18446744073709551615", "\"18446744073709551615\"", "9007199254740993"] {
            json(t, &span(&format!(r#""startTimeUnixNano": {number}"#)), 200)?;
        }
        json(t, &span(r#""startTimeUnixNano": 18446744073709551616"#), 400)
    }),
    row("B37", "a key of 1 MiB; a million unknown keys", |t| {
        json(t, &span(&format!(r#""{}": 1"#, "k".repeat(1 << 20))), 200)?;
        let keys: Vec<String> = (0..1_000_000).map(|k| format!(r#""k{k}":1"#)).collect();
        json(t, &span(&keys.join(",")), 200)
    }),
    row("B38", "text that is not JSON", |t| {
        let texts = [
            "{",
            "[]",
            "{} {}",
            "\u{feff}{}",
            r#"{"a": 1,}"#,
            r#"{/* a */}"#,
            r#"{"a": NaN}"#,
            r#"{"a": "\x41"}"#,
            "{\"a\": \"\n\"}",
        ];
        for text in texts {
            json(t, text, 400)?;
        }
        json(t, &span(r#""name": "\ud800""#), 400)
    }),
    row("B39", "two values in one", |t| {
        let value = r#"{"stringValue": "a", "intValue": "1"}"#;
        json(t, &span(&format!(r#""attributes": [{{"key": "a", "value": {value}}}]"#)), 400)
    }),
    row("B42", "gRPC messages of wrong length or number", |t| {
        let message = framed(false, &one_span());
        let longer = [&[0, 0, 0, 1, 0][..], &one_span()].concat();
        let flag = [&[2][..], &message[1..]].concat();
        for body in [message.repeat(2), longer, vec![], vec![0, 0], message[..9].to_vec(), flag] {
            call(t, &[], body, 13)?;
        }
        call(t, &[], framed(true, &one_span()), 13)?;
        call(t, &[], [&[0][..], &u32::MAX.to_be_bytes()].concat(), 8).map(drop)
    }),
    row("B41", "an unknown grpc-encoding", |t| {
        let reply = call(t, &[("grpc-encoding", "lzma")], framed(true, &one_span()), 12)?;
        let accepted = reply.header("grpc-accept-encoding").unwrap_or_default();
        if accepted.contains("gzip") { Ok(()) } else { Err(format!("accepts {accepted:?}")) }
    }),
    row("B43", "application/grpc+json", |t| {
        call(t, &[("content-type", "application/grpc+json")], framed(false, b"{}"), 12).map(drop)
    }),
    row("B2", "an unknown method", |t| {
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Import";
        super::wire::call_at(&t.grpc, path, &[], framed(false, b""), 12).map(drop)
    }),
    row("B48", "gRPC on the HTTP port", |t| {
        let message = framed(false, &of_size(300_000));
        super::wire::call_at(&t.http, super::wire::EXPORT, &[], message, 0).map(drop)
    }),
];

/// A JSON request with one span of these fields.
fn span(fields: &str) -> String {
    format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{{fields}}}]}}]}}]}}"#)
}

fn json(target: &Target, text: &str, status: u16) -> Checked {
    let short: String = text.chars().take(120).collect();
    let sent = post(target, "/v1/traces", &[JSON], text.to_owned(), status);
    sent.map_err(|what| format!("{short}: {what}"))
}

/// The same body over HTTP and gRPC.
fn protobuf(target: &Target, body: &[u8], status: u16) -> Checked {
    let code = if status == 200 { 0 } else { 3 };
    let sent = post(target, "/v1/traces", &[PROTOBUF], body.to_vec(), status);
    let sent = sent.and_then(|()| call(target, &[], framed(false, body), code).map(drop));
    sent.map_err(|what| format!("{:02x?}: {what}", &body[..body.len().min(40)]))
}
