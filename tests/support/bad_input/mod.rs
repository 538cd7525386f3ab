//! What an OTLP receiver must survive, as a table: one row for each item B1 to B55 of the list of
//! bad inputs, its input and the one right answer. Up to B49 it needs nothing but two addresses,
//! so that it can be held against the receiver alone, the whole binary, or any other
//! implementation. After every row a good request must pass. A row that cannot apply says why.
//!
//! The receiver is expected to have the limits of `CONFIG`: short times, default sizes.

mod compression;
mod content;
mod framing;
mod http2;
mod operations;
mod wire;

pub use wire::{CONFIG, Target};
use wire::{Checked, good};

struct Row {
    /// Its name in the list.
    item: &'static str,
    /// What is sent.
    input: &'static str,
    check: fn(&Target) -> Checked,
    /// Why it does not apply, if it does not.
    apart: Option<&'static str>,
}

const fn row(item: &'static str, input: &'static str, check: fn(&Target) -> Checked) -> Row {
    Row { item, input, check, apart: None }
}

/// A row that does not apply.
const fn apart(item: &'static str, input: &'static str, reason: &'static str) -> Row {
    Row { item, input, check: |_| Ok(()), apart: Some(reason) }
}

/// The tables whose rows follow each other: some take all the memory that requests may take.
const IN_TURN: [&[Row]; 4] = [compression::ROWS, content::ROWS, http2::ROWS, operations::ROWS];

fn all() -> impl Iterator<Item = &'static Row> {
    framing::ROWS.iter().chain(IN_TURN.into_iter().flatten())
}

/// Sends every row and lists what was answered otherwise.
#[track_caller]
pub fn check(target: &Target) {
    let failures: Vec<String> = std::thread::scope(|scope| {
        // The rows of framing mostly wait.
        let framing = scope.spawn(|| failures(target, &[framing::ROWS]));
        let mut failures = failures(target, &IN_TURN);
        failures.extend(framing.join().expect("no panic"));
        failures
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn failures(target: &Target, tables: &[&[Row]]) -> Vec<String> {
    let mut failures = vec![];
    for row in tables.iter().copied().flatten() {
        if let Some(reason) = row.apart {
            println!("{} {}: not applicable: {reason}", row.item, row.input);
            continue;
        }
        for (when, check) in [("", row.check as fn(&Target) -> Checked), (" (afterwards)", good)] {
            if let Err(what) = check(target) {
                failures.push(format!("{} {}{when}: {what}", row.item, row.input));
            }
        }
    }
    failures
}

/// Every item of the list has a row.
#[test]
fn no_item_is_left_out() {
    for k in 1..=55 {
        let item = format!("B{k}");
        assert!(all().any(|row| row.item == item), "{item} has no row");
    }
}
