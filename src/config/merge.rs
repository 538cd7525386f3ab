//! Laying sources over each other, as the Collector does: maps merge, everything else replaces.

use super::node::{Entry, Node, Place, Value};
use super::parse;
use super::problem::{Problem, Severity};
use crate::limits::CONFIG_DEPTH;

/// `over` on top of `under`: maps are merged key by key; lists, scalars and null replace what was
/// there (a bare `processors:` erases the processors). Places are those of what won.
pub fn merge(under: Node, over: Node) -> Node {
    match (under, over) {
        (
            Node { value: Value::Map(mut merged), .. },
            Node { value: Value::Map(entries), place, quoted, raw },
        ) => {
            for entry in entries {
                lay(&mut merged, entry);
            }
            Node { value: Value::Map(merged), place, quoted, raw }
        }
        (_, over) => over,
    }
}

/// Lays one entry over the entries of a map.
fn lay(entries: &mut Vec<Entry>, over: Entry) {
    let Some(known) = entries.iter_mut().find(|known| known.name == over.name) else {
        entries.push(over);
        return;
    };
    let under = std::mem::replace(&mut known.node, Node::new(Value::Null, over.place.clone()));
    known.node = merge(under, over.node);
    known.place = over.place;
}

/// Unfolds keys such as `exporters::debug::verbosity`, which the Collector allows in `yaml:`
/// texts, into maps of maps.
pub fn unfold(node: Node) -> Node {
    let Value::Map(entries) = node.value else {
        return node;
    };
    let mut unfolded = Vec::new();
    for Entry { name, place, node } in entries {
        let node = unfold(node);
        let mut parts = name.split("::");
        let first = parts.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = parts.take(CONFIG_DEPTH).collect();
        let node = nest(&rest, node, &place);
        lay(&mut unfolded, Entry { name: first, place, node });
    }
    Node { value: Value::Map(unfolded), ..node }
}

/// The tree of one `--set a.b.c=v`; the value is YAML.
pub fn set(text: &str) -> Result<Node, Problem> {
    let place = Place::new("--set", 1, 1);
    let wrong = |sentence: String| {
        let place = Some(place.clone());
        Problem { severity: Severity::Error, place, path: String::new(), text: sentence }
    };
    let right = "write a.b.c=value such as exporters.debug.verbosity=detailed";
    let Some((path, value)) = text.split_once('=') else {
        return Err(wrong(format!("found {text:?} without an equals sign; {right}")));
    };
    let separator = if path.contains("::") { "::" } else { "." };
    let parts: Vec<&str> = path.split(separator).map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) || parts.len() > CONFIG_DEPTH {
        return Err(wrong(format!("found the path {path:?}; {right}")));
    }
    let column = u32::try_from(path.chars().count() + 1).unwrap_or(u32::MAX);
    let mut value = parse::parse(value, "--set")
        .map_err(|problem| Problem { path: parts.join("::"), ..problem })?;
    shift(&mut value, column);
    Ok(nest(&parts, value, &place))
}

/// `node` under maps of one key each, outermost first.
fn nest(parts: &[&str], node: Node, place: &Place) -> Node {
    parts.iter().rev().fold(node, |node, part| {
        let entry = Entry { name: (*part).to_owned(), place: place.clone(), node };
        Node::new(Value::Map(vec![entry]), place.clone())
    })
}

/// Moves the places of the first line behind the `a.b.c=` that was cut off.
fn shift(node: &mut Node, columns: u32) {
    let by = |place: &mut Place| {
        if place.line == 1 {
            place.column = place.column.saturating_add(columns);
        }
    };
    by(&mut node.place);
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| shift(item, columns)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            by(&mut entry.place);
            shift(&mut entry.node, columns);
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn yaml(text: &str) -> Node {
        parse::parse(text, "test").unwrap()
    }

    #[track_caller]
    fn check(under: &str, over: &str, expected: &str) {
        assert_eq!(merge(yaml(under), yaml(over)), yaml(expected), "{under} | {over}");
    }

    #[test]
    fn maps_merge_and_everything_else_replaces() {
        check("a: 1", "b: 2", "{a: 1, b: 2}");
        check("a: 1", "a: 2", "a: 2");
        check("a: {b: 1, c: {d: 2}}", "a: {c: {e: 3}}", "a: {b: 1, c: {d: 2, e: 3}}");
        check("a: [1, 2]", "a: [3]", "a: [3]");
        check("a: {b: 1}", "a:", "a:");
        check("a:", "a: {b: 1}", "a: {b: 1}");
        check("a: {b: 1}", "a: text", "a: text");
        check("", "a: 1", "a: 1");
        check("a: 1", "{}", "a: 1");
        check("a: 1", "", "");
    }

    #[test]
    fn the_winner_keeps_its_place() {
        let over = parse::parse("a:\n  b: 2", "second").unwrap();
        let merged = merge(yaml("x: 1\na: {b: 1, c: 1}"), over);
        let a = merged.get("a").unwrap();
        let places = [&a.node.get("b").unwrap().place, &a.node.get("c").unwrap().place];
        assert_eq!(places.map(Place::to_string), ["second:2:3", "test:2:11"]);
    }

    #[test]
    fn set_builds_the_tree_of_its_path() {
        let good = |text: &str, expected: &str| assert_eq!(set(text), Ok(yaml(expected)), "{text}");
        good("a.b.c=v", "a: {b: {c: v}}");
        good("a=5", "a: 5");
        good("a=", "a:");
        good("processors.batch/x.timeout=2s", "processors: {batch/x: {timeout: 2s}}");
        good("a::b.c=[1, x=y]", "a: {b.c: [1, x=y]}");
        let bad = |text: &str, expected: &str| {
            assert_eq!(set(text).unwrap_err().to_string(), expected);
        };
        let right = "write a.b.c=value such as exporters.debug.verbosity=detailed";
        bad("a.b", &format!("--set:1:1: found \"a.b\" without an equals sign; {right}"));
        bad("a..b=1", &format!("--set:1:1: found the path \"a..b\"; {right}"));
        bad("=1", &format!("--set:1:1: found the path \"\"; {right}"));
        let place = set("a.b=[x]").unwrap().get("a").unwrap().node.get("b").unwrap().node.clone();
        assert_eq!(place.place.column, 5);
    }

    #[test]
    fn double_colons_unfold() {
        let check = |text: &str, expected: &str| {
            assert_eq!(unfold(yaml(text)), yaml(expected), "{text}");
        };
        check("a::b::c: 1", "a: {b: {c: 1}}");
        check("{a::b: 1, a::c: 2, d: {e::f: 3}}", "{a: {b: 1, c: 2}, d: {e: {f: 3}}}");
        check("[a]", "[a]");
    }
}
