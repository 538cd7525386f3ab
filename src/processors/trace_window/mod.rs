//! `trace_window`: holds spans until the others of their trace have come.
//!
//! Spans are exported when they end, so the root of a trace usually comes last, and its pieces come
//! over several connections. What follows this processor sees each trace whole, within one batch,
//! as far as it had come.
//!
//! - A trace leaves when no span of it came for `idle`, or at `wait` after its first span,
//!   whichever is first. Traces that are due together leave together.
//! - What is held is bounded in bytes, spans and traces. At a bound the traces leave early that
//!   came first; a trace that alone makes half of the largest request leaves too. Nothing is
//!   dropped for want of room, and every cause is counted.
//! - Late spans of a trace that left pass at once, in a batch of their own. Of a trace that left
//!   only its id is remembered, in a bounded table at 128 bytes at most; one that was forgotten is
//!   held anew.
//! - Held spans are copies, so that no span keeps the request alive that it came in; what stands
//!   around them is held once for all. A request in which nothing is to be held passes untouched.
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

mod headers;
mod held;
mod piece;

use super::memory::{Bounds, Gauges, Memory, trace_key};
use super::{Built, Kind, Out, Setup, Stateful};
use crate::account::Charge;
use crate::batch::{Batch, Signal};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::fields::{log_record, resource_group, scope_group, span};
use crate::otlp::wire::Message;
use crate::telemetry::{Counter, Gauge};
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use headers::{Headers, Id};
use held::{Due, Held, Timing, Trace};
use piece::{Group, Piece};
use std::time::Duration;

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
    Key::ignored("num_workers", "one task owns a pipeline's window"),
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

/// Why a trace leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
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

/// An item of a request.
#[derive(Clone, Copy)]
struct Found {
    /// `None` if it is not held.
    trace: Option<u128>,
    group: Group,
    /// Its field.
    at: usize,
    end: usize,
}

/// The processor.
struct Window {
    /// The number of the items' field with the trace id.
    trace_id: u32,
    held: Held,
    /// Traces that left.
    left: Memory<()>,
    limit_bytes: usize,
    limit_spans: usize,
    limit_traces: usize,
    leaving: Leaving,
    /// What all this takes, in the process's account.
    charge: Charge,
    /// An empty batch that nobody waits for: what leaves is made from it.
    blank: Option<Batch>,
    meters: Meters,
}

/// Pieces that are about to leave as one batch.
#[derive(Default)]
struct Leaving {
    pieces: Vec<Piece>,
    items: usize,
    /// Bytes of the items.
    len: usize,
    /// What stands around them, and its bytes.
    headers: HashSet<Id, RandomState>,
    around: usize,
}

impl Window {
    fn new(section: &Section, setup: &Setup<'_>) -> Window {
        let limit_bytes = usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX);
        let meters = Meters::new(setup);
        let bounds = Bounds {
            traces: section.count("limit_released"),
            bytes: limit_bytes / 8,
            ttl: section.duration("ttl"),
        };
        Window {
            trace_id: match setup.signal {
                Signal::Logs => log_record::TRACE_ID,
                _ => span::TRACE_ID,
            },
            held: Held::new(timing(section)),
            left: Memory::new(bounds, meters.memory(setup), |()| 0),
            limit_bytes,
            limit_spans: section.count("limit_spans"),
            limit_traces: section.count("num_traces"),
            leaving: Leaving::default(),
            charge: setup.account.charge(0),
            blank: None,
            meters,
        }
    }

    /// Whether items of `trace` are held: not those of one that has left.
    fn holds(&mut self, trace: u128, now: Moment) -> bool {
        self.held.holds(trace) || self.left.get(trace, now).is_none()
    }

    /// All items of `batch`, with what stands around them in use.
    fn find(&mut self, batch: &Batch, now: Moment, groups: &mut Vec<Group>) -> Vec<Found> {
        let mut found = Vec::with_capacity(batch.items());
        let (mut before, mut trace, mut late) = (&[][..], None, false);
        let mut content = vec![];
        for resource in batch.request().resource_groups() {
            let around = header(batch, resource.0, resource_group::SCOPE_GROUPS, &mut content);
            let id = self.held.headers.take(around);
            for scope in resource.scope_groups() {
                let around = header(batch, scope.0, scope_group::ITEMS, &mut content);
                let group = Group { resource: id, scope: self.held.headers.take(around) };
                self.held.headers.take_again(id);
                groups.push(group);
                for field in scope.item_fields() {
                    let item = field.message().and_then(|item| item.field(self.trace_id));
                    let key = item.map(|field| field.bytes()).unwrap_or_default();
                    if key != before {
                        before = key;
                        let valid = trace_key(key);
                        trace = valid.filter(|trace| self.holds(*trace, now));
                        late = valid.is_some() && trace.is_none();
                    }
                    self.meters.late.add(usize::from(late));
                    found.push(Found { trace, group, at: field.at, end: field.end });
                }
            }
            self.held.headers.put_back(id);
        }
        found
    }

    /// Holds what is to be held and passes the rest.
    fn take(&mut self, batch: &Batch, mut found: Vec<Found>, now: Moment, out: &mut Out) {
        // Stable: the items of a trace keep their order. What is not held comes first.
        found.sort_by_key(|item| item.trace);
        for run in found.chunk_by(|a, b| a.trace == b.trace) {
            let items = run
                .iter()
                .map(|item| (item.group, batch.bytes().get(item.at..item.end).unwrap_or_default()));
            let piece = Piece::of(items, &mut self.held.headers);
            let Some(trace) = run.first().and_then(|item| item.trace) else {
                self.leaving.add([piece], &self.held.headers);
                self.send(now, out);
                continue;
            };
            let size = self.held.add(trace, piece, now.monotonic);
            if size > limits::REQUEST_BYTES / 2
                && let Some(trace) = self.held.remove(trace)
            {
                self.release(trace, Cause::Size, now, out);
            }
            self.relieve(now, out);
        }
    }

    /// Lets the oldest traces go if there is too much of anything. A little more than needed, so
    /// that they leave together.
    fn relieve(&mut self, now: Moment, out: &mut Out) {
        let Some(cause) = self.pressure(0) else { return };
        while self.pressure(RELIEF).is_some()
            && let Some(trace) = self.held.remove_oldest()
        {
            self.release(trace, cause, now, out);
        }
    }

    /// What there is too much of, if one part in `relief` is to be free (0 for none).
    fn pressure(&self, relief: usize) -> Option<Cause> {
        let over = |n: usize, limit: usize| n > limit - limit.checked_div(relief).unwrap_or(0);
        if over(self.held.bytes() + self.left.bytes(), self.limit_bytes) {
            return Some(Cause::Bytes);
        }
        if over(self.held.items(), self.limit_spans) {
            return Some(Cause::Spans);
        }
        over(self.held.traces(), self.limit_traces).then_some(Cause::Traces)
    }

    /// Lets a trace leave with the others that do.
    fn release(&mut self, trace: Trace, cause: Cause, now: Moment, out: &mut Out) {
        if !self.leaving.fits(trace.size) {
            self.send(now, out);
        }
        let held = now.monotonic.saturating_sub(trace.first);
        self.meters.released(&trace, cause, held);
        self.left.update(trace.id, now, |()| {});
        self.leaving.add(trace.pieces, &self.held.headers);
    }

    /// Sends off what is about to leave.
    fn send(&mut self, now: Moment, out: &mut Out) {
        let leaving = std::mem::take(&mut self.leaving);
        if leaving.pieces.is_empty() {
            return;
        }
        let bytes = piece::request(&leaving.pieces, &self.held.headers);
        let headers = &mut self.held.headers;
        leaving.pieces.into_iter().for_each(|piece| piece.let_go(headers));
        if let Some(blank) = &self.blank {
            let mut batch = blank.part(bytes, leaving.items);
            // It has waited here and not for room behind.
            batch.arrived = now;
            out.pass(batch);
        }
    }

    fn show(&mut self) {
        let bytes = self.held.bytes() + self.left.bytes();
        self.charge.resize(bytes);
        self.meters.traces.set(self.held.traces() as i64);
        self.meters.items.set(self.held.items() as i64);
        self.meters.bytes.set(bytes as i64);
    }
}

/// The part of a bound that is made free when it is reached, one in so many.
const RELIEF: usize = 32;

/// The fields of `group` in `batch` without its `children`.
fn header<'a>(
    batch: &Batch,
    group: Message<'_>,
    children: u32,
    content: &'a mut Vec<u8>,
) -> &'a [u8] {
    content.clear();
    for field in group.fields().filter(|field| field.number != children) {
        content.extend_from_slice(batch.bytes().get(field.at..field.end).unwrap_or_default());
    }
    content
}

impl Leaving {
    /// Whether a trace of `size` bytes with all around it still fits one export request, with what
    /// processors behind may add to it.
    fn fits(&self, size: usize) -> bool {
        self.len + self.around + size <= limits::EXPORT_BYTES / 4 * 3
    }

    fn add(&mut self, pieces: impl IntoIterator<Item = Piece>, headers: &Headers) {
        for piece in pieces {
            self.items += piece.items;
            self.len += piece.len();
            for id in piece.groups().flat_map(Group::ids) {
                if self.headers.insert(id) {
                    self.around += headers.get(id).len();
                }
            }
            self.pieces.push(piece);
        }
    }
}

struct Meters {
    /// In the order of [`Cause::ALL`].
    released: Vec<Counter>,
    released_items: Counter,
    evicted: Counter,
    held_milliseconds: Counter,
    late: Counter,
    traces: Gauge,
    items: Gauge,
    bytes: Gauge,
}

impl Meters {
    fn new(setup: &Setup<'_>) -> Meters {
        let theirs = |name| format!("otelcol_processor_groupbytrace_{name}");
        let ours = |name| format!("spanloom_trace_window_{name}");
        let counter = |name: String, help| setup.counter(&name, help, &[]);
        let released = |cause: &Cause| {
            let help = "Traces that left the window, by cause.";
            setup.counter(&theirs("traces_released"), help, &[("cause", cause.name())])
        };
        let time = "Time that traces were held, from the first span on, of all that left.";
        Meters {
            released: Cause::ALL.iter().map(released).collect(),
            released_items: counter(theirs("spans_released"), "Spans that left with their trace."),
            evicted: counter(theirs("traces_evicted"), "Traces that left early, at a bound."),
            held_milliseconds: counter(ours("held_milliseconds"), time),
            late: counter(ours("late_spans"), "Spans that came after their trace had left."),
            traces: setup.gauge(&theirs("num_traces_in_memory"), "Traces that are held.", &[]),
            items: setup.gauge(&ours("spans"), "Spans that are held.", &[]),
            bytes: setup.gauge(&ours("bytes"), "Memory of the window, in bytes.", &[]),
        }
    }

    fn memory(&self, setup: &Setup<'_>) -> Gauges {
        let forgotten = |cause| {
            let help = "Traces that left and are not remembered any more, by cause.";
            setup.counter("spanloom_trace_window_forgotten_traces", help, &[("cause", cause)])
        };
        let help = "Traces that are remembered as left.";
        Gauges {
            traces: setup.gauge("spanloom_trace_window_remembered_traces", help, &[]),
            evicted: forgotten("evicted"),
            expired: forgotten("expired"),
        }
    }

    fn released(&self, trace: &Trace, cause: Cause, held: Duration) {
        if let Some(counter) = self.released.get(cause as usize) {
            counter.add(1);
        }
        self.evicted.add(usize::from(cause.is_early()));
        self.released_items.add(trace.items);
        self.held_milliseconds.add(usize::try_from(held.as_millis()).unwrap_or(usize::MAX));
    }
}

impl Stateful for Window {
    fn process(&mut self, mut batch: Batch, now: Moment, out: &mut Out) {
        self.left.expire(now);
        let mut groups = vec![];
        let found = self.find(&batch, now, &mut groups);
        if found.iter().all(|item| item.trace.is_none()) {
            out.pass(batch);
        } else {
            batch.receipts.take_custody();
            self.blank.get_or_insert_with(|| batch.part(bytes::Bytes::new(), 0));
            self.take(&batch, found, now, out);
            self.send(now, out);
        }
        let ids = groups.into_iter().flat_map(Group::ids);
        ids.for_each(|id| self.held.headers.put_back(id));
        self.show();
    }

    fn wake_at(&self) -> Option<Moment> {
        let monotonic = self.held.next_due()?;
        Some(Moment { monotonic, unix_nanos: 0 })
    }

    /// Lets go what is due, in portions: what is behind takes one before it gets the next.
    fn wake(&mut self, now: Moment, out: &mut Out) {
        let mut portion = 0;
        while portion < limits::WINDOW_PORTION
            && let Some((trace, due)) = self.held.remove_due(now.monotonic)
        {
            portion += trace.size;
            let cause = if due == Due::Idle { Cause::Idle } else { Cause::Wait };
            self.release(trace, cause, now, out);
        }
        self.send(now, out);
        self.left.expire(now);
        self.show();
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        while let Some(trace) = self.held.remove_oldest() {
            self.release(trace, Cause::Shutdown, now, out);
        }
        self.send(now, out);
        self.show();
    }
}

#[cfg(test)]
mod tests;
