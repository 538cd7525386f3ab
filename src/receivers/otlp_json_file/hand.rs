//! Handing over: room first, then the pipelines, again and again until they have taken it.

use super::tail::Record;
use crate::batch::{Batch, Signal};
use crate::intake::{Intake, Room};
use crate::limits;
use crate::otlp::join::join;
use crate::receipt::Receipt;
use crate::receivers::Setup;
use crate::telemetry::Counter;
use crate::transport::content;
use crate::transport::record::Form;
use crate::turns::Client;
use crate::verdict::Verdict;
use crate::{clock, telemetry::Registry};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// What stands between the files and the pipelines.
pub(super) struct Hand {
    id: String,
    intake: Intake,
    /// The signals that pipelines take.
    wanted: Vec<Signal>,
    stop: CancellationToken,
    counts: Counts,
    /// Bad records so far, and attempts that were not taken.
    bad: AtomicUsize,
    refusals: AtomicUsize,
}

struct Counts {
    accepted: [Counter; 3],
    refused: [Counter; 3],
    unwanted: [Counter; 3],
    bad: Counter,
}

impl Counts {
    fn new(registry: &Registry, id: &str) -> Counts {
        let labels = [("receiver", id), ("transport", "file")];
        let items = |prefix: &str, about: &str| {
            Signal::ALL.map(|signal| {
                registry.counter(&format!("{prefix}_{}", signal.items()), about, &labels)
            })
        };
        Counts {
            accepted: items("otelcol_receiver_accepted", "taken and answered with success"),
            refused: items("otelcol_receiver_refused", "read and not taken"),
            unwanted: items("spanloom_receiver_unwanted", "of signals that no pipeline takes"),
            bad: registry.counter(
                "spanloom_receiver_bad_records",
                "records of files that are no requests",
                &labels,
            ),
        }
    }
}

/// The batches of some records, one for each signal, and the bad ones among them.
#[derive(Default)]
struct Opened {
    batches: Vec<Batch>,
    bad: Vec<String>,
}

/// A batch that waits for its verdict; the room is held until then.
struct Waiting {
    batch: Batch,
    verdict: oneshot::Receiver<Verdict>,
    _room: Arc<Room>,
}

/// The batches that wait, and those that were not taken when the receiver was stopped.
#[derive(Default)]
pub(super) struct Crowd {
    tasks: JoinSet<Option<Batch>>,
    back: Vec<Batch>,
}

impl Crowd {
    /// Waits until at most `most` are left.
    pub(super) async fn shrink(&mut self, most: usize) {
        while self.tasks.len() > most
            && let Some(done) = self.tasks.join_next().await
        {
            self.back.extend(done.ok().flatten());
        }
    }

    /// Waits for all of them; those that were not taken.
    pub(super) async fn finish(mut self) -> Vec<Batch> {
        self.shrink(0).await;
        self.back
    }
}

impl Hand {
    pub(super) fn new(setup: &Setup) -> Arc<Hand> {
        let intake = setup.intake.clone();
        let wanted = Signal::ALL.into_iter().filter(|signal| intake.takes(*signal));
        Arc::new(Hand {
            id: setup.id.clone(),
            wanted: wanted.collect(),
            intake,
            stop: setup.stop.clone(),
            counts: Counts::new(&setup.registry, &setup.id),
            bad: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
        })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Hands `records` over, in order. Returns once the pipelines have them, though perhaps not
    /// yet answered: those stand in `crowd`, which is kept small. What it had not come to when the
    /// receiver was stopped is given back.
    pub(super) async fn over(
        self: &Arc<Self>,
        records: Vec<Record>,
        crowd: &mut Crowd,
    ) -> Vec<Record> {
        let mut groups = groups(records).into_iter();
        while !self.stop.is_cancelled()
            && let Some(records) = groups.next()
        {
            let contents = records.iter().filter_map(|record| record.content.as_ref().ok());
            let bytes = contents.map(content::size).sum();
            let mut room = Room::default();
            while self.intake.admit(Client::default(), &mut room, bytes).await.is_err() {
                if self.stop.is_cancelled() {
                    return records.into_iter().chain(groups.flatten()).collect();
                }
            }
            let hand = self.clone();
            let opened = tokio::task::spawn_blocking(move || hand.open(records)).await;
            let opened = opened.unwrap_or_default();
            opened.bad.iter().for_each(|sentence| self.name(sentence));
            self.offer(opened.batches, room, crowd).await;
        }
        groups.flatten().collect()
    }

    /// Gives `batches` to the pipelines, for which there is `room`.
    pub(super) async fn offer(
        self: &Arc<Self>,
        batches: Vec<Batch>,
        room: Room,
        crowd: &mut Crowd,
    ) {
        let room = Arc::new(room);
        for batch in batches {
            crowd.shrink(limits::FILE_BATCHES - 1).await;
            let verdict = self.give(batch.clone()).await;
            let waiting = Waiting { batch, verdict, _room: room.clone() };
            crowd.tasks.spawn(self.clone().settle(waiting));
        }
    }

    fn open(&self, records: Vec<Record>) -> Opened {
        let mut opened = Opened::default();
        let mut found: [Vec<Batch>; 3] = Default::default();
        let now = clock::now();
        for record in records {
            let content = record.content.and_then(|content| match record.form {
                Form::Lines if !content.trim_ascii_start().starts_with(b"{") => {
                    Err("is no JSON object".to_owned())
                }
                _ => content::open(&content, &self.wanted, now),
            });
            match content {
                Ok(batches) => {
                    for batch in batches {
                        found.get_mut(batch.signal() as usize).into_iter().for_each(|of| {
                            of.push(batch.clone());
                        });
                    }
                }
                Err(text) => opened.bad.push(format!("{}: {text}", record.place)),
            }
        }
        for (batches, unwanted) in found.into_iter().zip(&self.counts.unwanted) {
            let Some(first) = batches.first() else { continue };
            let items = batches.iter().map(Batch::items).sum();
            if self.wanted.contains(&first.signal()) {
                let all: Vec<Bytes> = batches.iter().map(|batch| batch.bytes().clone()).collect();
                opened.batches.push(first.part(join(&all), items));
            } else {
                unwanted.add(items);
            }
        }
        opened
    }

    /// Counts a bad record, and says which it is.
    fn name(&self, sentence: &str) {
        self.counts.bad.add(1);
        let (receiver, most) = (&self.id, limits::BAD_RECORDS_NAMED);
        match self.bad.fetch_add(1, Ordering::Relaxed) {
            before if before < most => warn!(receiver, "{sentence}; passed over"),
            before if before == most => warn!(receiver, "more bad records are only counted"),
            _ => {}
        }
    }

    /// Gives `batch` to the pipelines, who will answer.
    async fn give(&self, mut batch: Batch) -> oneshot::Receiver<Verdict> {
        let (settle, verdict) = oneshot::channel();
        let receipt = Receipt::new(move |verdict| {
            // Fails if nobody waits any more because the receiver has ended.
            let _ = settle.send(verdict);
        });
        batch.receipts = receipt.into();
        batch.arrived = clock::now();
        self.intake.take(Client::default(), batch).await;
        verdict
    }

    /// Waits for the verdict, and gives the batch once more until it is taken. Yields it if the
    /// receiver is stopped before; one without a verdict is the pipelines', who are drained next.
    async fn settle(self: Arc<Self>, mut waiting: Waiting) -> Option<Batch> {
        let mut delay = limits::RETRY_AFTER;
        let (signal, items) = (waiting.batch.signal(), waiting.batch.items());
        let count = |counters: &[Counter; 3]| {
            counters.get(signal as usize).into_iter().for_each(|counter| counter.add(items));
        };
        loop {
            let patience = async {
                self.stop.cancelled().await;
                tokio::time::sleep(limits::ADMISSION_WAIT).await;
            };
            let verdict = tokio::select! {
                verdict = waiting.verdict => verdict,
                () = patience => return None,
            };
            let verdict = verdict.unwrap_or_else(|_| Verdict::busy("the batch was lost"));
            if verdict == Verdict::Accepted {
                count(&self.counts.accepted);
                return None;
            }
            count(&self.counts.refused);
            let times = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
            if times.is_power_of_two() {
                let (receiver, what) = (&self.id, signal.items().replace('_', " "));
                let reason = verdict.reason();
                warn!(receiver, times, "{items} {what} are not taken yet, trying again: {reason}");
            }
            let delayed = delay.max(verdict.retry_after().unwrap_or(Duration::ZERO));
            tokio::select! {
                () = tokio::time::sleep(delayed) => {}
                () = self.stop.cancelled() => return Some(waiting.batch),
            }
            delay = (delay * 2).min(limits::FILE_RETRY_MAX);
            waiting.verdict = self.give(waiting.batch.clone()).await;
        }
    }
}

/// Records in groups that are handed over as one.
fn groups(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut groups: Vec<Vec<Record>> = vec![];
    let mut bytes = 0;
    for record in records {
        let more = record.content.as_ref().map_or(0, content::size);
        match groups.last_mut() {
            Some(group) if bytes + more <= limits::FILE_BATCH_BYTES => group.push(record),
            _ => {
                groups.push(vec![record]);
                bytes = 0;
            }
        }
        bytes += more;
    }
    groups
}
