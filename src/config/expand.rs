//! `${...}` in values, after parsing and merging, on scalars alone; keys are never expanded.
//!
//! | written | becomes |
//! |---|---|
//! | `${env:NAME}`, `${NAME}` | the variable; an error if it is not set |
//! | `${env:NAME:-text}`, `${NAME:-text}` | the variable, or `text` if it is not set |
//! | `${file:path}` | the file's text without line ends at its end |
//! | `${yaml:text}` | `text` |
//! | `$$` | `$` |
//!
//! A scalar that is one expansion and was not quoted is typed as YAML: `${PORT}` may become a
//! number and `${yaml:[a, b]}` a list; where it is no YAML it is text. What comes in is expanded
//! again, `$$` included, as in the Collector. Differences on purpose: an unset variable is an
//! error there is no way to overlook, where the Collector goes on with an empty text.

use std::collections::HashMap;

use super::load::World;
use super::node::{Node, Place, Value};
use super::parse;
use super::problem::Problems;
use super::section::join;
use crate::limits::{CONFIG_BYTES, CONFIG_DEPTH, CONFIG_EXPANSIONS};

/// Expands every scalar of the tree. What cannot be expanded is reported and becomes null.
pub fn expand(node: Node, world: &World<'_>, problems: &mut Problems) -> Node {
    walk(node, &mut Job { world, problems, path: String::new(), left: None, depth: 0 })
}

/// Where the walk is. `left` counts down the expansions of one written scalar and of all that
/// comes in through it; `None` outside of any.
struct Job<'a, 'w> {
    world: &'a World<'w>,
    problems: &'a mut Problems,
    path: String,
    left: Option<usize>,
    depth: usize,
}

/// A failure that is reported already.
struct Reported;

fn walk(node: Node, job: &mut Job<'_, '_>) -> Node {
    if job.depth > CONFIG_DEPTH {
        let text = format!("nests deeper than {CONFIG_DEPTH} levels after expansion");
        job.problems.error(node.place.clone(), job.path.as_str(), text);
        return Node::new(Value::Null, node.place);
    }
    job.depth += 1;
    let node = match node.value {
        Value::List(items) => {
            let each = |(index, item)| job.below(&format!("[{index}]"), |job| walk(item, job));
            let items = items.into_iter().enumerate().map(each).collect();
            Node { value: Value::List(items), ..node }
        }
        Value::Map(mut entries) => {
            for entry in &mut entries {
                let null = Node::new(Value::Null, entry.place.clone());
                let child = std::mem::replace(&mut entry.node, null);
                let path = join(&job.path, &entry.name);
                let step = path.get(job.path.len()..).unwrap_or_default().to_owned();
                entry.node = job.below(&step, |job| walk(child, job));
            }
            Node { value: Value::Map(entries), ..node }
        }
        Value::Text(ref text) if text.contains('$') => {
            let outer = job.left;
            job.left = Some(outer.unwrap_or(CONFIG_EXPANSIONS));
            let expanded = scalar(&node, text, job);
            if outer.is_none() {
                job.left = None;
            }
            expanded.unwrap_or_else(|Reported| Node::new(Value::Null, node.place.clone()))
        }
        _ => node,
    };
    job.depth -= 1;
    node
}

/// One text with at least one `$`.
fn scalar(node: &Node, text: &str, job: &mut Job<'_, '_>) -> Result<Node, Reported> {
    let whole = match pieces(text).as_slice() {
        [Piece::Reference(inner)] if !node.quoted => Some(*inner),
        _ => None,
    };
    let Some(inner) = whole else {
        let value = Value::Text(resolve(text, &node.place, job)?);
        return Ok(Node { value, ..node.clone() });
    };
    let (source, found) = fetch(inner, &node.place, job)?;
    // What is no YAML is a text that happens to hold brackets or colons, such as a password.
    let mut parsed = match parse::parse(&found, source.unwrap_or("")) {
        Ok(parsed) => parsed,
        Err(_) => Node::new(Value::Text(found.clone()), node.place.clone()),
    };
    if source.is_none() {
        stand_at(&mut parsed, &node.place);
    }
    let known = job.problems.iter().count();
    let expanded = walk(parsed, job);
    if job.problems.iter().count() > known {
        return Err(Reported);
    }
    let raw = match (&expanded.raw, found.contains("${")) {
        (Some(raw), _) => raw.clone(),
        (None, true) => resolve(&found, &node.place, job)?,
        (None, false) => found.replace("$$", "$"),
    };
    Ok(Node { raw: Some(raw), ..expanded })
}

/// All references of a text replaced by their texts, and `$$` by `$`.
fn resolve(text: &str, place: &Place, job: &mut Job<'_, '_>) -> Result<String, Reported> {
    let mut resolved = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => resolved.push_str(text),
            Piece::Reference(inner) => {
                let (_, found) = fetch(inner, place, job)?;
                resolved.push_str(&resolve(&found, place, job)?);
            }
        }
        if resolved.len() > CONFIG_BYTES {
            return job.fail(place, format!("is more than {CONFIG_BYTES} bytes once expanded"));
        }
    }
    Ok(resolved)
}

/// The text behind one reference, with the name of the file if it comes from one.
fn fetch<'a>(
    inner: &'a str,
    place: &Place,
    job: &mut Job<'_, '_>,
) -> Result<(Option<&'a str>, String), Reported> {
    job.spend(place)?;
    // `${env:${WHICH}}`: the inner reference first. Its text then is not borrowed from the file.
    let built;
    let reference = match inner.contains("${") && !inner.starts_with("yaml:") {
        true => {
            built = resolve(inner, place, job)?;
            built.as_str()
        }
        false => inner,
    };
    let (scheme, rest) = split_scheme(reference);
    match scheme {
        "env" => Ok((None, variable(rest, place, job)?)),
        "yaml" => Ok((None, rest.to_owned())),
        "file" => match (job.world.file)(rest) {
            Ok(text) => {
                let name = inner.strip_prefix("file:").filter(|_| inner == reference);
                Ok((name, text.trim_end_matches(['\n', '\r']).to_owned()))
            }
            Err(error) => job.fail(place, format!("the file {rest:?} cannot be read: {error}")),
        },
        other => {
            let right = "write ${env:NAME}, ${file:path} or ${yaml:text}, or $${ for a plain ${";
            job.fail(place, format!("found ${{{other}:...}}, which is not supported; {right}"))
        }
    }
}

fn variable(text: &str, place: &Place, job: &mut Job<'_, '_>) -> Result<String, Reported> {
    let (name, default) = match text.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (text, None),
    };
    let mut letters = name.chars();
    let good = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        let right = "a name is letters, digits and underscores, or write $${ for a plain ${";
        return job.fail(place, format!("found ${{{text}}}; {right}"));
    }
    match ((job.world.env)(name), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let right = format!("set it, or write a default: ${{env:{name}:-value}}");
            job.fail(place, format!("the environment variable {name} is not set; {right}"))
        }
    }
}

/// `env` and `NAME` of `env:NAME`; without a scheme it is `env`. The colon of `NAME:-default`
/// is none.
fn split_scheme(reference: &str) -> (&str, &str) {
    match reference.split_once(':') {
        Some((scheme, rest)) if !rest.starts_with('-') => (scheme, rest),
        _ => ("env", reference),
    }
}

impl Job<'_, '_> {
    fn below<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let result = work(self);
        self.path.truncate(length);
        result
    }

    fn spend(&mut self, place: &Place) -> Result<(), Reported> {
        match self.left.and_then(|left| left.checked_sub(1)) {
            Some(left) => {
                self.left = Some(left);
                Ok(())
            }
            None => {
                let text = format!("needs more than {CONFIG_EXPANSIONS} expansions; does a ");
                self.fail(place, text + "variable refer to itself?")
            }
        }
    }

    fn fail<T>(&mut self, place: &Place, text: String) -> Result<T, Reported> {
        self.problems.error(place.clone(), self.path.as_str(), text);
        Err(Reported)
    }
}

#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    /// What stands between `${` and its `}`.
    Reference(&'a str),
}

/// Cuts a text at its references; `$$` yields one `$`, and a `${` without end is text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let ends = braces(text);
    let mut found = Vec::new();
    // `from` is where the pending text begins, `at` where the search goes on.
    let (mut from, mut at) = (0, 0);
    while let Some(dollar) = text.get(at..).and_then(|rest| rest.find('$')).map(|n| n + at) {
        let next = text.as_bytes().get(dollar + 1);
        let end = ends.get(&(dollar + 1)).copied();
        match (next, end) {
            (Some(b'$'), _) => {
                found.extend(text.get(from..=dollar).map(Piece::Text));
                (from, at) = (dollar + 2, dollar + 2);
            }
            (Some(b'{'), Some(end)) => {
                let before = text.get(from..dollar).filter(|before| !before.is_empty());
                found.extend(before.map(Piece::Text));
                found.extend(text.get(dollar + 2..end).map(Piece::Reference));
                (from, at) = (end + 1, end + 1);
            }
            _ => at = dollar + 1,
        }
    }
    let rest = text.get(from..).filter(|rest| !rest.is_empty());
    found.extend(rest.map(Piece::Text));
    found
}

/// Where each brace that is open is closed again, found in one pass over the text.
fn braces(text: &str) -> HashMap<usize, usize> {
    let mut open = Vec::new();
    let mut ends = HashMap::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open.push(at),
            b'}' => ends.extend(open.pop().map(|start| (start, at))),
            _ => {}
        }
    }
    ends
}

/// Points everything that came out of an expansion at the place of the expansion.
fn stand_at(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| stand_at(item, place)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.place = place.clone();
            stand_at(&mut entry.node, place);
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VARIABLES: &[(&str, &str)] = &[
        ("HOST", "localhost"),
        ("PORT", "4317"),
        ("ZERO", "0123"),
        ("YES", "true"),
        ("EMPTY", ""),
        ("LIST", "- a\n- '${env:PORT}'\n- ${PORT}"),
        ("MAP", "k: ${env:HOST}"),
        ("AGAIN", "${env:PORT}"),
        ("WHICH", "HOST"),
        ("ODD", "a: b: [c"),
        ("DOLLARS", "a$$b$c"),
        ("SELF", "x${env:SELF}"),
        ("TWINS", "- ${env:TWINS}\n- ${env:TWINS}"),
    ];

    fn run(yaml: &str) -> (Node, Problems) {
        let env = |name: &str| {
            let found = VARIABLES.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let file = |path: &str| match path {
            "part.yaml" => Ok("a: ${env:PORT}\nb: [1]\n".to_owned()),
            "token" => Ok("0042\n".to_owned()),
            _ => Err("no such file".to_owned()),
        };
        let world = World { env: &env, file: &file };
        let mut problems = Problems::new();
        let node = expand(parse::parse(yaml, "a.yaml").unwrap(), &world, &mut problems);
        (node, problems)
    }

    #[track_caller]
    fn check(yaml: &str, expected: &str) {
        let (mut node, problems) = run(yaml);
        assert_eq!(problems.to_string(), "", "{yaml}");
        forget_raw(&mut node);
        assert_eq!(node, parse::parse(expected, "expected").unwrap(), "{yaml}");
    }

    fn forget_raw(node: &mut Node) {
        node.raw = None;
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(forget_raw),
            Value::Map(entries) => entries.iter_mut().for_each(|e| forget_raw(&mut e.node)),
            _ => {}
        }
    }

    #[test]
    fn references_become_their_values() {
        check("${env:PORT}", "4317");
        check("${PORT}", "4317");
        check("${YES}", "true");
        check("${EMPTY}", "");
        check("${env:HOST}:${env:PORT}", "localhost:4317");
        check("a: {b: ['${HOST}']}", "a: {b: [localhost]}");
        check("${env:UNSET:-5s}", "5s");
        check("${UNSET:-7}", "7");
        check("${env:UNSET:-}", "");
        check("'${env:UNSET:-}'", "''");
        check("${env:EMPTY:-7}", "");
        check("${env:PORT:-7}", "4317");
        check("${env:UNSET:-${env:PORT}}", "4317");
        check("${env:UNSET:-http://a:1}", "http://a:1");
        check("${file:token}", "'0042'");
        check("${file:part.yaml}", "{a: 4317, b: [1]}");
        check("${yaml:[a, 1]}", "[a, 1]");
        check("x ${yaml:[a, 1]}", "'x [a, 1]'");
    }

    #[test]
    fn quoted_values_stay_text() {
        check("'${env:PORT}'", "'4317'");
        check("\"${env:YES}\"", "'true'");
        check("|-\n  ${env:MAP}", "'k: localhost'");
        check("${env:PORT}0", "'43170'");
    }

    #[test]
    fn what_comes_in_is_expanded_again() {
        check("${env:AGAIN}", "4317");
        check("${env:LIST}", "[a, '4317', 4317]");
        check("${env:MAP}", "{k: localhost}");
        check("${env:${env:WHICH}}", "localhost");
    }

    #[test]
    fn dollars_escape_and_lone_ones_stay() {
        check("$$", "$");
        check("$${env:PORT}", "'${env:PORT}'");
        check("$$$${env:PORT}", "'$${env:PORT}'");
        check("$$${env:PORT}", "$4317");
        check("^a$", "^a$");
        check("a$PORT ${b", "a$PORT ${b");
        check("${env:DOLLARS}", "a$b$c");
        check("ü$$ü${HOST}ü", "ü$ülocalhostü");
    }

    #[test]
    fn a_value_that_is_no_yaml_is_text() {
        check("${env:ODD}", "'a: b: [c'");
    }

    #[test]
    fn text_keys_get_what_the_variable_held() {
        let raw = |yaml: &str| run(yaml).0.text().map(str::to_owned);
        assert_eq!(raw("${env:ZERO}").as_deref(), Some("0123"));
        assert_eq!(raw("${env:YES}").as_deref(), Some("true"));
        assert_eq!(raw("${env:AGAIN}").as_deref(), Some("4317"));
        assert_eq!(raw("${env:MAP}").as_deref(), Some("k: localhost"));
        assert_eq!(raw("4317"), None);
    }

    #[test]
    fn places_are_those_of_the_reference_or_within_the_file() {
        let place = |yaml: &str| run(yaml).0.get("a").map(|a| a.node.place.to_string());
        assert_eq!(place("x: 1\na: ${PORT}").as_deref(), Some("a.yaml:2:4"));
        assert_eq!(place("${file:part.yaml}").as_deref(), Some("part.yaml:1:4"));
    }

    #[track_caller]
    fn fails(yaml: &str, expected: &str) {
        assert_eq!(run(yaml).1.to_string(), expected, "{yaml}");
    }

    #[test]
    fn what_cannot_be_expanded_is_reported() {
        fails(
            "a:\n  - b: ${env:NOPE}",
            "a.yaml:2:8: a[0]::b: the environment variable NOPE is not set; set it, or write a \
             default: ${env:NOPE:-value}",
        );
        fails("a: ${file:nope}", "a.yaml:1:4: a: the file \"nope\" cannot be read: no such file");
        let right = "write ${env:NAME}, ${file:path} or ${yaml:text}, or $${ for a plain ${";
        fails(
            "a: ${http://x}",
            &format!("a.yaml:1:4: a: found ${{http:...}}, which is not supported; {right}"),
        );
        let right = "a name is letters, digits and underscores, or write $${ for a plain ${";
        fails("a: x${}", &format!("a.yaml:1:4: a: found ${{}}; {right}"));
        fails("a: ${1A}", &format!("a.yaml:1:4: a: found ${{1A}}; {right}"));
        let many = "needs more than 100 expansions; does a variable refer to itself?";
        fails("a: ${env:SELF}", &format!("a.yaml:1:4: a: {many}"));
    }

    #[test]
    fn variables_that_multiply_end() {
        let (_, problems) = run("a: ${env:TWINS}");
        assert!(problems.has_errors());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([${}:a-]|env:|yaml:|file:|PORT|SELF|LIST|ü){0,24}") {
            let _ = pieces(&text);
            if parse::parse(&text, "").is_ok() {
                let _ = run(&text);
            }
        }
    }
}
