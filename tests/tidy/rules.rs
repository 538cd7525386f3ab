//! The rules of the tree as pure functions on text: each returns its offences as `file:line: rule`.

use std::collections::BTreeSet;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;
const MAIN_LINES: usize = 80;

/// Rooms and their height. A room imports lower rooms and itself; rooms of equal height are
/// siblings and never import each other.
pub const LAYERS: &[(&str, u8)] = &[
    ("otlp", 1),
    ("limits", 2),
    ("moment", 2),
    ("spelling", 2),
    ("turns", 3),
    ("verdict", 3),
    ("account", 4),
    ("metadata", 4),
    ("receipt", 4),
    ("batch", 5),
    ("clock", 6),
    ("machine", 6),
    ("condition", 6),
    ("telemetry", 6),
    ("config", 6),
    ("journal", 6),
    ("sockets", 7),
    ("status", 7),
    ("transport", 7),
    ("intake", 8),
    ("web", 8),
    ("receivers", 9),
    ("processors", 9),
    ("exporters", 9),
    ("connectors", 9),
    ("extensions", 9),
    ("delivery", 10),
    ("pipeline", 11),
    ("daemon", 12),
    ("cli", 13),
];

/// What a room may not name although the layers would allow it.
const ABSENT: &[(&str, &[&str])] = &[
    ("otlp", &["tokio::", "serde::", "hyper::", "tracing::", "prost::"]),
    ("journal", &["tokio::", "crate::clock"]),
    ("processors", &["tokio::", "crate::clock", "crate::intake", "hyper::"]),
    ("connectors", &["tokio::", "crate::clock", "crate::intake", "hyper::"]),
];

fn absent(room: &str) -> &'static [&'static str] {
    ABSENT.iter().find(|(name, _)| *name == room).map_or(&[], |(_, words)| words)
}

fn height(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, height)| *height)
}

/// The room of a path relative to `src`: its first part without the extension.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// All offences of one source file. `path` is relative to `src`.
pub fn source(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let inline_tests =
        lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].starts_with("mod "));
    let code = if is_test { 0 } else { inline_tests.unwrap_or(lines.len()) };
    let mut found = shape(path, text, &lines, code);
    found.extend(columns_and_leftovers(&lines));
    found.extend(long_functions(&lines));
    found.extend(imports(room(path), &lines[..code]));
    found.sort();
    found.into_iter().map(|(line, rule)| format!("src/{path}:{line}: {rule}")).collect()
}

/// Head, room and length of a file whose first `code` lines are no tests.
fn shape(path: &str, text: &str, lines: &[&str], code: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!") {
        found.push((1, "a file begins with a `//!` head that says what it is for".into()));
    }
    if height(room(path)).is_none() && !["main", "lib"].contains(&room(path)) {
        found.push((1, "a room stands in the layer table (tests/tidy/rules.rs)".into()));
    }
    if code > FILE_LINES {
        found.push((code, format!("{code} lines without tests, at most {FILE_LINES}")));
    }
    if path == "main.rs" && lines.len() > MAIN_LINES {
        found.push((lines.len(), format!("main.rs has at most {MAIN_LINES} lines")));
    }
    found
}

fn columns_and_leftovers(lines: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(lines) {
        if line.chars().count() > COLUMNS {
            found.push((number, format!("a line has at most {COLUMNS} columns")));
        }
        if let Some(word) = leftover(line) {
            found.push((number, format!("leftover {word}")));
        }
    }
    found
}

/// Functions over the budget, as rustfmt lays them out: from the head to the closing brace in the
/// same column.
fn long_functions(lines: &[&str]) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None);
    for (number, line) in (1..).zip(lines) {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        match open {
            None if is_function_head(trimmed) && !trimmed.ends_with(['}', ';']) => {
                open = Some((number, indent));
            }
            Some((start, outer)) if indent == outer && closes(trimmed) => {
                open = None;
                let length = number - start + 1;
                if length > FUNCTION_LINES {
                    let rule = format!("function of {length} lines, at most {FUNCTION_LINES}");
                    found.push((start, rule));
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a line in the column of a function's head ends the function or its declaration.
fn closes(trimmed: &str) -> bool {
    trimmed.starts_with('}') || (trimmed.starts_with(')') && trimmed.ends_with(';'))
}

/// What a room imports although it may not.
fn imports(home: &str, code: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        // A braced import over several lines is read as one.
        let statement = match line.rfind('{') {
            Some(at) if line[..at].ends_with("crate::") => code[index..].join(" "),
            _ => line.to_string(),
        };
        for used in rooms_named(&statement).iter().filter(|used| *used != home) {
            if height(home).zip(height(used)).is_some_and(|(here, there)| there >= here) {
                found.push((index + 1, format!("layering: `{home}` may not import `{used}`")));
            }
        }
        for word in absent(home).iter().filter(|word| line.contains(**word)) {
            found.push((index + 1, format!("`{home}` does without `{word}`")));
        }
    }
    found
}

fn is_function_head(trimmed: &str) -> bool {
    let mut words = trimmed.split(' ');
    words.find(|word| !["pub", "const", "async"].contains(word) && !word.starts_with("pub("))
        == Some("fn")
}

/// Rooms that a statement names as `crate::room` or, at its head, as `crate::{room, room::Thing}`.
fn rooms_named(statement: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let after = statement.split("crate::").skip(1);
    let braced = |text: &str| text.starts_with('{');
    match after.clone().next() {
        Some(list) if braced(list) => top_level(&list[1..]).iter().map(|item| word(item)).collect(),
        _ => after.map(word).collect(),
    }
}

/// The items of a braced list up to its closing brace, split at commas outside inner braces.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => items.last_mut().into_iter().for_each(|item| item.push(c)),
        }
    }
    items
}

/// What must not stay in a tree. Spelled in halves so that this file passes its own rule.
fn leftover(line: &str) -> Option<&'static str> {
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("dbg", "!("), concat!("todo", "!(")]
        .into_iter()
        .find(|word| line.contains(word))
}

/// Files under `src` that no `mod` line leads to.
pub fn unreachable(files: &[(String, String)]) -> Vec<String> {
    let has = |path: &str| files.iter().any(|(name, _)| name == path);
    let mut reached: BTreeSet<String> = BTreeSet::from(["main.rs".into(), "lib.rs".into()]);
    let mut open: Vec<String> = reached.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let Some((_, text)) = files.iter().find(|(name, _)| *name == path) else {
            continue;
        };
        let folder = path.trim_end_matches(".rs").trim_end_matches("mod").trim_end_matches('/');
        let folder = if ["main", "lib"].contains(&folder) { "" } else { folder };
        for line in text.lines() {
            let words = line.trim().trim_end_matches(';').split(' ').collect::<Vec<_>>();
            let Some(at) = words.iter().position(|word| *word == "mod").filter(|at| *at < 2) else {
                continue;
            };
            let name = words.get(at + 1).copied().unwrap_or_default();
            let base = if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
            for child in [format!("{base}.rs"), format!("{base}/mod.rs")] {
                if has(&child) && reached.insert(child.clone()) {
                    open.push(child);
                }
            }
        }
    }
    let lost = files.iter().filter(|(name, _)| !reached.contains(name));
    lost.map(|(name, _)| format!("src/{name}:1: no `mod` line leads here")).collect()
}

/// Dependencies in a Cargo.toml that do not say what they are for.
pub fn unexplained(manifest: &str) -> Vec<String> {
    let (mut inside, mut found) = (false, Vec::new());
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.contains(" = ") && !line.contains("# ") {
            found.push(format!("Cargo.toml:{}: a dependency says what it is for", index + 1));
        }
    }
    found
}

/// Lines that name a folder of somebody's machine.
pub fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let folders = ["work", "tmp", "root", "home"].map(|folder| format!("/{folder}/"));
    let names = |line: &str, folder: &String| {
        line.match_indices(folder.as_str()).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && !"._-/:}*".contains(c))
        })
    };
    let lines = text.lines().enumerate();
    let hits = lines.filter(|(_, line)| folders.iter().any(|folder| names(line, folder)));
    hits.map(|(index, _)| format!("{path}:{}: a path of one machine", index + 1)).collect()
}
