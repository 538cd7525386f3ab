//! From the configuration to conditions by level, with every mistake in its place.

use super::{ErrorMode, Levels, Rules};
use crate::batch::Signal;
use crate::condition::{self, Conditions, Context};
use crate::config::{Key, Node, Problems, Section, Value};

/// One entry of `trace_conditions` and its like.
const GROUP: &[Key] = &[
    Key::text("context", "", "what the conditions are asked about; else the paths name it"),
    Key::any("conditions", "conditions, of which one that holds drops").required(),
    Key::text("error_mode", "", "for these conditions"),
];

/// The conditions that `section` has for `signal`.
pub(super) fn levels(section: &Section, signal: Signal, problems: &mut Problems) -> Levels {
    let item = if signal == Signal::Logs { Context::Log } else { Context::Span };
    let mut reader = Reader {
        levels: Levels {
            resource: Rules::new(Context::Resource),
            scope: Rules::new(Context::Scope),
            item: Rules::new(item),
            event: Rules::new(Context::SpanEvent),
        },
        signal,
        mode: mode(section.text("error_mode")).unwrap_or(ErrorMode::Propagate),
        problems,
    };
    let (by_level, list, keys) = shape(signal);
    let own = section.section(by_level);
    for (key, context) in keys {
        if let Some(node) = own.node(key) {
            reader.conditions(node, Some(*context), &own.path_of(key));
        }
    }
    if let Some(node) = section.node(list) {
        let both = own.settings().any(|(key, _)| own.is_set(key.name));
        let is_empty = matches!(&node.value, Value::List(list) if list.is_empty());
        if both && !is_empty {
            let text = format!("stands beside {by_level}; write all conditions in one of the two");
            section.error(reader.problems, list, text);
        }
        reader.groups(node, &section.path_of(list));
    }
    reader.levels
}

/// The names of a signal's keys: by level, in one list, and the levels with their contexts.
type Shape = (&'static str, &'static str, &'static [(&'static str, Context)]);

fn shape(signal: Signal) -> Shape {
    match signal {
        Signal::Traces => (
            "traces",
            "trace_conditions",
            &[
                ("resource", Context::Resource),
                ("span", Context::Span),
                ("spanevent", Context::SpanEvent),
            ],
        ),
        Signal::Logs => (
            "logs",
            "log_conditions",
            &[("resource", Context::Resource), ("log_record", Context::Log)],
        ),
        Signal::Metrics => ("metrics", "metric_conditions", &[("resource", Context::Resource)]),
    }
}

/// Contexts that conditions of a signal may have.
fn contexts(signal: Signal) -> &'static [Context] {
    match signal {
        Signal::Traces => &[Context::Resource, Context::Scope, Context::Span, Context::SpanEvent],
        Signal::Logs => &[Context::Resource, Context::Scope, Context::Log],
        Signal::Metrics => &[Context::Resource],
    }
}

fn mode(name: &str) -> Option<ErrorMode> {
    match name {
        "ignore" => Some(ErrorMode::Ignore),
        "silent" => Some(ErrorMode::Silent),
        "propagate" => Some(ErrorMode::Propagate),
        _ => None,
    }
}

impl Rules {
    fn new(context: Context) -> Rules {
        Rules { conditions: Conditions::new(context), notes: vec![] }
    }
}

struct Reader<'p> {
    levels: Levels,
    signal: Signal,
    mode: ErrorMode,
    problems: &'p mut Problems,
}

impl Reader<'_> {
    fn error(&mut self, node: &Node, path: &str, text: impl Into<String>) {
        self.problems.error(node.place.clone(), path, text);
    }

    /// The entries of a list, or one that stands alone, each with its path.
    fn entries<'n>(node: &'n Node, path: &str) -> Vec<(&'n Node, String)> {
        match &node.value {
            Value::List(list) => {
                let one = |(index, node)| (node, format!("{path}[{index}]"));
                list.iter().enumerate().map(one).collect()
            }
            Value::Null => vec![],
            _ => vec![(node, path.to_owned())],
        }
    }

    /// Conditions, on `context` or on what their paths name.
    fn conditions(&mut self, node: &Node, context: Option<Context>, path: &str) {
        for (node, path) in Self::entries(node, path) {
            match node.text() {
                Some(text) => self.condition(node, text, context, &path),
                None => {
                    let found = node.describe();
                    let text = format!("found {found}; write a condition as a text, in quotes");
                    self.error(node, &path, text);
                }
            }
        }
    }

    fn condition(&mut self, node: &Node, text: &str, context: Option<Context>, path: &str) {
        let context = match context {
            Some(context) => context,
            None => match condition::infer(text) {
                Ok(Some(context)) => context,
                Ok(None) => {
                    let names: Vec<_> = contexts(self.signal).iter().map(|c| c.name()).collect();
                    let text = format!(
                        "no path says what the condition is about; begin paths with {}",
                        names.join(", ")
                    );
                    return self.error(node, path, text);
                }
                Err(error) => return self.error(node, path, error.to_string()),
            },
        };
        if !contexts(self.signal).contains(&context) {
            let (name, signal) = (context.name(), self.signal.name());
            return self.error(node, path, format!("{signal} have no {name}"));
        }
        let mode = self.mode;
        let rules = match context {
            Context::Resource => &mut self.levels.resource,
            Context::Scope => &mut self.levels.scope,
            Context::Span | Context::Log => &mut self.levels.item,
            Context::SpanEvent => &mut self.levels.event,
        };
        match rules.conditions.add(text) {
            Ok(()) => rules.notes.push((mode, text.to_owned())),
            Err(errors) => {
                for error in errors {
                    self.error(node, path, error.to_string());
                }
            }
        }
    }

    /// The list whose entries are conditions, or conditions with their context and mode.
    fn groups(&mut self, node: &Node, path: &str) {
        for (node, path) in Self::entries(node, path) {
            if !matches!(node.value, Value::Map(_)) {
                self.conditions(node, None, &path);
                continue;
            }
            let group = Section::check(node, GROUP, &path, self.problems);
            let context = match group.text("context") {
                "" => None,
                name => match Context::named(name) {
                    Some(context) => Some(context),
                    None => {
                        let names: Vec<_> =
                            contexts(self.signal).iter().map(|c| c.name()).collect();
                        let text = format!("found {name:?}; write one of {}", names.join(", "));
                        group.error(self.problems, "context", text);
                        continue;
                    }
                },
            };
            let before = self.mode;
            match (group.text("error_mode"), mode(group.text("error_mode"))) {
                (_, Some(mode)) => self.mode = mode,
                ("", None) => {}
                (name, None) => {
                    let modes = super::MODES.join(", ");
                    let text = format!("found {name:?}; write one of {modes}");
                    group.error(self.problems, "error_mode", text);
                }
            }
            if let Some(node) = group.node("conditions") {
                self.conditions(node, context, &group.path_of("conditions"));
            }
            self.mode = before;
        }
    }
}
