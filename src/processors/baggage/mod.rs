//! `baggage`: what an entry point knows of its request stands on the spans behind it.
//!
//! W3C baggage is read where it was captured on a span or log record: the attributes `baggage`,
//! `http.request.header.baggage`, `rpc.request.metadata.baggage` (also with `rpc.grpc.`) and
//! `messaging.header.baggage`, a text or an array of texts. The values of the keys in the
//! allow-list become attributes of that item, and of every other item of the same trace that is
//! in the same batch or comes later. An attribute of a listed name (`user.id`, or
//! `baggage.user.id`) that the application set itself is a value of the trace in the same way.
//!
//! - An attribute that is there is never changed.
//! - The first value of a key is the trace's; an item with baggage of its own gets its own.
//! - Baggage comes from outside: values are bounded in length, keys are chosen here, the memory
//!   is bounded in traces, bytes and time, and everything refused is counted.
//!
//! Absent here: spans that left before the value came (spans end child-first, so that takes a
//! window that holds traces), subtrees with values of their own, and a memory shared between
//! pipelines: the logs of a trace get what other log records of it carry.

mod values;
mod w3c;

use super::inspect::{Inspector, Item};
use super::memory::{Bounds, Gauges, Memory, trace_key};
use super::names::{Names, Pattern};
use super::{Built, Kind, Setup};
use crate::batch::Signal;
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{any_value, log_record, span};
use crate::otlp::view::{self, AnyValue, Attribute};
use crate::otlp::wire::{Field, Message, put_varint_field};
use crate::otlp::write::{put_attribute, put_text_value};
use crate::telemetry::Counter;
use smallvec::SmallVec;
use values::Values;
use w3c::{Member, Rejected};

/// The identifiers that telemetry is searched by; none of them is content.
const DEFAULT_KEYS: &[&str] = &[
    "user.id",
    "session.id",
    "enduser.id",
    "enduser.pseudo.id",
    "gen_ai.conversation.id",
    "tenant",
    "tenant.id",
];

const KEYS: &[Key] = &[
    Key::list_of_text("keys", DEFAULT_KEYS, "the baggage keys that become attributes"),
    Key::text("prefix", "", "what stands before a key in the attribute's name"),
    Key::int(
        "max_value_bytes",
        limits::BAGGAGE_VALUE_BYTES,
        1..=1 << 16,
        "longest value that is promoted, in bytes",
    ),
    Key::bool("plus_as_space", false, "read + in values as a space, as some SDKs write it"),
    Key::int("limit_traces", limits::BAGGAGE_TRACES, 1..=1 << 24, "traces that are remembered"),
    Key::size_mib("limit_mib", limits::BAGGAGE_MIB, "memory for their values, in MiB"),
    Key::duration("ttl", limits::TRACE_TTL, "how long a silent trace is remembered"),
];

const SAMPLE: &str = "\
# the baggage keys that become attributes
keys: [user.id, session.id, enduser.id, enduser.pseudo.id, gen_ai.conversation.id, tenant]
# stands before a key in the attribute's name
prefix: \"\"
max_value_bytes: 256
# read + in values as a space, as some SDKs write it
plus_as_space: false
# the memory of values by trace
limit_traces: 50000
limit_mib: 16
ttl: 10m
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "baggage",
        aliases: &[],
        about: "puts baggage values on the spans and log records of their trace",
        sample: SAMPLE,
        signals: &["traces", "logs"],
        keys: KEYS,
        check,
    },
    build: |section, setup| Built::Inspector(Box::new(Baggage::new(section, setup))),
};

fn check(section: &Section, problems: &mut Problems) {
    let keys = section.list("keys");
    if keys.len() > limits::BAGGAGE_KEYS {
        let text = format!("lists {} keys; at most {}", keys.len(), limits::BAGGAGE_KEYS);
        section.error(problems, "keys", text + " can be promoted");
    }
    for (n, key) in keys.iter().enumerate() {
        if key.is_empty() || keys.iter().take(n).any(|earlier| earlier == key) {
            section.error(problems, "keys", format!("lists {key:?}; list each key once"));
        }
    }
}

/// Attributes that hold baggage as it was sent.
const SOURCES: &[&str] = &[
    "baggage",
    "http.request.header.baggage",
    "rpc.request.metadata.baggage",
    "rpc.grpc.request.metadata.baggage",
    "messaging.header.baggage",
];

/// What an attribute key stands for; keys of the allow-list by number.
#[derive(Clone, Copy)]
enum Role {
    /// Holds baggage.
    Source,
    /// Is where a key is promoted to.
    Target(u8),
    /// Is a value of a key under another name.
    Value(u8),
}

/// An item that waits for the values of its trace.
struct Waiting {
    trace: Option<u128>,
    /// Where it starts in the request.
    start: usize,
    /// The keys that it has.
    present: u32,
}

impl Waiting {
    /// The place of an appendix to it.
    fn start(&self) -> Message<'static> {
        Message { bytes: &[], start: self.start }
    }
}

/// Attributes of an item that carry values.
type Carried<'a> = SmallVec<[(Role, Field<'a>); 4]>;

/// The processor.
struct Baggage {
    roles: Names<Role>,
    /// The number of a baggage key.
    keys: Names<u8>,
    /// The attribute of each key, by number.
    targets: Vec<String>,
    max_value_bytes: usize,
    plus_as_space: bool,
    /// The number of the items' field with attributes.
    attributes: u32,
    memory: Memory<Values>,
    waiting: Vec<Waiting>,
    /// A value on its way.
    value: Vec<u8>,
    promoted: usize,
    rejected: Rejected,
    too_long: usize,
    counters: Counters,
}

struct Counters {
    promoted: Counter,
    malformed: Counter,
    beyond: Counter,
    too_long: Counter,
}

impl Baggage {
    fn new(section: &Section, setup: &Setup<'_>) -> Baggage {
        let keys = section.list("keys").iter().take(limits::BAGGAGE_KEYS);
        let numbered: Vec<(u8, &String)> = (0..).zip(keys).collect();
        let target = |key: &str| format!("{}{key}", section.text("prefix"));
        let mut roles: Vec<_> =
            SOURCES.iter().map(|name| (Pattern::exact(name), Role::Source)).collect();
        for &(n, key) in &numbered {
            roles.push((Pattern::exact(&target(key)), Role::Target(n)));
        }
        for &(n, key) in &numbered {
            roles.push((Pattern::exact(key), Role::Value(n)));
            roles.push((Pattern::exact(&format!("baggage.{key}")), Role::Value(n)));
        }
        Baggage {
            roles: Names::new(roles),
            keys: Names::new(numbered.iter().map(|&(n, key)| (Pattern::exact(key), n))),
            targets: numbered.iter().map(|(_, key)| target(key)).collect(),
            max_value_bytes: section.count("max_value_bytes"),
            plus_as_space: section.bool("plus_as_space"),
            attributes: match setup.signal {
                Signal::Logs => log_record::ATTRIBUTES,
                _ => span::ATTRIBUTES,
            },
            memory: memory(section, setup),
            waiting: vec![],
            value: vec![],
            promoted: 0,
            rejected: Rejected::default(),
            too_long: 0,
            counters: Counters::new(setup),
        }
    }

    /// Learns from an item that carries values.
    fn carrier(
        &mut self,
        item: &mut Waiting,
        carried: &Carried<'_>,
        now: Moment,
        edits: &mut Edits,
    ) {
        let mut members: SmallVec<[(u8, Member<'_>); 8]> = SmallVec::new();
        for (role, field) in carried {
            let value = Attribute::of(*field).map_or(AnyValue::Empty, |attribute| attribute.value);
            match (role, value) {
                (Role::Source, AnyValue::Text(text)) => self.read(text, &mut members),
                (Role::Source, AnyValue::Array(array)) => {
                    let texts = view::values(array).take(limits::BAGGAGE_MEMBERS);
                    texts.filter_map(AnyValue::as_text).for_each(|t| self.read(t, &mut members));
                }
                (Role::Target(key) | Role::Value(key), value) if self.encode(value) => {
                    self.offer(item, *key, now, edits);
                }
                _ => {}
            }
        }
        for (key, member) in members {
            let mut text = vec![];
            if !member.decode(self.plus_as_space, &mut text) {
                self.rejected.malformed += 1;
            } else if self.encode(AnyValue::Text(&text)) {
                self.offer(item, key, now, edits);
            }
        }
    }

    /// Collects the members with listed keys; the last of each key counts.
    fn read<'a>(&mut self, text: &'a [u8], members: &mut SmallVec<[(u8, Member<'a>); 8]>) {
        for member in w3c::members(text, &mut self.rejected) {
            if let Some(key) = self.keys.find(member.key) {
                match members.iter_mut().find(|(k, _)| *k == key) {
                    Some(earlier) => earlier.1 = member,
                    None => members.push((key, member)),
                }
            }
        }
    }

    /// Takes a value at hand; false if it is no identifier or too long for one.
    fn encode(&mut self, value: AnyValue<'_>) -> bool {
        self.value.clear();
        match value {
            AnyValue::Text(text) if text.len() > self.max_value_bytes => {
                self.too_long += 1;
                return false;
            }
            AnyValue::Text(text) if !text.is_empty() => put_text_value(&mut self.value, text),
            AnyValue::Int(n) => put_varint_field(&mut self.value, any_value::INT, n as u64),
            _ => return false,
        }
        true
    }

    /// Offers the value at hand to the trace. If the trace has another one, the item gets its own
    /// here and now; else it gets the trace's with all the others.
    fn offer(&mut self, item: &mut Waiting, key: u8, now: Moment, edits: &mut Edits) {
        let name = self.targets.get(usize::from(key)).map_or("", String::as_str).as_bytes();
        let (number, value) = (self.attributes, self.value.as_slice());
        let offer = |values: &mut Values| values.offer(key, number, name, value);
        let same = item.trace.is_some_and(|trace| self.memory.update(trace, now, offer));
        if same || item.present & 1 << key != 0 {
            return;
        }
        if edits.new_bytes() > limits::ADDED_BYTES {
            self.rejected.beyond += 1;
        } else {
            edits.append(item.start(), |out| put_attribute(out, number, name, value));
            self.promoted += 1;
            item.present |= 1 << key;
        }
    }

    /// Gives the waiting items what their traces have.
    fn promote(&mut self, now: Moment, edits: &mut Edits) {
        if self.memory.is_empty() {
            return self.waiting.clear();
        }
        for run in self.waiting.chunk_by(|a, b| a.trace == b.trace) {
            let trace = run.first().and_then(|item| item.trace);
            let Some(values) = trace.and_then(|trace| self.memory.get(trace, now)) else {
                continue;
            };
            for item in run {
                let missing = values.mask() & !item.present;
                if edits.new_bytes() > limits::ADDED_BYTES {
                    self.rejected.beyond += missing.count_ones() as usize;
                } else if missing != 0 {
                    edits.append(item.start(), |out| values.put(item.present, out));
                    self.promoted += missing.count_ones() as usize;
                }
            }
        }
        self.waiting.clear();
    }

    fn count(&mut self) {
        self.counters.promoted.add(std::mem::take(&mut self.promoted));
        let rejected = std::mem::take(&mut self.rejected);
        self.counters.malformed.add(rejected.malformed);
        self.counters.beyond.add(rejected.beyond);
        self.counters.too_long.add(std::mem::take(&mut self.too_long));
    }
}

fn memory(section: &Section, setup: &Setup<'_>) -> Memory<Values> {
    let forgotten = |cause| {
        let help = "Traces whose baggage was forgotten, by cause.";
        setup.counter("spanloom_baggage_forgotten_traces", help, &[("cause", cause)])
    };
    let gauges = Gauges {
        traces: setup.gauge("spanloom_baggage_traces", "Traces whose baggage is known.", &[]),
        evicted: forgotten("evicted"),
        expired: forgotten("expired"),
    };
    let bounds = Bounds {
        traces: section.count("limit_traces"),
        bytes: section.bytes("limit_mib") as usize,
        ttl: section.duration("ttl"),
    };
    Memory::new(bounds, gauges, Values::weight)
}

impl Counters {
    fn new(setup: &Setup<'_>) -> Counters {
        let rejected = |reason| {
            let help = "Members of baggage that were not taken, by reason.";
            setup.counter("spanloom_baggage_rejected_members", help, &[("reason", reason)])
        };
        let help = "Attributes written from baggage.";
        Counters {
            promoted: setup.counter("spanloom_baggage_promoted_attributes", help, &[]),
            malformed: rejected("malformed"),
            beyond: rejected("beyond_limit"),
            too_long: rejected("too_long"),
        }
    }
}

impl Inspector for Baggage {
    fn keys(&self) -> Vec<Pattern> {
        self.roles.patterns()
    }

    fn begin(&mut self, now: Moment) {
        self.memory.expire(now);
    }

    /// Reads one item, and lets it wait for what the batch holds further behind.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits) {
        let trace = trace_key(item.trace_id);
        let mut waiting = Waiting { trace, start: item.message.start, present: 0 };
        let mut carried = Carried::new();
        for attribute in &item.attributes {
            let field = item.field(*attribute);
            if let Some(role) = self.roles.find(view::key(&field)) {
                if let Role::Target(key) = role {
                    waiting.present |= 1 << key;
                }
                carried.push((role, field));
            }
        }
        if !carried.is_empty() {
            self.carrier(&mut waiting, &carried, now, edits);
        }
        if trace.is_some() {
            self.waiting.push(waiting);
        }
        if self.waiting.len() >= limits::BAGGAGE_WAITING_ITEMS {
            self.promote(now, edits);
        }
    }

    fn end(&mut self, now: Moment, edits: &mut Edits) {
        self.promote(now, edits);
        self.count();
    }
}

#[cfg(test)]
mod tests;
