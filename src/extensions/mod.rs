//! Extensions: what serves the daemon itself rather than a pipeline.
//!
//! To add one: write `extensions/<name>.rs` with a `KIND`, then add its `mod` line and its entry
//! in [`LIST`].

use crate::config::{Component, Section};
use crate::web::State;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio_util::sync::CancellationToken;

pub mod file_storage;
mod health_check;
mod status;

/// All extensions, in reading order.
pub const LIST: &[Kind] = &[health_check::KIND, status::KIND, file_storage::KIND];

/// A type of extension: its entry in the catalogue, and how to start one.
pub struct Kind {
    pub component: Component,
    /// Starts one. Errors are sentences.
    pub start: fn(&Section, State, CancellationToken) -> Starting,
}

/// The future of a start.
pub type Starting = Pin<Box<dyn Future<Output = Result<Running, String>> + Send>>;

/// An extension that runs.
pub struct Running {
    /// What it listens on: name and address.
    pub listeners: Vec<(&'static str, SocketAddr)>,
    pub done: Pin<Box<dyn Future<Output = ()> + Send>>,
}
