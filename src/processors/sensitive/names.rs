//! The names that carry content, by dialect: the one table behind promise and documentation.
//!
//! Notation as in [`Pattern::table`]. Within a name's bucket the first match counts, so what
//! stays stands before the wider patterns that would take it. Names without a namespace (`input`,
//! `output`, `prompt`, `events`) count only on spans that are a GenAI instrumentation's: they are
//! content in one framework and an application's own attribute in the next.

use super::rules::{self, RuleId};
use crate::processors::names::{Names, Pattern};

/// What an attribute key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A mark, if the value is true.
    Mark,
    /// Stays, whatever other patterns say.
    Keep,
    Remove(RuleId),
    /// Where older senders put the name of a log record's event.
    EventName,
    /// The message of an error: its type stays.
    Message,
    /// A stack trace: frames stay.
    Stack,
    /// A URL: its query goes.
    Url,
    /// What a model was called with, as JSON: settings stay.
    Parameters,
    /// Without a namespace: content if the span is a GenAI instrumentation's.
    Generic,
    /// A captured header, which goes if its name tells of a secret.
    Header,
}

/// What stays although a pattern below would take it.
const KEPT: &[&str] = &[
    "gen_ai.prompt.name",
    "gen_ai.prompt.version",
    "llm.prompt_template.version",
    "ai.prompt.toolChoice",
    "ai.prompt.format",
    "llm.output_messages.*.tool_call.id",
    "gen_ai.completion.*.id",
    "rpc.request.metadata.traceparent",
    "rpc.request.metadata.tracestate",
    "rpc.request.metadata.baggage",
    "rpc.request.metadata.content-type",
    "rpc.request.metadata.user-agent",
    "rpc.request.metadata.grpc-timeout",
    "rpc.request.metadata.x-request-id",
    "rpc.response.metadata.content-type",
    "rpc.response.metadata.grpc-status",
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "langsmith.metadata.conversation_id",
    "langsmith.metadata.user_id",
];

/// Attributes that hold prompts, answers, tool arguments and results, or documents, by dialect.
const CONTENT: &[(&str, &[&str])] = &[
    (
        "OpenTelemetry GenAI",
        &[
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
            "gen_ai.request.structured_output_schema",
            "gen_ai.serialized.*",
        ],
    ),
    (
        "OpenInference",
        &[
            "input.value",
            "output.value",
            "llm.input_messages",
            "llm.input_messages.*",
            "llm.output_messages",
            "llm.output_messages.*",
            "llm.prompts",
            "llm.prompts.*",
            "llm.choices",
            "llm.choices.*",
            "llm.prompt_template.*",
            "llm.function_call",
            "llm.tools",
            "llm.tools.*",
            "tool.parameters",
            "tool.json_schema",
            "tool.description",
            "tool_call.function.arguments",
            "retrieval.documents",
            "retrieval.documents.*",
            "reranker.query",
            "reranker.input_documents",
            "reranker.input_documents.*",
            "reranker.output_documents",
            "reranker.output_documents.*",
            "input.documents",
            "input.documents.*",
            "output.documents",
            "output.documents.*",
            "document.content",
            "document.metadata",
            "embedding.text",
            "embedding.vector",
            "embedding.embeddings",
            "embedding.embeddings.*",
            "image.url",
            "audio.url",
            "audio.transcript",
            "video.url",
            "input.audio.url",
            "input.audio.transcript",
            "output.audio.url",
            "output.audio.transcript",
            "input.images",
            "input.images.*",
            "output.images",
            "output.images.*",
            "message.content*",
            "message.function_call_arguments_json",
            "message.tool_calls*",
            "message_content.*",
            "prompt.text",
            "completion.text",
        ],
    ),
    (
        "OpenLLMetry, MCP",
        &[
            "traceloop.entity.input",
            "traceloop.entity.output",
            "traceloop.prompt.template*",
            "mcp.request.argument",
            "mcp.response.value",
            "mcp.session.init_options",
            "llm.request.functions.*",
            "pinecone.query.filter",
            "pinecone.query.queries",
        ],
    ),
    (
        "Langfuse, LangSmith",
        &[
            "langfuse.*.input",
            "langfuse.*.output",
            "langfuse.observation.metadata*",
            "langfuse.trace.metadata*",
            "langfuse.experiment.*expected_output",
            "langsmith.metadata.*",
        ],
    ),
    (
        "Vercel AI SDK",
        &[
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
        ],
    ),
    (
        "Google ADK",
        &[
            "gcp.vertex.agent.llm_request",
            "gcp.vertex.agent.llm_response",
            "gcp.vertex.agent.tool_call_args",
            "gcp.vertex.agent.tool_response",
            "gcp.vertex.agent.data",
        ],
    ),
    (
        "Pydantic AI, Logfire",
        &[
            "pydantic_ai.all_messages",
            "all_messages_events",
            "final_result",
            "tool_arguments",
            "tool_response",
            "request_data",
            "response_data",
            "logfire.msg",
        ],
    ),
    (
        "CrewAI",
        &[
            "crewai.crew.result",
            "crewai.crew.inputs",
            "crewai.crew.tasks_output",
            "crewai.task.result",
            "crewai.task.description",
            "crewai.task.expected_output",
            "crewai.agent.result",
            "crewai.agent.goal",
            "crewai.agent.backstory",
        ],
    ),
    (
        "Haystack",
        &[
            "haystack.component.input",
            "haystack.component.output",
            "haystack.pipeline.input_data",
            "haystack.pipeline.output_data",
        ],
    ),
    (
        "Genkit, MLflow, LiveKit",
        &[
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
        ],
    ),
    (
        "Queries",
        &[
            "db.query.text",
            "db.query.parameter.*",
            "db.statement",
            "db.query.result*",
            "db.query.embeddings*",
            "db.search.*",
            "graphql.document",
            "url.query",
        ],
    ),
];

/// Content in one framework and an application's own attribute in the next.
const GENERIC: &[&str] =
    &["input", "output", "prompt", "events", "completion", "messages", "metadata"];

/// How the attributes of GenAI instrumentations begin.
const GENAI: &[&str] = &[
    "gen_ai.",
    "openinference.",
    "traceloop.",
    "langfuse.",
    "langsmith.",
    "llm.",
    "ai.",
    "pydantic_ai.",
    "gcp.vertex.agent.",
    "crewai.",
    "genkit:",
    "mlflow.",
    "lk.",
    "logfire.",
    "mcp.",
];

/// Command lines and environments, where arguments and keys stand.
const PROCESS: &[&str] =
    &["process.command_line", "process.command_args", "process.environment_variable.*"];

/// Texts of errors: the type stays.
const MESSAGES: &[&str] = &[
    "exception.message",
    "error.message",
    "error.description",
    "langfuse.observation.status_message",
    "otel.status_description",
];

/// Stack traces: the frames stay.
const STACKS: &[&str] = &["exception.stacktrace", "error.stack", "code.stacktrace"];

/// URLs whose query goes.
const URLS: &[&str] = &["url.full", "http.url", "http.target"];

/// What a model was called with, as JSON: numbers, switches and settings stay.
const PARAMETERS: &[&str] = &["llm.invocation_parameters", "embedding.invocation_parameters"];

/// Captured headers, which go if their name tells of a secret.
const HEADERS: &[&str] = &["http.request.header.*", "http.response.header.*"];

/// Attributes that hold captured credentials.
const CREDENTIALS: &[&str] = &[
    "rpc.request.metadata.*",
    "rpc.response.metadata.*",
    "ai.request.headers.*",
    "langsmith.request.headers",
    "llm.headers",
    "gen_ai.headers",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "api_key",
    "apikey",
    "user_api_key",
    "openai_api_key",
    "anthropic_api_key",
    "password",
    "passwd",
    "secret",
    "client_secret",
    "access_token",
    "refresh_token",
    "id_token",
    "private_key",
    "aws_secret_access_key",
    "aws_session_token",
];

/// Words in the name of a header that tells a secret.
const SECRET: [&str; 9] =
    ["auth", "cookie", "token", "secret", "password", "credential", "session", "signature", "key"];

/// Span events and log records that are content from end to end.
const EVENTS: &[&str] = &[
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
    "gen_ai.content.completion.chunk",
    "gen_ai.system.message",
    "gen_ai.developer.message",
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
pub fn attributes(marks: &[String], own: [&str; 3], content: bool) -> Names<Hit> {
    let mut rules = vec![];
    rules.extend(own.iter().map(|key| (Pattern::exact(key), Hit::Keep)));
    rules.extend(marks.iter().map(|key| (Pattern::exact(key), Hit::Mark)));
    rules.push((Pattern::exact("event.name"), Hit::EventName));
    if content {
        let mut names = groups();
        names.sort_by_key(|(_, _, hit)| *hit != Hit::Keep);
        names.into_iter().for_each(|(_, names, hit)| rules.extend(table(names, hit)));
    }
    Names::new(rules)
}

/// The table as a whole: what each part is about, its names and what they stand for.
fn groups() -> Vec<(&'static str, &'static [&'static str], Hit)> {
    let content = CONTENT.iter();
    let content = content.map(|(dialect, names)| (*dialect, *names, Hit::Remove(rules::CONTENT)));
    let others = [
        ("Names without a namespace, on GenAI spans", GENERIC, Hit::Generic),
        ("Credentials", CREDENTIALS, Hit::Remove(rules::CREDENTIAL)),
        ("Headers whose name tells of a secret", HEADERS, Hit::Header),
        ("Command lines, environments", PROCESS, Hit::Remove(rules::PROCESS)),
        ("Messages of errors: the type stays", MESSAGES, Hit::Message),
        ("Stack traces: types and frames stay", STACKS, Hit::Stack),
        ("URLs: the query goes", URLS, Hit::Url),
        ("Parameters of calls: numbers and settings stay", PARAMETERS, Hit::Parameters),
        ("What stays although it looks like one of these", KEPT, Hit::Keep),
    ];
    content.chain(others).collect()
}

/// What event names stand for: [`rules::CONTENT_EVENT`] or [`rules::BODY`].
pub fn events(content: bool) -> Names<RuleId> {
    let mut names = vec![];
    if content {
        names.extend(table(EVENTS, rules::CONTENT_EVENT));
        names.extend(table(BODIES, rules::BODY));
    }
    Names::new(names)
}

/// The rule that takes an attribute or a member by a part of its name, wherever it begins.
pub fn by_part(key: &[u8]) -> Option<RuleId> {
    // All at once, since nearly every key has neither.
    let (mut has_h, mut has_capital) = (false, false);
    for byte in key {
        has_h |= *byte == b'h';
        has_capital |= byte.is_ascii_uppercase();
    }
    let is_headers = |at: usize| {
        let rest = key.get(at.saturating_sub(1)..).unwrap_or_default();
        matches!(rest.strip_prefix(b".headers"), Some([] | [b'.', ..]))
    };
    if has_h && memchr::memchr_iter(b'h', key).any(is_headers) {
        return Some(rules::CREDENTIAL);
    }
    if key.ends_with(b".explanation") {
        return Some(rules::CONTENT);
    }
    // In JSON they stand in the case of the wire.
    if key.len() <= 24 && has_capital {
        let lower = key.to_ascii_lowercase();
        let known = CREDENTIALS.iter().any(|name| name.as_bytes() == lower);
        return known.then_some(rules::CREDENTIAL);
    }
    None
}

/// Whether the captured header `key` tells a secret.
pub fn is_secret_header(key: &[u8]) -> bool {
    let name = key.rsplit(|byte| *byte == b'.').next().unwrap_or_default().to_ascii_lowercase();
    let is_told = |word: &str| memchr::memmem::find(&name, word.as_bytes()).is_some();
    name == b"openai-organization" || SECRET.iter().any(|word| is_told(word))
}

/// Whether `key` is one of a GenAI instrumentation's.
pub fn is_genai(key: &[u8]) -> bool {
    GENAI.iter().any(|start| key.starts_with(start.as_bytes()))
}

/// A URL without its query; `None` if it has none.
pub fn without_query(url: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memchr2(b'?', b'#', url)?;
    url.get(..at).map(Vec::from)
}

fn table<T: Copy>(names: &[&str], meaning: T) -> impl Iterator<Item = (Pattern, T)> {
    names.iter().map(move |name| (Pattern::table(name), meaning))
}

/// A key for each pattern that takes a whole value.
#[cfg(test)]
pub fn examples() -> Vec<String> {
    let taken = groups().into_iter().filter(|(_, _, hit)| matches!(hit, Hit::Remove(_)));
    let names = taken.flat_map(|(_, names, _)| names);
    names.map(|name| name.replace('*', ".x.").replace('#', "0.content")).collect()
}

/// What `docs/sensitive.md` shows: what each part of the table is about, and its names.
#[cfg(test)]
pub fn shown() -> Vec<(&'static str, &'static [&'static str])> {
    let events = [("Span events and log records", EVENTS), ("Bodies of log records", BODIES)];
    groups().into_iter().map(|(about, names, _)| (about, names)).chain(events).collect()
}

/// The names of events that go whole.
#[cfg(test)]
pub fn event_examples() -> &'static [&'static str] {
    EVENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[&str], removed: bool) {
        let names = attributes(&[], ["own.events", "own.attributes", "own.values"], true);
        for key in keys {
            let hit = names.find(key.as_bytes());
            assert_eq!(matches!(hit, Some(Hit::Remove(_))), removed, "{key}: {hit:?}");
        }
    }

    #[test]
    fn every_pattern_of_the_tables_takes_what_it_says() {
        check(&examples().iter().map(String::as_str).collect::<Vec<_>>(), true);
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
