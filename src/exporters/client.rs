//! The HTTP client that exporters share: connections kept and reused, answers read within bounds,
//! and errors as sentences that say what to check.

use super::body::Body;
use super::connector::{Connector, Refusal};
use crate::config::{Secret, Section};
use crate::limits;
use crate::transport::tls::{self, ClientTls};
use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/2 alone, without asking: gRPC.
    Two,
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Any,
}

/// A client of one backend.
pub struct Client {
    http: legacy::Client<Connector, Body>,
    versions: Versions,
    refusal: Arc<Refusal>,
    /// `http://127.0.0.1:4317`, for people.
    pub target: String,
    /// Sent with every request.
    headers: HeaderMap,
    /// Values that no text of ours may show.
    pub secrets: Vec<Secret>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Answer {
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The network, or the other side's idea of HTTP; may pass. A sentence.
    Network(String),
    /// The answer was larger than we read; must not be repeated. A sentence.
    TooMuch(String),
}

/// What every request says of its sender, as OTLP asks.
const AGENT: &str = concat!(
    "OTel-OTLP-Exporter-Rust/",
    env!("CARGO_PKG_VERSION"),
    " spanloom/",
    env!("CARGO_PKG_VERSION")
);

/// Idle connections are closed after this time, before the load balancers in between do it.
const IDLE: Duration = Duration::from_secs(90);

/// Pause after which the other side is asked for a sign of life, and how long it may take.
const PROBE: Duration = Duration::from_secs(20);
const PROBE_ANSWER: Duration = Duration::from_secs(10);

/// Bytes of one HTTP/2 stream that wait in memory for the socket.
const SEND_BUFFER: usize = 1 << 20;

impl Client {
    /// A client that connects on first use. `target` names the backend in errors; `encrypted` says
    /// whether TLS is needed.
    pub fn new(
        versions: Versions,
        target: String,
        encrypted: bool,
        section: &Section,
    ) -> Result<Client, String> {
        let alpn = match versions {
            Versions::Two => tls::HTTP2,
            Versions::Any => tls::HTTP2_AND_1,
        };
        let keys = section.section("tls");
        let tls = encrypted.then(|| ClientTls::of_exporter(keys, alpn)).transpose()?;
        let refusal = Arc::<Refusal>::default();
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(versions == Versions::Two)
            .http2_adaptive_window(false)
            .http2_max_send_buf_size(SEND_BUFFER)
            .http2_keep_alive_interval(PROBE)
            .http2_keep_alive_timeout(PROBE_ANSWER)
            .build(Connector::new(tls, PROBE, refusal.clone()));
        let pairs = section.secret_map("headers");
        let secrets = pairs.iter().map(|pair| pair.1.clone()).collect();
        Ok(Client { http, versions, refusal, target, headers: headers(pairs)?, secrets })
    }

    /// Sends one request, and reads at most [`limits::RESPONSE_BYTES`] of the answer.
    pub async fn send(&self, mut request: http::Request<Body>) -> Result<Answer, Failure> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let answer = self.http.request(request).await;
        let answer = answer.map_err(|e| Failure::Network(self.sentence(&e, e.is_connect())))?;
        self.refusal.forget();
        let (head, mut body) = answer.into_parts();
        let mut read = BytesMut::new();
        let mut trailers = HeaderMap::new();
        while let Some(frame) = body.frame().await {
            let broken = |e: &hyper::Error| Failure::Network(self.sentence(e, false));
            match frame.map_err(|e| broken(&e))?.into_data() {
                Ok(data) if read.len() + data.len() > limits::RESPONSE_BYTES => {
                    let (target, most) = (&self.target, limits::RESPONSE_BYTES >> 20);
                    let text = format!("{target} answered with more than {most} MiB");
                    return Err(Failure::TooMuch(text));
                }
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(Answer { status, headers, body: read.freeze(), trailers })
    }

    /// What an operator needs to know of `error`.
    fn sentence(&self, error: &(dyn Error + 'static), connecting: bool) -> String {
        let target = &self.target;
        let chain = chain(error);
        let text = chain.last().map(ToString::to_string).unwrap_or_default();
        let io = chain.iter().rev().find_map(|e| e.downcast_ref::<io::Error>());
        let tls = chain.iter().find_map(|e| tls_error(*e)).or_else(|| self.refusal.last());
        if let Some(tls) = tls {
            return tls::of_server(target, &tls);
        }
        if connecting {
            return connect_sentence(target, &text, io.map(io::Error::kind));
        }
        let hyper = chain.iter().find_map(|e| e.downcast_ref::<hyper::Error>());
        if self.versions == Versions::Two && text.contains("invalid size") {
            return format!(
                "{target} does not speak gRPC; if it speaks TLS, use https://; if it is an \
                 OTLP/HTTP endpoint (port 4318), use otlp_http"
            );
        }
        if self.versions == Versions::Any && hyper.is_some_and(hyper::Error::is_parse) {
            return format!(
                "{target} does not answer in HTTP/1.1; if it speaks TLS, use https://; if it is a \
                 gRPC endpoint (port 4317), use otlp_grpc"
            );
        }
        format!("the connection to {target} was lost before it answered: {text}")
    }
}

/// The error and what caused it, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain = vec![];
    let mut next = Some(error);
    while let Some(error) = next {
        chain.push(error);
        next = error.source();
    }
    chain
}

/// The TLS error in `error`. I/O errors wrap it, also twice, without naming it as their source.
pub fn tls_error(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    let mut error = error;
    while let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        error = inner;
    }
    error.downcast_ref().cloned()
}

fn connect_sentence(target: &str, text: &str, kind: Option<io::ErrorKind>) -> String {
    let (what, check) = match kind {
        Some(io::ErrorKind::ConnectionRefused) => {
            ("connection refused", "is the backend listening there?")
        }
        Some(io::ErrorKind::TimedOut) => {
            ("nothing answers", "is the address right, and does a firewall let it pass?")
        }
        _ if text.contains("lookup") || text.contains("resolve") => {
            ("the name cannot be resolved", "is the host right?")
        }
        _ => (text, "is the address right?"),
    };
    format!("cannot connect to {target}: {what}; {check}")
}

/// The headers of every request. Their values are marked, so that no debug output shows them.
fn headers(pairs: &[(String, Secret)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in pairs {
        let (name, value) = header(name, value)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A header that a user has named. The error does not show the value.
pub fn header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), String> {
    const OURS: [&str; 8] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let valid = HeaderName::try_from(name)
        .map_err(|_| format!("{name:?} is no header name; use letters, digits and hyphens"))?;
    if OURS.contains(&valid.as_str()) || valid.as_str().starts_with("grpc-") {
        return Err(format!("the header {valid} is the exporter's own; leave it out"));
    }
    let mut value = HeaderValue::try_from(value.expose()).map_err(|_| {
        format!(
            "the value of the header {valid} holds characters that headers cannot; is there \
                 a line break in it?"
        )
    })?;
    value.set_sensitive(true);
    Ok((valid, value))
}
