//! What is read of a span: its role, its times, and the keys that join it to others.
//!
//! Keys are 64-bit hashes under a key of the process's own, with the kind of evidence and the
//! tenant mixed in: spans of different tenants never have a key in common. A span *offers* a key
//! that those whom it called may name, and *names* a key that its caller may have offered.

use super::arguments::{self, Appetite};
use super::ids::{context, first_text, host, is_unique, next_id};
use super::roots::Roots;
use super::tags::evidence;
use super::words::{Role, Tell};
use crate::otlp::fields::{event, link, span};
use crate::otlp::view::{self, AnyValue, Attribute};
use crate::processors::inspect::Item;
use crate::processors::names::Names;
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// Span kinds, by number.
pub const INTERNAL: u8 = 1;
pub const SERVER: u8 = 2;
pub const CLIENT: u8 = 3;
pub const PRODUCER: u8 = 4;
pub const CONSUMER: u8 = 5;

/// Span flags: whether it is known that the parent is in another process, and whether it is.
const HAS_IS_REMOTE: u64 = 0x100;
const IS_REMOTE: u64 = 0x200;

/// Keys of one span, of each sort, as far as they need no memory of their own: most have none.
const KEYS_FEW: usize = 2;

/// Keys at most, and with hashes of calls' arguments.
const KEYS_MAX: usize = 4;
const OFFERS_MAX: usize = 8;

/// Bytes of a model's messages that are searched for ids of calls.
const MESSAGES_MAX: usize = 16 << 10;

/// The first of the numbers by which attributes mean roles.
const ROLES: u16 = 1 << 15;

/// What a key rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    ToolCall,
    Message,
    Mcp,
    Request,
    Task,
    Shadow(u8),
    /// The name of a tool and a hash of its arguments.
    Arguments,
}

impl Sort {
    pub fn evidence(self) -> &'static str {
        match self {
            Sort::ToolCall => evidence::TOOL_CALL_ID,
            Sort::Message => evidence::MESSAGE_ID,
            Sort::Mcp => evidence::MCP_REQUEST_ID,
            Sort::Request => evidence::REQUEST_ID,
            Sort::Task => evidence::TASK_ID,
            Sort::Shadow(_) => evidence::SHADOW_ID,
            Sort::Arguments => evidence::TOOL_ARGUMENTS,
        }
    }

    pub fn tier(self) -> u8 {
        match self {
            Sort::Shadow(_) => 0,
            Sort::Arguments => 2,
            _ => 1,
        }
    }
}

/// A key and its sort.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub hash: u64,
    pub sort: Sort,
}

/// What is known of a span.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub trace: u128,
    pub span: u64,
    /// `None` for a root.
    pub parent: Option<u64>,
    pub start: u64,
    pub end: u64,
    pub kind: u8,
    pub role: Role,
    pub flags: u64,
    /// Hashes of service, and of service, kind and name.
    pub service: u64,
    pub operation: u64,
    pub tenant: u64,
    /// Hash of the tool's name; 0 for none, as for the next.
    pub tool: u64,
    pub session: u64,
    pub conversation: u64,
    /// Whom it calls, if it is a client.
    pub peer: u64,
    pub offers: SmallVec<[Key; KEYS_FEW]>,
    pub names: SmallVec<[Key; KEYS_FEW]>,
    /// Of a root that is a tool with arguments: the key that its caller offers.
    pub asks: u64,
    /// The context that it was called with, as it noted it.
    pub captured: Option<Box<(u128, u64)>>,
    pub tagged: bool,
    pub deliberate: bool,
    pub links: bool,
    pub links_elsewhere: bool,
    pub sampled_out: bool,
}

/// Values that only together make a key.
#[derive(Default)]
struct Parts<'a> {
    message: u64,
    destination: u64,
    mcp_method: u64,
    mcp_session: u64,
    rpc_id: u64,
    client: (u64, u64),
    local: (u64, u64),
    has_tool_name: bool,
    has_model: bool,
    /// Of a tool, and of the calls in a model's answer.
    tool_name: &'a [u8],
    arguments: Option<AnyValue<'a>>,
    messages: &'a [u8],
    call_names: Vec<&'a [u8]>,
    call_arguments: Vec<AnyValue<'a>>,
    /// Whether there is anything else.
    any: bool,
}

/// Reads facts, with what stands around the spans at hand.
pub struct Reader {
    pub tells: Names<Tell>,
    pub hasher: RandomState,
    pub service: u64,
    /// The resource's tenant.
    pub tenant: u64,
    pub appetite: Appetite,
    pub roots: Roots,
}

impl Reader {
    pub fn new(tells: Names<Tell>, roots: Roots, hasher: RandomState) -> Reader {
        Reader { tells, hasher, service: 0, tenant: 0, appetite: Appetite::default(), roots }
    }

    /// What an attribute means here: the number of its key or, if it tells a role, of that.
    pub fn meaning(&self, attribute: &[u8]) -> u16 {
        let number = self.tells.number(view::key_in(attribute));
        let Some(Tell::Role(roles)) = self.tells.at(number) else { return number };
        let text = view::text_in(attribute).unwrap_or_default();
        let told = roles.iter().find(|(word, _)| word.as_bytes() == text);
        told.map_or(0, |(_, role)| ROLES + *role as u16)
    }

    /// The role of a span, as far as one attribute tells it.
    pub fn role(&self, item: &Item<'_>) -> Role {
        let meanings = item.attributes.iter().map(|attribute| item.meaning(*attribute));
        let mut roles = meanings.filter_map(|it| it.checked_sub(ROLES).and_then(Role::of));
        roles.next().unwrap_or_default()
    }

    /// Whether a span may be one of those that calls cross, or is told of by some attribute.
    #[inline]
    pub fn tells(&self, item: &Item<'_>) -> bool {
        !item.call_ids.is_empty() || item.attributes.iter().any(|part| item.meaning(*part) != 0)
    }

    /// Reads `item`.
    pub fn read(&mut self, item: &Item<'_>, facts: &mut Facts) {
        let mut parts = Parts::default();
        (facts.service, facts.tenant) = (self.service, self.tenant);
        facts.kind = item.number(span::KIND) as u8;
        facts.start = item.number(span::START_TIME);
        facts.end = item.number(span::END_TIME);
        facts.flags = item.number(span::FLAGS);
        let name = read_parts(item, facts);
        for attribute in &item.attributes {
            let meaning = item.meaning(*attribute);
            if let Some(role) = meaning.checked_sub(ROLES).and_then(Role::of) {
                if facts.role == Role::None || role == Role::Tool {
                    facts.role = role;
                }
                continue;
            }
            let Some(tell) = self.tells.at(meaning) else { continue };
            // Of these nobody need read a value, and few spans have others.
            if matches!(tell, Tell::Model) {
                parts.has_model = true;
                continue;
            }
            if matches!(tell, Tell::Peer) && !asks_for_peer(facts) {
                continue;
            }
            let bytes = item.bytes(*attribute);
            let value = match view::text_in(bytes) {
                Some(text) => AnyValue::Text(text),
                None => match Attribute::of(item.field(*attribute)) {
                    Some(attribute) => attribute.value,
                    None => continue,
                },
            };
            parts.any = true;
            self.attribute(value, tell, facts, &mut parts);
        }
        if facts.parent.is_none() && facts.captured.is_none() {
            facts.captured = self.in_events(item).map(Box::new);
        }
        for id in &item.call_ids {
            parts.any = true;
            self.attribute(AnyValue::Text(id), Tell::ModelCall, facts, &mut parts);
        }
        // 0 is no time. What has no start is known at its end alone.
        if facts.start == 0 {
            facts.start = facts.end;
        }
        facts.deliberate |= facts.parent.is_none() && self.roots.has(name);
        facts.operation = self.hasher.hash_one((facts.service, facts.kind, name));
        if facts.role == Role::None && parts.has_tool_name {
            facts.role = Role::Tool;
        }
        if facts.role == Role::None && parts.has_model {
            facts.role = Role::Llm;
        }
        if parts.any {
            self.compose(facts, &parts);
        }
    }

    /// The context that an event of a span notes.
    fn in_events(&self, item: &Item<'_>) -> Option<(u128, u64)> {
        let events = item.parts.iter().filter(|part| part.number() == span::EVENTS);
        let events = events.filter_map(|part| item.field(*part).message());
        let mut attributes = events.flat_map(|one| view::attributes(one, event::ATTRIBUTES));
        attributes.find_map(|attribute| match self.tells.find(attribute.key)? {
            Tell::Context => first_text(attribute.value).and_then(context),
            _ => None,
        })
    }

    fn attribute<'a>(
        &self,
        value: AnyValue<'a>,
        tell: Tell,
        facts: &mut Facts,
        parts: &mut Parts<'a>,
    ) {
        let hash = |value| self.value(value);
        match tell {
            Tell::ToolName => {
                (parts.has_tool_name, facts.tool) = (true, hash(value));
                parts.tool_name = value.as_text().unwrap_or_default();
            }
            Tell::CalledTool | Tell::Arguments => content(value, tell, parts),
            Tell::CallName | Tell::CallArguments if self.appetite.is_there() => {
                content(value, tell, parts);
            }
            Tell::Session => facts.session = hash(value),
            Tell::Conversation => facts.conversation = hash(value),
            Tell::Tenant => facts.tenant = hash(value),
            Tell::ToolCall if is_unique(value) => add_both(facts, Sort::ToolCall, hash(value)),
            Tell::ModelCalls => {
                let ids = value.members();
                ids.for_each(|id| self.attribute(id, Tell::ModelCall, facts, parts));
            }
            Tell::ModelCall if is_unique(value) => {
                parts.has_model = true;
                add(&mut facts.offers, Sort::ToolCall, hash(value));
            }
            Tell::ModelMessages => {
                parts.messages = value.as_text().unwrap_or_default();
                self.calls(value, facts);
            }
            Tell::MessageId => parts.message = hash(value),
            Tell::Destination => parts.destination = hash(value),
            Tell::McpMethod => {
                parts.mcp_method = hash(value);
                if value.as_text() == Some(b"tools/call") && facts.role == Role::None {
                    facts.role = Role::Tool;
                }
            }
            Tell::McpSession => parts.mcp_session = hash(value),
            Tell::RpcId => parts.rpc_id = hash(value),
            Tell::ClientAddress => parts.client.0 = hash(value),
            Tell::ClientPort => parts.client.1 = hash(value),
            Tell::LocalAddress => parts.local.0 = hash(value),
            Tell::LocalPort => parts.local.1 = hash(value),
            Tell::RequestId if is_unique(value) => add_both(facts, Sort::Request, hash(value)),
            Tell::Task => add_both(facts, Sort::Task, hash(value)),
            Tell::Context => facts.captured = first_text(value).and_then(context).map(Box::new),
            Tell::OwnId(n) => add(&mut facts.offers, Sort::Shadow(n), hash(value)),
            Tell::ParentId(n) => add(&mut facts.names, Sort::Shadow(n), hash(value)),
            Tell::Peer => facts.peer = self.value(host(value)),
            Tell::Deliberate => {
                facts.deliberate |= matches!(value, AnyValue::Bool(true))
                    || value.as_text().is_some_and(|text| text == b"true");
            }
            Tell::Tagged => facts.tagged = true,
            Tell::Role(_) | Tell::Model | Tell::ToolCall | Tell::ModelCall | Tell::RequestId => {}
            Tell::CallName | Tell::CallArguments => {}
        }
    }

    /// Puts keys together that have several parts, and mixes the tenant into all.
    fn compose(&mut self, facts: &mut Facts, parts: &Parts<'_>) {
        if parts.message != 0 {
            let key = self.hasher.hash_one((parts.message, parts.destination));
            let keys = if facts.kind == CONSUMER { &mut facts.names } else { &mut facts.offers };
            add(keys, Sort::Message, key);
        }
        let pair = if facts.kind == SERVER { parts.client } else { parts.local };
        let scope = match parts.mcp_session {
            0 if pair.1 != 0 => pair.1,
            session => session,
        };
        if parts.rpc_id != 0 && scope != 0 {
            let key = self.hasher.hash_one((parts.rpc_id, scope, parts.mcp_method));
            let keys = if facts.kind == SERVER { &mut facts.names } else { &mut facts.offers };
            add(keys, Sort::Mcp, key);
        }
        if parts.rpc_id != 0 && parts.mcp_method != 0 && scope == 0 && facts.peer == 0 {
            // Ids of requests begin anew with each connection: they tell whom it may be, no more.
            facts.peer = self.hasher.hash_one((parts.rpc_id, parts.mcp_method)).max(1);
        }
        match facts.role {
            Role::Llm => self.arguments(facts, parts),
            Role::Tool if facts.parent.is_none() => self.asks(facts, parts),
            _ => {}
        }
        let (tenant, hasher) = (facts.tenant, &self.hasher);
        let mix = |hash: &mut u64| {
            if *hash != 0 {
                *hash = hasher.hash_one((*hash, tenant));
            }
        };
        mix(&mut facts.session);
        mix(&mut facts.conversation);
        if facts.asks != 0 {
            facts.asks = hasher.hash_one((facts.asks, tenant, Sort::Arguments));
        }
        let keys = facts.offers.iter_mut().chain(&mut facts.names);
        keys.for_each(|key| key.hash = hasher.hash_one((key.hash, tenant, key.sort)));
    }

    /// Offers the arguments of the calls in a model's answer, while anybody asks for them.
    fn arguments(&mut self, facts: &mut Facts, parts: &Parts<'_>) {
        let none = parts.messages.is_empty() && parts.call_arguments.is_empty();
        if none || !self.appetite.eat() {
            return;
        }
        let pairs = parts.call_names.iter().zip(&parts.call_arguments);
        let pairs = pairs.map(|(name, value)| arguments::hash(&self.hasher, name, *value));
        let told = arguments::in_messages(&self.hasher, parts.messages, OFFERS_MAX);
        for hash in pairs.chain(told).filter(|hash| *hash != 0) {
            let key = Key { hash, sort: Sort::Arguments };
            let known = facts.offers.iter().any(|it| (it.sort, it.hash) == (key.sort, hash));
            if facts.offers.len() < OFFERS_MAX && !known {
                facts.offers.push(key);
            }
        }
    }

    /// Asks for who called a tool with its arguments.
    fn asks(&mut self, facts: &mut Facts, parts: &Parts<'_>) {
        let Some(value) = parts.arguments else { return };
        facts.asks = arguments::hash(&self.hasher, parts.tool_name, value);
        if facts.asks != 0 {
            self.appetite.wake();
        }
    }

    /// The calls in a model's messages: whatever stands as `"id"` or `"toolCallId"` there.
    fn calls(&self, messages: AnyValue<'_>, facts: &mut Facts) {
        let Some(text) = messages.as_text() else { return };
        let mut rest = text.get(..text.len().min(MESSAGES_MAX)).unwrap_or_default();
        while let Some((id, behind)) = next_id(rest) {
            if is_unique(AnyValue::Text(id)) {
                add(&mut facts.offers, Sort::ToolCall, self.value(AnyValue::Text(id)));
            }
            rest = behind;
        }
    }

    /// The hash of a value; numbers count as their digits. 0 for what is no id.
    pub fn value(&self, value: AnyValue<'_>) -> u64 {
        match value {
            AnyValue::Text(b"") | AnyValue::Bytes(b"") => 0,
            AnyValue::Text(bytes) | AnyValue::Bytes(bytes) => self.hasher.hash_one(bytes).max(1),
            AnyValue::Int(n) => {
                let mut digits = SmallVec::<[u8; 20]>::new();
                let mut rest = n.unsigned_abs();
                while rest > 0 || digits.is_empty() {
                    digits.push(b'0' + (rest % 10) as u8);
                    rest /= 10;
                }
                if n < 0 {
                    digits.push(b'-');
                }
                digits.reverse();
                self.hasher.hash_one(&digits[..]).max(1)
            }
            AnyValue::Array(array) => view::values(array).next().map_or(0, |first| match first {
                AnyValue::Array(_) => 0,
                first => self.value(first),
            }),
            _ => 0,
        }
    }
}

impl Facts {
    /// Where the parent must be, by the flags: whether it is known, and whether in another process.
    pub fn remote(&self) -> Option<bool> {
        (self.flags & HAS_IS_REMOTE != 0).then_some(self.flags & IS_REMOTE != 0)
    }

    /// Whether calls cross it, so that others may have it for a parent.
    pub fn is_boundary(&self) -> bool {
        self.role != Role::None
            || matches!(self.kind, SERVER | CLIENT | PRODUCER | CONSUMER)
            || !self.offers.is_empty()
    }

    /// Whether it is of any group.
    pub fn has_group(&self) -> bool {
        self.groups().next().is_some()
    }

    /// The groups that it is of.
    pub fn groups(&self) -> impl Iterator<Item = u64> {
        [self.session, self.conversation].into_iter().filter(|group| *group != 0)
    }
}

/// Reads what is no attribute; yields the name.
#[inline]
fn read_parts<'a>(item: &Item<'a>, facts: &mut Facts) -> &'a [u8] {
    let mut name = &[][..];
    for part in &item.parts {
        match part.number() {
            span::NAME => name = item.bytes(*part),
            span::TRACE_STATE => {
                let text = item.bytes(*part);
                facts.sampled_out = text.windows(3).any(|word| word == b"th:")
                    && !text.windows(5).any(|word| word == b"th:0;");
            }
            span::LINKS => {
                let link = item.field(*part).message().and_then(|link| link.field(link::TRACE_ID));
                facts.links = true;
                facts.links_elsewhere |= link.is_some_and(|id| id.bytes() != item.trace_id);
            }
            _ => {}
        }
    }
    name
}

/// Whether anybody asks whom a span calls.
fn asks_for_peer(facts: &Facts) -> bool {
    facts.kind == CLIENT || facts.parent.is_none()
}

/// Notes a name or arguments of a call.
fn content<'a>(value: AnyValue<'a>, tell: Tell, parts: &mut Parts<'a>) {
    match tell {
        Tell::CalledTool => parts.tool_name = value.as_text().unwrap_or_default(),
        Tell::Arguments => parts.arguments = Some(value),
        Tell::CallName => parts.call_names.extend(value.as_text()),
        _ => parts.call_arguments.push(value),
    }
}

/// A key that the span both offers and names.
fn add_both(facts: &mut Facts, sort: Sort, hash: u64) {
    add(&mut facts.offers, sort, hash);
    add(&mut facts.names, sort, hash);
}

fn add(keys: &mut SmallVec<[Key; KEYS_FEW]>, sort: Sort, hash: u64) {
    let known = keys.iter().any(|key| key.sort == sort && key.hash == hash);
    if hash != 0 && !known && keys.len() < KEYS_MAX {
        keys.push(Key { hash, sort });
    }
}
