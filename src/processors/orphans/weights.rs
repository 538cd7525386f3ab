//! Candidates for a parent, weighed against each other and against nobody: each has the odds of
//! what is seen if it is the parent to what is seen if the parent never passed.

use super::matching::{Found, Match};
use super::node::Node;
use super::tags::evidence;
use crate::limits;
use smallvec::SmallVec;

/// A parent of which nobody says more than this, without an exact key.
const SUREST: f64 = 0.995;

/// One that may be the parent.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub trace: u128,
    pub span: u64,
    pub service: u64,
    pub evidence: &'static str,
    /// When it ended; 0 if that is not known.
    pub ended: u64,
    /// The odds for it, and the most that it may be trusted.
    pub odds: f64,
    pub most: f64,
}

impl Candidate {
    pub fn of(node: &Node, evidence: &'static str, odds: f64) -> Candidate {
        Candidate {
            trace: node.trace,
            span: node.span,
            service: node.service,
            evidence,
            ended: node.end,
            odds,
            most: SUREST,
        }
    }
}

/// The candidates of one head.
#[derive(Default)]
pub struct Weights {
    all: SmallVec<[Candidate; 8]>,
    /// Some that were not looked at.
    more: bool,
}

impl Weights {
    /// Adds a candidate, or what else speaks for one that is known.
    pub fn add(&mut self, one: Candidate) {
        let same = |known: &Candidate| (known.trace, known.span) == (one.trace, one.span);
        let at = self.all.iter().position(same);
        if let Some(known) = at.and_then(|at| self.all.get_mut(at)) {
            if known.odds < one.odds {
                *known = one;
            }
        } else if self.all.len() < limits::ORPHAN_CANDIDATES {
            self.all.push(one);
        } else {
            self.more = true;
        }
    }

    /// Whether there are so many that nothing will be said.
    pub fn is_full(&self) -> bool {
        self.more
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The likeliest one, with how likely it is; `absent` are the odds that the parent never
    /// passed.
    pub fn decide(&self, absent: f64) -> Found {
        let sum: f64 = self.all.iter().map(|one| one.odds).sum();
        let best = self.all.iter().max_by(|a, b| a.odds.total_cmp(&b.odds));
        let Some(best) = best.filter(|best| best.odds > 0.0) else { return Found::Nothing };
        let likely = best.odds / (sum + absent);
        let claims = self.all.iter().filter(|one| one.odds * 4.0 > best.odds).count();
        if self.more || (likely < 0.5 && claims > 1 && sum > absent) {
            return Found::Several(best.evidence, self.all.len());
        }
        if likely < 0.5 {
            return Found::Nothing;
        }
        Found::One(Match {
            trace: best.trace,
            span: best.span,
            service: best.service,
            evidence: best.evidence,
            tier: if best.evidence == evidence::INSTANCE { 3 } else { 2 },
            confidence: likely.min(best.most),
            candidates: self.all.len(),
            cause: None,
            ended: best.ended,
        })
    }
}
