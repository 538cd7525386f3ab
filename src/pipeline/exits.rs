//! The end of a pipeline: every exporter and every connector gets the batch.

use super::book::{Book, Way};
use super::entry::Entry;
use crate::batch::{Batch, Fate, Tally};
use crate::connectors::{Connector, Out};
use crate::delivery::Delivery;
use crate::intake::Consumer;
use crate::verdict::Verdict;
use std::sync::Arc;

/// The exporters and connectors of one pipeline, at least one.
#[derive(Clone)]
pub struct Exits {
    pub exits: Vec<Exit>,
    pub book: Arc<Book>,
    /// The number of the pipeline's journal.
    pub journal: Option<usize>,
}

/// Where a batch goes from the end of a pipeline.
#[derive(Clone)]
pub enum Exit {
    Delivery(Arc<Delivery>),
    Junction(Arc<Junction>),
}

/// A connector with the pipelines that begin with it.
pub struct Junction {
    pub connector: Arc<dyn Connector>,
    /// In the order that the connector knows.
    pub pipelines: Vec<Arc<Entry>>,
}

impl Exits {
    /// Offers `batch` to all. Each exporter waits for room at most until the batch's own deadline,
    /// so a full queue delays the others once and not for every batch behind it. What stands in a
    /// journal has no deadline: it goes at the pace of the slowest.
    pub async fn offer(&self, batch: Batch) {
        let Some(last) = self.exits.len().checked_sub(1) else { return };
        for (number, exit) in self.exits.iter().enumerate().take(last) {
            self.leave(number, exit, batch.clone()).await;
        }
        if let Some(exit) = self.exits.get(last) {
            self.leave(last, exit, batch).await;
        }
    }

    async fn leave(&self, number: usize, exit: &Exit, mut batch: Batch) {
        let Some(way) = self.book.way(number) else { return };
        if let Some(journal) = self.journal
            && !batch.receipts.leave_by(journal, number)
        {
            way.ended(Fate::Dropped("left_before_restart"), batch.items());
            return batch.settle(&Verdict::Accepted);
        }
        batch.tally = Some(way.clone());
        exit.offer(batch, &way).await;
    }
}

impl Exit {
    async fn offer(&self, batch: Batch, way: &Way) {
        match self {
            Exit::Delivery(delivery) => delivery.offer(batch).await,
            Exit::Junction(junction) => junction.offer(batch, way).await,
        }
    }
}

impl Junction {
    /// What the next pipelines get is delivered, as far as this one is concerned; what they get
    /// twice counts once.
    async fn offer(&self, mut batch: Batch, way: &Way) {
        let mut out = Out::default();
        let items = batch.items();
        batch.tally = None;
        self.connector.connect(batch, &mut out);
        let parts = out.take();
        let handed = parts.iter().map(|(_, batch)| batch.items()).sum::<usize>().min(items);
        way.ended(Fate::Delivered, handed);
        if handed < items {
            way.ended(Fate::Dropped("connector"), items - handed);
        }
        for (place, batch) in parts {
            // One that no pipeline takes is given up, which its client is told.
            if let Some(pipeline) = self.pipelines.get(place) {
                pipeline.consume(batch).await;
            }
        }
    }
}
