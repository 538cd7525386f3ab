//! What is built in: the list of components that a document may use, passed in by the rooms that
//! have them.

use super::check;
use super::key::{Key, Kind};
use super::problem::{Problem, Problems};
use super::section::{Section, join};

/// The signals, as they are called in `service::pipelines`.
pub const SIGNALS: [&str; 3] = ["traces", "metrics", "logs"];

/// What a component does in a pipeline, and under which top-level key it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Takes telemetry in.
    Receiver,
    /// Changes it.
    Processor,
    /// Sends it on.
    Exporter,
    /// Ends one pipeline and begins another.
    Connector,
    /// Serves the others.
    Extension,
}

impl Class {
    /// All classes in the order of the file.
    pub const ALL: [Class; 5] =
        [Class::Receiver, Class::Processor, Class::Exporter, Class::Connector, Class::Extension];

    /// `receiver`.
    pub const fn noun(self) -> &'static str {
        match self {
            Class::Receiver => "receiver",
            Class::Processor => "processor",
            Class::Exporter => "exporter",
            Class::Connector => "connector",
            Class::Extension => "extension",
        }
    }

    /// The top-level key, `receivers`.
    pub const fn plural(self) -> &'static str {
        match self {
            Class::Receiver => "receivers",
            Class::Processor => "processors",
            Class::Exporter => "exporters",
            Class::Connector => "connectors",
            Class::Extension => "extensions",
        }
    }
}

/// One built-in component, declared as a constant or static in its own file.
#[derive(Debug)]
pub struct Component {
    /// What it does.
    pub class: Class,
    /// Its type name, `otlp_grpc`.
    pub name: &'static str,
    /// Older type names that mean the same, `otlp`.
    pub aliases: &'static [&'static str],
    /// One line for people.
    pub about: &'static str,
    /// A commented configuration of it as YAML, without its id.
    pub sample: &'static str,
    /// The signals that it takes, of [`SIGNALS`]; extensions have none.
    pub signals: &'static [&'static str],
    /// Its keys.
    pub keys: &'static [Key],
    /// What a table cannot say: relations between keys. It runs on the checked section, with
    /// defaults in place of wrong values; use [`Section::error`].
    pub check: fn(&Section, &mut Problems),
}

/// A component that needs no check beyond its table uses this one.
pub fn no_check(_: &Section, _: &mut Problems) {}

/// All built-in components.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    components: Vec<&'static Component>,
}

impl Catalog {
    /// The catalog of these components.
    pub fn new(components: impl IntoIterator<Item = &'static Component>) -> Catalog {
        Catalog { components: components.into_iter().collect() }
    }

    /// The components of one class, in the order given.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &'static Component> {
        self.components.iter().copied().filter(move |component| component.class == class)
    }

    /// The component with that type name or alias.
    pub fn find(&self, class: Class, kind: &str) -> Option<&'static Component> {
        self.of(class).find(|c| c.name == kind || c.aliases.contains(&kind))
    }

    /// All type names and aliases of one class.
    pub fn names(&self, class: Class) -> Vec<&'static str> {
        self.of(class).flat_map(names).collect()
    }
}

impl Catalog {
    /// What is wrong with the declarations themselves, for one test over all components: names
    /// that stand twice, defaults that their own key would refuse, samples that do not check.
    pub fn verify(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (index, component) in self.components.iter().enumerate() {
            let who = format!("{} {}", component.class.noun(), component.name);
            let before = self.components.iter().take(index).filter(|c| c.class == component.class);
            let known: Vec<&str> = before.flat_map(|c| names(c)).collect();
            for name in names(component).filter(|name| known.contains(name)) {
                wrong.push(format!("{who}: the name {name:?} stands twice"));
            }
            let fine = wrong.len();
            tables(component.keys, "", &mut |text| wrong.push(format!("{who}: {text}")));
            if wrong.len() > fine {
                continue;
            }
            if let Err(problems) = Section::from_yaml(component.keys, component.sample) {
                let required =
                    |p: &&Problem| component.sample.is_empty() && p.text.starts_with("must");
                let problems = problems.iter().filter(|problem| !required(problem));
                wrong.extend(problems.map(|problem| format!("{who}: sample: {problem}")));
            }
        }
        wrong
    }
}

fn names(component: &Component) -> impl Iterator<Item = &'static str> {
    std::iter::once(component.name).chain(component.aliases.iter().copied())
}

fn tables(keys: &'static [Key], path: &str, tell: &mut dyn FnMut(String)) {
    for (index, key) in keys.iter().enumerate() {
        let path = join(path, key.name);
        if let Some(text) = check::wrong_default(key) {
            tell(format!("{path}: {text}"));
        }
        if keys.iter().take(index).any(|other| other.name == key.name) {
            tell(format!("{path} stands twice"));
        }
        match key.kind {
            Kind::Object(keys)
            | Kind::OptionalObject(keys)
            | Kind::ListOfObjects(keys)
            | Kind::MapOfObjects(keys) => tables(keys, &path, tell),
            _ => {}
        }
    }
}
