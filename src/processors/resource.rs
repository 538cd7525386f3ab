//! `resource`: actions on the attributes of resources, of all signals. Keys and meaning are the
//! Collector's; the actions are those of `attributes` ([`super::actions`]).
//!
//! A group without a resource is given one if an action sets something.

use super::actions::{self, Actions, List};
use super::walk::{self, Step, Visit};
use super::{Built, Kind, Out, Setup, Stateless};
use crate::batch::Batch;
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems};
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{resource, resource_group};
use crate::otlp::view::ResourceGroup;
use crate::otlp::wire::put_message_field;
use crate::verdict::Verdict;
use std::sync::Arc;

const KEYS: &[Key] = &[Key::list_of_objects(
    "attributes",
    actions::KEYS,
    "what to do with the resource's attributes, in this order",
)
.required()];

const SAMPLE: &str = r#"# in this order; the actions are those of the attributes processor
attributes:
  - {action: upsert, key: deployment.environment.name, value: production}
  - {action: insert, key: k8s.cluster.name, from_attribute: k8s-cluster}
  - {action: delete, key: k8s-cluster}
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "resource",
        aliases: &[],
        about: "sets, deletes, hashes, extracts and converts attributes of resources",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: KEYS,
        check: |section, problems| {
            Actions::read(section.sections("attributes"), problems);
            if section.is_set("attributes") && section.sections("attributes").is_empty() {
                section.error(problems, "attributes", "has no entry; write at least one action");
            }
        },
    },
    build: |section, setup| {
        let actions = Actions::read(section.sections("attributes"), &mut Problems::new());
        Built::Stateless(Arc::new(Resource::new(actions, setup)))
    },
};

/// The processor.
struct Resource {
    id: String,
    actions: Actions,
}

impl Resource {
    fn new(actions: Actions, setup: &Setup<'_>) -> Resource {
        Resource { id: setup.id.to_owned(), actions }
    }
}

impl Stateless for Resource {
    fn process(&self, batch: Batch, _now: Moment, out: &mut Out) {
        let signal = batch.signal();
        walk::edit(batch, out, |request, edits| {
            let mut visit = Resources { resource: self, list: List::default() };
            walk::walk(signal, request, &mut visit, edits).map(drop)
        });
    }
}

struct Resources<'r, 'a> {
    resource: &'r Resource,
    list: List<'a>,
}

impl<'a, 'r: 'a> Visit<'a> for Resources<'r, 'a> {
    fn resource(&mut self, group: ResourceGroup<'a>, edits: &mut Edits) -> Result<Step, Verdict> {
        let (list, id) = (&mut self.list, &self.resource.id);
        if let Some(message) = group.resource() {
            list.load(message, resource::ATTRIBUTES);
            self.resource.actions.apply(list);
            list.emit(message, resource::ATTRIBUTES, edits, id)?;
            return Ok(Step::Keep);
        }
        list.clear();
        self.resource.actions.apply(list);
        if !list.is_empty() {
            edits.append(group.0, |out| {
                put_message_field(out, resource_group::RESOURCE, |out| {
                    list.put(out, resource::ATTRIBUTES);
                });
            });
            walk::bounded(edits, id)?;
        }
        Ok(Step::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, section};
    use crate::batch::Signal;

    #[track_caller]
    fn check(actions: &str, before: &str, after: &str) {
        let yaml = format!("attributes: [{actions}]");
        let lines = |resource: &str| format!("resource {resource}\nscope \"s\"\nspan 1/1 a=1\n");
        Bench::new(Signal::Traces, "resource", &yaml).check(&lines(before), &lines(after));
        let logs = |resource: &str| lines(resource).replace("span 1/1", "log 1/1");
        Bench::new(Signal::Logs, "resource", &yaml).check(&logs(before), &logs(after));
    }

    #[test]
    fn actions_change_the_resource_and_nothing_inside() {
        check("{action: insert, key: a, value: x}", "b=1", "b=1 a=\"x\"");
        check("{action: update, key: a, value: x}", "b=1", "b=1");
        check("{action: upsert, key: b, value: x}", "b=1 c=2", "b=\"x\" c=2");
        check("{action: delete, key: a}", "b=1 a=1 a=2", "b=1");
        check(
            "{action: insert, key: to, from_attribute: from}, {action: delete, key: from}",
            "from=\"x\"",
            "to=\"x\"",
        );
    }

    #[test]
    fn a_group_without_a_resource_is_given_one_if_there_is_something_to_say() {
        check("{action: upsert, key: a, value: 1}", "-", "a=1");
        let yaml = "attributes: [{action: delete, key: a}, {action: update, key: b, value: 1}]";
        let mut bench = Bench::new(Signal::Traces, "resource", yaml);
        bench.check_untouched("resource -\nscope -\nspan 1/1 a=1\n");
        bench.check_untouched("resource c=1\nscope -\nspan 1/1 a=1\n");
    }

    #[test]
    fn all_groups_are_changed() {
        Bench::new(Signal::Traces, "resource", "attributes: [{action: delete, key: a}]").check(
            "resource a=1\nspan 1/1\nresource b=1\nspan 1/2\nresource a=2 b=2\nspan 1/3\n",
            "resource\nspan 1/1\nresource b=1\nspan 1/2\nresource b=2\nspan 1/3\n",
        );
    }

    #[test]
    fn without_actions_it_is_a_mistake() {
        for (yaml, expected) in [
            ("{}", "yaml::1:1: attributes: must be set: what to do with the resource's"),
            ("attributes: []", "yaml::1:13: attributes: has no entry; write at least one action"),
            ("attributes: [{key: a, action: drop}]", "yaml::1:31: attributes[0]::action: found"),
        ] {
            let problems = section("resource", yaml).unwrap_err();
            assert!(problems.starts_with(expected), "{problems}");
        }
    }
}
