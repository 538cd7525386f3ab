//! What must be known of a fragment's head before it is judged.

use crate::otlp::fields::{link, span};
use crate::otlp::view::{self, Attribute};
use crate::otlp::wire::Field;
use crate::processors::inspect::Item;
use crate::processors::names::{Names, Pattern};

/// Span kinds, by number.
const SERVER: u64 = 2;
const CONSUMER: u64 = 5;

/// Span flags: whether it is known that the parent is in another process, and whether it is.
const HAS_IS_REMOTE: u64 = 0x100;
const IS_REMOTE: u64 = 0x200;

/// What an agent's span does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Tool,
    Llm,
}

/// An attribute key that tells the role.
#[derive(Clone, Copy)]
pub enum Tell {
    /// Its values for a tool and for an LLM call.
    Values(&'static str, &'static [&'static str]),
    /// The span is tagged already.
    Tagged,
}

const TELLS: &[(&str, Tell)] = &[
    (
        "gen_ai.operation.name",
        Tell::Values("execute_tool", &["chat", "generate_content", "text_completion"]),
    ),
    ("openinference.span.kind", Tell::Values("TOOL", &["LLM"])),
    ("traceloop.span.kind", Tell::Values("tool", &[])),
    ("langfuse.observation.type", Tell::Values("tool", &["generation"])),
];

/// The keys to look for, `tag` being the one that a tagged span has.
pub fn tells(tag: &str) -> Names<Tell> {
    let tells = TELLS.iter().map(|(key, tell)| (Pattern::exact(key), *tell));
    Names::new(tells.chain([(Pattern::exact(tag), Tell::Tagged)]))
}

/// A head, read whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    pub start: u64,
    pub end: u64,
    pub role: Option<Role>,
    /// Whether an earlier tagger has been here.
    pub tagged: bool,
    kind: u64,
    flags: u64,
    links: bool,
    links_elsewhere: bool,
}

impl Head {
    /// Reads `span`.
    pub fn read(span: &Item<'_>, tells: &Names<Tell>) -> Head {
        let mut head = Head::default();
        for part in &span.parts {
            let field = span.field(*part);
            match part.number() {
                span::KIND => head.kind = field.number_value(),
                span::START_TIME => head.start = field.number_value(),
                span::END_TIME => head.end = field.number_value(),
                span::FLAGS => head.flags = field.number_value(),
                span::LINKS => {
                    let link = field.message().and_then(|link| link.field(link::TRACE_ID));
                    head.links = true;
                    head.links_elsewhere |= link.is_some_and(|id| id.bytes() != span.trace_id);
                }
                _ => {}
            }
        }
        for attribute in &span.attributes {
            let field = span.field(*attribute);
            if let Some(tell) = tells.find(view::key(&field)) {
                head.attribute(field, tell);
            }
        }
        head
    }

    fn attribute(&mut self, field: Field<'_>, tell: Tell) {
        match tell {
            Tell::Values(tool, llm) => {
                let value = Attribute::of(field).and_then(|a| a.value.as_text());
                let value = view::text(value.unwrap_or_default());
                if value == tool {
                    self.role = Some(Role::Tool);
                } else if llm.contains(&value) {
                    self.role = self.role.or(Some(Role::Llm));
                }
            }
            Tell::Tagged => self.tagged = true,
        }
    }

    /// Whether a head may stand at the top of its fragment: it says by a link where it comes from,
    /// or it answers a caller who may well not be instrumented.
    pub fn is_legitimate(&self) -> bool {
        self.links_elsewhere || self.kind == SERVER || (self.kind == CONSUMER && self.links)
    }

    /// Why a root stands in the middle of a trace, as far as the span itself tells.
    pub fn root_cause(&self) -> Option<&'static str> {
        if self.kind == CONSUMER {
            return Some("consumer_root_without_link");
        }
        (self.role == Some(Role::Llm)).then_some("llm_root")
    }

    /// Where the missing parent must be, by the span's flags.
    pub fn parent_cause(&self) -> &'static str {
        match (self.flags & HAS_IS_REMOTE != 0, self.flags & IS_REMOTE != 0) {
            (true, false) => "pending_local",
            (true, true) => "remote_unseen",
            (false, _) => "unknown",
        }
    }
}
