//! Actions on attributes, as `attributes` and `resource` share them. Keys and meaning are the
//! Collector's: each action sees what those before it have made.
//!
//! - `hash` writes SHA-256 in hexadecimal, as the Collector does since 0.85 (SHA-1 before).
//! - `extract` reads a text with named groups; a group that takes no part gives an empty text.
//! - `convert` leaves alone what cannot be converted.
//! - A key that stands twice is read at its first place and written, hashed, converted and deleted
//!   at all of them.
//!
//! Absent: `from_context`, and counting in `dropped_attributes_count` what an action deletes,
//! since that field is for what was lost and not for what was not wanted.

mod list;
mod read;
pub mod values;

pub use list::{List, Value};
pub use read::{KEYS, named_groups};

use crate::config::{Problems, Section};
use crate::otlp::view as otlp;
use regex::bytes::Regex;
use std::borrow::Cow;
use values::{Target, view};

/// The actions of one processor, in order.
pub struct Actions {
    list: Vec<Action>,
}

enum Action {
    Insert(Vec<u8>, Source),
    Update(Vec<u8>, Source),
    Upsert(Vec<u8>, Source),
    Delete(Keys),
    Hash(Keys),
    Extract(Vec<u8>, Groups),
    Convert(Vec<u8>, Target),
}

/// Where a value comes from.
#[derive(Default)]
struct Source {
    /// Encoded.
    value: Option<Vec<u8>>,
    attribute: Option<Vec<u8>>,
    /// If the attribute is not there. Encoded.
    default: Option<Vec<u8>>,
}

/// A key, and all keys that match a pattern.
struct Keys {
    key: Option<Vec<u8>>,
    pattern: Option<Regex>,
}

/// A pattern all of whose groups have names, which are keys.
pub struct Groups {
    /// On text, so that what a group takes is text.
    pub regex: regex::Regex,
    /// Of the groups from 1 on.
    pub names: Vec<Vec<u8>>,
}

impl Keys {
    fn has(&self, key: &[u8]) -> bool {
        self.key.as_deref() == Some(key)
            || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
    }
}

impl Source {
    fn value<'a>(&'a self, list: &List<'a>) -> Option<Value<'a>> {
        let own = self.value.as_deref().map(Cow::Borrowed);
        let other = || list.get(self.attribute.as_deref()?);
        own.or_else(other).or_else(|| self.default.as_deref().map(Cow::Borrowed))
    }
}

impl Actions {
    /// The actions in `sections`; those with mistakes are left out and reported.
    pub fn read(sections: &[Section], problems: &mut Problems) -> Actions {
        let list = sections.iter().filter_map(|section| read::action(section, problems));
        Actions { list: list.collect() }
    }

    /// Applies all actions to `list`.
    pub fn apply<'a>(&'a self, list: &mut List<'a>) {
        for action in &self.list {
            action.apply(list);
        }
    }
}

impl Action {
    fn apply<'a>(&'a self, list: &mut List<'a>) {
        match self {
            Action::Insert(key, source) => {
                if !list.has(key)
                    && let Some(value) = source.value(list)
                {
                    list.set(key, value);
                }
            }
            Action::Update(key, source) => {
                if list.has(key)
                    && let Some(value) = source.value(list)
                {
                    list.update(key, &value);
                }
            }
            Action::Upsert(key, source) => {
                if let Some(value) = source.value(list) {
                    list.set(key, value);
                }
            }
            Action::Delete(keys) => list.remove(|key| keys.has(key)),
            Action::Hash(keys) => list.change(|key| keys.has(key), |old| Some(values::hash(old))),
            Action::Convert(wanted, to) => {
                list.change(|key| key == wanted, |old| values::convert(old, *to));
            }
            Action::Extract(key, groups) => {
                let Some(value) = list.get(key) else { return };
                let Some(text) = view(&value).as_text() else { return };
                let Some(found) = groups.regex.captures(otlp::text(text)) else { return };
                for (name, group) in groups.names.iter().zip(found.iter().skip(1)) {
                    let text = group.map_or("", |group| group.as_str());
                    list.set(name, Cow::Owned(values::text(text.as_bytes())));
                }
            }
        }
    }
}
