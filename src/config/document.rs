//! The whole file, checked against the catalog: components, pipelines, telemetry.

use std::fmt;

use super::catalog::{Catalog, Class, Component};
use super::load::{self, World};
use super::node::{Entry, Node, Place, Value};
use super::pipelines;
use super::problem::Problems;
use super::section::{Section, join};
use super::service::Telemetry;
use super::suggest;

/// `type` or `type/name`, as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId(String);

impl ComponentId {
    /// Reads an id; `None` if the type is not a word or the name after the slash is missing.
    pub fn parse(text: &str) -> Option<ComponentId> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let word = kind.starts_with(|c: char| c.is_ascii_alphabetic())
            && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let named = name.is_none_or(|name| !name.is_empty() && !name.contains(char::is_whitespace));
        (word && named).then(|| ComponentId(text.to_owned()))
    }

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
    /// Tasks among which its traces are divided; 0 for as many as there are workers for.
    pub shards: usize,
    /// Where its id stands.
    pub place: Place,
}

impl PartialEq for Pipeline {
    fn eq(&self, other: &Pipeline) -> bool {
        let parts = |p: &Pipeline| {
            let lists = (p.receivers.clone(), p.processors.clone(), p.exporters.clone());
            (p.id.clone(), lists, p.shards)
        };
        parts(self) == parts(other)
    }
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

impl PartialEq for Document {
    fn eq(&self, other: &Document) -> bool {
        self.receivers == other.receivers
            && self.processors == other.processors
            && self.exporters == other.exporters
            && self.connectors == other.connectors
            && self.extensions == other.extensions
            && self.pipelines == other.pipelines
            && self.telemetry == other.telemetry
    }
}

/// The components of one class: those that are good, and the ids of all that are written, so that
/// a reference to a wrong one is not reported once more.
pub(super) struct Shelf {
    pub(super) class: Class,
    pub(super) good: Vec<Configured>,
    pub(super) written: Vec<String>,
}

impl Document {
    /// Reads the sources (see [`load::load`]) and checks the whole. All problems come together:
    /// a variable that is not set does not hide a mistyped key.
    pub fn load(
        configs: &[String],
        sets: &[String],
        world: &World<'_>,
        catalog: &Catalog,
    ) -> Result<Document, Problems> {
        let mut problems = Problems::new();
        let whole = load::merged(configs, sets, world, &mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        let whole = super::expand::expand(whole, world, &mut problems);
        let checked = Document::check(&whole, catalog);
        if !problems.has_errors() {
            return checked;
        }
        // What could not be expanded is null now; that it is missing is said already.
        let known: Vec<String> = problems.iter().map(|problem| problem.path.clone()).collect();
        let more = match checked {
            Ok(document) => document.warnings,
            Err(problems) => problems,
        };
        problems.extend(more.into_iter().filter(|problem| !known.contains(&problem.path)));
        problems.sort();
        Err(problems)
    }

    /// Checks a merged and expanded tree. The error holds all problems, warnings included.
    pub fn check(node: &Node, catalog: &Catalog) -> Result<Document, Problems> {
        let mut problems = Problems::new();
        top_level(node, &mut problems);
        let shelves = Class::ALL.map(|class| shelf(node, class, catalog, &mut problems));
        let nothing = Node::new(Value::Null, node.place.clone());
        let service = node.get("service").map_or(&nothing, |entry| &entry.node);
        let place = node.get("service").map_or(&node.place, |entry| &entry.place);
        let found = pipelines::check(service, place, &shelves, &mut problems);
        let telemetry = service.get("telemetry").map_or(&nothing, |entry| &entry.node);
        let telemetry = Telemetry::check(telemetry, &mut problems);
        problems.sort();
        let [receivers, processors, exporters, connectors, extensions] = shelves.map(|s| s.good);
        let listed = |id: &ComponentId| extensions.iter().find(|e| e.id == *id).cloned();
        let document = Document {
            receivers,
            processors,
            exporters,
            connectors,
            extensions: found.extensions.iter().filter_map(listed).collect(),
            pipelines: found.pipelines,
            telemetry,
            warnings: Problems::new(),
        };
        let (document, warnings) = problems.into_result(document)?;
        Ok(Document { warnings, ..document })
    }

    /// The configured components of one class.
    pub fn of(&self, class: Class) -> &[Configured] {
        match class {
            Class::Receiver => &self.receivers,
            Class::Processor => &self.processors,
            Class::Exporter => &self.exporters,
            Class::Connector => &self.connectors,
            Class::Extension => &self.extensions,
        }
    }

    /// The configured component with that id.
    pub fn find(&self, class: Class, id: &ComponentId) -> Option<&Configured> {
        self.of(class).iter().find(|configured| configured.id == *id)
    }
}

fn top_level(node: &Node, problems: &mut Problems) {
    let mut valid = Class::ALL.map(Class::plural).to_vec();
    valid.push("service");
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        let text = format!("found {}; write a map of {}", node.describe(), valid.join(", "));
        problems.error(node.place.clone(), "", text);
    }
    for entry in node.entries() {
        if !valid.contains(&entry.name.as_str()) {
            let hint = suggest::hint(&entry.name, &valid, "valid keys");
            let text = format!("unknown key {:?}{hint}", entry.name);
            problems.error(entry.place.clone(), "", text);
        }
    }
}

/// All components under one top-level key.
fn shelf(node: &Node, class: Class, catalog: &Catalog, problems: &mut Problems) -> Shelf {
    let mut shelf = Shelf { class, good: Vec::new(), written: Vec::new() };
    let Some(entry) = node.get(class.plural()) else {
        return shelf;
    };
    if !matches!(entry.node.value, Value::Map(_) | Value::Null) {
        let noun = class.noun();
        let found = entry.node.describe();
        let text = format!("found {found}; write a map of {noun} ids to their keys");
        problems.error(entry.node.place.clone(), class.plural(), text);
    }
    for entry in entry.node.entries() {
        shelf.written.push(entry.name.clone());
        shelf.good.extend(configured(entry, class, catalog, problems));
    }
    shelf
}

fn configured(
    entry: &Entry,
    class: Class,
    catalog: &Catalog,
    problems: &mut Problems,
) -> Option<Configured> {
    let name = &entry.name;
    let Some(id) = ComponentId::parse(name) else {
        let text = format!("found the id {name:?}; write type or type/name such as otlp/backup");
        problems.error(entry.place.clone(), class.plural(), text);
        return None;
    };
    let Some(component) = catalog.find(class, id.kind()) else {
        let kind = id.kind();
        let hint = suggest::hint(kind, &catalog.names(class), "valid types");
        let text = format!("unknown type: {kind:?} for id: {name:?}{hint}");
        problems.error(entry.place.clone(), class.plural(), text);
        return None;
    };
    let path = join(class.plural(), name);
    let node = Node { place: entry.place.clone(), ..entry.node.clone() };
    let section = Section::check(&node, component.keys, &path, problems);
    (component.check)(&section, problems);
    Some(Configured { id, component, section, place: entry.place.clone() })
}
