//! Roots that look torn and are not: what nobody calls, what links to who sent it, what is called
//! from outside, and what looks after services that others call.

use super::generator::Settings;
use super::random::Random;
use super::span::{Part, Span};

/// There is one for so many traces of agents.
const SHARE: usize = 5;

/// Decoys beside these spans.
pub fn decoys(settings: &Settings, beside: &[Span]) -> Vec<Span> {
    let mut random = Random(settings.seed ^ 0xdec0);
    let last = beside.iter().map(|span| span.start).fold(0.0, f64::max);
    // Messages may wait for an hour behind the last trace.
    let last = last.min(settings.traces as f64 * 1000.0 / settings.rate);
    let mut spans = vec![];
    for _ in 0..settings.traces / SHARE {
        let at = 1000.0 + random.unit() * last;
        spans.extend(decoy(&mut random, at));
    }
    spans
}

fn decoy(random: &mut Random, at: f64) -> Vec<Span> {
    let (service, name, kind) = match random.below(7) {
        0 => ("cron", "nightly report", 1),
        1 => ("shop", "GET /cart", 2),
        2 => ("batcher", "process orders", 5),
        3 => ("tools", "GET /healthz", 2),
        4 => ("agents", "GET /healthz", 2),
        5 => ("files", "tools/call read", 2),
        _ => ("eval", "evaluate run", 1),
    };
    let took = if name == "GET /healthz" { 2.0 } else { random.around(300.0, 0.8) };
    let trace = u128::from(random.next()) << 64 | u128::from(random.next());
    let mut root = Span {
        trace,
        span: random.next() | 1,
        parent: 0,
        name: name.to_owned(),
        kind,
        start: at,
        end: at + took,
        service: service.to_owned(),
        part: Part::Other,
        attributes: vec![],
        remote: false,
        links: vec![],
    };
    let mut set = |key: &str, value: &str| root.attributes.push((key.into(), value.into()));
    match service {
        "files" => {
            set("mcp.method.name", "tools/call");
            set("gen_ai.tool.name", "read");
        }
        "eval" => set("openinference.span.kind", "EVALUATOR"),
        // Its caller is a browser that sends its spans to somebody else.
        "shop" => (root.parent, root.remote) = (random.next() | 1, true),
        "batcher" => {
            let mut link = || (u128::from(random.next()), random.next() | 1);
            root.links = vec![link(), link(), link()];
        }
        _ => {}
    }
    let mut child = Span {
        span: random.next() | 1,
        parent: root.span,
        name: "SELECT".into(),
        kind: 3,
        start: at + 0.2,
        end: at + took - 0.2,
        remote: false,
        links: vec![],
        attributes: vec![],
        ..root.clone()
    };
    if service == "eval" {
        child.name = "chat gpt-4o".into();
        child.attributes = vec![("gen_ai.request.model".into(), "gpt-4o".into())];
    }
    vec![root, child]
}
