//! The whole delivery: against an exporter that answers by script, with a paused clock, and
//! against a real backend.

use super::{Delivery, Settings};
use crate::batch::{Batch, Signal};
use crate::clock;
use crate::exporters::backend::{Backend, Reply, exporter, section};
use crate::exporters::{Exporter, Outcome, Payload, Sending};
use crate::limits;
use crate::otlp::text;
use crate::receipt::{Receipt, Receipts};
use crate::telemetry::Registry;
use crate::verdict::{Refusal, Verdict};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

type Script = Box<dyn Fn(usize, &Payload) -> Outcome + Send + Sync>;

/// An exporter that does nothing but remember, and answer by its script.
struct Fake {
    script: Script,
    /// Time of one attempt.
    takes: Duration,
    sent: Mutex<Vec<Payload>>,
}

impl Fake {
    fn new(script: impl Fn(usize, &Payload) -> Outcome + Send + Sync + 'static) -> Arc<Fake> {
        Fake::slow(Duration::ZERO, script)
    }

    fn slow(
        takes: Duration,
        script: impl Fn(usize, &Payload) -> Outcome + Send + Sync + 'static,
    ) -> Arc<Fake> {
        Arc::new(Fake { script: Box::new(script), takes, sent: Mutex::default() })
    }

    fn sent(&self) -> Vec<Payload> {
        self.sent.lock().expect("no panic").clone()
    }
}

impl Exporter for Fake {
    fn send(&self, payload: Payload) -> Sending<'_> {
        let mut sent = self.sent.lock().expect("no panic");
        let outcome = (self.script)(sent.len(), &payload);
        sent.push(payload);
        drop(sent);
        Box::pin(async move {
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            outcome
        })
    }

    fn target(&self) -> &str {
        "the fake"
    }
}

fn taken() -> Outcome {
    Outcome::Delivered { rejected: 0, message: String::new() }
}

fn retry(after: Option<u64>) -> Outcome {
    Outcome::Retry { after: after.map(Duration::from_secs), reason: "busy".to_owned() }
}

/// A delivery and what can be seen of it.
struct Bench {
    delivery: Delivery,
    registry: Registry,
    stop: CancellationToken,
}

impl Bench {
    /// With `yaml` as the section of an `otlp_http` exporter.
    fn new(exporter: Arc<dyn Exporter>, yaml: &str) -> Bench {
        let yaml = format!("endpoint: http://127.0.0.1:1\n{yaml}");
        let settings = Settings::of(&section("otlp_http", &yaml));
        let (registry, stop) = (Registry::default(), CancellationToken::new());
        let delivery = Delivery::start("otlp_http", exporter, settings, &registry, stop.clone());
        Bench { delivery, registry, stop }
    }

    /// Offers `batch`; the answer to its client.
    async fn offer(&self, mut batch: Batch) -> oneshot::Receiver<Verdict> {
        let (answer, answered) = oneshot::channel();
        batch.receipts = Receipts::from(Receipt::new(move |verdict| {
            let _ = answer.send(verdict);
        }));
        self.delivery.offer(batch).await;
        answered
    }

    #[track_caller]
    fn counts(&self, name: &str, expected: u64) {
        counts(&self.registry, name, expected);
    }
}

/// The sum of the metric `name` over its labels.
#[track_caller]
fn counts(registry: &Registry, name: &str, expected: u64) {
    let text = registry.render();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let values = lines.map(|line| line.rsplit(' ').next().and_then(|v| v.parse::<u64>().ok()));
    let sum: Option<u64> = values.sum();
    assert_eq!(sum, Some(expected), "{name} in\n{text}");
}

/// A batch of `spans` spans, each with an attribute of `size` bytes.
fn batch(spans: usize, size: usize) -> Batch {
    let pad = "x".repeat(size);
    let lines: Vec<String> =
        (1..=spans).map(|k| format!("span 1/{k:x} \"s\" pad=\"{pad}\"")).collect();
    let bytes = Bytes::from(text::parse(&lines.join("\n")).expect("the notation"));
    Batch::parse(Signal::Traces, bytes, clock::now()).expect("well-formed")
}

fn spans(sent: &[Payload]) -> Vec<usize> {
    sent.iter().map(|payload| payload.items).collect()
}

#[tokio::test(start_paused = true)]
async fn custody_is_told_at_once_and_the_quiet_after_it_is_not_waited_for() {
    let fake = Fake::slow(Duration::from_secs(1), |_, _| taken());
    let bench = Bench::new(fake.clone(), "");
    let mut answer = bench.offer(batch(2, 1)).await;
    assert_eq!(answer.try_recv(), Ok(Verdict::Accepted));
    let before = clock::now();
    while fake.sent().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let passed = clock::now().since(before);
    assert!(passed < Duration::from_millis(10), "{passed:?}: sent without waiting to join");
    bench.counts("otelcol_exporter_queue_size", 1);
    bench.delivery.drain().await;
    counts(&bench.registry, "otelcol_exporter_sent_spans", 2);
    counts(&bench.registry, "otelcol_exporter_queue_size", 0);
    counts(&bench.registry, "otelcol_exporter_queue_capacity", 3000);
    counts(&bench.registry, "spanloom_exporter_queue_bytes", 0);
}

#[tokio::test(start_paused = true)]
async fn with_wait_for_result_or_without_a_queue_clients_hear_what_the_backend_said() {
    let refused = || Outcome::Refused { reason: "no".to_owned() };
    let off = "retry_on_failure: {enabled: false}\nsending_queue:";
    for (outcome, expected) in [
        (taken as fn() -> Outcome, Verdict::Accepted),
        (refused, Verdict::refused(Refusal::Internal, "no")),
        (|| retry(None), Verdict::busy("busy; no retries")),
    ] {
        for queue in ["{wait_for_result: true}", "{enabled: false}"] {
            let bench = Bench::new(Fake::new(move |_, _| outcome()), &format!("{off} {queue}"));
            let answer = bench.offer(batch(1, 1)).await;
            assert_eq!(answer.await, Ok(expected.clone()), "{queue}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_within_the_flush_time_is_one_request() {
    let fake = Fake::new(|_, _| taken());
    let bench = Bench::new(fake.clone(), "");
    bench.offer(batch(1, 1)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    for _ in 0..5 {
        bench.offer(batch(2, 1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(spans(&fake.sent()), [1], "the others wait for company");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(spans(&fake.sent()), [1, 10]);
    assert_eq!(fake.sent().last().map(|p| p.segments.len()), Some(5), "joined, not copied");
}

#[tokio::test(start_paused = true)]
async fn no_request_exceeds_the_bounds_and_nothing_is_lost() {
    for (batching, most_bytes, most_items) in [
        ("{}", limits::EXPORT_BYTES, usize::MAX),
        ("{sizer: bytes, max_size: 5000}", 5000, usize::MAX),
        ("{max_size: 7, min_size: 7}", limits::EXPORT_BYTES, 7),
        ("{max_size: 1, min_size: 1}", limits::EXPORT_BYTES, 1),
    ] {
        let fake = Fake::new(|_, _| taken());
        let bench = Bench::new(fake.clone(), &format!("sending_queue: {{batch: {batching}}}"));
        let mut offered = 0;
        // 2.5 and 10 times the bound, among small ones.
        for (count, size) in [(3, 10), (25, 500), (2, 10), (100, 500), (5, 300_000)] {
            bench.offer(batch(count, size)).await;
            offered += count;
        }
        bench.delivery.drain().await;
        let sent = fake.sent();
        assert_eq!(spans(&sent).iter().sum::<usize>(), offered, "{batching}");
        for payload in sent {
            assert!(payload.items <= most_items, "{batching}: {} items", payload.items);
            let fits = payload.size() <= most_bytes || payload.items == 1;
            assert!(fits, "{batching}: {} bytes", payload.size());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn signals_are_not_joined_with_each_other() {
    let fake = Fake::new(|_, _| taken());
    let bench = Bench::new(fake.clone(), "");
    for _ in 0..3 {
        bench.offer(batch(1, 1)).await;
        let bytes = Bytes::from(text::parse("log 1/a1 \"x\"").expect("the notation"));
        let logs = Batch::parse(Signal::Logs, bytes, clock::now()).expect("well-formed");
        bench.offer(logs).await;
    }
    bench.delivery.drain().await;
    for signal in [Signal::Traces, Signal::Logs] {
        let sent = fake.sent();
        let of_signal = sent.iter().filter(|payload| payload.signal == signal);
        assert_eq!(of_signal.map(|payload| payload.items).sum::<usize>(), 3);
    }
    counts(&bench.registry, "otelcol_exporter_sent_log_records", 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_clients_away_after_the_wait_and_takes_them_when_there_is_room() {
    let fake = Fake::slow(Duration::from_secs(10), |_, _| taken());
    let yaml = "sending_queue: {queue_size: 1, num_consumers: 1}";
    let bench = Bench::new(fake.clone(), yaml);
    assert_eq!(bench.offer(batch(1, 1)).await.await, Ok(Verdict::Accepted));
    let before = clock::now();
    let answer = bench.offer(batch(4, 1)).await.await;
    assert_eq!(answer, Ok(Verdict::busy("the sending queue of otlp_http is full")));
    assert_eq!(clock::now().since(before), limits::ADMISSION_WAIT);
    bench.counts("otelcol_exporter_enqueue_failed_spans", 4);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(bench.offer(batch(1, 1)).await.await, Ok(Verdict::Accepted));
}

#[tokio::test(start_paused = true)]
async fn bytes_bound_the_queue_whatever_its_size_and_a_larger_batch_fits_alone() {
    let fake = Fake::slow(Duration::from_secs(10), |_, _| taken());
    let bench = Bench::new(fake.clone(), "sending_queue: {limit_mib: 1, sizer: bytes}");
    let large = bench.offer(batch(30, 100_000)).await;
    assert_eq!(large.await, Ok(Verdict::Accepted));
    let answer = bench.offer(batch(1, 1)).await.await;
    assert!(matches!(answer, Ok(Verdict::Busy(_))), "{answer:?}");
    bench.delivery.drain().await;
    counts(&bench.registry, "otelcol_exporter_sent_spans", 30);
}

#[tokio::test(start_paused = true)]
async fn with_block_on_overflow_clients_wait_for_room() {
    let fake = Fake::slow(Duration::from_secs(10), |_, _| taken());
    let yaml = "sending_queue: {queue_size: 1, num_consumers: 1, block_on_overflow: true}";
    let bench = Bench::new(fake.clone(), yaml);
    bench.offer(batch(1, 1)).await;
    assert_eq!(bench.offer(batch(4, 1)).await.await, Ok(Verdict::Accepted));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_custody_waits_for_room_until_the_shutdown() {
    let fake = Fake::slow(Duration::from_secs(10), |_, _| taken());
    let bench = Bench::new(fake, "sending_queue: {queue_size: 1, num_consumers: 1}");
    let before = clock::now();
    let held = || {
        let mut held = batch(1, 1);
        held.receipts.take_custody();
        held
    };
    for _ in 0..3 {
        bench.delivery.offer(held()).await;
    }
    bench.counts("otelcol_exporter_enqueue_failed_spans", 0);
    assert_eq!(clock::now().since(before), Duration::from_secs(20));
    let late = bench.delivery.offer(held());
    tokio::pin!(late);
    assert!(tokio::time::timeout(Duration::from_secs(5), &mut late).await.is_err());
    bench.stop.cancel();
    late.await;
    bench.counts("otelcol_exporter_enqueue_failed_spans", 1);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_down_and_comes_back_gets_everything() {
    let fake = Fake::new(|n, _| if n < 5 { retry(None) } else { taken() });
    let bench = Bench::new(fake.clone(), "");
    for _ in 0..3 {
        assert_eq!(bench.offer(batch(2, 1)).await.await, Ok(Verdict::Accepted));
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    bench.counts("otelcol_exporter_sent_spans", 6);
    bench.counts("otelcol_exporter_send_failed_spans", 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_given_up_after_the_time_and_counted() {
    let fake = Fake::new(|_, _| retry(None));
    let yaml = "sending_queue: {wait_for_result: true}";
    let bench = Bench::new(fake.clone(), yaml);
    let before = clock::now();
    let answer = bench.offer(batch(2, 1)).await.await;
    assert_eq!(answer, Ok(Verdict::busy("busy; given up after 300 s")));
    assert_eq!(clock::now().since(before).as_secs(), 300);
    bench.counts("otelcol_exporter_send_failed_spans", 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_asks_for_is_waited() {
    let fake = Fake::new(|n, _| if n == 0 { retry(Some(60)) } else { taken() });
    let bench = Bench::new(fake.clone(), "sending_queue: {wait_for_result: true}");
    let before = clock::now();
    assert_eq!(bench.offer(batch(1, 1)).await.await, Ok(Verdict::Accepted));
    assert_eq!(clock::now().since(before).as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_not_sent_again() {
    let fake = Fake::new(|_, _| Outcome::Refused { reason: "no".to_owned() });
    let bench = Bench::new(fake.clone(), "");
    bench.offer(batch(2, 1)).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fake.sent().len(), 1);
    bench.counts("otelcol_exporter_send_failed_spans", 2);
}

#[tokio::test(start_paused = true)]
async fn rejected_items_are_counted_apart_and_not_sent_again() {
    let fake = Fake::new(|_, _| Outcome::Delivered { rejected: 2, message: "old".to_owned() });
    let bench = Bench::new(fake.clone(), "");
    bench.offer(batch(5, 1)).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fake.sent().len(), 1);
    bench.counts("otelcol_exporter_sent_spans", 3);
    bench.counts("spanloom_exporter_rejected_spans", 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_ends_and_is_repeated() {
    let fake = Fake::slow(Duration::from_secs(3600), |_, _| taken());
    let bench = Bench::new(fake.clone(), "timeout: 2s\nsending_queue: {wait_for_result: true}");
    let answer = bench.offer(batch(1, 1)).await.await;
    let Ok(Verdict::Busy(busy)) = answer else { panic!("{answer:?}") };
    let expected = "the fake did not answer within 2s (key `timeout`)";
    assert!(busy.reason.starts_with(expected), "{}", busy.reason);
    assert!(fake.sent().len() > 5);
}

#[tokio::test(start_paused = true)]
async fn a_span_that_is_too_large_is_refused_alone_and_its_neighbours_arrive() {
    const MOST: usize = 10_000;
    let fake = Fake::new(|_, payload| match payload.size() > MOST {
        true => Outcome::TooLarge { reason: "too large".to_owned() },
        false => taken(),
    });
    let bench = Bench::new(fake.clone(), "sending_queue: {wait_for_result: true}");
    let lines = (1..=40).map(|k| {
        let pad = "x".repeat(if k == 17 { 20_000 } else { 100 });
        format!("span 1/{k:x} \"s\" pad=\"{pad}\"")
    });
    let lines: Vec<String> = lines.collect();
    let bytes = Bytes::from(text::parse(&lines.join("\n")).expect("the notation"));
    let large = Batch::parse(Signal::Traces, bytes, clock::now()).expect("well-formed");
    let large = bench.offer(large).await;
    let other = bench.offer(batch(60, 200)).await;
    let Ok(Verdict::Refused(refused)) = large.await else { panic!("not refused") };
    assert_eq!(refused.kind, Refusal::TooLarge);
    assert_eq!(other.await, Ok(Verdict::Accepted));
    bench.counts("otelcol_exporter_sent_spans", 99);
    bench.counts("otelcol_exporter_send_failed_spans", 1);
    // Learned: what comes later fits at once.
    let before = fake.sent().len();
    bench.offer(batch(100, 200)).await.await.expect("answered");
    let later = fake.sent().split_off(before);
    assert!(later.iter().all(|payload| payload.size() <= MOST), "{:?}", spans(&later));
}

#[tokio::test(start_paused = true)]
async fn the_drain_sends_what_is_queued_once_more() {
    let fake = Fake::new(|_, _| taken());
    let bench = Bench::new(fake.clone(), "sending_queue: {batch: {flush_timeout: 1h}}");
    for _ in 0..10 {
        bench.offer(batch(2, 1)).await;
    }
    let before = clock::now();
    bench.delivery.drain().await;
    assert_eq!(clock::now().since(before), Duration::ZERO);
    counts(&bench.registry, "otelcol_exporter_sent_spans", 20);

    // What waits for its next attempt has it now, and is then given up.
    let fake = Fake::new(|_, _| retry(Some(500)));
    let bench = Bench::new(fake.clone(), "");
    bench.offer(batch(2, 1)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = clock::now();
    bench.delivery.drain().await;
    assert_eq!(clock::now().since(before), Duration::ZERO);
    assert_eq!(fake.sent().len(), 2);
    counts(&bench.registry, "otelcol_exporter_send_failed_spans", 2);
}

#[tokio::test(start_paused = true)]
async fn the_drain_ends_in_time_and_counts_what_it_leaves() {
    let fake = Fake::slow(Duration::from_secs(3600), |_, _| taken());
    let yaml = "timeout: 2h\nsending_queue: {num_consumers: 1, batch: {max_size: 1, min_size: 1}}";
    let bench = Bench::new(fake.clone(), yaml);
    bench.offer(batch(9, 1)).await;
    let before = clock::now();
    bench.stop.cancel();
    bench.delivery.drain().await;
    assert_eq!(clock::now().since(before), limits::DRAIN_TIME);
    counts(&bench.registry, "otelcol_exporter_send_failed_spans", 9);
    counts(&bench.registry, "spanloom_exporter_queue_bytes", 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_after_the_drain_is_turned_away() {
    for queue in ["{}", "{enabled: false}", "{block_on_overflow: true}"] {
        let yaml = format!("sending_queue: {queue}");
        let bench = Bench::new(Fake::new(|_, _| taken()), &yaml);
        bench.delivery.drain().await;
        let answer = bench.offer(batch(3, 1)).await.await;
        assert!(matches!(answer, Ok(Verdict::Busy(_))), "{queue}: {answer:?}");
        bench.counts("otelcol_exporter_enqueue_failed_spans", 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_dropped_counts_what_it_held() {
    let fake = Fake::new(|_, _| retry(None));
    let bench = Bench::new(fake, "");
    bench.offer(batch(3, 1)).await;
    drop(bench.delivery);
    tokio::time::sleep(Duration::from_secs(1)).await;
    counts(&bench.registry, "otelcol_exporter_send_failed_spans", 3);
}

#[tokio::test]
async fn over_sockets_a_backend_that_comes_up_late_gets_everything() {
    let address = Backend::start(|_, _| Reply::http(200)).await.address;
    let yaml = "sending_queue: {wait_for_result: true}\n\
                retry_on_failure: {initial_interval: 10ms, max_interval: 10ms}";
    let exporter = exporter("otlp_http", &format!("endpoint: http://{address}"));
    let bench = Bench::new(exporter, yaml);
    let answer = bench.offer(batch(3, 10)).await;
    let backend = Backend::start_at(address, |n, _| match n {
        0 => Reply::http(503).with("retry-after", "0"),
        _ => Reply::http(200),
    });
    let backend = backend.await;
    assert_eq!(answer.await, Ok(Verdict::Accepted));
    assert_eq!(backend.received().len(), 2);
    bench.counts("otelcol_exporter_sent_spans", 3);
}
