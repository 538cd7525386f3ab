//! `memory_limiter`: refuses telemetry before memory runs out. Keys and names are the Collector's.
//!
//! What it promises: resident memory stays within `limit_mib` plus what the idle process takes,
//! whatever clients and backends do; who is refused is told when to come back; and nothing that
//! was accepted is lost. How that is kept, from the socket to the backend:
//!
//! 1. **The gauge is a count of bytes held** ([`account`](crate::account)), not the resident set
//!    and not a sample: an allocator gives pages back late, so that a resident set would refuse
//!    long after memory is free for use. What the allocator keeps is used again before it asks
//!    the kernel for more, and given back a second later, so the resident set follows the count.
//! 2. **The soft limit** (`limit_mib` less `spike_limit_mib`) bounds the count. Bytes count from
//!    the moment they are taken off a connection until the last exporter is done with them: while
//!    a body is read (compressed and inflated form at once), in processors that hold it, in
//!    queues, between attempts. Each batch counts an eighth more, as allocators round up, and 1 KiB
//!    for what surrounds it. For the count to be true, bodies are copied out of the buffers of
//!    their connections.
//! 3. **Refusing happens at the door**: the receivers ask this limit at the headers of a request
//!    and with every piece of its body, before memory grows, and nobody waits for it. Up to
//!    an eighth is left to what those that have begun still announce, so that they are seldom
//!    refused half read. The answer is UNAVAILABLE with RetryInfo, or 503 with Retry-After. A
//!    request that could never fit is told so: RESOURCE_EXHAUSTED without RetryInfo, or 413.
//! 4. **The spike limit** is room for what does not count: bytes that connections hold unread
//!    (their windows shrink so that two hundred fit), the copy that an edit makes of a batch, the
//!    compressed copies of requests under way, and what the allocator has not given back yet. A
//!    request that is going to be split, and so copied, counts twice until it is in its pipeline.
//! 5. **Recovery needs no pause**: a delivered batch gives its bytes back at once, and the next
//!    request is let in.
//!
//! Limits of several pipelines look at the same count; a receiver obeys the strictest of those
//! that it feeds. For a batch that came through no such door (a receiver that reads files) the
//! limit is asked here. What was let in is refused here only above the hard limit, which edits
//! that lengthen batches can reach.
//!
//! Counters: `otelcol_processor_memory_limiter_{accepted,refused}_{spans,log_records,
//! metric_points}` for what reached the processor, and
//! `spanloom_memory_limiter_refused_requests` for requests refused at the door, whose content is
//! unknown. `spanloom_held_bytes` is the count itself, and
//! `otelcol_process_memory_rss` the resident set beside it.
//!
//! Absent: sampling and garbage collection, and with them the Collector's intervals.

use super::{Built, Kind, Out, Setup, Stateless};
use crate::account::Limit;
use crate::batch::Batch;
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::limits;
use crate::moment::Moment;
use crate::telemetry::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NO_INTERVAL: &str = "bytes are counted as they come and go, so nothing is measured again";
const NO_GC: &str = "there is no garbage collector to run";

const KEYS: &[Key] = &[
    Key::size_mib("limit_mib", 0, "MiB that telemetry may take; comes before limit_percentage"),
    Key::size_mib("spike_limit_mib", 0, "MiB of it that stay free for copies; 0 is a fifth"),
    Key::int("limit_percentage", 0, 0..=100, "the same in percent of the memory there is"),
    Key::int("spike_limit_percentage", 0, 0..=100, "the same in percent; 0 is a fifth of it"),
    Key::ignored("check_interval", NO_INTERVAL),
    Key::ignored("min_gc_interval_when_soft_limited", NO_GC),
    Key::ignored("min_gc_interval_when_hard_limited", NO_GC),
    Key::ignored("max_gc_interval_when_soft_limited", NO_GC),
    Key::ignored("max_gc_interval_when_hard_limited", NO_GC),
];

const SAMPLE: &str = "\
# MiB that telemetry may take, in all pipelines together; more is refused, with a time to come back
limit_mib: 512
# MiB of the above that are kept free for copies and connections; 0 is a fifth
spike_limit_mib: 0
# instead, in percent of the memory that the container or the machine has
limit_percentage: 0
spike_limit_percentage: 0
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "memory_limiter",
        aliases: &[],
        about: "refuses telemetry, with a time to come back, before memory runs out",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: KEYS,
        check,
    },
    build: |section, setup| Built::Stateless(Arc::new(MemoryLimiter::new(section, setup))),
};

/// Reports what the table of keys cannot say.
fn check(section: &Section, problems: &mut Problems) {
    let fixed = (section.bytes("limit_mib"), section.bytes("spike_limit_mib"));
    let share = (section.count("limit_percentage"), section.count("spike_limit_percentage"));
    if fixed.0 == 0 && share.0 == 0 {
        let text = "needs a limit: `limit_mib: 512`, or `limit_percentage: 75` of the memory \
                    that the container or the machine has";
        section.error(problems, "", text);
    }
    let smaller = |name, limit| format!("must be smaller than `{limit}`, which is {name}");
    if fixed.0 > 0 && fixed.1 >= fixed.0 {
        let text = smaller(fixed.0 >> 20, "limit_mib");
        section.error(problems, "spike_limit_mib", text);
    }
    if share.0 > 0 && share.1 >= share.0 {
        let text = smaller(share.0 as u64, "limit_percentage");
        section.error(problems, "spike_limit_percentage", text);
    }
    // The Collector takes these without a word and obeys one of them.
    if fixed.0 > 0 && share.0 > 0 {
        let text = "has no effect beside `limit_mib`, which comes first";
        section.warning(problems, "limit_percentage", text);
    }
    if fixed.0 > 0 && share.1 > 0 {
        let text = "has no effect beside `limit_mib`; use `spike_limit_mib`";
        section.warning(problems, "spike_limit_percentage", text);
    }
    if fixed.0 == 0 && share.0 > 0 && fixed.1 > 0 {
        let text = "has no effect beside `limit_percentage`; use `spike_limit_percentage`";
        section.warning(problems, "spike_limit_mib", text);
    }
}

/// The hard limit and the spike in bytes, given the bytes of memory that there are.
fn sizes(section: &Section, memory: u64) -> (usize, usize) {
    let percent = |name| memory / 100 * section.count(name) as u64;
    let (hard, spike) = match section.bytes("limit_mib") {
        0 => (percent("limit_percentage"), percent("spike_limit_percentage")),
        limit => (limit, section.bytes("spike_limit_mib")),
    };
    let spike = if spike == 0 { hard / limits::SPIKE_SHARE } else { spike };
    let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    (size(hard), size(spike))
}

/// The processor.
struct MemoryLimiter {
    limit: Limit,
    accepted: Counter,
    refused: Counter,
}

impl MemoryLimiter {
    fn new(section: &Section, setup: &Setup<'_>) -> MemoryLimiter {
        let (hard, spike) = sizes(section, setup.memory);
        let (id, pipeline) = (setup.id.to_owned(), setup.pipeline);
        let (limit, soft) = (hard >> 20, (hard - spike) >> 20);
        tracing::info!(
            processor = id,
            pipeline,
            "telemetry may take {soft} MiB, of a limit of {limit} MiB"
        );
        let counter = |word: &str, help| {
            let items = setup.signal.items();
            setup.counter(&format!("otelcol_processor_memory_limiter_{word}_{items}"), help, &[])
        };
        let unread = setup.counter(
            "spanloom_memory_limiter_refused_requests",
            "requests refused before their content was known",
            &[],
        );
        let count = AtomicUsize::new(0);
        let refused = move || {
            unread.add(1);
            // Not once per request, of which there are many then: at 1, 2, 4, 8, ...
            let count = count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if count.is_power_of_two() {
                tracing::warn!(processor = id, count, "memory is short: requests are refused");
            }
        };
        MemoryLimiter {
            limit: Limit::new(setup.account.clone(), hard, spike, refused),
            accepted: counter("accepted", "items passed on"),
            refused: counter("refused", "items refused"),
        }
    }

    /// Whether `batch` may pass.
    fn admits(&self, batch: &mut Batch) -> bool {
        if batch.is_charged() {
            return !self.limit.is_exceeded();
        }
        let mut charge = self.limit.account().charge(0);
        let fits = self.limit.grow(&mut charge, batch.bytes().len()).is_ok();
        if fits {
            batch.charge(charge);
        }
        fits
    }
}

impl Stateless for MemoryLimiter {
    fn process(&self, mut batch: Batch, _now: Moment, out: &mut Out) {
        if self.admits(&mut batch) {
            self.accepted.add(batch.items());
            out.pass(batch);
        } else {
            self.refused.add(batch.items());
            batch.settle(&self.limit.busy());
        }
    }

    fn limit(&self) -> Option<Limit> {
        Some(self.limit.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, request, section};
    use super::*;
    use crate::account::Account;
    use crate::batch::Signal;
    use crate::receipt::Receipt;
    use crate::telemetry::Registry;
    use crate::verdict::Verdict;
    use std::sync::mpsc::channel;

    const MIB: usize = 1 << 20;

    #[test]
    fn limits_come_out_in_bytes() {
        let cases = [
            ("limit_mib: 100", 100 * MIB, 20 * MIB),
            ("{limit_mib: 100, spike_limit_mib: 30}", 100 * MIB, 30 * MIB),
            ("{limit_mib: 100, limit_percentage: 1}", 100 * MIB, 20 * MIB),
            ("limit_percentage: 80", 800 * MIB, 160 * MIB),
            ("{limit_percentage: 80, spike_limit_percentage: 15}", 800 * MIB, 150 * MIB),
        ];
        for (yaml, hard, spike) in cases {
            let section = section("memory_limiter", yaml).expect(yaml);
            assert_eq!(sizes(&section, 1000 * MIB as u64), (hard, spike), "{yaml}");
        }
    }

    #[test]
    fn mistakes_are_sentences_all_at_once() {
        let cases: [(&str, &[&str]); 5] = [
            ("limit_mb: 3", &["unknown key \"limit_mb\"; did you mean \"limit_mib\"?"]),
            ("{}", &["needs a limit: `limit_mib: 512`, or `limit_percentage: 75`"]),
            (
                "{limit_mib: 10, spike_limit_mib: 10}",
                &["spike_limit_mib: must be smaller than `limit_mib`, which is 10"],
            ),
            (
                "{limit_percentage: 50, spike_limit_percentage: 60}",
                &["spike_limit_percentage: must be smaller than `limit_percentage`, which is 50"],
            ),
            ("limit_percentage: 101", &["limit_percentage", "100"]),
        ];
        for (yaml, expected) in cases {
            let said = section("memory_limiter", yaml).expect_err(yaml);
            for part in expected {
                assert!(said.contains(part), "{yaml}: {part:?} in\n{said}");
            }
        }
    }

    #[test]
    fn the_intervals_of_the_collector_are_taken_with_a_warning() {
        let yaml = "{check_interval: 1s, limit_mib: 64, min_gc_interval_when_soft_limited: 10s}";
        let node = crate::config::parse::parse(yaml, "yaml:").unwrap();
        let mut problems = Problems::new();
        let section = Section::check(&node, KEYS, "processors::memory_limiter", &mut problems);
        check(&section, &mut problems);
        assert_eq!((problems.errors().count(), problems.warnings().count()), (0, 2), "{problems}");
    }

    /// A limiter of 1 MiB, of which 800 KiB are let in, with its account.
    fn limiter() -> (MemoryLimiter, Account, Registry) {
        let section = section("memory_limiter", "{limit_mib: 1}").expect("valid");
        let (account, registry) = (Account::default(), Registry::default());
        let setup = Setup::new("memory_limiter", "traces", Signal::Traces, &registry);
        let setup = Setup { account: account.clone(), ..setup };
        (MemoryLimiter::new(&section, &setup), account, registry)
    }

    /// What a client is told about a batch, and what of it passed.
    fn pass(limiter: &MemoryLimiter, mut batch: Batch) -> (Option<Verdict>, Vec<Batch>) {
        let (answer, answered) = channel();
        batch.receipts = Receipt::new(move |v| answer.send(v).unwrap_or_default()).into();
        let mut out = Out::default();
        limiter.process(batch, Moment::default(), &mut out);
        (answered.try_recv().ok(), out.take())
    }

    fn batch() -> Batch {
        Batch::parse(Signal::Traces, request("span 1/1\nspan 1/2"), Moment::default()).unwrap()
    }

    #[test]
    fn a_batch_from_no_door_is_counted_here_and_refused_when_it_does_not_fit() {
        let (limiter, account, registry) = limiter();
        let (answer, passed) = pass(&limiter, batch());
        assert_eq!((answer, passed.len()), (None, 1));
        assert_eq!(account.held(), passed[0].weight());
        let others = account.charge(MIB - MIB / 5 - account.held());
        let (answer, none) = pass(&limiter, batch());
        assert!(none.is_empty() && matches!(answer, Some(Verdict::Busy(_))), "{answer:?}");
        drop(others);
        assert_eq!(pass(&limiter, batch()).1.len(), 1);
        drop(passed);
        assert_eq!(account.held(), 0, "what is delivered no longer counts");
        let page = registry.render();
        for series in [
            "accepted_spans{pipeline=\"traces\",processor=\"memory_limiter\"} 4",
            "refused_spans{pipeline=\"traces\",processor=\"memory_limiter\"} 2",
        ] {
            assert!(page.contains(&format!("otelcol_processor_memory_limiter_{series}")), "{page}");
        }
    }

    #[test]
    fn what_was_let_in_passes_up_to_the_hard_limit() {
        let (limiter, account, _) = limiter();
        for (held, passes) in [(MIB - MIB / 5, true), (MIB, true), (MIB + 1, false)] {
            let mut batch = batch();
            batch.charge(account.charge(0));
            let others = account.charge(held - batch.weight());
            assert_eq!(pass(&limiter, batch).1.len(), usize::from(passes), "{held}");
            drop(others);
        }
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn parts_and_edits_of_a_batch_count_for_what_they_hold() {
        let account = Account::default();
        let mut whole = batch();
        whole.charge(account.charge(0));
        let weight = whole.weight();
        let slice = whole.part(whole.bytes().slice(..1), 1);
        assert_eq!(account.held(), weight, "a slice shares the bytes");
        let copy = whole.part(bytes::Bytes::from(vec![0; 100]), 1);
        assert_eq!(account.held(), weight + copy.weight());
        drop((whole, copy));
        assert_eq!(account.held(), weight, "the slice keeps the whole alive");
        drop(slice);
        let (mut first, mut second) = (batch(), batch());
        first.charge(account.charge(0));
        second.charge(account.charge(0));
        let joined = Batch::joined(vec![first, second]).unwrap();
        assert_eq!((joined.items(), account.held()), (4, joined.weight()));
    }

    #[test]
    fn what_passes_is_not_touched() {
        let mut bench = Bench::new(Signal::Traces, "memory_limiter", "limit_mib: 64");
        bench.check_untouched("span 1/1 \"x\" n=1");
    }
}
