//! Agent-shaped requests: traces of ten spans in the dialect of choice, some of them torn.

use crate::otlp::fields::{any_value, event, key_value, request, resource, resource_group};
use crate::otlp::fields::{scope, scope_group, span};
use crate::otlp::wire::{put_bytes_field, put_fixed64_field, put_message_field, put_varint_field};
use bytes::Bytes;

/// The vocabulary of an instrumentation.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Dialect {
    /// OpenTelemetry GenAI conventions
    Genai,
    /// OpenInference
    Openinference,
    /// OpenLLMetry
    Openllmetry,
}

/// What the requests look like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub spans: usize,
    /// Bytes of text in each prompt; every third span has one.
    pub prompt_bytes: usize,
    pub dialect: Dialect,
    /// Share of traces whose tool call lost its context, 0 to 1.
    pub broken: f64,
}

/// Spans of one trace.
const TRACE_SPANS: usize = 10;

/// The steps of an agent, in turn: span name, OTLP kind, operation.
const STEPS: [(&str, u64, &str); 3] = [
    ("invoke_agent planner", 1, "invoke_agent"),
    ("chat gpt-4o", 3, "chat"),
    ("execute_tool get_weather", 1, "execute_tool"),
];

impl Shape {
    /// A request of new traces that end at `now` (nanoseconds since the epoch).
    pub fn request(&self, random: &mut fastrand::Rng, now: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.spans * (600 + self.prompt_bytes / 3));
        put_message_field(&mut out, request::RESOURCE_GROUPS, |out| {
            put_message_field(out, resource_group::RESOURCE, |out| {
                text(out, resource::ATTRIBUTES, "service.name", "planner");
                text(out, resource::ATTRIBUTES, "telemetry.sdk.language", "python");
            });
            put_message_field(out, resource_group::SCOPE_GROUPS, |out| {
                put_message_field(out, scope_group::SCOPE, |out| {
                    put_bytes_field(out, scope::NAME, self.scope().as_bytes());
                });
                let mut trace = Trace::new(random, false);
                for n in 0..self.spans {
                    if n % TRACE_SPANS == 0 {
                        let torn = random.f64() < self.broken;
                        trace = Trace::new(random, torn);
                    }
                    let start = now - (self.spans - n) as u64 * 1_000_000;
                    put_message_field(out, scope_group::ITEMS, |out| {
                        self.span(out, random, &mut trace, n, start);
                    });
                }
            });
        });
        Bytes::from(out)
    }

    fn span(
        &self,
        out: &mut Vec<u8>,
        random: &mut fastrand::Rng,
        trace: &mut Trace,
        n: usize,
        start: u64,
    ) {
        let (name, kind, operation) = STEPS.get(n % STEPS.len()).copied().unwrap_or_default();
        let root = n.is_multiple_of(TRACE_SPANS);
        let id = random.u64(1..).to_be_bytes();
        // A torn trace is one whose tool call began a trace of its own.
        let lost = trace.torn && operation == "execute_tool";
        let trace_id = if lost { random.u128(1..).to_be_bytes() } else { trace.id };
        put_bytes_field(out, span::TRACE_ID, &trace_id);
        put_bytes_field(out, span::SPAN_ID, &id);
        if !root && !lost {
            put_bytes_field(out, span::PARENT_SPAN_ID, &trace.parent);
        }
        put_bytes_field(out, span::NAME, name.as_bytes());
        put_varint_field(out, span::KIND, kind);
        put_fixed64_field(out, span::START_TIME, start);
        put_fixed64_field(out, span::END_TIME, start + 900_000);
        self.attributes(out, operation);
        if trace.torn {
            self.call(out, random, trace, operation);
        }
        if root {
            let user = random.u32(..1000);
            let baggage = format!("user.id=user-{user},session.id=s-{user},tenant=acme");
            text(out, span::ATTRIBUTES, "baggage", &baggage);
        }
        if operation == "chat" {
            put_message_field(out, span::EVENTS, |out| self.prompt(out, start));
        }
        if operation == "invoke_agent" {
            trace.parent = id;
        }
    }

    fn scope(&self) -> &'static str {
        match self.dialect {
            Dialect::Genai => "opentelemetry.instrumentation.openai_v2",
            Dialect::Openinference => "openinference.instrumentation.openai",
            Dialect::Openllmetry => "opentelemetry.instrumentation.openai",
        }
    }

    fn attributes(&self, out: &mut Vec<u8>, operation: &str) {
        let (kind, kinds) = match self.dialect {
            Dialect::Genai => ("gen_ai.operation.name", [operation; 3]),
            Dialect::Openinference => ("openinference.span.kind", ["AGENT", "LLM", "TOOL"]),
            Dialect::Openllmetry => ("traceloop.span.kind", ["agent", "task", "tool"]),
        };
        let step = STEPS.iter().position(|step| step.2 == operation).unwrap_or_default();
        text(out, span::ATTRIBUTES, kind, kinds.get(step).copied().unwrap_or_default());
        text(out, span::ATTRIBUTES, "gen_ai.provider.name", "openai");
        text(out, span::ATTRIBUTES, "gen_ai.request.model", "gpt-4o-2024-08-06");
        int(out, span::ATTRIBUTES, "gen_ai.usage.input_tokens", 523);
        int(out, span::ATTRIBUTES, "gen_ai.usage.output_tokens", 97);
        text(out, span::ATTRIBUTES, "server.address", "api.openai.com");
        int(out, span::ATTRIBUTES, "server.port", 443);
    }

    /// The id that a model gave to the call of a tool, on both spans, as the dialect has it: by it
    /// the tool can be joined to its run again.
    fn call(
        &self,
        out: &mut Vec<u8>,
        random: &mut fastrand::Rng,
        trace: &mut Trace,
        operation: &str,
    ) {
        if operation == "execute_tool" {
            text(out, span::ATTRIBUTES, "gen_ai.tool.call.id", &trace.call);
        }
        if operation != "chat" {
            return;
        }
        trace.call = format!("call_{:016x}", random.u64(..));
        let id = &trace.call;
        let messages =
            format!(r#"[{{"role":"assistant","parts":[{{"type":"tool_call","id":"{id}"}}]}}]"#);
        let (key, value) = match self.dialect {
            Dialect::Genai => ("gen_ai.output.messages", &messages),
            Dialect::Openinference => {
                ("llm.output_messages.0.message.tool_calls.0.tool_call.id", id)
            }
            Dialect::Openllmetry => ("gen_ai.completion.0.tool_calls.0.id", id),
        };
        text(out, span::ATTRIBUTES, key, value);
    }

    fn prompt(&self, out: &mut Vec<u8>, time: u64) {
        let words = "What is the weather in Paris, for alice@example.com? ";
        let prompt: String = words.chars().cycle().take(self.prompt_bytes).collect();
        put_fixed64_field(out, event::TIME, time);
        put_bytes_field(out, event::NAME, b"gen_ai.content.prompt");
        text(out, event::ATTRIBUTES, "gen_ai.prompt", &prompt);
        attribute(out, event::ATTRIBUTES, "sensitive", |out| {
            put_varint_field(out, any_value::BOOL, 1);
        });
    }
}

struct Trace {
    id: [u8; 16],
    parent: [u8; 8],
    torn: bool,
    /// The id of the latest call of a tool.
    call: String,
}

impl Trace {
    fn new(random: &mut fastrand::Rng, torn: bool) -> Trace {
        Trace { id: random.u128(1..).to_be_bytes(), parent: [0; 8], torn, call: String::new() }
    }
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message_field(out, field, |out| {
        put_bytes_field(out, key_value::KEY, key.as_bytes());
        put_message_field(out, key_value::VALUE, value);
    });
}

fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    attribute(out, field, key, |out| put_bytes_field(out, any_value::STRING, value.as_bytes()));
}

fn int(out: &mut Vec<u8>, field: u32, key: &str, value: u64) {
    attribute(out, field, key, |out| put_varint_field(out, any_value::INT, value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Signal};
    use crate::moment::Moment;

    #[test]
    fn every_shape_is_a_valid_request_of_as_many_spans() {
        for dialect in [Dialect::Genai, Dialect::Openinference, Dialect::Openllmetry] {
            for broken in [0.0, 1.0] {
                let shape = Shape { spans: 25, prompt_bytes: 100, dialect, broken };
                let bytes = shape.request(&mut fastrand::Rng::with_seed(1), 1 << 60);
                let batch = Batch::parse(Signal::Traces, bytes, Moment::default());
                assert_eq!(batch.map(|batch| batch.items()), Ok(25));
            }
        }
    }

    #[test]
    fn a_broken_trace_has_a_tool_call_as_root_and_an_intact_one_has_not() {
        for (broken, expected) in [(0.0, false), (1.0, true)] {
            let shape = Shape { spans: 10, prompt_bytes: 0, dialect: Dialect::Genai, broken };
            let bytes = shape.request(&mut fastrand::Rng::with_seed(1), 1 << 60);
            let request = crate::otlp::view::Request::new(&bytes);
            let groups = request.resource_groups().flat_map(|group| group.scope_groups());
            let torn = groups.flat_map(|group| group.spans()).any(|span| {
                span.name() == b"execute_tool get_weather" && span.parent_span_id().is_empty()
            });
            assert_eq!(torn, expected);
        }
    }
}
