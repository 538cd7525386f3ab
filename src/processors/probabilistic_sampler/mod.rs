//! `probabilistic_sampler`: keeps a share of spans and log records. Keys, hash and meaning are the
//! Collector's, so both can stand in one fleet.
//!
//! Three modes, all consistent: what a small percentage keeps, a greater one keeps too, and every
//! replica decides the same.
//!
//! - `hash_seed` compares a hash of the trace id (or of a record's attribute) with 14 bits of the
//!   percentage.
//! - `proportional` and `equalizing` follow the OpenTelemetry specification: randomness is `rv` of
//!   the tracestate or the last 56 bits of the trace id, and is compared with a threshold. The one
//!   keeps a share of what arrives, the other lowers the share that was kept in all to its own.
//!
//! What is kept says its threshold: spans in the tracestate (`ot=th:8`; with `rv` in hash_seed),
//! records in the attributes `sampling.threshold` and `sampling.randomness`. A span's attribute
//! `sampling.priority` decides alone: 0 drops, more keeps. So does the percentage in the record's
//! attribute that `sampling_priority` names. There the Collector's documentation counts and not its
//! behaviour: 0 drops, and at `sampling_percentage: 0` a record's 10 is 10 percent and not all.
//!
//! An item that cannot be sampled (no trace id, an unreadable tracestate, and in hash_seed one that
//! another sampler has marked) is dropped, or kept with `fail_closed: false`; the log says why.
//!
//! Counters: `otelcol_processor_probabilistic_sampler_count_{traces,logs}_sampled` with labels
//! `policy` and `sampled`.

mod decision;
mod threshold;
mod tracestate;

use super::actions::List;
use super::actions::values::{as_text, text};
use super::walk::{self, Visit};
use super::{Built, Kind, Out, Setup, Stateless};
use crate::batch::{Batch, Signal};
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{log_record, span};
use crate::otlp::view::{self, AnyValue, LogRecord, Span};
use crate::otlp::wire::{Message, put_bytes_field};
use crate::telemetry::Counter;
use crate::verdict::Verdict;
use decision::{Asked, Before, Decision, Fault, Mode, Policy};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use threshold::{BUCKETS, DIGITS, LEAST, Randomness, Threshold};
use tracestate::TraceState;

const KEYS: &[Key] = &[
    Key::float(
        "sampling_percentage",
        0.0,
        0.0..=f64::INFINITY,
        "the share to keep; 100 and more: all",
    ),
    Key::choice(
        "mode",
        &["hash_seed", "proportional", "equalizing"],
        "hash_seed",
        "how: by a hash; a share of what arrives; down to this share in all",
    ),
    Key::int(
        "hash_seed",
        0,
        0..=u32::MAX as i64,
        "the seed of mode hash_seed, equal on all replicas of a tier",
    ),
    Key::bool("fail_closed", true, "drop what cannot be sampled"),
    Key::int("sampling_precision", 4, 1..=DIGITS as i64, "hexadecimal digits of thresholds"),
    Key::choice(
        "attribute_source",
        &["traceID", "record"],
        "traceID",
        "logs: hash the trace id, and from_attribute where there is none, or from_attribute alone",
    ),
    Key::text("from_attribute", "", "logs: the record's attribute to hash, in mode hash_seed"),
    Key::text("sampling_priority", "", "logs: the record's attribute with a percentage of its own"),
];

const SAMPLE: &str = r#"sampling_percentage: 15
# hash_seed, proportional (a share of what arrives), equalizing (down to this share in all)
mode: proportional
# of mode hash_seed: equal on all replicas of a tier
hash_seed: 0
# drop what cannot be sampled, such as spans without a trace id
fail_closed: true
# hexadecimal digits of the threshold that is written
sampling_precision: 4
# logs: hash the trace id, or with record the attribute; both in mode hash_seed
attribute_source: traceID
from_attribute: ""
# logs: an attribute with a percentage of its own
sampling_priority: ""
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "probabilistic_sampler",
        aliases: &[],
        about: "keeps a share of traces and log records, decided by the trace id",
        sample: SAMPLE,
        signals: &["traces", "logs"],
        keys: KEYS,
        check,
    },
    build: |section, setup| Built::Stateless(Arc::new(Sampler::new(section, setup))),
};

fn check(section: &Section, problems: &mut Problems) {
    let percentage = section.float("sampling_percentage");
    if !section.is_set("sampling_percentage") {
        let text = "is absent, so nothing passes but what has priority";
        section.warning(problems, "sampling_percentage", text);
    } else if percentage != 0.0 && percentage / 100.0 < LEAST {
        let text = format!("found {percentage}; write 0 or at least {:e}", LEAST * 100.0);
        section.error(problems, "sampling_percentage", text);
    }
    let is_hash = section.text("mode") == "hash_seed";
    let attribute = section.text("from_attribute");
    if section.text("attribute_source") == "record" && attribute.is_empty() {
        let text = "needs `from_attribute`, the attribute to hash";
        section.error(problems, "attribute_source", text);
    }
    let unused =
        [("hash_seed", section.int("hash_seed") != 0), ("from_attribute", !attribute.is_empty())];
    for (key, _) in unused.into_iter().filter(|(_, is_set)| *is_set && !is_hash) {
        let text = format!("has no effect in mode {}, which does not hash", section.text("mode"));
        section.warning(problems, key, text);
    }
}

/// The processor.
struct Sampler {
    id: String,
    signal: Signal,
    mode: Mode,
    fail_closed: bool,
    precision: usize,
    /// Whether records are sampled by their trace id.
    by_trace_id: bool,
    from_attribute: String,
    sampling_priority: String,
    counters: Vec<(Policy, Counter, Counter)>,
    faults: AtomicUsize,
}

/// The mode that the configuration describes.
fn mode(section: &Section) -> Mode {
    // Percentages are 32-bit numbers, and the hash's share is cut and not rounded: any other
    // arithmetic would decide differently from the Collector beside.
    let percentage = section.float("sampling_percentage").min(100.0) as f32;
    let ratio = match percentage {
        0.0 => 0.0,
        percentage => (f64::from(percentage) / 100.0).max(LEAST),
    };
    let precision = section.count("sampling_precision");
    match section.text("mode") {
        "equalizing" => {
            Mode::Equalizing(Threshold::of(ratio, precision).unwrap_or(Threshold::NEVER))
        }
        "proportional" => Mode::Proportional(ratio, precision),
        _ => {
            let accepted = ((percentage * 163.84) as u32).min(BUCKETS);
            let seed = u32::try_from(section.int("hash_seed")).unwrap_or_default();
            Mode::HashSeed(seed, Threshold::of_buckets(BUCKETS - accepted))
        }
    }
}

impl Sampler {
    fn new(section: &Section, setup: &Setup<'_>) -> Sampler {
        let name = match setup.signal {
            Signal::Traces => "otelcol_processor_probabilistic_sampler_count_traces_sampled",
            _ => "otelcol_processor_probabilistic_sampler_count_logs_sampled",
        };
        let attribute = section.text("from_attribute");
        let policies = [
            (Policy::TraceIdHash, "trace_id_hash"),
            (Policy::TraceIdW3c, "trace_id_w3c"),
            (Policy::SamplingRandomness, "sampling_randomness"),
            (Policy::SamplingPriority, "sampling_priority"),
            (Policy::MissingRandomness, "missing_randomness"),
            (Policy::Attribute, attribute),
        ];
        let counter = |policy, sampled| {
            let labels = [("policy", policy), ("sampled", sampled)];
            setup.counter(name, "Items that were looked at.", &labels)
        };
        let used = policies.into_iter().filter(|(_, name)| !name.is_empty());
        let counters =
            used.map(|(policy, name)| (policy, counter(name, "true"), counter(name, "false")));
        Sampler {
            id: setup.id.to_owned(),
            signal: setup.signal,
            mode: mode(section),
            fail_closed: section.bool("fail_closed"),
            precision: section.count("sampling_precision"),
            by_trace_id: section.text("attribute_source") != "record",
            from_attribute: attribute.to_owned(),
            sampling_priority: section.text("sampling_priority").to_owned(),
            counters: counters.collect(),
            faults: AtomicUsize::new(0),
        }
    }

    fn decide(&self, asked: &Asked<'_>) -> Decision {
        let decision = self.mode.decide(asked, self.fail_closed);
        if let Some((_, kept, dropped)) = self.counters.iter().find(|c| c.0 == decision.policy) {
            if decision.keeps { kept.add(1) } else { dropped.add(1) }
        }
        if let Some(fault) = decision.fault {
            self.log(fault, decision.keeps);
        }
        decision
    }

    /// Says why an item cannot be sampled: the first, the second, the fourth, the eighth, ...
    fn log(&self, fault: Fault, keeps: bool) {
        let count = self.faults.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if count.is_power_of_two() {
            let done = if keeps { "kept" } else { "dropped" };
            let why = fault.sentence();
            tracing::warn!(
                processor = self.id,
                count,
                "an item cannot be sampled and is {done}: {why}"
            );
        }
    }

    fn span(&self, span: Span<'_>, edits: &mut Edits) -> Result<bool, Verdict> {
        let state = TraceState::parse(view::text(span.trace_state()));
        let before = state.as_ref().map(|state| Before {
            threshold: state.threshold.map(|(threshold, _)| threshold),
            randomness: state.randomness.map(|(randomness, _)| randomness),
        });
        let mut attributes = span.attributes();
        let priority = attributes.find(|attribute| attribute.key == b"sampling.priority");
        let priority = priority.and_then(|attribute| forced(attribute.value));
        let asked = Asked { before, trace_id: span.trace_id(), attribute: &[], priority };
        let decision = self.decide(&asked);
        let changed = state.and_then(|state| state.with(decision.threshold, decision.randomness));
        if let Some(text) = changed.filter(|_| decision.keeps && decision.writes()) {
            let write =
                |out: &mut Vec<u8>| put_bytes_field(out, span::TRACE_STATE, text.as_bytes());
            match span.0.field(span::TRACE_STATE) {
                Some(old) => edits.replace(span.0, &old, write),
                None => edits.append(span.0, write),
            }
            walk::bounded(edits, &self.id)?;
        }
        Ok(decision.keeps)
    }

    fn record<'a>(
        &self,
        record: LogRecord<'a>,
        list: &mut List<'a>,
        edits: &mut Edits,
    ) -> Result<bool, Verdict> {
        let (mut says, mut hashed, mut priority) = (RecordSays::default(), None, None);
        for attribute in record.attributes() {
            says.read(attribute.key, attribute.value);
            if hashed.is_none() && attribute.key == self.from_attribute.as_bytes() {
                hashed = Some(match attribute.value {
                    AnyValue::Bytes(bytes) => Cow::Borrowed(bytes),
                    value => as_text(value),
                });
            }
            if priority.is_none() && attribute.key == self.sampling_priority.as_bytes() {
                priority = percentage(attribute.value).map(|percentage| match percentage {
                    0.0 => Threshold::NEVER,
                    percentage => Threshold::of(percentage.min(100.0) / 100.0, self.precision)
                        .unwrap_or(Threshold::NEVER),
                });
            }
        }
        let hashes = matches!(self.mode, Mode::HashSeed(..));
        let asked = Asked {
            before: says.before(),
            trace_id: if self.by_trace_id || !hashes { record.trace_id() } else { &[] },
            attribute: hashed.as_deref().unwrap_or_default(),
            priority: priority.filter(|_| !self.sampling_priority.is_empty()),
        };
        let decision = self.decide(&asked);
        if decision.keeps && decision.writes() {
            list.load(record.0, log_record::ATTRIBUTES);
            let randomness = decision.randomness.map(Randomness::text);
            for (key, value) in
                [(RANDOMNESS, randomness), (THRESHOLD, decision.threshold.map(Threshold::text))]
            {
                if let Some(value) = value {
                    list.set(key, Cow::Owned(text(value.as_bytes())));
                }
            }
            list.emit(record.0, log_record::ATTRIBUTES, edits, &self.id)?;
        }
        Ok(decision.keeps)
    }
}

impl Decision {
    fn writes(&self) -> bool {
        self.threshold.is_some() || self.randomness.is_some()
    }
}

const THRESHOLD: &[u8] = b"sampling.threshold";
const RANDOMNESS: &[u8] = b"sampling.randomness";

/// What a log record's attributes say of sampling: their first texts.
#[derive(Default)]
struct RecordSays<'a> {
    threshold: Option<&'a str>,
    randomness: Option<&'a str>,
}

impl<'a> RecordSays<'a> {
    fn read(&mut self, key: &[u8], value: AnyValue<'a>) {
        let place = match key {
            THRESHOLD => &mut self.threshold,
            RANDOMNESS => &mut self.randomness,
            _ => return,
        };
        let text = value.as_text().map(view::text).filter(|text| !text.is_empty());
        *place = place.or(text);
    }

    /// `None` if one of them is not what it should be.
    fn before(self) -> Option<Before> {
        let threshold = self.threshold.map(Threshold::parse);
        let randomness = self.randomness.map(Randomness::parse);
        match (threshold, randomness) {
            (Some(None), _) | (_, Some(None)) => None,
            (threshold, randomness) => {
                Some(Before { threshold: threshold.flatten(), randomness: randomness.flatten() })
            }
        }
    }
}

/// The priority of a span: 0 drops, more keeps, and anything else says nothing.
fn forced(value: AnyValue<'_>) -> Option<Threshold> {
    let number = match value {
        AnyValue::Text(text) => view::text(text).parse().ok()?,
        value => percentage(value)?,
    };
    match number {
        0.0 => Some(Threshold::NEVER),
        number => (number > 0.0).then_some(Threshold::ALWAYS),
    }
}

/// A number that is not negative.
fn percentage(value: AnyValue<'_>) -> Option<f64> {
    let number = match value {
        AnyValue::Int(number) => number as f64,
        AnyValue::Double(number) => number,
        _ => return None,
    };
    (number >= 0.0).then_some(number)
}

impl Stateless for Sampler {
    fn process(&self, batch: Batch, _now: Moment, out: &mut Out) {
        walk::edit(batch, out, |request, edits| {
            let mut visit = Items { sampler: self, list: List::default() };
            walk::walk(self.signal, request, &mut visit, edits).map(drop)
        });
    }
}

struct Items<'s, 'a> {
    sampler: &'s Sampler,
    list: List<'a>,
}

impl<'a> Visit<'a> for Items<'_, 'a> {
    fn item(&mut self, item: Message<'a>, edits: &mut Edits) -> Result<bool, Verdict> {
        match self.sampler.signal {
            Signal::Traces => self.sampler.span(Span(item), edits),
            _ => self.sampler.record(LogRecord(item), &mut self.list, edits),
        }
    }
}

#[cfg(test)]
mod tests;
