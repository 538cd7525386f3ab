//! Receivers: they turn what clients send into batches and answer when the batches are safe.
//!
//! To add one: write `receivers/<name>.rs` with a `KIND`, then add its `mod` line and its entry
//! in [`LIST`].

use crate::config::{Component, Section};
use crate::intake::Intake;
use crate::sockets::Sockets;
use crate::telemetry::Registry;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio_util::sync::CancellationToken;

mod nop;
mod otlp;
mod otlp_json_file;

/// All receivers, in reading order.
pub const LIST: &[Kind] = &[otlp::KIND, otlp_json_file::KIND, nop::KIND];

/// A type of receiver: its entry in the catalogue, and how to start one.
pub struct Kind {
    pub component: Component,
    /// Binds the listeners of one and returns it running. Errors are sentences.
    pub start: fn(&Section, Setup) -> Starting,
}

/// The future of a start.
pub type Starting = Pin<Box<dyn Future<Output = Result<Running, String>> + Send>>;

/// What a receiver is given.
pub struct Setup {
    /// The receiver's id, such as `otlp/edge`.
    pub id: String,
    pub registry: Registry,
    pub intake: Intake,
    pub sockets: Sockets,
    /// Cancelled when the receiver is to take no more requests, finish those under way, and end.
    pub stop: CancellationToken,
}

/// An open listener.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// What speaks there: `otlp/grpc`, `otlp/http`.
    pub protocol: &'static str,
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub encrypted: bool,
}

/// A receiver that runs.
pub struct Running {
    /// What it listens on.
    pub listeners: Vec<Listener>,
    /// Ends after `stop` was cancelled and the requests under way are answered.
    pub done: Pin<Box<dyn Future<Output = ()> + Send>>,
}
