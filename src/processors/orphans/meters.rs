//! What is told of the engine: findings by signature, heads that went undecided, memory.

use super::gaps::Gaps;
use super::learning::Probe;
use super::tags::{Signature, status};
use super::trace::Trace;
use crate::config::Section;
use crate::processors::Setup;
use crate::processors::memory::{Bounds, Gauges, Memory};
use crate::telemetry::{Counter, Level};

/// Why no parent is said to be known: several have an equal claim, none has one, one has a weak
/// one, or it may still come.
const ABSTAINED: [&str; 4] =
    [status::AMBIGUOUS, status::UNRESOLVED, status::SUSPECTED, status::PENDING];

pub struct Meters {
    /// In the order of [`Signature::ALL`].
    found: Vec<Counter>,
    /// By status, of those findings whose parent is not said to be known.
    abstained: Vec<(&'static str, Counter)>,
    /// In the order of [`Probe`].
    probes: [Counter; 3],
    pub late: Counter,
    pub open: Counter,
    pub external: Counter,
    pub hurried: Counter,
    pub held: Level,
    pub boundaries: Level,
    pub ledger: Level,
    pub late_results: LateResults,
}

/// What became of heads after they had left.
pub struct LateResults {
    /// Their parent came, or was found; or it never came.
    pub came: Counter,
    pub found: Counter,
    pub lost: Counter,
    /// Nothing did: the time was over, or others took the place.
    pub expired: Counter,
    pub forgotten: Counter,
}

impl Meters {
    pub fn new(setup: &Setup<'_>) -> Meters {
        let found = |signature: &Signature| {
            let help = "Spans tagged as orphans, by their weightiest signature.";
            setup.counter("spanloom_orphans_found", help, &[("signature", signature.name())])
        };
        let late = "Second roots that had passed before the trace's own root came.";
        let open = "Spans that passed without their parent, in traces that went on.";
        let external =
            "Servers and their tools that were not tagged since their caller is outside.";
        let hurried = "Heads that were judged early because too much was held.";
        let abstained = |status: &'static str| {
            let help = "Spans tagged without a parent that is known, by what stood against it.";
            (status, setup.counter("spanloom_orphans_abstained", help, &[("cause", status)]))
        };
        let probe = |result| {
            let help = "Callers that were known and guessed by time alone, by how that ended.";
            setup.counter("spanloom_orphans_probes", help, &[("result", result)])
        };
        let result = |result| {
            let help = "Heads of which more was known after they had left, or nothing, by result.";
            setup.counter("spanloom_orphans_late_results", help, &[("result", result)])
        };
        Meters {
            ledger: setup.level(
                "spanloom_orphans_ledger",
                "Heads that left without a parent that is known, and are remembered.",
            ),
            late_results: LateResults {
                came: result("came"),
                found: result("found"),
                lost: result("lost"),
                expired: result("expired"),
                forgotten: result("forgotten"),
            },
            probes: ["right", "wrong", "abstained"].map(probe),
            abstained: ABSTAINED.map(abstained).into(),
            found: Signature::ALL.iter().map(found).collect(),
            late: setup.counter("spanloom_orphans_late", late, &[]),
            external: setup.counter("spanloom_orphans_external", external, &[]),
            open: setup.counter("spanloom_orphans_open", open, &[]),
            hurried: setup.counter("spanloom_orphans_hurried", hurried, &[]),
            held: setup.level("spanloom_orphans_held_bytes", "Bytes of heads that wait."),
            boundaries: setup.level(
                "spanloom_orphans_boundaries",
                "Calls, agents and tools that are remembered.",
            ),
        }
    }
}

impl Meters {
    /// Counts a guess.
    pub fn probed(&self, probe: Probe) {
        self.probes.get(probe as usize).iter().for_each(|counter| counter.add(1));
    }

    /// Counts a finding.
    pub fn tagged(&self, signature: Signature, status: &str) {
        self.found.get(signature as usize).iter().for_each(|counter| counter.add(1));
        let abstained = self.abstained.iter().find(|(known, _)| *known == status);
        abstained.iter().for_each(|(_, counter)| counter.add(1));
    }
}

/// Counts gaps inside spans.
pub fn gaps(setup: &Setup<'_>) -> Gaps {
    let result = |result| {
        let help = "Spans with children, of one whole trace in 64, by whether time between two of \
                    the children is covered by none.";
        setup.counter("spanloom_orphans_inner_gaps", help, &[("result", result)])
    };
    Gaps::new(result("gap"), result("none"))
}

/// The memory of traces.
pub fn memory(section: &Section, setup: &Setup<'_>) -> Memory<Trace> {
    let forgotten = |cause| {
        let help = "Traces of which nothing is known any more, by cause.";
        setup.counter("spanloom_orphans_forgotten_traces", help, &[("cause", cause)])
    };
    let gauges = Gauges {
        traces: setup.level("spanloom_orphans_traces", "Traces that are remembered."),
        evicted: forgotten("evicted"),
        expired: forgotten("expired"),
    };
    let bounds = Bounds {
        traces: setup.portion(section.count("limit_traces")),
        bytes: usize::MAX,
        ttl: section.duration("ttl"),
    };
    Memory::new(bounds, gauges, |_| 0)
}
