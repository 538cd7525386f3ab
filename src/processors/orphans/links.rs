//! `mode: link`: a head links to its parent, and a tool to the call of the model that asked for it.
//!
//! The traces stay as they are; backends that show links lead from one to the other. Some backends
//! drop the attributes of links, so those of the link to the parent stand on the span too. The
//! parent gets no link back: it has mostly passed when its child is judged.

use super::tags::Finding;
use crate::otlp::fields::{link, span};
use crate::otlp::wire::{put_bytes_field, put_message_field};
use crate::otlp::write::{put_double_attribute, put_text_attribute};

/// How sure a parent must be to be linked to.
const CONFIDENCE: f64 = 0.9;

/// The names of the attributes of links.
pub struct Links {
    kind: String,
    confidence: String,
    evidence: String,
}

impl Links {
    pub fn new(prefix: &str) -> Links {
        let name = |name: &str| format!("{prefix}.link.{name}");
        Links { kind: name("type"), confidence: name("confidence"), evidence: name("evidence") }
    }

    /// Appends the links that `finding` allows to a span.
    pub fn put(&self, out: &mut Vec<u8>, finding: &Finding) {
        let Some(parent) = finding.parent.as_ref().filter(|p| p.confidence >= CONFIDENCE) else {
            return;
        };
        let attributes = |out: &mut Vec<u8>, number: u32, kind: &str| {
            put_text_attribute(out, number, self.kind.as_bytes(), kind.as_bytes());
            put_double_attribute(out, number, self.confidence.as_bytes(), parent.confidence);
            let evidence = finding.evidence.as_bytes();
            put_text_attribute(out, number, self.evidence.as_bytes(), evidence);
        };
        let link = |out: &mut Vec<u8>, trace: u128, id: u64, kind: &str| {
            put_message_field(out, span::LINKS, |out| {
                put_bytes_field(out, link::TRACE_ID, &trace.to_le_bytes());
                put_bytes_field(out, link::SPAN_ID, &id.to_le_bytes());
                attributes(out, link::ATTRIBUTES, kind);
            });
        };
        attributes(out, span::ATTRIBUTES, "suspected_parent");
        link(out, parent.trace, parent.span, "suspected_parent");
        if let Some((trace, id)) = finding.asked_by {
            link(out, trace, id, "caused_by_generation");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::processors::tests::{Bench, request};

    #[test]
    fn a_tool_links_to_its_agent_and_to_the_call_that_asked_for_it() {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{mode: link, head_hold: 0s}");
        let spans = "span 1/a1 0..900ms gen_ai.operation.name=\"invoke_agent\"\n\
            span 1/a2 parent=a1 10..90ms gen_ai.operation.name=\"chat\" \
            gen_ai.output.messages=\"[{\\\"id\\\":\\\"call_u7Kp2Qx9Ls\\\"}]\"\n\
            span 2/b1 100..200ms gen_ai.operation.name=\"execute_tool\" \
            gen_ai.tool.call.id=\"call_u7Kp2Qx9Ls\"";
        let printed = text::print(Signal::Traces.message(), &bench.pass(request(spans)));
        let kinds = ["suspected_parent", "caused_by_generation"];
        for (to, kind) in ["link 1/a1", "link 1/a2"].iter().zip(kinds) {
            let line = printed.lines().find(|line| line.contains(to));
            let line = line.unwrap_or_else(|| panic!("no {to} in {printed}"));
            assert!(line.contains(&format!("app.agent.link.type=\"{kind}\"")), "{line}");
            assert!(line.contains("app.agent.link.evidence=\"tool_call_id\""), "{line}");
        }
        let span = printed.lines().find(|line| line.contains("span 2/b1")).unwrap_or_default();
        assert!(span.contains("app.agent.link.confidence=0.995"), "{span}");
    }

    #[test]
    fn without_a_parent_there_is_no_link() {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{mode: link, head_hold: 0s}");
        let span = "span 2/b1 100..200ms gen_ai.operation.name=\"execute_tool\"";
        let printed = text::print(Signal::Traces.message(), &bench.pass(request(span)));
        assert!(printed.contains("tool_call_root") && !printed.contains("link"), "{printed}");
    }
}
