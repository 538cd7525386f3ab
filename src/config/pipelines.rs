//! `service::pipelines` and `service::extensions`: references that must lead somewhere.

use super::catalog::{Class, SIGNALS};
use super::document::{ComponentId, Configured, Pipeline, Shelf};
use super::key::Key;
use super::node::{Entry, Node, Place, Value};
use super::problem::Problems;
use super::routes;
use super::section::{Section, join};
use super::suggest;
use crate::limits;

/// The keys of one pipeline.
pub const PIPELINE: &[Key] = &[
    Key::list_of_text("receivers", &[], "ids of receivers or connectors, at least one"),
    Key::list_of_text("processors", &[], "ids of processors in the order of their work"),
    Key::list_of_text("exporters", &[], "ids of exporters or connectors, at least one"),
    Key::int(
        "shards",
        0,
        0..=limits::PIPELINE_SHARDS_MAX,
        "tasks among which its traces are divided; 0: one for every two worker threads",
    ),
];

const SERVICE: &[Key] = &[
    Key::list_of_text("extensions", &[], "ids of the extensions to start"),
    Key::any("pipelines", "signal, or signal/name, to its receivers, processors and exporters"),
    Key::any("telemetry", "own logs and metrics"),
];

/// What `service` says apart from telemetry.
pub(super) struct Found {
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) extensions: Vec<ComponentId>,
}

/// Checks `service` against the components that are written. `place` is where its key stands.
pub(super) fn check(
    service: &Node,
    place: &Place,
    shelves: &[Shelf; 5],
    problems: &mut Problems,
) -> Found {
    let located = Node { place: place.clone(), ..service.clone() };
    Section::check(&located, SERVICE, "service", problems);
    let mut walk = Walk { shelves, problems, used: Vec::new() };
    let extensions = walk.references(service, "extensions", "service", &[Class::Extension], None);
    let pipelines = walk.pipelines(service, place);
    walk.connectors();
    let [.., connectors, _] = shelves;
    routes::check(&pipelines, &connectors.good, walk.problems);
    walk.unused();
    walk.named_extensions(&extensions);
    Found { pipelines, extensions }
}

struct Walk<'a> {
    shelves: &'a [Shelf; 5],
    problems: &'a mut Problems,
    /// Class, id and the list it stands in, of every reference.
    used: Vec<(Class, ComponentId, &'static str)>,
}

impl Walk<'_> {
    fn pipelines(&mut self, service: &Node, place: &Place) -> Vec<Pipeline> {
        let path = "service::pipelines";
        let Some(entry) = service.get("pipelines").filter(|entry| !entry.node.is_null()) else {
            let right = "write pipelines: {traces: {receivers: [...], exporters: [...]}}";
            self.problems.error(place.clone(), path, format!("has no pipeline; {right}"));
            return Vec::new();
        };
        if !matches!(entry.node.value, Value::Map(_)) || entry.node.entries().is_empty() {
            let found = entry.node.describe();
            let right = "write a map with at least one of traces, metrics, logs";
            let place = entry.node.place.clone();
            self.problems.error(place, path, format!("found {found}; {right}"));
        }
        entry.node.entries().iter().filter_map(|entry| self.pipeline(entry)).collect()
    }

    fn pipeline(&mut self, entry: &Entry) -> Option<Pipeline> {
        let name = entry.name.as_str();
        let kind = name.split_once('/').map_or(name, |(kind, _)| kind);
        let signal = SIGNALS.iter().copied().find(|signal| *signal == kind);
        let (Some(signal), Some(id)) = (signal, ComponentId::parse(name)) else {
            let hint = suggest::hint(kind, &SIGNALS, "valid signals");
            let text = format!("unknown signal {kind:?} in the id {name:?}{hint}");
            self.problems.error(entry.place.clone(), "service::pipelines", text);
            return None;
        };
        let path = join("service::pipelines", name);
        let located = Node { place: entry.place.clone(), ..entry.node.clone() };
        let section = Section::check(&located, PIPELINE, &path, self.problems);
        let shards = section.count("shards");
        if signal == "metrics" && shards > 1 {
            let text = "divides traces, and metrics are of none; leave it out";
            section.error(self.problems, "shards", text);
        }
        let signal_of = Some(signal);
        let node = &located;
        let inlets = [Class::Receiver, Class::Connector];
        let outlets = [Class::Exporter, Class::Connector];
        let receivers = self.references(node, "receivers", &path, &inlets, signal_of);
        let processors = self.references(node, "processors", &path, &[Class::Processor], signal_of);
        self.windowed(&processors, &path, &located.place);
        let exporters = self.references(node, "exporters", &path, &outlets, signal_of);
        let place = entry.place.clone();
        Some(Pipeline { id, signal, receivers, processors, exporters, shards, place })
    }

    /// Whether `orphans` that rewrite stand behind a window: whoever rewrites a fragment must have
    /// it whole.
    fn windowed(&mut self, processors: &[ComponentId], path: &str, place: &Place) {
        let found = processors.iter().filter_map(|id| self.find(Class::Processor, id.as_str()));
        let found: Vec<&Configured> = found.collect();
        let is = |configured: &&Configured, name| configured.component.name == name;
        let window = found.iter().position(|configured| is(configured, "trace_window"));
        let rewrites = found.iter().position(|configured| {
            let section = &configured.section;
            is(configured, "orphans") && section.is_set("mode") && section.text("mode") == "rewrite"
        });
        if let Some(at) = rewrites
            && window.is_none_or(|window| window > at)
        {
            let text = "processor `orphans` with `mode: rewrite` must stand behind `trace_window`, \
                        since whoever rewrites a fragment must have it whole; list `trace_window` \
                        before it, or use `mode: link`";
            self.problems.error(place.clone(), path, text.to_owned());
        }
    }

    /// The references in the list `key` of `node`, each checked; only good ones are returned.
    fn references(
        &mut self,
        node: &Node,
        key: &'static str,
        path: &str,
        classes: &[Class],
        signal: Option<&'static str>,
    ) -> Vec<ComponentId> {
        let written = written(node.get(key));
        let must = matches!(key, "receivers" | "exporters");
        if must && written.as_ref().is_some_and(Vec::is_empty) {
            let noun = key.trim_end_matches('s');
            let place = node.get(key).map_or(&node.place, |entry| &entry.place);
            let text = format!("must have at least one {noun}");
            self.problems.error(place.clone(), path, text);
        }
        let mut ids: Vec<ComponentId> = Vec::new();
        for (text, place) in written.unwrap_or_default() {
            let noun = key.trim_end_matches('s');
            if ids.iter().any(|id| id.as_str() == text) {
                let text = format!("references {noun} {text:?} more than once");
                self.problems.error(place, path, text);
                continue;
            }
            match self.resolve(&text, classes) {
                Ok(class) => {
                    self.fits(&text, class, signal, &place, path);
                    if let Some(id) = ComponentId::parse(&text) {
                        self.used.push((class, id.clone(), key));
                        ids.push(id);
                    }
                }
                Err(hint) => {
                    let text = format!("references {noun} {text:?} which is not configured{hint}");
                    self.problems.error(place, path, text);
                }
            }
        }
        ids
    }

    /// The class under which an id is written, else a hint at what was meant.
    fn resolve(&self, id: &str, classes: &[Class]) -> Result<Class, String> {
        let shelves = || self.shelves.iter().filter(|shelf| classes.contains(&shelf.class));
        let found = shelves().find(|shelf| shelf.written.iter().any(|written| written == id));
        found.map(|shelf| shelf.class).ok_or_else(|| {
            let known: Vec<&str> =
                shelves().flat_map(|shelf| shelf.written.iter().map(String::as_str)).collect();
            let noun = classes.first().map_or("components", |class| class.plural());
            suggest::hint(id, &known, &format!("configured {noun}"))
        })
    }

    /// Whether the component takes the signal. Connectors are checked with what they join.
    fn fits(
        &mut self,
        id: &str,
        class: Class,
        signal: Option<&'static str>,
        place: &Place,
        path: &str,
    ) {
        let (Some(signal), Some(found)) = (signal, self.find(class, id)) else {
            return;
        };
        let signals = found.component.signals;
        if class == Class::Connector || signals.contains(&signal) {
            return;
        }
        let (noun, right) = (class.noun(), signals.join(" and "));
        let text = format!("{noun} {id:?} does not take {signal}; it takes {right}");
        self.problems.error(place.clone(), path, text);
    }

    fn find(&self, class: Class, id: &str) -> Option<&Configured> {
        let shelf = self.shelves.iter().find(|shelf| shelf.class == class)?;
        shelf.good.iter().find(|configured| configured.id.as_str() == id)
    }

    /// A connector joins two pipelines, and its id must not be an exporter's or receiver's too.
    fn connectors(&mut self) {
        let [receivers, _, exporters, connectors, _] = self.shelves;
        for connector in &connectors.good {
            let id = connector.id.as_str();
            let path = join("connectors", id);
            let (place, used) = (connector.place.clone(), &self.used);
            let uses =
                |key| used.iter().any(|(_, other, list)| *other == connector.id && *list == key);
            match (uses("exporters"), uses("receivers")) {
                (true, false) => self.problems.error(
                    place,
                    path,
                    "ends a pipeline but begins none; list it as a receiver too",
                ),
                (false, true) => self.problems.error(
                    place,
                    path,
                    "begins a pipeline but ends none; list it as an exporter too",
                ),
                _ => {
                    let twice = [receivers, exporters]
                        .into_iter()
                        .find(|shelf| shelf.written.iter().any(|written| written == id));
                    if let Some(shelf) = twice {
                        let text =
                            format!("has the same id as one of the {}", shelf.class.plural());
                        self.problems.error(place, path, text);
                    }
                }
            }
        }
    }

    /// The extensions that components name in their own keys, such as a queue's storage.
    fn named_extensions(&mut self, listed: &[ComponentId]) {
        let known: Vec<&str> = listed.iter().map(ComponentId::as_str).collect();
        let shelves: &[Shelf] = self.shelves;
        for configured in shelves.iter().flat_map(|shelf| &shelf.good) {
            for (id, place, path) in configured.section.extension_ids() {
                if !known.contains(&id) {
                    let hint = suggest::hint(id, &known, "listed extensions");
                    let list = "which is not listed in service::extensions";
                    let text = format!("references extension {id:?} {list}{hint}");
                    self.problems.error(place, path, text);
                }
            }
        }
    }

    fn unused(&mut self) {
        for shelf in self.shelves {
            for configured in &shelf.good {
                let used = |(class, id, _): &(Class, ComponentId, &str)| {
                    *class == shelf.class && *id == configured.id
                };
                if self.used.iter().any(used) {
                    continue;
                }
                let text = match shelf.class {
                    Class::Extension => "is not listed in service::extensions, so it is off",
                    _ => "is not used by any pipeline, so it is off",
                };
                let path = join(shelf.class.plural(), configured.id.as_str());
                self.problems.warning(configured.place.clone(), path, text);
            }
        }
    }
}

/// The texts of a list with their places; `None` where the table check has reported the list.
fn written(entry: Option<&Entry>) -> Option<Vec<(String, Place)>> {
    let Some(entry) = entry else {
        return Some(Vec::new());
    };
    let located = |item: &Node| Some((item.text()?.to_owned(), item.place.clone()));
    match &entry.node.value {
        Value::Null => Some(Vec::new()),
        Value::List(items) => {
            let texts: Vec<_> = items.iter().filter_map(located).collect();
            (texts.len() == items.len() || !texts.is_empty()).then_some(texts)
        }
        _ => entry.node.text().map(|text| {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| (part.to_owned(), entry.node.place.clone())).collect()
        }),
    }
}
