//! The currency: one checked export request that travels through the daemon.

use crate::limits;
use crate::moment::Moment;
use crate::otlp::check::{Bounds, Malformed, check};
use crate::otlp::edit::Edits;
use crate::otlp::merge::merge;
use crate::otlp::schema::{self, Message};
use crate::otlp::view::Request;
use crate::receipt::Receipts;
use crate::verdict::Verdict;
use bytes::Bytes;

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

/// A checked export request. Cloning shares the bytes.
#[derive(Clone)]
pub struct Batch {
    signal: Signal,
    bytes: Bytes,
    items: usize,
    /// When it was received.
    pub arrived: Moment,
    /// Who is answered when it is safe.
    pub receipts: Receipts,
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
        Ok(Batch { signal, bytes, items: tally.items, arrived, receipts: Receipts::none() })
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
        self.items = self.items.saturating_sub(edits.removed_items());
        edits.clear();
        self
    }

    /// A part of this batch, as bytes that were cut out of it field by field.
    pub fn part(&self, bytes: Bytes, items: usize) -> Batch {
        let (arrived, receipts) = (self.arrived, self.receipts.clone());
        Batch { signal: self.signal, bytes, items, arrived, receipts }
    }

    /// Ends this batch's way with `verdict`.
    pub fn settle(self, verdict: &Verdict) {
        self.receipts.settle(verdict);
    }
}
