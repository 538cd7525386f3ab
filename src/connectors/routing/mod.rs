//! `routing`: sends what comes to different pipelines, by conditions. Keys and meaning are the
//! Collector's.
//!
//! The table is asked in its order, for each resource, span or log record. A route that holds
//! moves it to its pipelines, which ends its way; with `action: copy` the later routes are asked
//! too. What no route has moved goes to `default_pipelines`; without them it is dropped, which is
//! counted (`spanloom_routing_dropped_items`) and said once.
//!
//! A batch of which all goes one way is handed on as it is, without a copy. One that is split
//! repeats in each part what stands around the items; no pipeline gets an item twice, even if two
//! routes lead there.
//!
//! A condition can have no answer for an item (a function found the wrong type). Then
//! `error_mode` decides: `propagate` refuses the whole request, `ignore` and `silent` take it as
//! false, the one with a line in the log and the other without.
//!
//! Absent: conditions on metadata of requests, on metrics and their points (a resource may be
//! routed), and statements that change data.

mod read;
mod walk;

use super::{Connector, Kind, Out, Setup};
use crate::batch::Batch;
use crate::condition::{Conditions, Failure};
use crate::config::catalog::SIGNALS;
use crate::config::{Class, Component, Problems, Section};
use crate::otlp::partition::partition;
use crate::telemetry::Counter;
use crate::verdict::{Refusal, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use walk::{Walk, Ways};

const SAMPLE: &str = r#"# no default: what no route moves is dropped, counted and said once
default_pipelines: [traces/rest]
error_mode: ignore        # propagate refuses the request if a condition has no answer
table:
  - context: resource     # span, log; left out, the paths name it: span.name
    condition: attributes["deployment.environment"] == "test"
    pipelines: [traces/test]
  - statement: route() where span.status.code == STATUS_CODE_ERROR
    action: copy          # later routes are asked as well; move is the default
    pipelines: [traces/errors]
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Connector,
        name: "routing",
        aliases: &[],
        about: "sends data to different pipelines by conditions",
        sample: SAMPLE,
        signals: &SIGNALS,
        keys: read::KEYS,
        check: |section, problems| {
            read::table(section, problems);
        },
    },
    build: |section, setup| Arc::new(Routing::new(section, setup)),
};

/// What happens if a condition has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorMode {
    Propagate,
    Ignore,
    Silent,
}

/// What a route asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Resource,
    /// A span or log record.
    Item,
}

/// A route as it is written.
struct Route {
    level: Level,
    /// The place of its condition among those of its level; `None` if it is always taken.
    condition: Option<usize>,
    text: String,
    copies: bool,
    pipelines: Vec<String>,
}

/// A route that knows where its pipelines are.
struct Leading {
    level: Level,
    condition: Option<usize>,
    text: String,
    copies: bool,
    targets: Vec<usize>,
}

/// The connector.
struct Routing {
    id: String,
    routes: Vec<Leading>,
    resource: Conditions,
    item: Conditions,
    default: Vec<usize>,
    mode: ErrorMode,
    dropped: Counter,
    errors: Counter,
    /// Whether the log has said that something is dropped.
    has_warned: AtomicBool,
    failures: AtomicUsize,
}

impl Routing {
    fn new(section: &Section, setup: &Setup<'_>) -> Routing {
        let table = read::table(section, &mut Problems::new());
        let places = |ids: &[String]| -> Vec<usize> {
            let place = |id: &String| setup.pipelines.iter().position(|known| known == id);
            ids.iter().filter_map(place).collect()
        };
        let labels = [("connector", setup.id), ("otel_signal", setup.signal.name())];
        let counter = |name, about| setup.registry.counter(name, about, &labels);
        Routing {
            id: setup.id.to_owned(),
            routes: table
                .routes
                .into_iter()
                .map(|route| Leading {
                    targets: places(&route.pipelines),
                    level: route.level,
                    condition: route.condition,
                    text: route.text,
                    copies: route.copies,
                })
                .collect(),
            resource: table.resource,
            item: table.item,
            default: places(section.list("default_pipelines")),
            mode: read::mode(section),
            dropped: counter("spanloom_routing_dropped_items", "items that no route took"),
            errors: counter("spanloom_routing_errors", "conditions without an answer"),
            has_warned: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
        }
    }

    /// Notes that a condition had no answer; the error is the sentence of a refusal.
    fn failed(&self, route: &Leading, failure: Failure) -> Result<(), String> {
        self.errors.add(1);
        match self.mode {
            ErrorMode::Silent => Ok(()),
            ErrorMode::Propagate => Err(format!(
                "{}: the condition `{}` has no answer: {failure} (error_mode is propagate)",
                self.id, route.text
            )),
            ErrorMode::Ignore => {
                // Not once per item, which is what floods a log: at 1, 2, 4, 8, ...
                let count = self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                if count.is_power_of_two() {
                    let (connector, condition) = (&self.id, &route.text);
                    tracing::warn!(
                        connector,
                        count,
                        condition,
                        "a condition has no answer and counts as false: {failure}"
                    );
                }
                Ok(())
            }
        }
    }

    fn drop_items(&self, items: usize) {
        self.dropped.add(items);
        if items > 0 && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connector = self.id,
                "no route takes some of the data and there are no default_pipelines: it is \
                 dropped, and counted in spanloom_routing_dropped_items"
            );
        }
    }

    /// Hands a batch on whose items go different ways.
    fn split(&self, batch: Batch, ways: &Ways, out: &mut Out) {
        let mut items = ways.items.iter().copied();
        let next = |_: crate::otlp::wire::Message<'_>| items.next().unwrap_or_default();
        for (set, part) in partition(batch.signal().message(), batch.bytes(), next) {
            match ways.sets.get(set).map(Vec::as_slice).unwrap_or_default() {
                [] => self.drop_items(part.items),
                set => {
                    out.pass_to_all(set.iter().copied(), batch.part(part.bytes, part.items));
                }
            }
        }
        // The parts have their own claims to the answer.
        batch.settle(&Verdict::Accepted);
    }
}

impl Connector for Routing {
    fn connect(&self, batch: Batch, out: &mut Out) {
        let ways = match Walk::new(self).request(batch.request()) {
            Ok(ways) => ways,
            Err(reason) => {
                return batch.settle(&Verdict::refused(Refusal::Internal, reason));
            }
        };
        match ways.sets.as_slice() {
            [] => batch.settle(&Verdict::Accepted),
            [set] => {
                if set.is_empty() {
                    self.drop_items(batch.items());
                }
                out.pass_to_all(set.iter().copied(), batch);
            }
            _ => self.split(batch, &ways, out),
        }
    }
}

#[cfg(test)]
mod tests;
