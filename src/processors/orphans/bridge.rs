//! Bridges: what became known of a head after it had left, told by a span of our own.
//!
//! A span that has left cannot be changed, and a second one with its id confuses backends. So a
//! span without length stands below the head, in its trace and at its start, with the tags of what
//! is known now and links to the head and to its parent.

use super::ledger::Entry;
use super::links::{self, Names};
use super::tags::{Finding, Tags};
use crate::otlp::fields::{request, resource_group, scope, scope_group, span};
use crate::otlp::wire::{
    Message, put_bytes_field, put_fixed32_field, put_fixed64_field, put_message_field,
    put_varint_field,
};

/// The scope of bridges.
const SCOPE: &str = "spanloom/orphans";

/// Span flags: the parent is in the same process, as far as it is known.
const LOCAL: u32 = 0x100;

/// How a bridge is written.
pub struct Bridge<'b> {
    /// The trace that the head has since.
    pub trace: u128,
    /// The bridge's own id.
    pub id: u64,
    pub entry: &'b Entry,
    /// What is known now.
    pub finding: &'b Finding,
}

impl Bridge<'_> {
    /// It as a request of its own.
    pub fn request(&self, tags: &Tags, names: &Names) -> Vec<u8> {
        let mut out = vec![];
        put_message_field(&mut out, request::RESOURCE_GROUPS, |out| {
            out.extend_from_slice(&self.entry.group);
            put_message_field(out, resource_group::SCOPE_GROUPS, |out| {
                put_message_field(out, scope_group::SCOPE, |out| {
                    put_bytes_field(out, scope::NAME, SCOPE.as_bytes());
                });
                put_message_field(out, scope_group::ITEMS, |out| self.span(out, tags, names));
            });
        });
        out
    }

    fn span(&self, out: &mut Vec<u8>, tags: &Tags, names: &Names) {
        let (head, entry) = (&self.entry.head, self.entry);
        put_bytes_field(out, span::TRACE_ID, &self.trace.to_le_bytes());
        put_bytes_field(out, span::SPAN_ID, &self.id.to_le_bytes());
        put_bytes_field(out, span::PARENT_SPAN_ID, &head.span.to_le_bytes());
        put_bytes_field(out, span::NAME, format!("orphan {}", self.finding.status).as_bytes());
        put_varint_field(out, span::KIND, u64::from(super::facts::INTERNAL));
        put_fixed64_field(out, span::START_TIME, head.start);
        put_fixed64_field(out, span::END_TIME, head.start);
        out.extend_from_slice(&entry.tenant);
        tags.put_late(out, self.finding, head.span, entry.count);
        let heads = std::iter::once(head.span).chain(entry.others.iter().copied());
        links::put_bridge(out, self.finding, (self.trace, heads), names);
        put_fixed32_field(out, span::FLAGS, LOCAL);
    }
}

/// What stands around the spans of a group: all of its fields but those.
pub fn around(group: Message<'_>) -> Vec<u8> {
    let mut out = vec![];
    for field in group.fields().filter(|field| field.number != resource_group::SCOPE_GROUPS) {
        let range = field.at - group.start..field.end - group.start;
        out.extend_from_slice(group.bytes.get(range).unwrap_or_default());
    }
    out
}
