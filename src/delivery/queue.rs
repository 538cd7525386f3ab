//! The queue of one exporter, in memory and bounded in bytes, with one lane per signal.
//!
//! Room is taken before a batch is queued and given back when the backend has answered, so that
//! what is under way counts too. Room is granted in the order of asking. [`Lanes`] decides what
//! is sent when, as a function of the time; [`Queue`] waits for it.

use super::join::{Limit, Parcel};
use super::meters::Meters;
use super::settings::{Settings, Sizer};
use crate::batch::{Batch, Signal};
use crate::clock;
use crate::limits;
use crate::moment::Moment;
use crate::telemetry::Gauge;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A queue with the room that it grants.
pub struct Queue {
    sizer: Sizer,
    /// Room of each signal, in the sizer's unit.
    sizes: [Arc<Semaphore>; 3],
    size: usize,
    /// Room of all signals, in bytes.
    bytes: Arc<Semaphore>,
    capacity: usize,
    block: bool,
    flush: Duration,
    lanes: Mutex<Lanes>,
    /// Wakes the one who waits in [`Queue::next`].
    changed: Notify,
    meters: Meters,
}

/// Room for one batch, given back when dropped.
pub struct Room {
    _permits: [OwnedSemaphorePermit; 2],
    size: (Gauge, i64),
    bytes: (Gauge, i64),
}

impl Drop for Room {
    fn drop(&mut self) {
        for (gauge, held) in [&self.size, &self.bytes] {
            gauge.add(-held);
        }
    }
}

impl Queue {
    pub fn new(settings: &Settings, meters: Meters) -> Queue {
        let size = settings.size.min(Semaphore::MAX_PERMITS);
        let capacity = settings.bytes.clamp(1, Semaphore::MAX_PERMITS);
        Queue {
            sizer: settings.sizer,
            sizes: Signal::ALL.map(|_| Arc::new(Semaphore::new(size))),
            size,
            bytes: Arc::new(Semaphore::new(capacity)),
            capacity,
            block: settings.block,
            flush: settings.batch.flush,
            lanes: Mutex::default(),
            changed: Notify::new(),
            meters,
        }
    }

    /// Waits for room for `batch`; `None` if there is none in time. A batch that is larger than
    /// the queue fits when the queue is empty. What is in custody has no other home and waits until
    /// `stop` is cancelled; meanwhile those who bring more are told to come back.
    pub async fn admit(&self, batch: &Batch, stop: &CancellationToken) -> Option<Room> {
        let units = match self.sizer {
            Sizer::Requests => 1,
            Sizer::Items => batch.items(),
            Sizer::Bytes => batch.bytes().len(),
        };
        let size = self.sizes.get(batch.signal() as usize)?;
        let bytes = batch.bytes().len();
        let room = async {
            let size = acquire(size, units.min(self.size)).await?;
            let bytes = acquire(&self.bytes, bytes.min(self.capacity)).await?;
            Some([size, bytes])
        };
        let permits = if self.block {
            room.await?
        } else if batch.receipts.in_custody() {
            tokio::select! {
                biased;
                room = room => room?,
                () = stop.cancelled() => return None,
            }
        } else {
            tokio::time::timeout(patience(batch), room).await.ok()??
        };
        let held = |gauge: &Gauge, n: usize| {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            gauge.add(n);
            (gauge.clone(), n)
        };
        let size = held(&self.meters.of(batch.signal()).size, units);
        Some(Room { _permits: permits, size, bytes: held(&self.meters.bytes, bytes) })
    }

    /// Queues parcels, each with room. A closed queue gives them back.
    #[must_use]
    pub fn push(&self, parcels: Vec<Parcel>, limit: &Limit) -> Vec<Parcel> {
        let mut lanes = self.lanes();
        if lanes.closed {
            return parcels;
        }
        let mut wake = false;
        for parcel in parcels {
            wake |= lanes.push(parcel, limit);
        }
        drop(lanes);
        if wake {
            self.changed.notify_one();
        }
        vec![]
    }

    /// Nobody is given room any more, and [`Queue::next`] ends once the queue is empty.
    pub fn close(&self) {
        self.bytes.close();
        self.lanes().closed = true;
        self.changed.notify_one();
    }

    /// Waits for parcels to be sent as one request. `None` once the queue is closed and empty.
    /// One caller at a time. Nothing is held to be joined once `stop` is cancelled.
    pub async fn next(&self, limit: &Limit, stop: &CancellationToken) -> Option<Vec<Parcel>> {
        loop {
            let now = clock::now();
            let hurry = stop.is_cancelled();
            let next = self.lanes().next(now, self.flush, hurry, limit);
            let at = match next {
                Next::Send(parcels) => return Some(parcels),
                Next::Closed => return None,
                Next::At(at) => Some(at),
                Next::Empty => None,
            };
            let time = async {
                match at {
                    Some(at) => tokio::time::sleep(at.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = time => {}
                () = stop.cancelled(), if !hurry => {}
            }
        }
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn acquire(room: &Arc<Semaphore>, n: usize) -> Option<OwnedSemaphorePermit> {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    room.clone().acquire_many_owned(n).await.ok()
}

/// How long `batch` may wait for room: what is left of the time that its client has. An older one
/// is not waited for, or one full queue would hold up all that stands behind it.
fn patience(batch: &Batch) -> Duration {
    limits::ADMISSION_WAIT.saturating_sub(clock::now().since(batch.arrived))
}

/// What stands next.
pub enum Next {
    /// These are to be sent now.
    Send(Vec<Parcel>),
    /// What is there may wait to be joined until then.
    At(Moment),
    Empty,
    /// Empty for good.
    Closed,
}

/// The lanes of a queue, by signal.
#[derive(Default)]
pub struct Lanes {
    lanes: [Lane; 3],
    closed: bool,
}

#[derive(Default)]
struct Lane {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    items: usize,
    /// When something was sent last, if ever.
    sent: Option<Moment>,
}

impl Lane {
    /// When it has waited enough: `flush` after the oldest came. But what comes after a time of
    /// quiet goes at once; to wait would join it with nothing.
    fn due(&self, flush: Duration) -> Option<Moment> {
        let oldest = self.parcels.front()?.queued;
        Some(self.sent.map_or(oldest, |sent| oldest.min(sent).plus(flush)))
    }

    fn is_full(&self, limit: &Limit) -> bool {
        self.bytes >= limit.min_bytes() || self.items >= limit.min_items
    }
}

impl Lanes {
    /// Queues `parcel`. Whether the one who waits should look again.
    pub fn push(&mut self, parcel: Parcel, limit: &Limit) -> bool {
        let Some(lane) = self.lanes.get_mut(parcel.batch.signal() as usize) else { return false };
        lane.bytes += parcel.batch.bytes().len();
        lane.items += parcel.batch.items();
        lane.parcels.push_back(parcel);
        lane.parcels.len() == 1 || lane.is_full(limit)
    }

    /// What to do at `now`: the lane that is due longest goes first.
    pub fn next(&mut self, now: Moment, flush: Duration, hurry: bool, limit: &Limit) -> Next {
        let due = |lane: &Lane| match lane.due(flush) {
            Some(_) if hurry || self.closed || lane.is_full(limit) => Some(Moment::default()),
            due => due,
        };
        let first = self.lanes.iter().enumerate().filter_map(|(k, lane)| Some((due(lane)?, k)));
        let Some((at, k)) = first.min() else {
            return if self.closed { Next::Closed } else { Next::Empty };
        };
        if at.since(now) > Duration::ZERO {
            return Next::At(at);
        }
        let Some(lane) = self.lanes.get_mut(k) else { return Next::Empty };
        let sizes = lane.parcels.iter().map(|p| (p.batch.bytes().len(), p.batch.items()));
        let taken = limit.fitting(sizes);
        let parcels: Vec<Parcel> = lane.parcels.drain(..taken.min(lane.parcels.len())).collect();
        lane.bytes -= parcels.iter().map(|p| p.batch.bytes().len()).sum::<usize>();
        lane.items -= parcels.iter().map(|p| p.batch.items()).sum::<usize>();
        lane.sent = Some(now);
        Next::Send(parcels)
    }
}
