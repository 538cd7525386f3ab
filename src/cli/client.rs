//! An OTLP client for the commands that send telemetry: an exporter without queue and retries.

use crate::config::Section;
use crate::exporters::{self, Exporter};
use crate::telemetry::Registry;
use std::sync::Arc;

/// A client for `endpoint` that speaks `otlp_grpc` or `otlp_http`, uncompressed.
pub fn client(kind: &str, endpoint: &str) -> Result<Arc<dyn Exporter>, String> {
    let found = exporters::LIST.iter().find(|entry| entry.component.name == kind);
    let found = found.ok_or_else(|| format!("there is no exporter {kind}"))?;
    let yaml = format!("{{endpoint: {endpoint:?}, compression: none}}");
    let section = Section::from_yaml(found.component.keys, &yaml);
    let section = section.map_err(|problems| problems.to_string())?;
    (found.build)(&section, &exporters::Setup { id: kind, registry: &Registry::default() })
}
