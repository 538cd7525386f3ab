//! What a receiver counts, by the Collector's names where it has them.

use super::handshakes::Handshakes;
use super::keys::Protocol;
use crate::batch::Signal;
use crate::telemetry::{Counter, Gauge, Registry};
use crate::verdict::{Refusal, Verdict};

/// Reasons for refusing, in the order of [`reason`].
const REASONS: [&str; 9] = [
    "busy",
    "malformed",
    "too_large",
    "not_found",
    "method",
    "media",
    "framing",
    "slow",
    "internal",
];

/// The counters of one receiver and one protocol.
pub(super) struct Counts {
    accepted: [Counter; 3],
    refused: [Counter; 3],
    requests: [Counter; 9],
    /// Headers that were left out at a bound.
    pub(super) dropped_metadata: Counter,
}

impl Counts {
    pub(super) fn new(registry: &Registry, id: &str, protocol: Protocol) -> Counts {
        let labels = [("receiver", id), ("transport", protocol.transport())];
        let items = |word: &str, about: &str| {
            Signal::ALL.map(|signal| {
                let name = format!("otelcol_receiver_{word}_{}", signal.items());
                registry.counter(&name, about, &labels)
            })
        };
        let requests = REASONS.map(|reason| {
            let labels = [labels[0], labels[1], ("reason", reason)];
            let about = "requests that were not taken";
            registry.counter("spanloom_receiver_refused_requests", about, &labels)
        });
        let dropped = "spanloom_receiver_dropped_metadata";
        let about = "headers that were too many or too long to be known to pipelines";
        Counts {
            accepted: items("accepted", "taken and answered with success"),
            refused: items("refused", "read and not taken"),
            requests,
            dropped_metadata: registry.counter(dropped, about, &labels),
        }
    }

    /// Counts an answered request; `items` is what was found in it, if it could be read.
    pub(super) fn request(&self, found: Option<(Signal, usize)>, verdict: &Verdict) {
        let items = match verdict {
            Verdict::Accepted => &self.accepted,
            _ => &self.refused,
        };
        if let Some((signal, items_found)) = found
            && let Some(counter) = items.get(signal as usize)
        {
            counter.add(items_found);
        }
        if let Some(counter) = reason(verdict).and_then(|k| self.requests.get(k)) {
            counter.add(1);
        }
    }
}

/// The place of a verdict's reason in [`REASONS`].
fn reason(verdict: &Verdict) -> Option<usize> {
    let kind = match verdict {
        Verdict::Accepted => return None,
        Verdict::Busy(_) => return Some(0),
        Verdict::Refused(refused) => refused.kind,
    };
    Some(match kind {
        Refusal::Malformed => 1,
        Refusal::TooLarge => 2,
        Refusal::NotFound => 3,
        Refusal::Method => 4,
        Refusal::Media => 5,
        Refusal::Framing => 6,
        Refusal::Slow => 7,
        Refusal::Internal => 8,
    })
}

/// The counters of one listener.
pub(super) struct Connections {
    pub(super) open: Gauge,
    pub(super) failed: Counter,
    pub(super) flooded: Counter,
    pub(super) handshakes: Handshakes,
}

impl Connections {
    pub(super) fn new(registry: &Registry, id: &str, protocol: Protocol) -> Connections {
        let labels = [("receiver", id), ("transport", protocol.transport())];
        let (open, failed) = ("spanloom_receiver_connections", "spanloom_receiver_accept_errors");
        Connections {
            open: registry.gauge(open, "connections that are open", &labels),
            failed: registry.counter(failed, "connections that could not be accepted", &labels),
            flooded: registry.counter(
                "spanloom_receiver_floods",
                "connections closed for a flood of HTTP/2 control frames",
                &labels,
            ),
            handshakes: Handshakes::new(registry, id, protocol),
        }
    }
}
