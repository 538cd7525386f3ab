//! Runs of the head's own process that were open when it began: where to look for the parent of a
//! step that lost its context to a thread and says nothing of whom it belongs to.
//!
//! A service may have many runs open. Those come into question of which a step ended just before
//! the head began, or of which another one began with it; [`super::holders`] weighs them.

use super::facts::{CONSUMER, Facts, SERVER};
use super::index::Index;
use super::node::Node;
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

#[cfg(test)]
mod tests {
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::processors::tests::{Bench, request};

    /// An agent of which a step ends at this time.
    fn run(trace: u32, end: u32) -> String {
        format!(
            "span {trace:x}/a1 \"agent\" 0..900ms gen_ai.operation.name=\"invoke_agent\"\n\
             span {trace:x}/a2 parent=a1 \"chat\" 1ms..{end}ms gen_ai.operation.name=\"chat\"\n"
        )
    }

    /// What is said of a tool that begins at 303 ms, behind these spans of its service, if so many
    /// are remembered.
    fn said(before: &str, remembered: u32) -> String {
        let yaml = format!("{{head_hold: 0s, limit_boundaries: {remembered}}}");
        let mut bench = Bench::new(Signal::Traces, "orphans", &yaml);
        let tool = "span 9/b1 \"t\" 303ms..400ms gen_ai.operation.name=\"execute_tool\"";
        let spans = format!("resource service.name=\"web\"\nscope -\n{before}{tool}");
        text::print(Signal::Traces.message(), &bench.pass(request(&spans)))
    }

    #[test]
    fn a_tool_belongs_to_the_run_of_its_service_whose_step_it_is() {
        let said = said(&(run(1, 300) + &run(2, 255)), 100);
        for tag in ["evidence=\"instance\"", "parent.trace_id=\"00000000000000000000000000000001\""]
        {
            assert!(said.contains(tag), "{tag} in {said}");
        }
    }

    #[test]
    fn where_what_came_before_is_forgotten_no_run_is_looked_for() {
        let said = said(&(run(1, 300) + &run(2, 302)), 3);
        assert!(said.contains("cause=\"budget\"") && !said.contains("parent.span_id"), "{said}");
    }
}
