//! Links from a head to where it belongs and back, for backends that show them.
//!
//! Some backends drop the attributes of links, so the span has them too.

use super::tags::{Finding, Parent};
use crate::otlp::fields::{link, span};
use crate::otlp::wire::{put_bytes_field, put_message_field};
use crate::otlp::write::{put_double_attribute, put_text_attribute};

/// A confidence from which on a parent is linked.
const SURE: f64 = 0.9;

pub const SUSPECTED_PARENT: &str = "suspected_parent";
pub const SUSPECTED_CHILD: &str = "suspected_child";
pub const CAUSED_BY_GENERATION: &str = "caused_by_generation";
/// From a bridge to a head that it tells of.
pub const ORPHAN: &str = "orphan";

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

/// A link to another span.
#[derive(Clone)]
pub struct Link {
    trace: u128,
    span: u64,
    sort: &'static str,
    confidence: f64,
    evidence: &'static str,
}

/// Appends the links that `finding` gives a span; to its parent only if that is not written as
/// such.
pub fn put(out: &mut Vec<u8>, finding: &Finding, names: &Names, parent_too: bool) {
    let Some(parent) = sure(finding) else { return };
    let link = |(trace, span), sort| Link {
        trace,
        span,
        sort,
        confidence: parent.confidence,
        evidence: finding.evidence,
    };
    if parent_too {
        let link = link((parent.trace, parent.span), SUSPECTED_PARENT);
        put_one(out, &link, names);
        attributes(out, span::ATTRIBUTES, &link, names);
    }
    if let Some(asked_by) = finding.asked_by {
        put_one(out, &link(asked_by, CAUSED_BY_GENERATION), names);
    }
}

/// The link that the parent in `finding` gets to the `head` of it. Not repeated on the span: it may
/// have several, and backends that drop attributes of links show them from both sides.
pub fn back((trace, span): (u128, u64), finding: &Finding) -> Option<Link> {
    let (confidence, evidence) = (sure(finding)?.confidence, finding.evidence);
    Some(Link { trace, span, sort: SUSPECTED_CHILD, confidence, evidence })
}

/// Appends the links of a bridge: to the `heads` that it tells of, which are of `trace`, and to the
/// parent, if that is known well enough.
pub fn put_bridge(
    out: &mut Vec<u8>,
    finding: &Finding,
    (trace, heads): (u128, impl Iterator<Item = u64>),
    names: &Names,
) {
    for head in heads {
        put_link(out, (trace, head), |out| {
            let key = names.sort.as_bytes();
            put_text_attribute(out, link::ATTRIBUTES, key, ORPHAN.as_bytes());
        });
    }
    if let Some(parent) = sure(finding) {
        let (trace, span) = (parent.trace, parent.span);
        let (confidence, evidence) = (parent.confidence, finding.evidence);
        let link = Link { trace, span, sort: SUSPECTED_PARENT, confidence, evidence };
        put_one(out, &link, names);
    }
}

/// The parent, if it is known well enough to be linked.
fn sure(finding: &Finding) -> Option<&Parent> {
    finding.parent.as_ref().filter(|parent| parent.confidence >= SURE)
}

/// Appends a link to a span.
pub fn put_one(out: &mut Vec<u8>, link: &Link, names: &Names) {
    put_link(out, (link.trace, link.span), |out| attributes(out, link::ATTRIBUTES, link, names));
}

fn put_link(out: &mut Vec<u8>, (trace, span): (u128, u64), rest: impl FnOnce(&mut Vec<u8>)) {
    put_message_field(out, span::LINKS, |out| {
        put_bytes_field(out, link::TRACE_ID, &trace.to_le_bytes());
        put_bytes_field(out, link::SPAN_ID, &span.to_le_bytes());
        rest(out);
    });
}

fn attributes(out: &mut Vec<u8>, field: u32, link: &Link, names: &Names) {
    put_text_attribute(out, field, names.sort.as_bytes(), link.sort.as_bytes());
    put_double_attribute(out, field, names.confidence.as_bytes(), link.confidence);
    put_text_attribute(out, field, names.evidence.as_bytes(), link.evidence.as_bytes());
}
