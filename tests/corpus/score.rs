//! How well heads are found and joined: counts against the truth.

use super::breakers::Broken;
use super::pipeline::Passed;
use super::show;
use std::collections::{BTreeMap, HashSet};

pub const SIGNATURES: [&str; 6] = [
    "mid_sequence_root",
    "trace_discontinuity",
    "tool_call_root",
    "unexplained_gap",
    "missing_parent",
    "over_merged",
];

/// Right, wrong and missed ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub right: usize,
    pub wrong: usize,
    pub missed: usize,
}

impl Counts {
    pub fn precision(&self) -> f64 {
        ratio(self.right, self.right + self.wrong)
    }

    pub fn recall(&self) -> f64 {
        ratio(self.right, self.right + self.missed)
    }

    pub fn f1(&self) -> f64 {
        let (p, r) = (self.precision(), self.recall());
        if p + r == 0.0 { 0.0 } else { 2.0 * p * r / (p + r) }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[derive(Default)]
pub struct Score {
    pub spans: usize,
    pub heads: usize,
    pub signatures: [Counts; 6],
    /// Spans of intact traces, and spans beside the torn ones, of which something was said.
    pub false_findings: usize,
    /// Spans called pending whose parent came after that.
    pub pending: usize,
    /// With a confidence of 0.9 at least, synchronous and through queues.
    pub joins: Counts,
    /// Of calls and tools alone: those that have keys, if any do.
    pub calls: Counts,
    /// Of calls of another service alone.
    pub remote: Counts,
    pub rewrites: Counts,
    /// Parents that bridges told of, of torn heads and of those called pending.
    pub late: Counts,
    pub late_heads: i64,
    /// By tenth of confidence: the sum of confidences, right ones, all.
    bins: [(f64, usize, usize); 10],
    /// The same by evidence.
    pub reliability: BTreeMap<(String, usize), (f64, usize, usize)>,
    pub us_per_span: f64,
    /// What went wrong, by breaker and how.
    pub notes: BTreeMap<String, usize>,
}

impl Score {
    pub fn of(broken: &Broken, passed: &Passed) -> Score {
        let mut score =
            Score { spans: passed.spans, heads: broken.truth.len(), ..Score::default() };
        score.us_per_span = passed.took.as_secs_f64() * 1e6 / passed.spans.max(1) as f64;
        let present: HashSet<(u128, u64)> =
            broken.spans.iter().map(|span| (span.trace, span.span)).collect();
        let merged: HashSet<u128> = passed
            .said
            .iter()
            .filter(|(_, said)| said.signatures.iter().any(|s| s == "over_merged"))
            .map(|(at, _)| at.0)
            .collect();
        for (at, torn) in &broken.truth {
            let said = passed.said.get(at);
            let has =
                |name: &str| said.is_some_and(|said| said.signatures.iter().any(|s| s == name));
            if let Some(n) = SIGNATURES.iter().position(|name| *name == torn.signature) {
                if has(torn.signature) || (n == 5 && merged.contains(&at.0)) {
                    score.signatures[n].right += 1;
                } else {
                    score.signatures[n].missed += 1;
                    score.note(format!("{} {} missed: {said:?}", torn.breaker, torn.signature));
                }
            }
            let parent = torn.parent.filter(|parent| present.contains(parent));
            // Whose parent is gone may be joined to who stood above it.
            let near =
                said.and_then(|said| said.parent).is_some_and(|(trace, _)| trace == torn.trace);
            if parent.is_some() || !near {
                score.join(parent, said, torn.breaker);
                let chosen = said.and_then(|said| said.parent);
                if show::wanted(torn.breaker) && (chosen.is_none() || chosen != parent) {
                    show::head(broken, *at, said);
                }
            }
        }
        for (at, said) in &passed.late {
            let Some(chosen) = said.parent else { continue };
            let right = match broken.truth.get(at) {
                Some(torn) => torn.parent == Some(chosen),
                // It was intact, and what it missed was late.
                None => chosen.0 == at.0 && present.contains(&chosen),
            };
            score.late_heads += said.heads;
            score.late.right += usize::from(right);
            score.late.wrong += usize::from(!right);
            if !right {
                let (e, t) = (&said.evidence, said.tier);
                score.note(format!("late: joined wrongly by {e}, tier {t}"));
            }
        }
        for (at, said) in passed.said.iter().filter(|(at, _)| !broken.truth.contains_key(at)) {
            let of_merged = merged.contains(&at.0);
            if said.status == "pending" {
                score.pending += usize::from(!of_merged);
                continue;
            }
            if of_merged {
                continue;
            }
            score.false_findings += 1;
            let n = SIGNATURES.iter().position(|name| *name == said.signatures[0]);
            score.signatures[n.unwrap_or(0)].wrong += 1;
            score.note(format!("false {:?} {} {}", said.signatures, said.evidence, said.cause));
            score.join(None, Some(said), "none");
        }
        score
    }

    fn join(
        &mut self,
        parent: Option<(u128, u64)>,
        said: Option<&super::pipeline::Said>,
        breaker: &str,
    ) {
        let chosen = said.and_then(|said| Some((said, said.parent?)));
        let right = chosen.is_some_and(|(_, chosen)| Some(chosen) == parent);
        if let Some((said, _)) = chosen {
            let bin = ((said.confidence * 10.0) as usize).min(9);
            self.bins[bin].0 += said.confidence;
            self.bins[bin].1 += usize::from(right);
            self.bins[bin].2 += 1;
            // The upper ones are finer.
            let fine = if bin < 9 { bin * 10 } else { (said.confidence * 100.0) as usize };
            let entry = self.reliability.entry((said.evidence.clone(), fine)).or_default();
            entry.0 += said.confidence;
            entry.1 += usize::from(right);
            entry.2 += 1;
            if said.confidence >= 0.99 && said.tier <= 1 {
                self.rewrites.right += usize::from(right);
                self.rewrites.wrong += usize::from(!right);
            }
            if !right {
                let (e, t) = (&said.evidence, said.tier);
                self.note(format!(
                    "{breaker} joined wrongly by {e}, tier {t}, {}",
                    said.confidence
                ));
            }
        }
        let sure = chosen.is_some_and(|(said, _)| said.confidence >= 0.9);
        let mut of_some = vec![];
        if matches!(breaker, "B2" | "B3") {
            of_some.push(&mut self.calls);
        }
        if breaker == "B2" {
            of_some.push(&mut self.remote);
        }
        for counts in of_some {
            counts.right += usize::from(sure && right);
            counts.wrong += usize::from(sure && !right);
            counts.missed += usize::from(parent.is_some() && !(sure && right));
        }
        match (sure, right, parent) {
            (true, true, _) => self.joins.right += 1,
            (true, false, _) => self.joins.wrong += 1,
            (false, _, Some(_)) => {
                let said = said.map(|said| (&said.status, &said.evidence, &said.cause));
                self.note(format!("{breaker} not joined: {said:?}"));
            }
            _ => {}
        }
        self.joins.missed += usize::from(parent.is_some() && !(sure && right));
    }

    fn note(&mut self, mut text: String) {
        text.truncate(text.floor_char_boundary(150));
        *self.notes.entry(text).or_default() += 1;
    }

    /// The expected error of the confidence.
    pub fn calibration_error(&self) -> f64 {
        let all: usize = self.bins.iter().map(|bin| bin.2).sum();
        let errors = self.bins.iter().map(|(sum, right, _)| (sum - *right as f64).abs());
        errors.sum::<f64>() / all.max(1) as f64
    }

    /// The joins in one line, for tables.
    pub fn line(&self, title: &str) {
        let share = |counts: &Counts| format!("{:.4} {:.4}", counts.precision(), counts.recall());
        println!(
            "  {title:<34} {} | {} | {} | {:>5.0} {:.4} {:.3}",
            share(&self.joins),
            share(&self.calls),
            share(&self.remote),
            self.joins.wrong as f64 * 1e6 / self.spans.max(1) as f64,
            self.calibration_error(),
            self.us_per_span
        );
        self.print_notes();
    }

    pub fn print(&self, title: &str) {
        println!("\n{title}: {} spans, {} torn heads", self.spans, self.heads);
        println!("  {:<22}{:>10}{:>10}{:>8}", "signature", "precision", "recall", "F1");
        for (name, counts) in SIGNATURES.iter().zip(&self.signatures) {
            let (p, r, f) = (counts.precision(), counts.recall(), counts.f1());
            println!("  {name:<22}{p:>10.4}{r:>10.4}{f:>8.4}");
        }
        let per_million = |n: usize| n as f64 * 1e6 / self.spans.max(1) as f64;
        println!(
            "  joins: precision {:.4}, recall {:.4}, {:.0} wrong per million spans",
            self.joins.precision(),
            self.joins.recall(),
            per_million(self.joins.wrong)
        );
        println!(
            "  joins of calls and tools: precision {:.4}, recall {:.4}; of remote calls alone {:.4}, {:.4}",
            self.calls.precision(),
            self.calls.recall(),
            self.remote.precision(),
            self.remote.recall()
        );
        println!(
            "  rewrites: {} of {} wrong; calibration error {:.4}; false findings {} ({:.0} per million)",
            self.rewrites.wrong,
            self.rewrites.right + self.rewrites.wrong,
            self.calibration_error(),
            self.false_findings,
            per_million(self.false_findings)
        );
        println!(
            "  pending whose parent was late: {}; told later of {} heads and {} parents, {} wrong; {:.3} us per span",
            self.pending,
            self.late_heads,
            self.late.right + self.late.wrong,
            self.late.wrong,
            self.us_per_span
        );
        self.print_notes();
    }

    /// What went wrong, and what confidences are worth, if anybody asked.
    fn print_notes(&self) {
        if std::env::var_os("SCORE_NOTES").is_some() {
            let mut notes: Vec<_> = self.notes.iter().collect();
            notes.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
            notes.iter().take(25).for_each(|(note, n)| println!("    {n:>6} {note}"));
            for (sum, right, all) in self.bins.iter().filter(|bin| bin.2 > 0) {
                let (says, is) = (sum / *all as f64, *right as f64 / *all as f64);
                println!("    confidence {says:.3}: {is:.3} right of {all}");
            }
        }
    }
}
