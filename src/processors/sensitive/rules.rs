//! The rules: those that come with the presets, by name, and the user's own.

use super::detect::{self, Detector, Detectors};
use super::names::Hit;
use crate::condition::Conditions;
use crate::processors::names::Names;
use crate::telemetry::Counter;
use regex::bytes::Regex;
use ring::hmac;

/// The place of a rule in the list of all: the built-in ones, the detectors, the user's.
pub type RuleId = usize;

pub const MARKED: RuleId = 0;
pub const CONTENT_EVENT: RuleId = 1;
pub const CONTENT: RuleId = 2;
pub const BODY: RuleId = 3;
pub const CREDENTIAL: RuleId = 4;
pub const PROCESS: RuleId = 5;
pub const ERROR_TEXT: RuleId = 6;
pub const NOT_ALLOWED: RuleId = 7;

/// Names of the built-in rules: the label `rule` of the counters.
pub const BUILT_IN: [&str; 8] = [
    "marked",
    "content_event",
    "content_attribute",
    "content_body",
    "credential",
    "process",
    "error_text",
    "not_allowed",
];

/// The id of a detector's rule.
pub fn of_detector(class: detect::Class) -> RuleId {
    BUILT_IN.len() + detect::place(class)
}

/// The id of the user's rule at `place`.
pub fn of_user(place: usize) -> RuleId {
    BUILT_IN.len() + detect::ALL.len() + place
}

/// A pattern of names: `*` stands for anything.
#[derive(Clone, Debug)]
pub struct Glob(Vec<Vec<u8>>);

impl Glob {
    pub fn new(text: &str) -> Glob {
        Glob(text.split('*').map(Vec::from).collect())
    }

    pub fn matches(&self, name: &[u8]) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|only| only == name);
        };
        let Some(rest) = name.strip_prefix(first.as_slice()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_slice()) else { return false };
        for part in middle {
            let Some(at) = memchr::memmem::find(rest, part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        true
    }
}

/// A text that is no attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    SpanName,
    EventName,
    StatusMessage,
    TraceState,
    ScopeName,
    Body,
}

impl Place {
    pub const NAMES: [&str; 6] =
        ["span_name", "event_name", "status_message", "trace_state", "scope_name", "body"];
    const ALL: [Place; 6] = [
        Place::SpanName,
        Place::EventName,
        Place::StatusMessage,
        Place::TraceState,
        Place::ScopeName,
        Place::Body,
    ];

    pub fn named(name: &str) -> Option<Place> {
        let at = Place::NAMES.iter().position(|known| *known == name)?;
        Place::ALL.get(at).copied()
    }
}

/// What a rule is asked about.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// The key of an attribute, or of a member of a map.
    Key(&'a [u8]),
    Text(Place),
    /// A span event or a log record, by its name.
    Event(&'a [u8]),
}

/// What a rule looks for within texts.
pub enum Find {
    Pattern(Regex),
    Detectors(Box<Detectors>),
}

impl Find {
    /// Calls `each` with the ranges that it finds in `text`.
    pub fn each(&self, text: &[u8], mut each: impl FnMut(usize, usize)) {
        match self {
            Find::Pattern(pattern) => {
                let found = pattern.find_iter(text).filter(|found| !found.is_empty());
                found.for_each(|found| each(found.start(), found.end()));
            }
            Find::Detectors(detectors) => {
                let mut hits = vec![];
                detectors.find(text, &mut hits);
                hits.iter().for_each(|hit| each(hit.from, hit.to));
            }
        }
    }

    pub fn is_in(&self, text: &[u8]) -> bool {
        let mut found = false;
        self.each(text, |_, _| found = true);
        found
    }
}

/// What becomes of what a rule matches.
pub enum Action {
    Drop,
    Mask(Vec<u8>),
    Hash(hmac::Key),
    /// To so many characters.
    Truncate(usize),
    Keep,
}

/// A rule of the user.
pub struct UserRule {
    pub name: String,
    pub action: Action,
    pub keys: Vec<Glob>,
    pub events: Vec<Glob>,
    pub texts: Vec<Place>,
    pub find: Option<Find>,
    /// The place of its condition, if it has one that can be asked in this pipeline; `Err` if it
    /// has one that cannot.
    pub condition: Result<Option<usize>, ()>,
}

impl UserRule {
    /// Whether the rule is about `subject`. One that only looks into texts is about all of them.
    pub fn is_about(&self, subject: Subject<'_>) -> bool {
        let any = self.keys.is_empty() && self.texts.is_empty() && self.events.is_empty();
        match subject {
            Subject::Key(key) => any || self.keys.iter().any(|glob| glob.matches(key)),
            Subject::Text(place) => any || self.texts.contains(&place),
            Subject::Event(name) => self.events.iter().any(|glob| glob.matches(name)),
        }
    }

    /// Whether it changes parts of texts, and not the whole of what it is about.
    pub fn is_partial(&self) -> bool {
        self.find.is_some()
            && matches!(self.action, Action::Mask(_) | Action::Hash(_) | Action::Keep)
    }
}

/// What goes without a rule of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    Content,
    Marked,
    Strict,
}

/// All that the processor goes by.
pub struct Rules {
    pub preset: Preset,
    pub attributes: Names<Hit>,
    pub events: Names<RuleId>,
    pub allowed: Names<()>,
    pub allowed_globs: Vec<Glob>,
    pub detectors: Option<Detectors>,
    pub user: Vec<UserRule>,
    pub conditions: Conditions,
    pub dry_run: bool,
    pub keys: CountKeys,
    pub counters: Counters,
}

/// Keys of the attributes that say how much was removed, and of what stays of it.
pub struct CountKeys {
    pub events: String,
    pub attributes: String,
    pub values: String,
    pub call_ids: String,
}

impl CountKeys {
    pub fn has(&self, key: &[u8]) -> bool {
        [&self.events, &self.attributes, &self.values].iter().any(|own| own.as_bytes() == key)
    }
}

impl Rules {
    /// Whether every attribute must be asked about.
    pub fn is_thorough(&self) -> bool {
        !self.user.is_empty() || self.preset == Preset::Strict
    }

    pub fn is_allowed(&self, key: &[u8]) -> bool {
        self.allowed.find(key).is_some() || self.allowed_globs.iter().any(|glob| glob.matches(key))
    }

    /// The user's rule at `place` of the list of all.
    pub fn detector(class: detect::Class) -> Option<&'static Detector> {
        detect::ALL.get(detect::place(class))
    }
}

/// How many things each rule removed.
#[derive(Clone, Debug, Default)]
pub struct Tally(Vec<usize>);

impl Tally {
    pub fn add(&mut self, rule: RuleId, n: usize) {
        if rule >= self.0.len() {
            self.0.resize(rule + 1, 0);
        }
        if let Some(count) = self.0.get_mut(rule) {
            *count += n;
        }
    }
}

/// What was removed from a request.
#[derive(Debug, Default)]
pub struct Removed {
    pub events: Tally,
    pub attributes: Tally,
    pub records: Tally,
    pub values: Tally,
}

/// The counters of one kind of thing, by rule.
pub type ByRule = Vec<(RuleId, Counter)>;

pub struct Counters {
    pub events: ByRule,
    pub attributes: ByRule,
    pub records: ByRule,
    pub values: ByRule,
}

impl Counters {
    /// Adds what was removed, and forgets it.
    pub fn add(&self, removed: &mut Removed) {
        let pairs = [
            (&self.events, &mut removed.events),
            (&self.attributes, &mut removed.attributes),
            (&self.records, &mut removed.records),
            (&self.values, &mut removed.values),
        ];
        for (counters, tally) in pairs {
            for (rule, counter) in counters {
                let count = tally.0.get_mut(*rule).map(std::mem::take).unwrap_or(0);
                if count > 0 {
                    counter.add(count);
                }
            }
        }
    }
}
