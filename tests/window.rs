//! `trace_window` and `baggage` behind it, through the real binary: several services on connections
//! of their own, spans that come child-first, and a window that is offered ten times what it holds.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use opentelemetry_proto::tonic::trace::v1::Span;
use spanloom::batch::{Batch, Signal};
use spanloom::moment::Moment;
use support::client::{self, TRACES};
use support::spans::{text, with};
use support::{Daemon, Seen, Sink, daemon, eventually, python, request, span};

/// A configuration with `trace_window`, a YAML map, before `baggage`.
fn config(exporters: &str, names: &[&str], window: &str) -> String {
    daemon::config(exporters, names)
        .replace("  baggage: {}", &format!("  trace_window: {window}\n  baggage: {{}}"))
        .replace("[sensitive, baggage, orphans]", "[sensitive, trace_window, baggage, orphans]")
}

fn to_sink(sink: &Sink, window: &str) -> String {
    let exporter = format!("otlp_grpc: {{endpoint: \"{}\"}}", sink.endpoint());
    config(&exporter, &["otlp_grpc"], window)
}

/// Sends spans as one request on a connection of its own; the client is answered at once.
#[track_caller]
fn send(daemon: &Daemon, by_grpc: bool, spans: impl IntoIterator<Item = Span>) {
    let request = request(spans);
    if by_grpc {
        let reply = client::grpc_export(&daemon.grpc(), TRACES, &request);
        assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    } else {
        let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[track_caller]
fn user<'a>(arrived: &'a [Seen], name: &str) -> Option<&'a str> {
    let seen = arrived.iter().find(|seen| seen.span.name == name);
    seen.unwrap_or_else(|| panic!("{name} did not arrive")).text("user.id")
}

#[test]
fn spans_that_come_before_their_entry_carry_its_user() {
    let sink = Sink::start();
    let daemon = Daemon::start(&to_sink(&sink, "{idle: 500ms}"));
    // Three services, leaves first, the entry last, other traces between.
    send(&daemon, false, [span("tool", 1, 5, 4), span("chat", 1, 4, 3)]);
    send(&daemon, true, (100..400).map(|trace| span("other", trace, 1, 0)));
    send(&daemon, true, [span("specialist", 1, 3, 2), span("call", 1, 2, 1)]);
    let header = text("user.id=alice,session.id=s-42");
    send(&daemon, false, [with(span("entry", 1, 1, 0), [("http.request.header.baggage", header)])]);
    let arrived = sink.wait_for_spans(305);
    for name in ["tool", "chat", "specialist", "call", "entry"] {
        assert_eq!(user(&arrived, name), Some("alice"), "{name}");
    }
    assert!(
        arrived.iter().all(|seen| (seen.span.name == "other") == seen.text("user.id").is_none())
    );
    let traces = "otelcol_processor_groupbytrace_traces_released";
    assert_eq!(daemon.metric(traces, "cause=\"idle\""), 301.0);
    assert!(sink.received().len() < 20, "traces leave together");
    // A late span follows without a window of its own.
    send(&daemon, true, [span("late", 1, 6, 3)]);
    assert_eq!(user(&sink.wait_for_spans(306), "late"), Some("alice"));
    assert_eq!(daemon.metric("spanloom_trace_window_late_spans", ""), 1.0);
}

#[test]
fn two_users_in_one_trace_stay_apart() {
    let sink = Sink::start();
    let daemon = Daemon::start(&to_sink(&sink, "{idle: 500ms}"));
    let [alice, bob] = [2, 3].map(|id| {
        let user = if id == 2 { "alice" } else { "bob" };
        with(span(user, 1, id, 1), [("user.id", text(user))])
    });
    send(&daemon, true, [span("below bob", 1, 5, 3), span("below alice", 1, 4, 2)]);
    send(&daemon, false, [bob, span("root", 1, 1, 0)]);
    send(&daemon, true, [span("deep below bob", 1, 6, 5), alice]);
    let arrived = sink.wait_for_spans(6);
    for (name, expected) in [
        ("root", None),
        ("below alice", Some("alice")),
        ("below bob", Some("bob")),
        ("deep below bob", Some("bob")),
    ] {
        assert_eq!(user(&arrived, name), expected, "{name}");
    }
}

#[test]
fn the_shutdown_hands_on_what_is_held() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&to_sink(&sink, "{idle: 1h, wait: 1h}"));
    send(&daemon, true, [span("child", 1, 2, 1)]);
    send(&daemon, true, [with(span("entry", 1, 1, 0), [("user.id", text("alice"))])]);
    assert!(sink.spans().is_empty());
    assert!(daemon.stop().success());
    assert_eq!(user(&sink.spans(), "child"), Some("alice"));
}

#[test]
fn a_backend_that_is_down_keeps_nothing_from_arriving_later() {
    let sink = Sink::start();
    sink.answer_next((0..3).map(|_| support::Answer::Http(503, vec![])));
    let exporter = format!(
        "otlp_grpc: {{endpoint: \"{}\", retry_on_failure: {{initial_interval: 100ms}}, \
         sending_queue: {{queue_size: 1, num_consumers: 1}}}}",
        sink.endpoint()
    );
    let daemon = Daemon::start(&config(&exporter, &["otlp_grpc"], "{idle: 100ms}"));
    for trace in 1..=5 {
        send(&daemon, true, [span("s", trace, 1, 0)]);
        thread::sleep(std::time::Duration::from_millis(150));
    }
    let sent = || daemon.metric("otelcol_exporter_sent_spans", "");
    assert_eq!(eventually(|| (sent() == 5.0).then_some(())), Some(()), "{} were sent", sent());
    assert_eq!(daemon.metric("otelcol_exporter_enqueue_failed_spans", ""), 0.0);
}

/// Many megabytes of hostile baggage: every bound holds, nothing stops.
#[test]
fn hostile_baggage_costs_little() {
    let sink = Sink::start();
    let daemon = Daemon::start(&to_sink(&sink, "{idle: 200ms}"));
    let idle = daemon.resident_kib();
    let members: Vec<String> = (0..1000).map(|n| format!("k{n}=v")).collect();
    let hostile = [
        members.join(","),
        format!("user.id={}", "x".repeat(1 << 20)),
        "user.id=%00%0a,session.id=\u{1}".to_owned(),
    ];
    for (trace, baggage) in (1..).zip(&hostile) {
        send(&daemon, true, [with(span("s", trace, 1, 0), [("baggage", text(baggage))])]);
    }
    for n in 0..20u128 {
        let spans = (0..5000).map(|k| {
            let id = n * 5000 + k;
            let baggage = text(&format!("user.id=u{id}"));
            with(span("s", 1000 + id, 1, 0), [("baggage", baggage)])
        });
        send(&daemon, true, spans);
    }
    let arrived = sink.wait_for_spans(100_003);
    assert_eq!(arrived.iter().filter(|seen| seen.text("user.id").is_some()).count(), 100_000);
    let rejected = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        daemon.metric("spanloom_baggage_rejected_members", &label)
    };
    // 1,000 members are 936 too many; of the megabyte nothing is read.
    assert_eq!(rejected("beyond_limit"), 937.0);
    assert_eq!(rejected("malformed"), 2.0);
    assert!(daemon.metric("spanloom_baggage_traces", "") <= 50_000.0);
    let grown = daemon.peak_resident_kib() - idle;
    assert!(grown < 150 << 10, "{grown} KiB more at most");
}

/// The spans of `batch` that carry a user.
fn with_user(batch: &Batch) -> usize {
    let groups = batch.request().resource_groups().flat_map(|group| group.scope_groups());
    let spans = groups.flat_map(|group| group.spans());
    spans.filter(|span| span.attributes().any(|attribute| attribute.key == b"user.id")).count()
}

/// A backend that takes everything, counts the spans that carry a user, and keeps nothing.
fn counting_backend() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let spans = Arc::new(AtomicUsize::new(0));
    let counted = spans.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let spans = counted.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(body) = body(&mut reader) {
                    let batch = Batch::parse(Signal::Traces, body.into(), Moment::default());
                    let known = with_user(&batch.expect("well-formed"));
                    spans.fetch_add(known, Ordering::Relaxed);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, spans)
}

/// The body of the next request on a connection.
fn body(reader: &mut BufReader<std::net::TcpStream>) -> Option<Vec<u8>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// Who makes up a user per request fills no memory with it, and loses no span.
#[test]
fn of_a_million_users_half_are_known_and_all_spans_arrive() {
    let (backend, counted) = counting_backend();
    let exporter = format!("otlp_http: {{endpoint: \"{backend}\", compression: none}}");
    let daemon = Daemon::start(&config(&exporter, &["otlp_http"], "{idle: 200ms}"));
    let idle = daemon.resident_kib();
    for n in 0..100u128 {
        let spans = (n * 10_000..(n + 1) * 10_000).map(|id| {
            with(span("s", 1 + id, 1, 0), [("baggage", text(&format!("user.id=u{id}")))])
        });
        send(&daemon, true, spans);
    }
    let sent = || (daemon.metric("otelcol_exporter_sent_spans", "") == 1e6).then_some(());
    assert!(eventually(sent).is_some(), "spans were lost");
    let rejected = "spanloom_baggage_rejected_members";
    assert_eq!(daemon.metric(rejected, "reason=\"too_many_values\""), 500_000.0);
    assert_eq!(counted.load(Ordering::Relaxed), 500_000);
    assert!(daemon.metric("spanloom_baggage_traces", "") <= 50_000.0);
    let grown = daemon.peak_resident_kib() - idle;
    println!("{grown} KiB more at most");
    assert!(grown < 200 << 10, "{grown} KiB more at most");
}

/// Spans of a request, of about 1 KiB each.
const SPANS: usize = 100;
const REQUESTS: usize = 6400;

/// Of each trace ten spans come at once, and ten in a request that comes soon, with the root, which
/// alone has the user.
fn hundred(n: usize, content: &str) -> impl Iterator<Item = Span> + '_ {
    (0..SPANS).map(move |k| {
        let trace = 2 + (n / 4 * 20 + n % 2 * 10 + k / 10) as u128;
        let id = 20 - (n % 4 / 2 * 10 + k % 10) as u64;
        let one = with(span("s", trace, id, id - 1), [("content", text(content))]);
        if id == 1 { with(one, [("user.id", text("alice"))]) } else { one }
    })
}

#[test]
fn a_window_that_is_offered_ten_times_what_it_holds_stays_within_and_loses_nothing() {
    let (backend, counted) = counting_backend();
    // What has left the window waits in the queue, which has a bound of its own.
    let exporter = format!(
        "otlp_http: {{endpoint: \"{backend}\", compression: none, \
         sending_queue: {{limit_mib: 2, num_consumers: 2, batch: {{flush_timeout: 1ms}}}}}}"
    );
    let window = "{idle: 1h, wait: 1h, limit_mib: 64}";
    // Their own memories are bounded apart.
    let yaml = config(&exporter, &["otlp_http"], window)
        .replace("  baggage: {}", "  baggage: {limit_traces: 1000}")
        .replace("trace_window, baggage, orphans", "trace_window, baggage");
    let mut daemon = Daemon::start(&yaml);
    send(&daemon, true, [with(span("s", 1, 1, 0), [("user.id", text("alice"))])]);
    let idle = daemon.resident_kib();
    let content = "x".repeat(900);
    thread::scope(|scope| {
        for part in 0..2 {
            let (daemon, content) = (&daemon, &content);
            let mine = (part..REQUESTS).step_by(2);
            scope.spawn(move || mine.for_each(|n| send(daemon, part == 0, hundred(n, content))));
        }
    });
    let held = daemon.metric("spanloom_trace_window_bytes", "") as u64 >> 10;
    assert!(held <= 64 << 10 && held > 36 << 10, "{held} KiB are held of 64 MiB");
    let early = daemon.metric("otelcol_processor_groupbytrace_traces_evicted", "");
    assert!(early > 10_000.0, "{early} traces left early");
    let peak = daemon.peak_resident_kib().saturating_sub(idle);
    println!("held {held} KiB, peak {peak} KiB over {idle}");
    assert!(peak <= 64 * 1024 * 110 / 100, "{peak} KiB above the {idle} KiB of an idle process");
    assert!(daemon.stop().success());
    let all = REQUESTS * SPANS + 1;
    let arrived = || (counted.load(Ordering::Relaxed) == all).then_some(());
    assert!(eventually(arrived).is_some(), "{counted:?} of {all} arrived with their user");
}

/// An entry service in Python sets baggage once and calls two further processes, which know nothing
/// of it. Skipped where the SDK is missing, as in `tests/interop.rs`.
#[test]
fn three_python_services_of_which_one_knows_the_user() {
    let Some(python) = python("opentelemetry.sdk, opentelemetry.exporter.otlp.proto.grpc") else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sink = Sink::start();
    let daemon = Daemon::start(&to_sink(&sink, "{idle: 2s}"));
    let output = Command::new(&python)
        .arg(root.join("tests/interop/services.py"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", daemon.grpc()))
        .stdin(Stdio::null())
        .output()
        .expect("the client starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {errors}");
    let arrived = sink.wait_for_spans(7);
    assert_eq!(arrived.len(), 7);
    for seen in &arrived {
        let values = (seen.text("user.id"), seen.text("session.id"));
        assert_eq!(values, (Some("alice"), Some("s-42")), "{}", seen.span.name);
    }
}

#[test]
fn a_torn_off_trace_inherits_from_the_span_that_called_it() {
    for mode in ["tag", "rewrite"] {
        let sink = Sink::start();
        let config = to_sink(&sink, "{idle: 500ms}")
            .replace(
                "[sensitive, trace_window, baggage, orphans]",
                "[trace_window, orphans, baggage]",
            )
            .replace(
                "  orphans: {head_hold: 0s}",
                &format!("  orphans: {{mode: {mode}, head_hold: 1s}}"),
            );
        assert!(config.contains(mode), "{config}");
        let daemon = Daemon::start(&config);
        let call = [("gen_ai.tool.call.id", text("call_Zx81kQp0aa"))];
        let execute = [("gen_ai.operation.name", text("execute_tool")), call[0].clone()];
        let tool = with(span("tool", 2, 5, 0), execute);
        send(&daemon, false, [span("query", 2, 6, 5), tool]);
        let caller = with(span("caller", 1, 3, 2), call);
        let alice = with(span("alice", 1, 2, 1), [("user.id", text("alice"))]);
        let bob = with(span("bob", 1, 4, 1), [("user.id", text("bob"))]);
        send(&daemon, true, [caller, alice, bob, span("root", 1, 1, 0)]);
        let arrived = sink.wait_for_spans(6);
        assert_eq!(user(&arrived, "tool"), Some("alice"), "in mode {mode}");
        assert_eq!(user(&arrived, "root"), None, "in mode {mode}");
        // Only a rewrite holds what is below the head too.
        if mode == "rewrite" {
            assert_eq!(user(&arrived, "query"), Some("alice"));
        }
    }
}
