//! `otlp_grpc`: OTLP over gRPC, as unary calls framed by hand.
//!
//! In plain text HTTP/2 is spoken at once (prior knowledge), as gRPC servers expect. Deliberately
//! absent: streaming, name resolution of gRPC's own, load balancing over several addresses.

use super::answer::{self, clean, code_name};
use super::body::Body;
use super::client::{Answer, Client, Failure, Versions};
use super::keys::{self, QUEUE_KEYS, RETRY_KEYS};
use super::{Built, Exporter, Kind, Outcome, Payload, Sending, Setup};
use crate::batch::Signal;
use crate::config::catalog::SIGNALS;
use crate::config::problem::Problems;
use crate::config::{Class, Component, Endpoint, Key, Section};
use crate::transport::compress::deflate;
use crate::transport::grpc::{self, Prefix};
use crate::transport::tls::{CLIENT_KEYS, check_client};
use crate::transport::{Encoding, Media, Status};
use crate::verdict::{self, code};
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{Method, Request, Uri};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Exporter,
        name: "otlp_grpc",
        aliases: &["otlp"],
        about: "sends OTLP over gRPC",
        sample: SAMPLE,
        signals: &SIGNALS,
        keys: KEYS,
        check,
    },
    build,
};

const SAMPLE: &str = "\
endpoint: http://127.0.0.1:4317  # https:// or host:port alone is TLS
# tls: {ca_file: backend-ca.pem, cert_file: client.pem, key_file: client.key}
# headers: {authorization: \"Bearer ${env:TOKEN}\"}
# compression: none  # in a fast network
";

/// The compressions of both OTLP exporters.
pub const COMPRESSIONS: &[&str] = &["gzip", "zstd", "deflate", "none", ""];

const KEYS: &[Key] = &[
    Key::endpoint("endpoint", "", "where to send: host:port, http:// or https://").required(),
    Key::object("tls", CLIENT_KEYS, "encryption of the connection"),
    Key::choice("compression", COMPRESSIONS, "gzip", "of requests"),
    Key::map_of_secret("headers", "sent with every request, such as API keys"),
    Key::duration("timeout", "5s", "time for one attempt"),
    Key::object("sending_queue", QUEUE_KEYS, "what waits to be sent"),
    Key::object("retry_on_failure", RETRY_KEYS, "what to do after a failure that may pass"),
    Key::unsupported("auth", "put the token into `headers`"),
    Key::unsupported("authority", "name the host in `endpoint`"),
    Key::unsupported("middlewares", "requests go to the endpoint directly"),
    Key::ignored("balancer_name", "one address of the endpoint is used at a time"),
    Key::ignored("keepalive", "connections are kept alive and probed as it is"),
    Key::ignored("read_buffer_size", "buffers are sized by the connection"),
    Key::ignored("write_buffer_size", "buffers are sized by the connection"),
    Key::ignored("wait_for_ready", "requests wait for the connection in any case"),
];

fn check(section: &Section, problems: &mut Problems) {
    keys::check_delivery(section, problems);
    check_headers(section, problems);
    let Some(endpoint) = section.endpoint("endpoint") else { return };
    if endpoint.scheme == Some("unix") {
        let text = "unix sockets are not supported; use host:port";
        section.error(problems, "endpoint", text);
    }
    if !matches!(endpoint.path.as_str(), "" | "/") {
        let text = format!(
            "gRPC endpoints have no path, found {:?}; use otlp_http if it is one of OTLP/HTTP",
            endpoint.path
        );
        section.error(problems, "endpoint", text);
    }
    if endpoint.host.is_empty() {
        section.error(problems, "endpoint", "name a host to send to, such as 127.0.0.1:4317");
    }
    if endpoint.scheme == Some("https") && section.section("tls").bool("insecure") {
        let text = "has no effect with an https:// endpoint; leave it out or use http://";
        section.section("tls").warning(problems, "insecure", text);
    }
    check_client(section.section("tls"), is_encrypted(endpoint, section), problems);
}

/// As in the Collector: the scheme decides, and without one `tls.insecure` does.
fn is_encrypted(endpoint: &Endpoint, section: &Section) -> bool {
    match endpoint.scheme {
        Some(scheme) => scheme != "http",
        None => !section.section("tls").bool("insecure"),
    }
}

/// Reports headers that cannot be sent.
pub fn check_headers(section: &Section, problems: &mut Problems) {
    for (name, value) in section.secret_map("headers") {
        if let Err(text) = super::client::header(name, value) {
            section.error(problems, "headers", text);
        }
    }
}

/// Reads a key of [`COMPRESSIONS`].
pub fn compression(section: &Section) -> Encoding {
    Encoding::parse(section.text("compression")).unwrap_or(Encoding::Identity)
}

fn build(section: &Section, _: &Setup<'_>) -> Built {
    let endpoint = section.endpoint("endpoint").ok_or("endpoint is missing")?;
    Ok(Arc::new(OtlpGrpc::new(endpoint, section)?))
}

/// The exporter.
struct OtlpGrpc {
    client: Client,
    encoding: Encoding,
    /// By signal, in the order of [`Signal::ALL`].
    uris: [Uri; 3],
}

impl OtlpGrpc {
    fn new(endpoint: &Endpoint, section: &Section) -> Result<OtlpGrpc, String> {
        let encrypted = is_encrypted(endpoint, section);
        let scheme = if encrypted { "https" } else { "http" };
        let target = format!("{scheme}://{}", endpoint.authority(4317));
        let uri = |signal: Signal| {
            let service = match signal {
                Signal::Traces => "trace.v1.TraceService",
                Signal::Logs => "logs.v1.LogsService",
                Signal::Metrics => "metrics.v1.MetricsService",
            };
            let uri = format!("{target}/opentelemetry.proto.collector.{service}/Export");
            Uri::try_from(uri).map_err(|e| format!("{endpoint} is no address: {e}"))
        };
        let [traces, logs, metrics] = Signal::ALL.map(uri);
        let uris = [traces?, logs?, metrics?];
        let client = Client::new(Versions::Two, target, encrypted, section)?;
        Ok(OtlpGrpc { client, encoding: compression(section), uris })
    }

    fn request(&self, payload: Payload) -> Result<Request<Body>, http::Error> {
        let [traces, logs, metrics] = &self.uris;
        let uri = match payload.signal {
            Signal::Traces => traces,
            Signal::Logs => logs,
            Signal::Metrics => metrics,
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(TE, HeaderValue::from_static("trailers"));
        if self.encoding == Encoding::Identity {
            let prefix = Prefix { compressed: false, len: payload.size() };
            return request.body(Body::new(&prefix.bytes(), payload.segments));
        }
        let message = deflate(self.encoding, &payload.segments);
        let prefix = Prefix { compressed: true, len: message.len() };
        let encoding = HeaderValue::from_static(self.encoding.name());
        let body = Body::new(&prefix.bytes(), vec![message]);
        request.header(grpc::ENCODING, encoding).body(body)
    }

    fn outcome(&self, answer: &Answer) -> Outcome {
        let target = &self.client.target;
        let status = Status::read(&answer.trailers).or_else(|| Status::read(&answer.headers));
        let Some(status) = status else { return self.not_grpc(answer) };
        let message = clean(&status.message, &self.client.secrets);
        let reason = match message.is_empty() {
            true => format!("{target} answered {}", code_name(status.code)),
            false => format!("{target} answered {}: {message}", code_name(status.code)),
        };
        match verdict::of_grpc(status.code, status.retry_delay.is_some()) {
            verdict::Answer::Delivered => {
                let message = message_of(&answer.body).unwrap_or(b"\xff");
                answer::taken(Media::Grpc, message, &self.client.secrets)
            }
            verdict::Answer::Retry => Outcome::Retry { after: status.retry_delay, reason },
            verdict::Answer::Refused if answer::is_about_size(status.code, &message) => {
                Outcome::TooLarge { reason }
            }
            verdict::Answer::Refused => {
                let reason = match status.code {
                    code::UNIMPLEMENTED => format!("{reason}; it does not take this signal"),
                    code::UNAUTHENTICATED | code::PERMISSION_DENIED => {
                        format!("{reason}; check `headers`")
                    }
                    _ => reason,
                };
                Outcome::Refused { reason }
            }
        }
    }

    /// An answer without a gRPC status: a proxy's, or a server's that speaks something else.
    fn not_grpc(&self, answer: &Answer) -> Outcome {
        let (target, status) = (&self.client.target, answer.status);
        let media = answer.header(CONTENT_TYPE).unwrap_or_default();
        if status == 200 {
            let reason = match Media::parse(media) {
                Media::Grpc | Media::GrpcOther => {
                    format!("{target} answered without a gRPC status")
                }
                _ => format!("{target} answered {media:?}, which is not gRPC; check the endpoint"),
            };
            return Outcome::Refused { reason };
        }
        let hint = match status {
            404 | 405 | 415 => "this looks like an OTLP/HTTP endpoint, use otlp_http",
            401 | 403 => "check `headers`",
            413 => "the request is too large for it",
            _ => "a proxy in between may not pass gRPC",
        };
        let reason = format!("{target} answered HTTP {status}: {hint}");
        let code = verdict::grpc_of_http(status);
        match verdict::of_grpc(code, false) {
            verdict::Answer::Retry => {
                Outcome::Retry { after: super::otlp_http::retry_after(answer), reason }
            }
            _ if status == 413 => Outcome::TooLarge { reason },
            _ => Outcome::Refused { reason },
        }
    }
}

/// The one message of a unary answer; `None` if it is not all there, or compressed, which nobody
/// asked for.
fn message_of(body: &[u8]) -> Option<&[u8]> {
    let prefix = Prefix::parse(body).filter(|prefix| !prefix.compressed)?;
    body.get(grpc::PREFIX..).filter(|message| message.len() == prefix.len)
}

impl Exporter for OtlpGrpc {
    fn send(&self, payload: Payload) -> Sending<'_> {
        Box::pin(async move {
            let request = match self.request(payload) {
                Ok(request) => request,
                Err(e) => return Outcome::Refused { reason: format!("no valid request: {e}") },
            };
            match self.client.send(request).await {
                Ok(answer) => self.outcome(&answer),
                Err(Failure::Network(reason)) => Outcome::Retry { after: None, reason },
                Err(Failure::TooMuch(reason)) => Outcome::Refused { reason },
            }
        })
    }

    fn target(&self) -> &str {
        &self.client.target
    }
}
