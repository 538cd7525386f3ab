//! What the `orphans` processor said, read off the spans that it tagged.

use crate::batch::Batch;
use crate::otlp::fields::link;
use crate::otlp::view::{AnyValue, Span, text, values};
use crate::processors::orphans::remedy::{Boundary, Remedy, Side};
use std::collections::HashMap;

/// What the names of the tags begin with, by default.
const PREFIX: &str = "app.agent.orphan.";

/// The place of a span: its trace and its id.
pub type Id = (u128, u64);

/// A span, as far as a report shows it.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: Id,
    pub parent: Option<u64>,
    pub service: String,
    pub name: String,
    pub start: u64,
    pub end: u64,
    pub side: Side,
}

/// A tag of a finding: the name without the prefix, and the value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tag {
    Text(String),
    Texts(Vec<String>),
    Int(i64),
    Double(f64),
}

/// A span that was tagged.
#[derive(Clone)]
pub struct Finding {
    /// Its place in [`Findings::rows`].
    pub row: usize,
    /// In the order in which they stand on the span.
    pub tags: Vec<(String, Tag)>,
    /// The parent that was found for it, where it is certain or suspected.
    pub parent: Option<Id>,
    pub remedy: &'static Remedy,
}

/// All spans, and those among them that were tagged.
#[derive(Default)]
pub struct Findings {
    pub rows: Vec<Row>,
    /// In the order of their start.
    pub found: Vec<Finding>,
    places: HashMap<Id, usize>,
    /// Spans without a parent, by trace.
    roots: HashMap<u128, usize>,
}

impl Findings {
    /// Reads `batches`, as the processor left them.
    pub fn of(batches: &[Batch]) -> Findings {
        let mut all = Findings::default();
        let (mut tagged, mut late) = (vec![], HashMap::new());
        for group in batches.iter().flat_map(|batch| batch.request().resource_groups()) {
            let service = group.attributes().find(|attribute| attribute.key == b"service.name");
            let service = text(service.and_then(|a| a.value.as_text()).unwrap_or_default());
            for span in group.scope_groups().flat_map(|scope| scope.spans()) {
                let row = all.rows.len();
                let Some(id) = id(span.trace_id(), span.span_id()) else { continue };
                let tags = tags(span);
                if tags.iter().any(|(name, _)| name == "head.span_id") {
                    late.extend(heads(span, id.0).map(|head| (head, tags.clone())));
                    continue;
                }
                // Of two spans with one id the first is the one.
                if all.places.contains_key(&id) {
                    continue;
                }
                all.places.insert(id, row);
                let read = Row::of(span, id, service);
                *all.roots.entry(id.0).or_default() += usize::from(read.parent.is_none());
                all.rows.push(read);
                if tags.iter().any(|(name, _)| name == "signature") {
                    tagged.push((row, tags));
                }
            }
        }
        for (row, tags) in &mut tagged {
            let id = all.rows.get(*row).map(|row: &Row| row.id);
            id.and_then(|id| late.remove(&id)).into_iter().for_each(|later| update(tags, later));
        }
        all.found = tagged.into_iter().map(|(row, tags)| all.finding(row, tags)).collect();
        let rows = &all.rows;
        all.found.sort_by_key(|finding| rows.get(finding.row).map(|row| row.start));
        all
    }

    fn finding(&self, row: usize, tags: Vec<(String, Tag)>) -> Finding {
        let mut finding = Finding { row, tags, parent: None, remedy: Boundary::default().remedy() };
        let [trace, span] = ["parent.trace_id", "parent.span_id"].map(|name| finding.text(name));
        let parsed = u128::from_str_radix(trace, 16).ok().zip(u64::from_str_radix(span, 16).ok());
        finding.parent =
            parsed.filter(|_| matches!(finding.text("status"), "resolved" | "suspected"));
        let Some(head) = self.rows.get(row) else { return finding };
        let parent = finding.parent.and_then(|id| self.row(id));
        let known = parent.map_or(finding.text("parent.service"), |parent| &parent.service);
        let boundary = Boundary {
            signature: finding.text("signature"),
            dangling: finding.signatures().any(|name| name == "missing_parent"),
            cause: finding.text("cause"),
            evidence: finding.text("evidence"),
            head: head.side,
            parent: finding.parent.map(|_| parent.map(|parent| parent.side).unwrap_or_default()),
            same_service: known == head.service,
            same_trace: match finding.parent {
                Some((trace, _)) => trace == head.id.0,
                None => self.is_second_root(head),
            },
        };
        let remedy = boundary.remedy();
        finding.remedy = remedy;
        finding
    }

    /// Whether `head` is a root and its trace has another.
    fn is_second_root(&self, head: &Row) -> bool {
        head.parent.is_none() && self.roots.get(&head.id.0).is_some_and(|roots| *roots > 1)
    }

    /// The span `id`, if it is here.
    pub fn row(&self, id: Id) -> Option<&Row> {
        self.rows.get(*self.places.get(&id)?)
    }
}

impl Finding {
    /// The text of a tag; empty without it.
    pub fn text(&self, name: &str) -> &str {
        match self.tag(name) {
            Some(Tag::Text(text)) => text,
            _ => "",
        }
    }

    pub fn tag(&self, name: &str) -> Option<&Tag> {
        self.tags.iter().find(|(other, _)| other == name).map(|(_, tag)| tag)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        match self.tag(name)? {
            Tag::Int(number) => Some(*number as f64),
            Tag::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// All signatures that apply.
    pub fn signatures(&self) -> impl Iterator<Item = &str> {
        match self.tag("signatures") {
            Some(Tag::Texts(texts)) => texts.as_slice(),
            _ => &[],
        }
        .iter()
        .map(String::as_str)
    }
}

impl Row {
    fn of(span: Span<'_>, id: Id, service: &str) -> Row {
        let parent = span.parent_span_id();
        let parent = <[u8; 8]>::try_from(parent).map_or(0, u64::from_be_bytes);
        Row {
            id,
            parent: (parent != 0).then_some(parent),
            service: service.to_owned(),
            name: text(span.name()).to_owned(),
            start: span.start_time(),
            end: span.end_time(),
            side: Side::of(span),
        }
    }

    pub fn nanos(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

fn id(trace: &[u8], span: &[u8]) -> Option<Id> {
    let trace = u128::from_be_bytes(trace.try_into().ok()?);
    Some((trace, u64::from_be_bytes(span.try_into().ok()?)))
}

/// The heads that a bridge tells of: those that it links to in its own trace.
fn heads(bridge: Span<'_>, trace: u128) -> impl Iterator<Item = Id> {
    let linked = bridge.links().filter_map(|link| {
        let field = |number| link.field(number).map_or(&[][..], |field| field.bytes());
        id(field(link::TRACE_ID), field(link::SPAN_ID))
    });
    linked.filter(move |(of, _)| *of == trace)
}

/// Puts what was said later in the place of what was said first.
fn update(tags: &mut Vec<(String, Tag)>, later: Vec<(String, Tag)>) {
    let later: Vec<_> = later.into_iter().filter(|(name, _)| !name.starts_with("head.")).collect();
    tags.retain(|(name, _)| !later.iter().any(|(other, _)| other == name));
    tags.extend(later);
}

fn tags(span: Span<'_>) -> Vec<(String, Tag)> {
    let tag = |value: AnyValue<'_>| match value {
        AnyValue::Text(bytes) => Some(Tag::Text(text(bytes).to_owned())),
        AnyValue::Int(number) => Some(Tag::Int(number)),
        AnyValue::Double(number) => Some(Tag::Double(number)),
        AnyValue::Array(array) => {
            let texts = values(array).filter_map(|value| value.as_text());
            Some(Tag::Texts(texts.map(|bytes| text(bytes).to_owned()).collect()))
        }
        _ => None,
    };
    let attributes = span.attributes().filter_map(|attribute| {
        let name = text(attribute.key).strip_prefix(PREFIX)?;
        Some((name.to_owned(), tag(attribute.value)?))
    });
    attributes.collect()
}
