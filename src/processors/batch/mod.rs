//! `batch`: joins small batches and splits large ones. Keys and names are the Collector's.
//!
//! A batch leaves when `send_batch_size` items or `send_batch_max_bytes` bytes have come together,
//! or `timeout` after the first of them came. It holds at most `send_batch_max_size` items and
//! `send_batch_max_bytes` bytes; an item that alone exceeds the bytes goes alone. Items keep their
//! order.
//!
//! **Nobody is answered from here.** The Collector's processor says "accepted" and then holds the
//! data; here a joined batch carries the receipts of all requests in it, and each client hears
//! what became of its parts behind this processor. So clients wait as long as a batch is held,
//! which has two consequences. A `timeout` beyond [`limits::BATCH_HOLD`] is cut to it, since
//! clients would give up and send again what is on its way. And the time in here does not count
//! against the time that a batch may wait for room in a queue, or a patient processor would be
//! the reason for refusals.
//!
//! What is held counts as held memory as before, and is bounded in bytes: by one batch below
//! `send_batch_max_bytes` and the request that fills it.
//!
//! Ours, beyond the Collector: `send_batch_max_bytes`. Absent: batches by client metadata.
//!
//! Metrics: `otelcol_processor_batch_{batch_send_size,batch_send_size_bytes}`,
//! `otelcol_processor_batch_{batch_size,timeout}_trigger_send` (the first for bytes too), and
//! `otelcol_processor_batch_metadata_cardinality`, which is always 1.

use super::{Built, Kind, Out, Setup, Stateful};
use crate::batch::Batch;
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section, duration};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::join::{Part, count, split};
use crate::otlp::partition::partition;
use crate::telemetry::{Counter, Histogram};
use crate::verdict::Verdict;
use std::collections::VecDeque;
use std::time::Duration;

const KEYS: &[Key] = &[
    Key::duration("timeout", "200ms", "time after which a batch leaves however small; 0s: at once"),
    Key::int("send_batch_size", 8192, ITEMS, "items that make a batch leave; 0: any"),
    Key::int("send_batch_max_size", 0, ITEMS, "items of a batch at most; 0: no bound"),
    Key::size_bytes(
        "send_batch_max_bytes",
        limits::EXPORT_BYTES as i64,
        "bytes of a batch at most, and the bytes that make it leave",
    ),
    Key::list_of_text("metadata_keys", &[], "must be empty: batches know no client metadata"),
    Key::ignored("metadata_cardinality_limit", "batches are not parted by client metadata"),
];

/// What the Collector's 32 bits hold.
const ITEMS: std::ops::RangeInclusive<i64> = 0..=u32::MAX as i64;

const SAMPLE: &str = "\
# a batch leaves when it has this many items or bytes, or this time after its first item
timeout: 200ms                 # clients wait as long; at most 4s
send_batch_size: 8192
# no batch has more items (0: no bound) or bytes; larger ones are split
send_batch_max_size: 0
send_batch_max_bytes: 1048576
metadata_keys: []              # must be empty
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "batch",
        aliases: &[],
        about: "joins small batches and splits large ones; clients are answered by what is behind",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: KEYS,
        check,
    },
    build: |section, setup| Built::Stateful(Box::new(Batcher::new(section, setup))),
};

/// Reports what the table of keys cannot say.
fn check(section: &Section, problems: &mut Problems) {
    let (size, max) = (section.count("send_batch_size"), section.count("send_batch_max_size"));
    if max > 0 && max < size {
        let text = format!("must be at least `send_batch_size`, which is {size}, or 0 for none");
        section.error(problems, "send_batch_max_size", text);
    }
    if section.bytes("send_batch_max_bytes") < limits::EXPORT_BYTES_MIN as u64 {
        let text = format!("must be at least {} bytes", limits::EXPORT_BYTES_MIN);
        section.error(problems, "send_batch_max_bytes", text);
    }
    if !section.list("metadata_keys").is_empty() {
        let text = "is not supported here: batches know no client metadata. For batches by \
                    tenant use a receiver and a pipeline for each";
        section.error(problems, "metadata_keys", text);
    }
    let timeout = section.duration("timeout");
    if timeout > limits::BATCH_HOLD {
        let most = duration::format(limits::BATCH_HOLD);
        let text = format!(
            "is longer than clients wait for their answer, which they get when the batch has \
             left; batches leave after {most}"
        );
        section.warning(problems, "timeout", text);
    }
}

/// Item counts and bytes, at which the Collector's buckets end.
const ITEM_BUCKETS: &[f64] = &[
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3,
    9e3, 1e4, 2e4, 3e4, 5e4, 1e5,
];
const BYTE_BUCKETS: &[f64] = &[
    128.0,
    256.0,
    512.0,
    1024.0,
    2048.0,
    4096.0,
    8192.0,
    16384.0,
    32768.0,
    65536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
];

/// The processor.
struct Batcher {
    /// How long a batch is held.
    hold: Duration,
    /// Items that make a batch leave.
    size: usize,
    max_items: usize,
    max_bytes: usize,
    held: VecDeque<Held>,
    /// Of what is held.
    items: usize,
    bytes: usize,
    meters: Meters,
}

struct Held {
    batch: Batch,
    /// When it came.
    since: Moment,
}

struct Meters {
    items: Histogram,
    bytes: Histogram,
    by_size: Counter,
    by_timeout: Counter,
}

impl Meters {
    fn new(setup: &Setup<'_>) -> Meters {
        let name = |name| format!("otelcol_processor_batch_{name}");
        let histogram = |n, help, bounds| setup.histogram(&name(n), help, bounds);
        let counter = |n, help| setup.counter(&name(n), help, &[]);
        setup.gauge(&name("metadata_cardinality"), "kinds of client metadata", &[]).set(1);
        Meters {
            items: histogram("batch_send_size", "items of the batches that left", ITEM_BUCKETS),
            bytes: histogram("batch_send_size_bytes", "bytes of the same", BYTE_BUCKETS),
            by_size: counter("batch_size_trigger_send", "batches that left for their size"),
            by_timeout: counter("timeout_trigger_send", "batches that left for their age"),
        }
    }
}

impl Batcher {
    fn new(section: &Section, setup: &Setup<'_>) -> Batcher {
        let unbounded = |n: usize| if n == 0 { usize::MAX } else { n };
        Batcher {
            hold: section.duration("timeout").min(limits::BATCH_HOLD),
            size: section.count("send_batch_size"),
            max_items: unbounded(section.count("send_batch_max_size")),
            max_bytes: usize::try_from(section.bytes("send_batch_max_bytes")).unwrap_or(usize::MAX),
            held: VecDeque::new(),
            items: 0,
            bytes: 0,
            meters: Meters::new(setup),
        }
    }

    /// Whether what is held is large enough to leave.
    fn is_full(&self) -> bool {
        self.hold.is_zero() || self.items >= self.size || self.bytes >= self.max_bytes
    }

    fn hold_back(&mut self, held: Held) {
        self.items += held.batch.items();
        self.bytes += held.batch.bytes().len();
        self.held.push_front(held);
    }

    fn take_front(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.items -= held.batch.items();
        self.bytes -= held.batch.bytes().len();
        Some(held)
    }

    /// Joins what stands at the front up to the bounds, and hands it on.
    fn send(&mut self, now: Moment, why: &Counter, out: &mut Out) {
        let (mut joined, mut items, mut bytes) = (vec![], 0, 0);
        while let Some(mut held) = self.take_front() {
            let (room, len) = (self.max_items - items, held.batch.bytes().len());
            if held.batch.items() <= room && len <= self.max_bytes - bytes {
                items += held.batch.items();
                bytes += len;
                held.batch.arrived = held.batch.arrived.plus(now.since(held.since));
                joined.push(held.batch);
                continue;
            }
            // A batch of bytes is not filled up to the last one, which would cost copies; a batch
            // of items is, since the bound may be the size at which a batch leaves.
            if !joined.is_empty() && (room == 0 || held.batch.items() <= room) {
                self.hold_back(held);
                break;
            }
            let since = held.since;
            let mut parts = match len > self.max_bytes {
                true => by_bytes(held.batch, self.max_bytes),
                false => by_items(held.batch, room, self.max_items),
            };
            // What cannot be split goes alone.
            if parts.len() == 1 && joined.is_empty() {
                joined.append(&mut parts);
                break;
            }
            let indivisible = parts.len() == 1;
            let parts = parts.into_iter().rev();
            parts.for_each(|batch| self.hold_back(Held { batch, since }));
            if indivisible {
                break;
            }
        }
        let Some(batch) = Batch::joined(joined) else { return };
        self.meters.items.observe(batch.items());
        self.meters.bytes.observe(batch.bytes().len());
        why.add(1);
        out.pass(batch);
    }

    /// Hands on everything that is held.
    fn send_all(&mut self, now: Moment, out: &mut Out) {
        let why = self.meters.by_timeout.clone();
        while !self.held.is_empty() {
            self.send(now, &why, out);
        }
    }
}

impl Stateful for Batcher {
    fn process(&mut self, batch: Batch, now: Moment, out: &mut Out) {
        self.items += batch.items();
        self.bytes += batch.bytes().len();
        self.held.push_back(Held { batch, since: now });
        let why = self.meters.by_size.clone();
        while !self.held.is_empty() && self.is_full() {
            self.send(now, &why, out);
        }
    }

    fn wake_at(&self) -> Option<Moment> {
        self.held.front().map(|held| held.since.plus(self.hold))
    }

    fn wake(&mut self, now: Moment, out: &mut Out) {
        self.send_all(now, out);
    }

    fn held(&self) -> usize {
        self.items
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        self.send_all(now, out);
    }
}

/// `batch` in parts of at most `max` bytes, one item excepted.
fn by_bytes(batch: Batch, max: usize) -> Vec<Batch> {
    let parts = split(batch.signal().message(), batch.bytes(), max);
    parts_of(batch, parts)
}

/// `batch` in two: its first `room` items or, if there are many times `max` behind them, the first
/// half, so that the bytes are not copied once for each part.
fn by_items(batch: Batch, room: usize, max: usize) -> Vec<Batch> {
    let more = batch.items().saturating_sub(room);
    let first = room + more / 2 / max * max;
    let message = batch.signal().message();
    let (mut taken, mut full) = (0, false);
    let parts = partition(message, batch.bytes(), |item| {
        // The points of one metric stay together, so that one may exceed the bound alone.
        let n = count(message, item);
        full |= taken > 0 && taken + n > first;
        taken += n;
        usize::from(full)
    });
    parts_of(batch, parts.into_iter().map(|(_, part)| part).collect())
}

/// `parts` as batches that settle for `batch`. A clone of a receipt stands for an answer that is
/// owed, so the whole's own is paid here.
fn parts_of(batch: Batch, parts: Vec<Part>) -> Vec<Batch> {
    if parts.len() < 2 {
        return vec![batch];
    }
    let parts = parts.into_iter().map(|part| batch.part(part.bytes, part.items)).collect();
    batch.settle(&Verdict::Accepted);
    parts
}

#[cfg(test)]
mod tests;
