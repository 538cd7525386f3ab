//! Links from a head to where it belongs, for backends that show them.
//!
//! Some backends drop the attributes of links, so the span has them too.

use super::tags::Finding;
use crate::otlp::fields::{link, span};
use crate::otlp::wire::{put_bytes_field, put_message_field};
use crate::otlp::write::{put_double_attribute, put_text_attribute};

/// A confidence from which on a parent is linked.
const SURE: f64 = 0.9;

pub const SUSPECTED_PARENT: &str = "suspected_parent";
pub const CAUSED_BY_GENERATION: &str = "caused_by_generation";

/// The names of a link's attributes.
pub struct Names {
    sort: String,
    confidence: String,
    evidence: String,
}

impl Names {
    pub fn new(prefix: &str) -> Names {
        let name = |name: &str| format!("{prefix}.link.{name}");
        Names { sort: name("type"), confidence: name("confidence"), evidence: name("evidence") }
    }
}

/// Appends the links that `finding` gives a span; to its parent only if that is not written as
/// such.
pub fn put(out: &mut Vec<u8>, finding: &Finding, names: &Names, parent_too: bool) {
    let Some(parent) = finding.parent.as_ref().filter(|parent| parent.confidence >= SURE) else {
        return;
    };
    let attributes = |out: &mut Vec<u8>, field, sort: &str| {
        put_text_attribute(out, field, names.sort.as_bytes(), sort.as_bytes());
        put_double_attribute(out, field, names.confidence.as_bytes(), parent.confidence);
        let evidence = finding.evidence.as_bytes();
        put_text_attribute(out, field, names.evidence.as_bytes(), evidence);
    };
    let put = |out: &mut Vec<u8>, trace: u128, id: u64, sort: &str| {
        put_message_field(out, span::LINKS, |out| {
            put_bytes_field(out, link::TRACE_ID, &trace.to_le_bytes());
            put_bytes_field(out, link::SPAN_ID, &id.to_le_bytes());
            attributes(out, link::ATTRIBUTES, sort);
        });
    };
    if parent_too {
        put(out, parent.trace, parent.span, SUSPECTED_PARENT);
        attributes(out, span::ATTRIBUTES, SUSPECTED_PARENT);
    }
    if let Some((trace, id)) = finding.asked_by {
        put(out, trace, id, CAUSED_BY_GENERATION);
    }
}
