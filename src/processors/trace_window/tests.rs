//! `trace_window`: requests in, traces out.

use crate::batch::{Batch, Signal};
use crate::moment::Moment;
use crate::otlp::text;
use crate::processors::tests::{request, section};
use crate::processors::{Built, LIST, Out, Setup, Stateful};
use crate::receipt::{Claim, Receipt, Receipts};
use crate::telemetry::Registry;
use crate::verdict::Verdict;
use proptest::prelude::*;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A window with its time and its metrics.
struct Bench {
    window: Box<dyn Stateful>,
    signal: Signal,
    registry: Registry,
    now: Moment,
}

impl Bench {
    #[track_caller]
    fn new(yaml: &str) -> Bench {
        Bench::of(Signal::Traces, yaml)
    }

    #[track_caller]
    fn of(signal: Signal, yaml: &str) -> Bench {
        let kind = LIST.iter().find(|kind| kind.component.name == "trace_window").unwrap();
        let section = section("trace_window", yaml).expect("the configuration is valid");
        let registry = Registry::default();
        let setup = Setup::new("trace_window", signal.name(), signal, &registry);
        let Built::Stateful(window) = (kind.build)(&section, &setup) else {
            panic!("a window holds state")
        };
        Bench { window, signal, registry, now: Moment::default() }
    }

    /// What leaves, each batch printed; each is well-formed and has a true count.
    #[track_caller]
    fn left(&self, out: &mut Out) -> Vec<String> {
        let print = |batch: Batch| {
            let parsed = Batch::parse(self.signal, batch.bytes().clone(), self.now);
            assert_eq!(parsed.expect("it is well-formed").items(), batch.items());
            text::print(self.signal.message(), batch.bytes())
        };
        out.take().into_iter().map(print).collect()
    }

    /// What leaves when `text` comes.
    #[track_caller]
    fn pass(&mut self, text: &str) -> Vec<String> {
        self.receive(text).0
    }

    /// The same, and what the client is told.
    #[track_caller]
    fn receive(&mut self, text: &str) -> (Vec<String>, Receiver<Verdict>) {
        let (answer, answered) = channel();
        let mut batch = Batch::parse(self.signal, request(text), self.now).unwrap();
        batch.receipts = Receipts::from(Receipt::new(move |v| answer.send(v).unwrap_or_default()));
        let mut out = Out::default();
        self.window.process(batch, self.now, &mut out);
        (self.left(&mut out), answered)
    }

    /// What leaves until `milliseconds` from now.
    #[track_caller]
    fn wait(&mut self, milliseconds: u64) -> Vec<String> {
        let end = self.now.plus(Duration::from_millis(milliseconds));
        let mut all = vec![];
        while let Some(at) = self.window.wake_at().filter(|at| *at <= end) {
            self.now.monotonic = self.now.monotonic.max(at.monotonic);
            let mut out = Out::default();
            self.window.wake(self.now, &mut out);
            all.append(&mut self.left(&mut out));
        }
        self.now = end;
        all
    }

    #[track_caller]
    fn finish(&mut self) -> Vec<String> {
        let mut out = Out::default();
        self.window.finish(self.now, &mut out);
        self.left(&mut out)
    }

    fn released(&self, cause: &str) -> u64 {
        let name = "otelcol_processor_groupbytrace_traces_released";
        self.metric(name, &format!("cause=\"{cause}\""))
    }

    fn metric(&self, name: &str, label: &str) -> u64 {
        let rendered = self.registry.render();
        let lines = rendered.lines().filter(|line| line.split('{').next() == Some(name));
        let values = lines.filter(|line| line.contains(label)).filter_map(|l| l.rsplit(' ').next());
        values.filter_map(|value| value.parse::<u64>().ok()).sum()
    }
}

/// The request as it is printed.
#[track_caller]
fn printed(notation: &str) -> String {
    text::print(Signal::Traces.message(), &request(notation))
}

const AROUND_A: &str = "resource service=\"a\"\nscope \"s\" version=\"1\"\n";

#[test]
fn a_trace_leaves_whole_when_it_is_quiet() {
    let mut bench = Bench::new("{idle: 2s, wait: 15s}");
    assert!(bench.pass(&format!("{AROUND_A}span 1/3 p=2\nspan 2/9")).is_empty());
    assert!(bench.wait(1000).is_empty());
    assert!(bench.pass("resource service=\"b\"\nscope -\nspan 1/2 p=1").is_empty());
    assert!(bench.pass(&format!("{AROUND_A}span 1/1")).is_empty());
    assert_eq!(bench.wait(1100), [printed(&format!("{AROUND_A}span 2/9"))]);
    let whole =
        format!("{AROUND_A}span 1/3 p=2\nspan 1/1\nresource service=\"b\"\nscope -\nspan 1/2 p=1");
    assert_eq!(bench.wait(1000), [printed(&whole)]);
    assert_eq!(bench.released("idle"), 2);
    assert_eq!(bench.metric("otelcol_processor_groupbytrace_spans_released", ""), 4);
    assert_eq!(bench.metric("spanloom_trace_window_remembered_traces", ""), 2);
    assert_eq!(bench.metric("spanloom_trace_window_held_milliseconds", ""), 2000 + 3000);
}

/// Spans of trace `trace` with these ids, in one line each.
fn spans(trace: u32, ids: std::ops::Range<u32>) -> String {
    ids.map(|id| format!("span {trace}/{id:x}\n")).collect()
}

#[test]
fn a_trace_that_never_rests_leaves_in_time() {
    let mut bench = Bench::new("{idle: 2s, wait: 5s}");
    for id in 1..=5 {
        assert!(bench.pass(&format!("span 1/{id}")).is_empty());
        let left = bench.wait(1000);
        assert_eq!(left.len(), usize::from(id == 5), "{left:?}");
    }
    assert_eq!(bench.released("wait"), 1);
    assert_eq!(bench.pass("span 1/6"), [printed("span 1/6")], "it is late");
    assert_eq!(bench.metric("spanloom_trace_window_late_spans", ""), 1);
}

#[test]
fn the_collectors_only_time_is_one_here_too() {
    let mut bench = Bench::new("{wait_duration: 3s}");
    bench.pass("span 1/1");
    assert!(bench.wait(2900).is_empty());
    assert_eq!(bench.wait(200).len(), 1);
    let problems = section("trace_window", "{wait: 1s, wait_duration: 1s}").err().unwrap();
    assert!(problems.contains("write one of the two"), "{problems}");
    let problems = section("trace_window", "{store_on_disk: true, limit_mib: 0}").err().unwrap();
    assert!(problems.contains("held in memory") && problems.contains("at least 1"), "{problems}");
}

#[test]
fn late_spans_and_those_without_a_trace_pass_at_once_and_apart() {
    let mut bench = Bench::new("{}");
    bench.pass("span 1/1");
    bench.wait(3000);
    let left = bench.pass("resource k=1\nscope -\nspan 1/2\nspan 2/1\nspan -/3\nspan 1/4");
    assert_eq!(left, [printed("resource k=1\nscope -\nspan 1/2\nspan -/3\nspan 1/4")]);
    assert_eq!(bench.wait(3000), [printed("resource k=1\nscope -\nspan 2/1")]);
    assert_eq!(bench.metric("spanloom_trace_window_late_spans", ""), 2);
}

#[test]
fn a_request_of_which_nothing_is_held_passes_untouched_with_its_client() {
    let mut bench = Bench::new("{}");
    let bytes = request("span -/1\nresource k=1\nscope -");
    let batch = Batch::parse(Signal::Traces, bytes.clone(), bench.now).unwrap();
    let mut out = Out::default();
    bench.window.process(batch, bench.now, &mut out);
    let passed = out.take();
    assert_eq!(passed[0].bytes().as_ptr(), bytes.as_ptr());
    assert!(!passed[0].receipts.in_custody());
    let (left, answered) = bench.receive("span -/1");
    assert_eq!(left.len(), 1);
    assert!(answered.try_recv().is_ok_and(|verdict| verdict != Verdict::Accepted));
}

#[test]
fn clients_do_not_wait_for_the_window() {
    let mut bench = Bench::new("{}");
    let (left, answered) = bench.receive("span 1/1\nspan -/2");
    assert_eq!(left.len(), 1);
    assert_eq!(answered.try_recv(), Ok(Verdict::Accepted));
    bench.now = bench.now.plus(Duration::from_secs(5));
    let mut out = Out::default();
    bench.window.wake(bench.now, &mut out);
    let batch = out.take().remove(0);
    assert!(batch.receipts.in_custody());
    assert_eq!(batch.arrived, bench.now, "it has not waited for room yet");
}

/// Nor does a journal keep what has left: of the first request, from which the window learns what
/// its batches look like, as little as of all others.
#[test]
fn what_a_journal_claims_is_done_when_its_traces_have_left() {
    let mut bench = Bench::new("{}");
    let (say, said) = channel();
    let requests = ["span 1/1\nspan 2/2\nspan -/3", "span 1/4", "span 3/5"];
    for (number, text) in requests.into_iter().enumerate() {
        let say = say.clone();
        let end = Receipt::new(move |v| say.send((number, v)).unwrap_or_default());
        let mut batch = Batch::parse(Signal::Traces, request(text), bench.now).unwrap();
        batch.receipts.claim(Claim::new(7, [(0, end)]));
        let mut out = Out::default();
        bench.window.process(batch, bench.now, &mut out);
        out.take().into_iter().for_each(|batch| batch.settle(&Verdict::Accepted));
    }
    assert!(said.try_recv().is_err(), "they are held");
    while let Some(at) = bench.window.wake_at() {
        bench.now.monotonic = at.monotonic;
        let mut out = Out::default();
        bench.window.wake(bench.now, &mut out);
        out.take().into_iter().for_each(|batch| batch.settle(&Verdict::Accepted));
    }
    let mut said: Vec<_> = said.try_iter().collect();
    said.sort_by_key(|(number, _)| *number);
    assert_eq!(said, [0, 1, 2].map(|number| (number, Verdict::Accepted)));
}

#[test]
fn under_pressure_the_oldest_leave_and_nothing_is_lost() {
    for (yaml, cause) in [
        ("{limit_mib: 1}", "bytes"),
        ("{limit_spans: 640}", "spans"),
        ("{num_traces: 64}", "traces"),
    ] {
        let mut bench = Bench::new(yaml);
        let mut left = String::new();
        for trace in 1..=200 {
            let long = "x".repeat(1000);
            let span = |id: u32| format!("span {trace:x}/{id:x} k=\"{long}\"\n");
            left += &bench.pass(&(1..=20).map(span).collect::<String>()).concat();
            let held = bench.metric("spanloom_trace_window_bytes", "");
            assert!(cause != "bytes" || held <= 1 << 20, "{held} bytes");
            assert!(bench.metric("spanloom_trace_window_spans", "") <= 20 * 64);
        }
        let early = bench.released(cause);
        assert!(early > 100, "{yaml}: {early}");
        assert_eq!(bench.metric("otelcol_processor_groupbytrace_traces_evicted", ""), early);
        assert!(!left.contains("span c8/"), "the youngest stays");
        left += &bench.finish().concat();
        for trace in 1..=200 {
            assert_eq!(left.matches(&format!("span {trace:x}/")).count(), 20, "trace {trace:x}");
        }
        assert_eq!(bench.released("shutdown"), 200 - early);
    }
}

#[test]
fn traces_that_take_more_than_their_share_leave_once_room_is_short() {
    let mut bench = Bench::new("{limit_mib: 16}");
    let long = "x".repeat(100_000);
    let span = |trace: u32, id: u32| format!("span {trace:x}/{id:x} k=\"{long}\"\n");
    assert!(bench.pass(&span(1, 1)).is_empty(), "it is the oldest");
    // Of seven tenths of 16 MiB a sixteenth are seven of these spans, and a quarter are 29.
    for id in 1..=10 {
        let both = span(2, id) + &span(3, id);
        assert!(bench.pass(&both).is_empty(), "there is room");
    }
    for trace in 4..=14 {
        assert!(bench.pass(&span(trace, 1)).is_empty());
    }
    let left = bench.pass(&(span(2, 11) + &span(3, 11) + &span(2, 12))).concat();
    let count = |trace: u32| left.matches(&format!("span {trace}/")).count();
    assert_eq!((count(2), count(3)), (12, 11), "all of both leaves");
    assert!(bench.pass(&span(1, 2)).is_empty(), "the oldest stays");
    assert_eq!(bench.pass(&span(2, 13)).len(), 1, "it is late");
    assert_eq!((bench.released("size"), bench.released("bytes")), (2, 0));
}

#[test]
fn requests_that_leave_early_in_their_order_are_not_copied() {
    let mut bench = Bench::new("{limit_mib: 8}");
    let long = "x".repeat(10_000);
    for trace in 1..=2000 {
        let span = |id: u32| format!("span {trace:x}/{id} k=\"{long}\"\n");
        bench.pass(&(1..=3).map(span).collect::<String>());
    }
    assert!(bench.released("bytes") > 1000);
    assert_eq!(bench.metric("spanloom_trace_window_copied_bytes", ""), 0);
}

#[test]
fn what_is_held_is_within_the_limit_however_small_the_spans() {
    let mut bench = Bench::new("{limit_mib: 1}");
    for trace in 1..=10_000 {
        bench.pass(&format!("span {trace:x}/1"));
        assert!(bench.metric("spanloom_trace_window_bytes", "") <= 1 << 20);
    }
    assert!(bench.released("bytes") > 1000);
    assert!(bench.metric("spanloom_trace_window_forgotten_traces", "evicted") > 1000);
}

#[test]
fn traces_that_leave_together_are_one_batch_up_to_a_size_and_no_trace_is_cut() {
    let mut bench = Bench::new("{}");
    for trace in 1..=50 {
        bench.pass(&format!("{AROUND_A}{}", spans(trace, 1..4)));
    }
    let left = bench.wait(3000);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].matches("resource").count(), 1, "surroundings are there once");
    let long = "x".repeat(100_000);
    for trace in 0x101..=0x110 {
        for id in 1..=3 {
            bench.pass(&format!("span {trace:x}/{id} k=\"{long}\""));
        }
    }
    let left = bench.wait(3000);
    assert_eq!(left.len(), 8, "each of two traces, for three would be more than 3/4 MiB");
    for trace in 0x101..=0x110 {
        let with: Vec<_> =
            left.iter().map(|b| b.matches(&format!("span {trace:x}/")).count()).collect();
        assert_eq!(with.iter().filter(|n| **n > 0).collect::<Vec<_>>(), [&3], "{trace:x}");
    }
}

#[test]
fn a_request_of_whole_traces_leaves_as_it_came() {
    let mut bench = Bench::new("{}");
    let long = "x".repeat(10_000);
    let span = |trace: u32, id: u32| format!("span {trace}/{id} k=\"{long}\"\n");
    let whole = format!("{AROUND_A}{}{}{}", span(1, 1), span(1, 2), span(2, 3));
    let parted = format!("{AROUND_A}{}{}", span(3, 1), span(4, 2));
    assert!(bench.pass(&whole).is_empty() && bench.pass(&parted).is_empty());
    let bytes = bench.metric("spanloom_trace_window_copied_bytes", "");
    assert_eq!(bytes, 0, "requests are held as they are");
    bench.wait(1000);
    assert!(bench.pass(&span(4, 3)).is_empty());
    let third = format!("{AROUND_A}{}", span(3, 1));
    assert_eq!(bench.wait(1500), [printed(&whole), printed(&third)]);
    let bytes = bench.metric("spanloom_trace_window_copied_bytes", "");
    assert!(bytes < 25_000, "{bytes} bytes were copied of what left, and of the sparse rest");
}

#[test]
fn few_spans_of_a_request_do_not_keep_all_of_it() {
    let mut bench = Bench::new("{}");
    let long = "x".repeat(1000);
    for trace in 1..=10 {
        bench.pass(&format!("span {trace:x}/1"));
    }
    bench.wait(2100);
    // Nine traces of ten have left, so one of ten spans is held.
    let spans = (2..=11).map(|trace| format!("span {trace:x}/2 k=\"{long}\"\n"));
    assert_eq!(bench.pass(&spans.collect::<String>()).len(), 1);
    let fixed = bench.metric("spanloom_trace_window_bytes", "");
    for trace in 0..10 {
        let spans = (1..=10).map(|n| match n {
            1 => format!("span {:x}/1 k=\"{long}\"\n", 0x100 + trace),
            n => format!("span {n:x}/{:x} k=\"{long}\"\n", n * trace + 1),
        });
        bench.pass(&spans.collect::<String>());
    }
    let more = bench.metric("spanloom_trace_window_bytes", "") - fixed;
    assert!(more < 20_000, "{more} bytes are held of ten spans of 1,000");
}

/// The trace and the size of each span.
fn spans_of_a_request() -> impl Strategy<Value = Vec<(u32, usize)>> {
    prop::collection::vec((1..40u32, 0..3usize), 1..60)
}

proptest! {
    /// Whatever comes in whatever pieces, all of it leaves, once, and memory is bounded.
    #[test]
    fn nothing_is_lost_or_doubled(
        requests in prop::collection::vec(spans_of_a_request(), 1..60),
        wait in 0..400u64,
    ) {
        let mut bench = Bench::new("{idle: 1s, wait: 3s, limit_mib: 1}");
        let (mut id, mut left) = (0, vec![]);
        for spans in &requests {
            let mut text = String::new();
            for (trace, size) in spans {
                id += 1;
                let pad = "x".repeat([10, 500, 5000][*size]);
                text += &format!("span {trace:x}/{id:x} k=\"{pad}\"\n");
            }
            left.extend(bench.pass(&text));
            prop_assert!(bench.metric("spanloom_trace_window_bytes", "") <= 1 << 20);
            left.extend(bench.wait(wait));
        }
        left.extend(bench.finish());
        let lines = left.iter().flat_map(|batch| batch.lines());
        let ids = lines.filter_map(|line| line.strip_prefix("span ")?.split(['/', ' ']).nth(1));
        let mut ids: Vec<u32> = ids.map(|id| u32::from_str_radix(id, 16).unwrap()).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, (1..=id).collect::<Vec<u32>>());
        prop_assert_eq!(bench.metric("spanloom_trace_window_spans", ""), 0);
        let remembered = bench.metric("spanloom_trace_window_bytes", "");
        prop_assert!(remembered < 250_000, "{} bytes without a span", remembered);
    }
}

#[test]
fn a_trace_too_large_for_a_request_leaves_in_part() {
    let mut bench = Bench::new("{limit_mib: 4000}");
    let long = "x".repeat(12 << 20);
    for id in 1..=2 {
        assert!(bench.pass(&format!("span 1/{id} k=\"{long}\"")).is_empty());
    }
    assert_eq!(bench.pass(&format!("span 1/3 k=\"{long}\"")).len(), 1);
    assert_eq!(bench.released("size"), 1);
}

#[test]
fn unknown_fields_around_spans_survive() {
    use crate::otlp::wire::{put_bytes_field, put_message_field as put};
    let mut bench = Bench::new("{}");
    let mut bytes = vec![];
    let span = |out: &mut Vec<u8>| {
        put_bytes_field(out, 1, &[7; 16]);
        put_bytes_field(out, 99, b"in the span");
    };
    put(&mut bytes, 1, |group| {
        put(group, 2, |scope| {
            put(scope, 2, span);
            put_bytes_field(scope, 99, b"in the scope");
        });
        put_bytes_field(group, 99, b"in the group");
    });
    let batch = Batch::parse(Signal::Traces, bytes.into(), bench.now).unwrap();
    let mut out = Out::default();
    bench.window.process(batch, bench.now, &mut out);
    bench.window.finish(bench.now, &mut out);
    let left = out.take().remove(0);
    for text in ["in the span", "in the scope", "in the group"] {
        let found = left.bytes().windows(text.len()).any(|part| part == text.as_bytes());
        assert!(found, "{text}");
    }
}

#[test]
fn log_records_are_held_by_their_trace() {
    let mut bench = Bench::of(Signal::Logs, "{}");
    assert_eq!(bench.pass("log -/- info \"none\"").len(), 1);
    assert!(bench.pass("log 1/a1 info \"a\"").is_empty());
    assert!(bench.pass("log 1/a1 info \"b\"").is_empty());
    let left = bench.wait(3000);
    assert_eq!(left.len(), 1);
    assert!(left[0].contains("\"a\"") && left[0].contains("\"b\""), "{left:?}");
}

#[test]
fn a_trace_is_forgotten_after_its_time_and_then_held_anew() {
    let mut bench = Bench::new("{ttl: 60s}");
    bench.pass("span 1/1");
    assert_eq!(bench.wait(3000).len(), 1);
    assert_eq!(bench.pass("span 1/2").len(), 1);
    bench.now = bench.now.plus(Duration::from_secs(61));
    bench.pass("span 2/1");
    assert!(bench.pass("span 1/3").is_empty());
    assert_eq!(bench.metric("spanloom_trace_window_forgotten_traces", "expired"), 1);
}
