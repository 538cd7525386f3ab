//! Sending exactly what a test says, and reading whatever comes back.
#![allow(dead_code, reason = "each test uses its share of this")]

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Times that a test can wait for; everything else as by default. For `protocols.http`.
pub const CONFIG: &str =
    "{endpoint: \"127.0.0.1:0\", read_header_timeout: 1s, read_timeout: 2s, idle_timeout: 3s}";

/// Where OTLP/gRPC and OTLP/HTTP listen, as `127.0.0.1:4317`.
pub struct Target {
    pub grpc: String,
    pub http: String,
}

/// What is wrong, or nothing.
pub type Checked = Result<(), String>;

/// How long a row waits for what must happen. Only a failing one waits as long.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const GZIP: (&str, &str) = ("content-encoding", "gzip");

/// The bytes of a request with one span.
pub fn one_span() -> Vec<u8> {
    let name = "chat".to_owned();
    spans(vec![Span { trace_id: vec![1; 16], span_id: vec![2; 8], name, ..Span::default() }])
}

pub fn spans(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A valid request of exactly `size` bytes, nearly all of them one attribute.
pub fn of_size(size: usize) -> Bytes {
    let build = |len: usize| {
        let value = Some(AnyValue { value: Some(Value::StringValue("x".repeat(len))) });
        let attribute = KeyValue { key: "prompt".to_owned(), value, ..KeyValue::default() };
        spans(vec![Span { attributes: vec![attribute], ..Span::default() }])
    };
    let extra = build(size - 100).len() - (size - 100);
    let bytes = build(size - extra);
    assert_eq!(bytes.len(), size);
    Bytes::from(bytes)
}

/// One gRPC message.
pub fn framed(compressed: bool, message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(compressed.into());
    body.put_u32(u32::try_from(message.len()).expect("a message"));
    body.put_slice(message);
    body.freeze()
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).or_else(|| self.trailers.get(name))?.to_str().ok()
    }
}

/// `google.rpc.Status`, of which only this matters.
#[derive(prost::Message)]
pub struct Status {
    #[prost(uint32, tag = "1")]
    pub code: u32,
    #[prost(string, tag = "2")]
    pub message: String,
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One request on a connection of its own.
pub fn send(
    http2: bool,
    method: &str,
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, String> {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).map_err(|e| e.to_string())?;
    let work = async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
        let response = client.request(request).await.map_err(|e| format!("{e:?}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("{e:?}"))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        Ok(Reply { status, headers, body: body.to_bytes(), trailers })
    };
    let in_time = runtime().block_on(async { tokio::time::timeout(PATIENCE, work).await });
    in_time.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// POSTs to the HTTP port; the answer must have `status`, and a body as OTLP demands.
pub fn post(
    target: &Target,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    status: u16,
) -> Checked {
    let reply = send(false, "POST", &target.http, path, headers, body)?;
    let json = headers.iter().any(|h| h.0 == "content-type" && h.1.contains("json"));
    check_http(&reply, json, status)
}

/// The form of an answer over HTTP.
pub fn check_http(reply: &Reply, json: bool, status: u16) -> Checked {
    let (body, found) = (String::from_utf8_lossy(&reply.body).into_owned(), reply.status);
    if found != status {
        return Err(format!("{found} instead of {status}: {body:?}"));
    }
    let kind = if json { "application/json" } else { "application/x-protobuf" };
    if reply.header("content-type") != Some(kind) {
        return Err(format!("Content-Type {:?} instead of {kind}", reply.header("content-type")));
    }
    if status == 200 {
        let right = if json { "{}" } else { "" };
        return if body == right { Ok(()) } else { Err(format!("the body is {body:?}")) };
    }
    let message = match json {
        true => {
            let status: serde_json::Value =
                serde_json::from_slice(&reply.body).map_err(|e| format!("{e}: {body:?}"))?;
            status["message"].as_str().unwrap_or_default().to_owned()
        }
        false => Status::decode(&*reply.body).map_err(|e| format!("{e}: {body:?}"))?.message,
    };
    if message.is_empty() {
        return Err(format!("no message in {body:?}"));
    }
    Ok(())
}

/// Calls the gRPC port with a body as it is; the answer must have `code`.
pub fn call(
    target: &Target,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    code: u32,
) -> Result<Reply, String> {
    call_at(&target.grpc, EXPORT, headers, body, code)
}

/// The same, for any port and method.
pub fn call_at(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    code: u32,
) -> Result<Reply, String> {
    let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
    all.retain(|(name, _)| headers.iter().all(|(other, _)| name != other));
    all.extend(headers);
    let reply = send(true, "POST", address, path, &all, body)?;
    let found = reply.header("grpc-status").and_then(|s| s.parse::<u32>().ok());
    let message = reply.header("grpc-message").unwrap_or_default();
    if (reply.status, found) != (200, Some(code)) {
        let status = reply.status;
        return Err(format!("{status} and {found:?} instead of {code}: {message}"));
    }
    let headers_only = code == 0 || reply.headers.contains_key("grpc-status");
    let retry = reply.header("grpc-status-details-bin").is_some();
    if !headers_only || retry != (code == 14) || (code != 0) == message.is_empty() {
        return Err(format!("wrong form: {:?} {:?}", reply.headers, reply.trailers));
    }
    Ok(reply)
}

/// What the other rows must not have broken.
pub fn good(target: &Target) -> Checked {
    call(target, &[], framed(false, &one_span()), 0)?;
    post(target, "/v1/traces", &[PROTOBUF], one_span(), 200)
}

pub fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// Reads until the other side closes. An error is none: a reset closes as well.
pub fn rest(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let (mut all, mut piece) = (vec![], [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(all),
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => {
                return Err(format!("not closed after {:?}", String::from_utf8_lossy(&all)));
            }
            Err(_) => return Ok(all),
        }
    }
}

/// Sends bytes to the HTTP port; the statuses of all answers until it closes must be these.
pub fn raw(target: &Target, bytes: &[u8], statuses: &[u16]) -> Checked {
    raw_at(&target.http, bytes, statuses)
}

/// The same, for any port.
pub fn raw_at(address: &str, bytes: &[u8], statuses: &[u16]) -> Checked {
    let mut stream = connect(address)?;
    // It may be closed before all is written; the answer counts.
    let _ = stream.write_all(bytes);
    let text = String::from_utf8_lossy(&rest(&mut stream)?).into_owned();
    let found = text.split("HTTP/1.").skip(1);
    let found = found.map(|answer| answer.get(2..5).and_then(|s| s.parse().ok()).unwrap_or(0));
    let found: Vec<u16> = found.collect();
    if found != statuses {
        return Err(format!("{found:?} instead of {statuses:?}: {text:?}"));
    }
    Ok(())
}
