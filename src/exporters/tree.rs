//! Each trace of a request as a tree that a person can read.
//!
//! ```text
//! trace 00000000000000000000000000000001 · 3 spans · 1.20 s
//! ├─ POST /ask  [gateway] server 1.20 s
//! │  │  user.id=alice
//! │  └─ chat gpt-4o  [planner] client 900 ms error
//! │        gen_ai.request.model=gpt-4o user.id=alice
//! │        · gen_ai.content.prompt
//! └─ execute_tool search  [tools] internal 100 ms
//!       app.agent.orphan.signature=tool_call_root
//! ```
//!
//! Every span of the request stands in it once: those whose parent is not here as heads, those
//! that are each other's parents too. What may be shown is decided by [`mask`](super::mask).

use super::mask::{printable, shown, shown_text, size};
use crate::limits;
use crate::otlp::fields::{resource, span};
use crate::otlp::view::{Attribute, Event, Request, Span, attributes, text};
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt::Write;

/// How a tree is printed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// All attributes instead of the notable ones, and those of events.
    pub detailed: bool,
    /// Values of any kind, also those that hold content: for telemetry that is made up.
    pub content: bool,
    /// Columns: longer lines are wrapped between attributes, or cut. 0 is no bound.
    pub width: usize,
    /// With the colours of a terminal.
    pub colour: bool,
    /// Attributes that are notable beside the usual ones: those that a pipeline promotes, say.
    pub notable: Vec<String>,
}

/// Attributes that say what a span of an agent is about and whose it is.
const NOTABLE: &[&str] = &[
    "ai.operationId",
    "enduser.id",
    "error.type",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.tool.name",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "http.response.status_code",
    "langfuse.observation.type",
    "llm.token_count.total",
    "mcp.method.name",
    "messaging.destination.name",
    "openinference.span.kind",
    "sensitive",
    "session.id",
    "tenant.id",
    "traceloop.span.kind",
    "user.id",
];

/// What our own processors write.
const OURS: &str = "app.agent.";

/// Levels that are indented; what is deeper stands on the last one.
const INDENTED: usize = 24;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// A piece of a line: its colour, if any, and its text.
type Piece = (&'static str, String);

/// The traces in `requests`, which are checked export requests of traces. Spans beyond
/// [`limits::TREE_SPANS`] are counted in a last line.
pub fn render(requests: &[Bytes], options: &Options) -> String {
    let (mut rows, mut more) = (vec![], 0);
    for request in requests {
        for group in Request::new(request).resource_groups() {
            let service = group.attributes().find(|a| a.key == b"service.name");
            let service = service.and_then(|a| a.value.as_text()).unwrap_or(b"no service.name");
            for span in group.scope_groups().flat_map(|scope| scope.spans()) {
                match rows.len() < limits::TREE_SPANS {
                    true => rows.push(Row::of(span, service)),
                    false => more += 1,
                }
            }
        }
    }
    let mut out = String::new();
    for rows in by_trace(rows) {
        Tree { rows: &rows, options, out: &mut out }.trace();
    }
    if more > 0 {
        let _ = writeln!(out, "… and {more} more spans");
    }
    out
}

/// The rows of each trace, in the order in which the traces came.
fn by_trace(rows: Vec<Row<'_>>) -> Vec<Vec<Row<'_>>> {
    let mut places = HashMap::new();
    let mut traces: Vec<Vec<Row<'_>>> = vec![];
    for row in rows {
        let place = *places.entry(row.trace).or_insert(traces.len());
        match traces.get_mut(place) {
            Some(trace) => trace.push(row),
            None => traces.push(vec![row]),
        }
    }
    traces
}

/// A span, with what the shape of the tree needs.
struct Row<'a> {
    span: Span<'a>,
    service: &'a [u8],
    trace: &'a [u8],
    id: &'a [u8],
    parent: &'a [u8],
    start: u64,
    end: u64,
}

impl<'a> Row<'a> {
    fn of(span: Span<'a>, service: &'a [u8]) -> Row<'a> {
        let (trace, id, parent) = (span.trace_id(), span.span_id(), span.parent_span_id());
        let parent = if parent.iter().all(|byte| *byte == 0) { &[] } else { parent };
        Row { span, service, trace, id, parent, start: span.start_time(), end: span.end_time() }
    }
}

/// Where a row stands in a tree.
pub struct Place {
    pub row: usize,
    /// What stands before its own branch.
    pub indent: String,
    pub last: bool,
}

impl Place {
    /// What stands before what is below it.
    pub fn inner(&self) -> String {
        format!("{}{}", self.indent, if self.last { "   " } else { "│  " })
    }

    /// What leads to it.
    pub fn branch(&self) -> &'static str {
        if self.last { "└─ " } else { "├─ " }
    }

    /// The places of its children, indented up to so many levels.
    pub fn below(&self, children: &[usize], levels: usize) -> Vec<Place> {
        let deep = self.indent.chars().count() / 3 >= levels;
        below(children, if deep { self.indent.clone() } else { self.inner() }.as_str())
    }
}

struct Tree<'a, 'o> {
    rows: &'a [Row<'a>],
    options: &'a Options,
    out: &'o mut String,
}

impl Tree<'_, '_> {
    fn trace(&mut self) {
        let start = self.rows.iter().map(|r| r.start).filter(|t| *t > 0).min().unwrap_or(0);
        let end = self.rows.iter().map(|r| r.end).max().unwrap_or(0);
        let id = self.rows.first().map(|r| hex(r.trace)).unwrap_or_default();
        let count = self.rows.len();
        let spans = if count == 1 { "span" } else { "spans" };
        let lasted = duration(end.saturating_sub(start));
        let about = format!(" · {count} {spans} · {lasted}");
        self.line(vec![("", "trace ".to_owned()), (BOLD, id), ("", about)]);
        let (heads, children) = self.shape();
        let mut seen = vec![false; self.rows.len()];
        let mut places = below(&heads, "");
        while let Some(place) = places.pop() {
            match seen.get_mut(place.row) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            let own = children.get(place.row).map(Vec::as_slice).unwrap_or_default();
            let beside = format!("{}{}", place.inner(), if own.is_empty() { "   " } else { "│  " });
            self.row(&place, &beside);
            places.extend(place.below(own, INDENTED));
        }
    }

    /// The heads and the children of each row, earlier ones first. Rows that no head leads to,
    /// which are each other's ancestors, are led to by one of them.
    fn shape(&self) -> (Vec<usize>, Vec<Vec<usize>>) {
        let mut ids = HashMap::new();
        for (k, row) in self.rows.iter().enumerate() {
            ids.entry(row.id).or_insert(k);
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|k| self.rows.get(*k).map(|row| row.start));
        let (mut heads, mut children) = (vec![], vec![vec![]; self.rows.len()]);
        for k in order.iter().copied() {
            let parent = self.rows.get(k).and_then(|row| ids.get(row.parent)).copied();
            match parent.filter(|parent| *parent != k).and_then(|p| children.get_mut(p)) {
                Some(siblings) => siblings.push(k),
                None => heads.push(k),
            }
        }
        let mut led = vec![false; self.rows.len()];
        let mut open = heads.clone();
        for start in order {
            while let Some(k) = open.pop() {
                match led.get_mut(k) {
                    Some(led) if !*led => *led = true,
                    _ => continue,
                }
                open.extend(children.get(k).into_iter().flatten());
            }
            if led.get(start) == Some(&false) {
                heads.push(start);
                open.push(start);
            }
        }
        (heads, children)
    }

    /// A span's line, and below it `beside` and what belongs to it.
    fn row(&mut self, place: &Place, beside: &str) {
        let Some(row) = self.rows.get(place.row) else { return };
        let kinds = ["", "internal ", "server ", "client ", "producer ", "consumer "];
        let kind = kinds.get(row.span.kind() as usize).copied().unwrap_or_default();
        let lasted = duration(row.end.saturating_sub(row.start));
        let branch = place.branch();
        let mut line = vec![
            (DIM, format!("{}{branch}", place.indent)),
            (BOLD, shown_text(row.span.name())),
            ("", format!("  [{}] {kind}{lasted}", shown_text(row.service))),
        ];
        if row.span.status_code() == 2 {
            line.push((RED, " error".to_owned()));
            let message = row.span.status_message();
            match self.options.content {
                _ if message.is_empty() => {}
                true => line.push(("", format!(" {}", printable(text(message))))),
                false => line.push(("", format!(" {}", size(message.len())))),
            }
        }
        if !row.parent.is_empty() && !self.rows.iter().any(|other| other.id == row.parent) {
            line.push((DIM, format!(" (its parent {} is not here)", hex(row.parent))));
        }
        self.line(line);
        self.attributes(row, beside);
        self.events(row, beside);
    }

    fn attributes(&mut self, row: &Row<'_>, beside: &str) {
        let (mut plain, mut ours) = (vec![], vec![]);
        for attribute in row.span.attributes() {
            let key = text(attribute.key);
            if key.starts_with(OURS) {
                ours.push(self.pair(&attribute));
            } else if self.options.detailed || self.is_notable(key) {
                plain.push(self.pair(&attribute));
            }
        }
        self.words(beside, "", plain);
        self.words(beside, YELLOW, ours);
    }

    fn is_notable(&self, key: &str) -> bool {
        NOTABLE.contains(&key)
            || key.starts_with("baggage.")
            || self.options.notable.iter().any(|name| name == key)
    }

    /// The events by name, or one per line with attributes.
    fn events(&mut self, row: &Row<'_>, beside: &str) {
        if self.options.detailed || self.options.content {
            for event in row.span.events() {
                let name = format!("· {}", shown_text(event.name()));
                let pairs: Vec<String> = event.attributes().map(|a| self.pair(&a)).collect();
                self.words(beside, "", [vec![name], pairs].concat());
            }
        } else {
            let names = counted(row.span.events());
            if !names.is_empty() {
                self.words(beside, "", vec![format!("· {}", names.join(", "))]);
            }
        }
        let dropped = row.span.0.field(span::DROPPED_EVENTS_COUNT);
        let dropped = dropped.map(|field| field.number_value()).unwrap_or_default();
        if dropped > 0 {
            let events = if dropped == 1 { "event" } else { "events" };
            self.words(beside, DIM, vec![format!("· {dropped} {events} dropped")]);
        }
    }

    /// `key=value`; the value as it is if content is to be seen.
    fn pair(&self, attribute: &Attribute<'_>) -> String {
        match (self.options.content, attribute.value.as_text()) {
            (true, Some(value)) => {
                let (key, value) = (text(attribute.key), text(value));
                format!("{}={}", printable(key), printable(value))
            }
            _ => pair(attribute),
        }
    }

    /// Words behind `beside`, on as many lines as the width asks for.
    fn words(&mut self, beside: &str, colour: &'static str, words: Vec<String>) {
        let width = |text: &str| text.chars().count();
        let mut rest = words.into_iter().peekable();
        while let Some(mut line) = rest.next() {
            let fits = |line: &str, next: &str| {
                let columns = width(beside) + width(line) + 1 + width(next);
                self.options.width == 0 || columns <= self.options.width
            };
            while let Some(next) = rest.next_if(|next| fits(&line, next)) {
                line.push(' ');
                line.push_str(&next);
            }
            self.line(vec![(DIM, beside.to_owned()), (colour, line)]);
        }
    }

    /// One line, cut at the width.
    fn line(&mut self, pieces: Vec<Piece>) {
        let all: usize = pieces.iter().map(|(_, text)| text.chars().count()).sum();
        let cut = self.options.width > 0 && all > self.options.width;
        let mut left = if cut { self.options.width - 1 } else { all };
        for (colour, text) in pieces {
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            match self.options.colour && !colour.is_empty() {
                true => self.out.extend([colour, &text, RESET]),
                false => self.out.push_str(&text),
            }
        }
        self.out.push_str(if cut { "…\n" } else { "\n" });
    }
}

/// The places of siblings, the first on top of the stack.
pub fn below(rows: &[usize], indent: &str) -> Vec<Place> {
    let place = |(k, row): (usize, &usize)| Place {
        row: *row,
        indent: indent.to_owned(),
        last: k + 1 == rows.len(),
    };
    rows.iter().enumerate().map(place).rev().collect()
}

/// `name ×2` for each name, in the order in which they came.
fn counted<'a>(events: impl Iterator<Item = Event<'a>>) -> Vec<String> {
    let mut names: Vec<(&[u8], usize)> = vec![];
    for event in events {
        let name = event.name();
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count += 1,
            None => names.push((name, 1)),
        }
    }
    let written = |(name, count): (&[u8], usize)| match count {
        1 => shown_text(name),
        _ => format!("{} ×{count}", shown_text(name)),
    };
    names.into_iter().map(written).collect()
}

/// `key=value`.
pub fn pair(attribute: &Attribute<'_>) -> String {
    let key = text(attribute.key);
    format!("{}={}", shown_text(attribute.key), shown(key, attribute.value))
}

/// The `service.name` among a resource's attributes, for lines about logs and metrics.
pub fn service(resource: Option<crate::otlp::wire::Message<'_>>) -> String {
    let named = resource.into_iter().flat_map(|r| attributes(r, resource::ATTRIBUTES));
    let named = named.filter(|a| a.key == b"service.name").find_map(|a| a.value.as_text());
    named.map(shown_text).unwrap_or_else(|| "no service.name".to_owned())
}

/// `1.20 s`, `900 ms`, `15 µs`.
pub fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().take(16).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
