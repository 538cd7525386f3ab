//! `span`: names spans after their attributes, takes attributes out of their names, sets their
//! status; in this order. Keys and meaning are the Collector's, `include` and `exclude` stand in
//! [`super::selection`].
//!
//! A group of a rule that takes no part in the match, or stands inside another group, does not
//! change the name; the first sets no attribute either. The Collector stops there with a fault.

use super::actions::values::{plain, text, view};
use super::actions::{Groups, List, named_groups};
use super::selection::{self, Selection};
use super::walk;
use super::{Built, Kind, Out, Setup, Stateless};
use crate::batch::{Batch, Signal};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{span, status};
use crate::otlp::view::{self as otlp, Span};
use crate::otlp::wire::{Field, Message, put_bytes_field, put_message_field, put_varint_field};
use crate::verdict::Verdict;
use std::borrow::Cow;
use std::sync::Arc;

const TO_ATTRIBUTES: &[Key] = &[
    Key::list_of_text(
        "rules",
        &[],
        "regular expressions for the name: each named group becomes an attribute, and {key} in \
         the name",
    )
    .required(),
    Key::bool("break_after_match", false, "leave out the rules behind the first that matches"),
    Key::bool("keep_original_name", false, "set the attributes alone"),
];

const NAME: &[Key] = &[
    Key::list_of_text("from_attributes", &[], "the new name: their values, if all are there"),
    Key::text("separator", "", "between the values"),
    Key::optional_object("to_attributes", TO_ATTRIBUTES, "attributes out of the name"),
];

const STATUS: &[Key] = &[
    Key::choice("code", &["Ok", "Error", "Unset"], "", "the status").required(),
    Key::text("description", "", "of an Error"),
];

const KEYS: &[Key] = &[
    Key::object("name", NAME, "what to do with the name"),
    Key::optional_object("status", STATUS, "the status to set"),
    Key::optional_object("include", selection::KEYS, "only spans that match this are changed"),
    Key::optional_object("exclude", selection::KEYS, "spans that match this are not changed"),
];

const SAMPLE: &str = r#"name:
  # the new name, if all are there: GET /users
  from_attributes: [http.request.method, http.route]
  separator: " "
  # the name /documents/17 becomes /documents/{document_id}, with the attribute document_id: 17
  to_attributes:
    rules: ['^/documents/(?P<document_id>[^/]+)']
    break_after_match: false
    keep_original_name: false
status: {code: Error, description: rejected by policy}
# all that is written must match
include: {match_type: strict, services: [web]}
exclude: {match_type: regexp, span_names: ["^internal "]}
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "span",
        aliases: &[],
        about: "names spans after attributes, takes attributes out of names, sets the status",
        sample: SAMPLE,
        signals: &["traces"],
        keys: KEYS,
        check: |section, problems| {
            let rename = Rename::read(section.section("name"), problems);
            let status = section.optional_section("status");
            if rename.is_none()
                && !section.section("name").is_set("to_attributes")
                && status.is_none()
            {
                let text =
                    "does nothing; write name::from_attributes, name::to_attributes or status";
                section.error(problems, "", text);
            }
            if let Some(status) = status
                && status.is_set("description")
                && ["Ok", "Unset"].contains(&status.text("code"))
            {
                let text = format!("only an Error has one; the code is {}", status.text("code"));
                status.error(problems, "description", text);
            }
            Selection::check(section, &[Signal::Traces], problems);
        },
    },
    build: |section, setup| Built::Stateless(Arc::new(SpanProcessor::new(section, setup))),
};

/// The processor.
struct SpanProcessor {
    id: String,
    rename: Option<Rename>,
    status: Option<Status>,
    selection: Selection,
}

/// What becomes of the name.
struct Rename {
    from: Vec<String>,
    separator: String,
    rules: Vec<Groups>,
    break_after_match: bool,
    keep_original_name: bool,
}

struct Status {
    code: u64,
    description: String,
}

impl Rename {
    /// `None` if nothing is to be done. Mistakes are reported and left out.
    fn read(section: &Section, problems: &mut Problems) -> Option<Rename> {
        let mut rename = Rename {
            from: section.list("from_attributes").to_vec(),
            separator: section.text("separator").to_owned(),
            rules: vec![],
            break_after_match: false,
            keep_original_name: false,
        };
        if let Some(to) = section.optional_section("to_attributes") {
            rename.break_after_match = to.bool("break_after_match");
            rename.keep_original_name = to.bool("keep_original_name");
            let rules = to.list("rules");
            if rules.is_empty() && to.is_set("rules") {
                to.error(problems, "rules", "has no entry; write at least one regular expression");
            }
            for (index, rule) in rules.iter().enumerate() {
                match named_groups(rule) {
                    Ok(groups) => rename.rules.push(groups),
                    Err(text) => {
                        let path = format!("{}[{index}]", to.path_of("rules"));
                        problems.error(to.place("rules"), path, text);
                    }
                }
            }
        }
        (!rename.from.is_empty() || !rename.rules.is_empty()).then_some(rename)
    }

    /// The name that the attributes give; `None` if one is missing.
    fn name(&self, list: &List<'_>, id: &str) -> Result<Option<Vec<u8>>, Verdict> {
        let mut name = vec![];
        for (place, key) in self.from.iter().enumerate() {
            let Some(value) = list.get(key.as_bytes()) else { return Ok(None) };
            if place > 0 {
                name.extend_from_slice(self.separator.as_bytes());
            }
            match plain(view(&value)) {
                Some(text) => name.extend_from_slice(&text),
                None => name.extend_from_slice(b"<unknown-attribute-type>"),
            }
            walk::within(name.len(), id)?;
        }
        Ok((!self.from.is_empty()).then_some(name))
    }

    /// The name after the rules; what they take out of it is set in `list`.
    fn apply_rules<'a>(&'a self, mut name: String, list: &mut List<'a>) -> String {
        for rule in &self.rules {
            let Some(found) = rule.regex.captures(&name) else { continue };
            let (mut after, mut end) = (String::new(), 0);
            for (key, group) in rule.names.iter().zip(found.iter().skip(1)) {
                let Some(group) = group else { continue };
                list.set(key, Cow::Owned(text(group.as_str().as_bytes())));
                if let Some(before) = name.get(end..group.start()) {
                    after.push_str(before);
                    after.push_str(&format!("{{{}}}", otlp::text(key)));
                    end = group.end();
                }
            }
            after.push_str(name.get(end..).unwrap_or_default());
            if !self.keep_original_name {
                name = after;
            }
            if self.break_after_match {
                break;
            }
        }
        name
    }
}

impl SpanProcessor {
    fn new(section: &Section, setup: &Setup<'_>) -> SpanProcessor {
        let status = section.optional_section("status").map(|status| Status {
            code: match status.text("code") {
                "Ok" => 1,
                "Error" => 2,
                _ => 0,
            },
            description: status.text("description").to_owned(),
        });
        SpanProcessor {
            id: setup.id.to_owned(),
            rename: Rename::read(section.section("name"), &mut Problems::new()),
            status,
            selection: Selection::build(section, setup),
        }
    }

    fn change<'a>(
        &'a self,
        item: Message<'a>,
        list: &mut List<'a>,
        edits: &mut Edits,
    ) -> Result<(), Verdict> {
        if let Some(rename) = &self.rename {
            list.load(item, span::ATTRIBUTES);
            let old = Span(item).name();
            let made = rename.name(list, &self.id)?;
            let mut name = otlp::text(made.as_deref().unwrap_or(old)).to_owned();
            // There is nothing to take out of an empty name.
            if !name.is_empty() {
                name = rename.apply_rules(name, list);
            }
            if name.as_bytes() != old {
                let write = |out: &mut Vec<u8>| put_bytes_field(out, span::NAME, name.as_bytes());
                put(edits, item, span::NAME, name.is_empty(), write);
                walk::bounded(edits, &self.id)?;
            }
            list.emit(item, span::ATTRIBUTES, edits, &self.id)?;
        }
        if let Some(status) = &self.status {
            status.put(item, edits);
            walk::bounded(edits, &self.id)?;
        }
        Ok(())
    }
}

impl Status {
    fn put(&self, item: Message<'_>, edits: &mut Edits) {
        let span = Span(item);
        let text = self.description.as_bytes();
        if (span.status_code(), span.status_message()) == (self.code, text) {
            return;
        }
        let write_text = |out: &mut Vec<u8>| put_bytes_field(out, status::MESSAGE, text);
        let write_code = |out: &mut Vec<u8>| put_varint_field(out, status::CODE, self.code);
        match item.field(span::STATUS).and_then(Field::message) {
            Some(old) => {
                put(edits, old, status::MESSAGE, text.is_empty(), write_text);
                put(edits, old, status::CODE, self.code == 0, write_code);
            }
            None => edits.append(item, |out| {
                put_message_field(out, span::STATUS, |out| {
                    if !text.is_empty() {
                        write_text(out);
                    }
                    write_code(out);
                });
            }),
        }
    }
}

/// Puts what `write` writes in the place of field `number`, or nothing if it is the default.
fn put(
    edits: &mut Edits,
    message: Message<'_>,
    number: u32,
    is_default: bool,
    write: impl FnOnce(&mut Vec<u8>),
) {
    match message.field(number) {
        Some(old) if is_default => edits.remove(message, &old),
        Some(old) => edits.replace(message, &old, write),
        None if is_default => {}
        None => edits.append(message, write),
    }
}

impl Stateless for SpanProcessor {
    fn process(&self, batch: Batch, _now: Moment, out: &mut Out) {
        walk::edit(batch, out, |request, edits| {
            let mut list = List::default();
            let change = |item, edits: &mut Edits| self.change(item, &mut list, edits);
            self.selection.each(request, edits, change)
        });
    }
}

#[cfg(test)]
mod tests;
