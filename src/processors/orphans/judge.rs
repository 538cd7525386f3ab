//! What is wrong at a head, if anything: which signatures apply, and what the search for a parent
//! found.

use super::facts::{CONSUMER, Facts, SERVER};
use super::index::Index;
use super::matching::{Found, Match, Search};
use super::process;
use super::seen::Seen;
use super::tags::{Finding, Parent, Signature, cause, evidence, status};
use super::trace::Trace;
use super::words::Role;
use crate::limits;
use crate::moment::Moment;
use smallvec::smallvec;
use std::time::Duration;

/// Shares of children: an operation that usually has a parent, and one that nearly always has.
const USUALLY: f64 = 0.5;
const NEARLY_ALWAYS: f64 = 0.9;
/// An operation whose spans are roots, and after how many it counts as that.
const NEVER: f64 = 0.02;
const SAMPLES_NEVER: u32 = 500;

/// A confidence from which on a call that was guessed is evidence itself.
const SURE: f64 = 0.9;

/// Gaps below this are no gaps, unless a message waited.
const GAP_MIN: u64 = 50_000_000;

/// What is looked at.
pub struct Judge<'j> {
    pub index: &'j mut Index,
    pub seen: &'j Seen,
    pub settle: Duration,
    pub tool_below_agent: bool,
    /// Whether what is called from outside is tagged.
    pub external: bool,
    pub now: Moment,
    /// Whether a call was found that the last root may answer.
    pub called: bool,
}

/// What is to be done with a head.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is none.
    Pass,
    Tag(Box<Finding>),
    /// Its parent, or evidence of it, may still come.
    Wait,
}

impl Verdict {
    /// Whether more evidence could hardly change it.
    pub fn is_certain(&self) -> bool {
        match self {
            Verdict::Tag(finding) => finding.parent.as_ref().is_some_and(|p| p.confidence >= SURE),
            Verdict::Pass | Verdict::Wait => false,
        }
    }
}

impl Judge<'_> {
    /// Judges a head when it comes.
    pub fn first(&mut self, head: &Facts) -> Verdict {
        if legitimate(head) {
            return Verdict::Pass;
        }
        if head.parent.is_some() {
            return if self.is_outside(head) { Verdict::Pass } else { Verdict::Wait };
        }
        if self.is_certain_to_wait(head) {
            return Verdict::Wait;
        }
        let (finding, sure) = self.root(head);
        match finding {
            Some(finding) if sure => Verdict::Tag(Box::new(finding)),
            Some(_) => Verdict::Wait,
            None if self.is_suspect(head) => Verdict::Wait,
            None => Verdict::Pass,
        }
    }

    /// Judges a head that has waited. `last` if it cannot wait longer.
    pub fn due(&mut self, head: &Facts, last: bool) -> Verdict {
        let finding = match head.parent {
            None => self.root(head).0,
            Some(parent) if self.seen.contains(head.trace, parent) => None,
            Some(_) => match self.dangling(head) {
                Verdict::Wait if last => None,
                Verdict::Wait => return Verdict::Wait,
                Verdict::Tag(finding) => Some(*finding),
                Verdict::Pass => None,
            },
        };
        finding.map_or(Verdict::Pass, |finding| Verdict::Tag(Box::new(finding)))
    }

    /// Whether a root, of which [`Judge::root`] found nothing to be wrong, may be torn off.
    fn is_suspect(&mut self, head: &Facts) -> bool {
        if self.is_never_a_child(head) {
            return false;
        }
        let answers = head.kind == SERVER;
        let usual_child = self.index.is_child(head.operation, USUALLY);
        let named =
            head.names.iter().any(|key| !answers || self.index.offering(key.hash).is_some());
        (is_hardly_a_root(head) && (!answers || self.external || self.is_called(head.service)))
            || head.kind == CONSUMER
            || head.captured.is_some()
            || named
            || self.called
            || self.is_amid_own(head)
            || usual_child
            || (!answers && self.has_company(head))
    }

    /// Whether spans of its operation are roots, nearly all of them.
    fn is_never_a_child(&self, head: &Facts) -> bool {
        let rate = self.index.rates.get(head.operation).copied().unwrap_or_default();
        rate.total() >= SAMPLES_NEVER && rate.share() < NEVER
    }

    /// Whether it is plain that a root waits, and as plain that more may be found: one that hardly
    /// is a root, and that names nobody. The search for its caller is then left to [`Judge::due`].
    fn is_certain_to_wait(&mut self, head: &Facts) -> bool {
        (head.role == Role::Tool || (is_hardly_a_root(head) && !self.is_never_a_child(head)))
            && head.names.is_empty()
            && head.captured.is_none()
            && (head.kind != SERVER || self.external || self.is_called(head.service))
            && self
                .index
                .trace(head.trace, self.now)
                .is_some_and(|trace| !is_second(&trace, head) && !trace.is_over_merged())
    }

    /// Whether the head's own trace began well before it.
    fn is_amid_own(&mut self, head: &Facts) -> bool {
        let distance = limits::ORPHAN_DISTANCE.as_nanos() as u64;
        let trace = self.index.trace(head.trace, self.now);
        trace.is_some_and(|trace| trace.start.saturating_add(distance) < head.start)
    }

    /// Whether another trace of the head's groups may be open.
    fn has_company(&mut self, head: &Facts) -> bool {
        let groups = head.groups().filter_map(|group| self.index.group(group));
        let traces: Vec<u128> = groups.flat_map(|g| g.traces.all.iter().copied()).collect();
        let (index, now) = (&mut *self.index, self.now);
        traces.into_iter().filter(|trace| *trace != head.trace).any(|trace| {
            index.trace(trace, now).is_some_and(|t| t.root.is_none() || t.end >= head.start)
        })
    }

    /// Whether calls of the service were seen lately.
    fn is_called(&self, service: u64) -> bool {
        let last = self.index.calls.get(service).map(|calls| calls.last);
        last.is_some_and(|last| last + limits::ORPHAN_CALLER_TIME > self.now.monotonic)
    }

    /// Whether the head's parent is in another process that sends nothing here.
    fn is_outside(&self, head: &Facts) -> bool {
        let outside = head.kind == SERVER && head.remote() != Some(false);
        outside && !self.external && !self.is_called(head.service)
    }

    fn search(&mut self) -> Search<'_> {
        let (tool_below_agent, now) = (self.tool_below_agent, self.now);
        Search { index: self.index, tool_below_agent, now, gave_up: false }
    }

    /// A root: what is wrong, and whether more evidence could not change it.
    fn root(&mut self, head: &Facts) -> (Option<Finding>, bool) {
        let Some(trace) = self.index.trace(head.trace, self.now) else { return (None, true) };
        let mut search = self.search();
        let exact = search.exact(head);
        let second = is_second(&trace, head);
        let merged = trace.is_over_merged();
        let (traces, amid) = match second {
            true => (smallvec![(head.trace, trace)], None),
            false => search.groups(head),
        };
        let (mut by_more, called) = match exact {
            Found::One(_) => (Found::Nothing, false),
            _ => search.by_more(head, &traces),
        };
        let known = !matches!((&exact, &by_more), (Found::Nothing, Found::Nothing));
        if process::is_step(head) && !second && !known {
            let found = search.in_process(head);
            search.gave_up |= found.is_none();
            by_more = found.unwrap_or_default();
        }
        let nearly = search.index.is_child(head.operation, NEARLY_ALWAYS);
        let budget = search.gave_up && !known;
        self.called = called;
        let found = match (exact, by_more) {
            (Found::One(found), _) => Found::One(found),
            (several, Found::Nothing) => several,
            (_, found) => found,
        };
        let elsewhere = found.one().is_some_and(|found| found.trace != head.trace);
        let keyed = found.one().is_some_and(|found| found.tier <= 1);
        let guessed = |found: &&Match| found.evidence == evidence::CLIENT_SERVER;
        let called =
            found.one().filter(guessed).is_some_and(|found| found.confidence >= SURE || nearly);
        let end = amid.filter(|_| self.may_be_amid(head));
        let amid = end.is_some();
        let mut finding = Finding::default();
        let known_caller = || keyed || called || self.external || self.is_called(head.service);
        if head.role == Role::Tool && (head.kind != SERVER || known_caller()) {
            finding.add(Signature::ToolCallRoot);
        }
        if (elsewhere && (keyed || called))
            || head.captured.as_ref().is_some_and(|noted| noted.0 != head.trace)
        {
            finding.add(Signature::TraceDiscontinuity);
        }
        if (second && !merged) || amid {
            finding.add(Signature::MidSequenceRoot);
        }
        if merged {
            finding.add(Signature::OverMerged);
        }
        let basis = match (second, merged, finding.signatures.first()) {
            (_, _, None) => return (None, false),
            (_, _, Some(Signature::ToolCallRoot)) => evidence::SPAN_ROLE,
            (true, ..) | (_, true, _) => evidence::TRACE_ID,
            (_, _, Some(Signature::TraceDiscontinuity)) => evidence::CAPTURED_TRACEPARENT,
            _ => evidence::SESSION,
        };
        let found =
            if finding.signatures[..] == [Signature::OverMerged] { Found::Nothing } else { found };
        let sure = (keyed || second || merged) && !matches!(found, Found::Several(..));
        conclude(&mut finding, head, found, basis);
        if let Some(end) = end {
            gap(&mut finding, head, end);
        }
        finding.cause = self.cause(head, &finding).or(budget.then_some(cause::BUDGET));
        (Some(finding), sure)
    }

    /// Whether the head is no beginning of a turn of its own.
    fn may_be_amid(&self, head: &Facts) -> bool {
        head.kind != SERVER || self.index.is_child(head.operation, NEARLY_ALWAYS)
    }

    /// Why a root stands where it does.
    fn cause(&self, head: &Facts, finding: &Finding) -> Option<&'static str> {
        let has = |signature| finding.signatures.contains(&signature);
        if head.sampled_out {
            return Some(cause::SAMPLED);
        }
        if has(Signature::TraceDiscontinuity) || has(Signature::MidSequenceRoot) {
            if head.kind == CONSUMER {
                return Some(cause::CONSUMER_ROOT_WITHOUT_LINK);
            }
            if head.role == Role::Llm {
                return Some(cause::LLM_ROOT);
            }
        }
        if has(Signature::UnexplainedGap) && head.kind == CONSUMER {
            return Some(cause::QUEUE_TRANSIT);
        }
        let alone = finding.signatures.first() == Some(&Signature::ToolCallRoot);
        let answers = matches!(head.kind, SERVER);
        let nobody = finding.parent.is_none() && !self.is_called(head.service);
        (alone && answers && nobody).then_some(cause::UNINSTRUMENTED_CALLER)
    }

    /// A span whose parent has not come.
    fn dangling(&mut self, head: &Facts) -> Verdict {
        let Some(trace) = self.index.trace(head.trace, self.now) else { return Verdict::Pass };
        if self.is_outside(head) {
            return Verdict::Pass;
        }
        if !trace.since.is_some_and(|since| self.seen.reaches_back_to(since)) {
            return Verdict::Pass;
        }
        let settled = |since: Duration| since + self.settle <= self.now.monotonic;
        match trace.root {
            Some(root) if root.end < head.end && !settled(trace.last) => return Verdict::Wait,
            Some(root) if !settled(root.passed) => return Verdict::Wait,
            None if !settled(trace.last) => return Verdict::Wait,
            _ => {}
        }
        let mut search = self.search();
        // Others name the same parent: it may still come.
        let found = match search.exact(head) {
            Found::One(found) if Some(found.span) == head.parent || found.confidence < SURE => {
                Found::Nothing
            }
            // The head names another one, so this is not certain.
            Found::One(found) => Found::One(Match { confidence: 0.85, ..found }),
            found => found,
        };
        let mut finding = Finding::default();
        if head.role == Role::Tool {
            finding.add(Signature::ToolCallRoot);
        }
        finding.add(Signature::MissingParent);
        if trace.is_over_merged() {
            finding.add(Signature::OverMerged);
        }
        let tool = head.role == Role::Tool;
        let basis = if tool { evidence::SPAN_ROLE } else { evidence::PARENT_ID };
        conclude(&mut finding, head, found, basis);
        if finding.parent.is_none() && finding.status == status::UNRESOLVED {
            finding.status = status::PENDING;
        }
        finding.cause = Some(match head.remote() {
            _ if head.sampled_out => cause::SAMPLED,
            Some(false) => cause::PENDING_LOCAL,
            Some(true) => cause::REMOTE_UNSEEN,
            None => cause::UNKNOWN,
        });
        Verdict::Tag(Box::new(finding))
    }
}

/// Whether spans of its role are parts of something, nearly always.
fn is_hardly_a_root(head: &Facts) -> bool {
    matches!(head.role, Role::Tool | Role::Llm | Role::Leaf)
}

/// Whether a root is not its trace's only one, or the trace began before it.
fn is_second(trace: &Trace, head: &Facts) -> bool {
    let begun = trace.start.saturating_add(limits::ORPHAN_DISTANCE.as_nanos() as u64);
    trace.root.is_some_and(|root| root.span != head.span) || begun < head.start
}

/// Whether a head that is none is one because its caller is outside.
pub fn is_external(head: &Facts) -> bool {
    head.kind == SERVER && (head.parent.is_some() || head.role == Role::Tool)
}

/// Whether the head may stand at the top of its fragment by what it says itself.
pub fn legitimate(head: &Facts) -> bool {
    head.tagged || head.deliberate || head.links_elsewhere || (head.kind == CONSUMER && head.links)
}

/// Puts into the finding what was found of the parent, and the gap before the head.
fn conclude(finding: &mut Finding, head: &Facts, found: Found, basis: &'static str) {
    (finding.status, finding.evidence) = (status::UNRESOLVED, basis);
    match found {
        Found::Nothing => {}
        Found::Several(evidence, count) => {
            (finding.status, finding.evidence) = (status::AMBIGUOUS, evidence);
            finding.candidates = count;
        }
        Found::One(found) => {
            gap(finding, head, found.ended);
            finding.candidates = found.candidates;
            if found.confidence < 0.5 {
                return;
            }
            let resolved = found.confidence >= 0.9;
            finding.status = if resolved { status::RESOLVED } else { status::SUSPECTED };
            finding.evidence = found.evidence;
            finding.parent = Some(Parent {
                trace: found.trace,
                span: found.span,
                service: String::new(),
                service_hash: found.service,
                tier: found.tier,
                confidence: found.confidence,
            });
            finding.asked_by = found.cause;
        }
    }
}

/// The time between `ended`, if that is known, and the head: nothing explains it.
fn gap(finding: &mut Finding, head: &Facts, ended: u64) {
    let Some(gap) = head.start.checked_sub(ended).filter(|_| ended > 0) else { return };
    let (least, most) = match head.kind {
        CONSUMER => (1, limits::ORPHAN_TRANSIT_MAX),
        _ => (GAP_MIN, limits::ORPHAN_GAP_MAX),
    };
    if gap >= least && gap <= most.as_nanos() as u64 {
        finding.add(Signature::UnexplainedGap);
        finding.gap_ms = Some(gap as f64 / 1e6);
    }
}
