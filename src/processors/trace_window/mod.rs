//! `trace_window`: holds spans until the others of their trace have come.
//!
//! Spans are exported when they end, so the root of a trace usually comes last, and its pieces come
//! over several connections. What follows this processor sees each trace whole, within one batch,
//! as far as it had come.
//!
//! - A trace leaves when no span of it came for `idle`, or at `wait` after its first span,
//!   whichever is first. Traces that are due together leave together.
//! - What is held is bounded in bytes, spans and traces. At a bound the traces leave early that
//!   came first. While more than a quarter is taken a trace leaves that alone takes a sixteenth, so
//!   that one that never ends does not drive out all others; one that makes half of the largest
//!   request leaves in any case. Nothing is dropped for want of room, and every cause is counted.
//! - `limit_mib` is what the process takes for the window: spans and tables fill seven tenths of
//!   it, the rest is for what exists twice while it leaves. What has left counts in the queues.
//! - Late spans of a trace that left pass at once, in a batch of their own. Of a trace that left
//!   only its id is remembered, in a bounded table at 64 bytes at most; one that was forgotten is
//!   held anew.
//! - Held spans are copies, request by request, so that they keep no connection's buffer alive; in
//!   memory that is sparsely held they are moved together. A request of whole traces leaves as it
//!   came, and one in which nothing is to be held passes untouched.
//! - Each shard of a pipeline has a window of its own, and its part of the limits.
//! - Log records are held by their trace id in the same way; those without one pass at once.
//!
//! **Clients do not wait for the window**: a request of which something is held is answered when
//! it is held, and from then on this process alone has it. A window that is released waits for room
//! in the exporters' queues as long as it takes, and meanwhile clients are told to come back.
//! An exporter's `wait_for_result` has no effect behind a window. At shutdown everything is handed
//! on.
//!
//! Names are the Collector's `groupbytrace`, as far as it has them. There `wait_duration` is the
//! only time; written alone it is so here too.
//!
//! Absent here: windows on disk, and windows of several replicas. All spans of a trace must come
//! to one replica (a load balancer that routes by trace id); a trace that is spread over several
//! leaves each of them in part, on time, and what follows sees its parts apart.

mod blocks;
mod headers;
mod meters;
mod runs;
mod slab;
mod traces;
mod window;

use super::{Built, Kind, Setup};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::limits;
use std::time::Duration;
use traces::{Timing, Traces};
use window::Window;

const KEYS: &[Key] = &[
    Key::duration("idle", limits::WINDOW_IDLE, "time without spans after which a trace leaves"),
    Key::duration("wait", limits::WINDOW_WAIT, "time after its first span at which it leaves"),
    Key::duration(
        "wait_duration",
        limits::WINDOW_WAIT,
        "the Collector's name for `wait`; without `idle`, the only time",
    ),
    Key::size_mib("limit_mib", limits::WINDOW_MIB, "memory for what is held, in MiB"),
    Key::int("num_traces", limits::WINDOW_TRACES, 1..=1 << 24, "traces that are held"),
    Key::int("limit_spans", limits::WINDOW_SPANS, 1..=1 << 28, "spans that are held"),
    Key::int("limit_released", limits::WINDOW_RELEASED, 1..=1 << 24, "traces remembered as left"),
    Key::duration("ttl", limits::TRACE_TTL, "how long a trace is remembered as left"),
    Key::ignored("num_workers", "a pipeline has a window for each of its `shards`"),
    Key::unsupported("store_on_disk", "windows are held in memory; remove the key"),
    Key::unsupported(
        "discard_orphans",
        "nothing is discarded; list `orphans` behind the window to have orphans tagged",
    ),
];

const SAMPLE: &str = "\
# a trace leaves this time after its latest span, or this time after its first
idle: 2s
wait: 15s
# wait_duration: 15s          # the Collector's name for wait
# bounds of what is held; beyond them the oldest traces leave early
limit_mib: 64
num_traces: 1000000
limit_spans: 1000000
# traces that are remembered as left: their late spans pass at once
limit_released: 100000
ttl: 10m
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "trace_window",
        aliases: &["groupbytrace"],
        about: "holds spans until the others of their trace have come",
        sample: SAMPLE,
        signals: &["traces", "logs"],
        keys: KEYS,
        check,
    },
    build: |section, setup| Built::Stateful(Box::new(Window::new(section, setup))),
};

/// Reports what the table of keys cannot say.
fn check(section: &Section, problems: &mut Problems) {
    if section.bytes("limit_mib") == 0 {
        section.error(problems, "limit_mib", "must be at least 1: a window takes memory");
    }
    if section.is_set("wait") && section.is_set("wait_duration") {
        let text = "is the Collector's name for `wait`; write one of the two";
        section.error(problems, "wait_duration", text);
    }
}

fn timing(section: &Section) -> Timing {
    let name = if section.is_set("wait_duration") { "wait_duration" } else { "wait" };
    let wait = section.duration(name);
    let idle = match section.is_set("wait_duration") && !section.is_set("idle") {
        true => wait,
        false => section.duration("idle"),
    };
    let tick = (idle.min(wait) / 8).min(limits::WINDOW_TICK);
    Timing { idle, wait, tick }
}

/// How much is held.
struct Limits {
    pub bytes: usize,
    /// Bytes of one trace while the window is crowded.
    pub trace: usize,
    pub spans: usize,
    pub traces: usize,
    /// Traces that are remembered, and how long.
    pub left: usize,
    pub ttl: Duration,
}

impl Limits {
    /// What one shard has of them.
    pub fn new(section: &Section, setup: &Setup<'_>) -> Limits {
        let all = usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX);
        let bytes = setup.portion(all);
        let left = bytes / limits::WINDOW_LEFT_SHARE / Traces::trace_bytes();
        let held = |bytes: usize| bytes / 100 * limits::WINDOW_HELD_PERCENT;
        Limits {
            bytes: held(bytes),
            trace: (held(all) / limits::WINDOW_TRACE_SHARE).min(limits::WINDOW_TRACE_BYTES),
            spans: setup.portion(section.count("limit_spans")),
            traces: setup.portion(section.count("num_traces")),
            left: setup.portion(section.count("limit_released")).min(left),
            ttl: section.duration("ttl"),
        }
    }
}

#[cfg(test)]
mod tests;
