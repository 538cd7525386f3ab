//! How the processors of a pipeline are laid out: which run on the caller's task, which on the
//! pipeline's own, and which share a walk.
//!
//! Inspectors in a row become one processor. A second one of the same type begins a new row: it
//! must see what the first has added, and so must a stateless one (`sensitive`). One that holds
//! items ends its row. A stateless processor leads, unless it can inspect and stands directly before
//! inspectors that hold state; then it joins them, for one walk on one task is cheaper than two on
//! two.

use super::chain::{Chain, Follower, Link};
use super::entry::Leading;
use crate::account::Limit;
use crate::processors::inspect::{Inspector, Row};
use crate::processors::{Built, Stateful, Stateless};
use crate::telemetry::Counter;
use std::sync::Arc;

/// One processor, built, and what goes through it.
pub struct Stage {
    /// The name of its type.
    pub name: &'static str,
    pub incoming: Counter,
    pub outgoing: Counter,
    pub processor: Built,
}

/// The processors of a pipeline in the order of their work.
#[derive(Default)]
pub struct Stages(Vec<Stage>);

impl Stages {
    pub fn push(&mut self, stage: Stage) {
        self.0.push(stage);
    }

    /// The strictest limit on memory of them.
    pub fn limit(&self) -> Option<Limit> {
        let limits = self.0.iter().filter_map(|stage| match &stage.processor {
            Built::Stateless(processor) => processor.limit(),
            Built::Stateful(_) | Built::Inspector(_) => None,
        });
        limits.reduce(Limit::stricter)
    }

    /// What their inspectors want to run before all others.
    pub fn doors(&self) -> Vec<Arc<dyn Stateless>> {
        let doors = self.0.iter().filter_map(|stage| match &stage.processor {
            Built::Inspector(inspector) => inspector.door(),
            Built::Stateless(_) | Built::Stateful(_) => None,
        });
        doors.collect()
    }

    /// What leads, and what runs behind it on the pipeline's own task.
    pub fn arrange(self) -> (Vec<Leading>, Chain) {
        let (mut leading, mut chain) = (vec![], Chain::default());
        for row in rows(self.0) {
            let stateless = row.iter().all(|stage| matches!(stage.processor, Built::Stateless(_)));
            if stateless && chain.is_empty() {
                leading.extend(row.into_iter().filter_map(lead));
            } else if let Some(link) = link(row) {
                chain.push(link);
            }
        }
        (leading, chain)
    }
}

/// Rows of inspectors of different types, and all others alone.
fn rows(stages: Vec<Stage>) -> Vec<Vec<Stage>> {
    let mut rows: Vec<Vec<Stage>> = vec![];
    for stage in stages {
        match rows.last_mut() {
            Some(row) if row.iter().all(|before| joins(before, &stage)) => row.push(stage),
            _ => rows.push(vec![stage]),
        }
    }
    rows
}

fn joins(before: &Stage, stage: &Stage) -> bool {
    let is_stateless = matches!(stage.processor, Built::Stateless(_));
    let holds = matches!(&before.processor, Built::Inspector(inspector) if inspector.may_hold());
    before.name != stage.name && !is_stateless && !holds && inspects(before) && inspects(stage)
}

fn inspects(stage: &Stage) -> bool {
    match &stage.processor {
        Built::Stateless(processor) => processor.inspector().is_some(),
        Built::Stateful(_) => false,
        Built::Inspector(_) => true,
    }
}

fn lead(stage: Stage) -> Option<Leading> {
    let Stage { incoming, outgoing, processor, .. } = stage;
    match processor {
        Built::Stateless(processor) => Some(Leading { incoming, outgoing, processor }),
        Built::Stateful(_) | Built::Inspector(_) => None,
    }
}

/// A row as one processor of the chain; `None` for an empty one.
fn link(row: Vec<Stage>) -> Option<Link<dyn Stateful>> {
    let (first, last) = (row.first()?, row.last()?);
    let (incoming, outgoing) = (first.incoming.clone(), last.outgoing.clone());
    let pairs = row.iter().zip(row.iter().skip(1));
    let between = pairs.map(|(stage, next)| (stage.outgoing.clone(), next.incoming.clone()));
    let between = between.collect();
    let mut inspectors: Vec<Box<dyn Inspector>> = vec![];
    for stage in row {
        match stage.processor {
            Built::Inspector(inspector) => inspectors.push(inspector),
            Built::Stateful(processor) => return Some(Link { incoming, outgoing, processor }),
            Built::Stateless(processor) => match processor.inspector() {
                Some(inspector) => inspectors.push(inspector),
                None => {
                    let processor = Box::new(Follower(processor));
                    return Some(Link { incoming, outgoing, processor });
                }
            },
        }
    }
    Some(Link { incoming, outgoing, processor: Box::new(Row::new(inspectors, between)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::config::Section;
    use crate::processors::{LIST, Setup};
    use crate::telemetry::Registry;

    /// How many of these processors lead, and how many links of the chain the others make.
    fn arranged(names: &[&str]) -> (usize, usize) {
        let registry = Registry::default();
        let mut stages = Stages::default();
        for id in names {
            let kind = LIST.iter().find(|kind| kind.component.name == *id).expect("it is listed");
            let section = Section::from_yaml(kind.component.keys, "{}").expect("defaults hold");
            let setup = Setup::new(id, "traces", Signal::Traces, &registry);
            let (name, processor) = (kind.component.name, (kind.build)(&section, &setup));
            let counter = |name: &str| registry.counter(name, "items", &[("processor", id)]);
            let (incoming, outgoing) = (counter("in"), counter("out"));
            stages.push(Stage { name, incoming, outgoing, processor });
        }
        let (leading, chain) = stages.arrange();
        (leading.len(), chain.len())
    }

    #[test]
    fn inspectors_in_a_row_are_one_and_stateless_ones_lead_or_join() {
        let cases: &[(&[&str], (usize, usize))] = &[
            (&[], (0, 0)),
            (&["sensitive"], (1, 0)),
            (&["filter", "sensitive"], (2, 0)),
            (&["sensitive", "baggage", "orphans"], (0, 1)),
            (&["filter", "sensitive", "baggage"], (1, 1)),
            (&["sensitive", "filter", "baggage", "orphans"], (2, 1)),
            (&["baggage", "filter", "orphans"], (0, 3)),
            (&["baggage", "baggage"], (0, 2)),
            (&["sensitive", "baggage", "sensitive"], (0, 2)),
            (&["baggage", "sensitive"], (0, 2)),
            (&["baggage", "sensitive", "orphans"], (0, 2)),
        ];
        for (names, expected) in cases {
            assert_eq!(arranged(names), *expected, "{names:?}");
        }
    }
}
