//! The daemon's own HTTP pages and calls: metrics, health, status. They read copies of state and
//! change nothing.

mod call;
mod listen;
mod serve;

pub use call::serve_call;
pub use serve::{Page, serve};

use crate::status::Graph;
use crate::telemetry::Registry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the pages may know of the daemon. Cloning shares it.
#[derive(Clone, Default)]
pub struct State {
    ready: Arc<AtomicBool>,
    graph: Arc<Mutex<Graph>>,
    pub registry: Registry,
}

impl State {
    /// Whether telemetry is taken: after the listeners opened, before draining.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// What runs, by the last configuration that was put in use.
    pub fn graph(&self) -> Graph {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_graph(&self, graph: Graph) {
        *self.graph.lock().unwrap_or_else(PoisonError::into_inner) = graph;
    }
}

/// The page of Prometheus metrics under `/metrics`.
pub fn metrics(registry: Registry) -> impl Fn(&str) -> Option<Page> {
    move |path| (path == "/metrics").then(|| Page::metrics(registry.render()))
}
