//! How frameworks say what a span does: one row each of the table in the conventions. Those that
//! the engine was tuned on, and those that its score is reported on.

use super::span::Part;

/// One framework.
pub struct Dialect {
    /// The key of a span's role, and its values for agent, model and tool; empty if it has none.
    pub role: (&'static str, [&'static str; 3]),
    pub session: &'static str,
    /// Keys of the id of a call of a tool, on the tool and in the model's answer; empty if it has
    /// none.
    pub call: (&'static str, &'static str),
    /// Keys of a tool's name and arguments, and of a call's in the model's answer; empty if content
    /// is in none, and the last if it stands in the messages.
    pub content: [&'static str; 4],
    /// Keys of the framework's own ids for a span and its parent; empty if it has none.
    pub shadow: (&'static str, &'static str),
    /// Names of agent, model and tool.
    pub names: [&'static str; 3],
    /// Whether a tool stands below the model's span, which then holds it.
    pub nested: bool,
}

pub const TUNED: &[Dialect] = &[
    Dialect {
        role: ("gen_ai.operation.name", ["invoke_agent", "chat", "execute_tool"]),
        session: "gen_ai.conversation.id",
        call: ("gen_ai.tool.call.id", "gen_ai.output.messages"),
        content: ["gen_ai.tool.name", "gen_ai.tool.call.arguments", "", ""],
        shadow: ("", ""),
        names: ["invoke_agent planner", "chat gpt-4o", "execute_tool"],
        nested: false,
    },
    Dialect {
        role: ("openinference.span.kind", ["AGENT", "LLM", "TOOL"]),
        session: "session.id",
        call: ("tool_call.id", "llm.output_messages.0.message.tool_calls.0.tool_call.id"),
        content: [
            "tool.name",
            "input.value",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
        ],
        shadow: ("", ""),
        names: ["CodeAgent.run", "OpenAIModel.generate", "Tool"],
        nested: false,
    },
    Dialect {
        role: ("traceloop.span.kind", ["agent", "", "tool"]),
        session: "traceloop.association.properties.session_id",
        call: ("gen_ai.tool.call.id", "gen_ai.completion.0.tool_calls.0.id"),
        content: [
            "gen_ai.tool.name",
            "gen_ai.tool.call.arguments",
            "gen_ai.completion.0.tool_calls.0.name",
            "gen_ai.completion.0.tool_calls.0.arguments",
        ],
        shadow: ("", ""),
        names: ["planner.agent", "openai.chat", "search.tool"],
        nested: false,
    },
];

pub const REPORTED: &[Dialect] = &[
    Dialect {
        role: ("langfuse.observation.type", ["agent", "generation", "tool"]),
        session: "langfuse.session.id",
        call: ("gen_ai.tool.call.id", "gen_ai.output.messages"),
        content: ["gen_ai.tool.name", "gen_ai.tool.call.arguments", "", ""],
        shadow: ("", ""),
        names: ["agent-run", "generation", "tool-call"],
        nested: false,
    },
    Dialect {
        role: ("langsmith.span.kind", ["chain", "llm", "tool"]),
        session: "langsmith.metadata.thread_id",
        call: ("", ""),
        content: ["", "", "", ""],
        shadow: ("langsmith.span.id", "langsmith.span.parent_id"),
        names: ["LangGraph", "ChatOpenAI", "tool"],
        nested: false,
    },
    Dialect {
        role: ("gen_ai.operation.name", ["invoke_agent", "", "execute_tool"]),
        session: "gcp.vertex.agent.session_id",
        call: ("gen_ai.tool.call.id", "gen_ai.output.messages"),
        content: ["gen_ai.tool.name", "gen_ai.tool.call.arguments", "", ""],
        shadow: ("", ""),
        names: ["invoke_agent root", "call_llm", "execute_tool"],
        nested: false,
    },
    Dialect {
        role: ("ai.operationId", ["ai.generateText", "ai.generateText.doGenerate", "ai.toolCall"]),
        session: "ai.telemetry.metadata.sessionId",
        call: ("ai.toolCall.id", "ai.response.toolCalls"),
        content: ["ai.toolCall.name", "ai.toolCall.args", "", ""],
        shadow: ("", ""),
        names: ["ai.generateText", "ai.generateText.doGenerate", "ai.toolCall"],
        nested: true,
    },
];

impl Dialect {
    /// The attribute that tells the role, if there is one.
    pub fn role_of(&self, part: Part) -> Option<(String, String)> {
        let [agent, model, tool] = self.role.1;
        let value = match part {
            Part::Agent => agent,
            Part::Model => model,
            Part::Tool => tool,
            _ => "",
        };
        (!value.is_empty()).then(|| (self.role.0.to_owned(), value.to_owned()))
    }
}
