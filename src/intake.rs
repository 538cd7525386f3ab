//! Where receivers hand over: room for the bytes first, then the pipelines of the signal.
//!
//! Receivers know nothing of pipelines and pipelines nothing of sockets. Room is counted before a
//! body is read, so that many large requests at once cannot take more memory than
//! [`limits::INFLIGHT_BYTES`]; whoever finds none waits a little and is then told to come back.

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
}

/// What a receiver hands batches to. Cloning shares it.
#[derive(Clone)]
pub struct Intake {
    room: Arc<Semaphore>,
    /// By [`Signal`], in the order of [`Signal::ALL`].
    consumers: [Option<Arc<dyn Consumer>>; 3],
}

/// Room for a request's bytes, given back when dropped.
#[derive(Default)]
pub struct Room {
    permits: Vec<OwnedSemaphorePermit>,
}

/// Semaphores count to 2^29 on every platform; a unit of 1 KiB keeps any size within it.
const UNIT: usize = 1 << 10;

impl Intake {
    /// An intake that leads to `consumers`, by signal, with `bytes` of room. Receivers of one
    /// process share the room: build one and give out clones [`Intake::leading_to`] others.
    pub fn new(bytes: usize) -> Intake {
        Intake { room: Arc::new(Semaphore::new(bytes / UNIT)), consumers: [None, None, None] }
    }

    /// The same room, other consumers.
    pub fn leading_to(&self, consumers: [Option<Arc<dyn Consumer>>; 3]) -> Intake {
        Intake { room: self.room.clone(), consumers }
    }

    /// Whether any pipeline takes `signal`.
    pub fn takes(&self, signal: Signal) -> bool {
        self.consumer(signal).is_some()
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

    fn consumer(&self, signal: Signal) -> Option<&Arc<dyn Consumer>> {
        self.consumers.get(signal as usize)?.as_ref()
    }
}
