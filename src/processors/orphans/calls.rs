//! Calls without an answer and answers without a call: which of the clients that called a service
//! made the call that a span of kind SERVER answers.
//!
//! Clients are told apart by how much longer they took and by how far the answer lies off their
//! middle, compared with what was learned of the two services ([`super::delays`]). Against each
//! stands that a client of somebody else fits by chance: that is the likelier the more calls there
//! are, and the more of them take as long.

use super::delays::{Fit, Pair};
use super::facts::{CLIENT, Facts, SERVER};
use super::index::{Calls, Index};
use super::learning::Probe;
use super::matching::UNSEEN;
use super::node::Node;
use super::tags::evidence;
use super::weights::{Candidate, Weights};
use crate::moment::Moment;
use smallvec::SmallVec;
use std::f64::consts::TAU;

/// Milliseconds that the clocks of two hosts may be apart, and that a way there and back takes.
const OFFSET: f64 = 2000.0;
const WAY: f64 = 2000.0;

/// Milliseconds of which the rate of calls is taken at least.
const REACH: f64 = 1000.0;

/// What it says that client and answer are of one group, or of two.
const GROUPED: f64 = 30.0;
const APART: f64 = 0.03;

/// To weigh a client takes as long as to pass over so many spans.
const COST: usize = 8;

/// Odds below which a client is nobody's.
const LEAST: f64 = 0.01;

/// A confidence from which on a caller counts as known.
const SURE: f64 = 0.9;

/// How sure a call is at most of whose services nothing was learned.
const UNLEARNED: f64 = 0.9;

/// Weighs the clients whose call the head may answer; false if that was done too often.
pub fn weigh(index: &mut Index, head: &Facts, weights: &mut Weights, now: Moment) -> bool {
    head.kind != SERVER || head.service == 0 || search(index, head, None, weights, now)
}

/// Searches for the caller of a call that is known, as if it were not: what of other evidence is
/// there counts as nothing.
pub fn probe(index: &mut Index, answer: &Facts, caller: &Node, now: Moment) -> Probe {
    let head = Facts { session: 0, conversation: 0, ..answer.clone() };
    let mut weights = Weights::default();
    search(index, &head, Some(caller), &mut weights, now);
    match weights.decide(UNSEEN).one() {
        Some(found) if found.confidence < SURE => Probe::Abstained,
        Some(found) if (found.trace, found.span) == (caller.trace, caller.span) => Probe::Right,
        Some(_) => Probe::Wrong,
        None => Probe::Abstained,
    }
}

/// Weighs the clients, the `hidden` one as if it had no answer; false if clients were gone through
/// too often.
fn search(
    index: &mut Index,
    head: &Facts,
    hidden: Option<&Node>,
    weights: &mut Weights,
    now: Moment,
) -> bool {
    let clients = of_service(index, head).map_or(0, |calls| calls.nodes.len());
    if !index.may_scan(clients * COST, now) {
        return false;
    }
    let (fits, background) = fitting(index, head, hidden);
    for (number, fit, pair) in fits {
        let Some(node) = index.node(number).copied() else { continue };
        let odds = pair.density(fit) / background.density(duration(&node));
        if odds < LEAST {
            continue;
        }
        let trace = index.trace(node.trace, now);
        let grouped = trace.as_ref().is_some_and(|trace| trace.shares_group(head));
        let apart = trace.is_some_and(|trace| trace.has_group()) && head.groups().next().is_some();
        let factor = if grouped { GROUPED } else { 1.0 };
        let factor = if apart && !grouped { APART } else { factor };
        let mut one = Candidate::of(&node, evidence::CLIENT_SERVER, odds * factor);
        if !(pair.is_known() || grouped) {
            one.most = UNLEARNED;
        }
        if hidden.is_none() && !grouped {
            one.most = one.most.min(pair.trust());
        }
        weights.add(one);
    }
    true
}

/// Who called the head's service: clients name that, or the address at which it was called.
fn of_service<'i>(index: &'i Index, head: &Facts) -> Option<&'i Calls> {
    let named = index.calls.get(head.service).filter(|calls| !calls.nodes.is_empty());
    named.or_else(|| index.calls.get(head.peer).filter(|_| head.peer != 0))
}

type Fits = SmallVec<[(u64, Fit, Pair); 8]>;

/// The clients that may have been answered by the head, and how those are that may not.
fn fitting(index: &Index, head: &Facts, hidden: Option<&Node>) -> (Fits, Background) {
    let (mut fits, mut background) = (Fits::new(), Background::default());
    let Some(calls) = of_service(index, head) else { return (fits, background) };
    let mut learned: (u64, Pair) = (0, Pair::default());
    for number in calls.nodes.iter().rev() {
        let Some(node) = index.node(*number) else { continue };
        let is_hidden = hidden.is_some_and(|it| (it.trace, it.span) == (node.trace, node.span));
        if !is_hidden && index.is_answered(node) {
            continue;
        }
        background.add(node);
        if !may_call(node, head) || (node.trace == head.trace && !is_hidden) {
            continue;
        }
        if learned.0 != node.service {
            learned = (node.service, index.delays.of(node.service, head.service));
        }
        let fit = Fit::of(node, head.start, head.end);
        if fit.offset.abs() <= OFFSET && (-1.0..=WAY).contains(&fit.way) {
            fits.push((*number, fit, learned.1));
        }
    }
    (fits, background)
}

#[inline]
fn may_call(node: &Node, head: &Facts) -> bool {
    node.kind == CLIENT
        && node.tenant == head.tenant
        && (head.tool == 0 || node.tool == 0 || head.tool == node.tool)
}

/// Milliseconds that a call took.
fn duration(node: &Node) -> f64 {
    node.end.saturating_sub(node.start) as f64 / 1e6
}

/// Calls without an answer: how many there are, and how long they take.
#[derive(Default)]
struct Background {
    count: f64,
    first: u64,
    last: u64,
    sum: f64,
    squares: f64,
}

impl Background {
    fn add(&mut self, node: &Node) {
        self.first = if self.count == 0.0 { node.start } else { self.first.min(node.start) };
        self.last = self.last.max(node.start);
        let took = (duration(node) + 1.0).ln();
        self.count += 1.0;
        self.sum += took;
        self.squares += took * took;
    }

    /// How many calls there are by chance per square millisecond of start and duration.
    fn density(&self, took: f64) -> f64 {
        let mean = self.sum / self.count.max(1.0);
        // A few calls say little of how long others take.
        let spread = (self.squares / self.count.max(1.0) - mean * mean).max(0.0);
        let sd = (spread * self.count + 4.0).sqrt() / (self.count + 4.0).sqrt();
        let off = ((took + 1.0).ln() - mean) / sd;
        let alike = (-0.5 * off * off).exp() / (sd * TAU.sqrt() * (took + 1.0));
        let reach = (self.last.saturating_sub(self.first) as f64 / 1e6).max(REACH);
        (self.count / reach * alike).max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::processors::tests::{Bench, request};

    /// Whether a root with these attributes, called in this way, is found to be called.
    #[track_caller]
    fn check(call: &str, root: &str, more: &str, expected: bool) {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{head_hold: 0s}");
        let spans = format!(
            "resource service.name=\"web\"\nscope -\nspan 1/a1 \"ask\" 0..900ms\n\
             span 1/a2 parent=a1 \"call\" kind=client 100..300ms {call}\n{more}\
             resource service.name=\"there\"\nscope -\n\
             span 2/b1 \"answer\" kind=server 110..290ms {root}"
        );
        let printed = text::print(Signal::Traces.message(), &bench.pass(request(&spans)));
        let found = printed.contains("app.agent.orphan.evidence=\"client_server\"")
            && printed.contains("app.agent.orphan.parent.span_id=\"00000000000000a2\"");
        assert_eq!(found, expected, "{call} and {root}: {printed}");
        assert_eq!(printed.contains("app.agent.orphan"), expected, "{printed}");
    }

    #[test]
    fn a_call_names_the_service_or_its_address_or_the_request() {
        check("server.address=\"there\"", "", "", true);
        check("peer.service=\"there\"", "", "", true);
        let address = "server.address=\"10.0.0.7\"";
        check(address, address, "", true);
        check(address, "server.address=\"10.0.0.7:8080\"", "", true);
        check(address, "server.address=\"10.0.0.8\"", "", false);
        let asked = |n: u64| format!("mcp.method.name=\"tools/call\" jsonrpc.request.id=\"{n}\"");
        check(&asked(2), &asked(2), "", true);
        check(&asked(2), &asked(3), "", false);
        check("", "", "", false);
    }

    #[test]
    fn a_call_that_was_answered_is_nobody_else_s() {
        let address = "server.address=\"10.0.0.7\"";
        let answer = "span 1/a3 parent=a2 \"answer\" kind=server 105..295ms\n";
        check(address, address, answer, false);
    }

    /// A call from 100 to 300 ms after `at`.
    fn asks(trace: u32, at: u32) -> String {
        let (start, end) = (at + 100, at + 300);
        format!(
            "resource service.name=\"web\"\nscope -\nspan {trace:x}/a1 \"ask\" {at}ms..{end}ms\n\
             span {trace:x}/a2 parent=a1 \"call\" kind=client {start}ms..{end}ms \
             server.address=\"there\"\n"
        )
    }

    /// What answers that call, by a clock that is 70 ms ahead.
    fn answers(span: &str, at: u32) -> String {
        let (start, end) = (at + 172, at + 368);
        format!(
            "resource service.name=\"there\"\nscope -\n\
             span {span} \"answer\" kind=server {start}ms..{end}ms\n"
        )
    }

    #[test]
    fn what_was_learned_of_clocks_tells_calls_apart() {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{head_hold: 0s}");
        for n in 1..=400 {
            let answer = answers(&format!("{n:x}/{:x} parent=a2", 0x2000 + n), n * 1000);
            bench.check_untouched(&(asks(n, n * 1000) + &answer));
        }
        // Two calls 70 ms apart: with clocks that agree the answer were the later one's.
        let text = asks(0x801, 5000) + &asks(0x802, 5070) + &answers("901/b1", 5000);
        let printed = text::print(Signal::Traces.message(), &bench.pass(request(&text)));
        assert!(
            printed.contains("parent.trace_id=\"00000000000000000000000000000801\""),
            "{printed}"
        );
        assert!(printed.contains("status=\"resolved\""), "{printed}");
        // Of some of the calls the caller was guessed, and found.
        assert!(bench.metric("spanloom_orphans_probes", "result=\"right\"") > 0);
        assert_eq!(bench.metric("spanloom_orphans_probes", "result=\"wrong\""), 0);
    }
}
