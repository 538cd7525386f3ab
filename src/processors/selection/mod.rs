//! `include` and `exclude`: which items a processor applies to. Keys and meaning are the
//! Collector's; `include` is asked first.
//!
//! All properties of a map must match: of services, names, kinds, bodies, severity texts and
//! libraries one entry, of attributes and resources every entry. Where the Collector's
//! documentation and its behaviour differ, this is its behaviour for resources (the documentation
//! says that one is enough) and its documentation for libraries (two names never match there).
//! A regular expression matches anywhere in the text unless it has anchors.
//!
//! Beyond the Collector, `services` and `libraries` are asked of every signal. A property that a
//! signal does not have matches nothing of it, which the log says when the processor is built;
//! properties that no signal has together are an error.
//!
//! Absent: caches of results (`regexp: {cacheenabled}`), since matching takes linear time anyway.

mod read;

pub use read::KEYS;

use super::Setup;
use super::actions::values::{as_text, plain, same, view};
use super::walk::{Step, Visit, walk};
use crate::batch::Signal;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{log_record, metric, scope, span};
use crate::otlp::view::{Attribute, LogRecord, Request, ResourceGroup};
use crate::otlp::view::{ScopeGroup, Span, attributes};
use crate::otlp::wire::{Field, Message};
use crate::verdict::Verdict;
use regex::bytes::Regex;

/// Which items are selected.
pub struct Selection {
    signal: Signal,
    include: Option<Properties>,
    exclude: Option<Properties>,
}

impl Selection {
    /// Notes the signal that is asked about, and says in the log what can match nothing of it.
    fn of(include: Option<Properties>, exclude: Option<Properties>, setup: &Setup<'_>) -> Self {
        let signal = setup.signal;
        for (key, properties) in [("include", &include), ("exclude", &exclude)] {
            for name in properties.iter().flat_map(|properties| properties.foreign(signal)) {
                tracing::warn!(
                    processor = setup.id,
                    pipeline = setup.pipeline,
                    "{key}::{name} matches nothing: {} have no such property",
                    signal.name()
                );
            }
        }
        Selection { signal, include, exclude }
    }

    /// Calls `change` with each span, log record or metric that is selected.
    pub fn each<'a>(
        &self,
        request: Request<'a>,
        edits: &mut Edits,
        change: impl FnMut(Message<'a>, &mut Edits) -> Result<(), Verdict>,
    ) -> Result<(), Verdict> {
        let none = Outer { include: false, exclude: false };
        let mut each = Each { selection: self, resource: none, scope: none, change };
        walk(self.signal, request, &mut each, edits).map(drop)
    }

    fn ask(&self, matches: impl Fn(&Properties) -> bool) -> Outer {
        Outer {
            include: self.include.as_ref().is_none_or(&matches),
            exclude: self.exclude.as_ref().is_some_and(&matches),
        }
    }
}

/// What is known of an item from what stands around it: whether `include` and `exclude` match.
#[derive(Clone, Copy)]
struct Outer {
    include: bool,
    exclude: bool,
}

impl Outer {
    fn and(self, outer: Outer) -> Outer {
        let include = self.include && outer.include;
        Outer { include, exclude: self.exclude && outer.exclude }
    }

    /// Groups in which nothing can be selected are not looked into.
    fn step(self) -> Step {
        if self.include { Step::Enter } else { Step::Keep }
    }
}

/// The walk over what is selected.
struct Each<'s, F> {
    selection: &'s Selection,
    resource: Outer,
    scope: Outer,
    change: F,
}

impl<'a, F> Visit<'a> for Each<'_, F>
where
    F: FnMut(Message<'a>, &mut Edits) -> Result<(), Verdict>,
{
    fn resource(&mut self, group: ResourceGroup<'a>, _: &mut Edits) -> Result<Step, Verdict> {
        let signal = self.selection.signal;
        self.resource = self.selection.ask(|properties| properties.has_resource(signal, group));
        Ok(self.resource.step())
    }

    fn scope(&mut self, group: ScopeGroup<'a>, _: &mut Edits) -> Result<Step, Verdict> {
        let scope = self.selection.ask(|properties| properties.has_scope(group));
        self.scope = scope.and(self.resource);
        Ok(self.scope.step())
    }

    fn item(&mut self, item: Message<'a>, edits: &mut Edits) -> Result<bool, Verdict> {
        let signal = self.selection.signal;
        let asked = self.selection.ask(|properties| properties.has_item(signal, item));
        let found = asked.and(self.scope);
        if found.include && !found.exclude {
            (self.change)(item, edits)?;
        }
        Ok(true)
    }
}

/// The properties of `include` or of `exclude`; those that are absent match everything.
#[derive(Default)]
struct Properties {
    /// The keys that are written.
    names: Vec<&'static str>,
    services: Option<Texts>,
    span_names: Option<Texts>,
    span_kinds: Option<Texts>,
    log_bodies: Option<Texts>,
    log_severity_texts: Option<Texts>,
    log_severity_number: Option<Severity>,
    metric_names: Option<Texts>,
    attributes: Vec<Pair>,
    resources: Vec<Pair>,
    libraries: Vec<Library>,
}

/// Texts of which one must match.
enum Texts {
    Strict(Vec<String>),
    Regexp(Vec<Regex>),
}

impl Texts {
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Texts::Strict(texts) => texts.iter().any(|wanted| wanted.as_bytes() == text),
            Texts::Regexp(patterns) => patterns.iter().any(|pattern| pattern.is_match(text)),
        }
    }
}

/// Whether `texts`, if there are any, match `text`.
fn fits(texts: &Option<Texts>, text: &[u8]) -> bool {
    texts.as_ref().is_none_or(|texts| texts.matches(text))
}

/// A log record's severity.
struct Severity {
    min: u64,
    match_undefined: bool,
}

/// An attribute, and what its value must be.
struct Pair {
    key: Vec<u8>,
    value: Option<Wanted>,
}

enum Wanted {
    /// Encoded.
    Equal(Vec<u8>),
    Match(Regex),
}

impl Pair {
    fn matches<'a>(&self, mut attributes: impl Iterator<Item = Attribute<'a>>) -> bool {
        let Some(found) = attributes.find(|attribute| attribute.key == self.key) else {
            return false;
        };
        match (&self.value, found.value) {
            (None, _) => true,
            (Some(Wanted::Equal(wanted)), value) => same(view(wanted), value),
            (Some(Wanted::Match(pattern)), value) => {
                plain(value).is_some_and(|text| pattern.is_match(&text))
            }
        }
    }
}

/// An instrumentation scope.
struct Library {
    name: Texts,
    version: Option<Texts>,
}

/// The name of a span's kind, as strict matching and patterns see it.
const KINDS: [&str; 6] = [
    "",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// What `services` are compared with where the resource has no `service.name`.
const NO_SERVICE: &[u8] = b"<nil-service-name>";

impl Properties {
    /// What is written and no property of `signal`.
    fn foreign(&self, signal: Signal) -> impl Iterator<Item = &'static str> {
        let names = self.names.iter().copied();
        names.filter(move |name| !read::signals(name).contains(&signal))
    }

    fn has_resource(&self, signal: Signal, group: ResourceGroup<'_>) -> bool {
        // Properties of another signal match nothing of this one.
        if self.foreign(signal).next().is_some() {
            return false;
        }
        let service = self.services.as_ref().is_none_or(|services| {
            let mut attributes = group.attributes();
            match attributes.find(|attribute| attribute.key == b"service.name") {
                Some(name) => services.matches(&as_text(name.value)),
                None => services.matches(NO_SERVICE),
            }
        });
        service && self.resources.iter().all(|pair| pair.matches(group.attributes()))
    }

    fn has_scope(&self, group: ScopeGroup<'_>) -> bool {
        let version = || {
            let version = group.scope().and_then(|scope| scope.field(scope::VERSION));
            version.map(Field::bytes).unwrap_or_default()
        };
        let matches = |library: &Library| {
            library.name.matches(group.name()) && fits(&library.version, version())
        };
        self.libraries.is_empty() || self.libraries.iter().any(matches)
    }

    fn has_item(&self, signal: Signal, item: Message<'_>) -> bool {
        match signal {
            Signal::Traces => {
                let kind = || KINDS.get(Span(item).kind() as usize).copied().unwrap_or_default();
                fits(&self.span_names, Span(item).name())
                    && self.span_kinds.as_ref().is_none_or(|k| k.matches(kind().as_bytes()))
                    && self.has_attributes(item, span::ATTRIBUTES)
            }
            Signal::Logs => {
                self.has_log(LogRecord(item)) && self.has_attributes(item, log_record::ATTRIBUTES)
            }
            Signal::Metrics => self.metric_names.as_ref().is_none_or(|names| {
                let name = item.field(metric::NAME).map(Field::bytes);
                names.matches(name.unwrap_or_default())
            }),
        }
    }

    fn has_attributes(&self, item: Message<'_>, number: u32) -> bool {
        self.attributes.iter().all(|pair| pair.matches(attributes(item, number)))
    }

    fn has_log(&self, record: LogRecord<'_>) -> bool {
        let body = |bodies: &Texts| record.body().as_text().is_some_and(|t| bodies.matches(t));
        self.log_bodies.as_ref().is_none_or(body)
            && fits(&self.log_severity_texts, record.severity_text())
            && self.log_severity_number.as_ref().is_none_or(|severity| {
                let number = record.0.field(log_record::SEVERITY_NUMBER);
                match number.map_or(0, Field::number_value) {
                    0 => severity.match_undefined,
                    number => number >= severity.min,
                }
            })
    }
}

#[cfg(test)]
mod tests;
