//! What receivers answer: success, partial success, errors, over gRPC and HTTP.
//!
//! One exception to C41 is not looked at: what is no request at all (a broken head, more headers
//! than are taken) is refused by the HTTP library with an empty body. It has no media type that an
//! answer could have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::bench::{Bench, grpc, grpc_status, gzip, same};
use super::support::Answer;
use super::table::{Checked, Row, Why, apart, both, ensure, server};
use super::wire::{self, EXPORT, JSON, PROTOBUF, Reply, Status, framed, one_span};

/// Method, path, headers beside the type, body, status.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>, u16);

const PATHS: [&str; 3] = ["/v1/traces", "/v1/logs", "/v1/metrics"];
const METHODS: [&str; 3] = [
    EXPORT,
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
];

/// `google.rpc.Status` with its details.
#[derive(prost::Message)]
struct Detailed {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

impl Detailed {
    fn has(&self, name: &str) -> bool {
        self.details.iter().any(|any| any.type_url.ends_with(&format!("/google.rpc.{name}")))
    }
}

pub const ROWS: &[Row] = &[
    server("C24", "SHOULD", "an empty request is answered with success", |b| {
        for path in PATHS {
            b.posted(path, &[PROTOBUF], "", 200)?;
            b.posted(path, &[JSON], "{}", 200)?;
        }
        for method in METHODS {
            same(grpc_status(&grpc(&b.grpc, method, &[], framed(false, b""))?), Some(0))?;
        }
        // Envelopes without telemetry: a resource group, and one with a scope group.
        b.protobuf(&[0x0a, 0], true)?;
        b.protobuf(&[0x0a, 2, 0x12, 0], true)?;
        b.json(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}"#, 200)
    }),
    server("C25", "MUST", "the success body is Export<Signal>ServiceResponse", |b| {
        for path in PATHS {
            let reply = b.posted(path, &[PROTOBUF], "", 200)?;
            decoded(path, &reply.body)?;
            let reply = b.posted(path, &[JSON], "{}", 200)?;
            let json: Result<serde_json::Value, _> = serde_json::from_slice(&reply.body);
            ensure(json.is_ok_and(|json| json.is_object()), || format!("{path}: no JSON object"))?;
        }
        let reply = b.call(&[], framed(false, &one_span()), 0)?;
        decoded("/v1/traces", reply.body.get(5..).unwrap_or(b"\xff"))
    }),
    server("C26", "MUST", "success is HTTP 200 and no other 2xx", |b| {
        b.posted("/v1/traces", &[PROTOBUF], one_span(), 200)?;
        b.json("{}", 200)
    }),
    server("C27", "MUST", "partial_success is unset on full success", |b| {
        let reply = b.posted("/v1/traces", &[PROTOBUF], one_span(), 200)?;
        unset(&reply.body)?;
        let reply = b.call(&[], framed(false, &one_span()), 0)?;
        unset(reply.body.get(5..).unwrap_or_default())?;
        let reply = b.posted("/v1/traces", &[JSON], "{}", 200)?;
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        ensure(json.get("partialSuccess").is_none(), || json.to_string())
    }),
    server("C28", "MUST", "partial success: 200, with the count of what was rejected", partial),
    server("C29", "SHOULD", "error messages are in English", |b| {
        let reply = b.posted("/v1/traces", &[PROTOBUF], "garbage", 400)?;
        let text = status(&reply)?.message;
        ensure(text.is_ascii() && text.contains(' '), || format!("{text:?}"))
    }),
    server("C30", "MAY", "a warning on full success", partial),
    server("C32", "SHOULD", "gRPC: what may pass is UNAVAILABLE", |b| overloaded(b).map(drop)),
    server("C33", "RECOMMENDED", "gRPC: what is wrong for good is INVALID_ARGUMENT", |b| {
        Ok(b.call(&[], framed(false, b"garbage"), 3).map(drop)?)
    }),
    server("C38", "SHOULD", "the delay is long enough and not too long", |b| {
        let (grpc, http) = overloaded(b)?;
        let millis = grpc.header("grpc-retry-pushback-ms").and_then(|ms| ms.parse::<u64>().ok());
        let seconds = http.header("retry-after").and_then(|s| s.parse::<u64>().ok());
        // SDKs give up after 10 s in all.
        let right = |delay: Option<u64>, second: u64| {
            delay.is_some_and(|delay| (1..=5 * second).contains(&delay))
        };
        ensure(right(millis, 1000) && right(seconds, 1), || format!("{millis:?} ms, {seconds:?} s"))
    }),
    server("C39", "-", "gRPC: an unknown method or service is UNIMPLEMENTED", |b| {
        for path in ["/x.Y/Export", "/opentelemetry.proto.collector.trace.v1.TraceService/Import"] {
            same(grpc_status(&grpc(&b.grpc, path, &[], framed(false, b""))?), Some(12))?;
        }
        Ok(())
    }),
    server("C41", "MUST", "the body of every 4xx and 5xx is a Status in the request's type", |b| {
        let wide = vec![0; (64 << 20) + 1];
        let cases: [Case<'_>; 6] = [
            ("POST", "/v1/traces", &[], b"garbage".to_vec(), 400),
            ("POST", "/v1/traces", &[("content-encoding", "gzip")], b"x".to_vec(), 400),
            ("POST", "/v1/nothing", &[], vec![], 404),
            ("GET", "/v1/traces", &[], vec![], 405),
            ("POST", "/v1/traces", &[], wide, 413),
            ("POST", "/v1/traces", &[("content-encoding", "lzma")], vec![], 415),
        ];
        for (method, path, more, body, expected) in cases {
            for kind in [PROTOBUF, JSON] {
                let headers = [&[kind], more].concat();
                let reply = wire::send(false, method, &b.http, path, &headers, body.clone())?;
                let what = format!("{method} {path} {more:?} {}", kind.1);
                ensure(reply.status == expected, || format!("{what}: {}", reply.status))?;
                let right = reply.header("content-type") == Some(kind.1);
                ensure(right, || format!("{what}: {:?}", reply.header("content-type")))?;
                let said = status(&reply).map_err(|why| named(why, &what))?;
                ensure(!said.message.is_empty(), || format!("{what}: no message"))?;
            }
        }
        let reply = b.posted("/v1/traces", &[("content-type", "text/plain")], "x", 415)?;
        status(&reply)?;
        if b.is_ours() {
            status(&overloaded(b)?.1)?;
        }
        Ok(())
    }),
    server("C43", "SHOULD", "Status.message is for developers", |b| {
        let text = status(&b.posted("/v1/traces", &[JSON], r#"{"a": }"#, 400)?)?.message;
        ensure(text.len() > 10, || format!("{text:?}"))
    }),
    both("C45", "MUST", "what cannot be decoded is 400, with BadRequest (SHOULD)", |b| {
        let reply = b.posted("/v1/traces", &[PROTOBUF], "garbage", 400)?;
        let status = Detailed::decode(&*reply.body).map_err(|e| e.to_string())?;
        ensure(status.has("BadRequest"), || format!("{:?}", status.details))?;
        let reply = b.posted("/v1/traces", &[JSON], "garbage", 400)?;
        let json: serde_json::Value =
            serde_json::from_slice(&reply.body).map_err(|e| e.to_string())?;
        let kind = json["details"][0]["@type"].as_str().unwrap_or_default();
        ensure(kind.ends_with("google.rpc.BadRequest"), || json.to_string())
    }),
    server("C46", "SHOULD", "HTTP overload is 429 or 503, with Retry-After", |b| {
        let (_, http) = overloaded(b)?;
        ensure([429, 503].contains(&http.status), || format!("{}", http.status))?;
        ensure(http.header("retry-after").is_some(), || "no Retry-After".to_owned())
    }),
    server("C50", "MUST", "the response's Content-Type is the request's", |b| {
        for kind in [PROTOBUF, JSON] {
            for (body, expected) in [("{}", 200), ("garbage", 400)] {
                let body = if kind == PROTOBUF && expected == 200 { "" } else { body };
                let reply = b.posted("/v1/traces", &[kind], body, expected)?;
                same(reply.header("content-type"), Some(kind.1))?;
            }
        }
        Ok(())
    }),
    both("C51", "MUST", "those are application/x-protobuf and application/json", |b| {
        b.posted("/v1/traces", &[PROTOBUF], one_span(), 200)?;
        b.json("{}", 200)
    }),
    both("C52", "-", "gzip is announced; a client may ask for a gzipped answer", |b| {
        let headers = [PROTOBUF, ("accept-encoding", "gzip")];
        let reply = b.posted("/v1/traces", &headers, one_span(), 200)?;
        let plain = reply.header("content-encoding").is_none() && reply.body.is_empty();
        let packed = reply.header("content-encoding") == Some("gzip");
        ensure(plain || packed, || format!("{:?}", reply.header("content-encoding")))?;
        let undeclared = b.post("/v1/traces", &[PROTOBUF], gzip(&one_span()))?;
        same(undeclared.status, 400)
    }),
    server("C53", "-", "media types in all spellings; unknown and missing ones are 415", |b| {
        for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
        {
            b.posted("/v1/traces", &[("content-type", kind)], "{}", 200)?;
        }
        b.posted("/v1/traces", &[("content-type", "APPLICATION/X-PROTOBUF")], one_span(), 200)?;
        for kind in ["text/plain", "application/jsonx", "application/cbor", ""] {
            let reply = b.posted("/v1/traces", &[("content-type", kind)], "{}", 415)?;
            status(&reply)?;
        }
        status(&b.posted("/v1/traces", &[], "{}", 415)?).map(drop)
    }),
];

fn partial(b: &Bench) -> Checked {
    match b.is_ours() {
        true => apart("a request is taken or not; what a processor drops is a counted decision"),
        false => apart("cannot be provoked from outside"),
    }
}

/// The status in the body of an error.
fn status(reply: &Reply) -> Result<Status, Why> {
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if reply.header("content-type") == Some("application/json") {
        let json: serde_json::Value =
            serde_json::from_slice(&reply.body).map_err(|e| format!("{e}: {text:?}"))?;
        let code = json["code"].as_u64().unwrap_or_default() as u32;
        let message = json["message"].as_str().ok_or_else(|| format!("no message: {text:?}"))?;
        return Ok(Status { code, message: message.to_owned() });
    }
    Ok(Status::decode(&*reply.body).map_err(|e| format!("{e}: {text:?}"))?)
}

fn named(why: Why, what: &str) -> Why {
    match why {
        Why::Fails(text) => Why::Fails(format!("{what}: {text}")),
        apart => apart,
    }
}

fn decoded(path: &str, body: &[u8]) -> Checked {
    let right = match path {
        "/v1/traces" => ExportTraceServiceResponse::decode(body).is_ok(),
        "/v1/logs" => ExportLogsServiceResponse::decode(body).is_ok(),
        _ => ExportMetricsServiceResponse::decode(body).is_ok(),
    };
    ensure(right, || format!("{path}: {body:?}"))
}

fn unset(body: &[u8]) -> Checked {
    let response = ExportTraceServiceResponse::decode(body).map_err(|e| e.to_string())?;
    ensure(response.partial_success.is_none(), || format!("{response:?}"))
}

/// The answers over gRPC and HTTP while what stands behind cannot take more. They must be those of
/// overload.
fn overloaded(b: &Bench) -> Result<(Reply, Reply), Why> {
    let sink = b.sink()?;
    sink.answer_next([Answer::Grpc(14, vec![]), Answer::Grpc(14, vec![])]);
    let grpc = b.call(&[], framed(false, &one_span()), 14);
    let http = b.posted("/v1/traces", &[PROTOBUF], one_span(), 503);
    let (grpc, http) = (grpc?, http?);
    let details = grpc.header("grpc-status-details-bin").unwrap_or_default();
    let details = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).unwrap_or_default();
    let details = Detailed::decode(&*details).map_err(|e| e.to_string())?;
    ensure(details.has("RetryInfo") && details.code == 14, || format!("{details:?}"))?;
    let trailers_only = grpc.headers.contains_key("grpc-status");
    ensure(trailers_only, || "some clients look for the code in headers alone".to_owned())?;
    Ok((grpc, http))
}
