//! The window: takes requests apart into traces, and puts traces together into requests.

use super::blocks::Blocks;
use super::headers::Headers;
use super::meters::{Cause, Meters};
use super::runs::{self, Found, Gone, Group, Run};
use super::traces::{Due, Traces};
use super::{Limits, timing};
use crate::account::Charge;
use crate::batch::{Batch, Signal};
use crate::config::Section;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::fields::{log_record, resource_group, scope_group, span};
use crate::otlp::wire::Message;
use crate::processors::memory::trace_key;
use crate::processors::{Out, Setup, Stateful};
use crate::receipt::Receipts;
use crate::verdict::Verdict;
use bytes::Bytes;
use std::collections::HashSet;
use std::time::Duration;

/// The processor.
pub struct Window {
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

impl Window {
    pub fn new(section: &Section, setup: &Setup<'_>) -> Window {
        let limits = Limits::new(section, setup);
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
        let mut content = vec![];
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
                    let id = item.and_then(|field| trace_key(field.bytes())).unwrap_or(0);
                    let (at, end) = (field.at as u32, field.end as u32);
                    match self.found.last_mut() {
                        Some(Found { id: of, run, .. })
                            if *of == id && run.end == at && run.group == group =>
                        {
                            run.end = end;
                            run.items += 1;
                        }
                        _ => {
                            let run = Run { block: 0, group, at, end, items: 1 };
                            self.found.push(Found { id, trace: None, run });
                        }
                    }
                }
            }
            self.headers.put_back(id);
        }
        self.traces.meet(&mut self.found, now.monotonic);
        let late = self.found.iter().filter(|found| found.id != 0 && found.trace.is_none());
        self.meters.late.add(late.map(|found| found.run.items as usize).sum());
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
        self.blocks.claim(block, batch.receipts.clone());
        let most = match self.bytes() > self.limits.bytes / limits::WINDOW_CROWDED_SHARE {
            true => self.limits.trace,
            false => limits::WINDOW_TRACE_BYTES,
        };
        let (mut at, mut large) = (0, vec![]);
        for Found { trace, run, .. } in &mut found {
            let Some(trace) = *trace else { continue };
            run.block = block;
            if !whole {
                let len = run.end - run.at;
                (run.at, run.end) = (at, at + len);
                at += len;
            }
            if self.add(trace, *run) > most {
                large.push(trace);
            }
        }
        self.found = found;
        if !large.is_empty() {
            // One that is here twice is gone the second time.
            large.into_iter().for_each(|trace| self.release(trace, Cause::Size, now, out));
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
        self.pass(runs.collect(), items, batch.receipts.clone(), now, out);
    }

    /// Passes these runs as one batch.
    fn pass(
        &self,
        runs: Vec<(Group, &[u8])>,
        items: usize,
        receipts: Receipts,
        now: Moment,
        out: &mut Out,
    ) {
        if items > 0 {
            let bytes = runs::request(runs, &self.headers);
            self.meters.copied.add(bytes.len());
            self.pass_request(bytes, items, receipts, now, out);
        } else {
            receipts.settle(&Verdict::Accepted);
        }
    }

    fn pass_request(
        &self,
        bytes: Bytes,
        items: usize,
        receipts: Receipts,
        now: Moment,
        out: &mut Out,
    ) {
        if let Some(blank) = &self.blank {
            let mut batch = blank.part(bytes, items);
            batch.receipts.join(receipts);
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
        let mut claimed = Claimed::default();
        for gone in &leaving {
            let block = gone.block();
            let block = block.filter(|n| self.blocks.leaves_whole(*n, WHOLE_BYTES).is_some());
            if let Some(number) = block {
                // Traces of one request came together and leave in a row.
                if whole.last() != Some(&number)
                    && !whole.contains(&number)
                    && let Some(block) = self.blocks.get(number)
                {
                    let (bytes, receipts) = (block.bytes.clone(), block.receipts.clone());
                    self.pass_request(bytes, block.whole, receipts, now, out);
                    whole.push(number);
                }
                continue;
            }
            if size + gone.size > limits::WINDOW_PORTION {
                self.pass(std::mem::take(&mut runs), items, claimed.take(), now, out);
                (items, size) = (0, 0);
            }
            claimed.add(gone, &self.blocks);
            let bytes = |run: &Run| (run.group, self.blocks.bytes_of(run));
            runs.extend(gone.runs.iter().map(bytes));
            items += gone.items;
            size += gone.size;
        }
        self.pass(runs, items, claimed.take(), now, out);
        self.let_go(leaving);
    }

    /// Gives back what `gone` traces took.
    fn let_go(&mut self, gone: Vec<Gone>) {
        for run in gone.into_iter().flat_map(|gone| gone.runs) {
            run.group.ids().into_iter().for_each(|id| self.headers.put_back(id));
            self.blocks.let_go(&run);
        }
        while let Some(blocks) = self.blocks.sparse() {
            blocks.into_iter().for_each(|block| self.compact(block));
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
        self.blocks.claim(block, old.receipts);
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

/// What the journal claims of the traces that leave in one batch, each request's once.
#[derive(Default)]
struct Claimed {
    blocks: HashSet<u32>,
    receipts: Receipts,
}

impl Claimed {
    fn add(&mut self, gone: &Gone, blocks: &Blocks) {
        for run in &gone.runs {
            if let Some(block) = blocks.get(run.block)
                && block.receipts.in_journal()
                && self.blocks.insert(run.block)
            {
                self.receipts.join(block.receipts.clone());
            }
        }
    }

    fn take(&mut self) -> Receipts {
        self.blocks.clear();
        std::mem::take(&mut self.receipts)
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
            self.blank.get_or_insert_with(|| {
                let mut blank = batch.part(Bytes::new(), 0);
                // It stands for nothing of this batch: what only lets go of a claim gives it up.
                let shared = std::mem::replace(&mut blank.receipts, Receipts::custody());
                shared.settle(&Verdict::Accepted);
                blank
            });
            self.pass_rest(&batch, now, out);
            self.hold(&batch, now, out);
            // The whole's own share; those of what passes and of what is held go on.
            batch.settle(&Verdict::Accepted);
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

    fn held(&self) -> usize {
        self.traces.items()
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        while let Some(number) = self.traces.oldest() {
            self.release(number, Cause::Shutdown, now, out);
        }
        self.send(now, out);
        self.show();
    }
}
