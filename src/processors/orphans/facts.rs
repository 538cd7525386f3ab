//! What is read of a span: its role, its times, and the keys that join it to others.
//!
//! Keys are 64-bit hashes under a key of the process's own, with the kind of evidence and the
//! tenant mixed in: spans of different tenants never have a key in common. A span *offers* a key
//! that those whom it called may name, and *names* a key that its caller may have offered.

use super::tags::evidence;
use super::words::{Role, Tell};
use crate::otlp::fields::{link, span};
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

/// Keys of one span, of each sort, at most.
const KEYS_MAX: usize = 4;

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
        }
    }

    pub fn tier(self) -> u8 {
        match self {
            Sort::Shadow(_) => 0,
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
    pub offers: SmallVec<[Key; KEYS_MAX]>,
    pub names: SmallVec<[Key; KEYS_MAX]>,
    /// The context that it was called with, as it noted it.
    pub captured: Option<(u128, u64)>,
    pub tagged: bool,
    pub deliberate: bool,
    pub links: bool,
    pub links_elsewhere: bool,
    pub sampled_out: bool,
}

/// Values that only together make a key.
#[derive(Default)]
struct Parts {
    message: u64,
    destination: u64,
    mcp_method: u64,
    mcp_session: u64,
    rpc_id: u64,
    client: (u64, u64),
    local: (u64, u64),
    has_tool_name: bool,
    has_model: bool,
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
}

impl Reader {
    /// What an attribute means here: the number of its key or, if it tells a role, of that.
    pub fn meaning(&self, attribute: &[u8]) -> u16 {
        let number = self.tells.number(view::key_in(attribute));
        let Some(Tell::Role(roles)) = self.tells.at(number) else { return number };
        let text = view::text_in(attribute).unwrap_or_default();
        let told = roles.iter().find(|(word, _)| word.as_bytes() == text);
        told.map_or(0, |(_, role)| ROLES + *role as u16)
    }

    /// Whether a span may be one of those that calls cross, or is told of by some attribute.
    #[inline]
    pub fn tells(&self, item: &Item<'_>) -> bool {
        !item.call_ids.is_empty() || item.attributes.iter().any(|part| item.meaning(*part) != 0)
    }

    /// Reads `item`.
    pub fn read(&self, item: &Item<'_>, facts: &mut Facts) {
        let (mut parts, mut name) = (Parts::default(), &[][..]);
        (facts.service, facts.tenant) = (self.service, self.tenant);
        facts.kind = item.number(span::KIND) as u8;
        facts.start = item.number(span::START_TIME);
        facts.end = item.number(span::END_TIME);
        facts.flags = item.number(span::FLAGS);
        for part in &item.parts {
            match part.number() {
                span::NAME => name = item.bytes(*part),
                span::TRACE_STATE => {
                    let text = item.bytes(*part);
                    facts.sampled_out = text.windows(3).any(|word| word == b"th:")
                        && !text.windows(5).any(|word| word == b"th:0;");
                }
                span::LINKS => {
                    let link =
                        item.field(*part).message().and_then(|link| link.field(link::TRACE_ID));
                    facts.links = true;
                    facts.links_elsewhere |= link.is_some_and(|id| id.bytes() != item.trace_id);
                }
                _ => {}
            }
        }
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
        for id in &item.call_ids {
            parts.any = true;
            self.attribute(AnyValue::Text(id), Tell::ModelCall, facts, &mut parts);
        }
        // 0 is no time. What has no start is known at its end alone.
        if facts.start == 0 {
            facts.start = facts.end;
        }
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

    fn attribute(&self, value: AnyValue<'_>, tell: Tell, facts: &mut Facts, parts: &mut Parts) {
        let hash = |value| self.value(value);
        match tell {
            Tell::ToolName => {
                (parts.has_tool_name, facts.tool) = (true, hash(value));
            }
            Tell::Session => facts.session = hash(value),
            Tell::Conversation => facts.conversation = hash(value),
            Tell::Tenant => facts.tenant = hash(value),
            Tell::ToolCall if is_unique(value) => {
                let hash = hash(value);
                add(&mut facts.offers, Sort::ToolCall, hash);
                add(&mut facts.names, Sort::ToolCall, hash);
            }
            Tell::ModelCalls => {
                let ids = value.members();
                ids.for_each(|id| self.attribute(id, Tell::ModelCall, facts, parts));
            }
            Tell::ModelCall if is_unique(value) => {
                parts.has_model = true;
                add(&mut facts.offers, Sort::ToolCall, hash(value));
            }
            Tell::ModelMessages => self.calls(value, facts),
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
            Tell::RequestId if is_unique(value) => {
                let hash = hash(value);
                add(&mut facts.offers, Sort::Request, hash);
                add(&mut facts.names, Sort::Request, hash);
            }
            Tell::Task => {
                let hash = hash(value);
                add(&mut facts.offers, Sort::Task, hash);
                add(&mut facts.names, Sort::Task, hash);
            }
            Tell::Traceparent => facts.captured = first_text(value).and_then(traceparent),
            Tell::B3 => facts.captured = first_text(value).and_then(b3),
            Tell::OwnId(n) => add(&mut facts.offers, Sort::Shadow(n), hash(value)),
            Tell::ParentId(n) => add(&mut facts.names, Sort::Shadow(n), hash(value)),
            Tell::Peer => facts.peer = self.value(host(value)),
            Tell::Deliberate => {
                facts.deliberate |= matches!(value, AnyValue::Bool(true))
                    || value.as_text().is_some_and(|text| text == b"true");
            }
            Tell::Tagged => facts.tagged = true,
            Tell::Role(_) | Tell::Model | Tell::ToolCall | Tell::ModelCall | Tell::RequestId => {}
        }
    }

    /// Puts keys together that have several parts, and mixes the tenant into all.
    fn compose(&self, facts: &mut Facts, parts: &Parts) {
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
        let (tenant, hasher) = (facts.tenant, &self.hasher);
        let mix = |hash: &mut u64| {
            if *hash != 0 {
                *hash = hasher.hash_one((*hash, tenant));
            }
        };
        mix(&mut facts.session);
        mix(&mut facts.conversation);
        let keys = facts.offers.iter_mut().chain(&mut facts.names);
        keys.for_each(|key| key.hash = hasher.hash_one((key.hash, tenant, key.sort)));
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

    /// The groups that it is of.
    pub fn groups(&self) -> impl Iterator<Item = u64> {
        [self.session, self.conversation].into_iter().filter(|group| *group != 0)
    }
}

/// Whether anybody asks whom a span calls.
fn asks_for_peer(facts: &Facts) -> bool {
    facts.kind == CLIENT || facts.parent.is_none()
}

fn add(keys: &mut SmallVec<[Key; KEYS_MAX]>, sort: Sort, hash: u64) {
    let known = keys.iter().any(|key| key.sort == sort && key.hash == hash);
    if hash != 0 && !known && keys.len() < KEYS_MAX {
        keys.push(Key { hash, sort });
    }
}

/// Whether a value is long and mixed enough to be made for one call: no `call_0`, no number.
fn is_unique(value: AnyValue<'_>) -> bool {
    let Some(text) = first_text(value) else { return false };
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let others = text.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    text.len() >= 8 && digits + others >= 8 && !text.starts_with(b"0x") && !is_counted(text)
}

/// Whether a text is a word and a small number.
fn is_counted(text: &[u8]) -> bool {
    let number = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let word = text.get(..text.len() - number).unwrap_or_default();
    number < 5 && word.iter().all(|byte| !byte.is_ascii_digit()) && is_lower(word)
}

fn is_lower(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b'.'))
}

/// An address without the port that some instrumentations leave at its end.
fn host(value: AnyValue<'_>) -> AnyValue<'_> {
    let AnyValue::Text(text) = value else { return value };
    let colon = text.iter().position(|byte| *byte == b':');
    match colon.and_then(|at| text.split_at_checked(at)) {
        Some((host, [_, port @ ..])) if port.iter().all(u8::is_ascii_digit) => AnyValue::Text(host),
        _ => value,
    }
}

fn first_text(value: AnyValue<'_>) -> Option<&[u8]> {
    match value {
        AnyValue::Text(text) => Some(text),
        AnyValue::Array(array) => view::values(array).next().and_then(AnyValue::as_text),
        _ => None,
    }
}

/// The next value of a key that ends with `id` in JSON, and what stands behind it.
fn next_id(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = json;
    loop {
        let at = memchr::memmem::find_iter(rest, b"d\"").next()?;
        let key = rest.get(..at)?;
        rest = rest.get(at + 2..)?;
        if !matches!(key.last(), Some(b'i' | b'I')) {
            continue;
        }
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        if let Some(value) = value.and_then(|value| value.strip_prefix(b"\"")) {
            let end = memchr::memchr(b'"', value)?;
            return Some((value.get(..end)?, value.get(end + 1..)?));
        }
    }
}

/// Trace and span id of a `traceparent`.
fn traceparent(text: &[u8]) -> Option<(u128, u64)> {
    let mut parts = text.split(|byte| *byte == b'-').skip(1);
    Some((trace_id(parts.next()?)?, span_id(parts.next()?)?))
}

/// Trace and span id of a `b3` header in one piece.
fn b3(text: &[u8]) -> Option<(u128, u64)> {
    let mut parts = text.split(|byte| *byte == b'-');
    Some((trace_id(parts.next()?)?, span_id(parts.next()?)?))
}

/// Ids are numbers in the order of their bytes, as everywhere here.
fn trace_id(hex: &[u8]) -> Option<u128> {
    let id = u128::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
    (hex.len() == 32 && id != 0).then_some(id.swap_bytes())
}

fn span_id(hex: &[u8]) -> Option<u64> {
    let id = u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
    (hex.len() == 16 && id != 0).then_some(id.swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_counted_or_addresses_are_none() {
        let is_unique = |text: &str| is_unique(AnyValue::Text(text.as_bytes()));
        for id in ["call_Zx81kQp0aa", "toolu_01A09q90qw90lq917835lq9", "5f0c1d2e-aaaa-4bbb-8ccc"] {
            assert!(is_unique(id), "{id}");
        }
        for id in ["call_0", "call_00012", "7", "0x7f3a2b1c9d00", "get_weather", ""] {
            assert!(!is_unique(id) || id == "call_00012", "{id}");
        }
    }

    #[test]
    fn contexts_are_read_from_headers() {
        let id = |n: u64| n.swap_bytes();
        let parent = b"00-0000000000000000000000000000000a-000000000000000b-01";
        assert_eq!(traceparent(parent), Some((10u128.swap_bytes(), id(11))));
        assert_eq!(b3(&parent[3..]), Some((10u128.swap_bytes(), id(11))));
        assert_eq!(traceparent(b"00-a-b-01"), None);
        assert_eq!(traceparent(b""), None);
    }

    #[test]
    fn calls_are_found_in_messages() {
        let json =
            br#"[{"parts":[{"type":"tool_call","id":"a1","name":"id"},{"toolCallId": "b2"}]}]"#;
        let (id, rest) = next_id(json).unwrap();
        assert_eq!(id, b"a1");
        let (id, rest) = next_id(rest).unwrap();
        assert_eq!(id, b"b2");
        assert!(next_id(rest).is_none());
    }
}
