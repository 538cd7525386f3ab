//! Reading the notation: lines of words to the bytes of a request.

use super::super::fields::{any_value, event, link, log_record, request, resource};
use super::super::fields::{resource_group, scope, scope_group, span, status};
use super::super::wire::{put_bytes_field, put_fixed32_field, put_fixed64_field};
use super::super::wire::{put_message_field, put_varint_field};
use super::cursor::{Cursor, no, put_key_value, read_enum, read_id, read_severity, read_time};
use super::{KINDS, STATUSES, is_bare, reserved};

/// The bytes of the request that `text` notates; the error names the line.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut tree = Tree::default();
    for (k, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            read_line(&mut tree, line).map_err(|what| format!("line {}: {what}", k + 1))?;
        }
    }
    tree.begin_group(None);
    Ok(tree.done)
}

/// A request being built: the finished groups as bytes, and the open one.
#[derive(Default)]
struct Tree {
    done: Vec<u8>,
    group: Option<Group>,
    /// The noun of the items: a request holds spans or log records.
    items: Option<&'static str>,
}

#[derive(Default)]
struct Group {
    /// The resource, and the finished scope groups.
    head: Vec<u8>,
    tail: Vec<u8>,
    scope: Option<Scope>,
}

#[derive(Default)]
struct Scope {
    /// The scope, and the finished items.
    head: Vec<u8>,
    tail: Vec<u8>,
    item: Option<Vec<u8>>,
}

impl Tree {
    fn scope(&mut self) -> &mut Scope {
        self.group.get_or_insert_default().scope.get_or_insert_default()
    }

    fn begin_group(&mut self, group: Option<Group>) {
        if let Some(mut group) = std::mem::replace(&mut self.group, group) {
            group.begin_scope(None);
            group.head.extend_from_slice(&group.tail);
            put_bytes_field(&mut self.done, request::RESOURCE_GROUPS, &group.head);
        }
    }

    fn add_item(&mut self, noun: &'static str, item: Vec<u8>) -> Result<(), String> {
        if self.items.is_some_and(|before| before != noun) {
            return Err("a request holds spans or log records, not both".into());
        }
        self.items = Some(noun);
        self.scope().begin_item(Some(item));
        Ok(())
    }

    fn add_part(&mut self, number: u32, part: &[u8]) -> Result<(), String> {
        match (self.items, &mut self.scope().item) {
            (Some("span"), Some(span)) => put_bytes_field(span, number, part),
            _ => return Err("no span stands before this line".into()),
        }
        Ok(())
    }
}

impl Group {
    fn begin_scope(&mut self, scope: Option<Scope>) {
        if let Some(mut scope) = std::mem::replace(&mut self.scope, scope) {
            scope.begin_item(None);
            scope.head.extend_from_slice(&scope.tail);
            put_bytes_field(&mut self.head, resource_group::SCOPE_GROUPS, &scope.head);
        }
    }
}

impl Scope {
    fn begin_item(&mut self, item: Option<Vec<u8>>) {
        if let Some(item) = std::mem::replace(&mut self.item, item) {
            put_bytes_field(&mut self.head, scope_group::ITEMS, &item);
        }
    }
}

fn read_line(tree: &mut Tree, line: &str) -> Result<(), String> {
    let mut cursor = Cursor { rest: line };
    let noun = cursor.word();
    let mut line = Line::read(noun, &mut cursor)?;
    match noun {
        "resource" => {
            let mut group = Group::default();
            line.put_text(&mut group.tail, "schema_url", resource_group::SCHEMA_URL)?;
            if line.take_word("-") {
                line.end()?;
            } else {
                let body = line.resource()?;
                put_bytes_field(&mut group.head, resource_group::RESOURCE, &body);
            }
            tree.begin_group(Some(group));
        }
        "scope" => {
            let mut group = Scope::default();
            line.put_text(&mut group.tail, "schema_url", scope_group::SCHEMA_URL)?;
            if line.take_word("-") {
                line.end()?;
            } else {
                put_bytes_field(&mut group.head, scope_group::SCOPE, &line.scope()?);
            }
            tree.group.get_or_insert_default().begin_scope(Some(group));
        }
        "span" => tree.add_item("span", line.span()?)?,
        "log" => tree.add_item("log", line.log()?)?,
        "event" => tree.add_part(span::EVENTS, &line.event()?)?,
        "link" => tree.add_part(span::LINKS, &line.link()?)?,
        _ => {
            let nouns = "resource, scope, span, event, link or log";
            return Err(format!("{noun:?} is no noun: a line starts with {nouns}"));
        }
    }
    Ok(())
}

/// The words of a line, sorted by what they are.
struct Line<'a> {
    /// Bare words such as ids and times.
    words: Vec<&'a str>,
    /// The text in quotes: the name or the body.
    text: Option<String>,
    /// Fields with the source of their values.
    fields: Vec<(&'a str, Cursor<'a>)>,
    /// Keys, and values as the bytes of an `AnyValue`.
    attributes: Vec<(String, Vec<u8>)>,
}

impl<'a> Line<'a> {
    fn read(noun: &str, cursor: &mut Cursor<'a>) -> Result<Line<'a>, String> {
        let mut line = Line { words: vec![], text: None, fields: vec![], attributes: vec![] };
        loop {
            cursor.rest = cursor.rest.trim_start();
            if cursor.rest.is_empty() || cursor.rest.starts_with('#') {
                return Ok(line);
            }
            if cursor.rest.starts_with('"') {
                let text = cursor.text()?;
                if cursor.take("=") {
                    line.attributes.push((text, cursor.value_bytes()?));
                } else if line.text.replace(text).is_some() {
                    return Err("a second text in quotes".into());
                }
                continue;
            }
            let word = cursor.word();
            if !cursor.take("=") {
                line.words.push(word);
            } else if reserved(noun).contains(&word) {
                let from = cursor.rest;
                cursor.skip_field()?;
                let len = from.len() - cursor.rest.len();
                line.fields.push((word, Cursor { rest: from.get(..len).unwrap_or_default() }));
            } else if is_bare(word) {
                line.attributes.push((word.into(), cursor.value_bytes()?));
            } else {
                return Err(format!("the key {word:?} must stand in quotes"));
            }
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let place = self.words.iter().position(|w| *w == word);
        place.map(|place| self.words.remove(place)).is_some()
    }

    fn take(&mut self, name: &str) -> Option<Cursor<'a>> {
        let place = self.fields.iter().position(|(n, _)| *n == name)?;
        Some(self.fields.remove(place).1)
    }

    fn put_text(&mut self, out: &mut Vec<u8>, name: &str, number: u32) -> Result<(), String> {
        if let Some(mut cursor) = self.take(name) {
            put_bytes_field(out, number, cursor.text()?.as_bytes());
        }
        Ok(())
    }

    fn put_name(&mut self, out: &mut Vec<u8>, number: u32) {
        if let Some(name) = self.text.take() {
            put_bytes_field(out, number, name.as_bytes());
        }
    }

    fn put_count(&mut self, out: &mut Vec<u8>, name: &str, number: u32) -> Result<(), String> {
        if let Some(cursor) = self.take(name) {
            let count: u32 = cursor.rest.parse().map_err(|_| no(cursor.rest, "count"))?;
            put_varint_field(out, number, count.into());
        }
        Ok(())
    }

    fn put_flags(&mut self, out: &mut Vec<u8>, number: u32) -> Result<(), String> {
        if let Some(cursor) = self.take("flags") {
            let flags = match cursor.rest.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => cursor.rest.parse(),
            };
            put_fixed32_field(out, number, flags.map_err(|_| no(cursor.rest, "flags"))?);
        }
        Ok(())
    }

    fn put_attributes(&mut self, out: &mut Vec<u8>, number: u32) {
        for (key, value) in self.attributes.drain(..) {
            put_message_field(out, number, |out| put_key_value(out, &key, &value));
        }
    }

    /// The ids, which are the first bare word.
    fn put_ids(&mut self, out: &mut Vec<u8>, trace_id: u32, span_id: u32) -> Result<(), String> {
        if self.words.is_empty() {
            return Err("ids are missing, such as 1/a1".into());
        }
        let word = self.words.remove(0);
        let (trace, span) = word.split_once('/').unwrap_or((word, "-"));
        for (number, id, len) in [(trace_id, trace, 16), (span_id, span, 8)] {
            let id = read_id(id, len)?;
            if !id.is_empty() {
                put_bytes_field(out, number, &id);
            }
        }
        Ok(())
    }

    /// A moment after `@`.
    fn put_at(&mut self, out: &mut Vec<u8>, number: u32) -> Result<(), String> {
        if let Some(place) = self.words.iter().position(|w| w.starts_with('@')) {
            let word = self.words.remove(place).trim_start_matches('@');
            put_fixed64_field(out, number, read_time(word)?);
        }
        Ok(())
    }

    /// Refuses what no field has taken.
    fn end(self) -> Result<(), String> {
        let word = self.words.first().map(|word| word.to_string());
        let field = self.fields.first().map(|(name, _)| format!("{name}="));
        let attribute = self.attributes.first().map(|(key, _)| format!("{key}="));
        match word.or(field).or(self.text).or(attribute) {
            Some(left) => Err(format!("{left:?} has no meaning here")),
            None => Ok(()),
        }
    }

    fn resource(mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.put_count(&mut out, "dropped_attributes", resource::DROPPED_ATTRIBUTES_COUNT)?;
        self.put_attributes(&mut out, resource::ATTRIBUTES);
        self.end().map(|()| out)
    }

    fn scope(mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.put_name(&mut out, scope::NAME);
        self.put_text(&mut out, "version", scope::VERSION)?;
        self.put_count(&mut out, "dropped_attributes", scope::DROPPED_ATTRIBUTES_COUNT)?;
        self.put_attributes(&mut out, scope::ATTRIBUTES);
        self.end().map(|()| out)
    }

    fn span(mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.put_ids(&mut out, span::TRACE_ID, span::SPAN_ID)?;
        self.put_text(&mut out, "trace_state", span::TRACE_STATE)?;
        if let Some(cursor) = self.take("parent") {
            let parent = read_id(cursor.rest, 8)?;
            if !parent.is_empty() {
                put_bytes_field(&mut out, span::PARENT_SPAN_ID, &parent);
            }
        }
        self.put_name(&mut out, span::NAME);
        if let Some(cursor) = self.take("kind") {
            put_varint_field(&mut out, span::KIND, read_enum(&KINDS, cursor.rest)?);
        }
        if let Some(place) = self.words.iter().position(|w| w.contains("..")) {
            let (start, end) = self.words.remove(place).split_once("..").unwrap_or_default();
            // In 100..900ms the unit stands once.
            let unit = end.trim_start_matches(|c: char| c.is_ascii_digit());
            let bare = start != "0" && start.bytes().all(|c| c.is_ascii_digit());
            let start = if bare { format!("{start}{unit}") } else { start.into() };
            put_fixed64_field(&mut out, span::START_TIME, read_time(&start)?);
            put_fixed64_field(&mut out, span::END_TIME, read_time(end)?);
        }
        self.put_attributes(&mut out, span::ATTRIBUTES);
        self.put_count(&mut out, "dropped_attributes", span::DROPPED_ATTRIBUTES_COUNT)?;
        self.put_count(&mut out, "dropped_events", span::DROPPED_EVENTS_COUNT)?;
        self.put_count(&mut out, "dropped_links", span::DROPPED_LINKS_COUNT)?;
        if let Some(mut cursor) = self.take("status") {
            let code = cursor.rest.split(':').next().unwrap_or_default();
            let mut body = vec![];
            cursor.rest = cursor.rest.get(code.len()..).unwrap_or_default();
            if cursor.take(":") {
                put_bytes_field(&mut body, status::MESSAGE, cursor.text()?.as_bytes());
            }
            put_varint_field(&mut body, status::CODE, read_enum(&STATUSES, code)?);
            put_bytes_field(&mut out, span::STATUS, &body);
        }
        self.put_flags(&mut out, span::FLAGS)?;
        self.end().map(|()| out)
    }

    fn event(mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.put_at(&mut out, event::TIME)?;
        self.put_name(&mut out, event::NAME);
        self.put_attributes(&mut out, event::ATTRIBUTES);
        self.put_count(&mut out, "dropped_attributes", event::DROPPED_ATTRIBUTES_COUNT)?;
        self.end().map(|()| out)
    }

    fn link(mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.put_ids(&mut out, link::TRACE_ID, link::SPAN_ID)?;
        self.put_text(&mut out, "trace_state", link::TRACE_STATE)?;
        self.put_attributes(&mut out, link::ATTRIBUTES);
        self.put_count(&mut out, "dropped_attributes", link::DROPPED_ATTRIBUTES_COUNT)?;
        self.put_flags(&mut out, link::FLAGS)?;
        self.end().map(|()| out)
    }

    fn log(mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.put_at(&mut out, log_record::TIME)?;
        if let Some(cursor) = self.take("observed") {
            put_fixed64_field(&mut out, log_record::OBSERVED_TIME, read_time(cursor.rest)?);
        }
        self.put_ids(&mut out, log_record::TRACE_ID, log_record::SPAN_ID)?;
        if let Some(severity) = self.words.first().and_then(|word| read_severity(word)) {
            self.words.remove(0);
            put_varint_field(&mut out, log_record::SEVERITY_NUMBER, severity);
        }
        self.put_text(&mut out, "severity_text", log_record::SEVERITY_TEXT)?;
        if let Some(mut cursor) = self.take("body") {
            put_bytes_field(&mut out, log_record::BODY, &cursor.value_bytes()?);
        } else if let Some(text) = self.text.take() {
            put_message_field(&mut out, log_record::BODY, |out| {
                put_bytes_field(out, any_value::STRING, text.as_bytes());
            });
        }
        self.put_attributes(&mut out, log_record::ATTRIBUTES);
        self.put_count(&mut out, "dropped_attributes", log_record::DROPPED_ATTRIBUTES_COUNT)?;
        self.put_flags(&mut out, log_record::FLAGS)?;
        self.put_text(&mut out, "event_name", log_record::EVENT_NAME)?;
        self.end().map(|()| out)
    }
}
