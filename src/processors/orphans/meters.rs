//! What is told of the engine: findings by signature, heads that went undecided, memory.

use super::index::Trace;
use super::tags::Signature;
use crate::config::Section;
use crate::processors::Setup;
use crate::processors::memory::{Bounds, Gauges, Memory};
use crate::telemetry::{Counter, Level};

pub struct Meters {
    /// In the order of [`Signature::ALL`].
    pub found: Vec<Counter>,
    pub late: Counter,
    pub open: Counter,
    pub hurried: Counter,
    pub held: Level,
    pub boundaries: Level,
}

impl Meters {
    pub fn new(setup: &Setup<'_>) -> Meters {
        let found = |signature: &Signature| {
            let help = "Spans tagged as orphans, by their weightiest signature.";
            setup.counter("spanloom_orphans_found", help, &[("signature", signature.name())])
        };
        let late = "Second roots that had passed before the trace's own root came.";
        let open = "Spans that passed without their parent, in traces that went on.";
        let hurried = "Heads that were judged early because too much was held.";
        Meters {
            found: Signature::ALL.iter().map(found).collect(),
            late: setup.counter("spanloom_orphans_late", late, &[]),
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
