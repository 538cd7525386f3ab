//! What conditions can look at: a table of paths for each level of a request, and of the levels
//! that each context sees.

use super::ast::Expr;
use super::value::Type;
use crate::otlp::fields::{event, log_record, resource, resource_group, scope, scope_group, span};

/// What a condition is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    Resource,
    Scope,
    Span,
    SpanEvent,
    Log,
}

/// A level of a request; a condition reads its own level and those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Resource,
    Scope,
    /// Span or log record.
    Item,
    Event,
}

/// How a path reads its level's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Attributes in this field; a key picks one.
    Attributes(u32),
    Text(u32),
    /// A text of the group that carries the resource or scope.
    GroupText(u32),
    Number(u32),
    /// An id of this many bytes; absent is all zero.
    Id(u32, usize),
    /// The same as hexadecimal text; absent or all zero is empty.
    HexId(u32, usize),
    /// `key=value` members; a key picks one.
    TraceState,
    /// The kind's name, `Client`.
    KindName,
    StatusCode,
    StatusMessage,
    /// A value of any type.
    Body,
    /// The same as text.
    BodyText,
    /// The place among the span's events, from 0.
    EventIndex,
}

impl Access {
    /// The type of what it yields.
    pub fn kind(self) -> Type {
        match self {
            Access::Attributes(_) => Type::Map,
            Access::Id(..) => Type::Bytes,
            Access::Number(_) | Access::StatusCode | Access::EventIndex => Type::Int,
            Access::Body | Access::BodyText => Type::Any,
            _ => Type::Text,
        }
    }
}

/// The paths of one level under its name.
pub struct Table {
    /// The prefix of its paths.
    pub name: &'static str,
    pub level: Level,
    pub paths: &'static [(&'static str, Access)],
}

const RESOURCE: Table = Table {
    name: "resource",
    level: Level::Resource,
    paths: &[
        ("attributes", Access::Attributes(resource::ATTRIBUTES)),
        ("dropped_attributes_count", Access::Number(resource::DROPPED_ATTRIBUTES_COUNT)),
        ("schema_url", Access::GroupText(resource_group::SCHEMA_URL)),
    ],
};

const SCOPE_PATHS: &[(&str, Access)] = &[
    ("name", Access::Text(scope::NAME)),
    ("version", Access::Text(scope::VERSION)),
    ("attributes", Access::Attributes(scope::ATTRIBUTES)),
    ("dropped_attributes_count", Access::Number(scope::DROPPED_ATTRIBUTES_COUNT)),
    ("schema_url", Access::GroupText(scope_group::SCHEMA_URL)),
];

const SCOPE: Table = Table { name: "scope", level: Level::Scope, paths: SCOPE_PATHS };

const INSTRUMENTATION_SCOPE: Table =
    Table { name: "instrumentation_scope", level: Level::Scope, paths: SCOPE_PATHS };

const SPAN: Table = Table {
    name: "span",
    level: Level::Item,
    paths: &[
        ("name", Access::Text(span::NAME)),
        ("attributes", Access::Attributes(span::ATTRIBUTES)),
        ("kind", Access::Number(span::KIND)),
        ("kind.string", Access::KindName),
        ("status.code", Access::StatusCode),
        ("status.message", Access::StatusMessage),
        ("trace_id", Access::Id(span::TRACE_ID, 16)),
        ("trace_id.string", Access::HexId(span::TRACE_ID, 16)),
        ("span_id", Access::Id(span::SPAN_ID, 8)),
        ("span_id.string", Access::HexId(span::SPAN_ID, 8)),
        ("parent_span_id", Access::Id(span::PARENT_SPAN_ID, 8)),
        ("parent_span_id.string", Access::HexId(span::PARENT_SPAN_ID, 8)),
        ("trace_state", Access::TraceState),
        ("start_time_unix_nano", Access::Number(span::START_TIME)),
        ("end_time_unix_nano", Access::Number(span::END_TIME)),
        ("dropped_attributes_count", Access::Number(span::DROPPED_ATTRIBUTES_COUNT)),
        ("dropped_events_count", Access::Number(span::DROPPED_EVENTS_COUNT)),
        ("dropped_links_count", Access::Number(span::DROPPED_LINKS_COUNT)),
        ("flags", Access::Number(span::FLAGS)),
    ],
};

const SPAN_EVENT: Table = Table {
    name: "spanevent",
    level: Level::Event,
    paths: &[
        ("name", Access::Text(event::NAME)),
        ("attributes", Access::Attributes(event::ATTRIBUTES)),
        ("time_unix_nano", Access::Number(event::TIME)),
        ("dropped_attributes_count", Access::Number(event::DROPPED_ATTRIBUTES_COUNT)),
        ("event_index", Access::EventIndex),
    ],
};

const LOG: Table = Table {
    name: "log",
    level: Level::Item,
    paths: &[
        ("body", Access::Body),
        ("body.string", Access::BodyText),
        ("attributes", Access::Attributes(log_record::ATTRIBUTES)),
        ("severity_number", Access::Number(log_record::SEVERITY_NUMBER)),
        ("severity_text", Access::Text(log_record::SEVERITY_TEXT)),
        ("event_name", Access::Text(log_record::EVENT_NAME)),
        ("time_unix_nano", Access::Number(log_record::TIME)),
        ("observed_time_unix_nano", Access::Number(log_record::OBSERVED_TIME)),
        ("dropped_attributes_count", Access::Number(log_record::DROPPED_ATTRIBUTES_COUNT)),
        ("flags", Access::Number(log_record::FLAGS)),
        ("trace_id", Access::Id(log_record::TRACE_ID, 16)),
        ("trace_id.string", Access::HexId(log_record::TRACE_ID, 16)),
        ("span_id", Access::Id(log_record::SPAN_ID, 8)),
        ("span_id.string", Access::HexId(log_record::SPAN_ID, 8)),
    ],
};

/// Prefixes that belong to signals or statements which conditions here do not see.
const ELSEWHERE: &[&str] = &["metric", "datapoint", "profile", "profilesample", "cache"];

impl Context {
    pub const ALL: [Context; 5] =
        [Context::Resource, Context::Scope, Context::Span, Context::SpanEvent, Context::Log];

    /// The name, as in paths and configurations.
    pub fn name(self) -> &'static str {
        self.own().name
    }

    /// The context of that name.
    pub fn named(name: &str) -> Option<Context> {
        let name = if name == "instrumentation_scope" { "scope" } else { name };
        Context::ALL.into_iter().find(|context| context.name() == name)
    }

    /// The tables that a condition sees, its own first.
    pub fn tables(self) -> &'static [Table] {
        match self {
            Context::Resource => &[RESOURCE],
            Context::Scope => &[SCOPE, INSTRUMENTATION_SCOPE, RESOURCE],
            Context::Span => &[SPAN, SCOPE, INSTRUMENTATION_SCOPE, RESOURCE],
            Context::SpanEvent => &[SPAN_EVENT, SPAN, SCOPE, INSTRUMENTATION_SCOPE, RESOURCE],
            Context::Log => &[LOG, SCOPE, INSTRUMENTATION_SCOPE, RESOURCE],
        }
    }

    fn own(self) -> &'static Table {
        match self {
            Context::Resource => &RESOURCE,
            Context::Scope => &SCOPE,
            Context::Span => &SPAN,
            Context::SpanEvent => &SPAN_EVENT,
            Context::Log => &LOG,
        }
    }
}

/// The context that the paths of `expr` name, the innermost of them; `None` if none does.
pub(super) fn infer(expr: &Expr) -> Option<Context> {
    let mut found = None;
    expr.each_path(&mut |words| {
        let named = words.first().and_then(|first| Context::named(first));
        let depth = |context: Option<Context>| context.map(|context| context.own().level);
        if depth(named) > depth(found) {
            found = named;
        }
    });
    found
}

/// Where the path `words` reads, seen from `context`; the error is a sentence.
pub(super) fn resolve(context: Context, words: &[String]) -> Result<(Level, Access), String> {
    let (first, rest) = words.split_first().map_or(("", words), |(first, rest)| (&**first, rest));
    let own = context.own();
    if let Some(table) = context.tables().iter().find(|table| table.name == first) {
        return find(table, &rest.join(".")).ok_or_else(|| unknown(table, words, rest));
    }
    let whole = words.join(".");
    if let Some(found) = find(own, &whole) {
        return Ok(found);
    }
    let foreign = Context::ALL.into_iter().find(|other| other.name() == first);
    if foreign.is_some() || ELSEWHERE.contains(&first) {
        let seen: Vec<_> = context.tables().iter().map(|table| table.name).collect();
        let name = context.name();
        let seen = seen.join(", ");
        return Err(format!("{whole:?}: a condition on {name} sees {seen} and no {first}"));
    }
    Err(unknown(own, words, words))
}

fn find(table: &Table, path: &str) -> Option<(Level, Access)> {
    let found = table.paths.iter().find(|(name, _)| *name == path);
    found.map(|(_, access)| (table.level, *access))
}

/// The sentence for a path that `table` does not have: what was meant, or where it is.
fn unknown(table: &Table, words: &[String], rest: &[String]) -> String {
    let (whole, rest) = (words.join("."), rest.join("."));
    let paths = || table.paths.iter().map(|(name, _)| *name);
    let mut text = format!("unknown path {whole:?}: {} has no {rest:?}", table.name);
    let prefix = if whole == rest { String::new() } else { format!("{}.", table.name) };
    let others = Context::ALL.into_iter().filter(|other| find(other.own(), &rest).is_some());
    let others: Vec<_> = others.map(Context::name).collect();
    if rest.is_empty() {
        text = format!("{whole:?} is no value by itself; write {whole}.{}", first_path(table));
    } else if let Some(near) = crate::spelling::nearest(&rest, paths()) {
        text.push_str(&format!("; did you mean \"{prefix}{near}\"?"));
    } else if !others.is_empty() {
        text.push_str(&format!("; it is a path of {}", others.join(" and ")));
    } else {
        let all: Vec<_> = paths().filter(|path| !path.ends_with(".string")).collect();
        text.push_str(&format!("; its paths are {}", all.join(", ")));
    }
    text
}

fn first_path(table: &Table) -> &'static str {
    table.paths.first().map_or("", |(name, _)| name)
}

/// The number that an enum's name stands for, seen from `context`.
pub(super) fn number(context: Context, name: &str) -> Option<i64> {
    let log = context == Context::Log;
    let span = matches!(context, Context::Span | Context::SpanEvent);
    let place = |names: &[&str], name: &str| {
        names.iter().position(|known| *known == name).map(|place| place as i64)
    };
    if let Some(kind) = name.strip_prefix("SPAN_KIND_").filter(|_| span) {
        return place(&KINDS, kind);
    }
    if let Some(code) = name.strip_prefix("STATUS_CODE_").filter(|_| span) {
        return place(&["UNSET", "OK", "ERROR"], code);
    }
    let severity = name.strip_prefix("SEVERITY_NUMBER_").filter(|_| log)?;
    let word = severity.trim_end_matches(['2', '3', '4']);
    let step = match severity.strip_prefix(word)? {
        "" => 1,
        "2" => 2,
        "3" => 3,
        "4" => 4,
        _ => return None,
    };
    match (word, step) {
        ("UNSPECIFIED", 1) => Some(0),
        _ => place(&SEVERITIES, word).map(|place| place * 4 + step),
    }
}

/// The names of enums, for error sentences.
pub(super) fn numbers(context: Context) -> &'static str {
    match context {
        Context::Span | Context::SpanEvent => "SPAN_KIND_* and STATUS_CODE_*",
        Context::Log => "SEVERITY_NUMBER_*",
        Context::Resource | Context::Scope => "none",
    }
}

const KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const SEVERITIES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// A span kind's name in `kind.string`.
pub(super) fn kind_name(kind: i64) -> &'static str {
    const NAMES: [&str; 6] =
        ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
    usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind)).copied().unwrap_or_default()
}
