//! Sends what is queued, several requests at once, and books how each ended.

use super::fate::Failure;
use super::health::{Health, Losses};
use super::join::{self, Limit, Parcel};
use super::meters::Meters;
use super::queue::Queue;
use super::settings::Settings;
use crate::batch::{Batch, Fate, Signal};
use crate::clock;
use crate::exporters::{Exporter, Outcome};
use crate::verdict::Verdict;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

pub struct Sender {
    pub(super) id: String,
    pub(super) exporter: Arc<dyn Exporter>,
    pub(super) settings: Settings,
    pub(super) limit: Limit,
    pub(super) queue: Queue,
    /// The shutdown has begun: no waiting any more.
    pub(super) stop: CancellationToken,
    /// The time to drain is over: no attempts any more.
    pub(super) abandoned: CancellationToken,
    meters: Meters,
    log: Mutex<Log>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Log {
    health: Health,
    /// Given up or refused, full, and rejected, which are logged apart.
    failed: Losses,
    overflowed: Losses,
    rejected: Losses,
    /// Items that stay in the journal.
    kept: usize,
}

impl Sender {
    /// A sender whose task takes from `queue` until it is closed.
    pub fn start(
        id: &str,
        exporter: Arc<dyn Exporter>,
        settings: Settings,
        queue: Queue,
        meters: Meters,
        stop: CancellationToken,
    ) -> Arc<Sender> {
        let sender = Arc::new(Sender {
            id: id.to_owned(),
            exporter,
            limit: Limit::new(&settings.batch),
            settings,
            queue,
            stop: stop.child_token(),
            abandoned: CancellationToken::new(),
            meters,
            log: Mutex::default(),
            tasks: TaskTracker::new(),
        });
        sender.tasks.spawn(sender.clone().run());
        sender
    }

    async fn run(self: Arc<Self>) {
        let consumers = Arc::new(Semaphore::new(self.settings.consumers));
        // The slot first: what waits for one is joined with what comes meanwhile.
        while let Ok(slot) = consumers.clone().acquire_owned().await {
            let Some(parcels) = self.queue.next(&self.limit, &self.stop).await else { return };
            let sender = self.clone();
            self.tasks.spawn(async move {
                sender.deliver(vec![parcels]).await;
                drop(slot);
            });
        }
    }

    /// Sends without a queue. Returns when the batch is on its way, or at once delivered if the
    /// exporter need not wait for anything, so that what is printed is printed in order.
    pub async fn send_unqueued(self: &Arc<Self>, parcels: Vec<Parcel>) {
        let sender = self.clone();
        let requests = parcels.into_iter().map(|parcel| vec![parcel]).collect();
        let mut sending = Box::pin(async move { sender.deliver(requests).await });
        let done = poll_fn(|task| Poll::Ready(sending.as_mut().poll(task).is_ready())).await;
        if !done {
            self.tasks.spawn(sending);
        }
    }

    /// Sends each request until it ends, in order; one that is too large goes in parts.
    async fn deliver(&self, mut requests: Vec<Vec<Parcel>>) {
        requests.reverse();
        while let Some(parcels) = requests.pop() {
            let Some(payload) = join::payload(&parcels) else { continue };
            match self.attempts(&payload).await {
                Outcome::Delivered { rejected, message } => {
                    let rejected = usize::try_from(rejected).unwrap_or(usize::MAX);
                    let rejected = rejected.min(payload.items);
                    self.sent(payload.signal, payload.items, rejected, &message);
                    self.delivered(parcels, rejected);
                }
                Outcome::TooLarge { reason } => match join::halves(parcels) {
                    Ok(parts) => {
                        self.limit.learn(payload.size());
                        requests.extend(parts.into_iter().rev());
                    }
                    Err(parcels) => {
                        let reason = format!("{reason}; a single item of {} bytes", payload.size());
                        self.undelivered(parcels, &payload, Failure::TooLarge, reason).await;
                    }
                },
                Outcome::Refused { reason } => {
                    self.undelivered(parcels, &payload, Failure::Refused, reason).await;
                }
                Outcome::Retry { reason, .. } => {
                    let failure = match self.stop.is_cancelled() {
                        true => Failure::Ending,
                        false => Failure::GivenUp,
                    };
                    self.undelivered(parcels, &payload, failure, reason).await;
                }
            }
        }
    }

    fn sent(&self, signal: Signal, items: usize, rejected: usize, message: &str) {
        let meters = self.meters.of(signal);
        meters.sent.add(items - rejected);
        meters.rejected.add(rejected);
        if rejected == 0 && message.is_empty() {
            return;
        }
        let what = format!("{} rejected by the backend", words(signal));
        let message = if message.is_empty() { "it gave no reason" } else { message };
        let line = self.log().rejected.add(clock::now(), rejected, &what, message);
        if let Some(line) = line {
            warn!(exporter = self.id, "{line}");
        }
    }

    /// The process ends, and these stay in the journal.
    pub(super) fn kept(&self, parcels: &[Parcel]) {
        let items: usize = parcels.iter().map(|parcel| parcel.batch.items()).sum();
        if items > 0 {
            self.log().kept += items;
        }
    }

    pub(super) fn lost(&self, signal: Signal, items: usize, reason: &str) {
        self.meters.of(signal).failed.add(items);
        let what = format!("{} lost", words(signal));
        if let Some(line) = self.log().failed.add(clock::now(), items, &what, reason) {
            error!(exporter = self.id, "{line}");
        }
    }

    /// Ends a batch for which there was no room.
    pub fn overflowed(&self, batch: Batch) {
        let (signal, items) = (batch.signal(), batch.items());
        if batch.receipts.in_journal() {
            self.log().kept += items;
            return batch.settle(&Verdict::busy("the process ends"));
        }
        batch.ended(Fate::Dropped("turned_away"));
        self.meters.of(signal).overflowed.add(items);
        let what = format!("{} turned away", words(signal));
        let reason = "the sending queue is full; the backend is too slow or does not answer";
        if let Some(line) = self.log().overflowed.add(clock::now(), items, &what, reason) {
            warn!(exporter = self.id, "{line}");
        }
        batch.settle(&Verdict::busy(format!("the sending queue of {} is full", self.id)));
    }

    /// Ends what was offered while the queue was being closed.
    pub fn too_late(&self, parcels: Vec<Parcel>) {
        let reason = "the exporter has ended";
        for parcel in parcels {
            if parcel.batch.receipts.in_journal() {
                self.log().kept += parcel.batch.items();
                parcel.settle(&Verdict::busy(reason));
                continue;
            }
            parcel.batch.ended(Fate::Dropped("shutdown"));
            self.lost(parcel.batch.signal(), parcel.batch.items(), reason);
            parcel.settle(&Verdict::busy(reason));
        }
    }

    /// The backend has answered.
    pub(super) fn reached(&self) {
        if let Some(line) = self.log().health.succeeded(clock::now()) {
            info!(exporter = self.id, "{line}");
        }
    }

    /// An attempt has failed that may be repeated.
    pub(super) fn failed(&self, reason: &str) {
        if let Some(line) = self.log().health.failed(clock::now(), reason) {
            warn!(exporter = self.id, "{line}");
        }
    }

    /// Sends all that is queued, once each and within `time`, and gives up the rest.
    pub async fn drain(&self, time: Duration) {
        self.stop.cancel();
        self.queue.close();
        self.tasks.close();
        if tokio::time::timeout(time, self.tasks.wait()).await.is_err() {
            self.abandoned.cancel();
            self.tasks.wait().await;
        }
        let mut log = self.log();
        let failed = log.failed.rest("items lost");
        let rejected = log.rejected.rest("items rejected by the backend");
        for line in [failed, rejected].into_iter().flatten() {
            error!(exporter = self.id, "{line}");
        }
        let kept = std::mem::take(&mut log.kept);
        if kept > 0 {
            info!(exporter = self.id, "{kept} items stay in the journal for the next start");
        }
    }

    /// Gives up everything at once; it is counted.
    pub fn abandon(&self) {
        self.stop.cancel();
        self.abandoned.cancel();
        self.queue.close();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `log records`.
fn words(signal: Signal) -> String {
    signal.items().replace('_', " ")
}
