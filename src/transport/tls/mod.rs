//! TLS for listeners and exporters: from the Collector's `tls` keys to configurations of rustls,
//! and from rustls's errors to sentences that say what would be right.
//!
//! Files are read when a configuration is checked, so that all their problems come together with
//! all others, and again when they change: [`Reloading`] looks at most once in `reload_interval`,
//! when somebody connects. What is broken then is named in the log, and what was read before stays
//! in use. Connections that are open keep what they began with.
//!
//! Private keys are secrets: no sentence here has any byte of a PEM text in it.
//!
//! Deliberately absent: sockets and handshakes (their owners have those), TLS 1.0 and 1.1, choice
//! of cipher suites (rustls offers none that is weak), revocation lists, keys in hardware.

mod client;
mod failure;
mod files;
mod keys;
mod reload;
mod server;
mod validity;

#[cfg(test)]
mod tests;

pub use client::{ClientTls, check_client};
pub use failure::{Failure, Reason, of_client, of_server};
pub use keys::{CLIENT_KEYS, SERVER_KEYS};
pub use reload::Reloading;
pub use server::{ServerTls, check_server};

/// The names of HTTP versions in TLS's negotiation (ALPN), the preferred one first.
pub type Alpn = &'static [&'static [u8]];

/// HTTP/2 alone.
pub const HTTP2: Alpn = &[b"h2"];

/// HTTP/2, and HTTP/1.1 for those who do not speak it.
pub const HTTP2_AND_1: Alpn = &[b"h2", b"http/1.1"];
