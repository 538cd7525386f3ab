//! The beginning of a pipeline: leading stateless processors, on the caller's own task.

use super::exits::Exits;
use super::shards::Shards;
use crate::account::Limit;
use crate::batch::Batch;
use crate::clock;
use crate::intake::Consumer;
use crate::processors::{Out, Stateless};
use crate::telemetry::Counter;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A leading processor and what goes through it.
pub struct Leading {
    pub incoming: Counter,
    pub outgoing: Counter,
    pub processor: Arc<dyn Stateless>,
}

/// A running pipeline, as receivers see it.
pub struct Entry {
    /// What reads the metadata of requests; it goes no further.
    pub doors: Vec<Arc<dyn Stateless>>,
    pub leading: Vec<Leading>,
    /// The strictest limit on memory among the processors.
    pub limit: Option<Limit>,
    pub next: Next,
}

/// What comes behind the leading processors.
pub enum Next {
    /// Nothing holds state.
    Exits(Exits),
    /// The tasks that own the rest.
    Shards(Shards),
}

impl Entry {
    /// Takes no more batches; the tasks behind finish what they have.
    pub fn close(&self) {
        if let Next::Shards(shards) = &self.next {
            shards.close();
        }
    }

    fn lead(&self, batch: Batch) -> Vec<Batch> {
        let mut batches = self.open(batch);
        if self.leading.is_empty() {
            return batches;
        }
        let now = clock::now();
        for link in &self.leading {
            let mut out = Out::default();
            for batch in batches {
                link.incoming.add(batch.items());
                link.processor.process(batch, now, &mut out);
            }
            batches = out.take();
            link.outgoing.add(batches.iter().map(Batch::items).sum());
        }
        batches
    }

    /// Lets the doors read the metadata of `batch`, which goes no further.
    fn open(&self, batch: Batch) -> Vec<Batch> {
        let mut batches = vec![batch];
        if batches.iter().any(|batch| batch.metadata.is_some()) {
            for door in &self.doors {
                let mut out = Out::default();
                batches.drain(..).for_each(|batch| door.process(batch, clock::now(), &mut out));
                batches = out.take();
            }
            batches.iter_mut().for_each(|batch| batch.metadata = None);
        }
        batches
    }

    async fn hand_on(&self, batch: Batch) {
        match &self.next {
            Next::Exits(exits) => exits.offer(batch).await,
            Next::Shards(shards) => shards.hand_on(batch).await,
        }
    }
}

impl Consumer for Entry {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            for batch in self.lead(batch) {
                self.hand_on(batch).await;
            }
        })
    }

    fn limit(&self) -> Option<Limit> {
        self.limit.clone()
    }
}

/// Several pipelines behind one receiver: each gets a clone.
pub struct Fork(pub Vec<Arc<Entry>>);

impl Consumer for Fork {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let Some((last, others)) = self.0.split_last() else { return };
            for entry in others {
                entry.consume(batch.clone()).await;
            }
            last.consume(batch).await;
        })
    }

    /// A request that one of them would turn away is read for none.
    fn limit(&self) -> Option<Limit> {
        self.0.iter().filter_map(|entry| entry.limit()).reduce(Limit::stricter)
    }
}
