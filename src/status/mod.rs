//! What a running spanloom says of itself: pipelines, components with their metrics, the latest
//! findings. Values without sockets; [`message`] has them as the bytes of
//! `proto/spanloom/status/v1/status.proto`.
//!
//! The graph comes from the document that runs, the numbers from the registry: a component that is
//! added to spanloom appears here, with all it counts, by being configured.

pub mod message;

use crate::config::{Class, Configured, Document};
use crate::telemetry::{Finding, Registry, Series};

/// The one method of the API.
pub const METHOD: &str = "/spanloom.status.v1.StatusService/GetStatus";

/// Where it is served unless the configuration says otherwise.
pub const ADDRESS: &str = "127.0.0.1:55680";

/// The state of a daemon at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub version: String,
    /// Nanoseconds since the Unix epoch.
    pub started: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// Whether telemetry is taken.
    pub ready: bool,
    pub graph: Graph,
    /// Those that belong to no component of the graph.
    pub series: Vec<Series>,
    /// The newest first.
    pub findings: Vec<Finding>,
}

/// What runs: pipelines and components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// In the order of the configuration.
    pub pipelines: Vec<Pipeline>,
    pub components: Vec<Component>,
}

/// A pipeline, by the ids of its components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline {
    pub id: String,
    pub signal: String,
    pub receivers: Vec<String>,
    pub processors: Vec<String>,
    pub exporters: Vec<String>,
}

/// A component and its metrics, these without the label that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// `receiver`, `processor`, `exporter`, `connector` or `extension`.
    pub class: String,
    /// Such as `otlp_grpc/tempo`.
    pub id: String,
    /// Such as `otlp_grpc`.
    pub kind: String,
    pub series: Vec<Series>,
}

impl Graph {
    /// What runs of `document`: what is configured and not used does not.
    pub fn of(document: &Document) -> Graph {
        let mut graph = Graph::default();
        for pipeline in &document.pipelines {
            let texts = |ids: &[crate::config::ComponentId]| {
                ids.iter().map(|id| id.as_str().to_owned()).collect()
            };
            graph.pipelines.push(Pipeline {
                id: pipeline.id.as_str().to_owned(),
                signal: pipeline.signal.to_owned(),
                receivers: texts(&pipeline.receivers),
                processors: texts(&pipeline.processors),
                exporters: texts(&pipeline.exporters),
            });
        }
        for class in Class::ALL {
            let used = document.of(class).iter().filter(|one| graph.uses(class, one));
            let components = used.map(|one| Component {
                class: class.noun().to_owned(),
                id: one.id.as_str().to_owned(),
                kind: one.component.name.to_owned(),
                series: vec![],
            });
            let components: Vec<Component> = components.collect();
            graph.components.extend(components);
        }
        graph
    }

    fn uses(&self, class: Class, configured: &Configured) -> bool {
        let id = configured.id.as_str();
        self.pipelines.iter().any(|pipeline| {
            let ids: &[&Vec<String>] = match class {
                Class::Receiver => &[&pipeline.receivers],
                Class::Processor => &[&pipeline.processors],
                Class::Exporter => &[&pipeline.exporters],
                Class::Connector => &[&pipeline.receivers, &pipeline.exporters],
                // A document has only those that run.
                Class::Extension => return true,
            };
            ids.iter().any(|ids| ids.iter().any(|used| used == id))
        })
    }
}

impl Status {
    /// The state of `graph`: each series goes to the component that its label names. Times, version
    /// and readiness are left to the caller.
    pub fn of(mut graph: Graph, registry: &Registry) -> Status {
        let mut others = vec![];
        for mut series in registry.series() {
            let owner = graph.components.iter_mut().find_map(|component| {
                let names =
                    |(name, id): &(String, String)| *name == component.class && *id == component.id;
                let label = series.labels.iter().position(names)?;
                Some((component, label))
            });
            match owner {
                Some((component, label)) => {
                    series.labels.remove(label);
                    component.series.push(series);
                }
                None => others.push(series),
            }
        }
        let findings = registry.findings.latest();
        Status { graph, series: others, findings, ..Status::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Kind;

    fn component(class: &str, id: &str) -> Component {
        Component { class: class.into(), id: id.into(), ..Component::default() }
    }

    #[test]
    fn each_series_stands_with_the_component_that_it_names() {
        let registry = Registry::default();
        let filtered = [("processor", "filter/a"), ("pipeline", "traces")];
        registry.counter("filtered", "spans", &filtered).add(3);
        registry.gauge("size", "bytes", &[("exporter", "debug")]).set(9);
        // The id of another class, and one that runs no more.
        registry.counter("sent", "spans", &[("exporter", "filter/a")]).add(1);
        let components = vec![component("processor", "filter/a"), component("exporter", "debug")];
        let graph = Graph { components, ..Graph::default() };
        let status = Status::of(graph, &registry);
        let [filter, debug] = &status.graph.components[..] else { panic!("{status:?}") };
        let labels = vec![("pipeline".to_owned(), "traces".to_owned())];
        let series =
            |name: &str, labels, kind, value| Series { name: name.into(), labels, kind, value };
        assert_eq!(filter.series, [series("filtered", labels, Kind::Counter, 3)]);
        assert_eq!(debug.series, [series("size", vec![], Kind::Gauge, 9)]);
        assert_eq!(status.series.len(), 1);
    }
}
