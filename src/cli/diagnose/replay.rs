//! Spans through the `orphans` processor that the daemon has, in their own time.
//!
//! Each trace goes in whole, as `trace_window` would hand it on, at the moment at which its first
//! span started: callers start before those that they call, so they are known by then, which a
//! daemon that gets traces by their ends must wait for. A moment's two clocks are both that of the
//! spans, so what the processor does by time (waiting for parents, forgetting traces) it does as if
//! the run were played again; the clock of this machine is not read. What the processor writes onto
//! spans is all that the report knows: there is no second way to a finding.

use crate::batch::{Batch, Signal};
use crate::config::Section;
use crate::moment::Moment;
use crate::otlp::fields::{request, resource_group, scope_group};
use crate::otlp::view::Span;
use crate::otlp::wire::{Message, begin_message, end_message};
use crate::processors::row::Row;
use crate::processors::{Built, LIST, Out, Setup, Stateful};
use crate::telemetry::Registry;
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;

/// Times that the processor is called at the end for what it waits for, at most: it may ask to be
/// called in every second of half a day.
const CALLS_MAX: usize = 100_000;

/// What the processor makes of `batches`.
pub fn replay(batches: &[Batch]) -> Result<Vec<Batch>, String> {
    let traces = traces(batches);
    let start = traces.first().map_or(0, |trace| trace.start);
    let mut now = Moment { monotonic: Duration::ZERO, unix_nanos: start };
    let (mut orphans, mut out) = (orphans()?, Out::default());
    for trace in &traces {
        let next = Moment {
            monotonic: Duration::from_nanos(trace.start.saturating_sub(start)),
            unix_nanos: trace.start,
        };
        wake_until(orphans.as_mut(), next, &mut out);
        now = next;
        let batch = Batch::parse(Signal::Traces, Bytes::from(trace.request()), now);
        let batch = batch.map_err(|error| format!("a trace is too large to be looked at: {error}"));
        orphans.process(batch?, now, &mut out);
    }
    for _ in 0..CALLS_MAX {
        let Some(at) = orphans.wake_at() else { break };
        now = now.max(at);
        orphans.wake(now, &mut out);
    }
    orphans.finish(now, &mut out);
    Ok(out.take())
}

fn wake_until(orphans: &mut dyn Stateful, next: Moment, out: &mut Out) {
    for _ in 0..CALLS_MAX {
        let Some(at) = orphans.wake_at().filter(|at| *at <= next) else { return };
        orphans.wake(at, out);
    }
}

/// The processor with its defaults.
fn orphans() -> Result<Box<dyn Stateful>, String> {
    let kind = LIST.iter().find(|kind| kind.component.name == "orphans");
    let kind = kind.ok_or("there is no processor orphans")?;
    let section = Section::from_yaml(kind.component.keys, "{}");
    let section = section.map_err(|problems| problems.to_string())?;
    let registry = Registry::default();
    match (kind.build)(&section, &Setup::new("orphans", "traces", Signal::Traces, &registry)) {
        Built::Inspector(orphans) => Ok(Box::new(Row::new(vec![orphans], vec![]))),
        Built::Stateful(orphans) => Ok(orphans),
        Built::Stateless(_) => Err("the processor orphans holds no state".to_owned()),
    }
}

/// The spans of one trace.
struct Trace<'a> {
    /// When the first of them started.
    start: u64,
    spans: Vec<Placed<'a>>,
}

/// A span, and what stands around it.
struct Placed<'a> {
    group: Message<'a>,
    scope: Message<'a>,
    span: Span<'a>,
}

/// All spans by trace, the trace that started first first.
fn traces(batches: &[Batch]) -> Vec<Trace<'_>> {
    let mut places = HashMap::new();
    let mut traces: Vec<Trace<'_>> = vec![];
    for group in batches.iter().flat_map(|batch| batch.request().resource_groups()) {
        for scope in group.scope_groups() {
            for span in scope.spans() {
                let place = *places.entry(span.trace_id()).or_insert(traces.len());
                if place == traces.len() {
                    traces.push(Trace { start: u64::MAX, spans: vec![] });
                }
                if let Some(trace) = traces.get_mut(place) {
                    trace.start = trace.start.min(span.start_time());
                    trace.spans.push(Placed { group: group.0, scope: scope.0, span });
                }
            }
        }
    }
    for trace in &mut traces {
        trace.spans.sort_by_key(|placed| placed.span.end_time());
    }
    traces.sort_by_key(|trace| trace.start);
    traces
}

impl Trace<'_> {
    /// Its spans as a request, in order; neighbours share what stands around both.
    fn request(&self) -> Vec<u8> {
        let mut out = vec![];
        let is_same = |a: &Message<'_>, b: &Message<'_>| std::ptr::eq(a.bytes, b.bytes);
        for in_group in self.spans.chunk_by(|a, b| is_same(&a.group, &b.group)) {
            let group = begin_message(&mut out, request::RESOURCE_GROUPS);
            for in_scope in in_group.chunk_by(|a, b| is_same(&a.scope, &b.scope)) {
                let Some(first) = in_scope.first() else { continue };
                if std::ptr::eq(first, in_group.first().unwrap_or(first)) {
                    put_around(&mut out, first.group, resource_group::SCOPE_GROUPS);
                }
                let scope = begin_message(&mut out, resource_group::SCOPE_GROUPS);
                put_around(&mut out, first.scope, scope_group::ITEMS);
                for placed in in_scope {
                    let span = begin_message(&mut out, scope_group::ITEMS);
                    out.extend_from_slice(placed.span.0.bytes);
                    end_message(&mut out, span);
                }
                end_message(&mut out, scope);
            }
            end_message(&mut out, group);
        }
        out
    }
}

/// Appends the fields of `message` but those of number `but`.
fn put_around(out: &mut Vec<u8>, message: Message<'_>, but: u32) {
    for field in message.fields().filter(|field| field.number != but) {
        let range = field.at - message.start..field.end - message.start;
        out.extend_from_slice(message.bytes.get(range).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::text;

    fn batch(notation: &str) -> Batch {
        let bytes = Bytes::from(text::parse(notation).unwrap());
        Batch::parse(Signal::Traces, bytes, Moment::default()).unwrap()
    }

    #[test]
    fn traces_go_in_whole_and_in_the_order_of_their_starts() {
        let first = "resource service.name=\"a\"\nscope \"s\"\n\
                     span 1/a1 \"late\" 1..9ms\nspan 2/b1 \"early\" 0..30ms\n\
                     scope \"t\"\nspan 1/a2 parent=a1 \"child\" 2..3ms";
        let second = "resource service.name=\"b\"\nscope -\nspan 1/a3 parent=a1 \"there\" 3..4ms";
        let done = replay(&[batch(first), batch(second)]).unwrap();
        let printed: Vec<String> =
            done.iter().map(|batch| text::print(Signal::Traces.message(), batch.bytes())).collect();
        let all = printed.concat();
        let place = |name: &str| all.find(name).unwrap_or_else(|| panic!("no {name} in {all}"));
        assert!(place("early") < place("child") && place("child") < place("there"), "{all}");
        assert!(place("there") < place("late"), "{all}");
        assert_eq!(done.iter().map(Batch::items).sum::<usize>(), 4);
        assert_eq!(all.matches("resource service.name=\"b\"").count(), 1, "{all}");
    }
}
