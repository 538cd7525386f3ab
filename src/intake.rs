//! Where receivers hand over: room for the bytes first, then the pipelines of the signal.
//!
//! Receivers know nothing of pipelines and pipelines nothing of sockets. Room is counted before a
//! body is read, so that many large requests at once cannot take more memory than
//! [`limits::INFLIGHT_BYTES`]; whoever finds none waits a little and is then told to come back.
//!
//! A pipeline may have a [`Limit`] on what the process holds. It is asked here, at the headers
//! and again with every piece of a body. Who finds no room there waits a little as well, but few
//! do: what waits takes memory, if no more than what its connection had in its buffers, and those
//! are kept small where there is a limit ([`Intake::window`]).
//!
//! Whatever is waited for is granted in [`turns`](crate::turns), by connection: room for bodies,
//! room below the limit, and the place to hand over to a pipeline that is busy. So a client that
//! asks for much gets what others leave, and no more.

use crate::account::{self, Account, Charge, Limit};
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::turns::{Ask, Client, Most, Permit, Turns};
use crate::verdict::Verdict;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::timeout;

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
    /// In units.
    room: Turns,
    /// Where one waits for room below a limit; whoever has the place looks whether there is some.
    line: Turns,
    /// Places of hand-over, by signal, in units.
    places: [Turns; 3],
    /// By [`Signal`], in the order of [`Signal::ALL`].
    consumers: [Option<Arc<dyn Consumer>>; 3],
    /// Of the consumers.
    limits: [Option<Limit>; 3],
    account: Account,
}

/// Room for a request's bytes, given back when dropped.
#[derive(Default)]
pub struct Room {
    permits: Vec<Permit>,
    charge: Option<Charge>,
}

impl Room {
    /// Hands over what counts the bytes as held, for the batch to carry on.
    pub fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }
}

/// Bytes of a unit of room.
const UNIT: usize = 1 << 10;

/// Units of a turn: those of a usual request.
const QUANTUM: usize = 64;

fn places() -> [Turns; 3] {
    Signal::ALL.map(|_| Turns::new(limits::HANDOVER_BYTES / UNIT, QUANTUM, Most::ANY))
}

impl Intake {
    /// An intake with `bytes` of room that counts in `account`. Receivers of one process share
    /// both: build one and give out clones [`Intake::leading_to`] their consumers.
    pub fn new(bytes: usize, account: Account) -> Intake {
        let room = Turns::new(bytes / UNIT, QUANTUM, Most::ANY);
        let most = Most { of_one: limits::WAITING_OF_ONE, of_all: limits::LIMITED_CONNECTIONS };
        let line = Turns::new(1, QUANTUM, most);
        let (consumers, limits) = ([None, None, None], [None, None, None]);
        Intake { room, line, places: places(), consumers, limits, account }
    }

    /// The same room, other consumers, which are handed over to by themselves: where one is stuck,
    /// another is not.
    pub fn leading_to(&self, consumers: [Option<Arc<dyn Consumer>>; 3]) -> Intake {
        let limits = consumers.each_ref().map(|consumer| consumer.as_ref()?.limit());
        Intake { consumers, limits, places: places(), ..self.clone() }
    }

    /// Whether any pipeline takes `signal`.
    pub fn takes(&self, signal: Signal) -> bool {
        self.consumer(signal).is_some()
    }

    /// Waits for room below the limit for a request of `signal` of which `bytes` are announced, and
    /// leaves it room for what is still to come. Waits at most [`limits::MEMORY_WAIT`], and not at
    /// all where as many wait as may.
    pub async fn begin(
        &self,
        client: Client,
        signal: Signal,
        room: &mut Room,
        bytes: usize,
    ) -> Result<(), Verdict> {
        let charge = room.charge.get_or_insert_with(|| self.account.charge(0));
        let Some(limit) = self.limit(signal) else { return Ok(()) };
        if !limit.is_possible(bytes) {
            return Err(limit.refusal(bytes));
        }
        if !self.line.is_taken() && limit.begin(charge, bytes) {
            return Ok(());
        }
        let in_turn = async {
            let ask = Ask { units: 1, cost: bytes.div_ceil(UNIT) };
            let _place = self.line.acquire(client, ask).await?;
            loop {
                let freed = limit.account().freed();
                if limit.begin(charge, bytes) {
                    return Some(());
                }
                freed.await;
            }
        };
        let begun = timeout(limits::MEMORY_WAIT, in_turn).await;
        begun.ok().flatten().ok_or_else(|| limit.refusal(bytes))
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
    pub async fn admit(
        &self,
        client: Client,
        room: &mut Room,
        bytes: usize,
    ) -> Result<(), Verdict> {
        let units = bytes.div_ceil(UNIT);
        let acquire = self.room.acquire(client, Ask { units, cost: units });
        match timeout(limits::ADMISSION_WAIT, acquire).await {
            Ok(Some(permit)) => {
                room.permits.push(permit);
                Ok(())
            }
            _ => Err(Verdict::busy("too many requests are under way")),
        }
    }

    /// Hands `batch`, which is of `client`, to the pipelines of its signal when it is its turn.
    pub async fn take(&self, client: Client, batch: Batch) {
        let signal = batch.signal();
        let (Some(consumer), Some(places)) =
            (self.consumer(signal), self.places.get(signal as usize))
        else {
            return batch.settle(&Verdict::busy("no pipeline takes this signal"));
        };
        let units = batch.bytes().len().div_ceil(UNIT);
        let units = units.max(limits::HANDOVER_BYTES / UNIT / limits::PIPELINE_BATCHES);
        let _place = places.acquire(client, Ask { units, cost: units }).await;
        consumer.consume(batch).await;
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

    /// What a request hears that waits in a paused time.
    fn begin(intake: &Intake, signal: Signal, bytes: usize) -> Result<(), Verdict> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().expect("a runtime");
        let mut room = Room::default();
        runtime.block_on(intake.begin(Client::next(), signal, &mut room, bytes))
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
        assert!(busy(begin(&intake, Signal::Traces, 10_000)));
        // Logs count too, and have no limit of their own.
        let mut logs = Room::default();
        assert!(intake.count(Signal::Logs, &mut logs, 20_000).is_ok());
        assert!(begin(&intake, Signal::Logs, 1 << 40).is_ok());
        drop((room, logs));
        assert_eq!(intake.account.held(), 0);
        assert!(begin(&intake, Signal::Traces, 10_000).is_ok());
    }

    #[tokio::test]
    async fn one_who_waits_below_a_limit_begins_when_something_is_given_back() {
        let intake = intake(100_000, 20_000);
        let mut held = Room::default();
        assert!(intake.count(Signal::Traces, &mut held, 60_000).is_ok());
        let mut room = Room::default();
        let waits = intake.begin(Client::next(), Signal::Traces, &mut room, 20_000);
        let frees = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let (begun, ()) = tokio::join!(waits, frees);
        assert_eq!(begun, Ok(()));
        assert!(!intake.line.is_taken());
    }
}
