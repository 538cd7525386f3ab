//! Our own counters and findings. Names that the Collector has are its names, so that its
//! dashboards and alerts work; the rest begin with `spanloom_`.
//!
//! Labels are component ids, signals and rule names from the configuration, never text that a
//! client controls: a hostile client must not be able to grow the number of series.

mod findings;
mod registry;

pub use findings::{Finding, Findings};
pub use registry::{Counter, Gauge, Histogram, Kind, Level, Registry, Series};
