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

/// Four shards, and a window in front of `baggage` for spans and for log records, of which the
/// latter leave at the end.
fn config(sink: &Sink) -> String {
    daemon::to_sink(sink)
        .replace(
            "  baggage: {}",
            "  baggage: {}\n  trace_window: {idle: 3s, limit_mib: 64}\n  trace_window/logs: {idle: 1h, wait: 1h}",
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
    // One of no trace passes at once, and shows what is known.
    let none = logs([(0, 0)].into_iter());
    assert_eq!(client::grpc_export(&daemon.grpc(), LOGS, &none).grpc_status(), Some(0));
    let known = || daemon.metric("spanloom_baggage_traces", "");
    let all = || (known() == TRACE_COUNT as f64).then_some(());
    assert!(eventually(all).is_some(), "{} traces in the one memory of all", known());
    let left = daemon.metric("spanloom_trace_window_remembered_traces", "");
    assert_eq!(left, TRACE_COUNT as f64, "of all shards together");
    assert!(daemon.stop().success());
    let groups = sink.logs().into_iter().flat_map(|request| request.resource_logs);
    let records = groups.flat_map(|group| group.scope_logs).flat_map(|scope| scope.log_records);
    let records: Vec<LogRecord> = records.filter(|record| record.trace_id != [0; 16]).collect();
    assert_eq!(records.len(), TRACE_COUNT as usize);
    for record in records {
        let found = support::spans::find(&record.attributes, "user.id").cloned();
        assert_eq!(found, Some(text(&user(&record.trace_id))));
    }
}

/// The user on a log record whose span has one, with these processors for log records; the span
/// has passed `baggage` alone.
fn user_of_record(processors: &str, logs_from: &str) -> Option<String> {
    let sink = Sink::start();
    let yaml = daemon::to_sink(&sink)
        .replace("  baggage: {}", "  baggage: {}\n  trace_window: {idle: 100ms}")
        .replacen(
            "receivers:\n",
            "receivers:\n  otlp/2: {protocols: {http: {endpoint: \"127.0.0.1:0\"}}}\n",
            1,
        )
        .replace(
            "traces: {receivers: [otlp], processors: [sensitive, baggage, orphans]",
            "traces: {receivers: [otlp], processors: [baggage]",
        )
        .replace(
            "logs: {receivers: [otlp], processors: [sensitive, baggage]",
            &format!("logs: {{receivers: [{logs_from}], processors: [{processors}]"),
        );
    let daemon = Daemon::start(&yaml);
    let entry = with(span("entry", 1, 1, 0), [("user.id", text("alice"))]);
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([entry]));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    sink.wait_for_spans(1);
    let reply = client::grpc_export(&daemon.grpc(), LOGS, &logs([(1, 1)].into_iter()));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    let arrived = || Some(sink.logs()).filter(|logs| !logs.is_empty());
    let groups = eventually(arrived).expect("it arrives").into_iter().flat_map(|r| r.resource_logs);
    let mut records = groups.flat_map(|g| g.scope_logs).flat_map(|scope| scope.log_records);
    let record = records.next().expect("one log record");
    support::spans::find(&record.attributes, "user.id").map(|value| format!("{value:?}"))
}

#[test]
fn what_was_learned_in_front_of_other_processors_is_not_known_behind_them() {
    let known = user_of_record("trace_window, baggage", "otlp");
    assert!(known.is_some_and(|user| user.contains("alice")), "they see the same");
    assert_eq!(user_of_record("sensitive, baggage", "otlp"), None);
    assert_eq!(user_of_record("baggage", "otlp, otlp/2"), None, "others send there too");
}
