//! Exporters: they send what they are given, once, and say how it went.
//!
//! Queueing, joining, retrying and giving up are absent here: that is
//! [`delivery`](crate::delivery), the same around every exporter. To add one: write
//! `exporters/<name>.rs` with a `KIND`, then add its `mod` line and its entry in [`LIST`].

use crate::batch::Signal;
use crate::config::{Component, Section};
use crate::telemetry::Registry;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

mod answer;
#[cfg(test)]
pub mod backend;
mod body;
mod client;
mod connector;
mod debug;
mod file;
pub mod keys;
pub mod mask;
mod nop;
mod otlp_grpc;
mod otlp_http;
pub mod tree;
#[cfg(test)]
mod tree_tests;

/// All exporters, in reading order.
pub const LIST: &[Kind] = &[otlp_grpc::KIND, otlp_http::KIND, file::KIND, debug::KIND, nop::KIND];

/// A type of exporter: its entry in the catalogue, and how to build one.
pub struct Kind {
    pub component: Component,
    /// Builds one from its checked section. Errors are sentences: an unreadable certificate, say.
    pub build: fn(&Section, &Setup<'_>) -> Built,
}

/// An exporter, or the sentence that says why there is none.
pub type Built = Result<Arc<dyn Exporter>, String>;

/// What an exporter may use when it is built.
pub struct Setup<'a> {
    /// The exporter's id, such as `otlp_grpc/tempo`.
    pub id: &'a str,
    pub registry: &'a Registry,
}

/// One export request: the bytes of one or more batches of one signal, which joined end to end
/// are a valid request. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    pub signal: Signal,
    pub segments: Vec<Bytes>,
    /// Spans, log records or data points in all segments.
    pub items: usize,
}

impl Payload {
    /// Bytes of the request before compression.
    pub fn size(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has it. `rejected` items it refused for good (partial success), with its
    /// message; they must not be sent again. A message without rejected items is a warning.
    Delivered { rejected: u64, message: String },
    /// Worth another attempt, not before `after` if the backend named a time.
    Retry { after: Option<Duration>, reason: String },
    /// Too large for the backend; in parts it may be taken.
    TooLarge { reason: String },
    /// Will never be taken; another attempt is forbidden.
    Refused { reason: String },
}

/// The future of one attempt.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Sends payloads. Many attempts may run at once.
pub trait Exporter: Send + Sync {
    /// One attempt. The caller bounds its time.
    fn send(&self, payload: Payload) -> Sending<'_>;

    /// Where it sends to, for people: `http://127.0.0.1:4317`.
    fn target(&self) -> &str;
}

#[cfg(test)]
mod tests;
