//! `otlp_http`: OTLP over HTTP, one POST per request, in protobuf or JSON.
//!
//! Deliberately absent: proxies, cookies, redirects (a redirect is a refusal, since the
//! endpoint in the configuration is then wrong).

use super::answer::{self, clean};
use super::body::Body;
use super::client::{Answer, Client, Failure, Versions};
use super::keys::{self, QUEUE_KEYS, RETRY_KEYS};
use super::otlp_grpc::{COMPRESSIONS, check_headers, compression};
use super::{Built, Exporter, Kind, Outcome, Payload, Sending, Setup};
use crate::clock;
use crate::config::catalog::SIGNALS;
use crate::config::problem::Problems;
use crate::config::{Class, Component, Key, Section};
use crate::otlp::join::join;
use crate::otlp::json::to_json;
use crate::transport::compress::deflate;
use crate::transport::tls::{CLIENT_KEYS, check_client};
use crate::transport::{self, Encoding, Media};
use crate::verdict;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Uri};
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Exporter,
        name: "otlp_http",
        aliases: &["otlphttp"],
        about: "sends OTLP over HTTP",
        sample: SAMPLE,
        signals: &SIGNALS,
        keys: KEYS,
        check,
    },
    build,
};

const SAMPLE: &str = "\
endpoint: http://127.0.0.1:4318  # /v1/traces and so on are appended
# tls: {ca_file: backend-ca.pem, cert_file: client.pem, key_file: client.key}
# headers: {authorization: \"Bearer ${env:TOKEN}\"}
# compression: none  # in a fast network
";

const KEYS: &[Key] = &[
    Key::endpoint("endpoint", "", "the URL to which /v1/traces and so on are appended"),
    Key::endpoint("traces_endpoint", "", "the URL for traces, used as it is"),
    Key::endpoint("metrics_endpoint", "", "the URL for metrics, used as it is"),
    Key::endpoint("logs_endpoint", "", "the URL for logs, used as it is"),
    Key::unsupported("profiles_endpoint", "profiles are not supported"),
    Key::choice("encoding", &["proto", "json"], "proto", "of requests; proto is the fast one"),
    Key::object("tls", CLIENT_KEYS, "encryption of the connection"),
    Key::choice("compression", COMPRESSIONS, "gzip", "of requests"),
    Key::ignored("compression_params", "the fastest level is used"),
    Key::map_of_secret("headers", "sent with every request, such as API keys"),
    Key::duration("timeout", "30s", "time for one attempt"),
    Key::object("sending_queue", QUEUE_KEYS, "what waits to be sent"),
    Key::object("retry_on_failure", RETRY_KEYS, "what to do after a failure that may pass"),
    Key::unsupported("auth", "put the token into `headers`"),
    Key::unsupported("middlewares", "requests go to the endpoint directly"),
    Key::unsupported("proxy_url", "requests go to the endpoint directly"),
    Key::ignored("cookies", "cookies are not kept"),
    Key::ignored("read_buffer_size", "buffers are sized by the connection"),
    Key::ignored("write_buffer_size", "buffers are sized by the connection"),
    Key::ignored("max_idle_conns", "connections are kept as they are needed"),
    Key::ignored("max_idle_conns_per_host", "connections are kept as they are needed"),
    Key::ignored("max_conns_per_host", "there are at most as many as `num_consumers`"),
    Key::ignored("idle_conn_timeout", "idle connections are closed after 90 s"),
    Key::ignored("disable_keep_alives", "connections are kept alive"),
    Key::ignored("force_attempt_http2", "HTTP/2 is spoken where TLS negotiates it"),
    Key::ignored("http2_read_idle_timeout", "connections are probed as it is"),
    Key::ignored("http2_ping_timeout", "connections are probed as it is"),
];

/// The key and the path of each signal, in the order of [`Signal::ALL`](crate::batch::Signal::ALL).
const PATHS: [(&str, &str); 3] = [
    ("traces_endpoint", "/v1/traces"),
    ("logs_endpoint", "/v1/logs"),
    ("metrics_endpoint", "/v1/metrics"),
];

fn check(section: &Section, problems: &mut Problems) {
    keys::check_delivery(section, problems);
    check_headers(section, problems);
    let names = PATHS.map(|(name, _)| name).into_iter().chain(["endpoint"]);
    let (mut some, mut encrypted) = (false, false);
    for name in names {
        let Some(endpoint) = section.endpoint(name) else { continue };
        some = true;
        encrypted |= endpoint.scheme == Some("https");
        if !matches!(endpoint.scheme, Some("http" | "https")) {
            let text = format!("write a URL such as http://{endpoint}, found {endpoint}");
            section.error(problems, name, text);
        }
    }
    if !some {
        let text = "name where to send, such as endpoint: http://127.0.0.1:4318";
        section.error(problems, "", text);
    }
    check_client(section.section("tls"), encrypted, problems);
}

fn build(section: &Section, _: &Setup<'_>) -> Built {
    Ok(Arc::new(OtlpHttp::new(section)?))
}

/// The exporter.
struct OtlpHttp {
    client: Client,
    encoding: Encoding,
    media: Media,
    /// In the order of [`PATHS`]; `None` where there is no endpoint.
    uris: [Option<Uri>; 3],
}

impl OtlpHttp {
    fn new(section: &Section) -> Result<OtlpHttp, String> {
        let uri = |(name, path): (&str, &str)| {
            let own = section.endpoint(name).map(ToString::to_string);
            let base = section.endpoint("endpoint").map(|base| appended(base.as_str(), path));
            let Some(text) = own.or(base) else { return Ok(None) };
            Uri::try_from(&text).map(Some).map_err(|e| format!("{text} is no URL: {e}"))
        };
        let [traces, logs, metrics] = PATHS.map(uri);
        let uris = [traces?, logs?, metrics?];
        let known = || uris.iter().flatten();
        let tls = known().any(|uri| uri.scheme_str() == Some("https"));
        let target = match (section.endpoint("endpoint"), known().next()) {
            (Some(base), _) => base.to_string(),
            (None, first) => first.map(ToString::to_string).unwrap_or_default(),
        };
        // A query may carry a key.
        let target = target.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        let client = Client::new(Versions::Any, target, tls, section)?;
        let media = match section.text("encoding") {
            "json" => Media::Json,
            _ => Media::Protobuf,
        };
        Ok(OtlpHttp { client, encoding: compression(section), media, uris })
    }

    fn request(&self, uri: &Uri, payload: Payload) -> Result<Request<Body>, http::Error> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(self.media.name()));
        let segments = match self.media {
            Media::Json => {
                let whole = join(&payload.segments);
                vec![Bytes::from(to_json(payload.signal.message(), &whole))]
            }
            _ => payload.segments,
        };
        if self.encoding == Encoding::Identity {
            return request.body(Body::new(&[], segments));
        }
        let body = deflate(self.encoding, &segments);
        let encoding = HeaderValue::from_static(self.encoding.name());
        request.header(CONTENT_ENCODING, encoding).body(Body::new(&[], vec![body]))
    }

    fn outcome(&self, answer: &Answer) -> Outcome {
        let (target, status) = (&self.client.target, answer.status);
        let media = Media::parse(answer.header(CONTENT_TYPE).unwrap_or_default());
        let meaning = verdict::of_http(status);
        if meaning == verdict::Answer::Delivered {
            return answer::taken(media, &answer.body, &self.client.secrets);
        }
        let text = match media {
            Media::Protobuf | Media::Json => {
                transport::http::read_error_body(media, &answer.body).message
            }
            _ => String::new(),
        };
        let text = clean(&text, &self.client.secrets);
        let hint = match status {
            300..=399 => "it redirects; write the address that it redirects to",
            401 | 403 => "check `headers`",
            404 | 405 => "check the path of the endpoint",
            415 => "if it is a gRPC endpoint, use otlp_grpc",
            _ => "",
        };
        let details = [text.as_str(), hint].into_iter().filter(|part| !part.is_empty());
        let details = details.map(|part| format!(": {part}")).collect::<String>();
        let reason = format!("{target} answered HTTP {status}{details}");
        match meaning {
            verdict::Answer::Retry => Outcome::Retry { after: retry_after(answer), reason },
            _ if status == 413 => Outcome::TooLarge { reason },
            _ => Outcome::Refused { reason },
        }
    }
}

/// `path` behind the URL `base`, before its query.
fn appended(base: &str, path: &str) -> String {
    let (base, query) = base.find('?').map_or((base, ""), |at| base.split_at(at));
    format!("{}{path}{query}", base.trim_end_matches('/'))
}

/// The delay that the answer asks for.
pub fn retry_after(answer: &Answer) -> Option<Duration> {
    transport::http::retry_after(answer.header(RETRY_AFTER)?, clock::now())
}

impl Exporter for OtlpHttp {
    fn send(&self, payload: Payload) -> Sending<'_> {
        Box::pin(async move {
            let uri = self.uris.get(payload.signal as usize).and_then(Option::as_ref);
            let Some(uri) = uri else {
                let signal = payload.signal.name();
                let reason = format!("no endpoint for {signal}: set endpoint or {signal}_endpoint");
                return Outcome::Refused { reason };
            };
            let request = match self.request(uri, payload) {
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
