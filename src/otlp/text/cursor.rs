//! The words of a line: texts, values, ids and times.

use super::super::fields::{any_value, key_value, list};
use super::super::wire::{put_bytes_field, put_fixed64_field, put_message_field, put_varint_field};
use super::{BASE, SEVERITIES, UNITS};

/// Deepest nesting of arrays and maps that is read: more than any request may hold.
const NESTING_MAX: usize = 100;

pub fn put_key_value(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    put_bytes_field(out, key_value::KEY, key.as_bytes());
    put_bytes_field(out, key_value::VALUE, value);
}

pub fn no(found: &str, wanted: &str) -> String {
    format!("{found:?} is no {wanted}")
}

pub fn read_id(word: &str, len: usize) -> Result<Vec<u8>, String> {
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

pub fn read_enum(words: &[&str], word: &str) -> Result<u64, String> {
    match words.iter().position(|w| *w == word) {
        Some(number) => Ok(number as u64),
        None => word.parse::<i32>().map(|n| n as u64).map_err(|_| no(word, &words.join(", "))),
    }
}

pub fn read_severity(word: &str) -> Option<u64> {
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let number = word.get(name.len()..)?;
    if name == "severity" {
        return number.parse::<i32>().ok().map(|n| n as u64);
    }
    let place = SEVERITIES.iter().position(|w| *w == name)? as u64;
    let step = if number.is_empty() { 1 } else { number.parse().ok()? };
    (1..=4).contains(&step).then_some(4 * place + step)
}

pub fn read_time(word: &str) -> Result<u64, String> {
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
pub struct Cursor<'a> {
    pub rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The characters up to a space, an equals sign or what ends a value.
    pub fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || "=,]}\"".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Passes a field's value: up to a space outside of quotes and brackets.
    pub fn skip_field(&mut self) -> Result<(), String> {
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
    pub fn text(&mut self) -> Result<String, String> {
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
    pub fn value_bytes(&mut self) -> Result<Vec<u8>, String> {
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
