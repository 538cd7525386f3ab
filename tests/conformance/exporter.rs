//! Exporters: what they send, how many at once, and what they make of success.

use std::collections::BTreeSet;

use prost::Message;

use super::bench::same;
use super::support::spans::{text, with};
use super::support::{
    Answer, Daemon, Fault, Proxy, Sink, client, daemon, eventually, request, span,
};
use super::table::{Checked, Row, client as client_row, ensure};
use super::wire::{PROTOBUF, of_size};

/// Both exporters.
pub const KINDS: [&str; 2] = ["otlp_grpc", "otlp_http"];

/// A spanloom that sends what it gets through one exporter, and the sink that it sends to. Its
/// answers are the sink's, unless `more`, keys in YAML, say otherwise.
pub struct Way {
    pub daemon: Daemon,
    pub sink: Sink,
}

pub const AT_ONCE: &str = "sending_queue: {enabled: false}, \
    retry_on_failure: {initial_interval: 10ms, max_interval: 10ms}";

impl Way {
    pub fn start(kind: &str, more: &str) -> Way {
        let sink = Sink::start();
        let daemon = exporting(kind, &sink.endpoint(), more);
        Way { daemon, sink }
    }

    /// Sends one span; the status of the answer.
    pub fn send(&self) -> u16 {
        send(&self.daemon, 1)
    }

    /// What a client is told, and how often the sink was asked, when it answers so at first and
    /// takes everything then.
    pub fn told(&self, first: Answer) -> (u16, usize) {
        let before = self.sink.received().len();
        self.sink.answer_next([first]);
        let status = self.send();
        (status, self.sink.received().len() - before)
    }

    pub fn metric(&self, name: &str) -> f64 {
        self.daemon.metric(&format!("otelcol_exporter_{name}_spans"), "")
    }
}

pub fn exporting(kind: &str, endpoint: &str, more: &str) -> Daemon {
    let exporter = format!("{kind}: {{endpoint: \"{endpoint}\", {more}}}");
    let yaml = daemon::config(&exporter, &[kind]);
    Daemon::start(&yaml.replace("[sensitive, baggage, orphans]", "[]"))
}

pub fn send(daemon: &Daemon, id: u64) -> u16 {
    let request = request([span("chat", 1, id, 0)]);
    client::post_protobuf(&daemon.http(), "/v1/traces", &request).status
}

pub const ROWS: &[Row] = &[
    client_row("C10", "SHOULD", "requests are limited; over it they are not sent", |b| {
        let way = Way::start("otlp_grpc", "compression: none, sending_queue: {enabled: false}");
        let pad = "x".repeat(100_000);
        let spans = (1..=50).map(|id| with(span("wide", 1, id, 0), [("pad", text(&pad))]));
        let reply = client::post_protobuf(&way.daemon.http(), "/v1/traces", &request(spans));
        same(reply.status, 200)?;
        let received = way.sink.received();
        let largest = received.iter().map(|one| one.wire_bytes).max().unwrap_or(0);
        ensure(largest <= (1 << 20) + 5, || format!("a request of {largest} bytes"))?;
        same(way.sink.spans().len(), 50)?;
        // What is larger than 64 MiB does not come in, and so does not go out.
        let reply = b.post("/v1/traces", &[PROTOBUF], of_size((64 << 20) + 1))?;
        same(reply.status, 413)
    }),
    client_row("C11", "MUST", "a response over 4 MiB is not tried again", |_| {
        for kind in KINDS {
            let way = Way::start(kind, AT_ONCE);
            let (status, attempts) = way.told(Answer::Message(vec![0x0a; 5 << 20]));
            ensure(status != 200 && attempts == 1, || format!("{kind}: {status}, {attempts}"))?;
            same(way.metric("send_failed"), 1.0)?;
            way.daemon.wait_for_log("more than 4 MiB");
        }
        Ok(())
    }),
    client_row("C18", "SHOULD", "connections are kept between requests", |_| {
        for kind in KINDS {
            let sink = Sink::start();
            let proxy = Proxy::start(sink.address(), Fault::None);
            let daemon = exporting(kind, &proxy.endpoint(), AT_ONCE);
            for id in 1..=5 {
                same(send(&daemon, id), 200)?;
            }
            same(proxy.accepted(), 1)?;
        }
        Ok(())
    }),
    client_row("C19", "MAY", "requests one after the other", |_| concurrency(1)),
    client_row("C20", "SHOULD", "requests at the same time", |_| concurrency(4)),
    client_row("C21", "SHOULD", "how many is configurable", |_| concurrency(2)),
    client_row("C22", "SHOULD", "waiting at shutdown can be switched off", |_| {
        // By the one who shuts down: a second signal ends the wait.
        let mut way = Way::start("otlp_grpc", "timeout: 30s");
        way.sink.answer_always(Answer::Silence);
        same(way.send(), 200)?;
        way.sink.wait_for_requests(1);
        way.daemon.signal("TERM");
        way.daemon.wait_for_log("stopping");
        way.daemon.stop();
        way.daemon.wait_for_log("stopped at once by a second signal");
        Ok(())
    }),
    client_row("C23", "SHOULD", "what was not delivered is recorded", |_| {
        for kind in KINDS {
            let way = Way::start(kind, AT_ONCE);
            way.told(Answer::Http(400, vec![]));
            same(way.metric("send_failed"), 1.0)?;
            way.daemon.wait_for_log("lost");
        }
        Ok(())
    }),
    client_row("C31", "MUST", "a partial success is not tried again", |_| {
        for kind in KINDS {
            let way = Way::start(kind, AT_ONCE);
            same(way.told(Answer::Message(partial(1, "too old"))), (200, 1))?;
            way.daemon.wait_for_log("too old");
            same(way.metric("sent"), 0.0)?;
            // Rejected nothing and said something: a warning, and no loss.
            let way = Way::start(kind, AT_ONCE);
            same(way.told(Answer::Message(partial(0, "use TLS"))), (200, 1))?;
            way.daemon.wait_for_log("use TLS");
            same((way.metric("sent"), way.metric("send_failed")), (1.0, 0.0))?;
        }
        Ok(())
    }),
    client_row("C42", "MAY", "Status.code may be missing; clients do not act on it", |_| {
        let way = Way::start("otlp_http", AT_ONCE);
        // The HTTP status is final, whatever the body says.
        let kind = ("content-type", "application/x-protobuf".to_owned());
        for status in [400, 500] {
            let (told, attempts) = way.told(Answer::Http(status, vec![kind.clone()]));
            ensure(told != 200 && attempts == 1, || format!("{status}: {told}, {attempts}"))?;
        }
        let unavailable = b"\x08\x0e\x12\x04wait".to_vec();
        let proxy = Proxy::start(way.sink.address(), answer_of("400 Bad Request", &unavailable));
        let daemon = exporting("otlp_http", &proxy.endpoint(), AT_ONCE);
        ensure(send(&daemon, 1) != 200, || "it was tried again until taken".to_owned())?;
        same(proxy.accepted(), 1)
    }),
    client_row(
        "C80",
        "SHOULD",
        "each destination for itself; a slow one holds up no other",
        |_| {
            let (slow, quick) = (Sink::start(), Sink::start());
            slow.answer_always(Answer::Silence);
            let exporters = format!(
                "otlp_grpc/slow: {{endpoint: \"{}\"}}\notlp_grpc/quick: {{endpoint: \"{}\"}}",
                slow.endpoint(),
                quick.endpoint()
            );
            let yaml = daemon::config(&exporters, &["otlp_grpc/slow", "otlp_grpc/quick"]);
            let daemon = Daemon::start(&yaml);
            for id in 1..=20 {
                same(send(&daemon, id), 200)?;
            }
            let arrived: BTreeSet<_> =
                quick.wait_for_spans(20).iter().map(|one| one.id()).collect();
            same(arrived.len(), 20)?;
            ensure(!slow.received().is_empty(), || "the slow one was not asked".to_owned())
        },
    ),
];

/// An answer over HTTP/1 by a proxy.
pub fn answer_of(status: &str, body: &[u8]) -> Fault {
    let kind = "content-type: application/x-protobuf\r\nconnection: close";
    let head = format!("HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    Fault::Answer([head.into_bytes(), body.to_vec()].concat(), 1)
}

/// An Export<Signal>ServiceResponse with partial_success.
fn partial(rejected: i64, text: &str) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1 as traces;
    let partial = traces::ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: text.to_owned(),
    };
    traces::ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

/// `consumers` requests come although none is answered, and no more.
fn concurrency(consumers: usize) -> Checked {
    let more = format!("timeout: 30s, sending_queue: {{num_consumers: {consumers}}}");
    let way = Way::start("otlp_grpc", &more);
    way.sink.answer_always(Answer::Silence);
    for requests in 1..=consumers {
        same(way.send(), 200)?;
        way.sink.wait_for_requests(requests);
    }
    same(way.send(), 200)?;
    let size = || way.daemon.metric("otelcol_exporter_queue_size", "traces");
    let queued = eventually(|| (size() > consumers as f64).then_some(()));
    ensure(queued.is_some(), || format!("queued: {}", size()))?;
    same(way.sink.received().len(), consumers)
}
