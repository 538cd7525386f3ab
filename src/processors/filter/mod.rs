//! `filter`: drops what a condition holds for. Keys and meaning are the Collector's.
//!
//! Conditions stand under the level that they are asked about; one that holds is enough to drop.
//! What is inside something dropped is not asked about. Scopes and resources that this leaves
//! empty go too; those that came empty stay. If all events of a span go, the span stays.
//!
//! A condition can have no answer for an item (a function found the wrong type). Then
//! `error_mode` decides: `propagate` refuses the whole request, `ignore` and `silent` take it as
//! false, the one with a line in the log and the other without.
//!
//! Ours, beyond the Collector:
//!
//! - Spans count the events that they lose in `dropped_events_count`.
//! - `keep_structure: true` keeps a span that would be dropped, with ids, name, kind, times,
//!   status code, flags and trace state, and without attributes, events, links and status
//!   message (counted in `dropped_*_count`), so that its children keep their parent.
//! - Mistakes in all conditions are reported together, each with line and column.
//!
//! Counters: `otelcol_processor_filter_{spans,logs,datapoints}_filtered`, and
//! `spanloom_filter_{reduced_spans,removed_events,errors}`.
//!
//! Absent: conditions on metrics and their points (a resource may be dropped), profiles, and the
//! Collector's older include/exclude form, whose error shows the new one.

mod read;
mod visit;

use super::walk;
use super::{Built, Kind, Out, Setup, Stateless};
use crate::batch::{Batch, Signal};
use crate::condition::{Conditions, Failure};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems};
use crate::moment::Moment;
use crate::telemetry::Counter;
use crate::verdict::{Refusal, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use visit::Walk;

const OLD_FORM: &str = "the include/exclude form has been replaced by conditions, of which one \
    that holds drops: `exclude: {match_type: regexp, services: [web], span_names: [\"^health\"]}` \
    under `spans` is now `traces: {span: ['resource.attributes[\"service.name\"] == \"web\" and \
    IsMatch(name, \"^health\")']}`, and `include` the same with `not (...)`";

const BELOW: &str = "metrics pass as they are and can be dropped by their resource alone; use \
    `resource`";

const MODES: &[&str] = &["ignore", "silent", "propagate"];

const TRACES: &[Key] = &[
    Key::any("resource", "conditions on resources: one that holds drops all spans of the resource"),
    Key::any("span", "conditions on spans"),
    Key::any("spanevent", "conditions on span events"),
];

const METRICS: &[Key] = &[
    Key::any("resource", "conditions on resources: one that holds drops all metrics of it"),
    Key::unsupported("metric", BELOW),
    Key::unsupported("datapoint", BELOW),
    Key::unsupported("include", OLD_FORM),
    Key::unsupported("exclude", OLD_FORM),
];

const LOGS: &[Key] = &[
    Key::any("resource", "conditions on resources: one that holds drops all records of it"),
    Key::any("log_record", "conditions on log records"),
    Key::unsupported("include", OLD_FORM),
    Key::unsupported("exclude", OLD_FORM),
];

const KEYS: &[Key] = &[
    Key::choice(
        "error_mode",
        MODES,
        "propagate",
        "what happens if a condition has no answer: count it as false and log it, count it as \
         false, or refuse the request",
    ),
    Key::object("traces", TRACES, "what to drop of traces"),
    Key::object("metrics", METRICS, "what to drop of metrics"),
    Key::object("logs", LOGS, "what to drop of logs"),
    Key::any("trace_conditions", "the same in one list; the paths name their context: span.name"),
    Key::any("log_conditions", "the same for logs: log.body"),
    Key::any("metric_conditions", "the same for metrics: resource.attributes alone"),
    Key::bool(
        "keep_structure",
        false,
        "keep spans that would be dropped, without attributes, events, links and status message",
    ),
    Key::unsupported("spans", OLD_FORM),
    Key::unsupported("profiles", "profiles are no signal here"),
];

const SAMPLE: &str = r#"# without an answer: ignore (false, logged), silent (false), propagate
error_mode: ignore
# one condition that holds drops; what is inside is not asked about
traces:
  resource:
    - attributes["service.name"] == "load-test"
  span:
    - name == "GET /healthz" and IsRootSpan()
    - IsMatch(attributes["url.path"], "^/internal/") and status.code != STATUS_CODE_ERROR
  spanevent:
    - name == "heartbeat"
metrics:
  resource:
    - attributes["service.name"] == "load-test"
logs:
  log_record:
    - severity_number != 0 and severity_number < SEVERITY_NUMBER_INFO
# the same in one list each, with the context in the paths (not together with the above):
#   - span.name == "GET /healthz"
trace_conditions: []
log_conditions: []
metric_conditions: []
# keep dropped spans without attributes, events, links and status message: children keep parents
keep_structure: false
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "filter",
        aliases: &[],
        about: "drops spans, span events, log records and whole resources by conditions",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: KEYS,
        check: |section, problems| {
            for signal in Signal::ALL {
                read::levels(section, signal, problems);
            }
        },
    },
    build: |section, setup| {
        let levels = read::levels(section, setup.signal, &mut Problems::new());
        let keep_structure = section.bool("keep_structure");
        Built::Stateless(Arc::new(Filter::new(levels, keep_structure, setup)))
    },
};

/// What happens if a condition has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorMode {
    Ignore,
    Silent,
    Propagate,
}

/// The conditions on one level, each with its mode and text.
struct Rules {
    conditions: Conditions,
    notes: Vec<(ErrorMode, String)>,
}

/// The conditions by level.
struct Levels {
    resource: Rules,
    scope: Rules,
    /// On spans or log records.
    item: Rules,
    event: Rules,
}

/// The processor.
struct Filter {
    id: String,
    levels: Levels,
    keep_structure: bool,
    counters: Counters,
    /// Whether the log has said what dropping spans does to their children.
    has_warned: AtomicBool,
    failures: AtomicUsize,
}

struct Counters {
    /// Spans, log records or data points.
    items: Counter,
    reduced: Counter,
    events: Counter,
    errors: Counter,
}

impl Filter {
    fn new(levels: Levels, keep_structure: bool, setup: &Setup<'_>) -> Filter {
        let items = match setup.signal {
            Signal::Traces => "otelcol_processor_filter_spans_filtered",
            Signal::Logs => "otelcol_processor_filter_logs_filtered",
            Signal::Metrics => "otelcol_processor_filter_datapoints_filtered",
        };
        let counter = |name, help| setup.counter(name, help, &[]);
        Filter {
            id: setup.id.to_owned(),
            levels,
            keep_structure,
            counters: Counters {
                items: counter(items, "Items dropped by conditions."),
                reduced: counter(
                    "spanloom_filter_reduced_spans",
                    "Spans kept without content by keep_structure.",
                ),
                events: counter("spanloom_filter_removed_events", "Span events dropped."),
                errors: counter("spanloom_filter_errors", "Conditions without an answer."),
            },
            has_warned: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
        }
    }

    /// Notes that a condition had no answer; the error refuses the request.
    fn failed(&self, rules: &Rules, place: usize, failure: Failure) -> Result<(), Verdict> {
        self.counters.errors.add(1);
        let Some((mode, text)) = rules.notes.get(place) else { return Ok(()) };
        let context = rules.conditions.context().name();
        match mode {
            ErrorMode::Silent => Ok(()),
            ErrorMode::Propagate => Err(Verdict::refused(
                Refusal::Internal,
                format!(
                    "{}: the condition `{text}` on {context} has no answer: {failure} \
                     (error_mode is propagate)",
                    self.id
                ),
            )),
            ErrorMode::Ignore => {
                // Not once per item, which is what floods a log: at 1, 2, 4, 8, ...
                let count = self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                if count.is_power_of_two() {
                    tracing::warn!(
                        processor = self.id,
                        count,
                        condition = text,
                        "a condition on {context} \
                         has no answer and counts as false: {failure}"
                    );
                }
                Ok(())
            }
        }
    }

    /// Says once what dropping spans does.
    fn warn_of_orphans(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                processor = self.id,
                "the first span is dropped; if a dropped span has children, they arrive without \
                 their parent; keep_structure: true keeps such spans without their content"
            );
        }
    }
}

impl Stateless for Filter {
    fn process(&self, batch: Batch, _now: Moment, out: &mut Out) {
        let signal = batch.signal();
        walk::edit(batch, out, |request, edits| {
            let mut visit = Walk::new(self, signal);
            let dropped = walk::walk(signal, request, &mut visit, edits)?;
            if dropped > 0 && signal == Signal::Traces {
                self.warn_of_orphans();
            }
            self.counters.items.add(dropped);
            self.counters.reduced.add(visit.reduced);
            self.counters.events.add(visit.events);
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests;
