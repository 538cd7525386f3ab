//! The daemon's own log: to standard error, for people or as JSON.

use crate::config::Telemetry;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging as `telemetry` says. A second call has no effect.
pub fn start(telemetry: &Telemetry) {
    let filter = EnvFilter::new(format!("{},hyper=warn,h2=warn,rustls=warn", telemetry.log_level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let _ = if telemetry.log_encoding == "json" {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}
