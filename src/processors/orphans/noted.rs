//! Findings as the status page has them: where they are, and no value of any attribute.

use super::tags::Signature;
use crate::moment::Moment;
use crate::otlp::view::{self, Request, ScopeGroup};
use crate::telemetry::{Finding, Findings};

/// Notes what the processor `id` `tagged` in `request`: where each span starts, in order.
pub fn note(
    findings: &Findings,
    id: &str,
    tagged: &[(usize, Signature)],
    request: Request<'_>,
    now: Moment,
) {
    let mut tagged = tagged.iter().peekable();
    for group in request.resource_groups() {
        let end = group.0.start + group.0.bytes.len();
        if tagged.peek().is_none_or(|(start, _)| *start >= end) {
            continue;
        }
        let service = group.attributes().find(|attribute| attribute.key == b"service.name");
        let service = service.and_then(|attribute| attribute.value.as_text());
        for span in group.scope_groups().flat_map(ScopeGroup::spans) {
            if let Some((_, signature)) = tagged.next_if(|(start, _)| *start == span.0.start) {
                findings.note(Finding {
                    time: now.unix_nanos,
                    processor: id.to_owned(),
                    signature: signature.name().to_owned(),
                    service: view::text(service.unwrap_or_default()).to_owned(),
                    span: view::text(span.name()).to_owned(),
                    trace_id: span.trace_id().to_vec(),
                });
            }
        }
    }
}
