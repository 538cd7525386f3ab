//! Checking a map against a table of keys. Wrong values are reported and replaced by defaults, so
//! that one walk finds everything.

use super::duration;
use super::endpoint::Endpoint;
use super::key::{Default, Key, Kind};
use super::node::{Entry, Node, Place, Value};
use super::problem::Problems;
use super::secret::{REDACTED, Secret};
use super::section::{Field, Section, Setting, join};
use super::suggest;

/// The section of `node`, which is a map or null. `place` is where its key stands.
pub(super) fn section(
    node: &Node,
    place: &Place,
    keys: &'static [Key],
    path: &str,
    problems: &mut Problems,
) -> Section {
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        problems.error(node.place.clone(), path, mismatch(node, "write a map of keys to values"));
    }
    unknown_keys(node, keys, path, problems);
    let fields = keys.iter().map(|key| {
        let entry = node.get(key.name);
        field(key, entry, place, path, problems)
    });
    let fields = fields.collect();
    Section::new(path, place, fields)
}

fn unknown_keys(node: &Node, keys: &'static [Key], path: &str, problems: &mut Problems) {
    for entry in node.entries() {
        if keys.iter().all(|key| key.name != entry.name) {
            let valid: Vec<&str> =
                keys.iter().filter(|key| key.is_supported()).map(|key| key.name).collect();
            let hint = suggest::hint(&entry.name, &valid, "valid keys");
            let text = format!("unknown key {:?}{hint}", entry.name);
            problems.error(entry.place.clone(), path, text);
        }
    }
}

/// One key: its entry if it is written, with the default where it is absent, null or wrong.
fn field(
    key: &'static Key,
    entry: Option<&Entry>,
    around: &Place,
    path: &str,
    problems: &mut Problems,
) -> Field {
    let path = join(path, key.name);
    let Some(entry) = entry.filter(|entry| !entry.node.is_null() || is_switch(key)) else {
        if key.required {
            let place = entry.map_or(around, |entry| &entry.place).clone();
            problems.error(place, path.as_str(), format!("must be set: {}", key.about));
        }
        return Field { key, setting: absent(key, around, &path, problems), place: None };
    };
    let nested = matches!(key.kind, Kind::Object(_) | Kind::OptionalObject(_));
    let place = if nested || entry.node.is_null() { &entry.place } else { &entry.node.place };
    let place = Some(place.clone());
    let setting = match convert(key, entry, &path, problems) {
        Ok(setting) => setting,
        Err(right) => {
            let found = match key.kind {
                Kind::Secret => HIDDEN.to_owned(),
                // It may hold a user and a password.
                Kind::Endpoint if entry.node.text().is_some_and(|text| text.contains('@')) => {
                    format!("found {REDACTED}; {right}")
                }
                _ => mismatch(&entry.node, &right),
            };
            problems.error(entry.node.place.clone(), path.as_str(), found);
            absent(key, around, &path, &mut Problems::new())
        }
    };
    Field { key, setting, place }
}

/// Whether writing the key without a value means something.
fn is_switch(key: &Key) -> bool {
    matches!(key.kind, Kind::OptionalObject(_) | Kind::Unsupported(_))
}

/// A secret that is wrong is still a secret.
const HIDDEN: &str = "this value is not a text; put it in quotes";

/// What was found and, as a request, what would be right.
fn mismatch(node: &Node, right: &str) -> String {
    format!("found {}; {right}", node.describe())
}

/// The setting of a key that is not written.
fn absent(key: &'static Key, around: &Place, path: &str, problems: &mut Problems) -> Setting {
    let nothing = || Node::new(Value::Null, around.clone());
    match (&key.kind, &key.default) {
        (Kind::Bool, Default::Bool(value)) => Setting::Bool(*value),
        (Kind::Int(..) | Kind::SizeBytes | Kind::SizeMib, Default::Int(value)) => {
            Setting::Int(*value)
        }
        (Kind::Float(..), Default::Float(value)) => Setting::Float(*value),
        (Kind::Duration, Default::Text(text)) => {
            let value = duration::parse(text);
            debug_assert!(value.is_some(), "the default of {path} is not a duration: {text}");
            Setting::Duration(value.unwrap_or_default())
        }
        (Kind::Endpoint, Default::Text(text)) => {
            let value = Endpoint::parse(text).ok();
            debug_assert!(value.is_some() || text.is_empty(), "default of {path}: {text}");
            Setting::Endpoint(value)
        }
        (_, Default::Text(text)) => Setting::Text((*text).to_owned()),
        (_, Default::List(items)) => Setting::List(items.iter().map(|&s| s.to_owned()).collect()),
        (Kind::Secret, _) => Setting::Secret(Secret::default()),
        (Kind::MapOfText, _) => Setting::Map(Vec::new()),
        (Kind::MapOfSecret, _) => Setting::SecretMap(Vec::new()),
        (Kind::Object(keys), _) => {
            Setting::Section(section(&nothing(), around, keys, path, problems))
        }
        (Kind::OptionalObject(_), _) => Setting::Optional(None),
        (Kind::ListOfObjects(_), _) => Setting::Sections(Vec::new()),
        (Kind::MapOfObjects(_), _) => Setting::Named(Vec::new()),
        (Kind::Any, _) => Setting::Node(None),
        _ => Setting::Nothing,
    }
}

/// The setting of a key that is written. The error says what would be right; problems
/// inside collections are reported here, each at its own place.
fn convert(
    key: &'static Key,
    entry: &Entry,
    path: &str,
    problems: &mut Problems,
) -> Result<Setting, String> {
    let node = &entry.node;
    match &key.kind {
        Kind::Bool => match node.value {
            Value::Bool(value) => Ok(Setting::Bool(value)),
            _ => Err("write true or false".to_owned()),
        },
        Kind::Int(min, max) => whole(node, *min, *max, ""),
        Kind::SizeBytes => whole(node, 0, i64::MAX, " of bytes"),
        Kind::SizeMib => whole(node, 0, i64::MAX >> 20, " of MiB"),
        Kind::Float(min, max) => float(node, *min, *max),
        Kind::Text | Kind::ExtensionId => Ok(Setting::Text(text(node)?)),
        Kind::Secret => Ok(Setting::Secret(Secret::new(text(node)?))),
        Kind::Duration => time(node),
        Kind::Endpoint => endpoint(node, key),
        Kind::Choice(choices) => choice(node, choices),
        Kind::ListOfText | Kind::Pipelines => list(node, path, problems).map(Setting::List),
        Kind::MapOfText => Ok(Setting::Map(map(node, path, false, problems)?)),
        Kind::MapOfSecret => {
            let pairs = map(node, path, true, problems)?;
            let hide = |(name, value): (String, String)| (name, Secret::new(value));
            Ok(Setting::SecretMap(pairs.into_iter().map(hide).collect()))
        }
        Kind::Object(keys) => {
            Ok(Setting::Section(section(node, &entry.place, keys, path, problems)))
        }
        Kind::OptionalObject(keys) => {
            let section = section(node, &entry.place, keys, path, problems);
            Ok(Setting::Optional(Some(section)))
        }
        Kind::ListOfObjects(keys) => sections(node, keys, path, problems),
        Kind::MapOfObjects(keys) => named(node, keys, path, problems),
        Kind::Any => Ok(Setting::Node(Some(node.clone()))),
        Kind::Unsupported(why) => {
            problems.error(entry.place.clone(), path, format!("is not supported here: {why}"));
            Ok(Setting::Nothing)
        }
        Kind::Ignored(why) => {
            problems.warning(entry.place.clone(), path, format!("has no effect here: {why}"));
            Ok(Setting::Nothing)
        }
    }
}

/// Why the key would refuse its own default; `None` where all is well.
pub(super) fn wrong_default(key: &'static Key) -> Option<String> {
    let value = match key.default {
        Default::Text("") | Default::None | Default::List(_) => return None,
        Default::Bool(value) => Value::Bool(value),
        Default::Int(value) => Value::Int(value),
        Default::Float(value) => Value::Float(value),
        Default::Text(text) => Value::Text(text.to_owned()),
    };
    let place = Place::new("default", 1, 1);
    let (name, node) = (key.name.to_owned(), Node::new(value, place.clone()));
    let entry = Entry { name, place, node };
    let refused = convert(key, &entry, key.name, &mut Problems::new()).err()?;
    Some(mismatch(&entry.node, &refused))
}

fn whole(node: &Node, min: i64, max: i64, unit: &str) -> Result<Setting, String> {
    match node.value {
        Value::Int(value) if (min..=max).contains(&value) => Ok(Setting::Int(value)),
        _ => {
            let bounds = bounds(min, max, i64::MIN, i64::MAX);
            Err(format!("write a whole number{unit} {bounds}").trim_end().to_owned())
        }
    }
}

fn float(node: &Node, min: f64, max: f64) -> Result<Setting, String> {
    let value = match node.value {
        Value::Int(value) => value as f64,
        Value::Float(value) => value,
        _ => f64::NAN,
    };
    match (min..=max).contains(&value) {
        true => Ok(Setting::Float(value)),
        false => {
            let bounds = bounds(min, max, f64::MIN, f64::MAX);
            Err(format!("write a number {bounds}").trim_end().to_owned())
        }
    }
}

/// `from 1 to 100`, `of at least 1`, or nothing where a bound is the type's own.
fn bounds<T: PartialOrd + std::fmt::Display>(min: T, max: T, least: T, most: T) -> String {
    match (min <= least, max >= most) {
        (true, true) => String::new(),
        (true, false) => format!("of at most {max}"),
        (false, true) => format!("of at least {min}"),
        (false, false) => format!("from {min} to {max}"),
    }
}

fn text(node: &Node) -> Result<String, String> {
    match (node.text(), &node.value) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Value::List(_) | Value::Map(_) | Value::Null) => Err("write a text".to_owned()),
        (None, _) => Err("put quotes around it to make it a text".to_owned()),
    }
}

fn time(node: &Node) -> Result<Setting, String> {
    let found = match &node.value {
        Value::Text(text) => duration::parse(text),
        Value::Int(0) => duration::parse("0"),
        _ => None,
    };
    found.map(Setting::Duration).ok_or_else(|| match node.value {
        Value::Int(_) | Value::Float(_) => {
            format!("write a duration with its unit such as {}s", node.describe())
        }
        _ => "write a duration such as 5s, 200ms or 1h30m".to_owned(),
    })
}

fn endpoint(node: &Node, key: &Key) -> Result<Setting, String> {
    let Some(text) = node.text() else {
        return Err("write an endpoint such as localhost:4317".to_owned());
    };
    // Where none is the default, none may be written.
    if text.is_empty() && !key.required && matches!(key.default, Default::Text("")) {
        return Ok(Setting::Endpoint(None));
    }
    match Endpoint::parse(text) {
        Ok(endpoint) => Ok(Setting::Endpoint(Some(endpoint))),
        Err(right) => Err(right.to_owned()),
    }
}

fn choice(node: &Node, choices: &[&str]) -> Result<Setting, String> {
    // A version such as 1.2 reads as a number.
    let number = matches!(node.value, Value::Float(_)).then(|| node.describe());
    let found = node.text().or(number.as_deref());
    match choices.iter().find(|c| found.is_some_and(|found| c.eq_ignore_ascii_case(found))) {
        Some(choice) => Ok(Setting::Text((*choice).to_owned())),
        _ => Err(format!("write one of {}", choices.join(", "))),
    }
}

/// The texts of a list; a text alone is split at commas, as the Collector does.
pub(super) fn list(
    node: &Node,
    path: &str,
    problems: &mut Problems,
) -> Result<Vec<String>, String> {
    let Value::List(items) = &node.value else {
        let text = node.text().ok_or("write a list of texts")?;
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        return Ok(parts.map(str::to_owned).collect());
    };
    let mut texts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match text(item) {
            Ok(text) => texts.push(text),
            Err(right) => {
                let path = format!("{path}[{index}]");
                problems.error(item.place.clone(), path, mismatch(item, &right));
            }
        }
    }
    Ok(texts)
}

fn map(
    node: &Node,
    path: &str,
    secret: bool,
    problems: &mut Problems,
) -> Result<Vec<(String, String)>, String> {
    let Value::Map(entries) = &node.value else {
        return Err("write a map of names to texts".to_owned());
    };
    let mut pairs = Vec::new();
    for entry in entries {
        match text(&entry.node) {
            Ok(text) => pairs.push((entry.name.clone(), text)),
            Err(right) => {
                let text = match secret {
                    true => HIDDEN.to_owned(),
                    false => mismatch(&entry.node, &right),
                };
                problems.error(entry.node.place.clone(), join(path, &entry.name), text);
            }
        }
    }
    Ok(pairs)
}

fn sections(
    node: &Node,
    keys: &'static [Key],
    path: &str,
    problems: &mut Problems,
) -> Result<Setting, String> {
    let Value::List(items) = &node.value else {
        return Err("write a list of maps".to_owned());
    };
    let one =
        |(index, item)| section(item, &item.place, keys, &format!("{path}[{index}]"), problems);
    Ok(Setting::Sections(items.iter().enumerate().map(one).collect()))
}

fn named(
    node: &Node,
    keys: &'static [Key],
    path: &str,
    problems: &mut Problems,
) -> Result<Setting, String> {
    let Value::Map(entries) = &node.value else {
        return Err("write a map of names to maps".to_owned());
    };
    let one = |entry: &Entry| {
        let path = join(path, &entry.name);
        (entry.name.clone(), section(&entry.node, &entry.place, keys, &path, problems))
    };
    Ok(Setting::Named(entries.iter().map(one).collect()))
}
