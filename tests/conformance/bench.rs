//! What the checklist is held against: an endpoint, and what stands behind it if it is ours.

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use prost::Message;

use super::support::{Daemon, Sink, daemon};
use super::table::{Checked, Why, ensure};
use super::wire::{self, EXPORT, JSON, PROTOBUF, Reply, framed};

/// An endpoint.
pub struct Bench {
    pub grpc: String,
    pub http: String,
    ours: Option<(Daemon, Sink)>,
}

/// The host and port of `http://host:port`.
fn authority(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    assert!(!rest.starts_with("https://"), "{url}: only plain text is spoken; use a proxy for TLS");
    rest.trim_end_matches('/').to_owned()
}

/// A configuration in which every answer says that the sink has the request: nothing is edited,
/// queued or tried again.
fn straight(sink: &Sink) -> String {
    let exporter = format!(
        "otlp_grpc: {{endpoint: \"{}\", compression: none, sending_queue: {{enabled: false}}, \
         retry_on_failure: {{enabled: false}}}}",
        sink.endpoint()
    );
    let yaml = daemon::config(&exporter, &["otlp_grpc"]);
    yaml.replace("[sensitive, baggage, orphans]", "[]").replace("[sensitive, baggage]", "[]")
}

impl Bench {
    /// The endpoint that the environment names, or a spanloom of our own.
    pub fn start() -> Bench {
        let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let (Some(http), Some(grpc)) = (named("CONFORMANCE_HTTP"), named("CONFORMANCE_GRPC")) {
            return Bench { grpc: authority(&grpc), http: authority(&http), ours: None };
        }
        let sink = Sink::start();
        let daemon = Daemon::start(&straight(&sink));
        let (grpc, http) = (daemon.grpc(), daemon.http());
        Bench { grpc, http, ours: Some((daemon, sink)) }
    }

    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// The sink behind the endpoint; a row ends here where there is none.
    pub fn sink(&self) -> Result<&Sink, Why> {
        let ours = self.ours.as_ref().map(|(_, sink)| sink);
        ours.ok_or(Why::Apart("needs to see what stands behind the endpoint"))
    }

    /// POSTs to the HTTP port.
    pub fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        wire::send(false, "POST", &self.http, path, headers, body)
    }

    /// Posts and wants this status.
    pub fn posted(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        status: u16,
    ) -> Result<Reply, String> {
        let body = body.into();
        let short = String::from_utf8_lossy(&body[..body.len().min(160)]).into_owned();
        let reply = self.post(path, headers, body)?;
        match reply.status == status {
            true => Ok(reply),
            false => {
                let said = String::from_utf8_lossy(&reply.body).into_owned();
                Err(format!("{} instead of {status} for {short:?}: {said:?}", reply.status))
            }
        }
    }

    /// A JSON text to `/v1/traces` that must be answered so.
    pub fn json(&self, text: &str, status: u16) -> Checked {
        Ok(self.posted("/v1/traces", &[JSON], text.to_owned(), status).map(drop)?)
    }

    /// Bytes to `/v1/traces` and as a gRPC message; 200 and 0, or 400 and 3.
    pub fn protobuf(&self, bytes: &[u8], taken: bool) -> Checked {
        self.posted("/v1/traces", &[PROTOBUF], bytes.to_vec(), if taken { 200 } else { 400 })?;
        Ok(self.call(&[], framed(false, bytes), if taken { 0 } else { 3 }).map(drop)?)
    }

    /// Calls Export of traces with this body and wants this code.
    pub fn call(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        code: u32,
    ) -> Result<Reply, String> {
        let reply = grpc(&self.grpc, EXPORT, headers, body)?;
        let found = grpc_status(&reply);
        match found == Some(code) {
            true => Ok(reply),
            false => {
                let message = reply.header("grpc-message").unwrap_or_default();
                Err(format!("grpc-status {found:?} instead of {code}: {message}"))
            }
        }
    }

    /// The message that the sink has for the JSON text sent to `path`, or nothing where the sink
    /// is not ours. Either way it must have been taken.
    pub fn through<M: Message + Default>(
        &self,
        path: &str,
        header: (&str, &str),
        body: impl Into<Bytes>,
    ) -> Result<Option<M>, Why> {
        self.posted(path, &[header], body, 200)?;
        let Ok(sink) = self.sink() else { return Ok(None) };
        let received = sink.received();
        let last = received.last().ok_or_else(|| "nothing arrived".to_owned())?;
        let message = M::decode(last.message.clone());
        Ok(Some(message.map_err(|error| format!("what arrived is no such message: {error}"))?))
    }
}

/// A gRPC call with a body as it is.
pub fn grpc(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, String> {
    let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
    all.retain(|(name, _)| headers.iter().all(|(other, _)| name != other));
    all.extend(headers);
    wire::send(true, "POST", address, path, &all, body)
}

pub fn grpc_status(reply: &Reply) -> Option<u32> {
    reply.header("grpc-status")?.parse().ok()
}

/// One member, by the library that does whole messages fastest.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(1).expect("a level"));
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("it fits");
    out.truncate(length);
    out
}

/// That two things are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Checked {
    ensure(found == expected, || format!("{found:?} instead of {expected:?}"))
}
