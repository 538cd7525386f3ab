//! What became of all that a pipeline accepted, by each way out of it, at any time:
//!
//! ```text
//! accepted + recovered + made = delivered + dead-lettered + dropped by a named rule + queued
//! ```
//!
//! in spans, log records or data points. What a processor tells by items of its own is `made`.
//! `queued` counts up when items come in and down when their end is known, wherever they are
//! meanwhile: in a journal, held by a processor, in a queue or on their way. So one that is
//! forgotten somewhere stays in it, and at rest it must be zero.

use crate::batch::{Fate, Tally};
use crate::telemetry::{Counter, Gauge, Registry};
use std::sync::Arc;

const DROPPED: &str = "spanloom_pipeline_dropped_items";
const DROPPED_HELP: &str = "items that a rule dropped";

const MADE: &str = "spanloom_pipeline_made_items";
const MADE_HELP: &str = "items that processors made to tell something";

/// The book of one pipeline.
pub struct Book {
    pipeline: String,
    accepted: Counter,
    recovered: Counter,
    ways: Vec<Arc<Way>>,
    registry: Registry,
}

/// What left a pipeline by one of its exporters or connectors.
pub struct Way {
    pipeline: String,
    exporter: String,
    delivered: Counter,
    dead_lettered: Counter,
    queued: Gauge,
    registry: Registry,
}

impl Book {
    pub fn new(pipeline: &str, exporters: &[&str], registry: &Registry) -> Arc<Book> {
        let counter = |name: &str, help: &str| {
            let name = format!("spanloom_pipeline_{name}_items");
            registry.counter(&name, help, &[("pipeline", pipeline)])
        };
        let way = |exporter: &&str| {
            let labels = [("pipeline", pipeline), ("exporter", *exporter)];
            let counter = |name: &str, help: &str| {
                let name = format!("spanloom_pipeline_{name}_items");
                registry.counter(&name, help, &labels)
            };
            let help = "items whose end is not known yet";
            let queued = registry.gauge("spanloom_pipeline_queued_items", help, &labels);
            Arc::new(Way {
                pipeline: pipeline.to_owned(),
                exporter: (*exporter).to_owned(),
                delivered: counter("delivered", "items that the backend has"),
                dead_lettered: counter("dead_lettered", "items refused for good and kept in files"),
                queued,
                registry: registry.clone(),
            })
        };
        Arc::new(Book {
            pipeline: pipeline.to_owned(),
            accepted: counter("accepted", "items that came in"),
            recovered: counter("recovered", "items that came out of the journal after a start"),
            ways: exporters.iter().map(way).collect(),
            registry: registry.clone(),
        })
    }

    pub fn way(&self, number: usize) -> Option<Arc<Way>> {
        self.ways.get(number).cloned()
    }

    pub fn accepted(&self, items: usize) {
        self.accepted.add(items);
        self.queue(items as i64);
    }

    pub fn recovered(&self, items: usize) {
        self.recovered.add(items);
        self.queue(items as i64);
    }

    /// Processors made items of their own.
    pub fn made(&self, id: &str, items: usize) {
        if items > 0 {
            let labels = [("pipeline", &*self.pipeline), ("processor", id)];
            self.registry.counter(MADE, MADE_HELP, &labels).add(items);
            self.queue(items as i64);
        }
    }

    /// A rule of the pipeline itself dropped items, whichever way they would have left.
    pub fn dropped(&self, rule: &str, items: usize) {
        if items > 0 {
            let labels = [("pipeline", &*self.pipeline), ("exporter", ""), ("rule", rule)];
            self.registry.counter(DROPPED, DROPPED_HELP, &labels).add(items);
            self.queue(-(items as i64));
        }
    }

    /// Ends the book: what is still queued stays in the journal, or was given up by a task that
    /// died.
    pub fn close(&self) {
        for way in &self.ways {
            let left = usize::try_from(way.queued.value()).unwrap_or(0);
            if left > 0 {
                way.ended(Fate::Dropped("left_in_journal"), left);
            }
        }
    }

    fn queue(&self, items: i64) {
        self.ways.iter().for_each(|way| way.queued.add(items));
    }
}

impl Tally for Way {
    fn ended(&self, fate: Fate, items: usize) {
        match fate {
            Fate::Delivered => self.delivered.add(items),
            Fate::DeadLettered => self.dead_lettered.add(items),
            Fate::Dropped(rule) => {
                let (pipeline, exporter) = (&*self.pipeline, &*self.exporter);
                let labels = [("pipeline", pipeline), ("exporter", exporter), ("rule", rule)];
                self.registry.counter(DROPPED, DROPPED_HELP, &labels).add(items);
            }
        }
        self.queued.add(-(items as i64));
    }
}
