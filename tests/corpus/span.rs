//! A span of the corpus, and its bytes.

use spanloom::otlp::fields::{
    key_value, link, request, resource, resource_group, scope_group, span,
};
use spanloom::otlp::wire::{
    put_bytes_field, put_fixed32_field, put_fixed64_field, put_message_field, put_varint_field,
};
use spanloom::otlp::write::put_text_attribute;

/// What a span does, and how a breaker may treat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Entry,
    Agent,
    Model,
    Tool,
    Client,
    Server,
    Producer,
    Consumer,
    Other,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub trace: u128,
    pub span: u64,
    /// 0 for none.
    pub parent: u64,
    pub name: String,
    pub kind: u64,
    /// Milliseconds since the start of the corpus.
    pub start: f64,
    pub end: f64,
    pub service: String,
    pub part: Part,
    pub attributes: Vec<(String, String)>,
    pub remote: bool,
    pub links: Vec<(u128, u64)>,
}

pub const BASE: u64 = 1_780_000_000_000_000_000;

impl Span {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes_field(out, span::TRACE_ID, &self.trace.to_be_bytes());
        put_bytes_field(out, span::SPAN_ID, &self.span.to_be_bytes());
        if self.parent != 0 {
            put_bytes_field(out, span::PARENT_SPAN_ID, &self.parent.to_be_bytes());
        }
        put_bytes_field(out, span::NAME, self.name.as_bytes());
        put_varint_field(out, span::KIND, self.kind);
        let nanos = |ms: f64| BASE + (ms * 1e6) as u64;
        put_fixed64_field(out, span::START_TIME, nanos(self.start));
        put_fixed64_field(out, span::END_TIME, nanos(self.end));
        for (key, value) in &self.attributes {
            put_text_attribute(out, span::ATTRIBUTES, key.as_bytes(), value.as_bytes());
        }
        for (trace, id) in &self.links {
            put_message_field(out, span::LINKS, |out| {
                put_bytes_field(out, link::TRACE_ID, &trace.to_be_bytes());
                put_bytes_field(out, link::SPAN_ID, &id.to_be_bytes());
            });
        }
        let flags = if self.remote { 0x300 } else { 0x100 };
        put_fixed32_field(out, span::FLAGS, flags);
    }
}

/// Spans of one service as a request.
pub fn encode(spans: &[&Span]) -> Vec<u8> {
    let mut out = vec![];
    for group in spans.chunk_by(|a, b| a.service == b.service) {
        put_message_field(&mut out, request::RESOURCE_GROUPS, |out| {
            put_message_field(out, resource_group::RESOURCE, |out| {
                let service = group[0].service.as_bytes();
                put_text_attribute(out, resource::ATTRIBUTES, b"service.name", service);
            });
            put_message_field(out, resource_group::SCOPE_GROUPS, |out| {
                for span in group {
                    put_message_field(out, scope_group::ITEMS, |out| span.put(out));
                }
            });
        });
    }
    debug_assert_eq!(key_value::KEY, 1);
    out
}
