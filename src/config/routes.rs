//! Pipelines that feed pipelines: every connector leads somewhere, and none leads back.
//!
//! A connector hands on the signal that it is given. One that made metrics of spans would say so
//! in its [`Component`](super::Component), and this file would be where that is checked.

use super::document::{ComponentId, Configured, Pipeline};
use super::problem::Problems;
use super::section::join;
use super::suggest;

/// Checks how `connectors` join `pipelines`.
pub(super) fn check(pipelines: &[Pipeline], connectors: &[Configured], problems: &mut Problems) {
    for connector in connectors {
        let joint = Joint {
            connector,
            feeding: by(pipelines, |pipeline| pipeline.exporters.contains(&connector.id)),
            fed: by(pipelines, |pipeline| pipeline.receivers.contains(&connector.id)),
        };
        if !joint.feeding.is_empty() && !joint.fed.is_empty() {
            joint.signals(problems);
            joint.named(pipelines, problems);
        }
    }
    let is_connector = |id: &ComponentId| connectors.iter().any(|known| known.id == *id);
    let walk = Walk { pipelines, is_connector: &is_connector };
    let mut done = vec![];
    for pipeline in pipelines {
        walk.follow(pipeline, &mut vec![], &mut done, problems);
    }
}

fn by(pipelines: &[Pipeline], is: impl Fn(&Pipeline) -> bool) -> Vec<&Pipeline> {
    pipelines.iter().filter(|pipeline| is(pipeline)).collect()
}

/// A connector with the pipelines that end in it and those that begin with it.
struct Joint<'a> {
    connector: &'a Configured,
    feeding: Vec<&'a Pipeline>,
    fed: Vec<&'a Pipeline>,
}

impl Joint<'_> {
    fn error(&self, problems: &mut Problems, text: String) {
        let path = join("connectors", self.connector.id.as_str());
        problems.error(self.connector.place.clone(), path, text);
    }

    /// What comes in must be taken, and go out somewhere.
    fn signals(&self, problems: &mut Problems) {
        for pipeline in &self.feeding {
            let (signal, id) = (pipeline.signal, &pipeline.id);
            let takes = self.connector.component.signals;
            if !takes.contains(&signal) {
                let takes = takes.join(" and ");
                self.error(problems, format!("{id} ends in it, but it takes {takes}"));
            } else if !self.fed.iter().any(|fed| fed.signal == signal) {
                let text = format!("{id} ends in it and no other {signal} pipeline begins with it");
                self.error(problems, text);
            }
        }
        for pipeline in &self.fed {
            let (signal, id) = (pipeline.signal, &pipeline.id);
            if !self.feeding.iter().any(|feeding| feeding.signal == signal) {
                let text = format!("{id} begins with it and no other {signal} pipeline ends in it");
                self.error(problems, text);
            }
        }
    }

    /// The pipelines that the connector's own keys name.
    fn named(&self, pipelines: &[Pipeline], problems: &mut Problems) {
        let named = self.connector.section.pipeline_ids();
        let known: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.id.as_str()).collect();
        let id = &self.connector.id;
        for (name, place, path) in &named {
            let of = |pipeline: &&Pipeline| pipeline.id.as_str() == *name;
            let text = match pipelines.iter().find(of) {
                None => {
                    let hint = suggest::hint(name, &known, "configured pipelines");
                    format!("references pipeline {name:?} which is not configured{hint}")
                }
                Some(pipeline) if !pipeline.receivers.contains(id) => format!(
                    "references pipeline {name:?} which does not begin with it; add \"{id}\" to \
                     its receivers"
                ),
                Some(pipeline) => {
                    let other = self.feeding.iter().find(|from| from.signal != pipeline.signal);
                    let Some(other) = other else { continue };
                    let (from, signal) = (&other.id, other.signal);
                    format!("references pipeline {name:?} but gets {signal} from {from}; use two")
                }
            };
            problems.error(place.clone(), path.as_str(), text);
        }
        for pipeline in &self.fed {
            let is_named = named.iter().any(|(name, ..)| *name == pipeline.id.as_str());
            if !named.is_empty() && !is_named {
                let path = join("service::pipelines", pipeline.id.as_str());
                let text = format!("begins with \"{id}\", none of whose routes leads here");
                problems.warning(pipeline.place.clone(), path, text);
            }
        }
    }
}

/// A walk from pipeline to pipeline.
struct Walk<'a> {
    pipelines: &'a [Pipeline],
    /// A receiver and an exporter may have one id, too, and join nothing.
    is_connector: &'a dyn Fn(&ComponentId) -> bool,
}

impl<'a> Walk<'a> {
    /// Reports each cycle once, with the way around. `way` has the pipelines walked through, each
    /// with the connector taken; `done` those that need no second look.
    fn follow(
        &self,
        pipeline: &'a Pipeline,
        way: &mut Vec<(&'a Pipeline, &'a ComponentId)>,
        done: &mut Vec<&'a ComponentId>,
        problems: &mut Problems,
    ) {
        if let Some(start) = way.iter().position(|(walked, _)| walked.id == pipeline.id) {
            let around = way.get(start..).unwrap_or_default();
            let steps = around.iter().map(|(at, by)| format!("{} -> {by} -> ", at.id));
            let (steps, id) = (steps.collect::<String>(), &pipeline.id);
            let text = format!("feeds itself: {steps}{id}; take one of these steps out");
            let path = join("service::pipelines", id.as_str());
            return problems.error(pipeline.place.clone(), path, text);
        }
        if done.contains(&&pipeline.id) {
            return;
        }
        for by in pipeline.exporters.iter().filter(|id| (self.is_connector)(id)) {
            let is_fed =
                |next: &&Pipeline| next.signal == pipeline.signal && next.receivers.contains(by);
            for next in self.pipelines.iter().filter(is_fed) {
                way.push((pipeline, by));
                self.follow(next, way, done, problems);
                way.pop();
            }
        }
        done.push(&pipeline.id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::{Catalog, Class, Component, SIGNALS, no_check};
    use super::super::document::Document;
    use super::super::key::Key;
    use super::super::parse::parse;

    const ROUTE: &[Key] = &[Key::pipelines("to", "some pipelines")];

    static COMPONENTS: [Component; 3] = [
        component(Class::Receiver, "in", &[]),
        component(Class::Exporter, "out", &[]),
        component(
            Class::Connector,
            "join",
            &[Key::pipelines("to", "some pipelines"), Key::list_of_objects("rows", ROUTE, "rows")],
        ),
    ];

    const fn component(class: Class, name: &'static str, keys: &'static [Key]) -> Component {
        let (aliases, about, sample) = (&[], "", "{}");
        Component { class, name, aliases, about, sample, signals: &SIGNALS, keys, check: no_check }
    }

    /// Pipelines as `id: receivers -> exporters`; the problems, one in each line.
    #[track_caller]
    fn check(joins: &str, pipelines: &[&str], expected: &[&str]) {
        let lines = pipelines.iter().map(|line| {
            let (id, rest) = line.split_once(": ").unwrap();
            let (receivers, exporters) = rest.split_once(" -> ").unwrap();
            format!("    {id}: {{receivers: [{receivers}], exporters: [{exporters}]}}\n")
        });
        let yaml = format!(
            "receivers: {{in: }}\nexporters: {{out: }}\nconnectors: {{{joins}}}\nservice:\n  \
             pipelines:\n{}",
            lines.collect::<String>()
        );
        let document = Document::check(&parse(&yaml, "f").unwrap(), &Catalog::new(&COMPONENTS));
        let problems = document.map_or_else(|problems| problems, |document| document.warnings);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said, expected, "{yaml}");
    }

    #[test]
    fn what_a_connector_joins_is_of_one_signal() {
        check("join: ", &["traces: in -> join", "traces/2: join -> out"], &[]);
        check(
            "join: ",
            &["traces: in -> join", "logs: join -> out"],
            &[
                "f:3:14: connectors::join: traces ends in it and no other traces pipeline begins \
                 with it",
                "f:3:14: connectors::join: logs begins with it and no other logs pipeline ends in \
                 it",
            ],
        );
    }

    #[test]
    fn pipelines_that_are_named_begin_with_the_connector() {
        let in_and_out = ["traces: in -> join, out", "traces/2: join -> out"];
        check("join: {to: traces/2, rows: [{to: [traces/2]}]}", &in_and_out, &[]);
        check(
            "join: {to: [traces/3], rows: [{to: [traces]}]}",
            &in_and_out,
            &[
                "f:3:25: connectors::join::to: references pipeline \"traces/3\" which is not \
                 configured; did you mean \"traces/2\"?",
                "f:3:49: connectors::join::rows[0]::to: references pipeline \"traces\" which does \
                 not begin with it; add \"join\" to its receivers",
                "f:7:5: warning: service::pipelines::traces/2: begins with \"join\", none of whose \
                 routes leads here",
            ],
        );
        check(
            "join: {to: [traces/2, logs/2]}",
            &[
                "traces: in -> join",
                "traces/2: join -> out",
                "logs: in -> join",
                "logs/2: join -> out",
            ],
            &[
                "f:3:25: connectors::join::to: references pipeline \"traces/2\" but gets logs from \
                 logs; use two",
                "f:3:25: connectors::join::to: references pipeline \"logs/2\" but gets traces from \
                 traces; use two",
            ],
        );
    }

    #[test]
    fn a_cycle_is_named_with_its_way() {
        check(
            "join: , join/2: ",
            &["traces: in, join/2 -> join", "traces/2: join -> join/2, out"],
            &["f:6:5: service::pipelines::traces: feeds itself: traces -> join -> traces/2 -> \
                 join/2 -> traces; take one of these steps out"],
        );
        check(
            "join: ",
            &["traces: in, join -> join, out"],
            &["f:6:5: service::pipelines::traces: feeds itself: traces -> join -> traces; take \
                 one of these steps out"],
        );
        // Two ways to one place are no cycle.
        check(
            "join: , join/2: , join/3: ",
            &[
                "traces: in -> join, join/2",
                "traces/2: join -> join/3",
                "traces/3: join/2 -> join/3",
                "traces/4: join/3 -> out",
            ],
            &[],
        );
    }
}
