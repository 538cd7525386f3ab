//! The beginning of a pipeline: leading stateless processors, on the caller's own task.

use super::book::Book;
use super::exits::Exits;
use super::keeper::Keeper;
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
    pub id: String,
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
    pub book: Arc<Book>,
}

/// What comes behind the leading processors.
pub enum Next {
    /// Nothing holds state.
    Exits(Exits),
    /// The tasks that own the rest.
    Shards(Shards),
    /// The journal, which hands on to one of the others.
    Journal(Arc<Keeper>),
}

impl Next {
    /// `book` hears of what is turned away.
    pub async fn hand_on(&self, batch: Batch, book: &Book) {
        match self {
            Next::Exits(exits) => exits.offer(batch).await,
            Next::Journal(keeper) => keeper.take(batch).await,
            Next::Shards(shards) => shards.hand_on(batch, book).await,
        }
    }
}

impl Entry {
    /// Takes no more batches; the tasks behind finish what they have.
    pub fn close(&self) {
        match &self.next {
            Next::Shards(shards) => shards.close(),
            Next::Journal(keeper) => keeper.close(),
            Next::Exits(_) => {}
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
            let mut incoming = 0;
            for batch in batches {
                incoming += batch.items();
                link.processor.process(batch, now, &mut out);
            }
            batches = out.take();
            let outgoing = batches.iter().map(Batch::items).sum();
            link.incoming.add(incoming);
            link.outgoing.add(outgoing);
            self.book.dropped(&link.id, incoming.saturating_sub(outgoing));
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
}

impl Consumer for Entry {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.book.accepted(batch.items());
            for batch in self.lead(batch) {
                self.next.hand_on(batch, &self.book).await;
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
