//! Runs of the head's own process that were open when it began: where to look for the parent of a
//! step that lost its context to a thread and says nothing of whom it belongs to.
//!
//! A service may have many runs open. Those come into question of which a step ended just before
//! the head began, or of which another one began with it; [`super::holders`] weighs them.

use super::facts::{CONSUMER, Facts, SERVER};
use super::index::{Index, Node};
use super::words::Role;
use crate::limits;
use smallvec::SmallVec;

/// Nanoseconds after a step within which the next one begins, and within which steps begin
/// together.
const NEXT: u64 = 50_000_000;
const TOGETHER: u64 = 2_000_000;

/// The runs that come into question, and how many were open in all.
#[derive(Default)]
pub struct Runs {
    pub traces: SmallVec<[u128; 8]>,
    pub open: usize,
}

/// Whether a head is such a step.
pub fn is_step(head: &Facts) -> bool {
    let local = !matches!(head.kind, SERVER | CONSUMER) && head.service != 0;
    let bare = head.names.is_empty() && head.groups().next().is_none();
    head.role == Role::Tool && head.parent.is_none() && local && bare
}

/// Looks for runs among the spans that came last; `None` if those do not reach back to the head.
pub fn runs(index: &Index, head: &Facts) -> Option<Runs> {
    if !index.reach_back(limits::ORPHAN_SCAN, head) {
        return None;
    }
    let mut runs = Runs::default();
    for node in index.latest_first().take(limits::ORPHAN_SCAN) {
        if node.service != head.service || node.tenant != head.tenant || node.trace == head.trace {
            continue;
        }
        let holds = node.start <= head.start && head.end <= node.end;
        runs.open += usize::from(holds && matches!(node.role, Role::Agent | Role::Chain));
        if is_near(node, head) && !runs.traces.contains(&node.trace) {
            runs.traces.push(node.trace);
        }
        if runs.traces.len() > limits::ORPHAN_RUNS {
            break;
        }
    }
    Some(runs)
}

/// Whether the head may be the next step after this one, or one beside it.
fn is_near(node: &Node, head: &Facts) -> bool {
    let began = head.start.saturating_add(TOGETHER);
    let next = (head.start.saturating_sub(NEXT)..=began).contains(&node.end);
    let together = node.start.abs_diff(head.start) <= TOGETHER;
    match node.role {
        Role::Llm | Role::Tool | Role::Leaf => next || together,
        _ => false,
    }
}
