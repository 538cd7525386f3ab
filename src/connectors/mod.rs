//! Connectors: they end pipelines and begin others, and say what goes where.
//!
//! Like a processor, a connector does no I/O, reads no clock and holds no state: it is shared by
//! all pipelines of a signal that end in it. It is given a batch and says, for each pipeline that
//! begins with it, what of the batch goes there; sending it there is
//! [`pipeline`](crate::pipeline)'s business. A whole batch that goes to one place is handed on as
//! it is. Receipts go with the parts: a client is answered when all of them are safe.
//!
//! To add one: write `connectors/<name>.rs` with a `KIND`, then add its `mod` line and its entry
//! in [`LIST`].

use crate::batch::{Batch, Signal};
use crate::config::{Component, Section};
use crate::telemetry::Registry;
use crate::verdict::Verdict;
use std::sync::Arc;

mod forward;
mod routing;

/// All connectors, in reading order.
pub const LIST: &[Kind] = &[routing::KIND, forward::KIND];

/// A type of connector: its entry in the catalogue, and how to build one.
pub struct Kind {
    pub component: Component,
    /// Builds one from its checked section; it cannot fail.
    pub build: fn(&Section, &Setup<'_>) -> Arc<dyn Connector>,
}

/// What a connector may use when it is built.
pub struct Setup<'a> {
    /// The connector's id, such as `routing/tenants`.
    pub id: &'a str,
    pub signal: Signal,
    /// The ids of the pipelines of the signal that begin with it.
    pub pipelines: &'a [&'a str],
    pub registry: &'a Registry,
}

/// A connector.
pub trait Connector: Send + Sync {
    /// Takes a batch and hands on what becomes of it.
    fn connect(&self, batch: Batch, out: &mut Out);
}

/// Where a connector puts what it passes on.
#[derive(Default)]
pub struct Out {
    batches: Vec<(usize, Batch)>,
}

impl Out {
    /// Hands `batch` to the pipeline at the place `pipeline` of [`Setup::pipelines`].
    pub fn pass(&mut self, pipeline: usize, batch: Batch) {
        self.batches.push((pipeline, batch));
    }

    /// Hands `batch` to all of `pipelines`; to none, which ends its way.
    pub fn pass_to_all(&mut self, pipelines: impl IntoIterator<Item = usize>, batch: Batch) {
        let mut pipelines = pipelines.into_iter().peekable();
        while let Some(pipeline) = pipelines.next() {
            if pipelines.peek().is_none() {
                return self.pass(pipeline, batch);
            }
            self.pass(pipeline, batch.clone());
        }
        batch.settle(&Verdict::Accepted);
    }

    /// Takes what was passed on so far.
    pub fn take(&mut self) -> Vec<(usize, Batch)> {
        std::mem::take(&mut self.batches)
    }
}
