//! Checking a map against a table of keys. Wrong values are reported and replaced by defaults, so
//! that one walk finds everything.

use super::duration;
use super::endpoint::Endpoint;
use super::key::{Default, Key, Kind};
use super::node::{Entry, Node, Place, Value};
use super::problem::Problems;
use super::secret::Secret;
use super::section::{Field, Section, Setting, join};
use super::suggest;

/// The section of `node`, which is a map or null.
pub(super) fn section(
    node: &Node,
    keys: &'static [Key],
    path: &str,
    problems: &mut Problems,
) -> Section {
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        problems.error(
            node.place.clone(),
            path,
            mismatch(node, "a map of keys to values"),
        );
    }
    unknown_keys(node, keys, path, problems);
    let fields = keys.iter().map(|key| {
        let entry = node.get(key.name);
        field(key, entry, &node.place, path, problems)
    });
    let fields = fields.collect();
    Section::new(path, &node.place, fields)
}

fn unknown_keys(node: &Node, keys: &'static [Key], path: &str, problems: &mut Problems) {
    for entry in node.entries() {
        if keys.iter().all(|key| key.name != entry.name) {
            let valid: Vec<&str> = keys
                .iter()
                .filter(|key| key.is_supported())
                .map(|key| key.name)
                .collect();
            let hint = suggest::hint(&entry.name, &valid, "keys");
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
        return Field {
            key,
            setting: absent(key, around, &path, problems),
            place: None,
        };
    };
    // An object speaks for itself; every other value is pointed at where it stands.
    let mut place = Some(entry.node.place.clone());
    if entry.node.is_null() {
        place = Some(entry.place.clone());
    }
    let setting = match convert(key, entry, &path, problems) {
        Ok(setting) => setting,
        Err(wanted) => {
            // A secret that is wrong is still a secret.
            let found = match key.kind {
                Kind::Secret => "this value cannot be used; write ".to_owned() + &wanted,
                _ => mismatch(&entry.node, &wanted),
            };
            problems.error(entry.node.place.clone(), path.as_str(), found);
            absent(key, around, &path, &mut Problems::new())
        }
    };
    Field {
        key,
        setting,
        place,
    }
}

/// Whether writing the key without a value means something.
fn is_switch(key: &Key) -> bool {
    matches!(key.kind, Kind::OptionalObject(_) | Kind::Unsupported(_))
}

fn mismatch(node: &Node, wanted: &str) -> String {
    format!("found {}; write {wanted}", node.describe())
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
            debug_assert!(
                value.is_some(),
                "the default of {path} is not a duration: {text}"
            );
            Setting::Duration(value.unwrap_or_default())
        }
        (Kind::Endpoint, Default::Text(text)) => {
            let value = Endpoint::parse(text).ok();
            debug_assert!(
                value.is_some() || text.is_empty(),
                "default of {path}: {text}"
            );
            Setting::Endpoint(value)
        }
        (_, Default::Text(text)) => Setting::Text((*text).to_owned()),
        (_, Default::List(items)) => Setting::List(items.iter().map(|&s| s.to_owned()).collect()),
        (Kind::Secret, _) => Setting::Secret(Secret::default()),
        (Kind::MapOfText, _) => Setting::Map(Vec::new()),
        (Kind::MapOfSecret, _) => Setting::SecretMap(Vec::new()),
        (Kind::Object(keys), _) => Setting::Section(section(&nothing(), keys, path, problems)),
        (Kind::OptionalObject(_), _) => Setting::Optional(None),
        (Kind::ListOfObjects(_), _) => Setting::Sections(Vec::new()),
        (Kind::MapOfObjects(_), _) => Setting::Named(Vec::new()),
        (Kind::Any, _) => Setting::Node(None),
        _ => Setting::Nothing,
    }
}

/// The setting of a key that is written. The error is what should have been written; problems
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
            _ => Err("true or false".to_owned()),
        },
        Kind::Int(min, max) => whole(node, *min, *max, ""),
        Kind::SizeBytes => whole(node, 0, i64::MAX, " of bytes"),
        Kind::SizeMib => whole(node, 0, i64::MAX >> 20, " of MiB"),
        Kind::Float(min, max) => float(node, *min, *max),
        Kind::Text => Ok(Setting::Text(text(node)?)),
        Kind::Secret => Ok(Setting::Secret(Secret::new(text(node)?))),
        Kind::Duration => time(node),
        Kind::Endpoint => endpoint(node),
        Kind::Choice(choices) => choice(node, choices),
        Kind::ListOfText => list(node, path, problems).map(Setting::List),
        Kind::MapOfText => Ok(Setting::Map(map(node, path, false, problems)?)),
        Kind::MapOfSecret => {
            let pairs = map(node, path, true, problems)?;
            let hide = |(name, value): (String, String)| (name, Secret::new(value));
            Ok(Setting::SecretMap(pairs.into_iter().map(hide).collect()))
        }
        Kind::Object(keys) => Ok(Setting::Section(section(node, keys, path, problems))),
        Kind::OptionalObject(keys) => {
            let mut node = node.clone();
            if node.is_null() {
                node.place = entry.place.clone();
            }
            Ok(Setting::Optional(Some(section(
                &node, keys, path, problems,
            ))))
        }
        Kind::ListOfObjects(keys) => sections(node, keys, path, problems),
        Kind::MapOfObjects(keys) => named(node, keys, path, problems),
        Kind::Any => Ok(Setting::Node(Some(node.clone()))),
        Kind::Unsupported(why) => {
            problems.error(
                entry.place.clone(),
                path,
                format!("is not supported here: {why}"),
            );
            Ok(Setting::Nothing)
        }
        Kind::Ignored(why) => {
            problems.warning(
                entry.place.clone(),
                path,
                format!("has no effect here: {why}"),
            );
            Ok(Setting::Nothing)
        }
    }
}

fn whole(node: &Node, min: i64, max: i64, unit: &str) -> Result<Setting, String> {
    match node.value {
        Value::Int(value) if (min..=max).contains(&value) => Ok(Setting::Int(value)),
        _ => {
            let bounds = bounds(min, max, i64::MIN, i64::MAX);
            Err(format!("a whole number{unit} {bounds}")
                .trim_end()
                .to_owned())
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
            Err(format!("a number {bounds}").trim_end().to_owned())
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
        (None, Value::List(_) | Value::Map(_) | Value::Null) => Err("a text".to_owned()),
        (None, _) => Err(format!("a text, in quotes: \"{}\"", node.describe())),
    }
}

fn time(node: &Node) -> Result<Setting, String> {
    let found = match &node.value {
        Value::Text(text) => duration::parse(text),
        Value::Int(0) => duration::parse("0"),
        _ => None,
    };
    found
        .map(Setting::Duration)
        .ok_or_else(|| match node.value {
            Value::Int(_) | Value::Float(_) => {
                format!("a duration with its unit such as {}s", node.describe())
            }
            _ => "a duration such as 5s, 200ms or 1h30m".to_owned(),
        })
}

fn endpoint(node: &Node) -> Result<Setting, String> {
    let Some(text) = node.text() else {
        return Err("an endpoint such as localhost:4317".to_owned());
    };
    match Endpoint::parse(text) {
        Ok(endpoint) => Ok(Setting::Endpoint(Some(endpoint))),
        Err(right) => Err(right.strip_prefix("write ").unwrap_or(right).to_owned()),
    }
}

fn choice(node: &Node, choices: &[&str]) -> Result<Setting, String> {
    let found = node.text().unwrap_or_default();
    match choices
        .iter()
        .find(|choice| choice.eq_ignore_ascii_case(found))
    {
        Some(choice) if node.text().is_some() => Ok(Setting::Text((*choice).to_owned())),
        _ => Err(format!("one of {}", choices.join(", "))),
    }
}

/// The texts of a list; a text alone is split at commas, as the Collector does.
pub(super) fn list(
    node: &Node,
    path: &str,
    problems: &mut Problems,
) -> Result<Vec<String>, String> {
    let Value::List(items) = &node.value else {
        let text = node.text().ok_or("a list of texts")?;
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        return Ok(parts.map(str::to_owned).collect());
    };
    let mut texts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match text(item) {
            Ok(text) => texts.push(text),
            Err(wanted) => {
                let path = format!("{path}[{index}]");
                problems.error(item.place.clone(), path, mismatch(item, &wanted));
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
        return Err("a map of names to texts".to_owned());
    };
    let mut pairs = Vec::new();
    for entry in entries {
        match text(&entry.node) {
            Ok(text) => pairs.push((entry.name.clone(), text)),
            Err(wanted) => {
                let text = match secret {
                    true => "this value is not a text; put it in quotes".to_owned(),
                    false => mismatch(&entry.node, &wanted),
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
        return Err("a list of maps".to_owned());
    };
    let one = |(index, item)| section(item, keys, &format!("{path}[{index}]"), problems);
    Ok(Setting::Sections(
        items.iter().enumerate().map(one).collect(),
    ))
}

fn named(
    node: &Node,
    keys: &'static [Key],
    path: &str,
    problems: &mut Problems,
) -> Result<Setting, String> {
    let Value::Map(entries) = &node.value else {
        return Err("a map of names to maps".to_owned());
    };
    let one = |entry: &Entry| {
        let path = join(path, &entry.name);
        (
            entry.name.clone(),
            section(&entry.node, keys, &path, problems),
        )
    };
    Ok(Setting::Named(entries.iter().map(one).collect()))
}
