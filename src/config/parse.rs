//! YAML text to located nodes.
//!
//! The events come from the parser under `serde_yaml` rather than from its `Spanned<T>`: a tree
//! that is expanded later must know which scalars were quoted, and serde does not say. Typing is
//! that of YAML 1.2 with strict booleans; a number with leading zeros stays text (readers disagree
//! on whether `010` is eight or ten).

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::node::{Entry, Node, Place, Value};
use super::problem::{Problem, Severity};
use crate::limits::{CONFIG_BYTES, CONFIG_DEPTH, CONFIG_NODES};

/// Reads one YAML document; empty text is null. The error is the first thing that is wrong, since
/// what follows a syntax error is guesswork.
pub fn parse(text: &str, source: impl Into<Arc<str>>) -> Result<Node, Problem> {
    let source = source.into();
    let start = Place::start(&source);
    if text.len() > CONFIG_BYTES {
        let found = text.len();
        return Err(error(
            start,
            format!("found {found} bytes; a configuration has at most {CONFIG_BYTES}"),
        ));
    }
    let mut tree = Tree { source, open: Vec::new(), root: None, anchors: Vec::new(), nodes: 0 };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let mark = e.marker();
            let place = tree.place(mark.line(), mark.col());
            error(place, format!("is not YAML: {}{}", e.info(), advice(text, mark.line())))
        })?;
        tree.take(event, &span)?;
    }
    Ok(tree.root.unwrap_or(Node::new(Value::Null, start)))
}

/// Types a plain scalar.
pub fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let special = match digits {
        ".inf" | ".Inf" | ".INF" => Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        ".nan" | ".NaN" | ".NAN" if digits.len() == text.len() => Some(f64::NAN),
        _ => None,
    };
    if let Some(value) = special {
        return Some(Value::Float(value));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric());
            let value = i64::from_str_radix(rest, radix).ok().filter(|_| plain)?;
            return Some(Value::Int(if negative { -value } else { value }));
        }
    }
    let bytes = digits.as_bytes();
    let numeric = |b: &u8| b.is_ascii_digit() || b".eE+-".contains(b);
    let leading_zero = matches!(bytes, [b'0', b'0'..=b'9', ..]);
    let begins = matches!(bytes, [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..]);
    if !begins || leading_zero || !bytes.iter().all(numeric) {
        return None;
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        return text.strip_prefix('+').unwrap_or(text).parse().ok().map(Value::Int);
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
}

fn error(place: Place, text: String) -> Problem {
    Problem { severity: Severity::Error, place: Some(place), path: String::new(), text }
}

/// What usually is behind a syntax error on that line.
fn advice(text: &str, line: usize) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    if line.get(..indent).is_some_and(|indent| indent.contains('\t')) {
        return "; indent with spaces, not with tabs";
    }
    match line.contains("${") && line.replace("${", "").contains(['[', '{']) {
        true => "; inside of [ ] and { }, put ${...} in quotes",
        false => "",
    }
}

/// The tree under construction: open collections from the root down.
struct Tree {
    source: Arc<str>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: Vec<(usize, Anchor)>,
    nodes: usize,
}

struct Anchor {
    node: Node,
    depth: usize,
    nodes: usize,
}

enum Open {
    List {
        place: Place,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        place: Place,
        anchor: usize,
        entries: Vec<Entry>,
        key: Option<(String, Place)>,
        /// The keys so far with their lines.
        lines: HashMap<String, u32>,
    },
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let place = self.place(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(error(place, "found a second YAML document; a source has one".to_owned()))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = typed(&text, style, tag.as_deref(), place)?;
                self.add(node, anchor, Some(&text))
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", &place)?;
                self.open(Open::List { place: place.clone(), anchor, items: Vec::new() }, place)
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map", &place)?;
                let (entries, key, lines) = (Vec::new(), None, HashMap::new());
                self.open(Open::Map { place: place.clone(), anchor, entries, key, lines }, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(id, place),
            _ => Ok(()),
        }
    }

    fn place(&self, line: usize, column: usize) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let source = Arc::clone(&self.source);
        Place { source, line: number(line), column: number(column).saturating_add(1) }
    }

    fn open(&mut self, open: Open, place: Place) -> Result<(), Problem> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(error(place, "found a collection as a key; a key is a text".to_owned()));
        }
        self.budget(&place, 1, 0)?;
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        match self.open.pop() {
            Some(Open::List { place, anchor, items }) => {
                self.add(Node::new(Value::List(items), place), anchor, None)
            }
            Some(Open::Map { place, anchor, entries, .. }) => {
                let entries = merge_keys(entries)?;
                self.add(Node::new(Value::Map(entries), place), anchor, None)
            }
            None => Ok(()),
        }
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Problem> {
        let anchor = self.anchors.iter().rfind(|(anchor, _)| *anchor == id).map(|(_, a)| a);
        let Some(anchor) = anchor else {
            return Err(error(place, "this alias stands inside of what it repeats".to_owned()));
        };
        // Counted before it is copied: nested aliases grow by powers.
        let (depth, nodes) = (anchor.depth, anchor.nodes);
        let too_big = self.open.len() + depth > CONFIG_DEPTH || self.nodes + nodes > CONFIG_NODES;
        let node = if too_big { None } else { Some(anchor.node.clone()) };
        self.budget(&place, nodes, depth)?;
        let text = node.as_ref().and_then(Node::text).map(str::to_owned);
        match node {
            Some(mut node) => {
                node.place = place;
                self.add(node, 0, text.as_deref())
            }
            None => Ok(()),
        }
    }

    /// Counts `nodes` more that reach `depth` levels below the open collections.
    fn budget(&mut self, place: &Place, nodes: usize, depth: usize) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.open.len() + depth > CONFIG_DEPTH {
            let text = format!("nests deeper than {CONFIG_DEPTH} levels");
            return Err(error(place.clone(), text));
        }
        if self.nodes > CONFIG_NODES {
            let text = format!("has more than {CONFIG_NODES} values, repeated aliases included");
            return Err(error(place.clone(), text));
        }
        Ok(())
    }

    /// Puts a finished node where the next one belongs. `text` is its text if it can be a key.
    fn add(&mut self, node: Node, anchor: usize, text: Option<&str>) -> Result<(), Problem> {
        self.budget(&node.place, 1, 0)?;
        if anchor > 0 {
            let (depth, nodes) = node.extent();
            self.anchors.push((anchor, Anchor { node: node.clone(), depth, nodes }));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, lines, .. }) => match key.take() {
                Some((name, place)) => entries.push(Entry { name, place, node }),
                None => {
                    let Some(text) = text else {
                        let text = "found a collection as a key; a key is a text".to_owned();
                        return Err(error(node.place, text));
                    };
                    let twice = lines.insert(text.to_owned(), node.place.line);
                    if let Some(line) = twice.filter(|_| text != "<<") {
                        let text = format!("key {text:?} stands twice, first in line {line}");
                        return Err(error(node.place, text));
                    }
                    *key = Some((text.to_owned(), node.place));
                }
            },
        }
        Ok(())
    }
}

fn typed(text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<Node, Problem> {
    let core = tag.map(|tag| (tag.original(), tag.core_suffix().unwrap_or_default()));
    let quoted = style != ScalarStyle::Plain;
    let (value, quoted) = match core {
        None if quoted => (Value::Text(text.to_owned()), true),
        None => (scalar(text), false),
        Some((_, "str")) => (Value::Text(text.to_owned()), true),
        Some((original, _)) if original == "!" => (Value::Text(text.to_owned()), true),
        Some((_, "int" | "float" | "bool" | "null")) => (scalar(text), false),
        Some((original, _)) => {
            return Err(error(place, format!("found the YAML tag {original}; leave it out")));
        }
    };
    Ok(Node { quoted, ..Node::new(value, place) })
}

fn collection_tag(tag: Option<&Tag>, expected: &str, place: &Place) -> Result<(), Problem> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(expected) => {
            let text = format!("found the YAML tag {}; leave it out", tag.original());
            Err(error(place.clone(), text))
        }
        _ => Ok(()),
    }
}

/// Applies `<<: *base` (a map or a list of maps): what the map itself says wins.
fn merge_keys(entries: Vec<Entry>) -> Result<Vec<Entry>, Problem> {
    if entries.iter().all(|entry| entry.name != "<<") {
        return Ok(entries);
    }
    let (bases, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| e.name == "<<");
    for base in bases {
        let maps = match base.node.value {
            Value::List(items) => items,
            _ => vec![base.node],
        };
        for map in maps {
            let Value::Map(inherited) = map.value else {
                let text = "found << with something other than a map; write <<: *anchor";
                return Err(error(base.place, text.to_owned()));
            };
            for entry in inherited {
                if own.iter().all(|known| known.name != entry.name) {
                    own.push(entry);
                }
            }
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn scalars_are_typed_as_in_yaml_with_strict_booleans() {
        let check = |yaml: &str, value: Value| {
            assert_eq!(parse(yaml, "t").map(|node| node.value), Ok(value), "{yaml}");
        };
        for null in ["", "~", "null", "# only a comment", "---"] {
            check(null, Value::Null);
        }
        check("true", Value::Bool(true));
        check("False", Value::Bool(false));
        for word in ["yes", "no", "on", "off", "y", "tRUE", "1_000", "1.2.3", "0123", "-007"] {
            check(word, text(word));
        }
        for word in ["localhost:4317", "5s", "1e", "+", ".", "0x", "0xg", "0x-1", "e5"] {
            check(word, text(word));
        }
        check("42", Value::Int(42));
        check("-42", Value::Int(-42));
        check("+42", Value::Int(42));
        check("0", Value::Int(0));
        check("0x1F", Value::Int(31));
        check("0o17", Value::Int(15));
        check("-0b11", Value::Int(-3));
        check("9223372036854775807", Value::Int(i64::MAX));
        check("-9223372036854775808", Value::Int(i64::MIN));
        check("9223372036854775808", text("9223372036854775808"));
        check("1.5", Value::Float(1.5));
        check("-.5", Value::Float(-0.5));
        check("1e3", Value::Float(1000.0));
        check("0.5", Value::Float(0.5));
        check(".inf", Value::Float(f64::INFINITY));
        for quoted in ["'5'", "\"5\"", "!!str 5", "|-\n  5", ">-\n  5"] {
            check(quoted, text("5"));
        }
        check("!!int '5'", Value::Int(5));
        check("{a: 1, a b: [x]}", parse("a: 1\na b:\n- x", "t").map(|n| n.value).unwrap());
    }

    #[test]
    fn values_and_keys_know_their_places() {
        let node = parse("a:\n  - b: 'x'\nü: {c: 1}\n", "f").unwrap();
        let list = &node.get("a").unwrap().node;
        let Value::List(items) = &list.value else { panic!("a list") };
        let b = items[0].get("b").unwrap();
        assert_eq!([&b.place, &b.node.place].map(Place::to_string), ["f:2:5", "f:2:8"]);
        assert!(b.node.quoted);
        let c = node.get("ü").unwrap().node.get("c").unwrap();
        assert_eq!(c.node.place.to_string(), "f:3:8");
    }

    #[test]
    fn anchors_repeat_and_merge_keys_inherit() {
        let same = |a: &str, b: &str| assert_eq!(parse(a, "t").unwrap(), parse(b, "t").unwrap());
        same("a: &x {b: 1}\nc: *x", "{a: {b: 1}, c: {b: 1}}");
        same("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", "{a: {b: 1, c: 2}, d: {b: 3, c: 2}}");
        same("{a: &x {b: 1}, y: &y {c: 2}, d: {<<: [*x, *y]}}", {
            "{a: {b: 1}, y: {c: 2}, d: {b: 1, c: 2}}"
        });
        same("a: &k key\n*k : 1", "{a: key, key: 1}");
    }

    #[track_caller]
    fn fails(yaml: &str, expected: &str) {
        assert_eq!(parse(yaml, "t").map_err(|e| e.to_string()), Err(expected.to_owned()));
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_place() {
        fails("a: 1\nb: 2\na: 3", "t:3:1: key \"a\" stands twice, first in line 1");
        fails("a: 1\n---\nb: 2", "t:2:1: found a second YAML document; a source has one");
        fails("{[a]: 1}", "t:1:2: found a collection as a key; a key is a text");
        fails("a: !thing 1", "t:1:11: found the YAML tag !thing; leave it out");
        fails("a: {<<: 5}", "t:1:5: found << with something other than a map; write <<: *anchor");
        fails("a: &x [*x]", "t:1:8: this alias stands inside of what it repeats");
        fails(
            "a:\n\tb: 1",
            "t:2:2: is not YAML: tabs disallowed within this context (block indentation); \
             indent with spaces, not with tabs",
        );
        fails(
            "a: [${X}]",
            "t:1:6: is not YAML: while parsing a flow sequence, expected ',' or ']'; inside of \
             [ ] and { }, put ${...} in quotes",
        );
        fails("a: [1", "t:1:4: is not YAML: unclosed bracket '['");
        fails("a: *nope", "t:1:4: is not YAML: while parsing node, found unknown anchor");
    }

    #[test]
    fn alias_bombs_and_towers_end() {
        let bomb: String =
            (1..40).map(|n| format!("k{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
        let bomb = format!("k0: &a0 [x]\n{bomb}");
        let sentence = parse(&bomb, "t").unwrap_err().to_string();
        assert!(sentence.ends_with("more than 100000 values, repeated aliases included"));
        let tower = "[".repeat(70) + &"]".repeat(70);
        let sentence = parse(&tower, "t").unwrap_err().to_string();
        assert!(sentence.ends_with("nests deeper than 64 levels"), "{sentence}");
        let steps: String = (1..99).map(|n| format!("k{n}: &a{n} [*a{0}]\n", n - 1)).collect();
        let sentence = parse(&format!("k0: &a0 [x]\n{steps}"), "t").unwrap_err().to_string();
        assert!(sentence.ends_with("nests deeper than 64 levels"), "{sentence}");
        let long = "#".repeat(CONFIG_BYTES + 1);
        fails(&long, "t:1:1: found 4194305 bytes; a configuration has at most 4194304");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = parse(&text, "t");
        }

        #[test]
        fn no_yaml_panics(text in PIECES) {
            let _ = parse(&text, "t");
        }
    }

    const PIECES: &str = "([a-c]: |- |\n|  |[\\[\\]{},:&*!|>'\"#$%@<~\t0-9ü]|<<: |---){0,40}";
}
