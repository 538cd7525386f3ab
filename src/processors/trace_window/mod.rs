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

mod blocks;
mod headers;
mod meters;
mod runs;
mod slab;
mod traces;

use super::memory::trace_key;
use super::{Built, Kind, Out, Setup, Stateful};
use crate::account::Charge;
use crate::batch::{Batch, Signal};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::fields::{log_record, resource_group, scope_group, span};
use crate::otlp::wire::Message;
use blocks::Blocks;
use bytes::Bytes;
use headers::Headers;
use meters::{Cause, Meters};
use runs::{Gone, Group, Run};
use std::time::Duration;
use traces::{Due, Known, Timing, Traces};

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

/// A run of a request.
struct Found {
    /// The number of its trace; `None` if it is not held.
    trace: Option<u32>,
    run: Run,
}

/// The processor.
struct Window {
    /// The number of the items' field with the trace id.
    trace_id: u32,
    traces: Traces,
    blocks: Blocks,
    headers: Headers,
    limits: Limits,
    /// Traces that are about to leave, and their bytes.
    leaving: Vec<Gone>,
    leaving_bytes: usize,
    /// What all this takes, in the process's account.
    charge: Charge,
    /// An empty batch that nobody waits for: what leaves is made from it.
    blank: Option<Batch>,
    /// The runs and the groups of the request at hand.
    found: Vec<Found>,
    groups: Vec<Group>,
    meters: Meters,
}

/// How much is held.
struct Limits {
    bytes: usize,
    spans: usize,
    traces: usize,
    /// Traces that are remembered, and how long.
    left: usize,
    ttl: Duration,
}

impl Limits {
    fn new(section: &Section) -> Limits {
        let bytes = usize::try_from(section.bytes("limit_mib")).unwrap_or(usize::MAX);
        let left = bytes / limits::WINDOW_LEFT_SHARE / Traces::trace_bytes();
        Limits {
            bytes: bytes / 100 * limits::WINDOW_HELD_PERCENT,
            spans: section.count("limit_spans"),
            traces: section.count("num_traces"),
            left: section.count("limit_released").min(left),
            ttl: section.duration("ttl"),
        }
    }
}

impl Window {
    fn new(section: &Section, setup: &Setup<'_>) -> Window {
        let limits = Limits::new(section);
        let segment = limits.bytes / limits::WINDOW_SEGMENTS;
        let segment = segment.clamp(limits::WINDOW_SEGMENT_MIN, limits::WINDOW_SEGMENT_MAX);
        Window {
            trace_id: match setup.signal {
                Signal::Logs => log_record::TRACE_ID,
                _ => span::TRACE_ID,
            },
            traces: Traces::new(timing(section)),
            blocks: Blocks::new(segment),
            headers: Headers::default(),
            limits,
            leaving: vec![],
            leaving_bytes: 0,
            charge: setup.account.charge(0),
            blank: None,
            found: vec![],
            groups: vec![],
            meters: Meters::new(setup),
        }
    }

    /// Bytes that all of it takes.
    fn bytes(&self) -> usize {
        self.blocks.bytes() + self.traces.bytes() + self.headers.bytes()
    }

    /// Finds the runs of `batch`, with what stands around them in use until [`Window::done`].
    fn find(&mut self, batch: &Batch, now: Moment) {
        let (mut before, mut trace, mut late) = (&[][..], None, 0);
        let (mut content, mut all_late) = (vec![], 0);
        for resource in batch.request().resource_groups() {
            let around = header(batch, resource.0, resource_group::SCOPE_GROUPS, &mut content);
            let id = self.headers.take(around);
            for scope in resource.scope_groups() {
                let around = header(batch, scope.0, scope_group::ITEMS, &mut content);
                let group = Group { resource: id, scope: self.headers.take(around) };
                self.headers.take_again(id);
                self.groups.push(group);
                for field in scope.item_fields() {
                    let item = field.message().and_then(|item| item.field(self.trace_id));
                    let key = item.map(|field| field.bytes()).unwrap_or_default();
                    if key != before {
                        before = key;
                        let known = trace_key(key).map(|id| self.traces.meet(id, now.monotonic));
                        late = usize::from(matches!(known, Some(Known::Left(_))));
                        trace = match known {
                            Some(Known::Held(number)) => Some(number),
                            Some(Known::Left(_)) | None => None,
                        };
                    }
                    all_late += late;
                    let (at, end) = (field.at as u32, field.end as u32);
                    match self.found.last_mut() {
                        Some(Found { trace: of, run })
                            if *of == trace && run.end == at && run.group == group =>
                        {
                            run.end = end;
                            run.items += 1;
                        }
                        _ => {
                            let run = Run { block: 0, group, at, end, items: 1 };
                            self.found.push(Found { trace, run });
                        }
                    }
                }
            }
            self.headers.put_back(id);
        }
        self.meters.late.add(all_late);
    }

    /// Ends the use of what stands around the runs of the request at hand.
    fn done(&mut self) {
        self.found.clear();
        let ids = self.groups.drain(..).flat_map(Group::ids);
        ids.for_each(|id| self.headers.put_back(id));
    }

    /// Holds what is to be held of `batch`: a copy of it, or of those of its runs.
    fn hold(&mut self, batch: &Batch, now: Moment, out: &mut Out) {
        let mut found = std::mem::take(&mut self.found);
        found.retain(|found| found.trace.is_some());
        let items: usize = found.iter().map(|found| found.run.items as usize).sum();
        let whole = items == batch.items();
        let block = if whole {
            let bytes = batch.bytes();
            self.blocks.insert([&bytes[..]].into_iter(), bytes.len(), items)
        } else {
            let len = found.iter().map(|found| found.run.len()).sum();
            let parts = found.iter().map(|found| found.run.of(batch.bytes()));
            self.blocks.insert(parts, len, 0)
        };
        let (mut at, mut large) = (0, None);
        for Found { trace, run } in &mut found {
            let Some(trace) = *trace else { continue };
            run.block = block;
            if !whole {
                let len = run.end - run.at;
                (run.at, run.end) = (at, at + len);
                at += len;
            }
            if self.add(trace, *run) > limits::REQUEST_BYTES / 2 {
                large = Some(trace);
            }
        }
        self.found = found;
        if let Some(large) = large {
            self.release(large, Cause::Size, now, out);
            self.send(now, out);
        }
    }

    /// Gives a trace a run. Yields the size that it has then.
    fn add(&mut self, trace: u32, run: Run) -> usize {
        self.blocks.add(&run, trace);
        let ids = run.group.ids();
        ids.into_iter().for_each(|id| self.headers.take_again(id));
        let around = ids.into_iter().map(|id| self.headers.get(id).len()).sum();
        self.traces.add(trace, run, around)
    }

    /// Passes what is not held of `batch`.
    fn pass_rest(&self, batch: &Batch, now: Moment, out: &mut Out) {
        let passing = || self.found.iter().filter(|found| found.trace.is_none());
        let runs = passing().map(|found| (found.run.group, found.run.of(batch.bytes())));
        let items = passing().map(|found| found.run.items as usize).sum();
        self.pass(runs.collect(), items, now, out);
    }

    /// Passes these runs as one batch.
    fn pass(&self, runs: Vec<(Group, &[u8])>, items: usize, now: Moment, out: &mut Out) {
        if items > 0 {
            let bytes = runs::request(runs, &self.headers);
            self.meters.copied.add(bytes.len());
            self.pass_request(bytes, items, now, out);
        }
    }

    fn pass_request(&self, bytes: Bytes, items: usize, now: Moment, out: &mut Out) {
        if let Some(blank) = &self.blank {
            let mut batch = blank.part(bytes, items);
            // It has waited here and not for room behind.
            batch.arrived = now;
            out.pass(batch);
        }
    }

    /// Lets the oldest traces go if there is too much of anything, with `more` bytes to come. A
    /// little more than needed, so that they leave together.
    fn relieve(&mut self, more: usize, now: Moment, out: &mut Out) {
        while let Some(cause) = self.pressure(more, 0) {
            while let Some(oldest) = self.traces.oldest()
                && (self.pressure(more, RELIEF).is_some() || self.is_next(oldest))
            {
                self.release(oldest, cause, now, out);
            }
            self.send(now, out);
            if self.traces.held() == 0 {
                break;
            }
        }
    }

    /// What there is too much of, if one part in `relief` is to be free (0 for none).
    fn pressure(&self, more: usize, relief: usize) -> Option<Cause> {
        let over = |n: usize, limit: usize| n > limit - limit.checked_div(relief).unwrap_or(0);
        if over((self.bytes() + more).saturating_sub(self.leaving_bytes), self.limits.bytes) {
            return Some(Cause::Bytes);
        }
        if over(self.traces.items(), self.limits.spans) {
            return Some(Cause::Spans);
        }
        over(self.traces.held(), self.limits.traces).then_some(Cause::Traces)
    }

    /// Whether a trace leaves together with the `leaving` bytes that do.
    fn fits(&self, leaving: usize, number: u32) -> bool {
        leaving + self.traces.size(number) <= limits::WINDOW_PORTION || self.is_next(number)
    }

    /// Whether a trace stands in the same request as the last that leaves.
    fn is_next(&self, number: u32) -> bool {
        let last = self.leaving.last().and_then(|gone| gone.runs.last());
        let next = self.traces.runs(number).first();
        last.zip(next).is_some_and(|(last, next)| last.block == next.block)
    }

    /// Lets a trace leave with the others that do.
    fn release(&mut self, number: u32, cause: Cause, now: Moment, out: &mut Out) {
        if !self.fits(self.leaving_bytes, number) {
            self.send(now, out);
        }
        let Some(gone) = self.traces.let_go(number, now.monotonic) else { return };
        self.meters.released(&gone, cause);
        self.leaving_bytes += gone.runs.iter().map(Run::len).sum::<usize>();
        if let Some(block) = gone.block() {
            self.blocks.leave(block, gone.runs.len());
        }
        self.leaving.push(gone);
    }

    /// Sends off what is about to leave: whole requests as they came, all else joined.
    fn send(&mut self, now: Moment, out: &mut Out) {
        let leaving = std::mem::take(&mut self.leaving);
        self.leaving_bytes = 0;
        let (mut runs, mut items, mut size, mut whole) = (vec![], 0, 0, vec![]);
        for gone in &leaving {
            let block = gone.block();
            let block = block.filter(|n| self.blocks.leaves_whole(*n, WHOLE_BYTES).is_some());
            if let Some(number) = block {
                // Traces of one request came together and leave in a row.
                if whole.last() != Some(&number)
                    && !whole.contains(&number)
                    && let Some(block) = self.blocks.get(number)
                {
                    self.pass_request(block.bytes.clone(), block.whole, now, out);
                    whole.push(number);
                }
                continue;
            }
            if size + gone.size > limits::WINDOW_PORTION {
                self.pass(std::mem::take(&mut runs), items, now, out);
                (items, size) = (0, 0);
            }
            let bytes = |run: &Run| (run.group, self.blocks.bytes_of(run));
            runs.extend(gone.runs.iter().map(bytes));
            items += gone.items;
            size += gone.size;
        }
        self.pass(runs, items, now, out);
        self.let_go(leaving);
    }

    /// Gives back what `gone` traces took.
    fn let_go(&mut self, gone: Vec<Gone>) {
        let mut sparse = vec![];
        for run in gone.into_iter().flat_map(|gone| gone.runs) {
            run.group.ids().into_iter().for_each(|id| self.headers.put_back(id));
            match self.blocks.let_go(&run) {
                Some(segment) if !sparse.contains(&segment) => sparse.push(segment),
                _ => {}
            }
        }
        for segment in sparse {
            self.blocks.sparse(segment).into_iter().for_each(|block| self.compact(block));
        }
        while self.traces.left() > self.limits.left && self.traces.forget(Duration::MAX) {
            self.meters.forgotten.add(1);
        }
    }

    /// Copies what is held of a block into one of its own.
    fn compact(&mut self, number: u32) {
        let Some(mut old) = self.blocks.remove(number) else { return };
        old.traces.sort_unstable();
        old.traces.dedup();
        // A trace may have left, and its number may be that of another now.
        let traces = &self.traces;
        let runs = old.traces.iter().flat_map(|trace| traces.runs(*trace));
        let runs: Vec<Run> = runs.filter(|run| run.block == number).copied().collect();
        let len = runs.iter().map(Run::len).sum();
        self.meters.copied.add(len);
        let block = self.blocks.insert(runs.iter().map(|run| run.of(&old.bytes)), len, 0);
        let mut at = 0;
        for trace in old.traces {
            for run in self.traces.runs_mut(trace).iter_mut().filter(|run| run.block == number) {
                let end = at + run.end - run.at;
                (run.block, run.at, run.end) = (block, at, end);
                at = end;
                self.blocks.add(run, trace);
            }
        }
    }

    /// Forgets traces that left long ago.
    fn expire(&mut self, now: Moment) {
        let Some(since) = now.monotonic.checked_sub(self.limits.ttl) else { return };
        while self.traces.forget(since) {
            self.meters.expired.add(1);
        }
    }

    fn show(&mut self) {
        let bytes = self.bytes();
        self.charge.resize(bytes);
        self.meters.traces.set(self.traces.held() as i64);
        self.meters.items.set(self.traces.items() as i64);
        self.meters.bytes.set(bytes as i64);
        self.meters.remembered.set(self.traces.left() as i64);
    }
}

/// The part of a bound that is made free when it is reached, one in so many.
const RELIEF: usize = 64;

/// Bytes from which on a request that leaves whole leaves as it came. Smaller ones are joined: what
/// is behind takes its time per batch.
const WHOLE_BYTES: usize = 16 << 10;

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

impl Stateful for Window {
    fn process(&mut self, mut batch: Batch, now: Moment, out: &mut Out) {
        self.expire(now);
        // Before its traces are looked up, so that those that leave for it are late in it.
        self.relieve(self.blocks.growth(batch.bytes().len()), now, out);
        self.find(&batch, now);
        if self.found.iter().all(|found| found.trace.is_none()) {
            out.pass(batch);
        } else {
            batch.receipts.take_custody();
            self.blank.get_or_insert_with(|| batch.part(Bytes::new(), 0));
            self.pass_rest(&batch, now, out);
            self.hold(&batch, now, out);
            drop(batch);
            self.relieve(0, now, out);
        }
        self.done();
        self.show();
    }

    fn wake_at(&self) -> Option<Moment> {
        Some(Moment { monotonic: self.traces.next_due()?, unix_nanos: 0 })
    }

    /// Lets go what is due, in portions: what is behind takes one before it gets the next.
    fn wake(&mut self, now: Moment, out: &mut Out) {
        let mut portion = 0;
        while let Some((number, due)) = self.traces.due(now.monotonic)
            && (portion == 0 || self.fits(portion, number))
        {
            let cause = if due == Due::Idle { Cause::Idle } else { Cause::Wait };
            portion += self.traces.size(number);
            self.release(number, cause, now, out);
        }
        self.send(now, out);
        self.expire(now);
        self.traces.shrink();
        self.show();
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        while let Some(number) = self.traces.oldest() {
            self.release(number, Cause::Shutdown, now, out);
        }
        self.send(now, out);
        self.show();
    }
}

#[cfg(test)]
mod tests;
