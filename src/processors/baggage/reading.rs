//! What an item says of its request: which attributes hold values, and under which key.

use super::values::Values;
use super::w3c::{self, Member, Rejected};
use crate::config::Section;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::fields::any_value;
use crate::otlp::view::{self, AnyValue, Attribute};
use crate::otlp::wire::{Field, put_varint_field};
use crate::otlp::write::put_text_value;
use crate::processors::Setup;
use crate::processors::names::{Names, Pattern};
use crate::processors::places::Striped;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// Where values come from, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Attributes that an application or its SDK set.
    Attributes,
    /// W3C baggage as it was captured.
    Baggage,
    /// Attributes of the resource, for items that have no value otherwise.
    Resource,
    /// Of these only what headers of its request brought there; see [`super::door`].
    Metadata,
}

impl Source {
    pub const NAMES: [(&str, Source); 4] = [
        ("attributes", Source::Attributes),
        ("baggage", Source::Baggage),
        ("resource", Source::Resource),
        ("metadata", Source::Metadata),
    ];

    pub fn named(name: &str) -> Option<Source> {
        Source::NAMES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
    }
}

/// Attributes that hold baggage as it was sent.
pub const CAPTURED: &[&str] = &[
    "baggage",
    "http.request.header.baggage",
    "rpc.request.metadata.baggage",
    "rpc.grpc.request.metadata.baggage",
    "messaging.header.baggage",
];

/// What stands before any key when baggage processors and frameworks write it.
pub const PREFIXES: &[&str] =
    &["", "baggage.", "traceloop.association.properties.", "ai.telemetry.metadata."];

/// What frameworks call a key. Langfuse's names with `_` are baggage keys too.
pub const DIALECTS: &[(&str, &[&str])] = &[
    (
        "user.id",
        &[
            "langfuse.user.id",
            "langfuse_user_id",
            "traceloop.association.properties.user_id",
            "ai.telemetry.metadata.userId",
            "langsmith.metadata.user_id",
        ],
    ),
    (
        "session.id",
        &[
            "langfuse.session.id",
            "langfuse_session_id",
            "traceloop.association.properties.session_id",
            "ai.telemetry.metadata.sessionId",
            "langsmith.metadata.session_id",
            "gcp.vertex.agent.session_id",
        ],
    ),
    (
        "gen_ai.conversation.id",
        &["langsmith.metadata.conversation_id", "langsmith.metadata.thread_id"],
    ),
];

/// What an attribute key stands for; targets by number.
#[derive(Clone, Copy)]
pub enum Role {
    /// Holds baggage.
    Captured,
    /// Is where values are promoted to.
    Target(u8),
    /// Is a value under another name.
    Value(u8),
}

/// Attributes of an item that carry values.
pub type Carried<'a> = SmallVec<[(Role, Field<'a>); 4]>;

/// What was not taken, by reason.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Refused {
    pub members: Rejected,
    pub too_long: usize,
    /// Distinct values beyond the bound.
    pub distinct: usize,
}

/// Reads values.
pub struct Reader {
    sources: Vec<Source>,
    pub roles: Names<Role>,
    /// The number of a baggage key.
    pub keys: Arc<Names<u8>>,
    /// Names of the attributes, by number.
    pub targets: Arc<Vec<String>>,
    max_value_bytes: usize,
    plus_as_space: bool,
    distinct: Arc<Distinct>,
    pub refused: Refused,
    /// A value on its way.
    value: Vec<u8>,
}

impl Reader {
    pub fn new(section: &Section, setup: &Setup<'_>) -> Reader {
        let mut targets: Vec<String> = vec![];
        let mut numbered: Vec<(u8, &str)> = vec![];
        for key in section.list("keys").iter().take(limits::BAGGAGE_KEYS) {
            let target = target(section, key);
            let number = targets.iter().position(|known| *known == target);
            let number = number.unwrap_or_else(|| {
                targets.push(target);
                targets.len() - 1
            });
            numbered.push((number as u8, key));
        }
        let exact = |name: &str, role| (Pattern::exact(name), role);
        let mut roles: Vec<_> = CAPTURED.iter().map(|name| exact(name, Role::Captured)).collect();
        roles.extend((0..).zip(&targets).map(|(n, target)| exact(target, Role::Target(n))));
        let mut keys = vec![];
        for &(n, key) in &numbered {
            let prefixed =
                PREFIXES.iter().map(|prefix| exact(&format!("{prefix}{key}"), Role::Value(n)));
            roles.extend(prefixed);
            let dialects = DIALECTS.iter().filter(|(of, _)| *of == key);
            let names = dialects.flat_map(|(_, names)| names.iter().copied());
            roles.extend(names.clone().map(|name| exact(name, Role::Value(n))));
            keys.extend([key].into_iter().chain(names).map(|name| (Pattern::exact(name), n)));
        }
        Reader {
            sources: section
                .list("sources")
                .iter()
                .filter_map(|name| Source::named(name))
                .collect(),
            roles: Names::new(roles),
            keys: Arc::new(Names::new(keys)),
            targets: Arc::new(targets),
            max_value_bytes: section.count("max_value_bytes"),
            plus_as_space: section.bool("plus_as_space"),
            distinct: setup.shared(|| Distinct::new(section, setup)),
            refused: Refused::default(),
            value: vec![],
        }
    }

    /// Whether resources are looked at.
    pub fn reads_resources(&self) -> bool {
        self.reads(Source::Resource) || self.reads(Source::Metadata)
    }

    pub fn reads(&self, source: Source) -> bool {
        self.sources.contains(&source)
    }

    /// Time has come to `now`.
    pub fn begin(&mut self, now: Moment) {
        self.distinct.begin(now);
    }

    /// The values that an item carries.
    pub fn item(&mut self, carried: &Carried<'_>) -> Values {
        let mut values = Values::default();
        for n in 0..self.sources.len() {
            match self.sources.get(n) {
                Some(Source::Attributes) => self.attributes(carried, &mut values),
                Some(Source::Baggage) => self.captured(carried, &mut values),
                Some(Source::Resource | Source::Metadata) | None => {}
            }
        }
        values
    }

    /// The values in the attributes of a resource.
    pub fn resource<'a>(&mut self, fields: impl Iterator<Item = Field<'a>>) -> Values {
        let role = |field: Field<'a>| Some((self.roles.find(view::key(&field))?, field));
        let all = self.reads(Source::Resource);
        let reads = |(role, _): &(Role, Field<'a>)| all || matches!(role, Role::Target(_));
        let carried: Carried<'a> = fields.filter_map(role).filter(reads).collect();
        let mut values = Values::default();
        self.attributes(&carried, &mut values);
        values
    }

    /// Takes attributes: those of the promoted name first.
    fn attributes(&mut self, carried: &Carried<'_>, values: &mut Values) {
        for first in [true, false] {
            for (role, field) in carried {
                let number = match role {
                    Role::Target(n) if first => *n,
                    Role::Value(n) if !first => *n,
                    _ => continue,
                };
                self.offer(number, value(*field), values);
            }
        }
    }

    /// Takes W3C baggage.
    fn captured(&mut self, carried: &Carried<'_>, values: &mut Values) {
        let mut members: SmallVec<[(u8, Member<'_>); 8]> = SmallVec::new();
        for (_, field) in carried.iter().filter(|(role, _)| matches!(role, Role::Captured)) {
            match value(*field) {
                AnyValue::Text(text) => self.members(text, &mut members),
                AnyValue::Array(array) => {
                    let texts = view::values(array).take(limits::BAGGAGE_MEMBERS);
                    texts.filter_map(AnyValue::as_text).for_each(|t| self.members(t, &mut members));
                }
                _ => {}
            }
        }
        for (number, member) in members {
            let mut text = vec![];
            if member.decode(self.plus_as_space, &mut text) {
                self.offer(number, AnyValue::Text(&text), values);
            } else {
                self.refused.members.malformed += 1;
            }
        }
    }

    /// Collects the members with listed keys; the last of each key counts.
    fn members<'a>(&mut self, text: &'a [u8], members: &mut SmallVec<[(u8, Member<'a>); 8]>) {
        for member in w3c::members(text, &mut self.refused.members) {
            if let Some(key) = self.keys.find(member.key) {
                match members.iter_mut().find(|(k, _)| *k == key) {
                    Some(earlier) => earlier.1 = member,
                    None => members.push((key, member)),
                }
            }
        }
    }

    /// Takes `value` for the target `number` if it is an identifier, short enough, and not one
    /// distinct value too many.
    fn offer(&mut self, number: u8, value: AnyValue<'_>, values: &mut Values) {
        if values.mask() & 1 << number != 0 {
            return;
        }
        self.value.clear();
        match value {
            AnyValue::Text(text) if text.len() > self.max_value_bytes => {
                self.refused.too_long += 1;
                return;
            }
            AnyValue::Text(text) if text.iter().any(u8::is_ascii_control) => {
                self.refused.members.malformed += 1;
                return;
            }
            AnyValue::Text(text) if !text.is_empty() => put_text_value(&mut self.value, text),
            AnyValue::Int(n) => put_varint_field(&mut self.value, any_value::INT, n as u64),
            _ => return,
        }
        if !self.distinct.admits(number, &self.value) {
            self.refused.distinct += 1;
            return;
        }
        let name = self.targets.get(usize::from(number)).map_or("", String::as_str);
        values.offer(number, name.as_bytes(), &self.value);
    }
}

/// The attribute that a key becomes.
pub fn target(section: &Section, key: &str) -> String {
    let named = section.map("targets").iter().find(|(of, _)| of == key);
    format!("{}{}", section.text("prefix"), named.map_or(key, |(_, name)| name.as_str()))
}

fn value(field: Field<'_>) -> AnyValue<'_> {
    Attribute::of(field).map_or(AnyValue::Empty, |attribute| attribute.value)
}

/// Values from which on the guard is cut into stripes: of so many each gets about as many.
const STRIPED_VALUES: usize = 1 << 16;

/// How many different values there were lately: a guard against identifiers that are none. One for
/// all shards, since the same value may come with any trace.
struct Distinct {
    stripes: Striped<Seen>,
    hasher: RandomState,
}

struct Seen {
    hashes: HashSet<u64, RandomState>,
    limit: usize,
    /// Time after which it starts anew.
    ttl: Duration,
    since: Duration,
}

impl Distinct {
    fn new(section: &Section, setup: &Setup<'_>) -> Distinct {
        let (limit, ttl) = (section.count("limit_values"), section.duration("ttl"));
        let stripes = if limit < STRIPED_VALUES { 1 } else { setup.shards };
        let limit = limit.div_ceil(stripes.max(1));
        let seen = || Seen { hashes: HashSet::default(), limit, ttl, since: Duration::ZERO };
        Distinct { stripes: Striped::new(stripes, seen), hasher: RandomState::default() }
    }

    fn begin(&self, now: Moment) {
        self.stripes.each(|seen| {
            if now.monotonic.saturating_sub(seen.since) >= seen.ttl {
                seen.hashes = HashSet::default();
                seen.since = now.monotonic;
            }
        });
    }

    fn admits(&self, number: u8, value: &[u8]) -> bool {
        let hash = self.hasher.hash_one((number, value));
        let mut seen = self.stripes.lock(u128::from(hash));
        if seen.hashes.len() < seen.limit {
            seen.hashes.insert(hash);
            return true;
        }
        seen.hashes.contains(&hash)
    }
}
