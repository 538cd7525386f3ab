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
    /// Counts the failure, and logs it if it is time for a line.
    pub(super) fn failed(&self, failure: &Failure) {
        let Handshakes { receiver, protocol, .. } = self.handshakes;
        if let Some(line) = self.handshakes.failed(failure, clock::now()) {
            let (protocol, peer) = (protocol.name(), self.address);
            tracing::warn!(receiver, protocol, %peer, "no TLS with a client: {line}");
        }
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

    /// Counts a failure. The line to log, if none was logged for this reason of late.
    fn failed(&self, failure: &Failure, now: Moment) -> Option<String> {
        let kind = self.kinds.iter().find(|kind| kind.reason == failure.reason)?;
        kind.failed.add(1);
        let mut said = kind.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now.since(last) < limits::LOG_PAUSE) {
            said.unsaid += 1;
            return None;
        }
        said.last = Some(now);
        let more = match std::mem::take(&mut said.unsaid) {
            0 => String::new(),
            unsaid => format!(" ({unsaid} more since the last line)"),
        };
        Some(format!("{}{more}", failure.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_reason_is_logged_once_in_a_while_and_always_counted() {
        let registry = Registry::default();
        let handshakes = Handshakes::new(&registry, "otlp", Protocol::Grpc);
        let failed = |seconds, reason| {
            let now = Moment::default().plus(Duration::from_secs(seconds));
            handshakes.failed(&Failure::new(reason, "it is wrong"), now)
        };
        let lines = [
            failed(0, Reason::Slow),
            failed(1, Reason::Slow),
            failed(2, Reason::Slow),
            failed(2, Reason::Version),
            failed(40, Reason::Slow),
        ];
        let more = "it is wrong (2 more since the last line)";
        let expected = [Some("it is wrong"), None, None, Some("it is wrong"), Some(more)];
        assert_eq!(lines.each_ref().map(Option::as_deref), expected);
        let labels = "reason=\"slow\",receiver=\"otlp\",transport=\"grpc\"";
        let line = format!("spanloom_receiver_tls_failures{{{labels}}} 4\n");
        assert!(registry.render().contains(&line));
    }
}
