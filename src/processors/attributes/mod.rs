//! `attributes`: actions on the attributes of spans, log records and data points. Keys and meaning
//! are the Collector's; the actions stand in [`super::actions`], `include` and `exclude` in
//! [`super::selection`].
//!
//! Attributes of span events, links and exemplars stay as they are, as in the Collector. Changing
//! those of data points can make two series one: nothing is aggregated here.

use super::actions::{self, Actions, List};
use super::selection::{self, Selection};
use super::walk;
use super::{Built, Kind, Out, Setup, Stateless};
use crate::batch::{Batch, Signal};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{log_record, metric, span};
use crate::otlp::wire::Message;
use crate::verdict::Verdict;
use std::sync::Arc;

const KEYS: &[Key] = &[
    Key::list_of_objects("actions", actions::KEYS, "what to do, in this order").required(),
    Key::optional_object("include", selection::KEYS, "only items that match this are changed"),
    Key::optional_object("exclude", selection::KEYS, "items that match this are not changed"),
];

const SAMPLE: &str = r#"# in this order; hash is SHA-256
actions:
  - {action: insert, key: tenant, from_attribute: app.tenant, default_value: none}
  - {action: hash, key: user.email}
  - {action: delete, pattern: "^internal\\."}
  - {action: extract, key: url.path, pattern: "^/users/(?P<user_id>[0-9]+)"}
  - {action: convert, key: user_id, converted_type: int}
# all that is written must match
include:
  match_type: strict
  services: [web]
exclude:
  match_type: regexp
  attributes: [{key: env, value: "^test"}]
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "attributes",
        aliases: &[],
        about: "sets, deletes, hashes, extracts and converts attributes of items",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: KEYS,
        check: |section, problems| {
            Actions::read(section.sections("actions"), problems);
            if section.is_set("actions") && section.sections("actions").is_empty() {
                section.error(problems, "actions", "has no entry; write at least one action");
            }
            Selection::check(section, &Signal::ALL, problems);
        },
    },
    build: |section, setup| Built::Stateless(Arc::new(Attributes::new(section, setup))),
};

/// The processor.
struct Attributes {
    id: String,
    signal: Signal,
    actions: Actions,
    selection: Selection,
}

impl Attributes {
    fn new(section: &Section, setup: &Setup<'_>) -> Attributes {
        Attributes {
            id: setup.id.to_owned(),
            signal: setup.signal,
            actions: Actions::read(section.sections("actions"), &mut Problems::new()),
            selection: Selection::build(section, setup),
        }
    }
}

impl Stateless for Attributes {
    fn process(&self, batch: Batch, _now: Moment, out: &mut Out) {
        walk::edit(batch, out, |request, edits| {
            let mut list = List::default();
            self.selection.each(request, edits, |item, edits| match self.signal {
                Signal::Traces => self.change(item, span::ATTRIBUTES, &mut list, edits),
                Signal::Logs => self.change(item, log_record::ATTRIBUTES, &mut list, edits),
                Signal::Metrics => self.points(item, &mut list, edits),
            })
        });
    }
}

impl Attributes {
    fn points<'a>(
        &'a self,
        metric: Message<'a>,
        list: &mut List<'a>,
        edits: &mut Edits,
    ) -> Result<(), Verdict> {
        for (data, attributes) in metric::DATA.into_iter().zip(metric::POINT_ATTRIBUTES) {
            for data in metric.messages(data) {
                for point in data.messages(metric::DATA_POINTS) {
                    self.change(point, attributes, list, edits)?;
                }
            }
        }
        Ok(())
    }

    fn change<'a>(
        &'a self,
        message: Message<'a>,
        number: u32,
        list: &mut List<'a>,
        edits: &mut Edits,
    ) -> Result<(), Verdict> {
        list.load(message, number);
        self.actions.apply(list);
        list.emit(message, number, edits, &self.id)
    }
}

#[cfg(test)]
mod tests;
