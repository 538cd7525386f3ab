//! `service::telemetry`: how spanloom speaks about itself.

/// Own logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// `console` or `json`.
    pub log_encoding: String,
    /// Where the Prometheus page is served, `localhost:8888`; `None` means off.
    pub metrics_address: Option<String>,
}
