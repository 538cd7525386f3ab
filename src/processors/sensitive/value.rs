//! One value at a time: what becomes of an attribute, of a text, and of all that is inside them.

use super::detect::Hit as Found;
use super::names::{self, Hit};
use super::rules::{self, Action, Find, Place, Preset, Removed, RuleId, Rules, Subject, UserRule};
use super::{exception, json, parameters};
use crate::otlp::edit::Edits;
use crate::otlp::fields::{any_value, key_value, list};
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::{Field, Message, put_bytes_field};
use crate::otlp::write::put_text_value;
use crate::processors::actions::values::as_text;
use ring::hmac;
use std::fmt::Write;

/// JSON within texts of JSON. Each level doubles the backslashes, so real data has one or two.
const JSON_DEPTH: usize = 6;

/// The value of an attribute without one.
const NOTHING: Message<'static> = Message { bytes: &[], start: 0 };

/// What takes a part of a text; `None` leaves it.
type Change = fn(&[u8]) -> Option<Vec<u8>>;

/// A range of a text, the rule that is about it and what takes its place, if anything does.
type Cut = (usize, usize, Option<(RuleId, Vec<u8>)>);

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Nothing,
    Changed,
    Removed,
}

/// What was done to one item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub events: usize,
    pub attributes: usize,
    pub values: usize,
}

/// The treatment of one item.
pub struct Treat<'r> {
    pub rules: &'r Rules,
    /// A bit for each rule of the user whose condition holds here.
    pub active: u64,
    /// Only what is on the list stays: by the preset, or because something above is marked.
    pub strict: bool,
    /// What stands in it is by a GenAI instrumentation, so that names without a namespace count.
    pub is_genai: bool,
    pub removed: &'r mut Removed,
    pub done: Done,
}

impl<'r> Treat<'r> {
    fn user(&self) -> impl Iterator<Item = (usize, &'r UserRule)> + use<'r> {
        let (rules, active) = (self.rules, self.active);
        let is_active =
            move |place: &usize| active & 1u64.checked_shl(*place as u32).unwrap_or(0) != 0;
        rules.user.iter().enumerate().filter(move |(place, _)| is_active(place))
    }

    /// The first rule of the user about the whole of `subject`, and the bits of those that change
    /// parts of its texts.
    pub fn ask(
        &self,
        subject: Subject<'_>,
        value: AnyValue<'_>,
    ) -> (Option<(RuleId, &'r UserRule)>, u64) {
        let mut parts = 0;
        for (place, rule) in self.user().filter(|(_, rule)| rule.is_about(subject)) {
            if rule.is_partial() {
                parts |= 1u64.checked_shl(place as u32).unwrap_or(0);
            } else if rule.find.as_ref().is_none_or(|find| contains(value, find)) {
                return (Some((rules::of_user(place), rule)), parts);
            }
        }
        (None, parts)
    }

    /// The rule that a whole event or record of this name goes by; `Some(None)` says that it
    /// stays whatever the preset says.
    pub fn event(&self, name: &[u8]) -> Option<Option<RuleId>> {
        match self.ask(Subject::Event(name), AnyValue::Empty).0 {
            Some((id, UserRule { action: Action::Drop, .. })) => Some(Some(id)),
            Some(_) => Some(None),
            None => None,
        }
    }

    /// Whether what carries content by name goes.
    pub fn takes_content(&self) -> bool {
        self.rules.preset != Preset::Marked || self.strict
    }

    /// The rule that the member `key` of a map goes by, or of an object of JSON.
    pub fn member(&self, key: &[u8], in_json: bool) -> Option<RuleId> {
        match self.rules.attributes.find(key) {
            Some(Hit::Remove(rule)) => Some(rule),
            Some(Hit::Header) => names::is_secret_header(key).then_some(rules::CREDENTIAL),
            Some(Hit::Message | Hit::Stack) if in_json => Some(rules::ERROR_TEXT),
            Some(Hit::Parameters) if in_json => Some(rules::CONTENT),
            None if self.takes_content() => names::by_part(key),
            _ => None,
        }
    }

    /// Notes that a value was changed.
    pub fn redacted(&mut self, rule: RuleId) {
        self.removed.values.add(rule, 1);
        self.done.values += 1;
    }

    /// Notes that an attribute or a body goes.
    pub fn dropped(&mut self, rule: RuleId) -> Did {
        self.removed.attributes.add(rule, 1);
        self.done.attributes += 1;
        Did::Removed
    }

    /// Treats the attribute in `field` of `message`, or the member of a map if `nested`.
    pub fn attribute(
        &mut self,
        message: Message<'_>,
        field: Field<'_>,
        nested: u64,
        edits: &mut Edits,
    ) -> Did {
        let key = view::key(&field);
        let value = field.message().and_then(|attribute| attribute.field(key_value::VALUE));
        let value = value.and_then(Field::message).unwrap_or(NOTHING);
        let (user, parts) = self.ask(Subject::Key(key), AnyValue::of(value));
        let parts = parts | nested & !INSIDE;
        let rule = match user {
            Some((id, UserRule { action: Action::Drop, .. })) => Some(id),
            Some((_, UserRule { action: Action::Keep, .. })) => return Did::Nothing,
            Some((id, rule)) => return self.replace(value, id, rule, edits),
            None => self.preset(key, nested),
        };
        if let Some(rule) = rule {
            edits.remove(message, &field);
            return self.dropped(rule);
        }
        let change: Option<(Change, RuleId)> = match self.rules.attributes.find(key) {
            Some(Hit::Message) => Some((exception::message, rules::ERROR_TEXT)),
            Some(Hit::Stack) => Some((exception::stack, rules::ERROR_TEXT)),
            Some(Hit::Url) => Some((names::without_query, rules::CONTENT)),
            Some(Hit::Parameters) => Some((parameters::settings, rules::CONTENT)),
            _ => None,
        };
        match (change, AnyValue::of(value)) {
            (Some((change, rule)), AnyValue::Text(text)) => {
                let Some(new) = change(text) else { return self.inside(value, parts, 0, edits) };
                self.redacted(rule);
                let new = self.plain(&new, parts).unwrap_or(new);
                put(value, any_value::STRING, &new, edits);
                Did::Changed
            }
            (Some((_, rule)), AnyValue::Array(_) | AnyValue::Map(_) | AnyValue::Bytes(_)) => {
                edits.remove(message, &field);
                self.dropped(rule)
            }
            _ => self.inside(value, parts, 0, edits),
        }
    }

    /// The rule of the preset that takes an attribute.
    fn preset(&self, key: &[u8], nested: u64) -> Option<RuleId> {
        let inside = nested & INSIDE != 0;
        if self.rules.attributes.find(key) == Some(Hit::Mark) {
            return None;
        }
        if self.strict && !inside && !self.rules.is_allowed(key) {
            return Some(rules::NOT_ALLOWED);
        }
        match self.rules.attributes.find(key) {
            Some(Hit::Generic) if self.is_genai => Some(rules::CONTENT),
            Some(Hit::Generic) => None,
            _ => self.member(key, false),
        }
    }

    /// Puts in the place of a whole value what a rule of the user makes of it.
    pub fn replace(
        &mut self,
        value: Message<'_>,
        id: RuleId,
        rule: &UserRule,
        edits: &mut Edits,
    ) -> Did {
        let text = as_text(AnyValue::of(value));
        let Some(new) = changed(&text, &rule.action) else { return Did::Nothing };
        self.redacted(id);
        // The one member there is; an empty value has nothing to take.
        for (place, old) in value.fields().enumerate() {
            match place {
                0 => edits.replace(value, &old, |out| put_text_value(out, &new)),
                _ => edits.remove(value, &old),
            }
        }
        Did::Changed
    }

    /// Treats what is inside an `AnyValue`. Values nest as deep as the door allows.
    pub fn inside(
        &mut self,
        value: Message<'_>,
        parts: u64,
        depth: usize,
        edits: &mut Edits,
    ) -> Did {
        let before = self.done;
        match AnyValue::of(value) {
            AnyValue::Text(text) => {
                if let Some(new) = self.leaf(text, parts, depth) {
                    put(value, any_value::STRING, &new, edits);
                }
            }
            AnyValue::Bytes(bytes) => {
                let new = match std::str::from_utf8(bytes) {
                    Ok(_) => self.leaf(bytes, parts, depth),
                    Err(_) => self.plain(bytes, parts),
                };
                if let Some(new) = new {
                    put(value, any_value::BYTES, &new, edits);
                }
            }
            AnyValue::Array(array) => {
                for member in array.messages(list::VALUES) {
                    self.inside(member, parts, depth, edits);
                }
            }
            AnyValue::Map(map) => {
                let is_message = self.takes_content()
                    && view::members(map).any(|member| {
                        let role = member.value.as_text();
                        member.key == b"role" && role.is_some_and(json::is_role)
                    });
                for field in map.fields().filter(|field| field.number == list::VALUES) {
                    if is_message && json::is_said(view::key(&field)) {
                        edits.remove(map, &field);
                        self.dropped(rules::CONTENT);
                    } else {
                        self.attribute(map, field, parts | INSIDE, edits);
                    }
                }
            }
            _ => {}
        }
        if self.done == before { Did::Nothing } else { Did::Changed }
    }

    /// A text that may be JSON, without what must go; `None` if nothing must.
    pub fn leaf(&mut self, text: &[u8], parts: u64, depth: usize) -> Option<Vec<u8>> {
        if !json::looks_so(text) {
            return self.plain(text, parts);
        }
        if depth >= JSON_DEPTH {
            self.redacted(rules::CONTENT);
            return Some(b"[removed]".to_vec());
        }
        json::treat(self, text, parts, depth)
    }

    /// A text without what the user's rules and the detectors find in it.
    pub fn plain(&mut self, text: &[u8], parts: u64) -> Option<Vec<u8>> {
        let mut cuts: Vec<Cut> = vec![];
        if parts & !INSIDE != 0 {
            for (place, rule) in self.rules.user.iter().enumerate() {
                let bit = 1u64.checked_shl(place as u32).unwrap_or(0);
                let Some(find) = rule.find.as_ref().filter(|_| parts & bit != 0) else { continue };
                let id = rules::of_user(place);
                find.each(text, |from, to| {
                    let part = text.get(from..to).unwrap_or_default();
                    let new = changed(part, &rule.action).map(|new| (id, new));
                    if cuts.iter().all(|(start, end, _)| to <= *start || from >= *end) {
                        cuts.push((from, to, new));
                    }
                });
            }
        }
        let own = cuts.len();
        let mut hits: Vec<Found> = vec![];
        if let Some(detectors) = &self.rules.detectors {
            detectors.find(text, &mut hits);
        }
        for hit in hits {
            let mut of_user = cuts.iter().take(own);
            if of_user.all(|(start, end, _)| hit.to <= *start || hit.from >= *end) {
                let mask = Rules::detector(hit.class).map_or("[removed]", |d| d.mask);
                let new = (rules::of_detector(hit.class), mask.as_bytes().to_vec());
                cuts.push((hit.from, hit.to, Some(new)));
            }
        }
        cuts.sort_by_key(|cut| cut.0);
        let (mut out, mut done) = (vec![], 0);
        for (from, to, new) in cuts {
            let Some((rule, new)) = new else { continue };
            self.redacted(rule);
            out.extend_from_slice(text.get(done..from).unwrap_or_default());
            out.extend_from_slice(&new);
            done = to;
        }
        out.extend_from_slice(text.get(done..).filter(|_| done > 0).unwrap_or_default());
        (done > 0).then_some(out)
    }

    /// A text that is no attribute. `None` if it stays; then nothing if it goes whole.
    pub fn text(&mut self, place: Place, text: &[u8]) -> Option<Vec<u8>> {
        if text.is_empty() {
            return None;
        }
        let (user, parts) = self.ask(Subject::Text(place), AnyValue::Text(text));
        if let Some((id, rule)) = user {
            let new = match rule.action {
                Action::Keep => return None,
                Action::Drop => vec![],
                _ => changed(text, &rule.action)?,
            };
            self.redacted(id);
            return Some(new);
        }
        let is_status = place == Place::StatusMessage;
        if is_status
            && self.takes_content()
            && let Some(new) = exception::message(text)
        {
            self.redacted(rules::ERROR_TEXT);
            return Some(self.plain(&new, parts).unwrap_or(new));
        }
        let new = self.leaf(text, parts, 0)?;
        // A trace state of another form would be no trace state.
        Some(if place == Place::TraceState { vec![] } else { new })
    }
}

/// In a set of rules: what is asked about stands in a map, of which the list of what stays says
/// nothing. The last bit, which no rule has.
pub const INSIDE: u64 = 1 << 63;

/// Puts `new` in the place of the one member of an `AnyValue`.
fn put(value: Message<'_>, number: u32, new: &[u8], edits: &mut Edits) {
    if let Some(old) = value.field(number) {
        edits.replace(value, &old, |out| put_bytes_field(out, number, new));
    }
}

/// Whether `find` finds anything in the texts of `value`.
fn contains(value: AnyValue<'_>, find: &Find) -> bool {
    match value {
        AnyValue::Text(text) | AnyValue::Bytes(text) => find.is_in(text),
        AnyValue::Array(array) => view::values(array).any(|value| contains(value, find)),
        AnyValue::Map(map) => view::members(map).any(|member| contains(member.value, find)),
        _ => false,
    }
}

/// What an action makes of a text; `None` if it leaves it.
fn changed(text: &[u8], action: &Action) -> Option<Vec<u8>> {
    match action {
        Action::Drop => Some(vec![]),
        Action::Keep => None,
        Action::Mask(mask) => (text != mask.as_slice()).then(|| mask.clone()),
        Action::Hash(key) => {
            let mut out = String::with_capacity(64);
            for byte in hmac::sign(key, text).as_ref() {
                let _ = write!(out, "{byte:02x}");
            }
            Some(out.into_bytes())
        }
        Action::Truncate(length) => {
            let text = std::str::from_utf8(text).ok()?;
            let (end, _) = text.char_indices().nth(*length)?;
            Some(text.get(..end)?.as_bytes().to_vec())
        }
    }
}
