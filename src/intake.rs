//! Where receivers hand over: room for the bytes first, then the pipelines of the signal.
//!
//! Receivers know nothing of pipelines and pipelines nothing of sockets. Room is counted before a
//! body is read, so that many large requests at once cannot take more memory than
//! [`limits::INFLIGHT_BYTES`]; whoever finds none waits a little and is then told to come back.
//!
//! A pipeline may have a [`Limit`] on what the process holds. It is asked here, at the headers
//! and again with every piece of a body, and nobody waits for it: what waits takes memory. So a
//! request that is turned away has cost no more than what its connection had in its buffers, and
//! those are kept small where there is a limit ([`Intake::window`]).

use crate::account::{self, Account, Charge, Limit};
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::verdict::Verdict;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Takes batches in; the answer goes through the batch's receipts.
pub trait Consumer: Send + Sync {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// The strictest limit on its way.
    fn limit(&self) -> Option<Limit> {
        None
    }
}

/// What a receiver hands batches to. Cloning shares it.
#[derive(Clone)]
pub struct Intake {
    room: Arc<Semaphore>,
    /// By [`Signal`], in the order of [`Signal::ALL`].
    consumers: [Option<Arc<dyn Consumer>>; 3],
    /// Of the consumers.
    limits: [Option<Limit>; 3],
    account: Account,
}

/// Room for a request's bytes, given back when dropped.
#[derive(Default)]
pub struct Room {
    permits: Vec<OwnedSemaphorePermit>,
    charge: Option<Charge>,
}

impl Room {
    /// Hands over what counts the bytes as held, for the batch to carry on.
    pub fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }
}

/// Semaphores count to 2^29 on every platform; a unit of 1 KiB keeps any size within it.
const UNIT: usize = 1 << 10;

impl Intake {
    /// An intake with `bytes` of room that counts in `account`. Receivers of one process share
    /// both: build one and give out clones [`Intake::leading_to`] their consumers.
    pub fn new(bytes: usize, account: Account) -> Intake {
        let room = Arc::new(Semaphore::new(bytes / UNIT));
        Intake { room, consumers: [None, None, None], limits: [None, None, None], account }
    }

    /// The same room, other consumers.
    pub fn leading_to(&self, consumers: [Option<Arc<dyn Consumer>>; 3]) -> Intake {
        let limits = consumers.each_ref().map(|consumer| consumer.as_ref()?.limit());
        Intake { consumers, limits, ..self.clone() }
    }

    /// Whether any pipeline takes `signal`.
    pub fn takes(&self, signal: Signal) -> bool {
        self.consumer(signal).is_some()
    }

    /// Whether a request of `signal` of which `bytes` are announced may begin.
    pub fn open(&self, signal: Signal, bytes: usize) -> Result<(), Verdict> {
        self.limit(signal).map_or(Ok(()), |limit| limit.open(bytes))
    }

    /// As [`Intake::open`], and leaves room to what is still to come of it.
    pub fn begin(&self, signal: Signal, room: &mut Room, bytes: usize) -> Result<(), Verdict> {
        let charge = room.charge.get_or_insert_with(|| self.account.charge(0));
        self.limit(signal).map_or(Ok(()), |limit| limit.begin(charge, bytes))
    }

    /// Whether a limit on memory is on the way of `signal`.
    pub fn is_limited(&self, signal: Signal) -> bool {
        self.limit(signal).is_some()
    }

    /// Bytes that one connection may hold unread, at most `usual`: with a limit, no more than
    /// lets the buffers of [`limits::LIMITED_CONNECTIONS`] fit into what the limit leaves free.
    pub fn window(&self, usual: u32) -> u32 {
        let spikes = self.limits.iter().flatten().map(Limit::spike);
        let window = spikes.min().map(|spike| spike / limits::LIMITED_CONNECTIONS);
        let window = window.map(|window| u32::try_from(window).unwrap_or(u32::MAX));
        window.map_or(usual, |window| window.clamp(limits::HTTP2_WINDOW_MIN, usual))
    }

    /// Counts `bytes` in all as held by `room`, if the limit lets them in.
    pub fn count(&self, signal: Signal, room: &mut Room, bytes: usize) -> Result<(), Verdict> {
        let charge = room.charge.get_or_insert_with(|| self.account.charge(0));
        match self.limit(signal) {
            Some(limit) => limit.grow(charge, bytes),
            None => {
                charge.resize(account::footprint(bytes));
                Ok(())
            }
        }
    }

    /// Adds room for `bytes` more to `room`, waiting at most [`limits::ADMISSION_WAIT`].
    pub async fn admit(&self, room: &mut Room, bytes: usize) -> Result<(), Verdict> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let acquire = self.room.clone().acquire_many_owned(units);
        match tokio::time::timeout(limits::ADMISSION_WAIT, acquire).await {
            Ok(Ok(permit)) => {
                room.permits.push(permit);
                Ok(())
            }
            _ => Err(Verdict::busy("too many requests are under way")),
        }
    }

    /// Hands `batch` to the pipelines of its signal.
    pub async fn take(&self, batch: Batch) {
        match self.consumer(batch.signal()) {
            Some(consumer) => consumer.consume(batch).await,
            None => batch.settle(&Verdict::busy("no pipeline takes this signal")),
        }
    }

    fn limit(&self, signal: Signal) -> Option<&Limit> {
        self.limits.get(signal as usize)?.as_ref()
    }

    fn consumer(&self, signal: Signal) -> Option<&Arc<dyn Consumer>> {
        self.consumers.get(signal as usize)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    struct Limited(Limit);

    impl Consumer for Limited {
        fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            batch.settle(&Verdict::Accepted);
            Box::pin(std::future::ready(()))
        }

        fn limit(&self) -> Option<Limit> {
            Some(self.0.clone())
        }
    }

    /// An intake of which traces have a limit.
    fn intake(hard: usize, spike: usize) -> Intake {
        let account = Account::default();
        let limit = Limit::new(account.clone(), hard, spike, || ());
        Intake::new(MIB, account).leading_to([Some(Arc::new(Limited(limit))), None, None])
    }

    #[test]
    fn connections_hold_less_unread_where_there_is_a_limit() {
        for (spike, window) in [
            (MIB, limits::HTTP2_WINDOW_MIN),
            (200 * MIB, MIB as u32),
            (1000 * MIB, limits::HTTP2_CONNECTION_WINDOW),
        ] {
            let intake = intake(2000 * MIB, spike);
            assert_eq!(intake.window(limits::HTTP2_CONNECTION_WINDOW), window, "{spike}");
        }
        let without = Intake::new(MIB, Account::default());
        assert_eq!(without.window(4096), 4096);
    }

    #[test]
    fn what_is_read_counts_and_is_refused_where_it_does_not_fit() {
        let intake = intake(100_000, 20_000);
        let mut room = Room::default();
        assert!(intake.count(Signal::Traces, &mut room, 70_000).is_ok());
        assert_eq!(intake.account.held(), account::footprint(70_000));
        let busy = |result| matches!(result, Err(Verdict::Busy(_)));
        assert!(busy(intake.count(Signal::Traces, &mut Room::default(), 20_000)));
        assert!(busy(intake.open(Signal::Traces, 10_000)));
        // Logs count too, and have no limit of their own.
        let mut logs = Room::default();
        assert!(intake.count(Signal::Logs, &mut logs, 20_000).is_ok());
        assert!(intake.open(Signal::Logs, 1 << 40).is_ok());
        drop((room, logs));
        assert_eq!(intake.account.held(), 0);
        assert!(intake.open(Signal::Traces, 10_000).is_ok());
    }
}
