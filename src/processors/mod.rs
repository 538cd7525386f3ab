//! Processors: they look at batches and change them, and do nothing else.
//!
//! A processor does no I/O and reads no clock: time comes in with each call, and a wish to be
//! called later goes out as a moment. It imports neither tokio nor a clock. What it changes it
//! says as [`Edits`](crate::otlp::edit::Edits).
//!
//! To add one: write `processors/<name>.rs` with a `KIND`, then add its `mod` line and its entry
//! in [`LIST`]. The command line, configuration check, schema and documentation follow from it.

use crate::account::{Account, Limit};
use crate::batch::{Batch, Signal};
use crate::config::{Component, Section};
use crate::limits;
use crate::moment::Moment;
use crate::telemetry::{Counter, Gauge, Histogram, Level, Registry};
use crate::verdict::Verdict;
use inspect::Inspector;
use places::Places;
use std::sync::Arc;

mod actions;
mod attributes;
mod baggage;
mod batch;
mod counts;
mod filter;
pub mod fragments;
pub mod inspect;
mod memory;
mod memory_limiter;
mod names;
pub mod orphans;
pub mod places;
mod probabilistic_sampler;
mod repeats;
mod resource;
pub mod row;
mod selection;
mod sensitive;
mod sieve;
mod span;
#[cfg(test)]
mod tests;
mod trace_window;
mod walk;

/// All processors, in reading order.
pub const LIST: &[Kind] = &[
    sensitive::KIND,
    trace_window::KIND,
    baggage::KIND,
    orphans::KIND,
    filter::KIND,
    attributes::KIND,
    resource::KIND,
    span::KIND,
    probabilistic_sampler::KIND,
    memory_limiter::KIND,
    batch::KIND,
];

/// A type of processor: its entry in the catalogue, and how to build one.
pub struct Kind {
    pub component: Component,
    /// Builds one from its checked section; it cannot fail.
    pub build: fn(&Section, &Setup<'_>) -> Built,
}

/// A processor, ready to run.
pub enum Built {
    /// Holds no state. Before the first stateful processor of a pipeline it runs on the receiving
    /// connection's own task, on all cores at once.
    Stateless(Arc<dyn Stateless>),
    /// Holds state; owned by one task per shard.
    Stateful(Box<dyn Stateful>),
    /// Holds state, and looks at items one by one.
    Inspector(Box<dyn Inspector>),
}

/// A processor without state.
pub trait Stateless: Send + Sync {
    /// Takes a batch and hands on what becomes of it.
    fn process(&self, batch: Batch, now: Moment, out: &mut Out);

    /// A limit on memory, for receivers to ask before a request is read.
    fn limit(&self) -> Option<Limit> {
        None
    }

    /// The same as an inspector, if it can be one: next to inspectors it shares their walk.
    fn inspector(&self) -> Option<Box<dyn Inspector>> {
        None
    }
}

/// A processor with state.
pub trait Stateful: Send {
    /// Takes a batch and hands on what becomes of it, now or later.
    fn process(&mut self, batch: Batch, now: Moment, out: &mut Out);

    /// When [`Stateful::wake`] wants to be called, if at all.
    fn wake_at(&self) -> Option<Moment> {
        None
    }

    /// Called at or after [`Stateful::wake_at`].
    fn wake(&mut self, _now: Moment, _out: &mut Out) {}

    /// Items that are held. What came in and neither left nor is held was dropped.
    fn held(&self) -> usize {
        0
    }

    /// Hands on everything that is held: the pipeline is about to end.
    fn finish(&mut self, _now: Moment, _out: &mut Out) {}
}

/// Where a processor puts what it passes on.
#[derive(Default)]
pub struct Out {
    batches: Vec<Batch>,
}

impl Out {
    /// Hands `batch` on. A batch in which nothing is left ends here, accepted.
    pub fn pass(&mut self, batch: Batch) {
        if batch.items() == 0 {
            batch.settle(&Verdict::Accepted);
        } else {
            self.batches.push(batch);
        }
    }

    /// Takes what was passed on so far.
    pub fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.batches)
    }
}

/// What a processor may use when it is built.
pub struct Setup<'a> {
    /// The processor's id, such as `sensitive/strict`.
    pub id: &'a str,
    pub pipeline: &'a str,
    pub signal: Signal,
    pub registry: &'a Registry,
    /// What the process holds.
    pub account: Account,
    /// Bytes of memory that the process may use.
    pub memory: u64,
    /// How many of this processor there are for the pipeline, each for some of the traces.
    pub shards: usize,
    /// What is shared with others, and by whom: those of the same `origin` see telemetry of the
    /// same receivers, and those with the same `before` as it is behind the same processors.
    pub places: Places,
    pub origin: &'a str,
    pub before: &'a str,
}

impl<'a> Setup<'a> {
    /// A setup for one processor alone, with an account of its own and little memory, and nobody
    /// to share with; a pipeline sets those of the process.
    pub fn new(id: &'a str, pipeline: &'a str, signal: Signal, registry: &'a Registry) -> Self {
        Setup {
            id,
            pipeline,
            signal,
            registry,
            account: Account::default(),
            memory: limits::MEMORY_UNKNOWN,
            shards: 1,
            places: Places::default(),
            origin: "",
            before: "",
        }
    }
}

impl Setup<'_> {
    /// A counter labelled with this processor and pipeline, and `labels`.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        self.registry.counter(name, help, &self.labels(labels))
    }

    /// A gauge labelled with this processor and pipeline, and `labels`.
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        self.registry.gauge(name, help, &self.labels(labels))
    }

    /// This shard's part of a gauge labelled with this processor and pipeline.
    pub fn level(&self, name: &str, help: &str) -> Level {
        self.gauge(name, help, &[]).into()
    }

    /// A histogram labelled with this processor and pipeline, whose buckets end at `bounds`.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.registry.histogram(name, help, bounds, &self.labels(&[]))
    }

    fn labels<'l>(&'l self, more: &[(&'l str, &'l str)]) -> Vec<(&'l str, &'l str)> {
        [("processor", self.id), ("pipeline", self.pipeline)]
            .into_iter()
            .chain(more.iter().copied())
            .collect()
    }
}
