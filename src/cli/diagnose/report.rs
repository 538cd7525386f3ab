//! The findings for a person: what is torn, before and after joining, why, and what mends it.

use super::finding::{Finding, Findings, Id, Row};
use super::tree::{Tree, WIDTH, cut, title};
use crate::exporters::tree::duration;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// What a signature means, in one sentence.
const MEANINGS: [(&str, &str); 6] = [
    (
        "mid_sequence_root",
        "A root in the middle of a run: the run was under way when it began, and it has no parent.",
    ),
    (
        "trace_discontinuity",
        "The run goes on in another trace: what called this is known, and its trace is another.",
    ),
    (
        "tool_call_root",
        "A tool's span that is a root, or whose parent never came: who called it is lost.",
    ),
    ("unexplained_gap", "Nothing covers the time in front of this: what happened there is unseen."),
    ("missing_parent", "The span names a parent, and no span with that id has come."),
    (
        "over_merged",
        "One trace holds what belongs to several: more sessions or hours than one run.",
    ),
];

/// How a report is written.
pub struct Options {
    pub colour: bool,
    /// Torn runs that are drawn.
    pub limit: usize,
}

/// Traces that findings lead from one to the other.
struct Run {
    traces: Vec<u128>,
    /// Places in [`Findings::found`], the first finding first.
    findings: Vec<usize>,
}

/// The report on `all`.
pub fn report(all: &Findings, options: &Options) -> String {
    let mut traces: HashMap<u128, Vec<&Row>> = HashMap::new();
    for row in &all.rows {
        traces.entry(row.id.0).or_default().push(row);
    }
    let spans = all.rows.len();
    let seen = format!("{} in {}", count(spans, "span"), count(traces.len(), "trace"));
    if all.found.is_empty() {
        return format!("no trace is torn: {seen}\n");
    }
    let runs = runs(all);
    let mut out = String::new();
    for (k, run) in runs.iter().take(options.limit).enumerate() {
        let _ = writeln!(out, "torn run {} of {}\n", k + 1, runs.len());
        Drawing { all, traces: &traces, run, colour: options.colour }.draw(&mut out);
    }
    let more = runs.len().saturating_sub(options.limit);
    if more > 0 {
        let _ = writeln!(out, "… and {} more; --limit draws them\n", count(more, "torn run"));
    }
    out + &summary(all, &seen)
}

/// `1 span`, `2 spans`.
fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The findings by what they have in common: their traces, and those of their parents.
fn runs(all: &Findings) -> Vec<Run> {
    // Each trace leads to another one of its run, the first to itself.
    let mut leads: HashMap<u128, u128> = HashMap::new();
    let first = |leads: &HashMap<u128, u128>, mut trace: u128| {
        while let Some(next) = leads.get(&trace).filter(|next| **next != trace) {
            trace = *next;
        }
        trace
    };
    let ends = |finding: &Finding| {
        let own = all.rows.get(finding.row).map_or(0, |row| row.id.0);
        let parent = finding.parent.filter(|id| all.row(*id).is_some());
        (own, parent.map_or(own, |id| id.0))
    };
    for (own, other) in all.found.iter().map(ends) {
        let (a, b) = (first(&leads, own), first(&leads, other));
        leads.insert(a, b);
        leads.entry(b).or_insert(b);
    }
    let mut places: HashMap<u128, usize> = HashMap::new();
    let mut runs: Vec<Run> = vec![];
    for (k, finding) in all.found.iter().enumerate() {
        let (own, other) = ends(finding);
        let place = *places.entry(first(&leads, own)).or_insert(runs.len());
        if place == runs.len() {
            runs.push(Run { traces: vec![], findings: vec![] });
        }
        let Some(run) = runs.get_mut(place) else { continue };
        run.findings.push(k);
        for trace in [own, other] {
            if !run.traces.contains(&trace) {
                run.traces.push(trace);
            }
        }
    }
    runs
}

/// One run that is being drawn.
struct Drawing<'a> {
    all: &'a Findings,
    traces: &'a HashMap<u128, Vec<&'a Row>>,
    run: &'a Run,
    colour: bool,
}

impl Drawing<'_> {
    fn draw(&self, out: &mut String) {
        let found = || self.run.findings.iter().filter_map(|k| self.all.found.get(*k));
        let mut traces: Vec<(u128, &Vec<&Row>)> =
            self.run.traces.iter().filter_map(|id| Some((*id, self.traces.get(id)?))).collect();
        traces.sort_by_key(|(_, rows)| rows.iter().map(|row| row.start).min());
        let (mut before, mut after) = (HashMap::new(), HashMap::new());
        let mut parents: HashMap<Id, Id> = HashMap::new();
        for (k, finding) in found().enumerate() {
            let Some(row) = self.all.rows.get(finding.row) else { continue };
            before.insert(row.id, format!("[{}] {}", k + 1, finding.text("signature")));
            let parent = finding.parent.filter(|id| self.all.row(*id).is_some());
            parents.extend(parent.map(|parent| (row.id, parent)));
            let joined = if parent.is_some() { "joined" } else { "no parent found" };
            after.insert(row.id, format!("[{}] {joined}", k + 1));
        }
        let tree = |rows: Vec<&Row>, parents: HashMap<Id, Id>, marks: &HashMap<Id, String>| {
            let marks = marks.clone();
            Tree { rows, parents, marks, colour: self.colour, indent: 2 }.render()
        };
        out.push_str("  before\n");
        for (id, rows) in &traces {
            let start = rows.iter().map(|row| row.start).min().unwrap_or_default();
            let end = rows.iter().map(|row| row.end).max().unwrap_or_default();
            let (spans, lasted) = (count(rows.len(), "span"), duration(end.saturating_sub(start)));
            let _ = writeln!(out, "  trace {id:032x} · {spans} · {lasted}");
            out.push_str(&tree(rows.to_vec(), HashMap::new(), &before));
        }
        if !parents.is_empty() {
            let rows = traces.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
            let _ = writeln!(out, "\n  after\n{}", tree(rows, parents, &after).trim_end());
        }
        for (k, finding) in found().enumerate() {
            out.push_str(&self.finding(k + 1, finding));
        }
        out.push('\n');
    }

    fn finding(&self, number: usize, finding: &Finding) -> String {
        let mut out = String::new();
        let Some(row) = self.all.rows.get(finding.row) else { return out };
        let signature = finding.text("signature");
        let head = format!("  [{number}] {signature} · {}", title(row));
        let _ = writeln!(out, "\n{}", cut(&head, WIDTH));
        let meaning = MEANINGS.iter().find(|(name, _)| *name == signature);
        put(&mut out, "", meaning.map_or("", |(_, meaning)| meaning));
        let more: Vec<&str> = finding.signatures().filter(|name| *name != signature).collect();
        put(&mut out, "also", &more.join(", "));
        put(&mut out, "evidence", &evidence(finding));
        put(&mut out, "parent", &self.parent(finding));
        put(&mut out, "boundary", finding.remedy.boundary);
        put(&mut out, "remedy", finding.remedy.text);
        out
    }

    fn parent(&self, finding: &Finding) -> String {
        let Some(id) = finding.parent else { return finding.text("status").to_owned() };
        let place = format!("span {:016x}, trace {:032x}", id.1, id.0);
        match self.all.row(id) {
            Some(row) => format!("{} ({}) {place}", title(row), finding.text("status")),
            None => format!("{} ({})", place, finding.text("status")),
        }
    }
}

/// What a finding rests on.
fn evidence(finding: &Finding) -> String {
    let mut words = vec![finding.text("evidence").to_owned()];
    let cause = finding.text("cause");
    if !cause.is_empty() {
        words.push(format!("cause {cause}"));
    }
    for (name, unit) in [("tier", ""), ("confidence", ""), ("candidates", ""), ("gap_ms", " ms")] {
        let shown = |number: f64| (number * 1000.0).round() / 1000.0;
        let number = finding.number(name).map(shown);
        let name = name.trim_end_matches("_ms");
        words.extend(number.map(|number| format!("{name} {number}{unit}")));
    }
    words.retain(|word| !word.is_empty());
    words.join(" · ")
}

/// Columns in front of what is said of a finding, and those of its name.
const INDENT: usize = 6;
const NAME: usize = 10;

/// A named paragraph, if there is anything to say.
fn put(out: &mut String, name: &str, text: &str) {
    let indent = if name.is_empty() { INDENT } else { INDENT + NAME };
    let mut line = format!("{:INDENT$}{name:1$}", "", indent - INDENT);
    let mut used = false;
    for word in text.split_whitespace() {
        if used && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent);
            used = false;
        }
        if used {
            line.push(' ');
        }
        line.push_str(word);
        used = true;
    }
    if used {
        out.push_str(&line);
        out.push('\n');
    }
}

/// How many findings there are of each kind of boundary, the most first.
fn summary(all: &Findings, seen: &str) -> String {
    let mut kinds: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &all.found {
        kinds.entry(finding.remedy.boundary).or_default().push(finding);
    }
    let mut kinds: Vec<(&str, Vec<&Finding>)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, findings)| std::cmp::Reverse(findings.len()));
    let mut out = format!("{:<26}{:>9}{:>8}   signatures\n", "boundary", "findings", "traces");
    for (boundary, findings) in kinds {
        let unique = |mut values: Vec<String>| {
            values.sort();
            values.dedup();
            values
        };
        let trace = |finding: &&Finding| all.rows.get(finding.row).map(|row| row.id.0.to_string());
        let traces = unique(findings.iter().filter_map(trace).collect());
        let signature = |finding: &&Finding| finding.text("signature").to_owned();
        let signatures = unique(findings.iter().map(signature).collect()).join(", ");
        let (n, t) = (findings.len(), traces.len());
        let _ =
            writeln!(out, "{}", cut(&format!("{boundary:<26}{n:>9}{t:>8}   {signatures}"), WIDTH));
    }
    let joined = all.found.iter().filter(|finding| finding.parent.is_some()).count();
    let found = count(all.found.len(), "finding");
    let _ = writeln!(out, "\n{found}, {joined} with a parent: {seen}");
    out
}
