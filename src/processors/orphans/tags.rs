//! The tags by which a finding is told: their names, and the words that they may have.
//!
//! Whoever reads findings (the command `diagnose`, tests, the documentation) takes the words from
//! here. A tag's name is `<prefix>.orphan.<name>`, the prefix being `app.agent` unless configured.
//! Tags hold ids and words of this file, never content.

use crate::otlp::fields::span;
use crate::otlp::write::{put_double_attribute, put_int_attribute, put_text_attribute};
use crate::otlp::write::{put_hex_attribute, put_texts_attribute};
use smallvec::SmallVec;

/// The prefix unless configured.
pub const PREFIX: &str = "app.agent";

pub const SIGNATURE: &str = "signature";
pub const SIGNATURES: &str = "signatures";
pub const STATUS: &str = "status";
pub const CAUSE: &str = "cause";
pub const EVIDENCE: &str = "evidence";
pub const TIER: &str = "tier";
pub const CONFIDENCE: &str = "confidence";
pub const CANDIDATES: &str = "candidates";
pub const PARENT_TRACE_ID: &str = "parent.trace_id";
pub const PARENT_SPAN_ID: &str = "parent.span_id";
pub const PARENT_SERVICE: &str = "parent.service";
pub const GAP_MS: &str = "gap_ms";
pub const WAIT_MS: &str = "wait_ms";
pub const ORIGINAL_TRACE_ID: &str = "original_trace_id";
pub const ORIGINAL_PARENT_SPAN_ID: &str = "original_parent_span_id";
/// Of a bridge: the head that it tells of, and how many there are that miss the same parent.
pub const HEAD_SPAN_ID: &str = "head.span_id";
pub const HEAD_COUNT: &str = "head.count";

/// What is wrong at a head, the weightiest first; the last is said of a whole trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signature {
    ToolCallRoot,
    TraceDiscontinuity,
    MidSequenceRoot,
    MissingParent,
    UnexplainedGap,
    OverMerged,
}

impl Signature {
    pub const ALL: [Signature; 6] = [
        Signature::ToolCallRoot,
        Signature::TraceDiscontinuity,
        Signature::MidSequenceRoot,
        Signature::MissingParent,
        Signature::UnexplainedGap,
        Signature::OverMerged,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Signature::ToolCallRoot => "tool_call_root",
            Signature::TraceDiscontinuity => "trace_discontinuity",
            Signature::MidSequenceRoot => "mid_sequence_root",
            Signature::MissingParent => "missing_parent",
            Signature::UnexplainedGap => "unexplained_gap",
            Signature::OverMerged => "over_merged",
        }
    }
}

/// How far a finding got.
pub mod status {
    /// One parent, with a confidence of 0.90 at least.
    pub const RESOLVED: &str = "resolved";
    /// One best parent, with a confidence of 0.50 at least.
    pub const SUSPECTED: &str = "suspected";
    /// Several candidates have an equal claim, or there are too many.
    pub const AMBIGUOUS: &str = "ambiguous";
    /// No candidate reaches 0.50, or the search was given up.
    pub const UNRESOLVED: &str = "unresolved";
    /// The parent may still come.
    pub const PENDING: &str = "pending";
}

/// Why, as far as it is known.
pub mod cause {
    /// Nobody was seen in 24 h who calls the head's service.
    pub const UNINSTRUMENTED_CALLER: &str = "uninstrumented_caller";
    /// The gap lies between who sends a message and who receives it.
    pub const QUEUE_TRANSIT: &str = "queue_transit";
    /// The parent is of the head's own process, which lives.
    pub const PENDING_LOCAL: &str = "pending_local";
    /// The parent is of the head's own process, of which nothing came since.
    pub const LOST_LOCAL: &str = "lost_local";
    /// The parent is of another process, and did not pass here.
    pub const REMOTE_UNSEEN: &str = "remote_unseen";
    /// The head does not say where its parent is.
    pub const UNKNOWN: &str = "unknown";
    /// The parent was sampled out.
    pub const SAMPLED: &str = "sampled";
    /// The search was given up for want of memory or time.
    pub const BUDGET: &str = "budget";
    /// The head is a call of a model.
    pub const LLM_ROOT: &str = "llm_root";
    /// The head receives a message and does not link to who sent it.
    pub const CONSUMER_ROOT_WITHOUT_LINK: &str = "consumer_root_without_link";

    pub const ALL: [&str; 10] = [
        UNINSTRUMENTED_CALLER,
        QUEUE_TRANSIT,
        PENDING_LOCAL,
        LOST_LOCAL,
        REMOTE_UNSEEN,
        UNKNOWN,
        SAMPLED,
        BUDGET,
        LLM_ROOT,
        CONSUMER_ROOT_WITHOUT_LINK,
    ];
}

/// What a finding, and its parent if there is one, rests on.
pub mod evidence {
    /// Tier 0: the head noted the context that it was called with.
    pub const CAPTURED_TRACEPARENT: &str = "captured_traceparent";
    /// Tier 0: ids of the framework's own in attributes.
    pub const SHADOW_ID: &str = "shadow_id";
    /// Tier 1: the id that the model gave to the call of a tool.
    pub const TOOL_CALL_ID: &str = "tool_call_id";
    /// Tier 1: message, destination and system.
    pub const MESSAGE_ID: &str = "message_id";
    /// Tier 1: the JSON-RPC id of an MCP request, with its session or pair of ports.
    pub const MCP_REQUEST_ID: &str = "mcp_request_id";
    /// Tier 1: a request or correlation id in headers.
    pub const REQUEST_ID: &str = "request_id";
    /// Tier 1: an A2A task.
    pub const TASK_ID: &str = "task_id";
    /// Tier 2: the name of a tool and a hash of its arguments.
    pub const TOOL_ARGUMENTS: &str = "tool_arguments";
    /// Tier 2: a call without an answer and an answer without a call.
    pub const CLIENT_SERVER: &str = "client_server";
    /// Tier 2: a session that both are of, and time.
    pub const SESSION: &str = "session";
    /// Tier 3: one process, and time.
    pub const INSTANCE: &str = "instance";
    /// Tier 3: time alone.
    pub const TIME: &str = "time";
    /// No parent: what the head does.
    pub const SPAN_ROLE: &str = "span_role";
    /// No parent: the trace id, which other roots have too.
    pub const TRACE_ID: &str = "trace_id";
    /// No parent: the parent id, which no span has.
    pub const PARENT_ID: &str = "parent_id";

    pub const ALL: [&str; 15] = [
        CAPTURED_TRACEPARENT,
        SHADOW_ID,
        TOOL_CALL_ID,
        MESSAGE_ID,
        MCP_REQUEST_ID,
        REQUEST_ID,
        TASK_ID,
        TOOL_ARGUMENTS,
        CLIENT_SERVER,
        SESSION,
        INSTANCE,
        TIME,
        SPAN_ROLE,
        TRACE_ID,
        PARENT_ID,
    ];
}

/// The parent that was chosen or is suspected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parent {
    pub trace: u128,
    pub span: u64,
    /// Empty if it is not known.
    pub service: String,
    pub service_hash: u64,
    pub tier: u8,
    pub confidence: f64,
}

/// A finding: what is said of one span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// The weightiest first.
    pub signatures: SmallVec<[Signature; 4]>,
    pub status: &'static str,
    pub evidence: &'static str,
    pub cause: Option<&'static str>,
    pub parent: Option<Parent>,
    /// Candidates for the parent that were looked at.
    pub candidates: usize,
    pub gap_ms: Option<f64>,
    pub wait_ms: Option<i64>,
    /// Trace and span of the model whose answer called the tool.
    pub asked_by: Option<(u128, u64)>,
}

impl Finding {
    /// Adds a signature in its place.
    pub fn add(&mut self, signature: Signature) {
        if let Err(at) = self.signatures.binary_search(&signature) {
            self.signatures.insert(at, signature);
        }
    }

    /// Says that the search was given up for want of memory, if it found nothing.
    pub fn give_up(&mut self) {
        if self.status == status::UNRESOLVED {
            self.cause = self.cause.or(Some(cause::BUDGET));
        }
    }
}

/// The names of the tags, with their prefix.
pub struct Tags {
    names: Vec<(&'static str, String)>,
}

const NAMES: [&str; 17] = [
    SIGNATURE,
    SIGNATURES,
    STATUS,
    CAUSE,
    EVIDENCE,
    TIER,
    CONFIDENCE,
    CANDIDATES,
    PARENT_TRACE_ID,
    PARENT_SPAN_ID,
    PARENT_SERVICE,
    GAP_MS,
    WAIT_MS,
    ORIGINAL_TRACE_ID,
    ORIGINAL_PARENT_SPAN_ID,
    HEAD_SPAN_ID,
    HEAD_COUNT,
];

impl Tags {
    pub fn new(prefix: &str) -> Tags {
        let name = |name: &'static str| (name, format!("{prefix}.orphan.{name}"));
        Tags { names: NAMES.map(name).into() }
    }

    /// The whole name of the tag `name`.
    pub fn name(&self, name: &str) -> &str {
        let found = self.names.iter().find(|(short, _)| *short == name);
        found.map(|(_, whole)| whole.as_str()).unwrap_or_default()
    }

    /// Appends the tags that tell `finding` to a span.
    pub fn put(&self, out: &mut Vec<u8>, finding: &Finding) {
        let Some(first) = finding.signatures.first() else { return };
        let key = self.name(SIGNATURE).as_bytes();
        put_text_attribute(out, span::ATTRIBUTES, key, first.name().as_bytes());
        self.put_rest(out, finding);
    }

    /// Appends to a bridge what became of `head`, one of `count` that miss the same parent: the
    /// tags but for the one by which heads are known.
    pub fn put_late(&self, out: &mut Vec<u8>, finding: &Finding, head: u64, count: usize) {
        let key = |name: &str| self.name(name).as_bytes();
        let id = head.to_le_bytes();
        put_hex_attribute(out, span::ATTRIBUTES, key(HEAD_SPAN_ID), &id);
        put_int_attribute(out, span::ATTRIBUTES, key(HEAD_COUNT), count as i64);
        self.put_rest(out, finding);
    }

    fn put_rest(&self, out: &mut Vec<u8>, finding: &Finding) {
        let key = |name: &str| self.name(name).as_bytes();
        let field = span::ATTRIBUTES;
        let mut text = |name, value: &str| {
            put_text_attribute(out, field, key(name), value.as_bytes());
        };
        text(STATUS, finding.status);
        text(EVIDENCE, finding.evidence);
        if let Some(cause) = finding.cause {
            text(CAUSE, cause);
        }
        let names = finding.signatures.iter().map(|signature| signature.name());
        put_texts_attribute(out, field, key(SIGNATURES), names);
        if finding.candidates > 0 {
            put_int_attribute(out, field, key(CANDIDATES), finding.candidates as i64);
        }
        if let Some(parent) = &finding.parent {
            put_int_attribute(out, field, key(TIER), i64::from(parent.tier));
            put_double_attribute(out, field, key(CONFIDENCE), parent.confidence);
            put_hex_attribute(out, field, key(PARENT_TRACE_ID), &parent.trace.to_le_bytes());
            put_hex_attribute(out, field, key(PARENT_SPAN_ID), &parent.span.to_le_bytes());
            if !parent.service.is_empty() {
                put_text_attribute(out, field, key(PARENT_SERVICE), parent.service.as_bytes());
            }
        }
        if let Some(gap) = finding.gap_ms {
            put_double_attribute(out, field, key(GAP_MS), gap);
        }
        if let Some(wait) = finding.wait_ms {
            put_int_attribute(out, field, key(WAIT_MS), wait);
        }
    }
}
