//! The names that carry content, by dialect: the one table behind promise and documentation.
//!
//! Notation as in [`Pattern::table`]. Within a name's bucket the first match counts, so what
//! stays stands before the wider patterns that would take it. Names without a namespace (`input`,
//! `output`, `prompt`, `events`) are absent: they are content in one framework and an
//! application's own attribute in the next, and only a span's other attributes can tell.

use super::{Hit, Rule};
use crate::processors::names::{Names, Pattern};

/// What stays although a pattern below would take it.
const KEPT: &[&str] = &[
    "gen_ai.prompt.name",
    "gen_ai.prompt.version",
    "llm.prompt_template.version",
    "ai.prompt.toolChoice",
    "ai.prompt.format",
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "langsmith.metadata.conversation_id",
    "langsmith.metadata.user_id",
];

/// Attributes that hold prompts, answers, tool arguments and results, or documents.
const CONTENT: &[&str] = &[
    // OpenTelemetry GenAI, all generations
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.description",
    "gen_ai.agent.description",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents",
    "gen_ai.memory.query.text",
    "gen_ai.memory.records",
    "gen_ai.evaluation.explanation",
    "gen_ai.prompt",
    "gen_ai.prompt.#",
    "gen_ai.prompt.variable*",
    "gen_ai.completion",
    "gen_ai.completion.*",
    "gen_ai.content.*",
    "gen_ai.task.input",
    "gen_ai.task.output",
    "gen_ai.request.extra_body",
    "gen_ai.request.extra_query",
    "gen_ai.serialized.*",
    // OpenInference
    "input.value",
    "output.value",
    "llm.input_messages.*",
    "llm.output_messages.*",
    "llm.prompts.*",
    "llm.choices.*",
    "llm.prompt_template.*",
    "llm.function_call",
    "llm.tools.*",
    "tool.parameters",
    "tool.json_schema",
    "retrieval.documents.*",
    "reranker.query",
    "reranker.input_documents.*",
    "reranker.output_documents.*",
    "document.content",
    "document.metadata",
    "embedding.text",
    "embedding.vector",
    "embedding.embeddings.*",
    "image.url",
    "audio.url",
    "audio.transcript",
    "message.content*",
    // OpenLLMetry and MCP
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.template*",
    "mcp.request.argument",
    "mcp.response.value",
    "mcp.session.init_options",
    // Langfuse, LangSmith
    "langfuse.*.input",
    "langfuse.*.output",
    "langfuse.observation.metadata*",
    "langfuse.trace.metadata*",
    "langfuse.experiment.*expected_output",
    "langsmith.metadata.*",
    // Vercel AI SDK
    "ai.prompt",
    "ai.prompt.*",
    "ai.response.text",
    "ai.response.object",
    "ai.response.toolCalls",
    "ai.response.reasoning*",
    "ai.response.files",
    "ai.result.*",
    "ai.toolCall.args",
    "ai.toolCall.input",
    "ai.toolCall.result",
    "ai.toolCall.output",
    "ai.value*",
    "ai.embedding*",
    "ai.schema",
    // Google ADK
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "gcp.vertex.agent.data",
    // Pydantic AI, Logfire
    "pydantic_ai.all_messages",
    "all_messages_events",
    "final_result",
    "tool_arguments",
    "tool_response",
    "request_data",
    "response_data",
    "logfire.msg",
    // CrewAI
    "crewai.crew.result",
    "crewai.crew.inputs",
    "crewai.crew.tasks_output",
    "crewai.task.result",
    "crewai.task.description",
    "crewai.task.expected_output",
    "crewai.agent.result",
    "crewai.agent.goal",
    "crewai.agent.backstory",
    // Genkit, MLflow, LiveKit
    "genkit:input",
    "genkit:output",
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "lk.input_text",
    "lk.user_transcript",
    "lk.chat_ctx",
    "lk.user_input",
    "lk.response.text",
    "lk.function_tool.output",
    // Queries
    "db.query.text",
    "db.query.parameter.*",
    "db.statement",
    "graphql.document",
    "url.query",
];

/// Attributes that hold captured credentials.
const CREDENTIALS: &[&str] = &[
    "http.request.header.authorization",
    "http.request.header.proxy-authorization",
    "http.request.header.proxy_authorization",
    "http.request.header.cookie",
    "http.request.header.x-api-key",
    "http.request.header.x_api_key",
    "http.request.header.api-key",
    "http.request.header.api_key",
    "http.request.header.x-goog-api-key",
    "http.request.header.anthropic-api-key",
    "http.request.header.openai-organization",
    "http.request.header.x-amz-security-token",
    "http.response.header.set-cookie",
    "http.response.header.set_cookie",
    "rpc.request.metadata.authorization",
    "rpc.request.metadata.cookie",
    "rpc.request.metadata.x-api-key",
    "ai.request.headers.*",
    "langsmith.request.headers",
    "llm.headers",
    "gen_ai.headers",
];

/// Span events and log records that are content from end to end.
const EVENTS: &[&str] = &[
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.choice",
    "db.query.embeddings",
    "db.query.result",
    "db.search.embeddings",
    "db.search.result",
    "llm.content.completion.chunk",
];

/// Log records that say more than content: they stay, without body and content attributes.
const BODIES: &[&str] = &["gen_ai.client.inference.operation.details", "gen_ai.evaluation.result"];

/// What attribute keys stand for. With `content`, names decide too; marks always do.
pub fn attributes(marks: &[String], own: [&str; 2], content: bool) -> Names<Hit> {
    let mut rules = vec![];
    rules.extend(own.iter().map(|key| (Pattern::exact(key), Hit::Keep)));
    rules.extend(marks.iter().map(|key| (Pattern::exact(key), Hit::Mark)));
    if content {
        rules.push((Pattern::exact("event.name"), Hit::EventName));
        rules.extend(table(KEPT, Hit::Keep));
        rules.extend(table(CREDENTIALS, Hit::Remove(Rule::Credential)));
        rules.extend(table(CONTENT, Hit::Remove(Rule::ContentAttribute)));
    }
    Names::new(rules)
}

/// What event names stand for: [`Rule::ContentEvent`] or [`Rule::ContentBody`].
pub fn events(content: bool) -> Names<Rule> {
    let mut rules = vec![];
    if content {
        rules.extend(table(EVENTS, Rule::ContentEvent));
        rules.extend(table(BODIES, Rule::ContentBody));
    }
    Names::new(rules)
}

fn table<T: Copy>(names: &[&str], meaning: T) -> impl Iterator<Item = (Pattern, T)> {
    names.iter().map(move |name| (Pattern::table(name), meaning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[&str], removed: bool) {
        let names = attributes(&[], ["own.events", "own.attributes"], true);
        for key in keys {
            let hit = names.find(key.as_bytes());
            assert_eq!(matches!(hit, Some(Hit::Remove(_))), removed, "{key}: {hit:?}");
        }
    }

    #[test]
    fn every_pattern_of_the_tables_takes_what_it_says() {
        let all = CONTENT.iter().chain(CREDENTIALS);
        let written = all.map(|text| text.replace('*', ".x.").replace('#', "0.content"));
        check(&written.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>(), true);
    }

    #[test]
    fn what_debugging_needs_stays() {
        check(KEPT, false);
        check(
            &[
                "gen_ai.operation.name",
                "gen_ai.provider.name",
                "gen_ai.request.model",
                "gen_ai.response.id",
                "gen_ai.response.finish_reasons",
                "gen_ai.usage.input_tokens",
                "gen_ai.usage.completion_tokens",
                "gen_ai.tool.name",
                "gen_ai.tool.call.id",
                "gen_ai.agent.name",
                "gen_ai.conversation.id",
                "gen_ai.input.messages_ref",
                "gen_ai.output.messages_ref",
                "gen_ai.system_instructions_ref",
                "gen_ai.tool.definitions_ref",
                "llm.token_count.prompt",
                "llm.token_count.completion",
                "llm.model_name",
                "llm.cost.total",
                "ai.usage.promptTokens",
                "ai.response.id",
                "ai.response.finishReason",
                "traceloop.entity.name",
                "langfuse.observation.type",
                "langfuse.observation.usage_details",
                "http.request.header.baggage",
                "http.request.header.traceparent",
                "db.system",
                "session.id",
                "user.id",
                "input.mime_type",
                "crewai.task.name",
                "gen_ai.content_type",
            ],
            false,
        );
    }
}
