//! The daemon's own HTTP pages: metrics and health. They read copies of state and change nothing.

mod serve;

pub use serve::{Page, serve};

use crate::telemetry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the pages may know of the daemon. Cloning shares it.
#[derive(Clone, Default)]
pub struct State {
    ready: Arc<AtomicBool>,
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
}

/// The page of Prometheus metrics under `/metrics`.
pub fn metrics(registry: Registry) -> impl Fn(&str) -> Option<Page> {
    move |path| (path == "/metrics").then(|| Page::metrics(registry.render()))
}
