//! `sensitive`: takes out what must not leave, and says how much it took.
//!
//! Removed are span events and log records that are marked (an attribute `sensitive` or
//! `app.sensitive` that is true: a bool, one of the texts true, 1, yes, on in any case, or a
//! number other than 0) or that are GenAI content by name, and the content and credential
//! attributes of spans, their events and links, and log records. The names are in [`names`]. Span
//! structure, times, ids, models and token counts stay.
//!
//! Each span, event, link and record counts what it lost in its own `dropped_*_count`; spans and
//! records also say so in `app.agent.sensitive.removed_events` and `.removed_attributes`. The
//! counters `spanloom_sensitive_removed_events`, `_attributes` and `_log_records` count by rule.
//!
//! Absent here: values are not looked into (text of an exception, of a status, JSON within text,
//! secrets by their form), nor are arrays and maps, resources and scopes. Metrics pass untouched.

mod names;
mod scrub;

use super::inspect::{Inspection, Inspector};
use super::names::Names;
use super::{Built, Kind, Out, Setup, Stateless};
use crate::batch::Batch;
use crate::config::catalog::{Class, no_check};
use crate::config::{Component, Key, Section};
use crate::moment::Moment;
use crate::telemetry::Counter;
use scrub::{Removed, Scrub};
use std::sync::Arc;

const KEYS: &[Key] = &[
    Key::choice(
        "preset",
        &["content", "marked"],
        "content",
        "what goes: GenAI content by name and what is marked, or only what is marked",
    ),
    Key::list_of_text(
        "mark_keys",
        &["sensitive", "app.sensitive"],
        "attributes that mark an event or a log record as sensitive if they are true",
    ),
    Key::text("prefix", "app.agent", "what the names of attributes written here begin with"),
];

const SAMPLE: &str = "\
# content: what is marked and GenAI content by name; marked: only what is marked
preset: content
# attributes that mark an event or a log record
mark_keys: [sensitive, app.sensitive]
# of the attributes that say how much was removed
prefix: app.agent
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "sensitive",
        aliases: &[],
        about: "removes marked events and log records and GenAI content",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: KEYS,
        check: no_check,
    },
    build: |section, setup| {
        let rules = Arc::new(Rules::new(section, setup));
        let keys = rules.attributes.patterns().into_iter().map(|pattern| (pattern, ()));
        let keys = Arc::new(Names::new(keys));
        Built::Stateless(Arc::new(Sensitive { rules, keys }))
    },
};

/// What an attribute key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    /// A mark, if the value is true.
    Mark,
    /// Stays, whatever other patterns say.
    Keep,
    Remove(Rule),
    /// Where older senders put the name of a log record's event.
    EventName,
}

/// Why something was removed: the label `rule` of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Marked,
    ContentEvent,
    ContentAttribute,
    ContentBody,
    Credential,
}

impl Rule {
    const ALL: [Rule; 5] = [
        Rule::Marked,
        Rule::ContentEvent,
        Rule::ContentAttribute,
        Rule::ContentBody,
        Rule::Credential,
    ];

    fn name(self) -> &'static str {
        match self {
            Rule::Marked => "marked",
            Rule::ContentEvent => "content_event",
            Rule::ContentAttribute => "content_attribute",
            Rule::ContentBody => "content_body",
            Rule::Credential => "credential",
        }
    }
}

/// The processor.
struct Sensitive {
    rules: Arc<Rules>,
    keys: Arc<Names<()>>,
}

/// What it goes by.
struct Rules {
    attributes: Names<Hit>,
    events: Names<Rule>,
    /// Keys of the attributes that say how much was removed.
    removed_events: String,
    removed_attributes: String,
    counters: Counters,
}

/// One counter for each rule that removes such a thing.
struct Counters {
    events: Vec<(Rule, Counter)>,
    attributes: Vec<(Rule, Counter)>,
    records: Vec<(Rule, Counter)>,
}

impl Rules {
    fn new(section: &Section, setup: &Setup<'_>) -> Rules {
        let prefix = section.text("prefix");
        let removed_events = format!("{prefix}.sensitive.removed_events");
        let removed_attributes = format!("{prefix}.sensitive.removed_attributes");
        let content = section.text("preset") == "content";
        let own = [removed_events.as_str(), removed_attributes.as_str()];
        Rules {
            attributes: names::attributes(section.list("mark_keys"), own, content),
            events: names::events(content),
            removed_events,
            removed_attributes,
            counters: Counters::new(setup),
        }
    }
}

impl Stateless for Sensitive {
    fn process(&self, batch: Batch, now: Moment, out: &mut Out) {
        let scrub = Box::new(Scrub::new(self.rules.clone()));
        out.pass(Inspection::of(scrub, self.keys.clone()).run(batch, now));
    }

    fn inspector(&self) -> Option<Box<dyn Inspector>> {
        Some(Box::new(Scrub::new(self.rules.clone())))
    }
}

impl Counters {
    fn new(setup: &Setup<'_>) -> Counters {
        let counters = |what: &str, help: &str, rules: &[Rule]| {
            let name = format!("spanloom_sensitive_removed_{what}");
            let of = |rule: &Rule| (*rule, setup.counter(&name, help, &[("rule", rule.name())]));
            rules.iter().map(of).collect()
        };
        let whole = [Rule::Marked, Rule::ContentEvent];
        let parts = [Rule::ContentAttribute, Rule::ContentBody, Rule::Credential];
        Counters {
            events: counters("events", "Span events removed, by rule.", &whole),
            attributes: counters("attributes", "Attributes and bodies removed, by rule.", &parts),
            records: counters("log_records", "Log records removed, by rule.", &whole),
        }
    }

    fn add(&self, removed: &Removed) {
        let pairs = [
            (&self.events, &removed.events),
            (&self.attributes, &removed.attributes),
            (&self.records, &removed.records),
        ];
        for (counters, tally) in pairs {
            for (rule, counter) in counters {
                let n = tally.of(*rule);
                if n > 0 {
                    counter.add(n);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
