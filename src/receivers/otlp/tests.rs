//! The receiver against real sockets, with pipelines that do as the test says.

use super::*;
use crate::account::Account;
use crate::batch::{Batch, Signal};
use crate::intake::{Consumer, Intake};
use crate::limits;
use crate::telemetry::Registry;
use crate::transport::Encoding;
use crate::transport::compress::deflate;
use crate::verdict::{Refusal, Verdict};
use bytes::Bytes;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wire::{JSON, PROTOBUF, call, call_at, check_http, framed, of_size, one_span};
use wire::{Target, post, send};

#[path = "../../../tests/support/bad_input/wire.rs"]
mod wire;

/// A pipeline that gives every batch the same verdict and remembers it.
struct Pipeline {
    verdict: Verdict,
    taken: Mutex<Vec<(Signal, Bytes)>>,
}

impl Pipeline {
    fn taken(&self) -> MutexGuard<'_, Vec<(Signal, Bytes)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer for Pipeline {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if batch.bytes().len() < 1 << 20 {
                self.taken().push((batch.signal(), batch.bytes().clone()));
            }
            batch.settle(&self.verdict);
        })
    }
}

/// A receiver that runs, with one pipeline for all signals.
struct Fixture {
    runtime: Runtime,
    target: Target,
    pipeline: Arc<Pipeline>,
    registry: Registry,
    stop: CancellationToken,
    done: Pin<Box<dyn Future<Output = ()> + Send>>,
}

fn receiver(verdict: Verdict) -> Fixture {
    receiver_with(verdict, limits::INFLIGHT_BYTES, Signal::ALL.to_vec())
}

/// A receiver with `room` bytes for requests, and pipelines for some signals only.
fn receiver_with(verdict: Verdict, room: usize, signals: Vec<Signal>) -> Fixture {
    start_receiver("{endpoint: \"127.0.0.1:0\"}", verdict, room, signals)
}

/// A receiver with these settings of `protocols.grpc`.
fn receiver_of(grpc: &str) -> Fixture {
    start_receiver(grpc, Verdict::Accepted, limits::INFLIGHT_BYTES, Signal::ALL.to_vec())
}

fn start_receiver(grpc: &str, verdict: Verdict, room: usize, signals: Vec<Signal>) -> Fixture {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    let pipeline = Arc::new(Pipeline { verdict, taken: Mutex::default() });
    let consumers = Signal::ALL
        .map(|signal| signals.contains(&signal).then(|| pipeline.clone() as Arc<dyn Consumer>));
    let (registry, stop) = (Registry::default(), CancellationToken::new());
    let setup = Setup {
        id: "otlp".to_owned(),
        registry: registry.clone(),
        intake: Intake::new(room, Account::default()).leading_to(consumers),
        sockets: Default::default(),
        stop: stop.clone(),
    };
    let http = wire::CONFIG;
    let yaml = format!("protocols: {{grpc: {grpc}, http: {http}}}");
    let section = Section::from_yaml(keys::KEYS, &yaml).unwrap();
    let running = runtime.block_on(start(&section, setup)).unwrap();
    let address = |protocol: Protocol| {
        let mut listeners = running.listeners.iter();
        listeners.find(|l| l.protocol == protocol.name()).unwrap().address.to_string()
    };
    let target = Target { grpc: address(Protocol::Grpc), http: address(Protocol::Http) };
    Fixture { runtime, target, pipeline, registry, stop, done: running.done }
}

impl Fixture {
    /// The value of a metric with these labels.
    #[track_caller]
    fn metric(&self, name: &str, labels: &str) -> u64 {
        let page = self.registry.render();
        let start = format!("{name}{{{labels}}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap_or_else(|| panic!("no {start}in\n{page}")).parse().unwrap()
    }

    /// What has been taken since the last time.
    fn taken(&self) -> Vec<(Signal, Bytes)> {
        std::mem::take(&mut *self.pipeline.taken())
    }
}

const METHODS: [(Signal, &str, &str); 3] = [
    (Signal::Traces, "/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    (Signal::Logs, "/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
    (
        Signal::Metrics,
        "/v1/metrics",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    ),
];

/// A request of `signal` with one item, which has an unknown field.
fn one_item(signal: Signal) -> Vec<u8> {
    let item: &[u8] = match signal {
        Signal::Traces => &[0x2a, 1, b'x', 0xb8, 0x3e, 5],
        Signal::Logs => &[0x1a, 1, b'x', 0xb8, 0x3e, 5],
        // A gauge with one data point.
        Signal::Metrics => &[0x0a, 1, b'x', 0x2a, 2, 0x0a, 0, 0xb8, 0x3e, 5],
    };
    let field = |number: u8, body: &[u8]| [&[number << 3 | 2, body.len() as u8], body].concat();
    field(1, &field(2, &field(2, item)))
}

#[test]
fn every_signal_arrives_byte_for_byte_in_every_protocol_and_encoding() {
    let fixture = receiver(Verdict::Accepted);
    let target = &fixture.target;
    let encodings = [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Deflate];
    for (signal, path, method) in METHODS {
        let bytes = Bytes::from(one_item(signal));
        for encoding in encodings {
            let body = deflate(encoding, std::slice::from_ref(&bytes));
            let headers = [PROTOBUF, ("content-encoding", encoding.name())];
            post(target, path, &headers, body.clone(), 200).unwrap();
            let message = framed(encoding != Encoding::Identity, &body);
            let headers = [("grpc-encoding", encoding.name())];
            for port in [&target.grpc, &target.http] {
                call_at(port, method, &headers, message.clone(), 0).unwrap();
            }
            let expected = vec![(signal, bytes.clone()); 3];
            assert_eq!(fixture.taken(), expected, "{signal:?} {encoding:?}");
        }
        for transport in ["grpc", "http"] {
            let name = format!("otelcol_receiver_accepted_{}", signal.items());
            let labels = format!("receiver=\"otlp\",transport=\"{transport}\"");
            let expected = if transport == "grpc" { 8 } else { 4 };
            assert_eq!(fixture.metric(&name, &labels), expected, "{name} {labels}");
        }
    }
}

#[test]
fn json_arrives_as_the_same_protobuf() {
    let fixture = receiver(Verdict::Accepted);
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}"#;
    post(&fixture.target, "/v1/traces", &[JSON], json, 200).unwrap();
    let expected = Bytes::from_static(&[0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, b'x']);
    assert_eq!(fixture.taken(), [(Signal::Traces, expected)]);
}

#[test]
fn what_the_pipeline_says_is_what_the_client_is_told() {
    let refused = |kind| Verdict::refused(kind, "because of a test");
    let cases = [
        (Verdict::busy("because of a test"), 503, 14, "busy"),
        (refused(Refusal::Malformed), 400, 3, "malformed"),
        (refused(Refusal::TooLarge), 413, 8, "too_large"),
        (refused(Refusal::Internal), 500, 13, "internal"),
    ];
    for (verdict, status, code, reason) in cases {
        let fixture = receiver(verdict);
        let target = &fixture.target;
        let reply = send(false, "POST", &target.http, "/v1/traces", &[PROTOBUF], one_span());
        let reply = reply.unwrap();
        check_http(&reply, false, status).unwrap();
        let delay = (status == 503).then_some("1");
        assert_eq!(reply.header("retry-after"), delay, "{reason}");
        let reply = call(target, &[], framed(false, &one_span()), code).unwrap();
        assert_eq!(reply.header("grpc-message"), Some("because of a test"));
        let pushback = (code == 14).then_some("1000");
        assert_eq!(reply.header("grpc-retry-pushback-ms"), pushback, "{reason}");
        for transport in ["grpc", "http"] {
            let labels = format!("receiver=\"otlp\",transport=\"{transport}\"");
            assert_eq!(fixture.metric("otelcol_receiver_refused_spans", &labels), 1);
            let labels = format!("reason=\"{reason}\",{labels}");
            assert_eq!(fixture.metric("spanloom_receiver_refused_requests", &labels), 1);
        }
    }
}

#[test]
fn an_empty_request_is_taken_and_reaches_no_pipeline() {
    let fixture = receiver(Verdict::busy("not asked"));
    let target = &fixture.target;
    // Nothing at all; a group without anything in it.
    for body in [&[][..], &[0x0a, 0]] {
        post(target, "/v1/traces", &[PROTOBUF], body, 200).unwrap();
        call(target, &[], framed(false, body), 0).unwrap();
    }
    assert_eq!(fixture.taken(), []);
}

#[test]
fn a_signal_that_no_pipeline_takes_is_refused_with_a_sentence() {
    let fixture = receiver_with(Verdict::Accepted, 1 << 20, vec![Signal::Traces]);
    let target = &fixture.target;
    post(target, "/v1/traces", &[PROTOBUF], one_span(), 200).unwrap();
    let (_, path, method) = METHODS[1];
    post(target, path, &[PROTOBUF], "", 404).unwrap();
    let reply = call_at(&target.grpc, method, &[], framed(false, b""), 12).unwrap();
    let sentence = reply.header("grpc-message").unwrap();
    assert!(sentence.contains("no pipeline takes logs"), "{sentence}");
}

#[test]
fn who_finds_no_room_is_told_to_come_back() {
    let fixture = receiver_with(Verdict::Accepted, 512 << 10, Signal::ALL.to_vec());
    let target = &fixture.target;
    let large = of_size(1 << 20);
    post(target, "/v1/traces", &[PROTOBUF], large.clone(), 503).unwrap();
    call(target, &[], framed(false, &large), 14).unwrap();
    // And has not kept any.
    let fits = of_size(400 << 10);
    for _ in 0..4 {
        post(target, "/v1/traces", &[PROTOBUF], fits.clone(), 200).unwrap();
    }
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let fixture = receiver_with(Verdict::Accepted, 1 << 20, Signal::ALL.to_vec());
    let target = &fixture.target;
    let head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\
                Content-Type: application/x-protobuf\r\n\r\n";
    for _ in 0..6 {
        let mut stream = wire::connect(&target.http).unwrap();
        let body = vec![0; 300_000];
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        drop(stream);
        post(target, "/v1/traces", &[PROTOBUF], of_size(400 << 10), 200).unwrap();
    }
}

#[test]
fn stopping_lets_requests_under_way_finish_and_takes_no_more() {
    let mut fixture = receiver(Verdict::Accepted);
    let Target { grpc, http } = &fixture.target;
    let target = Target { grpc: grpc.clone(), http: http.clone() };
    // A connection that idles, and one in the middle of a request.
    let mut idle = wire::connect(&target.http).unwrap();
    let body = one_span();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut busy = wire::connect(&target.http).unwrap();
    busy.write_all(head.as_bytes()).unwrap();
    // It asks for the body: the request is under way.
    let mut asked = [0; 25];
    busy.read_exact(&mut asked).unwrap();
    fixture.stop.cancel();
    assert_eq!(wire::rest(&mut idle), Ok(vec![]));
    busy.write_all(&body).unwrap();
    let answer = wire::rest(&mut busy).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    fixture.runtime.block_on(&mut fixture.done);
    assert!(TcpStream::connect(&target.http).is_err(), "still listening");
    assert!(TcpStream::connect(&target.grpc).is_err(), "still listening");
    assert_eq!(fixture.taken().len(), 1);
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let fixture = receiver(Verdict::Accepted);
    let yaml = format!("protocols: {{grpc: {{endpoint: \"{}\"}}}}", fixture.target.grpc);
    let section = Section::from_yaml(keys::KEYS, &yaml).unwrap();
    let setup = Setup {
        id: "otlp/2".to_owned(),
        registry: Registry::default(),
        intake: Intake::new(1 << 20, Account::default()),
        sockets: Default::default(),
        stop: CancellationToken::new(),
    };
    let error = fixture.runtime.block_on(start(&section, setup)).err().unwrap();
    assert!(error.contains(&fixture.target.grpc), "{error}");
    assert!(error.contains("another process listens there"), "{error}");
}

#[test]
fn connections_are_closed_when_they_are_idle_or_old() {
    for parameters in ["max_connection_idle: 1s", "max_connection_age: 1s"] {
        let keepalive = format!("{{server_parameters: {{{parameters}, {GRACE}}}}}");
        let fixture =
            receiver_of(&format!("{{endpoint: \"127.0.0.1:0\", keepalive: {keepalive}}}"));
        let mut stream = wire::connect(&fixture.target.grpc).unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).unwrap();
        wire::rest(&mut stream).unwrap();
    }
}

const GRACE: &str = "max_connection_age_grace: 1s";
