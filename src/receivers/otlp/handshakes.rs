//! Failed handshakes of one listener: counted, and logged once in a while for each reason.

use super::keys::Protocol;
use crate::clock;
use crate::limits;
use crate::moment::Moment;
use crate::telemetry::{Counter, Registry};
use crate::transport::tls::{Failure, Reason};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// What failed at one listener.
pub(super) struct Handshakes {
    receiver: String,
    protocol: Protocol,
    kinds: Vec<Kind>,
}

/// The failures of one reason.
struct Kind {
    reason: Reason,
    failed: Counter,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    last: Option<Moment>,
    /// Failures since the last line.
    unsaid: usize,
}

/// Who failed.
pub(super) struct Peer<'a> {
    pub(super) handshakes: &'a Handshakes,
    pub(super) address: SocketAddr,
}

impl Peer<'_> {
    pub(super) fn failed(&self, failure: &Failure) {
        self.handshakes.failed(failure, self.address, clock::now());
    }
}

impl Handshakes {
    pub(super) fn new(registry: &Registry, id: &str, protocol: Protocol) -> Handshakes {
        let kinds = Reason::ALL.map(|reason| {
            let name = "spanloom_receiver_tls_failures";
            let transport = ("transport", protocol.transport());
            let labels = [("receiver", id), transport, ("reason", reason.name())];
            let failed = registry.counter(name, "TLS handshakes that failed", &labels);
            Kind { reason, failed, said: Mutex::default() }
        });
        Handshakes { receiver: id.to_owned(), protocol, kinds: kinds.into() }
    }

    fn failed(&self, failure: &Failure, peer: SocketAddr, now: Moment) {
        let Some(kind) = self.kinds.iter().find(|kind| kind.reason == failure.reason) else {
            return;
        };
        kind.failed.add(1);
        let mut said = kind.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now.since(last) < limits::LOG_PAUSE) {
            said.unsaid += 1;
            return;
        }
        let more = match std::mem::take(&mut said.unsaid) {
            0 => String::new(),
            unsaid => format!(" ({unsaid} more since the last line)"),
        };
        said.last = Some(now);
        let (receiver, protocol, text) = (&self.receiver, self.protocol.name(), &failure.text);
        tracing::warn!(receiver, protocol, %peer, "no TLS with a client: {text}{more}");
    }
}
