//! The attribute keys that tell what a span does, who it belongs to and who called it, over all
//! dialects.

use crate::processors::names::{Names, Pattern};

/// What a span does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing that is known here.
    #[default]
    None,
    Tool,
    Llm,
    Agent,
    /// A workflow, chain, task or step: it holds others.
    Chain,
    /// A step that holds no others, such as a retrieval.
    Leaf,
}

impl Role {
    const ALL: [Role; 6] =
        [Role::None, Role::Tool, Role::Llm, Role::Agent, Role::Chain, Role::Leaf];

    /// The role of this number.
    pub fn of(number: u16) -> Option<Role> {
        Role::ALL.get(usize::from(number)).copied()
    }
}

/// What the value of an attribute is.
#[derive(Clone, Copy)]
pub enum Tell {
    /// The role, by value.
    Role(&'static [(&'static str, Role)]),
    /// The name of a tool: the role too, if nothing else tells it.
    ToolName,
    /// The name of a tool, of which the role is told elsewhere, and what it was called with.
    CalledTool,
    Arguments,
    /// The same of a call in a model's answer; the first name goes with the first arguments.
    CallName,
    CallArguments,
    /// A model: the role too, if nothing else tells it.
    Model,
    /// A session: spans of one trace have one.
    Session,
    /// A conversation or thread: agents of one trace may have different ones.
    Conversation,
    /// The user's tenant.
    Tenant,
    /// The id of a call of a tool: on the span of the tool, and on the span of the model.
    ToolCall,
    ModelCall,
    /// Several of those.
    ModelCalls,
    /// Messages of a model as JSON, with ids of calls in it.
    ModelMessages,
    MessageId,
    Destination,
    McpMethod,
    McpSession,
    RpcId,
    /// The client's address and port as the server sees them, and as the client does.
    ClientAddress,
    ClientPort,
    LocalAddress,
    LocalPort,
    /// An id in headers that is made for one request.
    RequestId,
    Task,
    /// A context that was noted, as headers have it.
    Context,
    /// An id of the framework's own for this span, and for its parent; those of one number go
    /// together.
    OwnId(u8),
    ParentId(u8),
    /// Whom a client calls.
    Peer,
    /// The span begins a trace on purpose, if the value is true.
    Deliberate,
    /// The span is tagged already.
    Tagged,
}

const OPERATIONS: &[(&str, Role)] = &[
    ("execute_tool", Role::Tool),
    ("chat", Role::Llm),
    ("generate_content", Role::Llm),
    ("text_completion", Role::Llm),
    ("response", Role::Llm),
    ("llm_request", Role::Llm),
    ("invoke_agent", Role::Agent),
    ("invoke_workflow", Role::Chain),
    ("execute_task", Role::Chain),
    ("agent_step", Role::Chain),
    ("plan", Role::Chain),
    ("embeddings", Role::Leaf),
    ("retrieval", Role::Leaf),
    ("rerank", Role::Leaf),
];
const OPENINFERENCE: &[(&str, Role)] = &[
    ("TOOL", Role::Tool),
    ("LLM", Role::Llm),
    ("AGENT", Role::Agent),
    ("CHAIN", Role::Chain),
    ("RETRIEVER", Role::Leaf),
    ("EMBEDDING", Role::Leaf),
    ("RERANKER", Role::Leaf),
];
const LOWER: &[(&str, Role)] = &[
    ("tool", Role::Tool),
    ("llm", Role::Llm),
    ("generation", Role::Llm),
    ("model", Role::Llm),
    ("agent", Role::Agent),
    ("chain", Role::Chain),
    ("workflow", Role::Chain),
    ("task", Role::Chain),
    ("retriever", Role::Leaf),
    ("embedding", Role::Leaf),
];
const VERCEL: &[(&str, Role)] = &[
    ("ai.toolCall", Role::Tool),
    ("ai.generateText.doGenerate", Role::Llm),
    ("ai.streamText.doStream", Role::Llm),
    ("ai.generateObject.doGenerate", Role::Llm),
    ("ai.generateText", Role::Agent),
    ("ai.streamText", Role::Agent),
    ("ai.generateObject", Role::Agent),
];

const TELLS: &[(&str, Tell)] = &[
    ("gen_ai.operation.name", Tell::Role(OPERATIONS)),
    ("openinference.span.kind", Tell::Role(OPENINFERENCE)),
    ("traceloop.span.kind", Tell::Role(LOWER)),
    ("langfuse.observation.type", Tell::Role(LOWER)),
    ("langsmith.span.kind", Tell::Role(LOWER)),
    ("genkit:metadata:subtype", Tell::Role(LOWER)),
    ("mlflow.spanType", Tell::Role(OPENINFERENCE)),
    ("ai.operationId", Tell::Role(VERCEL)),
    ("gen_ai.tool.name", Tell::ToolName),
    ("tool.name", Tell::CalledTool),
    ("ai.toolCall.name", Tell::CalledTool),
    ("gen_ai.tool.call.arguments", Tell::Arguments),
    ("input.value", Tell::Arguments),
    ("ai.toolCall.args", Tell::Arguments),
    ("ai.toolCall.input", Tell::Arguments),
    ("gen_ai.request.model", Tell::Model),
    ("llm.model_name", Tell::Model),
    ("session.id", Tell::Session),
    ("langfuse.session.id", Tell::Session),
    ("traceloop.association.properties.session_id", Tell::Session),
    ("langsmith.metadata.session_id", Tell::Session),
    ("ai.telemetry.metadata.sessionId", Tell::Session),
    ("gcp.vertex.agent.session_id", Tell::Session),
    ("gen_ai.conversation.id", Tell::Conversation),
    ("langsmith.metadata.thread_id", Tell::Conversation),
    ("langsmith.metadata.conversation_id", Tell::Conversation),
    ("messaging.message.conversation_id", Tell::Conversation),
    ("gcp.vertex.agent.invocation_id", Tell::Conversation),
    ("gen_ai.tool.call.id", Tell::ToolCall),
    ("tool_call.id", Tell::ToolCall),
    ("ai.toolCall.id", Tell::ToolCall),
    ("gen_ai.output.messages", Tell::ModelMessages),
    ("ai.response.toolCalls", Tell::ModelMessages),
    ("messaging.message.id", Tell::MessageId),
    ("messaging.destination.name", Tell::Destination),
    // As Celery's instrumentation has it.
    ("messaging.destination", Tell::Destination),
    ("mcp.method.name", Tell::McpMethod),
    ("mcp.session.id", Tell::McpSession),
    ("jsonrpc.request.id", Tell::RpcId),
    ("client.address", Tell::ClientAddress),
    ("client.port", Tell::ClientPort),
    ("network.local.address", Tell::LocalAddress),
    ("network.local.port", Tell::LocalPort),
    ("http.request.header.x-request-id", Tell::RequestId),
    // As instrumentations in Python write it.
    ("http.request.header.x_request_id", Tell::RequestId),
    ("http.request.header.x-correlation-id", Tell::RequestId),
    ("http.request.header.idempotency-key", Tell::RequestId),
    ("a2a.task.id", Tell::Task),
    ("gen_ai.a2a.task.id", Tell::Task),
    ("traceparent", Tell::Context),
    ("http.request.header.traceparent", Tell::Context),
    ("messaging.header.traceparent", Tell::Context),
    ("prov.trace.parent", Tell::Context),
    ("_meta.traceparent", Tell::Context),
    ("mcp.request.meta.traceparent", Tell::Context),
    ("http.request.header.b3", Tell::Context),
    ("http.request.header.uber-trace-id", Tell::Context),
    ("langsmith.span.id", Tell::OwnId(0)),
    ("langsmith.span.parent_id", Tell::ParentId(0)),
    ("run_id", Tell::OwnId(1)),
    ("parent_run_id", Tell::ParentId(1)),
    ("span_id", Tell::OwnId(2)),
    ("parent_span_id", Tell::ParentId(2)),
    ("peer.service", Tell::Peer),
    ("server.address", Tell::Peer),
    ("langfuse.internal.as_root", Tell::Deliberate),
    ("langfuse.internal.is_app_root", Tell::Deliberate),
    ("langsmith.is_root", Tell::Deliberate),
];

/// Begin and end of the keys of calls in a model's answer, with a number between them.
const MODEL_CALLS: [(&str, Tell); 6] = [
    ("llm.output_messages.*.tool_call.id", Tell::ModelCall),
    ("llm.output_messages.*.function.name", Tell::CallName),
    ("llm.output_messages.*.function.arguments", Tell::CallArguments),
    ("gen_ai.completion.*.id", Tell::ModelCall),
    ("gen_ai.completion.*.name", Tell::CallName),
    ("gen_ai.completion.*.arguments", Tell::CallArguments),
];

/// The keys to look for, `tagged` being the one that a tagged span has, `tenant` the tenant's and
/// `call_ids` that of ids of calls in messages that were taken out.
pub fn tells(tagged: &str, tenant: &str, call_ids: &str) -> Names<Tell> {
    let tells = TELLS.iter().map(|(key, tell)| (Pattern::exact(key), *tell));
    let calls = MODEL_CALLS.iter().map(|(key, tell)| (Pattern::table(key), *tell));
    let own = [(tagged, Tell::Tagged), (tenant, Tell::Tenant), (call_ids, Tell::ModelCalls)];
    let own = own.into_iter().filter(|(key, _)| !key.is_empty());
    let own = own.map(|(key, tell)| (Pattern::exact(key), tell));
    Names::new(own.chain(tells).chain(calls))
}
