//! From the configuration to actions, with every mistake in its place.

use super::values::{self, Target};
use super::{Action, Groups, Keys, Source};
use crate::condition::pattern;
use crate::config::{Key, Problems, Section};
use crate::limits;
use regex::RegexBuilder;

const FROM_CONTEXT: &str = "what a request carries beside its data (headers, authentication, the \
    client's address) does not travel with the data here; let the sender set an attribute and use \
    `from_attribute`, or set a `value`";

/// The keys of one action.
pub const KEYS: &[Key] = &[
    Key::choice(
        "action",
        &["insert", "update", "upsert", "delete", "hash", "extract", "convert"],
        "",
        "set where it is absent, where it is present, in both cases; delete; replace by the \
         SHA-256; set the named groups of `pattern`; convert to `converted_type`",
    )
    .required(),
    Key::text("key", "", "the attribute"),
    Key::any("value", "what to set; the type is that of the YAML"),
    Key::text("from_attribute", "", "set what this attribute has; nothing is done without it"),
    Key::any("default_value", "set this if there is no attribute `from_attribute`"),
    Key::text(
        "pattern",
        "",
        "delete, hash: keys that match too; extract: what to read the value by",
    ),
    Key::choice("converted_type", &["int", "double", "string"], "", "what to convert to"),
    Key::unsupported("from_context", FROM_CONTEXT),
];

const SOURCES: [&str; 3] = ["value", "from_attribute", "default_value"];

/// The action that `section` describes.
pub(super) fn action(section: &Section, problems: &mut Problems) -> Option<Action> {
    let name = section.text("action");
    let key = section.text("key").as_bytes().to_vec();
    let takes: &[&str] = match name {
        "insert" | "update" | "upsert" => &["value", "from_attribute", "default_value"],
        "delete" | "hash" | "extract" => &["pattern"],
        "convert" => &["converted_type"],
        // The key is missing or wrong, which has been said.
        _ => return None,
    };
    let optional = SOURCES.iter().chain(&["pattern", "converted_type"]);
    for extra in optional.filter(|extra| section.is_set(extra) && !takes.contains(extra)) {
        let text = format!("{name} does not use it; it takes {}", takes.join(", "));
        section.error(problems, extra, text);
    }
    let alone = name != "delete" && name != "hash";
    if key.is_empty() && (alone || section.text("pattern").is_empty()) {
        let or = if alone { "" } else { " or a `pattern` of keys" };
        section.error(problems, "", format!("{name} needs the `key` of an attribute{or}"));
    }
    Some(match name {
        "insert" => Action::Insert(key, source(section, problems)?),
        "update" => Action::Update(key, source(section, problems)?),
        "upsert" => Action::Upsert(key, source(section, problems)?),
        "delete" => Action::Delete(keys(section, key, problems)?),
        "hash" => Action::Hash(keys(section, key, problems)?),
        "extract" => {
            let text = section.text("pattern");
            if text.is_empty() {
                let text = "extract needs a `pattern` whose named groups are the keys to set";
                section.error(problems, "", text);
                return None;
            }
            let groups = named_groups(text).and_then(|groups| match groups.names.is_empty() {
                true => Err("it has no named group; write (?P<key>…) around what to take".into()),
                false => Ok(groups),
            });
            Action::Extract(key, or_error(groups, section, problems)?)
        }
        _ => Action::Convert(key, target(section, problems)?),
    })
}

/// The value of a result; its error is one of the key `pattern`.
fn or_error<T>(result: Result<T, String>, section: &Section, problems: &mut Problems) -> Option<T> {
    result.map_err(|text| section.error(problems, "pattern", text)).ok()
}

fn source(section: &Section, problems: &mut Problems) -> Option<Source> {
    let text = section.text("from_attribute");
    let source = Source {
        value: section.node("value").map(values::encode),
        attribute: (!text.is_empty()).then(|| text.as_bytes().to_vec()),
        default: section.node("default_value").map(values::encode),
    };
    let name = section.text("action");
    match (&source.value, &source.attribute, &source.default) {
        (Some(_), Some(_), _) => {
            let text = "stands beside `value`; write one of the two";
            section.error(problems, "from_attribute", text);
        }
        // That it is not supported has been said.
        (None, None, None) if section.is_set("from_context") => {}
        (None, None, None) => {
            let sources = SOURCES.join(", ");
            section.error(problems, "", format!("{name} needs what to set: one of {sources}"));
        }
        _ => return Some(source),
    }
    None
}

fn keys(section: &Section, key: Vec<u8>, problems: &mut Problems) -> Option<Keys> {
    let key = (!key.is_empty()).then_some(key);
    let pattern = match section.text("pattern") {
        "" => None,
        text => Some(or_error(pattern(text), section, problems)?),
    };
    Some(Keys { key, pattern })
}

fn target(section: &Section, problems: &mut Problems) -> Option<Target> {
    match section.text("converted_type") {
        "int" => Some(Target::Int),
        "double" => Some(Target::Double),
        "string" => Some(Target::Text),
        _ => {
            if !section.is_set("converted_type") {
                let text = "convert needs a `converted_type`: int, double or string";
                section.error(problems, "", text);
            }
            None
        }
    }
}

/// The regular expression `text`, whose groups must have names; the error is a sentence.
pub fn named_groups(text: &str) -> Result<Groups, String> {
    pattern(text)?;
    let regex = RegexBuilder::new(text).size_limit(limits::PATTERN_BYTES).build();
    let regex = regex.map_err(|_| "it can match parts of a character; leave out (?-u)")?;
    let count = regex.captures_len() - 1;
    if count > limits::PATTERN_GROUPS {
        let most = limits::PATTERN_GROUPS;
        return Err(format!("it has {count} groups; write at most {most} in one pattern"));
    }
    let names: Vec<_> = regex.capture_names().skip(1).flatten().map(Vec::from).collect();
    match names.len() == count {
        true => Ok(Groups { regex, names }),
        false => Err("one of its groups has no name; write (?P<key>…) around what to take and \
                      (?:…) around the rest"
            .into()),
    }
}
