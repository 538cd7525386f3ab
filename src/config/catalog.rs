//! What is built in: the list of components that a document may use, passed in by the rooms that
//! have them.

use super::key::Key;
use super::problem::Problems;
use super::section::Section;

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
    pub const ALL: [Class; 5] = [
        Class::Receiver,
        Class::Processor,
        Class::Exporter,
        Class::Connector,
        Class::Extension,
    ];

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
        Catalog {
            components: components.into_iter().collect(),
        }
    }

    /// The components of one class, in the order given.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &'static Component> {
        self.components
            .iter()
            .copied()
            .filter(move |component| component.class == class)
    }

    /// The component with that type name or alias.
    pub fn find(&self, class: Class, kind: &str) -> Option<&'static Component> {
        self.of(class)
            .find(|c| c.name == kind || c.aliases.contains(&kind))
    }

    /// All type names and aliases of one class.
    pub fn names(&self, class: Class) -> Vec<&'static str> {
        self.of(class)
            .flat_map(|c| std::iter::once(c.name).chain(c.aliases.iter().copied()))
            .collect()
    }
}
