//! The daemon's own log: to standard error, for people or as JSON.

use crate::config::Telemetry;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Libraries whose own lines help nobody who runs the daemon.
const LIBRARIES: [&str; 4] = ["h2", "hyper", "hyper_util", "rustls"];

/// Starts logging as `telemetry` says. A second call has no effect.
pub fn start(telemetry: &Telemetry) {
    let level = telemetry.log_level.parse().unwrap_or(LevelFilter::INFO);
    let quiet = LIBRARIES.map(|library| (library, level.min(LevelFilter::WARN)));
    let filter = Targets::new().with_default(level).with_targets(quiet);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry();
    let _ = if telemetry.log_encoding == "json" {
        registry.with(layer.json().flatten_event(true).with_filter(filter)).try_init()
    } else {
        let layer = layer.with_ansi(std::io::stderr().is_terminal());
        registry.with(layer.with_filter(filter)).try_init()
    };
}
