//! JSON within a text: names in it count as attribute keys do, texts in it are looked into.
//!
//! The text is walked once, from value to value. Where it is no JSON (cut off, or a log line that
//! begins with a bracket) the walk goes on at the next bracket, and what it could not read is
//! looked into as plain text. What nests too deep to read is taken out whole.

use super::rules::CONTENT;
use super::value::Treat;
use crate::otlp::view;
use memchr::{memchr2, memchr3};

/// Arrays and objects within each other. Agent payloads use under 10.
const NESTING: usize = 32;

/// What stands for what was taken out.
const GONE: &[u8] = b"\"[removed]\"";

/// Keys of a chat message that hold what was said.
const SAID: [&[u8]; 7] =
    [b"content", b"parts", b"tool_calls", b"function_call", b"arguments", b"text", b"reasoning"];

/// Who speaks in a chat message.
const ROLES: [&[u8]; 9] = [
    b"user",
    b"assistant",
    b"system",
    b"tool",
    b"developer",
    b"model",
    b"function",
    b"human",
    b"ai",
];

/// Whether an object with a `role` of this value is a chat message.
pub fn is_role(value: &[u8]) -> bool {
    ROLES.contains(&value)
}

/// Whether `key` holds what a chat message says.
pub fn is_said(key: &[u8]) -> bool {
    SAID.contains(&key)
}

/// Whether `text` begins as JSON with structure does, or as a text within JSON.
pub fn looks_so(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start(), [b'{' | b'[' | b'"', ..])
}

/// The text without what must go; `None` if nothing must.
pub fn treat(treat: &mut Treat<'_>, text: &[u8], rules: u64, depth: usize) -> Option<Vec<u8>> {
    let mut walk =
        Walk { treat, text, rules, depth, at: 0, cuts: vec![], quiet: false, flat: false };
    walk.all();
    let (cuts, flat) = (walk.cuts, walk.flat);
    let new = (!cuts.is_empty()).then(|| apply(text, cuts));
    if !flat {
        return new;
    }
    let rest = new.as_deref().unwrap_or(text);
    treat.plain(rest, rules).or(new)
}

fn apply(text: &[u8], mut cuts: Vec<Cut>) -> Vec<u8> {
    cuts.sort_by_key(|cut| (cut.from, std::cmp::Reverse(cut.to)));
    let (mut out, mut done) = (Vec::with_capacity(text.len()), 0);
    for cut in cuts {
        if cut.from >= done {
            out.extend_from_slice(text.get(done..cut.from).unwrap_or_default());
            out.extend_from_slice(&cut.new);
            done = cut.to;
        }
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    out
}

/// A part of the text and what takes its place. Of nested ones the outer one counts.
struct Cut {
    from: usize,
    to: usize,
    new: Vec<u8>,
}

struct Walk<'w, 'r> {
    treat: &'w mut Treat<'r>,
    text: &'w [u8],
    /// The user's rules that look into texts here.
    rules: u64,
    depth: usize,
    at: usize,
    cuts: Vec<Cut>,
    /// The value under way goes whole: nothing in it is looked at.
    quiet: bool,
    /// Some of the text is no JSON.
    flat: bool,
}

impl Walk<'_, '_> {
    /// All values of the text, with anything between them.
    fn all(&mut self) {
        while self.at < self.text.len() {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let next = memchr3(b'{', b'[', b'"', rest).map_or(self.text.len(), |n| self.at + n);
            let between = self.text.get(self.at..next).unwrap_or_default();
            self.flat |= !between.trim_ascii().is_empty();
            self.at = next;
            if next < self.text.len() && !self.value(NESTING) {
                self.flat = true;
                // At least the bracket itself is behind us.
                self.at = self.at.max(next + 1);
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Passes over `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Walks over a value; false where the text is none.
    fn value(&mut self, nesting: usize) -> bool {
        self.blank();
        let from = self.at;
        match self.peek() {
            Some(b'{' | b'[') if nesting == 0 => {
                self.cuts.push(Cut { from, to: self.text.len(), new: GONE.to_vec() });
                self.at = self.text.len();
                true
            }
            Some(b'{') => self.object(nesting - 1),
            Some(b'[') => self.array(nesting - 1),
            Some(b'"') => self.string(),
            Some(_) => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}:\"{[".contains(byte);
                let rest = self.text.get(from..).unwrap_or_default();
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                self.number(from);
                self.at > from
            }
            None => false,
        }
    }

    /// A number, which may be one of a card.
    fn number(&mut self, from: usize) {
        let word = self.text.get(from..self.at).unwrap_or_default();
        if word.len() >= 12
            && !self.quiet
            && let Some(new) = self.treat.plain(word, self.rules)
        {
            let new = [b"\"", new.as_slice(), b"\""].concat();
            self.cuts.push(Cut { from, to: self.at, new });
        }
    }

    fn array(&mut self, nesting: usize) -> bool {
        self.at += 1;
        if self.take(b']') {
            return true;
        }
        loop {
            if !self.value(nesting) {
                return false;
            }
            if !self.take(b',') {
                return self.take(b']');
            }
        }
    }

    fn object(&mut self, nesting: usize) -> bool {
        self.at += 1;
        if self.take(b'}') {
            return true;
        }
        let (mut is_message, mut said) = (false, vec![]);
        let whole = loop {
            self.blank();
            let Some(key) = self.key() else { break false };
            if !self.take(b':') {
                break false;
            }
            self.blank();
            let from = self.at;
            match self.treat.member(&key, true).filter(|_| !self.quiet) {
                Some(rule) => {
                    self.quiet = true;
                    let whole = self.value(nesting);
                    self.quiet = false;
                    // Of what is cut off nobody can tell where it ends.
                    self.at = if whole { self.at } else { self.text.len() };
                    self.gone(rule, from, self.at);
                }
                None if !self.value(nesting) => {
                    // Cut off, or no JSON: what a message says goes to the end.
                    if is_said(&key) {
                        said.push((from, self.text.len()));
                    }
                    break false;
                }
                None => {}
            }
            let value = self.text.get(from..self.at).unwrap_or_default();
            if key == b"role" && value.len() > 2 {
                is_message |= value.get(1..value.len() - 1).is_some_and(is_role);
            } else if is_said(&key) {
                said.push((from, self.at));
            }
            if !self.take(b',') {
                break self.take(b'}');
            }
        };
        if is_message && self.treat.takes_content() && !self.quiet {
            said.into_iter().for_each(|(from, to)| self.gone(CONTENT, from, to));
        }
        whole
    }

    /// Takes a value out, unless there is nothing to take.
    fn gone(&mut self, rule: usize, from: usize, to: usize) {
        let value = self.text.get(from..to).unwrap_or_default();
        if value != GONE && !matches!(value, b"" | b"null" | b"\"\"" | b"[]" | b"{}") {
            self.treat.redacted(rule);
            self.cuts.push(Cut { from, to, new: GONE.to_vec() });
        }
    }

    /// The text at which the walk stands: its inside, and whether it has escapes. At the end of
    /// the text it may lack its quote.
    fn quoted(&mut self) -> Option<(usize, usize, bool)> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let from = self.at + 1;
        let (mut at, mut escaped) = (from, false);
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let Some(n) = memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Some((from, self.text.len().max(from), escaped));
            };
            if rest.get(n) == Some(&b'"') {
                self.at = at + n + 1;
                return Some((from, at + n, escaped));
            }
            escaped = true;
            at += n + 2;
        }
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        let (from, to, escaped) = self.quoted()?;
        let raw = self.text.get(from..to)?;
        Some(if escaped { unescape(raw) } else { raw.to_vec() })
    }

    fn string(&mut self) -> bool {
        let Some((from, to, escaped)) = self.quoted() else { return false };
        if self.quiet {
            return true;
        }
        let raw = self.text.get(from..to).unwrap_or_default();
        let unescaped;
        let text = if escaped {
            unescaped = unescape(raw);
            &unescaped
        } else {
            raw
        };
        if let Some(new) = self.treat.leaf(text, self.rules, self.depth + 1) {
            self.cuts.push(Cut { from, to, new: escape(&new) });
        }
        true
    }
}

/// What `raw` means; a bad escape means itself.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        at += 1;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some(escape) = raw.get(at) else { break };
        at += 1;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => {
                let (mut unit, mut more) = (hex(raw, at), 4);
                if matches!(unit, Some(0xd800..=0xdbff)) && raw.get(at + 4..at + 6) == Some(br"\u")
                {
                    let low = hex(raw, at + 6).filter(|low| matches!(low, 0xdc00..=0xdfff));
                    let pair = unit.zip(low);
                    unit = pair.map(|(u, l)| 0x10000 + ((u - 0xd800) << 10) + (l - 0xdc00));
                    more = 10;
                }
                let character =
                    unit.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at += more;
            }
            other => out.push(*other),
        }
    }
    out
}

/// The four hexadecimal digits at `at`.
fn hex(raw: &[u8], at: usize) -> Option<u32> {
    let digits = std::str::from_utf8(raw.get(at..at + 4)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// `text` as it stands between quotes.
fn escape(text: &[u8]) -> Vec<u8> {
    let quoted = serde_json::to_vec(view::text(text)).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec()
}
