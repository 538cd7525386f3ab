//! The rules, held against small bad texts and small good ones.

use crate::rules;

const HEAD: &str = "//! Head.\n";
const LINE: &str = "    let x = 1;\n";
const TESTS: &str = "#[cfg(test)]\nmod tests {\n    use crate::receivers::Otlp;\n}\n";

/// The rules find in `text` exactly the offences whose parts are listed.
#[track_caller]
fn finds(path: &str, text: &str, expected: &[&str]) {
    let found = rules::source(path, text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let pairs = found.iter().zip(expected);
    pairs.for_each(|(found, part)| assert!(found.contains(part), "{found} lacks {part}"));
}

#[test]
fn heads_lines_and_leftovers() {
    finds("batch.rs", HEAD, &[]);
    finds("batch.rs", "use bytes::Bytes;\n", &["src/batch.rs:1: a file begins"]);
    finds("attic.rs", HEAD, &["layer table"]);
    finds("batch.rs", &format!("{HEAD}// {}\n", "x".repeat(98)), &["batch.rs:2: a line has"]);
    finds("batch.rs", &format!("{HEAD}// TO{}: later\n", "DO"), &["batch.rs:2: leftover"]);
}

#[test]
fn layers() {
    finds(
        "otlp/view.rs",
        &format!("{HEAD}use crate::batch::Batch;\n"),
        &["may not import `batch`"],
    );
    finds("batch.rs", &format!("{HEAD}use crate::otlp::view;\nuse crate::batch::X;\n"), &[]);
    let braced = "use crate::{\n    otlp::{view, wire},\n    intake,\n};\n";
    finds("batch.rs", &format!("{HEAD}{braced}"), &["batch.rs:2: layering"]);
    finds("exporters/a.rs", &format!("{HEAD}let x = crate::receivers::y();\n"), &["`receivers`"]);
    finds("processors/a.rs", &format!("{HEAD}use tokio::time;\n"), &["does without `tokio::`"]);
    finds("processors/a.rs", &format!("{HEAD}use crate::clock;\n"), &["does without"]);
    finds("otlp/view.rs", &format!("{HEAD}{TESTS}"), &[]);
}

#[test]
fn budgets() {
    let function =
        |n: usize| format!("{HEAD}impl A {{\n  fn a(\n  ) {{\n{}  }}\n}}\n", LINE.repeat(n));
    finds("batch.rs", &function(67), &[]);
    finds("batch.rs", &function(68), &["batch.rs:3: function of 71 lines"]);
    finds("batch.rs", &format!("{HEAD}{}", LINE.repeat(499)), &[]);
    finds("batch.rs", &format!("{HEAD}{}", LINE.repeat(500)), &["501 lines without tests"]);
    finds("batch.rs", &format!("{HEAD}{}{TESTS}", LINE.repeat(498)), &[]);
    finds("main.rs", &format!("{HEAD}{}", LINE.repeat(80)), &["main.rs has at most 80"]);
}

#[test]
fn rules_of_the_whole_tree() {
    let file = |name: &str, text: &str| (name.to_string(), text.to_string());
    let mut files = vec![file("lib.rs", "pub mod otlp;"), file("otlp/mod.rs", "mod view;")];
    files.push(file("otlp/view.rs", "#[cfg(test)]\nmod tests;"));
    files.push(file("otlp/view/tests.rs", ""));
    assert_eq!(rules::unreachable(&files), Vec::<String>::new());
    files.push(file("otlp/lost.rs", ""));
    assert_eq!(rules::unreachable(&files), ["src/otlp/lost.rs:1: no `mod` line leads here"]);
    let manifest = "[dependencies]\na = \"1\"  # why\nb = \"1\"\n[profile.dev]\ndebug = 1\n";
    assert_eq!(rules::unexplained(manifest), ["Cargo.toml:3: a dependency says what it is for"]);
    let path = format!("a\nsee {}/me/x and target/{}/x\n", "/home", "tmp");
    assert_eq!(rules::machine_paths("a.md", &path), ["a.md:2: a path of one machine"]);
    assert_eq!(
        rules::machine_paths("a.md", "https://x.org/home/ ./work/ a/root/"),
        Vec::<String>::new()
    );
}
