//! A text notation of requests, one item per line, for humans, tests and golden files.
//!
//! ```text
//! resource service.name="planner" k=1
//! scope "openai_v2" version="1"
//! span 1/a1 parent=b2 "chat gpt-4o" kind=client 0..900ms status=error:"boom" n=523 list=["a",1]
//!   event "gen_ai.content.prompt" @5ms sensitive=true
//!   link 2/b1 k="v"
//! log 1/a1 info "body text" @5ms event_name="x" k={"in":null}
//! ```
//!
//! A line is a noun, then in any order its fields (reserved bare words, `kind=client`) and its
//! attributes (`key=value`; a key is quoted if it is no plain word or a field of the line has its
//! name). `print` writes fields first. `resource -` and `scope -` say that there is none; both
//! lines may be left out before the first item. `#` starts a comment.
//!
//! - Ids are hexadecimal without leading zeros, padded to 16 and 8 bytes; `x0102` is an id of
//!   another length, `-` none.
//! - Times are offsets from [`BASE`] in `s`, `ms`, `us`, `ns`; others are `unix:` and nanoseconds,
//!   `-` is 0.
//! - Values: `null`, `true`, integers, doubles (with a dot or an exponent, `NaN`, `inf`), text
//!   with JSON's escapes, bytes `0x0a`, arrays and maps as in JSON.
//!
//! `parse(print(x))` means the same as `x` in all that views can see. Absent deliberately: metrics
//! (their names are comments), entity references, unknown fields (a comment names them), the
//! payload of NaNs, and the difference between no value and an empty one.

mod cursor;
mod parse;

pub use parse::parse;

use super::fields::{event, link, log_record, resource, resource_group, scope, scope_group};
use super::fields::{span, status};
use super::schema::{self, LOGS, TRACES};
use super::view::{self, AnyValue, Attribute, LogRecord, Request, ResourceGroup, ScopeGroup, Span};
use super::wire::{Field, Message};
use std::fmt::Write;

/// The moment that times are offsets from, in nanoseconds since the Unix epoch: 2026-05-28
/// 20:26:40 UTC.
pub const BASE: u64 = 1_780_000_000_000_000_000;

/// Times up to this far behind [`BASE`] are written as offsets, in nanoseconds: a day.
const OFFSET_MAX: u64 = 86_400_000_000_000;

const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];
/// Each stands for four severity numbers, the first for 1 to 4: `info`, `info2`, ...
const SEVERITIES: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

/// Words that are fields of a line and not attributes, by the line's noun.
fn reserved(noun: &str) -> &'static [&'static str] {
    match noun {
        "resource" => &["dropped_attributes", "schema_url"],
        "scope" => &["version", "dropped_attributes", "schema_url"],
        "span" => &[
            "parent",
            "kind",
            "trace_state",
            "flags",
            "status",
            "dropped_attributes",
            "dropped_events",
            "dropped_links",
        ],
        "event" => &["dropped_attributes"],
        "link" => &["trace_state", "flags", "dropped_attributes"],
        "log" => {
            &["severity_text", "body", "event_name", "observed", "flags", "dropped_attributes"]
        }
        _ => &[],
    }
}

/// The checked request `bytes` of type `message` ([`TRACES`], [`LOGS`] or
/// [`METRICS`](schema::METRICS)) in this notation.
pub fn print(message: &'static schema::Message, bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in Request::new(bytes).resource_groups() {
        put_resource(&mut out, group);
        for scope_group in group.scope_groups() {
            put_scope(&mut out, scope_group);
            if std::ptr::eq(message, &TRACES) {
                scope_group.spans().for_each(|span| put_span(&mut out, span));
            } else if std::ptr::eq(message, &LOGS) {
                scope_group.log_records().for_each(|log| put_log(&mut out, log));
            } else {
                for metric in scope_group.0.messages(scope_group::ITEMS) {
                    out.push_str("# metric ");
                    put_text(&mut out, bytes_of(metric, 1));
                    out.push('\n');
                }
            }
        }
    }
    out
}

fn put_resource(out: &mut String, group: ResourceGroup<'_>) {
    out.push_str("resource");
    match group.resource() {
        Some(resource) => {
            put_count(out, "dropped_attributes", resource, resource::DROPPED_ATTRIBUTES_COUNT);
            put_string(out, "schema_url", group.0, resource_group::SCHEMA_URL);
            put_attributes(out, "resource", group.attributes());
        }
        None => {
            out.push_str(" -");
            put_string(out, "schema_url", group.0, resource_group::SCHEMA_URL);
        }
    }
    end_line(out, &[(Some(group.0), &[1, 2, 3]), (group.resource(), &[1, 2])]);
}

fn put_scope(out: &mut String, group: ScopeGroup<'_>) {
    out.push_str("scope");
    match group.scope() {
        Some(scope) => {
            put_name(out, group.name());
            put_string(out, "version", scope, scope::VERSION);
            put_count(out, "dropped_attributes", scope, scope::DROPPED_ATTRIBUTES_COUNT);
            put_string(out, "schema_url", group.0, scope_group::SCHEMA_URL);
            put_attributes(out, "scope", group.attributes());
        }
        None => {
            out.push_str(" -");
            put_string(out, "schema_url", group.0, scope_group::SCHEMA_URL);
        }
    }
    end_line(out, &[(Some(group.0), &[1, 2, 3]), (group.scope(), &[1, 2, 3, 4])]);
}

fn put_span(out: &mut String, span: Span<'_>) {
    out.push_str("span ");
    put_ids(out, span.trace_id(), span.span_id());
    if !span.parent_span_id().is_empty() {
        out.push_str(" parent=");
        put_id(out, span.parent_span_id(), 8);
    }
    put_name(out, span.name());
    if span.kind() != 0 {
        out.push_str(" kind=");
        put_word(out, &KINDS, span.kind());
    }
    if (span.start_time(), span.end_time()) != (0, 0) {
        out.push(' ');
        put_time(out, span.start_time());
        out.push_str("..");
        put_time(out, span.end_time());
    }
    put_string(out, "trace_state", span.0, span::TRACE_STATE);
    put_flags(out, span.flags());
    let status = span.0.field(span::STATUS).and_then(Field::message);
    if status.is_some() {
        out.push_str(" status=");
        put_word(out, &STATUSES, span.status_code());
        if !span.status_message().is_empty() {
            out.push(':');
            put_text(out, span.status_message());
        }
    }
    put_count(out, "dropped_attributes", span.0, span::DROPPED_ATTRIBUTES_COUNT);
    put_count(out, "dropped_events", span.0, span::DROPPED_EVENTS_COUNT);
    put_count(out, "dropped_links", span.0, span::DROPPED_LINKS_COUNT);
    put_attributes(out, "span", span.attributes());
    let shown = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    end_line(out, &[(Some(span.0), &shown), (status, &[status::MESSAGE, status::CODE])]);
    for event in span.events() {
        out.push_str("  event");
        put_name(out, event.name());
        put_at(out, event.time());
        put_count(out, "dropped_attributes", event.0, event::DROPPED_ATTRIBUTES_COUNT);
        put_attributes(out, "event", event.attributes());
        end_line(out, &[(Some(event.0), &[1, 2, 3, 4])]);
    }
    for link in span.links() {
        out.push_str("  link ");
        put_ids(out, bytes_of(link, link::TRACE_ID), bytes_of(link, link::SPAN_ID));
        put_string(out, "trace_state", link, link::TRACE_STATE);
        put_flags(out, number_of(link, link::FLAGS));
        put_count(out, "dropped_attributes", link, link::DROPPED_ATTRIBUTES_COUNT);
        put_attributes(out, "link", view::attributes(link, link::ATTRIBUTES));
        end_line(out, &[(Some(link), &[1, 2, 3, 4, 5, 6])]);
    }
}

fn put_log(out: &mut String, log: LogRecord<'_>) {
    out.push_str("log ");
    put_ids(out, log.trace_id(), log.span_id());
    let severity = number_of(log.0, log_record::SEVERITY_NUMBER);
    if severity != 0 {
        out.push(' ');
        match severity.checked_sub(1).and_then(|s| SEVERITIES.get((s / 4) as usize)) {
            Some(word) if severity % 4 == 1 => out.push_str(word),
            Some(word) => drop(write!(out, "{word}{}", (severity - 1) % 4 + 1)),
            None => drop(write!(out, "severity{}", severity as i32)),
        }
    }
    if log.0.field(log_record::BODY).is_some() {
        match log.body() {
            AnyValue::Text(text) => {
                out.push(' ');
                put_text(out, text);
            }
            body => {
                out.push_str(" body=");
                put_value(out, body);
            }
        }
    }
    put_at(out, log.time());
    let observed = number_of(log.0, log_record::OBSERVED_TIME);
    if observed != 0 {
        out.push_str(" observed=");
        put_time(out, observed);
    }
    put_string(out, "severity_text", log.0, log_record::SEVERITY_TEXT);
    put_string(out, "event_name", log.0, log_record::EVENT_NAME);
    put_flags(out, number_of(log.0, log_record::FLAGS));
    put_count(out, "dropped_attributes", log.0, log_record::DROPPED_ATTRIBUTES_COUNT);
    put_attributes(out, "log", log.attributes());
    end_line(out, &[(Some(log.0), &[1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12])]);
}

fn bytes_of(message: Message<'_>, number: u32) -> &[u8] {
    message.field(number).map(Field::bytes).unwrap_or_default()
}

fn number_of(message: Message<'_>, number: u32) -> u64 {
    message.field(number).map(Field::number_value).unwrap_or_default()
}

fn put_ids(out: &mut String, trace_id: &[u8], span_id: &[u8]) {
    put_id(out, trace_id, 16);
    out.push('/');
    put_id(out, span_id, 8);
}

/// Appends an id whose usual length is `len` bytes.
pub fn put_id(out: &mut String, id: &[u8], len: usize) {
    if id.is_empty() {
        return out.push('-');
    }
    let start = out.len();
    put_hex(out, id);
    if id.len() != len {
        return out.insert(start, 'x');
    }
    let zeros = out.bytes().skip(start).take_while(|digit| *digit == b'0').count();
    out.drain(start..start + zeros.min(2 * len - 1));
}

fn put_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

fn put_name(out: &mut String, name: &[u8]) {
    if !name.is_empty() {
        out.push(' ');
        put_text(out, name);
    }
}

fn put_string(out: &mut String, word: &str, message: Message<'_>, number: u32) {
    let text = bytes_of(message, number);
    if !text.is_empty() {
        let _ = write!(out, " {word}=");
        put_text(out, text);
    }
}

fn put_count(out: &mut String, word: &str, message: Message<'_>, number: u32) {
    let count = number_of(message, number);
    if count != 0 {
        let _ = write!(out, " {word}={}", count as u32);
    }
}

fn put_flags(out: &mut String, flags: u64) {
    if flags != 0 {
        let _ = write!(out, " flags={:#x}", flags as u32);
    }
}

/// An enum's number as one of `words`; a number for values that OTLP does not define.
fn put_word(out: &mut String, words: &[&str], number: u64) {
    match usize::try_from(number).ok().and_then(|n| words.get(n)) {
        Some(word) => out.push_str(word),
        None => drop(write!(out, "{}", number as i32)),
    }
}

fn put_at(out: &mut String, time: u64) {
    if time != 0 {
        out.push_str(" @");
        put_time(out, time);
    }
}

/// Appends a time: an offset from [`BASE`], or the nanoseconds since the epoch.
pub fn put_time(out: &mut String, time: u64) {
    let _ = match time.checked_sub(BASE) {
        _ if time == 0 => write!(out, "-"),
        Some(0) => write!(out, "0"),
        Some(offset) if offset < OFFSET_MAX => {
            let unit = UNITS.iter().find(|(_, nanos)| offset.is_multiple_of(*nanos));
            let (name, nanos) = unit.copied().unwrap_or(("ns", 1));
            write!(out, "{}{name}", offset / nanos)
        }
        _ => write!(out, "unix:{time}"),
    };
}

fn put_attributes<'a>(
    out: &mut String,
    noun: &str,
    attributes: impl Iterator<Item = Attribute<'a>>,
) {
    for attribute in attributes {
        let key = view::text(attribute.key);
        out.push(' ');
        if is_bare(key) && !reserved(noun).contains(&key) {
            out.push_str(key);
        } else {
            put_text(out, attribute.key);
        }
        out.push('=');
        put_value(out, attribute.value);
    }
}

/// Whether `key` may stand without quotes.
fn is_bare(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-/".contains(&c))
}

/// Appends a value.
pub fn put_value(out: &mut String, value: AnyValue<'_>) {
    let _ = match value {
        AnyValue::Empty => write!(out, "null"),
        AnyValue::Text(text) => return put_text(out, text),
        AnyValue::Bool(value) => write!(out, "{value}"),
        AnyValue::Int(value) => write!(out, "{value}"),
        AnyValue::Double(value) => write!(out, "{value:?}"),
        AnyValue::Bytes(bytes) => {
            out.push_str("0x");
            return put_hex(out, bytes);
        }
        AnyValue::Array(array) => {
            for (k, value) in view::values(array).enumerate() {
                out.push(if k == 0 { '[' } else { ',' });
                put_value(out, value);
            }
            return out.push_str(if view::values(array).next().is_some() { "]" } else { "[]" });
        }
        AnyValue::Map(map) => {
            for (k, member) in view::members(map).enumerate() {
                out.push(if k == 0 { '{' } else { ',' });
                put_text(out, member.key);
                out.push(':');
                put_value(out, member.value);
            }
            return out.push_str(if view::members(map).next().is_some() { "}" } else { "{}" });
        }
    };
}

/// Appends text in quotes. Control characters are escaped, so that text from a trace cannot
/// steer a terminal.
pub fn put_text(out: &mut String, text: &[u8]) {
    out.push('"');
    for c in view::text(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Ends a line with a comment that names the fields of the messages that it does not show.
fn end_line(out: &mut String, messages: &[(Option<Message<'_>>, &[u32])]) {
    let mut lead = " # not shown: field";
    for (message, shown) in messages {
        let fields = message.iter().flat_map(|message| message.fields());
        for field in fields.filter(|field| !shown.contains(&field.number)) {
            let _ = write!(out, "{lead} {}", field.number);
            lead = ",";
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests;
