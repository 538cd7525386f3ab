//! A pipeline whose traces are divided among several tasks, and what its log records know of them,
//! through the real binary.

mod support;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use std::thread;
use support::client::{self, LOGS, TRACES};
use support::spans::{text, with};
use support::{Daemon, Sink, daemon, eventually, request, span};

const TRACE_COUNT: u128 = 2000;

/// Four shards, and a window in front of `baggage` for spans and for log records.
fn config(sink: &Sink) -> String {
    daemon::to_sink(sink)
        .replace(
            "  baggage: {}",
            "  baggage: {}\n  trace_window: {idle: 500ms, limit_mib: 64}\n  trace_window/logs: {idle: 2s}",
        )
        .replace("[sensitive, baggage, orphans]", "[sensitive, trace_window, baggage, orphans]")
        .replace("[sensitive, baggage]", "[sensitive, trace_window/logs, baggage]")
        .replace("{receivers: [otlp], processors", "{shards: 4, receivers: [otlp], processors")
}

/// A log record of each of these spans, by number of its trace.
fn logs(spans: impl Iterator<Item = (u128, u64)>) -> ExportLogsServiceRequest {
    let record = |(trace, id): (u128, u64)| LogRecord {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: spans.map(record).collect(), ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource] }
}

#[test]
fn every_span_and_log_record_carries_the_user_of_its_trace_whatever_shard_it_came_to() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&config(&sink));
    let records = logs((1..=TRACE_COUNT).map(|trace| (trace, 3)));
    assert_eq!(client::grpc_export(&daemon.grpc(), LOGS, &records).grpc_status(), Some(0));
    // The leaves first and the roots last, each on connections of their own and in small batches.
    for id in (1..=3u64).rev() {
        thread::scope(|scope| {
            for part in 0..4 {
                let daemon = &daemon;
                scope.spawn(move || {
                    let traces: Vec<u128> = (1 + part..=TRACE_COUNT).step_by(4).collect();
                    for traces in traces.chunks(100) {
                        let spans = traces.iter().map(|trace| {
                            let one = span("s", *trace, id, id - 1);
                            let header = text(&format!("user.id=u{trace}"));
                            if id == 1 { with(one, [("baggage", header)]) } else { one }
                        });
                        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
                        assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
                    }
                });
            }
        });
    }
    let user = |id: &[u8]| {
        format!("u{}", u128::from_be_bytes(id.try_into().expect("sixteen bytes of a trace id")))
    };
    let arrived = sink.wait_for_spans(3 * TRACE_COUNT as usize);
    assert_eq!(arrived.len(), 3 * TRACE_COUNT as usize);
    for seen in &arrived {
        assert_eq!(seen.text("user.id"), Some(user(&seen.span.trace_id).as_str()), "{}", seen.id());
    }
    let records = || {
        let groups = sink.logs().into_iter().flat_map(|request| request.resource_logs);
        let scopes = groups.flat_map(|group| group.scope_logs);
        let all: Vec<LogRecord> = scopes.flat_map(|scope| scope.log_records).collect();
        (all.len() == TRACE_COUNT as usize).then_some(all)
    };
    for record in eventually(records).expect("all log records arrive") {
        let found = support::spans::find(&record.attributes, "user.id").cloned();
        assert_eq!(found, Some(text(&user(&record.trace_id))));
    }
    let counted = |name: &str| daemon.metric(name, "");
    assert_eq!(counted("spanloom_baggage_traces"), TRACE_COUNT as f64, "one memory for all");
    assert_eq!(counted("spanloom_trace_window_remembered_traces"), 2.0 * TRACE_COUNT as f64);
    assert!(daemon.stop().success());
}
