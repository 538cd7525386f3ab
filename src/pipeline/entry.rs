//! The beginning of a pipeline: leading stateless processors, on the caller's own task.

use super::exits::Exits;
use crate::account::Limit;
use crate::batch::Batch;
use crate::clock;
use crate::intake::Consumer;
use crate::processors::{Out, Stateless};
use crate::telemetry::Counter;
use crate::verdict::Verdict;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// A leading processor and what goes through it.
pub struct Leading {
    pub incoming: Counter,
    pub outgoing: Counter,
    pub processor: Arc<dyn Stateless>,
}

/// A running pipeline, as receivers see it.
pub struct Entry {
    pub leading: Vec<Leading>,
    /// The strictest limit on memory among the processors.
    pub limit: Option<Limit>,
    pub next: Next,
}

/// What comes behind the leading processors.
pub enum Next {
    /// Nothing holds state.
    Exits(Exits),
    /// The task that owns the rest. `None` once the pipeline is closed.
    Chain(Mutex<Option<mpsc::Sender<Batch>>>),
}

impl Entry {
    /// Takes no more batches; the task behind finishes what it has.
    pub fn close(&self) {
        if let Next::Chain(sender) = &self.next {
            sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    fn lead(&self, batch: Batch) -> Vec<Batch> {
        let mut batches = vec![batch];
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

    async fn hand_on(&self, batch: Batch) {
        match &self.next {
            Next::Exits(exits) => exits.offer(batch).await,
            Next::Chain(sender) => {
                let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let Some(sender) = sender else {
                    batch.settle(&Verdict::busy("the daemon is shutting down"));
                    return;
                };
                if let Err(refused) = sender.send(batch).await {
                    refused.0.settle(&Verdict::busy("the pipeline has stopped"));
                }
            }
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
