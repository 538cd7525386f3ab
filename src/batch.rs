//! The currency: one checked export request that travels through the daemon.

use crate::account::{self, Charge};
use crate::limits;
use crate::metadata::Metadata;
use crate::moment::Moment;
use crate::otlp::check::{Bounds, Malformed, check};
use crate::otlp::edit::Edits;
use crate::otlp::join::join;
use crate::otlp::merge::merge;
use crate::otlp::schema::{self, Message};
use crate::otlp::view::Request;
use crate::receipt::Receipts;
use crate::verdict::Verdict;
use bytes::Bytes;
use std::sync::Arc;

/// The kinds of telemetry that OTLP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    /// The word in pipeline ids and URL paths.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }

    /// The word in the Collector's metric names.
    pub fn items(self) -> &'static str {
        match self {
            Signal::Traces => "spans",
            Signal::Logs => "log_records",
            Signal::Metrics => "metric_points",
        }
    }

    /// The export request's message type.
    pub fn message(self) -> &'static Message {
        match self {
            Signal::Traces => &schema::TRACES,
            Signal::Logs => &schema::LOGS,
            Signal::Metrics => &schema::METRICS,
        }
    }
}

/// How items ended that a pipeline had accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The backend has them.
    Delivered,
    /// The backend refused them for good, and they are in a file.
    DeadLettered,
    /// By this rule.
    Dropped(&'static str),
}

/// Counts how the items of a pipeline end.
pub trait Tally: Send + Sync {
    fn ended(&self, fate: Fate, items: usize);
}

/// A checked export request. Cloning shares the bytes.
#[derive(Clone)]
pub struct Batch {
    signal: Signal,
    bytes: Bytes,
    items: usize,
    /// What it counts as held; shared by those that share the bytes.
    charge: Option<Arc<Charge>>,
    /// When it was received.
    pub arrived: Moment,
    /// Who is answered when it is safe.
    pub receipts: Receipts,
    /// Who counts how it ends, once it has left its pipeline.
    pub tally: Option<Arc<dyn Tally>>,
    /// What its request said of itself, until its pipelines begin.
    pub metadata: Option<Arc<Metadata>>,
}

impl Batch {
    /// The only way in: `bytes` proven to be an export request of `signal` within the default
    /// bounds, with nobody waiting for an answer yet.
    pub fn parse(signal: Signal, bytes: Bytes, arrived: Moment) -> Result<Batch, Malformed> {
        Batch::parse_within(signal, bytes, arrived, &limits::REQUEST)
    }

    /// The same, within bounds of the caller's.
    pub fn parse_within(
        signal: Signal,
        mut bytes: Bytes,
        arrived: Moment,
        bounds: &Bounds,
    ) -> Result<Batch, Malformed> {
        let tally = check(signal.message(), &bytes, bounds)?;
        if tally.repeated_singular {
            bytes = Bytes::from(merge(signal.message(), &bytes));
        }
        let (items, receipts) = (tally.items, Receipts::none());
        let (charge, metadata) = (None, None);
        Ok(Batch { signal, bytes, items, charge, arrived, receipts, tally: None, metadata })
    }

    pub fn signal(&self) -> Signal {
        self.signal
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Spans, log records or data points.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The view of the bytes.
    pub fn request(&self) -> Request<'_> {
        Request::new(&self.bytes)
    }

    /// This batch with `edits` applied; the edits are used up.
    pub fn edited(mut self, edits: &mut Edits) -> Batch {
        self.bytes = edits.apply(&self.bytes);
        self.recharge();
        self.items = self.items.saturating_sub(edits.removed_items());
        edits.clear();
        self
    }

    /// A part of this batch, as bytes that were cut out of it field by field.
    pub fn part(&self, bytes: Bytes, items: usize) -> Batch {
        let mut part = Batch { bytes, items, ..self.clone() };
        // A slice keeps the whole alive and shares its charge; a copy is charged for itself.
        if !self.bytes.as_ptr_range().contains(&part.bytes.as_ptr()) {
            part.recharge();
        }
        part
    }

    /// One batch of all the items of `batches`, which are of one signal, in order. It is safe
    /// when all of them are: it carries their receipts, and arrived when the last of them did.
    pub fn joined(batches: Vec<Batch>) -> Option<Batch> {
        let bytes: Vec<Bytes> = batches.iter().map(|batch| batch.bytes.clone()).collect();
        let items = batches.iter().map(Batch::items).sum();
        let arrived = batches.iter().map(|batch| batch.arrived).max()?;
        let mut batches = batches.into_iter();
        let mut whole = batches.next()?;
        for batch in batches {
            debug_assert_eq!(batch.signal, whole.signal, "signals are not joined");
            whole.receipts.join(batch.receipts);
        }
        if bytes.len() > 1 {
            whole.bytes = join(&bytes);
            whole.recharge();
        }
        (whole.items, whole.arrived) = (items, arrived);
        Some(whole)
    }

    /// Takes the items of `other`, of the same signal, over behind its own. Cheaper than
    /// [`Batch::joined`] for batches that come one by one: what is there is copied only when it
    /// outgrows its room, and that is at most `most` bytes, unless both together are more.
    pub fn append(&mut self, other: Batch, most: usize) {
        debug_assert_eq!(self.signal, other.signal, "signals are not joined");
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        if bytes.capacity() - bytes.len() < other.bytes.len() {
            let twice = bytes.len().min(most.saturating_sub(bytes.len()));
            bytes.reserve_exact(other.bytes.len().max(twice));
        }
        bytes.extend_from_slice(&other.bytes);
        self.bytes = Bytes::from(bytes);
        self.items += other.items;
        self.arrived = self.arrived.max(other.arrived);
        self.receipts.join(other.receipts);
        let weight = self.weight();
        match self.charge.as_mut().and_then(Arc::get_mut) {
            Some(charge) => charge.resize(weight),
            None => self.recharge(),
        }
    }

    /// Bytes that it counts as: its own, and what surrounds them.
    pub fn weight(&self) -> usize {
        account::footprint(self.bytes.len())
    }

    /// Whether its bytes are counted as held.
    pub fn is_charged(&self) -> bool {
        self.charge.is_some()
    }

    /// Lets `charge` count this batch for as long as anything of it is held.
    pub fn charge(&mut self, mut charge: Charge) {
        charge.resize(self.weight());
        self.charge = Some(Arc::new(charge));
    }

    /// Counts the present bytes in place of those before.
    fn recharge(&mut self) {
        if let Some(charge) = self.charge.take() {
            let account = charge.account().clone();
            drop(charge);
            self.charge(account.charge(0));
        }
    }

    /// Counts how all of its items have ended.
    pub fn ended(&self, fate: Fate) {
        self.partly_ended(fate, self.items);
    }

    /// Counts how so many of its items have ended.
    pub fn partly_ended(&self, fate: Fate, items: usize) {
        if let Some(tally) = self.tally.as_ref().filter(|_| items > 0) {
            tally.ended(fate, items);
        }
    }

    /// Ends this batch's way with `verdict`.
    pub fn settle(self, verdict: &Verdict) {
        self.receipts.settle(verdict);
    }
}
