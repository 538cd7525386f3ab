//! Batches in, batches out, and who is answered when; mistakes in the configuration.

use super::super::LIST;
use super::super::tests::{request, section};
use super::*;
use crate::account::Account;
use crate::batch::Signal;
use crate::otlp::join::join;
use crate::otlp::text;
use crate::otlp::wire::put_message_field;
use crate::receipt::Receipt;
use crate::telemetry::Registry;
use bytes::Bytes;
use std::sync::mpsc::{Receiver, channel};

/// A `batch` processor with its time and its metrics.
struct Batching {
    batcher: Batcher,
    signal: Signal,
    registry: Registry,
    now: Moment,
    /// All bytes that came, and all that left.
    came: Vec<Bytes>,
    left: Vec<Bytes>,
    sent: usize,
}

impl Batching {
    #[track_caller]
    fn new(signal: Signal, yaml: &str) -> Batching {
        let section = section("batch", yaml).expect("the test's configuration is valid");
        let registry = Registry::default();
        let batcher =
            Batcher::new(&section, &Setup::new("batch", signal.name(), signal, &registry));
        let (came, left) = (vec![], vec![]);
        Batching { batcher, signal, registry, now: Moment::default(), came, left, sent: 0 }
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(Duration::from_millis(millis));
    }

    fn batch(&self, bytes: Bytes) -> Batch {
        Batch::parse(self.signal, bytes, self.now).expect("the request is well-formed")
    }

    /// What leaves when `batch` comes.
    fn take(&mut self, batch: Batch) -> Vec<Batch> {
        self.came.push(batch.bytes().clone());
        let mut out = Out::default();
        self.batcher.process(batch, self.now, &mut out);
        self.left(out)
    }

    /// What leaves when its time has come, if it has.
    fn wake(&mut self) -> Vec<Batch> {
        let mut out = Out::default();
        if self.batcher.wake_at().is_some_and(|at| at <= self.now) {
            self.batcher.wake(self.now, &mut out);
        }
        self.left(out)
    }

    fn finish(&mut self) -> Vec<Batch> {
        let mut out = Out::default();
        self.batcher.finish(self.now, &mut out);
        self.left(out)
    }

    fn left(&mut self, mut out: Out) -> Vec<Batch> {
        let batches = out.take();
        for batch in &batches {
            let reparsed = Batch::parse(self.signal, batch.bytes().clone(), self.now);
            assert_eq!(reparsed.expect("well-formed").items(), batch.items(), "the count is kept");
            self.left.push(batch.bytes().clone());
        }
        self.sent += batches.len();
        batches
    }

    /// Asserts that nothing is held and that what left is what came, in order.
    #[track_caller]
    fn check_complete(&self) {
        let lines = |requests: &[Bytes]| {
            let text = text::print(self.signal.message(), &join(requests));
            let items = text.lines().filter(|line| line.starts_with(['s', 'l']));
            items.filter(|line| !line.starts_with("scope")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&self.left), lines(&self.came));
        assert_eq!((self.batcher.items, self.batcher.bytes), (0, 0));
        assert_eq!(self.batcher.wake_at(), None);
    }

    /// Asserts one line of the metrics page.
    #[track_caller]
    fn check_metric(&self, name: &str, value: usize) {
        let page = self.registry.render();
        let line = format!(
            "otelcol_processor_batch_{name}{{pipeline=\"{}\",processor=\"batch\"}} {value}",
            self.signal.name()
        );
        assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
    }
}

/// A request of `n` spans of a resource, each with an attribute of `size` bytes.
fn spans(n: usize, size: usize) -> Bytes {
    let pad = "x".repeat(size);
    let lines: String = (1..=n).map(|k| format!("span 1/{k:x} \"s\" p=\"{pad}\"\n")).collect();
    request(&format!("resource a=1\nscope \"s\"\n{lines}"))
}

fn items(batches: &[Batch]) -> Vec<usize> {
    batches.iter().map(Batch::items).collect()
}

#[test]
fn batches_leave_by_size() {
    /// Spans of each request, and of each batch that leaves at once and at the end.
    type Case<'a> = (&'a str, &'a [usize], &'a [&'a [usize]], &'a [usize]);
    let cases: [Case<'_>; 8] = [
        ("send_batch_size: 10", &[3, 3, 3], &[&[], &[], &[]], &[9]),
        ("send_batch_size: 10", &[4, 4, 4, 1], &[&[], &[], &[12], &[]], &[1]),
        ("send_batch_size: 10", &[25], &[&[25]], &[]),
        ("{send_batch_size: 10, send_batch_max_size: 10}", &[4, 25], &[&[], &[10, 10]], &[9]),
        (
            "{send_batch_size: 10, send_batch_max_size: 12}",
            &[9, 9, 100],
            &[&[], &[12], &[12, 12, 12, 12, 12, 12, 12, 12, 10]],
            &[],
        ),
        ("{send_batch_size: 1, send_batch_max_size: 1}", &[3], &[&[1, 1, 1]], &[]),
        ("{send_batch_size: 0, send_batch_max_size: 2}", &[1, 3], &[&[1], &[2, 1]], &[]),
        ("timeout: 0s", &[1, 2], &[&[1], &[2]], &[]),
    ];
    for (yaml, came, left, rest) in cases {
        let mut batching = Batching::new(Signal::Traces, yaml);
        for (n, left) in came.iter().zip(left) {
            let batch = batching.batch(spans(*n, 5));
            assert_eq!(items(&batching.take(batch)), *left, "{yaml}: {came:?}");
        }
        assert_eq!(items(&batching.finish()), rest, "{yaml}: {came:?}");
        batching.check_complete();
    }
}

#[test]
fn bytes_bound_a_batch_and_make_it_leave() {
    const MAX: usize = 10_000;
    for (n, size) in [(1, 3_000), (30, 900), (1, 30_000), (3, 12_000), (500, 10)] {
        let mut batching = Batching::new(Signal::Traces, "send_batch_max_bytes: 10000");
        let mut left = vec![];
        for _ in 0..7 {
            let batch = batching.batch(spans(n, size));
            left.extend(batching.take(batch));
            assert!(batching.batcher.bytes < MAX, "{n} of {size}: held when it could leave");
        }
        left.extend(batching.finish());
        for batch in &left {
            let fits = batch.bytes().len() <= MAX || batch.items() == 1;
            assert!(fits, "{n} of {size}: {} bytes", batch.bytes().len());
        }
        assert_eq!(items(&left).iter().sum::<usize>(), 7 * n);
        batching.check_complete();
    }
}

#[test]
fn a_batch_leaves_when_its_first_item_has_waited() {
    let mut batching = Batching::new(Signal::Traces, "timeout: 200ms");
    let batch = batching.batch(spans(1, 1));
    assert!(batching.take(batch).is_empty());
    batching.wait(150);
    let batch = batching.batch(spans(2, 1));
    assert!(batching.take(batch).is_empty());
    batching.wait(49);
    assert!(batching.wake().is_empty(), "too early");
    batching.wait(1);
    assert_eq!(items(&batching.wake()), [3]);
    batching.wait(1000);
    assert!(batching.wake().is_empty(), "nothing is held, so nothing is due");
    batching.check_complete();
    batching.check_metric("timeout_trigger_send", 1);
    batching.check_metric("batch_size_trigger_send", 0);
    batching.check_metric("batch_send_size_sum", 3);
    batching.check_metric("batch_send_size_count", 1);
    batching.check_metric("metadata_cardinality", 1);
}

#[test]
fn what_is_left_over_waits_from_when_it_came() {
    let yaml = "{send_batch_size: 4, send_batch_max_size: 4}";
    let mut batching = Batching::new(Signal::Traces, yaml);
    let batch = batching.batch(spans(3, 1));
    batching.take(batch);
    batching.wait(100);
    let batch = batching.batch(spans(3, 1));
    assert_eq!(items(&batching.take(batch)), [4]);
    batching.wait(199);
    assert!(batching.wake().is_empty());
    batching.wait(1);
    assert_eq!(items(&batching.wake()), [2]);
    batching.check_metric("batch_size_trigger_send", 1);
}

/// A batch of `n` spans with someone who waits for its answer.
fn awaited(batching: &Batching, n: usize) -> (Batch, Receiver<Verdict>) {
    let (answer, answered) = channel();
    let mut batch = batching.batch(spans(n, 5));
    batch.receipts = Receipt::new(move |v| answer.send(v).unwrap_or_default()).into();
    (batch, answered)
}

#[test]
fn every_client_hears_what_became_of_its_parts_and_not_before() {
    let yaml = "{send_batch_size: 4, send_batch_max_size: 4}";
    let mut batching = Batching::new(Signal::Traces, yaml);
    let (mut answers, mut left) = (vec![], vec![]);
    // Batches of four: the first holds the first two requests and half of the third.
    for n in [1, 1, 4, 2] {
        let (batch, answer) = awaited(&batching, n);
        left.extend(batching.take(batch));
        answers.push(answer);
    }
    assert_eq!(items(&left), [4, 4]);
    assert!(answers.iter().all(|answer| answer.try_recv().is_err()), "answered by the holder");
    let mut left = left.into_iter();
    let (first, second) = (left.next().unwrap(), left.next().unwrap());
    first.settle(&Verdict::Accepted);
    let heard = |k: usize| answers[k].try_recv().ok();
    assert_eq!([heard(0), heard(1)], [Some(Verdict::Accepted), Some(Verdict::Accepted)]);
    assert_eq!(heard(2), None, "half of it is still open");
    second.settle(&Verdict::busy("full"));
    assert_eq!([heard(2), heard(3)], [Some(Verdict::busy("full")), Some(Verdict::busy("full"))]);
}

#[test]
fn the_time_in_here_does_not_count_as_waiting() {
    let mut batching = Batching::new(Signal::Traces, "timeout: 3s");
    let batch = batching.batch(spans(1, 1));
    // It waited half a second for the processor.
    batching.wait(500);
    batching.take(batch);
    batching.wait(3000);
    let left = batching.wake();
    assert_eq!(batching.now.since(left[0].arrived), Duration::from_millis(500));
}

#[test]
fn what_is_held_counts_as_held_until_it_has_left_and_gone() {
    let account = Account::default();
    let mut batching =
        Batching::new(Signal::Traces, "{send_batch_size: 4, send_batch_max_size: 4}");
    for (n, left) in [(3, 0), (3, 1)] {
        let mut batch = batching.batch(spans(n, 100));
        batch.charge(account.charge(0));
        let (before, weight) = (account.held(), batch.weight());
        assert!(before >= weight);
        let batches = batching.take(batch);
        assert_eq!(batches.len(), left);
        assert!(account.held() >= before, "{} of {before}", account.held());
    }
    assert!(account.held() > 0 && account.held() < 3 * batching.batcher.bytes + 4096);
    drop(batching.finish());
    assert_eq!(account.held(), 0);
}

#[test]
fn one_batch_alone_is_not_copied() {
    let mut batching = Batching::new(Signal::Traces, "{}");
    let batch = batching.batch(spans(3, 5));
    let place = batch.bytes().as_ptr();
    batching.take(batch);
    assert_eq!(batching.finish()[0].bytes().as_ptr(), place);
}

#[test]
fn log_records_are_batched_too() {
    let mut batching = Batching::new(Signal::Logs, "{send_batch_size: 2, send_batch_max_size: 2}");
    let batch = batching.batch(request("log 1/a1 \"a\"\nlog 1/a1 \"b\"\nlog 1/a1 \"c\""));
    assert_eq!(items(&batching.take(batch)), [2]);
    assert_eq!(items(&batching.finish()), [1]);
    batching.check_complete();
}

/// A request of gauges with these numbers of points.
fn gauges(points: &[usize]) -> Bytes {
    let mut out = vec![];
    put_message_field(&mut out, 1, |out| {
        put_message_field(out, 2, |out| {
            for n in points {
                put_message_field(out, 2, |out| {
                    put_message_field(out, 5, |out| {
                        (0..*n).for_each(|_| put_message_field(out, 1, |_| ()));
                    });
                });
            }
        });
    });
    Bytes::from(out)
}

#[test]
fn the_points_of_a_metric_stay_together() {
    let yaml = "{send_batch_size: 4, send_batch_max_size: 4}";
    for (points, left) in [
        (&[2, 1, 3, 1][..], &[3, 4][..]),
        (&[9, 1, 9], &[9, 1, 9]),
        (&[1, 9, 1], &[1, 9, 1]),
        (&[4, 4, 4, 4, 4], &[4, 4, 4, 4, 4]),
    ] {
        let mut batching = Batching::new(Signal::Metrics, yaml);
        let batch = batching.batch(gauges(points));
        let mut batches = batching.take(batch);
        batches.extend(batching.finish());
        assert_eq!(items(&batches), left, "{points:?}");
    }
}

#[test]
fn mistakes_are_sentences() {
    let cases = [
        (
            "send_batch_max_size: 100",
            "send_batch_max_size: must be at least `send_batch_size`, which is 8192, or 0",
        ),
        ("metadata_keys: [tenant]", "metadata_keys: is not supported here: batches know no client"),
        ("send_batch_max_bytes: 10", "send_batch_max_bytes: must be at least 4096 bytes"),
        ("timeuot: 1s", "unknown key \"timeuot\"; did you mean \"timeout\"?"),
        ("send_batch_size: -1", "send_batch_size"),
    ];
    for (yaml, expected) in cases {
        let said = section("batch", yaml).expect_err(yaml);
        assert!(said.contains(expected), "{yaml}: {expected:?} in\n{said}");
    }
    assert!(LIST.iter().any(|kind| kind.component.name == "batch"));
}

#[test]
fn a_timeout_beyond_the_patience_of_clients_is_cut_with_a_warning() {
    let node = crate::config::parse::parse("timeout: 10s", "yaml:").unwrap();
    let mut problems = Problems::new();
    let section = Section::check(&node, KEYS, "processors::batch", &mut problems);
    check(&section, &mut problems);
    assert!(!problems.has_errors());
    let said = problems.to_string();
    assert!(said.contains("batches leave after 4s"), "{said}");
    let mut batching = Batching::new(Signal::Traces, "timeout: 10s");
    let batch = batching.batch(spans(1, 1));
    batching.take(batch);
    batching.wait(4000);
    assert_eq!(items(&batching.wake()), [1]);
}
