//! The located tree that YAML text becomes: every value and every key knows where it stands.

use std::fmt;
use std::sync::Arc;

/// Where a value stands. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A file name, `env:VAR`, `yaml:` or `--set`.
    pub source: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl Place {
    /// A place in `source`.
    pub fn new(source: impl Into<Arc<str>>, line: u32, column: u32) -> Place {
        Place { source: source.into(), line, column }
    }

    /// The beginning of `source`.
    pub fn start(source: &Arc<str>) -> Place {
        Place { source: Arc::clone(source), line: 1, column: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}

/// A value with its place. Two nodes are equal if their values are: places do not count.
#[derive(Clone, Debug)]
pub struct Node {
    /// The typed value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
    /// Written in quotes, as a block or with `!!str`: an expansion never makes it anything else.
    pub quoted: bool,
    /// What an expansion put here before it was typed as YAML. A key that wants text takes this,
    /// so that a token `0123` or `true` from the environment arrives as it is.
    pub raw: Option<String>,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`; not `yes`, `no`, `on`, `off`.
    Bool(bool),
    /// A whole number without leading zeros; `0x`, `0o` and `0b` count.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Everything else, and all that is quoted.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text, without duplicates.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value. Equality ignores places.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.value == other.value && self.raw == other.raw
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.name == other.name && self.node == other.node
    }
}

impl Node {
    /// A plain node.
    pub fn new(value: Value, place: Place) -> Node {
        Node { value, place, quoted: false, raw: None }
    }

    /// Whether the value is null.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The entries, if this is a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry with that key, if this is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The text for a key that wants text: of a text, or what an expansion put here.
    pub fn text(&self) -> Option<&str> {
        match (&self.raw, &self.value) {
            (Some(raw), _) => Some(raw),
            (None, Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// What stands here, for an error sentence: `"fast"`, `5`, `a list`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) if text.chars().count() > SHOWN => {
                format!("{:?}", text.chars().take(SHOWN).chain(['…']).collect::<String>())
            }
            Value::Text(text) => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// Levels below and including this node, and the number of nodes.
    pub(super) fn extent(&self) -> (usize, usize) {
        let fold = |(depth, count): (usize, usize), node: &Node| {
            let (below, nodes) = node.extent();
            (depth.max(below), count + nodes)
        };
        let (depth, count) = match &self.value {
            Value::List(items) => items.iter().fold((0, 0), fold),
            Value::Map(entries) => entries.iter().map(|entry| &entry.node).fold((0, 0), fold),
            _ => (0, 0),
        };
        (depth + 1, count + 1)
    }
}

/// Characters of a text that an error sentence shows.
const SHOWN: usize = 60;
