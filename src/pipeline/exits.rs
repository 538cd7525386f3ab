//! The end of a pipeline: every exporter and every connector gets the batch.

use super::entry::Entry;
use crate::batch::Batch;
use crate::connectors::{Connector, Out};
use crate::delivery::Delivery;
use crate::intake::Consumer;
use std::sync::Arc;

/// The exporters and connectors of one pipeline, at least one.
#[derive(Clone)]
pub struct Exits(pub Vec<Exit>);

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
    /// so a full queue delays the others once and not for every batch behind it.
    pub async fn offer(&self, batch: Batch) {
        let Some((last, others)) = self.0.split_last() else {
            return;
        };
        for exit in others {
            exit.offer(batch.clone()).await;
        }
        last.offer(batch).await;
    }
}

impl Exit {
    async fn offer(&self, batch: Batch) {
        match self {
            Exit::Delivery(delivery) => delivery.offer(batch).await,
            Exit::Junction(junction) => junction.offer(batch).await,
        }
    }
}

impl Junction {
    async fn offer(&self, batch: Batch) {
        let mut out = Out::default();
        self.connector.connect(batch, &mut out);
        for (place, batch) in out.take() {
            // One that no pipeline takes is given up, which its client is told.
            if let Some(pipeline) = self.pipelines.get(place) {
                pipeline.consume(batch).await;
            }
        }
    }
}
