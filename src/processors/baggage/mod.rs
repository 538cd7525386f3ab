//! `baggage`: what an entry point knows of its request stands on the spans behind it.
//!
//! Values come from these sources, in the configured order; the first that has one wins:
//!
//! - `attributes`: those of a listed key (`user.id`), of the key behind the prefixes that baggage
//!   processors write (`baggage.user.id`, `traceloop.association.properties.`,
//!   `ai.telemetry.metadata.`), and of the names that frameworks have for it (`langfuse.user.id`);
//! - `baggage`: W3C baggage where it was captured, in `baggage`, `http.request.header.baggage`,
//!   `rpc.request.metadata.baggage` (also with `rpc.grpc.`) and `messaging.header.baggage`, a text
//!   or an array of texts;
//! - `resource`: the same attributes on the resource, for what has no value of its own or from
//!   above. Off unless listed: a resource is a process, and a process serves many.
//! - `metadata`: headers of the OTLP request itself, those in `metadata` and the header `baggage`,
//!   likewise ([`door`]). For sidecars that one tenant alone sends to: an SDK puts spans of many
//!   users into one request. The receiver must have `include_metadata`.
//!
//! Who inherits is the `scope`:
//!
//! - `descendants`: spans below the one that carries the value, across services, from the nearest
//!   above; two users in two subtrees of a trace stay apart. Log records name no parent: they get
//!   what records of the same span carry, and what their span has.
//! - `trace`: all of the trace; the first value of a key is the trace's.
//!
//! What is inherited is what is known. Behind `trace_window` that is the whole trace. Without it
//! a span that leaves before its parent came gets nothing, and nothing is guessed: what is
//! remembered are the values of spans that passed, and the root's, which all other spans are below
//! if the trace has one root only. The same goes for late spans behind a window.
//!
//! A trace that is known as a fragment of another ([`super::fragments`]) inherits from the span
//! that it belongs below.
//!
//! The memory of one processor id is one for spans and log records, in all pipelines that have the
//! same receivers and the same processors before it (`processors/places.rs`): values that
//! `sensitive` would mask in one pipeline do not come from another.
//!
//! - An attribute that is there is never changed.
//! - Baggage comes from outside: values are bounded in length and in number, keys are chosen here,
//!   the memory is bounded in traces, spans, bytes and time, and everything refused is counted.
//!   What `sensitive` took out before is not seen here.
//!
//! Absent here: a memory shared between replicas (all spans of a trace must come to one of them),
//! and metadata in pipelines that begin with a connector.

mod counters;
mod door;
mod reading;
mod tree;
mod values;
mod w3c;

use super::fragments::Fragments;
use super::inspect::{Inspector, Item};
use super::memory::{Bounds, Gauges, Memory, span_key, trace_key};
use super::places::Striped;
use super::{Built, Kind, Setup, Stateless};
use crate::batch::Signal;
use crate::config::catalog::Class;
use crate::config::{Component, Key, Problems, Section};
use crate::limits;
use crate::metadata::is_credential;
use crate::moment::Moment;
use crate::otlp::edit::{Edits, Filling};
use crate::otlp::fields::{log_record, resource, span};
use crate::otlp::view::{self, ResourceGroup};
use crate::otlp::wire::Message;
use counters::Counters;
use door::Door;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use reading::{Carried, Reader, Role, Source, target};
use std::sync::Arc;
use tree::{Known, Node, Scope, Set, State, Tree};
use values::Values;

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
    Key::map_of_text("targets", "the attribute of a key, if it is not the key itself"),
    Key::text("prefix", "", "what stands before the attribute's name"),
    Key::list_of_text(
        "sources",
        &["attributes", "baggage"],
        "where values come from, the first wins: attributes, baggage, resource, metadata",
    ),
    Key::choice("scope", &["descendants", "trace"], "descendants", "who inherits a value"),
    Key::bool("overwrite", false, "must be false: an attribute that is there is never changed"),
    Key::int(
        "max_value_bytes",
        limits::BAGGAGE_VALUE_BYTES,
        1..=1 << 16,
        "longest value that is promoted, in bytes",
    ),
    Key::int(
        "limit_values",
        limits::BAGGAGE_VALUES,
        1..=1 << 28,
        "different values that are promoted within `ttl`",
    ),
    Key::bool("plus_as_space", false, "read + in values as a space, as some SDKs write it"),
    Key::int("limit_traces", limits::BAGGAGE_TRACES, 1..=1 << 24, "traces that are remembered"),
    Key::size_mib("limit_mib", limits::BAGGAGE_MIB, "memory for their values, in MiB"),
    Key::duration("ttl", limits::TRACE_TTL, "how long a silent trace is remembered"),
    Key::map_of_text("metadata", "headers of requests and the keys whose values they hold"),
    Key::unsupported(
        "include_metadata",
        "is a key of the receiver's protocols; here list `metadata` in `sources`",
    ),
];

const SAMPLE: &str = "\
# the baggage keys that become attributes
keys: [user.id, session.id, enduser.id, enduser.pseudo.id, gen_ai.conversation.id, tenant]
# the attribute of a key, if it is not the key itself, and what stands before its name
targets: {tenant: tenant.id}
prefix: \"\"
# where values come from, the first wins; also: resource, and metadata (headers of requests, if
# the receiver has include_metadata and one tenant alone sends to it)
sources: [attributes, baggage]
# metadata: {x-user-id: user.id}
# who inherits: descendants of the span that carries the value, or all of the trace
scope: descendants
overwrite: false
max_value_bytes: 256
# different values that are promoted within ttl
limit_values: 500000
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
    for (key, name) in section.map("targets") {
        if !keys.contains(key) {
            section.error(
                problems,
                "targets",
                format!("names {key:?}, which `keys` does not list"),
            );
        }
        if target(section, key).is_empty() {
            section.error(
                problems,
                "targets",
                format!("gives {key:?} the name {name:?}; give one"),
            );
        }
    }
    for name in section.list("sources").iter().filter(|name| Source::named(name).is_none()) {
        let known = Source::NAMES.map(|(name, _)| name).join(", ");
        section.error(problems, "sources", format!("lists {name:?}; the sources are {known}"));
    }
    metadata(section, problems);
    if section.bool("overwrite") {
        let text = "must be false: values from outside do not replace what an application wrote";
        section.error(problems, "overwrite", text);
    }
}

/// Reports mistakes in the mapping of headers.
fn metadata(section: &Section, problems: &mut Problems) {
    let mapping = section.map("metadata");
    let listed = section.list("sources").iter().any(|name| name == "metadata");
    if !mapping.is_empty() && !listed {
        let text = "has no effect; list `metadata` in `sources` too";
        section.error(problems, "metadata", text);
    }
    for (header, key) in mapping {
        if is_credential(header) {
            let text = format!("names the header {header:?}: credentials do not become attributes");
            section.error(problems, "metadata", text);
        }
        if !section.list("keys").contains(key) {
            let text = format!("gives {header:?} the key {key:?}, which `keys` does not list");
            section.error(problems, "metadata", text);
        }
    }
}

/// The processor.
struct Baggage {
    reader: Reader,
    door: Option<Arc<Door>>,
    memory: Arc<Striped<Memory<Known>>>,
    fragments: Arc<Fragments>,
    tree: Tree,
    nodes: Vec<Node>,
    /// The traces of the batch, in the order in which they came, and the latest.
    orders: HashMap<u128, u32, RandomState>,
    latest: Option<(u128, u32)>,
    /// Where the resource of the last item stands, and what it carries.
    resource: (usize, Set),
    /// The attribute with baggage that came last in this batch, and what it holds: a service notes
    /// the same on one span after the other.
    captured: Option<(Vec<u8>, Set)>,
    /// What an item got last: as edit, as values, and for an item that has which targets.
    written: Option<(Filling, Arc<Values>, u32)>,
    promoted: usize,
    beyond: usize,
    /// The number of the items' field with attributes.
    attributes: u32,
    counters: Counters,
}

impl Baggage {
    fn new(section: &Section, setup: &Setup<'_>) -> Baggage {
        let attributes = match setup.signal {
            Signal::Logs => log_record::ATTRIBUTES,
            _ => span::ATTRIBUTES,
        };
        let scope = match (section.text("scope"), setup.signal) {
            ("trace", _) => Scope::Trace,
            (_, Signal::Logs) => Scope::SameSpan,
            _ => Scope::Descendants,
        };
        let reader = Reader::new(section, setup);
        let door = || Arc::new(Door::new(section, &reader, setup));
        Baggage {
            door: reader.reads(Source::Metadata).then(door),
            reader,
            memory: setup.shared(|| Striped::new(setup.shards, || memory(section, setup))),
            fragments: Fragments::of(setup),
            tree: Tree::new(scope),
            nodes: vec![],
            orders: HashMap::default(),
            latest: None,
            resource: (usize::MAX, None),
            captured: None,
            written: None,
            promoted: 0,
            beyond: 0,
            attributes,
            counters: Counters::new(setup),
        }
    }

    /// What an item carries whose only source is `attribute`, which holds baggage.
    fn captured(&mut self, attribute: &[u8], carried: &Carried<'_>) -> Set {
        if let Some((_, set)) = self.captured.as_ref().filter(|(bytes, _)| bytes == attribute) {
            return set.clone();
        }
        let refused = self.reader.refused.clone();
        let set = set(self.reader.item(carried));
        // What was refused is to be counted as often as it comes.
        let whole = self.reader.refused == refused;
        self.captured = whole.then(|| (attribute.to_vec(), set.clone()));
        set
    }

    /// What the resource of `item` carries.
    fn resource(&mut self, item: &Item<'_>) -> Set {
        let group = item.resource_group;
        if !self.reader.reads_resources() {
            return None;
        }
        if self.resource.0 != group.start {
            let fields = ResourceGroup(group).resource().into_iter().flat_map(Message::fields);
            let fields = fields.filter(|field| {
                field.number == resource::ATTRIBUTES && !item.resource_hidden.contains(&field.at)
            });
            self.resource = (group.start, set(self.reader.resource(fields)));
        }
        self.resource.1.clone()
    }

    /// Gives all items what they are to have.
    fn promote(&mut self, now: Moment, edits: &mut Edits) {
        let mut nodes = std::mem::take(&mut self.nodes);
        self.sink_fragments(&mut nodes, now);
        self.orders.clear();
        self.latest = None;
        // Most are in order already, and then so are the edits.
        nodes.sort_by_key(|node| node.order);
        for run in nodes.chunk_by_mut(|a, b| a.trace == b.trace) {
            let trace = run.first().map_or(0, |node| node.trace);
            let shared = match trace {
                0 => {
                    self.tree.alone(run);
                    None
                }
                _ => self.inherit(trace, run, now),
            };
            for node in run {
                if let Some(set) = shared.as_ref().unwrap_or(&node.set) {
                    self.put(node, set, edits);
                }
            }
        }
        nodes.clear();
        self.nodes = nodes;
        self.written = None;
    }

    /// Puts fragments behind what they belong below, since that is to be known before.
    fn sink_fragments(&self, nodes: &mut [Node], now: Moment) {
        if !self.fragments.any() {
            return;
        }
        let traces = self.orders.len() as u32;
        for node in nodes.iter_mut().filter(|node| node.trace != 0) {
            let depth = self.fragments.depth(node.trace, now);
            node.order = node.order.saturating_add(traces.saturating_mul(depth));
        }
    }

    /// The place of `trace` among those of the batch.
    fn order(&mut self, trace: u128) -> u32 {
        match self.latest {
            Some((latest, order)) if latest == trace => order,
            _ => {
                let next = self.orders.len() as u32;
                let order = *self.orders.entry(trace).or_insert(next);
                self.latest = Some((trace, order));
                order
            }
        }
    }

    /// Finds what the items of `trace` inherit, and remembers it. Yields what all of them are to
    /// have, if that is one and the same; else each of them says so.
    fn inherit(&mut self, trace: u128, run: &mut [Node], now: Moment) -> Option<Set> {
        let above = self.fragments.above(trace, now).and_then(|above| {
            // One lock at a time: the other trace may be of the same stripe.
            self.memory.lock(above.trace).get(above.trace, now)?.span(above.span)
        });
        let mut memory = self.memory.lock(trace);
        let known = if memory.is_empty() { None } else { memory.get(trace, now) };
        let lesson = self.tree.resolve(run, known, above)?;
        let shared = lesson.shared();
        if lesson.is_new() {
            let (scope, most) = (self.tree.scope(), limits::BAGGAGE_SPANS);
            let teach = |known: &mut Known| lesson.teach(known, run, scope, most);
            self.beyond += memory.update(trace, now, teach);
        }
        shared
    }

    fn put(&mut self, node: &Node, set: &Arc<Values>, edits: &mut Edits) {
        let missing = (set.mask() & !node.present).count_ones() as usize;
        if edits.new_bytes() > limits::ADDED_BYTES {
            self.beyond += missing;
            return;
        }
        if missing == 0 {
            return;
        }
        self.promoted += missing;
        // One item after the other of a trace gets the same.
        match &self.written {
            Some((filling, known, present))
                if Arc::ptr_eq(known, set) && *present == node.present =>
            {
                edits.fill_again(node.place, *filling);
            }
            _ => {
                let write = |out: &mut Vec<u8>| set.put(node.present, self.attributes, out);
                self.written = Some((edits.fill(node.place, write), set.clone(), node.present));
            }
        }
    }

    fn count(&mut self) {
        self.counters.promoted.add(std::mem::take(&mut self.promoted));
        let refused = std::mem::take(&mut self.reader.refused);
        self.counters.malformed.add(refused.members.malformed);
        self.counters.beyond.add(refused.members.beyond + std::mem::take(&mut self.beyond));
        self.counters.too_long.add(refused.too_long);
        self.counters.distinct.add(refused.distinct);
    }
}

/// `values`, if there are any.
fn set(values: Values) -> Set {
    (values.mask() != 0).then(|| Arc::new(values))
}

fn memory(section: &Section, setup: &Setup<'_>) -> Memory<Known> {
    let forgotten = |cause| {
        let help = "Traces whose baggage was forgotten, by cause.";
        let labels = [("processor", setup.id), ("cause", cause)];
        setup.registry.counter("spanloom_baggage_forgotten_traces", help, &labels)
    };
    let (name, help) = ("spanloom_baggage_traces", "Traces whose baggage is known.");
    let gauges = Gauges {
        // Not the pipeline's: it may be that of several.
        traces: setup.registry.gauge(name, help, &[("processor", setup.id)]).into(),
        evicted: forgotten("evicted"),
        expired: forgotten("expired"),
    };
    let bounds = Bounds {
        traces: setup.portion(section.count("limit_traces")),
        bytes: setup.portion(section.bytes("limit_mib") as usize),
        ttl: section.duration("ttl"),
    };
    Memory::new(bounds, gauges, Known::weight)
}

impl Inspector for Baggage {
    fn meaning(&self, attribute: &[u8]) -> u16 {
        self.reader.roles.number(view::key_in(attribute))
    }

    fn door(&self) -> Option<Arc<dyn Stateless>> {
        self.door.clone().map(|door| door as Arc<dyn Stateless>)
    }

    fn begin(&mut self, now: Moment) {
        self.memory.each(|memory| memory.expire(now));
        self.reader.begin(now);
        (self.resource, self.captured) = ((usize::MAX, None), None);
    }

    /// Reads one item, and lets it wait for what the batch holds further behind.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits) {
        let (mut carried, mut present) = (Carried::new(), 0);
        for attribute in &item.attributes {
            if let Some(role) = self.reader.roles.at(item.meaning(*attribute)) {
                if let Role::Target(target) = role {
                    present |= 1 << target;
                }
                carried.push((role, item.field(*attribute)));
            }
        }
        let own = match carried.as_slice() {
            [] => None,
            [(Role::Captured, field)] => self.captured(field.bytes(), &carried),
            _ => set(self.reader.item(&carried)),
        };
        let resource = self.resource(item);
        let trace = trace_key(item.trace_id).unwrap_or_default();
        let order = self.order(trace);
        self.nodes.push(Node {
            trace,
            order,
            span: span_key(item.span_id).unwrap_or_default(),
            parent: span_key(item.parent_span_id).unwrap_or_default(),
            place: edits.reserve(item.message),
            present,
            own,
            resource,
            set: None,
            state: State::New,
        });
        if self.nodes.len() >= limits::BAGGAGE_WAITING_ITEMS {
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
#[cfg(test)]
mod window_tests;
