//! Gaps inside spans: time between two children of a span that none of them covers, for a metric.
//!
//! Such a gap says that something there has no span, or that one was lost with its context; by
//! itself it proves nothing, so no span is tagged for it. Only of traces that come whole in one
//! batch, root and all, it is known what covers a span, and of those one in 64 is looked at: a rate
//! needs no more, and the others cost nothing. Models, spans without children and what waits for a
//! person have gaps by nature.

use super::facts::Reader;
use super::words::Role;
use crate::limits;
use crate::otlp::fields::span;
use crate::processors::inspect::Item;
use crate::processors::memory::{span_key, trace_key};
use crate::telemetry::Counter;

/// A gap is this long at least, and this share of its span.
const LEAST: u64 = 50_000_000;
const SHARE: u64 = 5;

/// What the names of spans that wait for a person have in them.
const PERSON: [&[u8]; 4] = [b"human", b"approv", b"confirm", b"user_input"];

/// A span of a trace that is looked at.
struct Part {
    trace: u128,
    /// 0 for none.
    parent: u64,
    span: u64,
    start: u64,
    end: u64,
    /// Whether it is idle by nature.
    idle: bool,
}

/// The spans of this batch that are looked at.
pub struct Gaps {
    on: bool,
    parts: Vec<Part>,
    gap: Counter,
    none: Counter,
}

impl Gaps {
    pub fn new(gap: Counter, none: Counter) -> Gaps {
        Gaps { on: false, parts: vec![], gap, none }
    }

    /// Spans of `trace` follow.
    #[inline]
    pub fn follow(&mut self, trace: u128) {
        let number = (trace >> 64 ^ trace) as u64;
        self.on = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58 == 0;
    }

    /// Notes a span, if its trace is looked at.
    #[inline]
    pub fn note(&mut self, item: &Item<'_>, reader: &Reader) {
        if self.on && self.parts.len() < limits::ORPHAN_GAP_SPANS {
            self.parts.extend(part(item, reader));
        }
    }

    /// Counts the gaps of the traces in this batch.
    pub fn count(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        self.parts.sort_unstable_by_key(|part| (part.trace, part.parent, part.start));
        for trace in self.parts.chunk_by(|a, b| a.trace == b.trace) {
            // Roots sort first.
            if trace.first().is_some_and(|first| first.parent != 0) {
                continue;
            }
            for family in trace.chunk_by(|a, b| a.parent == b.parent) {
                let id = family.first().map_or(0, |first| first.parent);
                let above = trace.iter().find(|part| id != 0 && part.span == id && !part.idle);
                if let Some(above) = above.filter(|_| family.len() > 1) {
                    let counter = if has_gap(above, family) { &self.gap } else { &self.none };
                    counter.add(1);
                }
            }
        }
        self.parts.clear();
    }
}

fn part(item: &Item<'_>, reader: &Reader) -> Option<Part> {
    let name = item.other(span::NAME).map_or(&[][..], |field| field.bytes()).to_ascii_lowercase();
    let waits = PERSON.iter().any(|word| memchr::memmem::find(&name, word).is_some());
    Some(Part {
        trace: trace_key(item.trace_id)?,
        parent: span_key(item.parent_span_id).unwrap_or(0),
        span: span_key(item.span_id)?,
        start: item.number(span::START_TIME),
        end: item.number(span::END_TIME),
        idle: waits || reader.role(item) == Role::Llm,
    })
}

/// Whether time between two children, which are in order of their starts, is covered by none.
fn has_gap(above: &Part, family: &[Part]) -> bool {
    let least = LEAST.max(above.end.saturating_sub(above.start) / SHARE);
    let mut covered = u64::MAX;
    family.iter().any(|child| {
        let gap = child.start.saturating_sub(covered);
        covered = if covered == u64::MAX { child.end } else { covered.max(child.end) };
        gap >= least
    })
}

#[cfg(test)]
mod tests {
    use crate::batch::Signal;
    use crate::processors::tests::{Bench, request};

    /// How many spans have a gap and how many none, of 2,048 traces like this one.
    fn count(spans: &str) -> [u64; 2] {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
        let traces: Vec<String> =
            (1..=2048).map(|n| spans.replace("span 1/", &format!("span {n:x}/"))).collect();
        traces.chunks(64).for_each(|some| drop(bench.pass_all(request(&some.join("\n")))));
        let metric = "spanloom_orphans_inner_gaps";
        ["gap", "none"].map(|result| bench.metric(metric, &format!("result=\"{result}\"")))
    }

    fn agent(first: &str, second: &str) -> String {
        format!(
            "span 1/a1 \"agent\" 0..1000ms\nspan 1/a2 parent=a1 \"a\" {first}\n\
             span 1/a3 parent=a1 \"b\" {second}"
        )
    }

    #[test]
    fn time_between_two_children_that_none_covers_is_a_gap() {
        let [gap, none] = count(&agent("0..300ms", "600ms..900ms"));
        assert!((16..=64).contains(&gap) && none == 0, "one trace in 64: {gap}, {none}");
        for whole in [
            agent("0..300ms", "400ms..900ms"),
            agent("0..800ms", "100ms..900ms"),
            agent("0..300ms", "600ms..900ms") + "\nspan 1/a4 parent=a1 \"c\" 250ms..650ms",
        ] {
            let [gap, none] = count(&whole);
            assert!((16..=64).contains(&none) && gap == 0, "{whole}: {gap}, {none}");
        }
    }

    #[test]
    fn what_is_idle_by_nature_or_not_whole_is_not_looked_at() {
        let torn = agent("0..300ms", "600ms..900ms");
        for other in [
            torn.replace(
                "\"agent\" 0..1000ms",
                "\"agent\" 0..1000ms gen_ai.operation.name=\"chat\"",
            ),
            torn.replace("\"agent\"", "\"wait for approval\""),
            torn.replace("span 1/a1 \"agent\"", "span 1/a1 parent=f1 \"agent\""),
            agent("0..300ms", "310ms..320ms").lines().take(2).collect::<Vec<_>>().join("\n"),
        ] {
            assert_eq!(count(&other), [0, 0], "{other}");
        }
    }
}
