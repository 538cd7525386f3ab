//! What an OTLP receiver must survive, as a table: one row for each item B1 to B49 of the list of
//! bad inputs, its input and the one right answer. It needs nothing but two addresses, so that it
//! can be held against the receiver alone, the whole binary, or any other implementation. After
//! every row a good request must pass.
//!
//! The receiver is expected to have the limits of `CONFIG`: short times, default sizes.

mod compression;
mod content;
mod framing;
mod http2;
mod wire;

pub use wire::{CONFIG, Target};
use wire::{Checked, good};

struct Row {
    /// Its name in the list.
    item: &'static str,
    /// What is sent.
    input: &'static str,
    check: fn(&Target) -> Checked,
}

const fn row(item: &'static str, input: &'static str, check: fn(&Target) -> Checked) -> Row {
    Row { item, input, check }
}

/// The tables whose rows follow each other: some take all the memory that requests may take.
const IN_TURN: [&[Row]; 3] = [compression::ROWS, content::ROWS, http2::ROWS];

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
    for k in 1..=49 {
        let item = format!("B{k}");
        assert!(all().any(|row| row.item == item), "{item} has no row");
    }
}
