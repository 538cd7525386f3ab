//! From the configuration to properties, with every mistake in its place.

use super::super::Setup;
use super::super::actions::values::encode;
use super::{KINDS, Library, Pair, Properties, Selection, Severity, Texts, Wanted};
use crate::batch::Signal;
use crate::condition::pattern;
use crate::config::{Key, Problems, Section};

const REGEXP: &[Key] = &[
    Key::ignored("cacheenabled", "matching takes linear time and needs no cache"),
    Key::ignored("cachemaxnumentries", "matching takes linear time and needs no cache"),
];

const PAIR: &[Key] = &[
    Key::text("key", "", "the attribute").required(),
    Key::any("value", "its value, or the regular expression for it; absent: any"),
];

const LIBRARY: &[Key] = &[
    Key::text("name", "", "of the instrumentation scope").required(),
    Key::any("version", "of the instrumentation scope; absent: any"),
];

const SEVERITY: &[Key] = &[
    Key::int("min", 0, 0..=24, "the lowest severity number that matches"),
    Key::bool("match_undefined", false, "whether records without a severity number match"),
];

/// The keys of `include` and `exclude`.
pub const KEYS: &[Key] = &[
    Key::choice("match_type", &["strict", "regexp"], "", "how texts are compared").required(),
    Key::object("regexp", REGEXP, "of match_type regexp"),
    Key::list_of_text("services", &[], "service.name of the resource, one of these"),
    Key::list_of_text("span_names", &[], "the span's name, one of these"),
    Key::list_of_text("span_kinds", &[], "the span's kind, one of these: SPAN_KIND_SERVER, ..."),
    Key::list_of_text("log_bodies", &[], "the record's body if it is a text, one of these"),
    Key::list_of_text("log_severity_texts", &[], "the record's severity text, one of these"),
    Key::optional_object("log_severity_number", SEVERITY, "the record's severity number"),
    Key::list_of_text("metric_names", &[], "the metric's name, one of these"),
    Key::list_of_objects("attributes", PAIR, "attributes of the item, all of these"),
    Key::list_of_objects("resources", PAIR, "attributes of the resource, all of these"),
    Key::list_of_objects("libraries", LIBRARY, "the instrumentation scope, one of these"),
];

/// The properties, and the signals that have them.
const PROPERTIES: &[(&str, &[Signal])] = &[
    ("services", &Signal::ALL),
    ("span_names", &[Signal::Traces]),
    ("span_kinds", &[Signal::Traces]),
    ("log_bodies", &[Signal::Logs]),
    ("log_severity_texts", &[Signal::Logs]),
    ("log_severity_number", &[Signal::Logs]),
    ("metric_names", &[Signal::Metrics]),
    ("attributes", &[Signal::Traces, Signal::Logs]),
    ("resources", &Signal::ALL),
    ("libraries", &Signal::ALL),
];

/// The signals that have the property `name`.
pub(super) fn signals(name: &str) -> &'static [Signal] {
    PROPERTIES.iter().find(|(known, _)| *known == name).map_or(&[], |(_, signals)| signals)
}

impl Selection {
    /// Reports the mistakes in `include` and `exclude` of `section`, which are the keys of a
    /// processor of `signals`.
    pub fn check(section: &Section, signals: &[Signal], problems: &mut Problems) {
        for key in ["include", "exclude"] {
            if let Some(section) = section.optional_section(key) {
                let properties = properties(section, problems);
                check_signals(&properties.names, section, signals, problems);
            }
        }
    }

    /// The selection that the checked `section` describes.
    pub fn build(section: &Section, setup: &Setup<'_>) -> Selection {
        let read = |key| {
            let section: Option<&Section> = section.optional_section(key);
            section.map(|section| properties(section, &mut Problems::new()))
        };
        Selection::of(read("include"), read("exclude"), setup)
    }
}

/// Reports properties that no item can have.
fn check_signals(
    names: &[&'static str],
    section: &Section,
    of_processor: &[Signal],
    problems: &mut Problems,
) {
    if names.is_empty() {
        let all: Vec<_> = PROPERTIES.iter().map(|(name, _)| *name).collect();
        let text = format!("says nothing to match; write at least one of {}", all.join(", "));
        return section.error(problems, "", text);
    }
    let mut fine = true;
    for name in names.iter().filter(|name| !signals(name).iter().any(|s| of_processor.contains(s)))
    {
        let [of, has] = [signals(name), of_processor].map(|signals| {
            signals.iter().map(|signal| signal.name()).collect::<Vec<_>>().join(" and ")
        });
        section.error(problems, name, format!("is a property of {of}; this processor has {has}"));
        fine = false;
    }
    let possible = |signal: &&Signal| names.iter().all(|name| signals(name).contains(signal));
    if fine && !of_processor.iter().any(|signal| possible(&signal)) {
        let names = names.join(", ");
        let text = format!(
            "no signal has all of {names}, so nothing can match; write one processor for each \
             signal"
        );
        section.error(problems, "", text);
    }
}

fn properties(section: &Section, problems: &mut Problems) -> Properties {
    let is_regexp = section.text("match_type") == "regexp";
    let mut reader = Reader { section, is_regexp, names: vec![], problems };
    let severity = section.optional_section("log_severity_number");
    if severity.is_some() {
        reader.names.push("log_severity_number");
    }
    let mut properties = Properties {
        services: reader.texts("services"),
        span_names: reader.texts("span_names"),
        span_kinds: reader.texts("span_kinds"),
        log_bodies: reader.texts("log_bodies"),
        log_severity_texts: reader.texts("log_severity_texts"),
        log_severity_number: severity.map(|severity| Severity {
            min: severity.count("min") as u64,
            match_undefined: severity.bool("match_undefined"),
        }),
        metric_names: reader.texts("metric_names"),
        attributes: reader.pairs("attributes"),
        resources: reader.pairs("resources"),
        libraries: reader.libraries(),
        names: vec![],
    };
    reader.kinds();
    properties.names = reader.names;
    properties
}

struct Reader<'r> {
    section: &'r Section,
    is_regexp: bool,
    names: Vec<&'static str>,
    problems: &'r mut Problems,
}

impl Reader<'_> {
    fn error(&mut self, section: &Section, key: &str, at: &str, text: String) {
        let path = format!("{}{at}", section.path_of(key));
        self.problems.error(section.place(key), path, text);
    }

    /// A list of texts; `None` if it is absent or empty.
    fn texts(&mut self, key: &'static str) -> Option<Texts> {
        let section = self.section;
        let texts = section.list(key);
        if texts.is_empty() {
            return None;
        }
        self.names.push(key);
        let mut all = vec![];
        for (index, text) in texts.iter().enumerate() {
            all.extend(self.text(section, key, &format!("[{index}]"), text));
        }
        Some(all.into_iter().fold(self.none(), joined))
    }

    fn none(&self) -> Texts {
        if self.is_regexp { Texts::Regexp(vec![]) } else { Texts::Strict(vec![]) }
    }

    /// One text, or a regular expression.
    fn text(&mut self, section: &Section, key: &str, at: &str, text: &str) -> Option<Texts> {
        if !self.is_regexp {
            return Some(Texts::Strict(vec![text.to_owned()]));
        }
        match pattern(text) {
            Ok(pattern) => Some(Texts::Regexp(vec![pattern])),
            Err(what) => {
                self.error(section, key, at, what);
                None
            }
        }
    }

    fn pairs(&mut self, key: &'static str) -> Vec<Pair> {
        let sections = self.section.sections(key);
        if !sections.is_empty() {
            self.names.push(key);
        }
        let mut pairs = vec![];
        for section in sections {
            let value = match section.node("value") {
                None => None,
                Some(node) if !self.is_regexp => Some(Wanted::Equal(encode(node))),
                Some(node) => match node.text().map(pattern) {
                    Some(Ok(pattern)) => Some(Wanted::Match(pattern)),
                    Some(Err(text)) => {
                        self.error(section, "value", "", text);
                        continue;
                    }
                    None => {
                        let found = node.describe();
                        let text = format!(
                            "found {found}; match_type regexp wants a regular expression as a \
                             text, in quotes"
                        );
                        self.error(section, "value", "", text);
                        continue;
                    }
                },
            };
            pairs.push(Pair { key: section.text("key").as_bytes().to_vec(), value });
        }
        pairs
    }

    fn libraries(&mut self) -> Vec<Library> {
        let sections = self.section.sections("libraries");
        if !sections.is_empty() {
            self.names.push("libraries");
        }
        let mut libraries = vec![];
        for section in sections {
            let name = self.text(section, "name", "", section.text("name"));
            let version = match section.node("version").map(|node| (node, node.text())) {
                None => None,
                Some((_, Some(text))) => self.text(section, "version", "", text),
                Some((node, None)) => {
                    let found = node.describe();
                    let text = format!("found {found}; put quotes around it to make it a text");
                    self.error(section, "version", "", text);
                    continue;
                }
            };
            libraries.extend(name.map(|name| Library { name, version }));
        }
        libraries
    }

    /// Kinds that are compared strictly are names of kinds.
    fn kinds(&mut self) {
        let section = self.section;
        for (index, kind) in section.list("span_kinds").iter().enumerate() {
            let known = self.is_regexp || KINDS.iter().skip(1).any(|name| name == kind);
            if !known {
                let names = KINDS.get(1..).unwrap_or_default().join(", ");
                let text = format!("found {kind:?}; write one of {names}");
                self.error(section, "span_kinds", &format!("[{index}]"), text);
            }
        }
    }
}

/// The texts of both, which are of one sort.
fn joined(all: Texts, one: Texts) -> Texts {
    match (all, one) {
        (Texts::Strict(mut all), Texts::Strict(one)) => {
            all.extend(one);
            Texts::Strict(all)
        }
        (Texts::Regexp(mut all), Texts::Regexp(one)) => {
            all.extend(one);
            Texts::Regexp(all)
        }
        (all, _) => all,
    }
}
