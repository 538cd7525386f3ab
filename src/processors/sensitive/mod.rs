//! `sensitive`: takes out what must not leave, and says how much it took.
//!
//! Three things lead to it: a mark (an attribute `sensitive` or `app.sensitive` that is true, on
//! an event, a record, a span, a scope or a resource), a name that carries content or credentials
//! in some GenAI dialect ([`names`]), and the form of a secret ([`detect`]). Looked at is every
//! place where text can stand: attributes of resources, scopes, spans, events, links, records,
//! points and exemplars, with the maps, arrays and JSON inside them; bodies; names; status
//! messages; trace states. Of exceptions the type and the frames stay. Ids, times, kinds, links
//! and token counts always do, and no span is ever dropped. Below a mark on a span, scope or
//! resource, and with the preset `strict`, only what is on a list stays.
//!
//! Of messages that go the ids of the calls of tools stay ([`calls`]).
//!
//! Rules of the user come first, and the first that is about something decides ([`rules`]).
//!
//! Each span, event, link and record counts what it lost in its own `dropped_*_count`; spans and
//! records also say so in `app.agent.sensitive.removed_events`, `.removed_attributes` and
//! `.redacted_values`. The counters `spanloom_sensitive_removed_events`, `_attributes`,
//! `_log_records` and `spanloom_sensitive_redacted_values` count by rule.
//!
//! Absent here: text that is neither named, marked nor of a known form; names of metrics and of
//! attributes; text in other encodings than JSON and UTF-8.

mod allowed;
mod calls;
mod detect;
mod exception;
mod json;
mod names;
mod parameters;
mod parts;
mod quick;
mod read;
mod rules;
mod scrub;
mod value;

use super::inspect::{Inspection, Inspector};
use super::{Built, Kind, Out, Stateless};
use crate::batch::Batch;
use crate::config::Component;
use crate::config::catalog::Class;
use crate::moment::Moment;
use rules::Rules;
use scrub::Scrub;
use std::sync::{Arc, Mutex, PoisonError};

const SAMPLE: &str = r#"# content: what is marked, content and credentials by name, secrets by form;
# marked: only what is marked; strict: all but what is on a list and in allow_keys
preset: content
# with strict: further attributes that stay; * stands for anything
allow_keys: []
# attributes that mark an event, a log record, a span, a scope or a resource
mark_keys: [sensitive, app.sensitive]
# what is recognised by its form; phone, ssn, ip and high_entropy are off
detectors: {email: true, payment_card: true, phone: false}
# before all that; the first rule that is about something decides
rules:
  - name: users              # the label of its counters
    keys: [user.id, enduser.*]
    action: hash             # drop, mask, hash, truncate, keep
    key: ${env:SPANLOOM_HASH_KEY:-change-me}
  - name: tickets
    pattern: 'TICKET-\d{6}'  # or detectors: [phone]
    action: mask
    mask: '[ticket]'
  - name: chatter
    events: [debug.*]        # span events and log records
    when: resource.attributes["service.name"] == "planner"
    action: drop
# count and tag, and change nothing
dry_run: false
# of the attributes that say how much was removed
prefix: app.agent
"#;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "sensitive",
        aliases: &[],
        about: "removes GenAI content, marked items, credentials and personal data",
        sample: SAMPLE,
        signals: &["traces", "metrics", "logs"],
        keys: read::KEYS,
        check: |section, problems| read::check(section, problems),
    },
    build: |section, setup| {
        let rules = Arc::new(read::rules(section, setup));
        Built::Stateless(Arc::new(Sensitive { rules, idle: Mutex::default() }))
    },
};

/// The processor.
struct Sensitive {
    rules: Arc<Rules>,
    /// Inspections that are not running: as many as ever ran at once, since each connection runs
    /// its own.
    idle: Mutex<Vec<Inspection<'static>>>,
}

impl Stateless for Sensitive {
    fn process(&self, batch: Batch, now: Moment, out: &mut Out) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let new = || Inspection::new(vec![Box::new(Scrub::new(self.rules.clone()))]);
        let mut inspection = idle.unwrap_or_else(new);
        out.pass(inspection.run(batch, now));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(inspection);
    }

    fn inspector(&self) -> Option<Box<dyn Inspector>> {
        Some(Box::new(Scrub::new(self.rules.clone())))
    }
}

#[cfg(test)]
mod tests;
