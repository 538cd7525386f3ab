//! How batches become requests: small ones joined, large ones split, one item never split.
//!
//! Joining is a list of segments; no byte is copied. The bound in bytes is learned downwards from
//! backends that refuse what they find too large.

use super::queue::Room;
use super::settings::Batching;
use crate::batch::Batch;
use crate::clock;
use crate::exporters::Payload;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::join::split;
use crate::verdict::Verdict;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A batch on its way to a backend, with the room that it takes.
pub struct Parcel {
    pub batch: Batch,
    pub queued: Moment,
    room: Arc<Room>,
}

impl Parcel {
    /// Tells the clients that we have it. From here on nobody else does, unless a journal.
    pub fn accept(&mut self) {
        self.batch.receipts.answer(&Verdict::Accepted);
    }

    /// Ends the way: the clients that still wait are told, the room is free.
    pub fn settle(self, verdict: &Verdict) {
        self.batch.settle(verdict);
    }

    /// This parcel in parts of at most `max` bytes each, one item excepted.
    fn split(self, max: usize) -> Vec<Parcel> {
        let parts = split(self.batch.signal().message(), self.batch.bytes(), max);
        if parts.len() < 2 {
            return vec![self];
        }
        let part = |bytes, items| {
            let (queued, room) = (self.queued, self.room.clone());
            Parcel { batch: self.batch.part(bytes, items), queued, room }
        };
        // A clone of a receipt stands for an answer that is owed, so the whole's own is paid here;
        // the worst verdict wins, and that of the parts can only be worse.
        let parts = parts.into_iter().map(|p| part(p.bytes, p.items)).collect();
        self.settle(&Verdict::Accepted);
        parts
    }
}

/// The bounds of one request.
pub struct Limit {
    pub min_items: usize,
    max_items: usize,
    min_bytes: usize,
    max_bytes: AtomicUsize,
}

impl Limit {
    pub fn new(batching: &Batching) -> Limit {
        Limit {
            min_items: batching.min_items,
            max_items: batching.max_items.max(1),
            min_bytes: batching.min_bytes,
            max_bytes: AtomicUsize::new(batching.max_bytes.max(1)),
        }
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Bytes at which a request is large enough to go at once.
    pub fn min_bytes(&self) -> usize {
        self.min_bytes.min(self.max_bytes())
    }

    /// The backend found a request of `bytes` too large: those to come are kept to half of it.
    pub fn learn(&self, bytes: usize) {
        let half = (bytes / 2).max(limits::EXPORT_BYTES_MIN);
        self.max_bytes.fetch_min(half, Ordering::Relaxed);
    }

    /// `batch` as parcels that each fit a request.
    pub fn parcels(&self, batch: Batch, room: Room) -> Vec<Parcel> {
        let whole = Parcel { batch, queued: clock::now(), room: Arc::new(room) };
        let max = self.max_bytes();
        if whole.batch.bytes().len() <= max && whole.batch.items() <= self.max_items {
            return vec![whole];
        }
        let mut out = vec![];
        let mut rest = whole.split(max);
        rest.reverse();
        while let Some(parcel) = rest.pop() {
            if parcel.batch.items() <= self.max_items {
                out.push(parcel);
                continue;
            }
            // Splitting is by bytes; halving ends at the last at one item each.
            let half = parcel.batch.bytes().len() / 2;
            let mut parts = parcel.split(half);
            match parts.len() {
                1 => out.append(&mut parts),
                _ => rest.extend(parts.into_iter().rev()),
            }
        }
        out
    }

    /// How many of the parcels at the head of a lane make one request: at least one.
    pub fn fitting(&self, sizes: impl Iterator<Item = (usize, usize)>) -> usize {
        let (mut bytes, mut items, max) = (0, 0, self.max_bytes());
        let fits = |size: &(usize, usize)| {
            bytes += size.0;
            items += size.1;
            bytes <= max && items <= self.max_items
        };
        sizes.take_while(fits).count().max(1)
    }
}

/// The request of these parcels. They are of one signal, which the queue sees to.
pub fn payload(parcels: &[Parcel]) -> Option<Payload> {
    let signal = parcels.first()?.batch.signal();
    let segments = parcels.iter().map(|p| p.batch.bytes().clone()).collect();
    let items = parcels.iter().map(|p| p.batch.items()).sum();
    Some(Payload { signal, segments, items })
}

/// These parcels as two or more requests of about half the size. `Err` gives them back if they
/// are one item.
pub fn halves(mut parcels: Vec<Parcel>) -> Result<Vec<Vec<Parcel>>, Vec<Parcel>> {
    if parcels.len() > 1 {
        let second = parcels.split_off(parcels.len() / 2);
        return Ok(vec![parcels, second]);
    }
    let Some(parcel) = parcels.pop() else { return Err(parcels) };
    let half = parcel.batch.bytes().len() / 2;
    let parts = parcel.split(half);
    match parts.len() {
        1 => Err(parts),
        _ => Ok(parts.into_iter().map(|part| vec![part]).collect()),
    }
}
