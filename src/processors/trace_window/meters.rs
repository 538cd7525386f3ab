//! What the window tells of itself.

use super::runs::Gone;
use crate::processors::Setup;
use crate::telemetry::{Counter, Level};

/// Why a trace leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Idle,
    Wait,
    Bytes,
    Spans,
    Traces,
    Size,
    Shutdown,
}

impl Cause {
    const ALL: [Cause; 7] = [
        Cause::Idle,
        Cause::Wait,
        Cause::Bytes,
        Cause::Spans,
        Cause::Traces,
        Cause::Size,
        Cause::Shutdown,
    ];

    fn name(self) -> &'static str {
        match self {
            Cause::Idle => "idle",
            Cause::Wait => "wait",
            Cause::Bytes => "bytes",
            Cause::Spans => "spans",
            Cause::Traces => "traces",
            Cause::Size => "size",
            Cause::Shutdown => "shutdown",
        }
    }

    fn is_early(self) -> bool {
        matches!(self, Cause::Bytes | Cause::Spans | Cause::Traces | Cause::Size)
    }
}

pub struct Meters {
    /// In the order of [`Cause::ALL`].
    released: Vec<Counter>,
    released_items: Counter,
    evicted: Counter,
    held_milliseconds: Counter,
    pub late: Counter,
    pub copied: Counter,
    pub traces: Level,
    pub items: Level,
    pub bytes: Level,
    pub remembered: Level,
    pub forgotten: Counter,
    pub expired: Counter,
}

impl Meters {
    pub fn new(setup: &Setup<'_>) -> Meters {
        let theirs = |name| format!("otelcol_processor_groupbytrace_{name}");
        let ours = |name| format!("spanloom_trace_window_{name}");
        let counter = |name: String, help| setup.counter(&name, help, &[]);
        let gauge = |name: String, help| setup.level(&name, help);
        let released = |cause: &Cause| {
            let help = "Traces that left the window, by cause.";
            setup.counter(&theirs("traces_released"), help, &[("cause", cause.name())])
        };
        let forgotten = |cause| {
            let help = "Traces that left and are not remembered any more, by cause.";
            setup.counter(&ours("forgotten_traces"), help, &[("cause", cause)])
        };
        let time = "Time that traces were held, from the first span on, of all that left.";
        let copied = "Bytes copied when traces left, and when little was left of a request.";
        Meters {
            released: Cause::ALL.iter().map(released).collect(),
            released_items: counter(theirs("spans_released"), "Spans that left with their trace."),
            evicted: counter(theirs("traces_evicted"), "Traces that left early, at a bound."),
            held_milliseconds: counter(ours("held_milliseconds"), time),
            late: counter(ours("late_spans"), "Spans that came after their trace had left."),
            copied: counter(ours("copied_bytes"), copied),
            traces: gauge(theirs("num_traces_in_memory"), "Traces that are held."),
            items: gauge(ours("spans"), "Spans that are held."),
            bytes: gauge(ours("bytes"), "Memory of the window, in bytes."),
            remembered: gauge(ours("remembered_traces"), "Traces that are remembered as left."),
            forgotten: forgotten("evicted"),
            expired: forgotten("expired"),
        }
    }

    pub fn released(&self, trace: &Gone, cause: Cause) {
        if let Some(counter) = self.released.get(cause as usize) {
            counter.add(1);
        }
        self.evicted.add(usize::from(cause.is_early()));
        self.released_items.add(trace.items);
        let held = usize::try_from(trace.time.as_millis()).unwrap_or(usize::MAX);
        self.held_milliseconds.add(held);
    }
}
