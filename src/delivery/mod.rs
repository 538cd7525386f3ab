//! Delivery: what stands around any exporter so that exporters only send.
//!
//! ```text
//! offer -> queue (bounded in bytes) -> join -> sender -> retry -> exporter
//! ```
//!
//! Invariants:
//! - What was offered ends in exactly one counter: sent, rejected (by the backend, for good),
//!   send_failed, or enqueue_failed; nothing is given up in silence.
//! - The bytes of a batch count against the queue until the backend has answered, so that
//!   requests under way are bounded as well.
//! - A receipt is settled once: with the custody of the queue, or, with `wait_for_result` or
//!   without a queue, with the backend's answer.
//! - What a journal claims is not given up when the process ends: it stays there, and the claim
//!   ends as "come back later". What a backend refuses for good becomes a dead letter, or is
//!   dropped by a rule with a name; then the claim is done.
//!
//! Deliberately absent: storage of what waits. A queue is gone with its process; the journal of a
//! pipeline is what outlives it.

mod backoff;
mod dead;
mod fate;
mod health;
mod join;
mod meters;
mod queue;
mod retry;
mod sender;
mod settings;
#[cfg(test)]
mod tests;

use crate::batch::Batch;
use crate::exporters::Exporter;
use crate::limits;
use crate::telemetry::Registry;
use crate::verdict::Verdict;
pub use dead::DeadLetters;
use join::Parcel;
use meters::Meters;
use queue::Queue;
use sender::Sender;
pub use settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// An exporter with its queue and retries, running.
pub struct Delivery {
    sender: Arc<Sender>,
}

impl Delivery {
    /// Starts the delivery of the exporter `id`. From the moment that `stop` is cancelled nothing
    /// waits any more: each request has one more attempt, and small ones are not held to be
    /// joined. The process is to call [`Delivery::drain`] after that.
    pub fn start(
        id: &str,
        exporter: Arc<dyn Exporter>,
        settings: Settings,
        registry: &Registry,
        stop: CancellationToken,
    ) -> Delivery {
        let meters = Meters::new(id, registry, &settings);
        let queue = Queue::new(&settings, meters.clone());
        let sender = Sender::start(id, exporter, settings, queue, meters, stop);
        Delivery { sender }
    }

    /// Takes custody of `batch`, or tells its clients to come back if there is no room for it in
    /// time: until [`limits::ADMISSION_WAIT`] after its arrival.
    pub async fn offer(&self, batch: Batch) {
        if batch.items() == 0 {
            return batch.settle(&Verdict::Accepted);
        }
        let sender = &self.sender;
        let Some(room) = sender.queue.admit(&batch, &sender.stop).await else {
            return sender.overflowed(batch);
        };
        let mut parcels = sender.limit.parcels(batch, room);
        if !sender.settings.wait_for_result {
            parcels.iter_mut().for_each(Parcel::accept);
        }
        if sender.settings.queued {
            let left = sender.queue.push(parcels, &sender.limit);
            sender.too_late(left);
        } else {
            sender.send_unqueued(parcels).await;
        }
    }

    /// Ends the delivery: everything queued is tried once more within [`limits::DRAIN_TIME`], and
    /// what remains then is counted and logged. What is offered after this is turned away.
    pub async fn drain(&self) {
        self.sender.drain(limits::DRAIN_TIME).await;
    }
}

impl Drop for Delivery {
    /// A delivery that was not drained gives up what it holds, and counts it.
    fn drop(&mut self) {
        self.sender.abandon();
    }
}
