//! The keys of the `otlp` receiver, as the Collector has them, and what they come to.

use crate::config::{Endpoint, Key, Problems, Section};
use crate::limits;
use crate::transport::tls::{self, Alpn, SERVER_KEYS};
use std::time::Duration;

const AUTH: &str = "authenticators are not supported yet; let a proxy in front check who sends \
                    and listen on a loopback address here";
const MIDDLEWARES: &str = "there are no middleware extensions; requests are admitted by memory \
                           in any case";
const BUFFER: &str = "buffers are sized by what arrives";
const METADATA: &str = "let `baggage` read headers of requests, without credentials (its source \
                        `metadata`)";

const SERVER_PARAMETERS: &[Key] = &[
    Key::duration("time", "1m", "ping a client that has been silent for so long"),
    Key::duration("timeout", "20s", "close the connection if a ping is not answered in time"),
    Key::duration("max_connection_idle", "0s", "close connections without requests; 0s: never"),
    Key::duration("max_connection_age", "0s", "close connections this old; 0s: never"),
    Key::duration("max_connection_age_grace", "10s", "time for their last requests"),
];

const KEEPALIVE: &[Key] = &[
    Key::object("server_parameters", SERVER_PARAMETERS, "when to ping and when to close"),
    Key::ignored("enforcement_policy", "clients may ping as often as they like within reason"),
];

const GRPC: &[Key] = &[
    Key::endpoint("endpoint", "localhost:4317", "where to listen"),
    Key::choice("transport", &["tcp"], "tcp", "of the listener"),
    Key::size_mib("max_recv_msg_size_mib", 64, "largest request after decompression"),
    Key::int("max_concurrent_streams", 200, 1..=100_000, "requests of one connection at once"),
    Key::object("keepalive", KEEPALIVE, "of connections"),
    Key::ignored("read_buffer_size", BUFFER),
    Key::ignored("write_buffer_size", BUFFER),
    Key::bool("include_metadata", false, METADATA),
    Key::optional_object("tls", SERVER_KEYS, "encryption; plain text without it"),
    Key::unsupported("auth", AUTH),
    Key::unsupported("middlewares", MIDDLEWARES),
];

const HTTP: &[Key] = &[
    Key::endpoint("endpoint", "localhost:4318", "where to listen"),
    Key::choice("transport", &["tcp"], "tcp", "of the listener"),
    Key::text("traces_url_path", "/v1/traces", "where traces are sent"),
    Key::text("metrics_url_path", "/v1/metrics", "where metrics are sent"),
    Key::text("logs_url_path", "/v1/logs", "where logs are sent"),
    Key::size_bytes("max_request_body_size", 64 << 20, "largest request after decompression"),
    Key::duration("read_header_timeout", "10s", "for the headers of a request"),
    Key::duration("read_timeout", "1m", "for the body of a request; 0s: the default"),
    Key::duration("idle_timeout", "3m", "close connections without requests; 0s: never"),
    Key::bool("keep_alives_enabled", true, "let connections carry several requests"),
    Key::ignored("write_timeout", "answers are a few bytes; a client that does not read is cut"),
    Key::ignored("compression_algorithms", "gzip, zstd and deflate are always read"),
    Key::bool("include_metadata", false, METADATA),
    Key::unsupported("cors", "browsers cannot send here; let them send to a proxy of your site"),
    Key::unsupported("response_headers", "answers carry what OTLP asks for; add more in a proxy"),
    Key::optional_object("tls", SERVER_KEYS, "encryption; plain text without it"),
    Key::unsupported("auth", AUTH),
    Key::unsupported("middlewares", MIDDLEWARES),
];

const PROTOCOLS: &[Key] = &[
    Key::optional_object("grpc", GRPC, "OTLP/gRPC"),
    Key::optional_object("http", HTTP, "OTLP/HTTP with protobuf and JSON"),
];

pub(super) const KEYS: &[Key] = &[Key::object("protocols", PROTOCOLS, "what is listened for")];

/// The two protocols of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    /// The name in [`Running::listeners`](crate::receivers::Running::listeners).
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Grpc => "otlp/grpc",
            Protocol::Http => "otlp/http",
        }
    }

    /// The versions of HTTP that TLS offers.
    pub(super) fn alpn(self) -> Alpn {
        match self {
            Protocol::Grpc => tls::HTTP2,
            Protocol::Http => tls::HTTP2_AND_1,
        }
    }

    /// The label of metrics.
    pub(super) fn transport(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }
}

/// What one port is configured to do.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) protocol: Protocol,
    pub(super) endpoint: Endpoint,
    /// How it is encrypted, if it is.
    pub(super) tls: Option<Section>,
    /// Bytes of a request after decompression.
    pub(super) request_bytes: usize,
    /// The URL paths by signal, in the order of [`Signal::ALL`](crate::batch::Signal::ALL).
    pub(super) paths: [String; 3],
    pub(super) header_time: Duration,
    pub(super) body_idle: Duration,
    pub(super) body_time: Duration,
    /// Time without requests after which a connection is closed.
    pub(super) idle: Option<Duration>,
    /// Whether an HTTP/1 connection carries several requests.
    pub(super) keep_alive: bool,
    /// Time between pings of HTTP/2.
    pub(super) ping: Option<Duration>,
    pub(super) ping_timeout: Duration,
    pub(super) streams: u32,
    /// Whether headers go with the request to its pipelines.
    pub(super) include_metadata: bool,
    /// Age at which a connection is closed, and the time for its last requests.
    pub(super) age: Option<(Duration, Duration)>,
}

/// Reports what the table of keys cannot say.
pub(super) fn check(section: &Section, problems: &mut Problems) {
    let protocols = section.section("protocols");
    let (grpc, http) = (protocols.optional_section("grpc"), protocols.optional_section("http"));
    if grpc.is_none() && http.is_none() {
        let text = "must specify at least one protocol: add `grpc:` or `http:`";
        section.error(problems, "protocols", text);
    }
    let sizes = [(grpc, "max_recv_msg_size_mib"), (http, "max_request_body_size")];
    for (section, name) in sizes {
        let Some(section) = section else { continue };
        let (size, most) = (section.bytes(name), limits::INFLIGHT_BYTES as u64);
        if size == 0 || size > most {
            let text = format!(
                "must be between 1 byte and {} MiB, the memory for all requests being received",
                most >> 20
            );
            section.error(problems, name, text);
        }
    }
    for tls in [grpc, http].into_iter().flatten().filter_map(|s| s.optional_section("tls")) {
        tls::check_server(tls, problems);
    }
    if let Some(http) = http {
        let names = ["traces_url_path", "logs_url_path", "metrics_url_path"];
        let paths = names.map(|name| path(http.text(name)));
        for (k, name) in names.iter().enumerate() {
            if paths.iter().take(k).any(|other| Some(other) == paths.get(k)) {
                http.error(problems, name, "two signals cannot share one path");
            }
        }
    }
}

/// The ports of a checked section.
pub(super) fn ports(section: &Section) -> Vec<Settings> {
    let protocols = section.section("protocols");
    let grpc = protocols.optional_section("grpc").and_then(grpc);
    let http = protocols.optional_section("http").and_then(http);
    grpc.into_iter().chain(http).collect()
}

fn grpc(section: &Section) -> Option<Settings> {
    let keepalive = section.section("keepalive").section("server_parameters");
    let endpoint = section.endpoint("endpoint")?;
    let mut settings = Settings::new(Protocol::Grpc, endpoint.clone());
    settings.tls = section.optional_section("tls").cloned();
    settings.request_bytes = bytes(section, "max_recv_msg_size_mib");
    settings.streams = u32::try_from(section.int("max_concurrent_streams")).unwrap_or(u32::MAX);
    settings.ping = positive(keepalive.duration("time"));
    settings.ping_timeout = keepalive.duration("timeout");
    settings.idle = positive(keepalive.duration("max_connection_idle"));
    let grace = keepalive.duration("max_connection_age_grace");
    settings.age = positive(keepalive.duration("max_connection_age")).map(|age| (age, grace));
    settings.include_metadata = section.bool("include_metadata");
    Some(settings)
}

fn http(section: &Section) -> Option<Settings> {
    let endpoint = section.endpoint("endpoint")?;
    let mut settings = Settings::new(Protocol::Http, endpoint.clone());
    settings.tls = section.optional_section("tls").cloned();
    settings.request_bytes = bytes(section, "max_request_body_size");
    let names = ["traces_url_path", "logs_url_path", "metrics_url_path"];
    settings.paths = names.map(|name| path(section.text(name)));
    if let Some(time) = positive(section.duration("read_header_timeout")) {
        settings.header_time = time;
    }
    if let Some(time) = positive(section.duration("read_timeout")) {
        settings.body_time = time;
    }
    settings.idle = positive(section.duration("idle_timeout"));
    settings.keep_alive = section.bool("keep_alives_enabled");
    settings.include_metadata = section.bool("include_metadata");
    Some(settings)
}

impl Settings {
    pub(super) fn new(protocol: Protocol, endpoint: Endpoint) -> Settings {
        Settings {
            protocol,
            endpoint,
            tls: None,
            request_bytes: limits::REQUEST_BYTES,
            paths: ["/v1/traces", "/v1/logs", "/v1/metrics"].map(str::to_owned),
            header_time: limits::HEADER_TIME,
            body_idle: limits::BODY_IDLE_TIME,
            body_time: limits::BODY_TIME,
            idle: None,
            keep_alive: true,
            ping: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(20),
            streams: limits::HTTP2_STREAMS,
            include_metadata: false,
            age: None,
        }
    }
}

fn bytes(section: &Section, name: &str) -> usize {
    usize::try_from(section.bytes(name)).unwrap_or(limits::REQUEST_BYTES)
}

fn positive(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// A leading slash is added if it is missing, as the Collector does.
fn path(text: &str) -> String {
    match text.starts_with('/') {
        true => text.to_owned(),
        false => format!("/{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(yaml: &str) -> String {
        let section = Section::from_yaml(KEYS, yaml).unwrap();
        let mut problems = Problems::new();
        check(&section, &mut problems);
        problems.iter().map(|p| format!("{p}\n")).collect()
    }

    #[test]
    fn bare_protocols_have_the_defaults() {
        let section = Section::from_yaml(KEYS, "protocols: {grpc: , http: }").unwrap();
        let [grpc, http] = &ports(&section)[..] else { panic!("two ports") };
        assert_eq!(grpc.endpoint.as_str(), "localhost:4317");
        assert_eq!(http.endpoint.as_str(), "localhost:4318");
        assert_eq!(grpc.request_bytes, 64 << 20);
        assert_eq!(http.request_bytes, 64 << 20);
        assert_eq!(http.paths, ["/v1/traces", "/v1/logs", "/v1/metrics"]);
        assert_eq!(grpc.streams, limits::HTTP2_STREAMS);
        assert_eq!(http.header_time, limits::HEADER_TIME);
        assert_eq!(http.body_time, limits::BODY_TIME);
        assert_eq!(problems("protocols: {grpc: , http: }"), "");
    }

    #[test]
    fn what_cannot_work_is_said() {
        let cases = [
            ("{}", "must specify at least one protocol"),
            ("protocols: {grpc: {max_recv_msg_size_mib: 1024}}", "between 1 byte and 256 MiB"),
            ("protocols: {http: {logs_url_path: v1/traces}}", "two signals cannot share one path"),
        ];
        for (yaml, expected) in cases {
            let problems = problems(yaml);
            assert!(problems.contains(expected), "{yaml}: {problems}");
        }
    }
}
