//! `orphans`: names the spans at which a trace is torn, from what evidence, and where they belong.
//!
//! A *head* is a span without parent, or one whose parent has not come. Heads that may be torn off
//! wait `head_hold` for evidence, everything else passes at once. What is found:
//!
//! - `tool_call_root`: a head that executes a tool.
//! - `trace_discontinuity`: a root that an exact key joins to another trace: the context that it
//!   was called with, ids of the framework's own, the id of a call of a tool, of a message, of an
//!   MCP request, of an A2A task; or a call without an answer that takes as long.
//! - `mid_sequence_root`: a root amid another trace of its session, or a second one in its trace.
//! - `missing_parent`, mostly `pending`: a span whose parent did not come although the trace's
//!   root did, or nothing of the trace came for `settle`, and the memory reaches back to its first
//!   span.
//! - `unexplained_gap`: time between the end of the parent and the head, beside one of those.
//! - `over_merged`: a trace of several sessions, or an endless one without a root.
//!
//! Not tagged: heads with a link to another trace, CONSUMER spans with any link, what says of
//! itself that it is a root, roots with the name of a probe or a configured one ([`roots`]), and
//! SERVER spans of services that nobody was seen to call, which are counted.
//!
//! Tags are attributes, listed in [`tags`]. Spans of different tenants are never joined, a parent
//! is one that was seen or that a span named which was seen, and several parents with an equal
//! claim are none. All memory is bounded in entries and time, held heads in bytes.
//!
//! Exact keys choose a parent by themselves ([`matching`]). Without one, whoever may be it is
//! weighed: clients of the head's service ([`calls`]), spans of its session or trace that were open
//! ([`holders`]), runs of its own process ([`process`]), against each other and against nobody
//! ([`weights`]), by what was learned of intact spans ([`learning`], [`delays`]).
//!
//! Modes are [`rewrite`] and [`links`] above tagging. Behind a window fragments are held whole.
//!
//! Log records follow a rewritten trace ([`records`]).
//!
//! Absent here: exemplars of metrics that follow a rewritten trace, links from
//! a parent that has left ([`backs`]).

mod ages;
mod arguments;
mod backs;
mod bridge;
mod calls;
mod delays;
mod engine;
mod facts;
mod fates;
mod gaps;
mod hold;
mod holders;
mod ids;
mod index;
mod judge;
mod learning;
mod ledger;
mod links;
mod matching;
mod meters;
mod node;
mod noted;
mod process;
mod records;
pub mod remedy;
mod rewrite;
mod roots;
mod seen;
mod services;
pub mod tags;
mod trace;
mod weights;
mod words;

use super::{Built, Kind};
use crate::batch::Signal;
use crate::config::catalog::{Class, no_check};
use crate::config::{Component, Key, Section};
use crate::limits;
use engine::Orphans;
use records::Records;

/// What is done about a torn trace: heads are tagged; they and their parent are linked too; or the
/// whole fragment gets its parent's trace, if that is certain.
const MODES: &[&str] = &["tag", "link", "rewrite"];

/// The modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Tag,
    Link,
    Rewrite,
}

impl Mode {
    fn of(section: &Section) -> Mode {
        match section.text("mode") {
            "rewrite" => Mode::Rewrite,
            "link" => Mode::Link,
            _ => Mode::Tag,
        }
    }
}

const KEYS: &[Key] = &[
    Key::choice("mode", MODES, "tag", "what is done about a torn trace"),
    Key::text("prefix", tags::PREFIX, "what the names of attributes written here begin with"),
    Key::duration("head_hold", limits::ORPHAN_HOLD, "how long a head waits for evidence"),
    Key::duration(
        "hold_max",
        limits::ORPHAN_HOLD_MAX,
        "how long it waits while its trace has no root and grows",
    ),
    Key::duration(
        "settle",
        limits::ORPHAN_SETTLE,
        "time behind a trace's root after which a parent that never came is missing",
    ),
    Key::duration(
        "ledger",
        limits::ORPHAN_LEDGER_TIME,
        "how long a head's parent is looked out for after it left, and told by a span of its own",
    ),
    Key::list_of_text(
        "roots",
        &[],
        "names of spans at which a trace may begin; a star ends a begin",
    ),
    Key::bool(
        "external",
        false,
        "whether servers and their tools that nobody was seen to call are tagged",
    ),
    Key::choice("tool_parent", &["agent", "model"], "agent", "what the parent of a tool is"),
    Key::text("tenant", "tenant.id", "the attribute by which tenants are told apart"),
    Key::size_mib("limit_mib", limits::ORPHAN_MIB, "memory for heads that wait, in MiB"),
    Key::int("limit_traces", limits::ORPHAN_TRACES, 1..=1 << 24, "traces that are remembered"),
    Key::int("limit_spans", limits::ORPHAN_SPANS, 2..=1 << 28, "span ids that are remembered"),
    Key::int(
        "limit_boundaries",
        limits::ORPHAN_BOUNDARIES,
        2..=1 << 24,
        "calls, agents and tools that are remembered as parents",
    ),
    Key::duration("ttl", limits::TRACE_TTL, "how long a silent trace is remembered"),
];

const SAMPLE: &str = "\
# tag: heads are tagged. link: they and their parent get links too. rewrite: the whole fragment gets
# the trace of its parent where an exact key joins them, and in a pipeline of logs its records too;
# list trace_window before it
mode: tag
# of the attributes that tag a span
prefix: app.agent
# how long a head waits for evidence of its parent, and how long while its trace has no root and
# still grows; 0s judges at once by what is known
head_hold: 15s
hold_max: 60s
# time behind a trace's root after which a parent that never came is missing
settle: 15s
# how long a head's parent is looked out for after the head has left: a span of its own below
# it tells of that; 0s for not at all
ledger: 12h
# names of spans at which a trace may begin, such as `nightly report` or `cron *`; probes are known
roots: []
# whether servers whose caller sends no spans here, and tools in them, are tagged too
external: false
# where a tool belongs: below the agent, or below the call of the model that asked for it
tool_parent: agent
# an attribute of resources or spans; spans with different values are never joined
tenant: tenant.id
# memory for heads that wait; beyond it the oldest are judged early
limit_mib: 24
# the memory of traces, span ids, and of calls, agents and tools
limit_traces: 50000
limit_spans: 500000
limit_boundaries: 100000
ttl: 10m
";

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Processor,
        name: "orphans",
        aliases: &[],
        about: "tags the spans at which a trace is torn",
        sample: SAMPLE,
        signals: &["traces", "logs"],
        keys: KEYS,
        check: no_check,
    },
    build: |section, setup| {
        Built::Inspector(match setup.signal {
            Signal::Logs => Box::new(Records::new(section, setup)),
            Signal::Traces | Signal::Metrics => Box::new(Orphans::new(section, setup)),
        })
    },
};

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod late_tests;
#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod rewrite_tests;
#[cfg(test)]
mod tests;
