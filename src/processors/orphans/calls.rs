//! Calls without an answer and answers without a call: which of the clients that called a service
//! made the call that a span of kind SERVER answers.
//!
//! Clocks of hosts differ, durations do not: a call takes as long as its answer and the way, so
//! clients are told apart by how much longer they took. Against them stands that the caller never
//! passed here. That a client of somebody else fits by chance is the likelier the more calls there
//! are, the longer the way, and the shorter the calls.

use super::facts::{CLIENT, Facts, SERVER};
use super::index::{Index, Node};
use super::matching::{Found, Match};
use super::tags::evidence;

/// Milliseconds that the clocks of two hosts may be apart here.
const OFFSET: f64 = 150.0;

/// Milliseconds that a way there and back takes at most.
const WAY: f64 = 500.0;

/// Milliseconds within which ways are not told apart.
const NOISE: f64 = 10.0;

/// How likely it is, beforehand, that the caller never passed.
const ABSENT: f64 = 0.2;

/// The client whose call the head answers. One pass without a copy: there may be as many clients
/// as are remembered, and each root of kind SERVER asks.
pub fn caller(index: &Index, head: &Facts) -> Found {
    if head.kind != SERVER || head.service == 0 {
        return Found::Nothing;
    }
    // Clients name the service, or the address at which it was called.
    let named = index.calls.get(head.service).filter(|calls| !calls.nodes.is_empty());
    let calls = named.or_else(|| index.calls.get(head.peer).filter(|_| head.peer != 0));
    let Some(calls) = calls else { return Found::Nothing };
    // Those before the first that is forgotten are forgotten too.
    let nodes = || calls.nodes.iter().rev().map_while(|number| index.node(*number));
    let (mut best, mut next): (Option<(&Node, f64, f64)>, f64) = (None, f64::INFINITY);
    let (mut passed, mut candidates, mut last) = (0, 0, None);
    for node in nodes() {
        (passed, last) = (passed + 1, Some(node));
        let Some((way, offset)) = fits(index, node, head) else { continue };
        candidates += 1;
        match best {
            Some((_, least, _)) if way >= least => next = next.min(way),
            before => {
                next = before.map_or(next, |(_, least, _)| least);
                best = Some((node, way, offset));
            }
        }
    }
    let Some((node, way, offset)) = best else { return Found::Nothing };
    let margin = way * 3.0 + NOISE;
    if next <= margin {
        return Found::Several(evidence::CLIENT_SERVER, candidates);
    }
    let reach = nodes().next().zip(last).map_or(0, |(a, b)| a.start.abs_diff(b.start));
    let chance = by_chance(passed, reach, way, offset, head);
    let present = 1.0 - ABSENT;
    let confidence = present / (present + (ABSENT + present) * chance);
    Found::One(Match {
        trace: node.trace,
        span: node.span,
        service: node.service,
        evidence: evidence::CLIENT_SERVER,
        tier: 2,
        confidence: confidence.min(0.98),
        candidates,
        cause: None,
        ended: node.end,
    })
}

/// How much longer a client took that fits, and how far its middle is from the head's.
#[inline]
fn fits(index: &Index, node: &Node, head: &Facts) -> Option<(f64, f64)> {
    let ms = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
    let (there, back) = (ms(node.start, head.start), ms(head.end, node.end));
    let (way, offset) = (there + back, (there - back).abs() / 2.0);
    let group = |facts: u64, node: u64| facts == 0 || node == 0 || facts == node;
    let fits = node.kind == CLIENT
        && node.trace != head.trace
        && node.tenant == head.tenant
        && group(head.tool, node.tool)
        && (0.0..=WAY).contains(&way)
        && offset <= OFFSET
        && !index.is_answered(node);
    fits.then_some((way, offset))
}

/// How many clients of somebody else would fit as well, of so many that began so many nanoseconds
/// apart.
fn by_chance(clients: usize, apart: u64, way: f64, offset: f64, head: &Facts) -> f64 {
    let span = (apart as f64 / 1e6).max(1000.0);
    let rate = clients as f64 / span;
    let took = (head.end.saturating_sub(head.start) as f64 / 1e6).max(1.0);
    let alike = (0.5 * (way + NOISE) / took).min(1.0);
    rate * 2.0 * (offset + NOISE) * alike
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
}
