//! A map checked against a table of keys: all problems at once, then typed values that are there.

use std::time::Duration;

use super::check;
use super::endpoint::Endpoint;
use super::key::{Key, Kind};
use super::node::{Node, Place};
use super::problem::Problems;
use super::secret::Secret;

/// A checked map. Its getters cannot fail: a key that was absent has its default, a key that was
/// wrong has its default too (and the problem is among the problems). Asking for a key that is
/// not in the table, or by the wrong type, is a mistake in the program: debug builds stop, others
/// answer with nothing.
///
/// Two sections are equal if their values are, wherever they stand and however they were written.
#[derive(Clone, Debug)]
pub struct Section {
    path: String,
    place: Place,
    fields: Vec<Field>,
}

/// One key of a section with its value.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) key: &'static Key,
    pub(super) setting: Setting,
    /// Where it was set; `None` means that the default stands.
    pub(super) place: Option<Place>,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Of a key that has no effect here.
    Nothing,
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`], of [`Kind::SizeBytes`], and of [`Kind::SizeMib`] in MiB.
    Int(i64),
    /// Of [`Kind::Float`].
    Float(f64),
    /// Of [`Kind::Text`], [`Kind::Choice`] and [`Kind::ExtensionId`].
    Text(String),
    /// Of [`Kind::Secret`].
    Secret(Secret),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Endpoint`].
    Endpoint(Option<Endpoint>),
    /// Of [`Kind::ListOfText`] and [`Kind::Pipelines`].
    List(Vec<String>),
    /// Of [`Kind::MapOfText`].
    Map(Vec<(String, String)>),
    /// Of [`Kind::MapOfSecret`].
    SecretMap(Vec<(String, Secret)>),
    /// Of [`Kind::Object`].
    Section(Section),
    /// Of [`Kind::OptionalObject`].
    Optional(Option<Section>),
    /// Of [`Kind::ListOfObjects`].
    Sections(Vec<Section>),
    /// Of [`Kind::MapOfObjects`].
    Named(Vec<(String, Section)>),
    /// Of [`Kind::Any`].
    Node(Option<Node>),
}

impl PartialEq for Section {
    fn eq(&self, other: &Section) -> bool {
        let fields = |section: &Section| section.fields.len();
        fields(self) == fields(other)
            && self
                .fields
                .iter()
                .zip(&other.fields)
                .all(|(a, b)| a.key.name == b.key.name && a.setting == b.setting)
    }
}

impl Section {
    pub(super) fn new(path: &str, place: &Place, fields: Vec<Field>) -> Section {
        Section { path: path.to_owned(), place: place.clone(), fields }
    }

    /// Checks `node` (a map, or null for all defaults) against `keys`. `path` is the Collector
    /// style path of the node, `processors::batch`.
    pub fn check(
        node: &Node,
        keys: &'static [Key],
        path: &str,
        problems: &mut Problems,
    ) -> Section {
        check::section(node, &node.place, keys, path, problems)
    }

    /// Reads YAML text and checks it; for tests and for samples.
    pub fn from_yaml(keys: &'static [Key], yaml: &str) -> Result<Section, Problems> {
        let node = super::parse::parse(yaml, "yaml:")?;
        let mut problems = Problems::new();
        let section = Section::check(&node, keys, "", &mut problems);
        problems.into_result(section).map(|(section, _)| section)
    }

    /// The path of this section, `exporters::otlp::retry_on_failure`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of one of its keys.
    pub fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether the file sets the key (to something other than null).
    pub fn is_set(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.place.is_some())
    }

    /// Where the key is set, else where the section stands.
    pub fn place(&self, name: &str) -> Place {
        let set = self.field(name).and_then(|field| field.place.clone());
        set.unwrap_or_else(|| self.place.clone())
    }

    /// Where the section itself stands.
    pub fn own_place(&self) -> Place {
        self.place.clone()
    }

    /// Reports an error of one key, with its place and path. An empty name means the section.
    pub fn error(&self, problems: &mut Problems, name: &str, text: impl Into<String>) {
        let (place, path) = self.spot(name);
        problems.error(place, path, text);
    }

    /// Reports a warning of one key, with its place and path. An empty name means the section.
    pub fn warning(&self, problems: &mut Problems, name: &str, text: impl Into<String>) {
        let (place, path) = self.spot(name);
        problems.warning(place, path, text);
    }

    /// The keys with their values, in the order of the table.
    pub fn settings(&self) -> impl Iterator<Item = (&'static Key, &Setting)> {
        self.fields.iter().map(|field| (field.key, &field.setting))
    }

    /// All extensions that this section and those inside of it name, with their places and paths.
    pub fn extension_ids(&self) -> Vec<(&str, Place, String)> {
        self.named(&|field| match (&field.key.kind, &field.setting) {
            (Kind::ExtensionId, Setting::Text(id)) if !id.is_empty() => std::slice::from_ref(id),
            _ => &[],
        })
    }

    /// All pipelines that this section and those inside of it name, with their places and paths.
    pub fn pipeline_ids(&self) -> Vec<(&str, Place, String)> {
        self.named(&|field| match (&field.key.kind, &field.setting) {
            (Kind::Pipelines, Setting::List(ids)) => ids,
            _ => &[],
        })
    }

    /// The ids that `of` finds in the fields of this section and of those inside of it.
    fn named<'s>(
        &'s self,
        of: &impl Fn(&'s Field) -> &'s [String],
    ) -> Vec<(&'s str, Place, String)> {
        let mut found = Vec::new();
        for field in &self.fields {
            let name = field.key.name;
            let here = of(field).iter();
            found.extend(here.map(|id| (id.as_str(), self.place(name), self.path_of(name))));
            match &field.setting {
                Setting::Section(inner) | Setting::Optional(Some(inner)) => {
                    found.extend(inner.named(of));
                }
                Setting::Sections(all) => {
                    found.extend(all.iter().flat_map(|inner| inner.named(of)))
                }
                Setting::Named(all) => {
                    found.extend(all.iter().flat_map(|(_, inner)| inner.named(of)));
                }
                _ => {}
            }
        }
        found
    }

    /// Of [`Key::bool`].
    pub fn bool(&self, name: &str) -> bool {
        match self.setting(name) {
            Setting::Bool(value) => *value,
            _ => wrong(name, "bool", false),
        }
    }

    /// Of [`Key::int`].
    pub fn int(&self, name: &str) -> i64 {
        match self.setting(name) {
            Setting::Int(value) => *value,
            _ => wrong(name, "int", 0),
        }
    }

    /// Of [`Key::int`] where the range has no negative numbers; a negative one counts as 0.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.int(name)).unwrap_or(0)
    }

    /// Of [`Key::size_bytes`] and [`Key::size_mib`], both in bytes.
    pub fn bytes(&self, name: &str) -> u64 {
        let number = u64::try_from(self.int(name)).unwrap_or(0);
        match self.field(name).map(|field| &field.key.kind) {
            Some(Kind::SizeMib) => number.saturating_mul(1 << 20),
            Some(Kind::SizeBytes) => number,
            _ => wrong(name, "size", number),
        }
    }

    /// Of [`Key::float`].
    pub fn float(&self, name: &str) -> f64 {
        match self.setting(name) {
            Setting::Float(value) => *value,
            _ => wrong(name, "float", 0.0),
        }
    }

    /// Of [`Key::text`], [`Key::choice`] and [`Key::extension_id`].
    pub fn text(&self, name: &str) -> &str {
        match self.setting(name) {
            Setting::Text(value) => value,
            _ => wrong(name, "text", ""),
        }
    }

    /// Of [`Key::secret`].
    pub fn secret(&self, name: &str) -> Secret {
        match self.setting(name) {
            Setting::Secret(value) => value.clone(),
            _ => wrong(name, "secret", Secret::default()),
        }
    }

    /// Of [`Key::duration`].
    pub fn duration(&self, name: &str) -> Duration {
        match self.setting(name) {
            Setting::Duration(value) => *value,
            _ => wrong(name, "duration", Duration::ZERO),
        }
    }

    /// Of [`Key::endpoint`]; `None` where it is absent and has no default.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        match self.setting(name) {
            Setting::Endpoint(value) => value.as_ref(),
            _ => wrong(name, "endpoint", None),
        }
    }

    /// Of [`Key::list_of_text`] and [`Key::pipelines`].
    pub fn list(&self, name: &str) -> &[String] {
        match self.setting(name) {
            Setting::List(value) => value,
            _ => wrong(name, "list of text", &[]),
        }
    }

    /// Of [`Key::map_of_text`], in the order of the file.
    pub fn map(&self, name: &str) -> &[(String, String)] {
        match self.setting(name) {
            Setting::Map(value) => value,
            _ => wrong(name, "map of text", &[]),
        }
    }

    /// Of [`Key::map_of_secret`], in the order of the file.
    pub fn secret_map(&self, name: &str) -> &[(String, Secret)] {
        match self.setting(name) {
            Setting::SecretMap(value) => value,
            _ => wrong(name, "map of secret", &[]),
        }
    }

    /// Of [`Key::object`].
    pub fn section(&self, name: &str) -> &Section {
        match self.setting(name) {
            Setting::Section(value) => value,
            _ => wrong(name, "object", &EMPTY),
        }
    }

    /// Of [`Key::optional_object`]; `None` means off.
    pub fn optional_section(&self, name: &str) -> Option<&Section> {
        match self.setting(name) {
            Setting::Optional(value) => value.as_ref(),
            _ => wrong(name, "optional object", None),
        }
    }

    /// Of [`Key::list_of_objects`].
    pub fn sections(&self, name: &str) -> &[Section] {
        match self.setting(name) {
            Setting::Sections(value) => value,
            _ => wrong(name, "list of objects", &[]),
        }
    }

    /// Of [`Key::map_of_objects`], in the order of the file.
    pub fn named_sections(&self, name: &str) -> &[(String, Section)] {
        match self.setting(name) {
            Setting::Named(value) => value,
            _ => wrong(name, "map of objects", &[]),
        }
    }

    /// Of [`Key::any`]; `None` where it is absent or null.
    pub fn node(&self, name: &str) -> Option<&Node> {
        match self.setting(name) {
            Setting::Node(value) => value.as_ref(),
            _ => wrong(name, "any", None),
        }
    }

    fn setting(&self, name: &str) -> &Setting {
        self.field(name).map_or(&Setting::Nothing, |field| &field.setting)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key.name == name)
    }

    fn spot(&self, name: &str) -> (Place, String) {
        match name.is_empty() {
            true => (self.place.clone(), self.path.clone()),
            false => (self.place(name), self.path_of(name)),
        }
    }
}

/// What [`Section::section`] answers for a key that the table does not have.
static EMPTY: std::sync::LazyLock<Section> = std::sync::LazyLock::new(|| Section {
    path: String::new(),
    place: Place::new("", 0, 0),
    fields: Vec::new(),
});

/// A getter asked for a key that is not in the table, or by another type.
fn wrong<T>(name: &str, kind: &str, zero: T) -> T {
    debug_assert!(false, "the table of keys has no {kind} {name:?}");
    zero
}

/// `a::b`, without a separator at the root.
pub(super) fn join(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}::{name}"),
    }
}
