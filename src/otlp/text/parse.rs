//! Reading the notation: lines of words to the bytes of a request.

use super::super::fields::{any_value, event, key_value, link, list, log_record, request};
use super::super::fields::{resource, resource_group, scope, scope_group, span, status};
use super::super::wire::{put_bytes_field, put_fixed32_field, put_fixed64_field};
use super::super::wire::{put_message_field, put_varint_field};
use super::{BASE, KINDS, SEVERITIES, STATUSES, UNITS, is_bare, reserved};

/// Deepest nesting of arrays and maps that is read: more than any request may hold.
const NESTING_MAX: usize = 100;

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

fn put_key_value(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    put_bytes_field(out, key_value::KEY, key.as_bytes());
    put_bytes_field(out, key_value::VALUE, value);
}

fn no(found: &str, wanted: &str) -> String {
    format!("{found:?} is no {wanted}")
}

fn read_id(word: &str, len: usize) -> Result<Vec<u8>, String> {
    if word == "-" {
        return Ok(vec![]);
    }
    let digits = match word.strip_prefix('x') {
        Some(digits) => digits.to_string(),
        None if word.is_empty() || word.len() > 2 * len => return Err(no(word, "id")),
        None => format!("{word:0>width$}", width = 2 * len),
    };
    read_hex(&digits).ok_or_else(|| no(word, "id"))
}

fn read_hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

fn read_enum(words: &[&str], word: &str) -> Result<u64, String> {
    match words.iter().position(|w| *w == word) {
        Some(number) => Ok(number as u64),
        None => word.parse::<i32>().map(|n| n as u64).map_err(|_| no(word, &words.join(", "))),
    }
}

fn read_severity(word: &str) -> Option<u64> {
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let number = word.get(name.len()..)?;
    if name == "severity" {
        return number.parse::<i32>().ok().map(|n| n as u64);
    }
    let place = SEVERITIES.iter().position(|w| *w == name)? as u64;
    let step = if number.is_empty() { 1 } else { number.parse().ok()? };
    (1..=4).contains(&step).then_some(4 * place + step)
}

fn read_time(word: &str) -> Result<u64, String> {
    if let Some(nanos) = word.strip_prefix("unix:") {
        return nanos.parse().map_err(|_| no(word, "time"));
    }
    if word == "-" {
        return Ok(0);
    }
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let name = word.get(digits.len()..).unwrap_or_default();
    let unit = match UNITS.iter().find(|(n, _)| *n == name) {
        Some((_, nanos)) => *nanos,
        None if word == "0" => 1,
        None => return Err(no(word, "time such as 5ms or unix:1780000000000000000")),
    };
    let offset = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    offset.and_then(|n| n.checked_add(BASE)).ok_or_else(|| no(word, "time"))
}

/// What is left of a line.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The characters up to a space, an equals sign or what ends a value.
    fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || "=,]}\"".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Passes a field's value: up to a space outside of quotes and brackets.
    fn skip_field(&mut self) -> Result<(), String> {
        let mut depth = 0usize;
        while let Some(c) = self.rest.chars().next() {
            match c {
                '"' => {
                    self.text()?;
                    continue;
                }
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                c if c.is_whitespace() && depth == 0 => return Ok(()),
                _ => {}
            }
            self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        }
        Ok(())
    }

    /// A text in quotes.
    fn text(&mut self) -> Result<String, String> {
        let rest = self.rest.strip_prefix('"').ok_or_else(|| no(self.rest, "text in quotes"))?;
        let mut out = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '"' {
                self.rest = rest.get(at + 1..).unwrap_or_default();
                return Ok(out);
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            let escape = chars.next().map(|(_, c)| c);
            out.push(match escape {
                Some(c @ ('"' | '\\' | '/')) => c,
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits = rest.get(at + 2..at + 6).unwrap_or_default();
                    chars.nth(3);
                    let code = u32::from_str_radix(digits, 16).ok();
                    code.and_then(char::from_u32).ok_or_else(|| no(digits, "character"))?
                }
                _ => return Err("an unknown escape in a text".into()),
            });
        }
        Err("a text does not end".into())
    }

    /// The bytes of the `AnyValue` that stands next.
    fn value_bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        self.value(&mut out, NESTING_MAX)?;
        Ok(out)
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
        let depth = depth.checked_sub(1).ok_or("values are nested too deeply")?;
        if self.rest.starts_with('"') {
            put_bytes_field(out, any_value::STRING, self.text()?.as_bytes());
            return Ok(());
        }
        if self.take("[") {
            let mut body = vec![];
            self.members("]", |cursor| {
                let mut value = vec![];
                cursor.value(&mut value, depth)?;
                put_bytes_field(&mut body, list::VALUES, &value);
                Ok(())
            })?;
            put_bytes_field(out, any_value::ARRAY, &body);
            return Ok(());
        }
        if self.take("{") {
            let mut body = vec![];
            self.members("}", |cursor| {
                let key = cursor.text()?;
                cursor.spaces();
                if !cursor.take(":") {
                    return Err(format!("a colon is missing behind the key {key:?}"));
                }
                cursor.spaces();
                let mut value = vec![];
                cursor.value(&mut value, depth)?;
                put_message_field(&mut body, list::VALUES, |out| put_key_value(out, &key, &value));
                Ok(())
            })?;
            put_bytes_field(out, any_value::KVLIST, &body);
            return Ok(());
        }
        put_scalar(out, self.word())
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The members of a list up to `close`, separated by commas.
    fn members(
        &mut self,
        close: &str,
        mut member: impl FnMut(&mut Cursor<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.spaces();
        if self.take(close) {
            return Ok(());
        }
        loop {
            self.spaces();
            member(self)?;
            self.spaces();
            if self.take(close) {
                return Ok(());
            }
            if !self.take(",") {
                return Err(format!("a comma or {close:?} is missing before {:?}", self.rest));
            }
        }
    }
}

/// Appends the member of an `AnyValue` that `word` stands for.
fn put_scalar(out: &mut Vec<u8>, word: &str) -> Result<(), String> {
    match word {
        "null" => {}
        "true" => put_varint_field(out, any_value::BOOL, 1),
        "false" => put_varint_field(out, any_value::BOOL, 0),
        _ => {
            if let Some(digits) = word.strip_prefix("0x") {
                let bytes = read_hex(digits).ok_or_else(|| no(word, "bytes"))?;
                put_bytes_field(out, any_value::BYTES, &bytes);
            } else if let Ok(int) = word.parse::<i64>() {
                put_varint_field(out, any_value::INT, int as u64);
            } else {
                let double: f64 = word.parse().map_err(|_| no(word, "value"))?;
                put_fixed64_field(out, any_value::DOUBLE, double.to_bits());
            }
        }
    }
    Ok(())
}
