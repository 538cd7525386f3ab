//! How requests end: what is counted, what becomes a dead letter, and who is told.

use super::join::Parcel;
use super::sender::Sender;
use crate::batch::Fate;
use crate::clock;
use crate::exporters::Payload;
use crate::verdict::{Refusal, Verdict};

/// Why a request was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The backend will never take it.
    Refused,
    /// A single item is larger than the backend takes.
    TooLarge,
    /// The time for attempts is over, or there is only one.
    GivenUp,
    /// The process ends.
    Ending,
}

impl Failure {
    /// The rule by which the items are dropped.
    fn rule(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::TooLarge => "too_large",
            Failure::GivenUp => "given_up",
            Failure::Ending => "shutdown",
        }
    }

    fn verdict(self, reason: String) -> Verdict {
        match self {
            Failure::Refused => Verdict::refused(Refusal::Internal, reason),
            Failure::TooLarge => Verdict::refused(Refusal::TooLarge, reason),
            Failure::GivenUp | Failure::Ending => Verdict::busy(reason),
        }
    }
}

impl Sender {
    /// Ends what the backend has, apart from so many items that it rejected.
    pub(super) fn delivered(&self, parcels: Vec<Parcel>, rejected: usize) {
        let mut rejected = rejected;
        for parcel in parcels {
            let of_this = rejected.min(parcel.batch.items());
            rejected -= of_this;
            parcel.batch.partly_ended(Fate::Delivered, parcel.batch.items() - of_this);
            parcel.batch.partly_ended(Fate::Dropped("rejected"), of_this);
            parcel.settle(&Verdict::Accepted);
        }
    }

    /// Ends what was not delivered.
    pub(super) async fn undelivered(
        &self,
        parcels: Vec<Parcel>,
        payload: &Payload,
        failure: Failure,
        reason: String,
    ) {
        let stays =
            |parcel: &Parcel| failure == Failure::Ending && parcel.batch.receipts.in_journal();
        let (kept, lost): (Vec<Parcel>, Vec<Parcel>) = parcels.into_iter().partition(stays);
        self.kept(&kept);
        let verdict = failure.verdict(reason.clone());
        kept.into_iter().for_each(|parcel| parcel.settle(&verdict));
        if lost.is_empty() {
            return;
        }
        let fate = match failure {
            Failure::Ending => Fate::Dropped(failure.rule()),
            _ => self.bury(payload, failure, &reason).await,
        };
        let items = lost.iter().map(|parcel| parcel.batch.items()).sum();
        self.lost(payload.signal, items, &reason);
        for parcel in lost {
            parcel.batch.ended(fate);
            // Nobody else will send what a journal has, and it will not be taken the next time.
            let verdict = match parcel.batch.receipts.in_journal() {
                true => Verdict::refused(Refusal::Internal, reason.clone()),
                false => verdict.clone(),
            };
            parcel.settle(&verdict);
        }
    }

    /// Makes a request a dead letter, if there are any.
    async fn bury(&self, payload: &Payload, failure: Failure, reason: &str) -> Fate {
        let Some(letters) = self.settings.dead_letters.clone() else {
            return Fate::Dropped(failure.rule());
        };
        let (id, payload, reason) = (self.id.clone(), payload.clone(), reason.to_owned());
        let keep = move || letters.keep(&id, &payload, &reason, clock::now());
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(true)) => Fate::DeadLettered,
            Ok(Ok(false)) => Fate::Dropped("dead_letters_full"),
            Ok(Err(error)) => {
                tracing::error!(exporter = self.id, "a dead letter cannot be written: {error}");
                Fate::Dropped("dead_letter_failed")
            }
            Err(_) => Fate::Dropped("dead_letter_failed"),
        }
    }
}
