//! A row of the checklist, what becomes of it, and the table on paper.

use super::bench::Bench;

/// Who a requirement is about: receivers, exporters, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Server,
    Client,
    Both,
}

/// One requirement.
pub struct Row {
    /// `C1`.
    pub id: &'static str,
    pub who: Who,
    /// MUST, SHOULD, MAY, RECOMMENDED as the text has it, or `-`.
    pub level: &'static str,
    pub what: &'static str,
    pub check: fn(&Bench) -> Checked,
}

/// Why a row is not passed.
pub enum Why {
    Fails(String),
    /// It does not apply, for this reason.
    Apart(&'static str),
}

pub type Checked = Result<(), Why>;

impl From<String> for Why {
    fn from(what: String) -> Why {
        Why::Fails(what)
    }
}

pub const fn server(
    id: &'static str,
    level: &'static str,
    what: &'static str,
    check: fn(&Bench) -> Checked,
) -> Row {
    Row { id, who: Who::Server, level, what, check }
}

pub const fn client(
    id: &'static str,
    level: &'static str,
    what: &'static str,
    check: fn(&Bench) -> Checked,
) -> Row {
    Row { id, who: Who::Client, level, what, check }
}

pub const fn both(
    id: &'static str,
    level: &'static str,
    what: &'static str,
    check: fn(&Bench) -> Checked,
) -> Row {
    Row { id, who: Who::Both, level, what, check }
}

impl Row {
    pub fn number(&self) -> usize {
        self.id[1..].parse().expect("C and a number")
    }

    pub fn run(&self, bench: &Bench) -> Checked {
        if self.who == Who::Client && !bench.is_ours() {
            return Err(Why::Apart("about exporters, which an endpoint does not show"));
        }
        (self.check)(bench)
    }
}

/// Nothing is checked, for this reason.
pub const fn apart(reason: &'static str) -> Checked {
    Err(Why::Apart(reason))
}

/// Fails with `what` unless `right`.
pub fn ensure(right: bool, what: impl FnOnce() -> String) -> Checked {
    if right { Ok(()) } else { Err(Why::Fails(what())) }
}

pub fn print(bench: &Bench, results: &[(&Row, Checked)]) {
    println!("\nOTLP checklist against {} and {}\n", bench.http, bench.grpc);
    println!("{:<4} {:<6} {:<11} {:<14} requirement", "id", "who", "level", "result");
    let mut counts = [0; 3];
    for (row, result) in results {
        let (k, word, more) = match result {
            Ok(()) => (0, "pass", ""),
            Err(Why::Fails(what)) => (1, "FAIL", what.as_str()),
            Err(Why::Apart(reason)) => (2, "not applicable", *reason),
        };
        counts[k] += 1;
        let who = format!("{:?}", row.who).to_lowercase();
        println!("{:<4} {who:<6} {:<11} {word:<14} {}", row.id, row.level, row.what);
        if !more.is_empty() {
            println!("{:39}{}", "", more.replace('\n', " "));
        }
    }
    let [passed, failed, apart] = counts;
    println!("\n{passed} pass, {failed} fail, {apart} not applicable\n");
}
