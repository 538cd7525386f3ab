//! The end of a pipeline: every exporter gets the batch.

use crate::batch::Batch;
use crate::delivery::Delivery;
use std::sync::Arc;

/// The exporters of one pipeline, at least one.
#[derive(Clone)]
pub struct Exits(pub Vec<Arc<Delivery>>);

impl Exits {
    /// Offers `batch` to every exporter. Each waits for room at most until the batch's own
    /// deadline, so a full queue delays the others once and not for every batch behind it.
    pub async fn offer(&self, batch: Batch) {
        let Some((last, others)) = self.0.split_last() else {
            return;
        };
        for delivery in others {
            delivery.offer(batch.clone()).await;
        }
        last.offer(batch).await;
    }
}
