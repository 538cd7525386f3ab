//! Both OTLP exporters against a backend that answers by script.

use super::backend::{Backend, Received, Reply, exporter, section};
use super::{Outcome, Payload};
use crate::batch::Signal;
use crate::limits;
use crate::otlp::text;
use crate::otlp::wire::{put_bytes_field, put_message_field, put_varint_field};
use crate::transport::Status;
use bytes::Bytes;
use std::time::Duration;

fn segment(text: &str) -> Bytes {
    Bytes::from(text::parse(text).expect("the notation"))
}

fn payload() -> Payload {
    let segments = vec![segment("span 1/a1 \"chat\""), segment("span 2/b1 \"tool\"")];
    Payload { signal: Signal::Traces, segments, items: 2 }
}

/// `Export<Signal>ServiceResponse` with a partial success.
fn partial(rejected: u64, message: &str) -> Vec<u8> {
    let mut out = vec![];
    put_message_field(&mut out, 1, |out| {
        put_varint_field(out, 1, rejected);
        put_bytes_field(out, 2, message.as_bytes());
    });
    out
}

fn status(code: u32, message: &str, delay: Option<u64>) -> Status {
    let retry_delay = delay.map(Duration::from_secs);
    Status { code, message: message.to_owned(), retry_delay }
}

/// Sends one payload to a backend that gives `reply`.
async fn send(name: &str, more: &str, reply: Reply) -> (Outcome, Vec<Received>, String) {
    let backend = Backend::start(move |_, _| reply.clone()).await;
    let target = format!("http://{}", backend.address);
    let yaml = format!("endpoint: {target}\n{more}");
    let outcome = exporter(name, &yaml).send(payload()).await;
    (outcome, backend.received(), target)
}

fn delivered(rejected: u64, message: &str) -> Outcome {
    Outcome::Delivered { rejected, message: message.to_owned() }
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Retry { .. } => "retry",
        Outcome::TooLarge { .. } => "too large",
        Outcome::Refused { .. } => "refused",
    }
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered { message, .. } => message,
        Outcome::Retry { reason, .. }
        | Outcome::TooLarge { reason }
        | Outcome::Refused { reason } => reason,
    }
}

#[tokio::test]
async fn a_joined_request_arrives_whole_in_every_compression() {
    for compression in ["none", "gzip", "zstd", "deflate"] {
        let more = format!("compression: {compression}\nheaders: {{api-key: hunter22}}");
        for (name, path, media, encoding, reply) in [
            (
                "otlp_grpc",
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "application/grpc",
                "grpc-encoding",
                Reply::grpc(&status(0, "", None), b""),
            ),
            (
                "otlp_http",
                "/v1/traces",
                "application/x-protobuf",
                "content-encoding",
                Reply::http(200),
            ),
        ] {
            let (outcome, received, _) = send(name, &more, reply).await;
            assert_eq!(outcome, delivered(0, ""), "{name} {compression}");
            let [request] = received.as_slice() else { panic!("one request: {received:?}") };
            assert_eq!(request.message, payload().segments.concat());
            assert_eq!(request.path, path);
            let header = |name| request.headers.get(name).and_then(|v| v.to_str().ok());
            assert_eq!(header("content-type"), Some(media));
            assert_eq!(header(encoding), Some(compression).filter(|c| *c != "none"));
            assert_eq!(header("api-key"), Some("hunter22"));
            let agent = header("user-agent").unwrap_or_default();
            assert!(agent.starts_with("OTel-OTLP-Exporter-Rust/"), "{agent}");
            assert!(agent.contains(" spanloom/"), "{agent}");
        }
    }
}

#[tokio::test]
async fn json_is_sent_where_it_is_asked_for() {
    let reply = Reply::http(200).body("{}").with("content-type", "application/json");
    let (outcome, received, _) = send("otlp_http", "encoding: json", reply).await;
    assert_eq!(outcome, delivered(0, ""));
    let request = received.first().expect("a request");
    assert_eq!(request.headers.get("content-type").expect("a type"), "application/json");
    let json: serde_json::Value = serde_json::from_slice(&request.message).expect("JSON");
    let groups = json.get("resourceSpans").and_then(serde_json::Value::as_array);
    assert_eq!(groups.map(Vec::len), Some(2), "{json}");
}

#[tokio::test]
async fn each_grpc_code_means_what_the_table_says_in_trailers_and_in_headers() {
    for code in 0..=17 {
        for delay in [None, Some(3)] {
            let expected = match (code, delay) {
                (0, _) => "delivered",
                (1 | 4 | 10 | 11 | 14 | 15, _) | (8, Some(_)) => "retry",
                _ => "refused",
            };
            let status = status(code, "so it is", delay);
            for reply in [Reply::grpc(&status, b""), Reply::trailers_only(&status)] {
                let (outcome, ..) = send("otlp_grpc", "", reply).await;
                assert_eq!(kind(&outcome), expected, "code {code}, {delay:?}: {outcome:?}");
                if let Outcome::Retry { after, reason } = outcome {
                    assert_eq!(after, delay.map(Duration::from_secs), "code {code}");
                    assert!(reason.contains("so it is"), "{reason}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_http_status_means_what_the_table_says() {
    for code in [200, 201, 202, 204, 301, 307, 400, 401, 403, 404, 405, 408, 413, 415, 429]
        .into_iter()
        .chain(500..=505)
    {
        let expected = match code {
            200..=299 => "delivered",
            429 | 502 | 503 | 504 => "retry",
            413 => "too large",
            _ => "refused",
        };
        let (outcome, ..) = send("otlp_http", "", Reply::http(code)).await;
        assert_eq!(kind(&outcome), expected, "HTTP {code}: {outcome:?}");
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date() {
    let now = std::time::UNIX_EPOCH + Duration::from_nanos(crate::clock::now().unix_nanos);
    let date = |t| httpdate::fmt_http_date(t);
    let soon = date(now + Duration::from_secs(100));
    let past = date(now - Duration::from_secs(100));
    for (value, least, most) in
        [("7", 7, 7), ("0", 0, 0), (soon.as_str(), 90, 100), (past.as_str(), 0, 0)]
    {
        let reply = Reply::http(503).with("retry-after", value);
        let (outcome, ..) = send("otlp_http", "", reply).await;
        let Outcome::Retry { after: Some(after), .. } = outcome else {
            panic!("{value}: {outcome:?}")
        };
        assert!((least..=most).contains(&after.as_secs()), "{value}: {after:?}");
    }
    let reply = Reply::http(503).with("retry-after", "garbage");
    let (outcome, ..) = send("otlp_http", "", reply).await;
    assert!(matches!(outcome, Outcome::Retry { after: None, .. }), "{outcome:?}");
}

#[tokio::test]
async fn partial_success_is_delivered_with_its_count_and_message() {
    let body = partial(3, "spans are too old");
    let expected = delivered(3, "spans are too old");
    let reply = Reply::grpc(&status(0, "", None), &body);
    assert_eq!(send("otlp_grpc", "", reply).await.0, expected);
    assert_eq!(send("otlp_http", "", Reply::http(200).body(body)).await.0, expected);
    let json = r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"spans are too old"}}"#;
    let reply = Reply::http(200).body(json).with("content-type", "application/json");
    assert_eq!(send("otlp_http", "", reply).await.0, expected);
}

#[tokio::test]
async fn success_with_a_garbage_body_is_delivered_with_a_warning() {
    for (name, reply) in [
        ("otlp_http", Reply::http(200).body("<html>hello</html>")),
        ("otlp_grpc", Reply::grpc(&status(0, "", None), b"<html>hello</html>")),
    ] {
        let (outcome, ..) = send(name, "", reply).await;
        assert_eq!(kind(&outcome), "delivered");
        assert!(reason(&outcome).contains("not one of OTLP"), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_refused_early() {
    for name in ["otlp_http", "otlp_grpc"] {
        let mut reply = Reply::http(200).body(vec![0; 1 << 20]);
        reply.times = 1 << 10;
        let (outcome, ..) = send(name, "", reply).await;
        assert_eq!(kind(&outcome), "refused", "{outcome:?}");
        let most = format!("more than {} MiB", limits::RESPONSE_BYTES >> 20);
        assert!(reason(&outcome).contains(&most), "{outcome:?}");
    }
}

#[tokio::test]
async fn too_large_is_told_apart_from_a_quota() {
    let large = "grpc: received message larger than max (5 vs. 4)";
    for (text, expected) in [(large, "too large"), ("quota exceeded", "refused")] {
        let reply = Reply::trailers_only(&status(8, text, None));
        assert_eq!(kind(&send("otlp_grpc", "", reply).await.0), expected, "{text}");
    }
}

#[tokio::test]
async fn errors_say_what_to_check() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("an address")
    };
    let yaml = format!("endpoint: http://{closed}");
    for name in ["otlp_grpc", "otlp_http"] {
        let outcome = exporter(name, &yaml).send(payload()).await;
        let expected = format!(
            "cannot connect to http://{closed}: connection refused; is the backend listening there?"
        );
        assert_eq!(outcome, Outcome::Retry { after: None, reason: expected });
    }
    let yaml = "endpoint: http://no-such-host.invalid:4317";
    let outcome = exporter("otlp_grpc", yaml).send(payload()).await;
    assert_eq!(kind(&outcome), "retry");
    assert!(reason(&outcome).contains("the name cannot be resolved"), "{outcome:?}");

    let (outcome, ..) = send("otlp_grpc", "", Reply::http(404)).await;
    assert!(reason(&outcome).contains("OTLP/HTTP endpoint, use otlp_http"), "{outcome:?}");
    let (outcome, ..) = send("otlp_grpc", "", Reply::http(503)).await;
    assert_eq!(kind(&outcome), "retry", "{outcome:?}");
    let html = Reply::http(200).with("content-type", "text/html");
    let (outcome, ..) = send("otlp_grpc", "", html).await;
    assert!(reason(&outcome).contains("which is not gRPC"), "{outcome:?}");

    let body = status(3, "bad span", None).encode();
    let (outcome, _, target) = send("otlp_http", "", Reply::http(400).body(body)).await;
    assert_eq!(reason(&outcome), format!("{target} answered HTTP 400: bad span"));
}

#[tokio::test]
async fn servers_of_another_protocol_are_named() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    async fn raw(answer: &'static [u8]) -> (std::net::SocketAddr, tokio_util::task::TaskTracker) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 1024]).await;
                let _ = socket.write_all(answer).await;
                let _ = socket.read_to_end(&mut vec![]).await;
            }
        });
        (address, tasks)
    }
    const HTTP_1: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    // An empty SETTINGS frame.
    const HTTP_2: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    for (name, scheme, answer, expected) in [
        ("otlp_grpc", "http", HTTP_1, "does not speak gRPC"),
        ("otlp_http", "http", HTTP_2, "use otlp_grpc"),
        ("otlp_grpc", "https", HTTP_1, "does not speak TLS"),
        ("otlp_http", "https", HTTP_1, "does not speak TLS"),
    ] {
        let (address, _tasks) = raw(answer).await;
        let yaml = format!("endpoint: {scheme}://{address}");
        let outcome = exporter(name, &yaml).send(payload()).await;
        assert_eq!(kind(&outcome), "retry", "{name}: {outcome:?}");
        assert!(reason(&outcome).contains(expected), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn secrets_are_in_no_reason() {
    let more = "headers: {authorization: Bearer hunter22}";
    for (name, reply) in [
        ("otlp_grpc", Reply::trailers_only(&status(16, "no such key Bearer hunter22", None))),
        ("otlp_http", {
            let body = status(16, "no such key Bearer hunter22", None).encode();
            Reply::http(401).body(body)
        }),
    ] {
        let (outcome, ..) = send(name, more, reply).await;
        assert!(!reason(&outcome).contains("hunter22"), "{outcome:?}");
        assert!(reason(&outcome).contains("check `headers`"), "{outcome:?}");
    }
}

#[tokio::test]
async fn signals_go_to_their_own_urls() {
    let backend = Backend::start(|_, _| Reply::http(200)).await;
    let base = format!("http://{}", backend.address);
    let yaml = format!("endpoint: {base}/base/\nlogs_endpoint: {base}/mine?k=v");
    let exporter = exporter("otlp_http", &yaml);
    for signal in Signal::ALL {
        let segments = vec![];
        exporter.send(Payload { signal, segments, items: 1 }).await;
    }
    let paths: Vec<String> = backend.received().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/base/v1/traces", "/mine", "/base/v1/metrics"]);
}

#[test]
fn a_grpc_endpoint_without_a_scheme_is_tls_unless_insecure() {
    for (yaml, expected) in [
        ("endpoint: a:1", "https://a:1"),
        ("{endpoint: 'a:1', tls: {insecure: true}}", "http://a:1"),
        ("endpoint: http://a:1", "http://a:1"),
        ("endpoint: https://a", "https://a:443"),
        ("{endpoint: 'https://a:1', tls: {insecure: true}}", "https://a:1"),
    ] {
        assert_eq!(exporter("otlp_grpc", yaml).target(), expected, "{yaml}");
    }
}

#[test]
fn defaults_are_those_of_the_collector() {
    for (name, timeout) in [("otlp_grpc", 5), ("otlp_http", 30)] {
        let section = section(name, "endpoint: http://a:1");
        assert_eq!(section.duration("timeout"), Duration::from_secs(timeout));
        assert_eq!(section.text("compression"), "gzip");
        let queue = section.section("sending_queue");
        assert_eq!((queue.count("num_consumers"), queue.count("queue_size")), (10, 1000));
    }
}

/// What the check of the exporter `name` says about `yaml`.
#[track_caller]
fn problems(name: &str, yaml: &str) -> String {
    let kind = super::LIST.iter().find(|kind| kind.component.name == name).expect("an exporter");
    let mut problems = crate::config::Problems::new();
    (kind.component.check)(&section(name, yaml), &mut problems);
    problems.to_string()
}

#[test]
fn what_the_tables_cannot_say_is_checked() {
    let cases = [
        ("otlp_grpc", "endpoint: http://a:1", ""),
        ("otlp_grpc", "endpoint: http://a:1/", ""),
        ("otlp_grpc", "endpoint: http://a:4318/v1/traces", "use otlp_http"),
        ("otlp_grpc", "endpoint: unix:///run/a", "unix sockets are not supported"),
        ("otlp_grpc", "endpoint: ':4317'", "name a host"),
        ("otlp_grpc", "{endpoint: 'a:1', headers: {a b: c}}", "is no header name"),
        ("otlp_grpc", "{endpoint: 'a:1', headers: {te: c}}", "is the exporter's own"),
        ("otlp_http", "endpoint: http://a:1", ""),
        ("otlp_http", "logs_endpoint: http://a:1/x", ""),
        ("otlp_http", "{}", "name where to send"),
        ("otlp_http", "endpoint: a:4318", "write a URL such as http://a:4318"),
        (
            "otlp_http",
            "{endpoint: 'http://a', retry_on_failure: {max_elapsed_time: 1s}}",
            "above max_elapsed_time 1s",
        ),
        (
            "otlp_http",
            "{endpoint: 'http://a', sending_queue: {batch: {min_size: 9, max_size: 5}}}",
            "write at most 5",
        ),
    ];
    for (name, yaml, expected) in cases {
        let found = problems(name, yaml);
        assert!(found.contains(expected), "{name} {yaml}: {found}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{name} {yaml}: {found}");
    }
    let found = problems("otlp_http", "{endpoint: 'http://a', headers: {k: \"hunter22\\n\"}}");
    assert!(found.contains("characters that headers cannot"), "{found}");
    assert!(!found.contains("hunter22"), "{found}");
}
