//! What to do about a torn trace: which kind of boundary lost the context, and what mends it.
//!
//! One table for all who tell a person: `spanloom diagnose`, `docs/orphans.md` and whoever shows
//! findings. The first row that applies is the one. The processor itself does not look here: what
//! it writes onto spans is for programs, which do not need the advice.

use crate::otlp::view::{AnyValue, Span, text};
use Kind::{Client, Consumer, Producer, Server};

/// What a span is for, by its kind in OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// What an agent's span does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Tool,
    Llm,
    Agent,
}

/// A span on one side of a boundary, as far as its kind and its attributes tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub kind: Kind,
    pub role: Option<Role>,
    pub mcp: bool,
    pub messaging: bool,
    /// The thread that it ran on, where the instrumentation says it.
    pub thread: Option<i64>,
}

/// A boundary at which the context was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boundary<'a> {
    /// The weightiest signature, and whether `missing_parent` is among all of them.
    pub signature: &'a str,
    pub dangling: bool,
    pub cause: &'a str,
    pub evidence: &'a str,
    /// The span that lost its parent.
    pub head: Side,
    /// The parent that was found.
    pub parent: Option<Side>,
    /// Whether the parent is of the same service, and of the same trace.
    pub same_service: bool,
    pub same_trace: bool,
}

/// A row of the table.
pub struct Remedy {
    /// The kind of boundary.
    pub boundary: &'static str,
    /// What tells that it is this kind.
    pub when: &'static str,
    pub text: &'static str,
    applies: fn(&Boundary<'_>) -> bool,
}

/// All remedies, in the order in which they are asked whether they apply.
pub const TABLE: &[Remedy] = &[
    Remedy {
        boundary: "over-merged trace",
        when: "signature `over_merged`",
        text: "End the root span with the request or turn that it is for, and start the next one \
               as a root of its own; keep what belongs together by `session.id`, not by one trace.",
        applies: |at| at.signature == "over_merged",
    },
    Remedy {
        boundary: "sampling",
        when: "cause `sampled`",
        text: "Let children follow their parent: `OTEL_TRACES_SAMPLER=parentbased_traceidratio` \
               with one ratio in all services; or keep everything here and sample behind spanloom.",
        applies: |at| at.cause == "sampled",
    },
    Remedy {
        boundary: "context not extracted",
        when: "evidence `captured_traceparent`",
        text: "The caller's context arrives and stands in an attribute; it is not used. Extract it \
               (`propagate.extract(headers)`) before the span starts, and start the span in it.",
        applies: |at| at.evidence.contains("captured_traceparent"),
    },
    Remedy {
        boundary: "unexported parent",
        when: "`missing_parent` with cause `pending_local` or `lost_local`, or `unknown` on a span \
               that no other process calls",
        text: "The parent is of the same process and never came: end it in a `finally` or `with`, \
               and call `force_flush()` or `shutdown()` of the tracer provider before the process \
               exits.",
        applies: |at| at.is_unexported() && !at.is_remote(),
    },
    Remedy {
        boundary: "caller exports elsewhere",
        when: "`missing_parent` with cause `remote_unseen`, or `unknown` on a SERVER or CONSUMER",
        text: "The caller sends its context, and its spans do not come here: point its exporter at \
               this pipeline too, and look for a filter or a sampler that drops them on the way.",
        applies: |at| at.is_unexported(),
    },
    Remedy {
        boundary: "MCP",
        when: "`mcp.*` on the span or on its parent",
        text: "In the client inject the context into `params._meta` of each request \
               (`propagate.inject(meta)`), in the server extract it from there before the span \
               starts; set the same `OTEL_PROPAGATORS` on both sides.",
        applies: |at| at.any(|side| side.mcp),
    },
    Remedy {
        boundary: "queue",
        when: "kind PRODUCER or CONSUMER, or `messaging.*`, on the span or on its parent; cause \
               `queue_transit` or `consumer_root_without_link`",
        text: "Inject the context into the message's headers where it is enqueued, and extract it \
               where it is taken out; with an instrumentation of the queue (Celery, Kafka, …), \
               turn it on in the sending process and in the worker.",
        applies: |at| {
            at.any(|side| side.messaging || matches!(side.kind, Producer | Consumer))
                || matches!(at.cause, "queue_transit" | "consumer_root_without_link")
        },
    },
    Remedy {
        boundary: "uncovered time",
        when: "signature `unexplained_gap`",
        text: "Nothing tells what happened in between: put a span around what waits there (a \
               queue, a retry's pause, a person), or instrument the library that does the work.",
        applies: |at| at.signature == "unexplained_gap",
    },
    Remedy {
        boundary: "HTTP without propagation",
        when: "kind SERVER, or a parent in another service",
        text: "Instrument the client (`opentelemetry-instrumentation-requests`, `-httpx`, \
               `-grpc`, …), so that it sends `traceparent`; or call `propagate.inject(headers)` \
               with the client's span current. Let proxies pass the header.",
        applies: |at| at.head.kind == Server || (at.parent.is_some() && !at.same_service),
    },
    Remedy {
        boundary: "thread pool",
        when: "a parent on another thread (`thread.id`), or in the same service and another trace, \
               unless the span is a model's or an agent's",
        text: "Take the context along: `ctx = contextvars.copy_context()` before \
               `pool.submit(ctx.run, work)`, or attach it in the worker (`context.attach(ctx)`); \
               `opentelemetry-instrumentation-threading` does it for all threads.",
        applies: |at| match at.parent {
            Some(Side { thread: Some(thread), .. }) if at.head.thread.is_some() => {
                at.head.thread != Some(thread)
            }
            Some(_) => at.same_service && !at.same_trace && !at.head.is_step(),
            None => false,
        },
    },
    Remedy {
        boundary: "framework loop",
        when: "a second root in the same trace, or an LLM or agent span that is a root",
        text: "A callback, generator or event loop runs the step without the agent's context: keep \
               the context when the agent's span starts and start each step in it \
               (`start_span(name, context=ctx)`, or `context.attach(ctx)` around the step).",
        applies: |at| at.same_trace || at.head.is_step() || at.cause == "llm_root",
    },
    Remedy {
        boundary: "uninstrumented caller",
        when: "cause `uninstrumented_caller`",
        text: "Nobody calls this tool with a span of its own: instrument the program that does; or \
               leave it as it is, if that program is not yours.",
        applies: |at| at.cause == "uninstrumented_caller",
    },
    Remedy {
        boundary: "tool call",
        when: "a tool's span without a parent to be found",
        text: "Start the tool's span while the agent's span is current; in a thread or task of its \
               own, attach the caller's context first; from another program, send `traceparent`.",
        applies: |at| at.head.role == Some(Role::Tool),
    },
    UNKNOWN,
];

/// The last row.
const UNKNOWN: Remedy = Remedy {
    boundary: "unknown",
    when: "anything else",
    text: "Look at what starts this span: the context of its caller is not current there. Pass \
           it along and start the span in it.",
    applies: |_| true,
};

impl Boundary<'_> {
    /// The remedy for the loss at this boundary.
    pub fn remedy(&self) -> &'static Remedy {
        TABLE.iter().find(|remedy| (remedy.applies)(self)).unwrap_or(&UNKNOWN)
    }

    fn any(&self, of: impl Fn(&Side) -> bool) -> bool {
        of(&self.head) || self.parent.as_ref().is_some_and(of)
    }

    /// Whether the parent is named and did not come.
    fn is_unexported(&self) -> bool {
        self.dangling && self.parent.is_none()
    }

    /// Whether a missing parent is of another process.
    fn is_remote(&self) -> bool {
        match self.cause {
            "remote_unseen" => true,
            "pending_local" | "lost_local" => false,
            _ => matches!(self.head.kind, Server | Consumer),
        }
    }
}

/// An attribute that tells a role, with its values for each.
struct Tell {
    key: &'static str,
    tool: &'static [&'static str],
    llm: &'static [&'static str],
    agent: &'static [&'static str],
}

const TELLS: &[Tell] = &[
    Tell {
        key: "gen_ai.operation.name",
        tool: &["execute_tool"],
        llm: &["chat", "generate_content", "text_completion"],
        agent: &["invoke_agent", "create_agent", "invoke_workflow"],
    },
    Tell {
        key: "openinference.span.kind",
        tool: &["TOOL"],
        llm: &["LLM"],
        agent: &["AGENT", "CHAIN"],
    },
    Tell {
        key: "traceloop.span.kind",
        tool: &["tool"],
        llm: &[],
        agent: &["agent", "workflow", "task"],
    },
    Tell {
        key: "langfuse.observation.type",
        tool: &["tool"],
        llm: &["generation"],
        agent: &["agent", "chain"],
    },
];

impl Side {
    /// Reads `span`.
    pub fn of(span: Span<'_>) -> Side {
        let kind = match span.kind() {
            2 => Server,
            3 => Client,
            4 => Producer,
            5 => Consumer,
            _ => Kind::Internal,
        };
        let mut side = Side { kind, ..Side::default() };
        for attribute in span.attributes() {
            let key = text(attribute.key);
            side.mcp |= key.starts_with("mcp.");
            side.messaging |= key.starts_with("messaging.") || key == "celery.action";
            match attribute.value {
                AnyValue::Int(id) if key == "thread.id" => {
                    side.thread = Some(id);
                }
                AnyValue::Text(value) => {
                    side.role = side.role.or(role(key, text(value)));
                }
                _ => {}
            }
        }
        side
    }

    /// Whether it is a step of an agent's own loop.
    fn is_step(&self) -> bool {
        matches!(self.role, Some(Role::Llm | Role::Agent))
    }
}

fn role(key: &str, value: &str) -> Option<Role> {
    let tell = TELLS.iter().find(|tell| tell.key == key)?;
    let roles = [(tell.tool, Role::Tool), (tell.llm, Role::Llm), (tell.agent, Role::Agent)];
    roles.into_iter().find(|(values, _)| values.contains(&value)).map(|(_, role)| role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::text::parse;
    use crate::otlp::view::{Request, ScopeGroup};
    use crate::processors::orphans::tags;
    use std::fmt::Write;

    /// The boundary at the first of the spans in `notation`, whose parent is the second, if any.
    fn boundary<'a>(
        notation: &str,
        signature: &'a str,
        cause: &'a str,
        evidence: &'a str,
    ) -> Boundary<'a> {
        let bytes = parse(notation).unwrap();
        let spans = Request::new(&bytes).resource_groups().flat_map(|g| g.scope_groups());
        let spans: Vec<Span<'_>> = spans.flat_map(ScopeGroup::spans).collect();
        Boundary {
            signature,
            dangling: signature == "missing_parent",
            cause,
            evidence,
            head: Side::of(spans[0]),
            parent: spans.get(1).copied().map(Side::of),
            same_service: notation.matches("resource").count() < 2,
            same_trace: spans.get(1).is_some_and(|p| p.trace_id() == spans[0].trace_id()),
        }
    }

    #[test]
    fn each_row_is_chosen_for_what_it_is_about() {
        let tool = "span 1/a1 gen_ai.operation.name=\"execute_tool\"";
        let (here, there) = ("span 2/b1", "resource service.name=\"x\"\nscope -\nspan 2/b1");
        let elsewhere = |head: &str, parent: &str| format!("resource -\nscope -\n{head}\n{parent}");
        let cases: &[(&str, &str, &str, &str, &str)] = &[
            ("over-merged trace", tool, "over_merged", "", ""),
            ("sampling", tool, "missing_parent", "sampled", "parent_id"),
            ("context not extracted", tool, "trace_discontinuity", "", "captured_traceparent"),
            ("unexported parent", tool, "missing_parent", "lost_local", "parent_id"),
            ("unexported parent", tool, "missing_parent", "unknown", "parent_id"),
            ("caller exports elsewhere", tool, "missing_parent", "remote_unseen", "parent_id"),
            ("caller exports elsewhere", "span 1/a1 kind=server", "missing_parent", "unknown", ""),
            ("MCP", "span 1/a1 mcp.method.name=\"tools/call\"", "tool_call_root", "", ""),
            ("MCP", &format!("{tool}\n{here} mcp.session.id=\"s\""), "tool_call_root", "", ""),
            ("queue", "span 1/a1 kind=consumer", "trace_discontinuity", "", ""),
            ("queue", &format!("{tool}\n{here} kind=producer"), "tool_call_root", "", ""),
            ("queue", "span 1/a1", "unexplained_gap", "queue_transit", "time"),
            ("uncovered time", "span 1/a1", "unexplained_gap", "", "time"),
            ("HTTP without propagation", "span 1/a1 kind=server", "trace_discontinuity", "", ""),
            ("HTTP without propagation", &elsewhere(tool, there), "tool_call_root", "", ""),
            ("thread pool", &format!("{tool}\n{here}"), "tool_call_root", "", ""),
            (
                "thread pool",
                &format!(
                    "span 1/a1 thread.id=2 gen_ai.operation.name=\"chat\"\n{here} thread.id=1"
                ),
                "trace_discontinuity",
                "",
                "",
            ),
            (
                "framework loop",
                &format!(
                    "span 1/a1 thread.id=1 gen_ai.operation.name=\"chat\"\n{here} thread.id=1"
                ),
                "trace_discontinuity",
                "",
                "",
            ),
            ("framework loop", "span 1/a1\nspan 1/a2", "mid_sequence_root", "", "trace_id"),
            ("framework loop", "span 1/a1 openinference.span.kind=\"LLM\"", "x", "", ""),
            ("uninstrumented caller", tool, "tool_call_root", "uninstrumented_caller", ""),
            ("tool call", tool, "tool_call_root", "", "span_role"),
            ("unknown", "span 1/a1", "mid_sequence_root", "", ""),
        ];
        for (expected, notation, signature, cause, evidence) in cases {
            let found = boundary(notation, signature, cause, evidence).remedy().boundary;
            assert_eq!(found, *expected, "{notation}: {signature} {cause} {evidence}");
        }
        for remedy in TABLE {
            let shown = cases.iter().any(|case| case.0 == remedy.boundary);
            assert!(shown, "no case for {}", remedy.boundary);
        }
    }

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/orphans.md");
    const BEGIN: &str = "| boundary | when | remedy |\n|---|---|---|\n";

    #[test]
    fn the_page_has_the_table() {
        let mut table = BEGIN.to_owned();
        for Remedy { boundary, when, text, .. } in TABLE {
            let _ = writeln!(table, "| {boundary} | {when} | {text} |");
        }
        let mut page = std::fs::read_to_string(PAGE).unwrap_or_default();
        let start = page.find(BEGIN).expect("docs/orphans.md has the head of the table");
        let end = page[start..].find("\n\n").map_or(page.len(), |at| start + at + 1);
        if std::env::var_os("SPANLOOM_WRITE_DOCS").is_some() {
            page.replace_range(start..end, &table);
            std::fs::write(PAGE, &page).unwrap();
        }
        let how = "write it anew: SPANLOOM_WRITE_DOCS=1 cargo test --lib orphans::remedy";
        assert!(page.contains(&table), "{how}\n{table}");
    }

    #[test]
    fn the_page_explains_every_word() {
        let page = std::fs::read_to_string(PAGE).unwrap_or_default();
        let signatures = tags::Signature::ALL.map(|signature| signature.name());
        let words = signatures.iter().chain(&tags::cause::ALL).chain(&tags::evidence::ALL);
        for word in words {
            assert!(page.contains(&format!("`{word}`")), "{word} is not in docs/orphans.md");
        }
    }
}
