//! How the processors of a pipeline are laid out: which run on the caller's task, which on the
//! pipeline's own, and which share a walk.
//!
//! Inspectors in a row become one processor. A second one of the same type begins a new row: it
//! must see what the first has added, and so must a stateless one (`sensitive`). One that holds
//! items ends its row. A stateless processor leads, unless it can inspect and stands directly
//! before inspectors that hold state; then it joins them, for one walk on one task is cheaper than
//! two on two. Before a journal it leads in any case: what it takes out must not rest on disk.

use super::book::Book;
use super::chain::{Chain, Follower, Link};
use super::entry::Leading;
use crate::account::Limit;
use crate::processors::inspect::Inspector;
use crate::processors::row::Row;
use crate::processors::{Built, Stateful, Stateless};
use crate::telemetry::Counter;
use std::sync::Arc;

/// One processor, built, and what goes through it.
pub struct Stage {
    pub id: String,
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

    /// The first that takes out what is sensitive and stands behind one that holds state.
    pub fn takes_out_late(&self) -> Option<&str> {
        let late = self.0.iter().skip_while(|stage| is_stateless(stage));
        late.filter(|stage| stage.name == "sensitive").map(|stage| stage.id.as_str()).next()
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
    pub fn arrange(self, journal: bool, book: &Arc<Book>) -> (Vec<Leading>, Chain) {
        let (mut leading, mut chain) = (vec![], Chain::new(book.clone()));
        for row in rows(self.0, journal) {
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

/// Rows of inspectors of different types, and all others alone; with a `journal`, those too that
/// it stands behind.
fn rows(stages: Vec<Stage>, journal: bool) -> Vec<Vec<Stage>> {
    let mut rows: Vec<Vec<Stage>> = vec![];
    let mut leads = journal;
    for stage in stages {
        let led = leads;
        leads &= is_stateless(&stage);
        match rows.last_mut() {
            Some(row) if !led && row.iter().all(|before| joins(before, &stage)) => row.push(stage),
            _ => rows.push(vec![stage]),
        }
    }
    rows
}

fn is_stateless(stage: &Stage) -> bool {
    matches!(stage.processor, Built::Stateless(_))
}

fn joins(before: &Stage, stage: &Stage) -> bool {
    let holds = matches!(&before.processor, Built::Inspector(inspector) if inspector.may_hold());
    let inspect = inspects(before) && inspects(stage);
    before.name != stage.name && !is_stateless(stage) && !holds && inspect
}

fn inspects(stage: &Stage) -> bool {
    match &stage.processor {
        Built::Stateless(processor) => processor.inspector().is_some(),
        Built::Stateful(_) => false,
        Built::Inspector(_) => true,
    }
}

fn lead(stage: Stage) -> Option<Leading> {
    let Stage { id, incoming, outgoing, processor, .. } = stage;
    match processor {
        Built::Stateless(processor) => Some(Leading { id, incoming, outgoing, processor }),
        Built::Stateful(_) | Built::Inspector(_) => None,
    }
}

/// A row as one processor of the chain; `None` for an empty one.
fn link(row: Vec<Stage>) -> Option<Link<dyn Stateful>> {
    let (first, last) = (row.first()?, row.last()?);
    let (incoming, outgoing) = (first.incoming.clone(), last.outgoing.clone());
    let ids: Vec<&str> = row.iter().map(|stage| stage.id.as_str()).collect();
    let id = ids.join("+");
    let pairs = row.iter().zip(row.iter().skip(1));
    let between = pairs.map(|(stage, next)| (stage.outgoing.clone(), next.incoming.clone()));
    let between = between.collect();
    let mut inspectors: Vec<Box<dyn Inspector>> = vec![];
    for stage in row {
        match stage.processor {
            Built::Inspector(inspector) => inspectors.push(inspector),
            Built::Stateful(processor) => return Some(Link { id, incoming, outgoing, processor }),
            Built::Stateless(processor) => match processor.inspector() {
                Some(inspector) => inspectors.push(inspector),
                None => {
                    let processor = Box::new(Follower(processor));
                    return Some(Link { id, incoming, outgoing, processor });
                }
            },
        }
    }
    Some(Link { id, incoming, outgoing, processor: Box::new(Row::new(inspectors, between)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::config::Section;
    use crate::processors::{LIST, Setup};
    use crate::telemetry::Registry;

    /// How many of these processors lead, and how many links of the chain the others make.
    fn arranged(names: &[&str], journal: bool) -> (usize, usize) {
        let registry = Registry::default();
        let mut stages = Stages::default();
        for id in names {
            let kind = LIST.iter().find(|kind| kind.component.name == *id).expect("it is listed");
            let section = Section::from_yaml(kind.component.keys, "{}").expect("defaults hold");
            let setup = Setup::new(id, "traces", Signal::Traces, &registry);
            let (name, processor) = (kind.component.name, (kind.build)(&section, &setup));
            let counter = |name: &str| registry.counter(name, "items", &[("processor", id)]);
            let (incoming, outgoing) = (counter("in"), counter("out"));
            stages.push(Stage { id: (*id).to_owned(), name, incoming, outgoing, processor });
        }
        let (leading, chain) = stages.arrange(journal, &Book::new("traces", &[], &registry));
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
            assert_eq!(arranged(names, false), *expected, "{names:?}");
        }
    }

    #[test]
    fn what_takes_out_leads_before_a_journal() {
        let cases: &[(&[&str], (usize, usize))] = &[
            (&["sensitive", "baggage", "orphans"], (1, 1)),
            (&["filter", "sensitive", "trace_window", "baggage", "orphans"], (2, 2)),
            (&["baggage", "orphans"], (0, 1)),
            (&["sensitive"], (1, 0)),
        ];
        for (names, expected) in cases {
            assert_eq!(arranged(names, true), *expected, "{names:?}");
        }
    }
}
