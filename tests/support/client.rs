//! Requests exactly as the test says them, and the answers whole.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, header::HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;

use super::PATIENCE;

pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// An answer over HTTP/1.1 or HTTP/2.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, or a trailer when no header has the name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).or_else(|| self.trailers.get(name))?.to_str().ok()
    }

    /// grpc-status, wherever it stands. None when the answer is not gRPC.
    pub fn grpc_status(&self) -> Option<u32> {
        self.header("grpc-status")?.parse().ok()
    }

    /// The message of a gRPC answer without its five bytes of framing.
    pub fn grpc_message(&self) -> Bytes {
        self.body.slice(self.body.len().min(5)..)
    }
}

/// `GET` over HTTP/1.1.
#[track_caller]
pub fn get(address: &str, path: &str) -> Reply {
    send(false, "GET", address, path, &[], Bytes::new())
}

/// `POST` over HTTP/1.1 with these headers and no others of meaning.
#[track_caller]
pub fn post(address: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    send(false, "POST", address, path, headers, body.into())
}

/// A protobuf message to one of `/v1/traces`, `/v1/logs`, `/v1/metrics`.
#[track_caller]
pub fn post_protobuf(address: &str, path: &str, message: &impl Message) -> Reply {
    post(address, path, &[("content-type", "application/x-protobuf")], message.encode_to_vec())
}

/// JSON to one of `/v1/traces`, `/v1/logs`, `/v1/metrics`.
#[track_caller]
pub fn post_json(address: &str, path: &str, json: &str) -> Reply {
    post(address, path, &[("content-type", "application/json")], json.to_string())
}

/// A gRPC call with `body` as it is, framing included; `TRACES` and its like are paths.
#[track_caller]
pub fn grpc(address: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
    all.retain(|(name, _)| headers.iter().all(|(other, _)| name != other));
    all.extend(headers);
    send(true, "POST", address, path, &all, body.into())
}

/// A gRPC call with one uncompressed message.
#[track_caller]
pub fn grpc_export(address: &str, path: &str, message: &impl Message) -> Reply {
    grpc(address, path, &[], framed(false, &message.encode_to_vec()))
}

/// The five bytes of gRPC framing and the message.
pub fn framed(compressed: bool, message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(compressed.into());
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    body.freeze()
}

/// One request on a connection of its own, with prior knowledge of HTTP/2 or without.
#[track_caller]
pub fn send(
    http2: bool,
    method: &str,
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Reply {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(body)).expect("a request");
    let work = async {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        Ok::<_, String>(Reply { status, headers, body: body.to_bytes(), trailers })
    };
    let runtime = super::sink::runtime();
    let reply = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
    match reply {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => panic!("{method} {address}{path} has no answer: {error}"),
        Err(_) => panic!("{method} {address}{path} is not answered"),
    }
}
