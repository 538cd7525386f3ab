//! The whole file, checked against the catalog: components, pipelines, telemetry.

use std::fmt;

use super::catalog::{Catalog, Component};
use super::node::{Node, Place};
use super::problem::Problems;
use super::section::Section;
use super::service::Telemetry;

/// `type` or `type/name`, as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId(String);

impl ComponentId {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(kind, _)| kind)
    }

    /// The part after the slash; empty if there is none.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A component with its checked configuration. Equal ones need no restart: places do not count.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Its id.
    pub id: ComponentId,
    /// What is built in under that type.
    pub component: &'static Component,
    /// Its checked keys.
    pub section: Section,
    /// Where its id stands.
    pub place: Place,
}

impl PartialEq for Configured {
    fn eq(&self, other: &Configured) -> bool {
        self.id == other.id
            && std::ptr::eq(self.component, other.component)
            && self.section == other.section
    }
}

/// A pipeline whose references all exist. Equality ignores the place.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `traces` or `traces/name`.
    pub id: ComponentId,
    /// `traces`, `metrics` or `logs`.
    pub signal: &'static str,
    /// At least one receiver or connector.
    pub receivers: Vec<ComponentId>,
    /// In the order of their work.
    pub processors: Vec<ComponentId>,
    /// At least one exporter or connector.
    pub exporters: Vec<ComponentId>,
    /// Where its id stands.
    pub place: Place,
}

/// A configuration without errors. Equality ignores places and warnings.
#[derive(Clone, Debug)]
pub struct Document {
    /// All configured receivers, used or not, in the order of the file; so the others.
    pub receivers: Vec<Configured>,
    /// All configured processors.
    pub processors: Vec<Configured>,
    /// All configured exporters.
    pub exporters: Vec<Configured>,
    /// All configured connectors.
    pub connectors: Vec<Configured>,
    /// The extensions of `service::extensions`, in that order.
    pub extensions: Vec<Configured>,
    /// The pipelines in the order of the file.
    pub pipelines: Vec<Pipeline>,
    /// Own logs and metrics.
    pub telemetry: Telemetry,
    /// What has no effect.
    pub warnings: Problems,
}

impl Document {
    /// Checks a merged and expanded tree. The error holds all problems, warnings included.
    pub fn check(node: &Node, catalog: &Catalog) -> Result<Document, Problems> {
        let _ = (node, catalog);
        Err(Problems::new())
    }
}
