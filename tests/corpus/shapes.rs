//! The documented shapes of torn traces, and those that look like one and are none.
//!
//! Each is a request in the notation of spans, and what must be said of which span: its primary
//! signature and, behind `<-`, its parent. What is not listed must not be tagged.

use super::pipeline::{Pipeline, Said, moment};
use spanloom::otlp::text;

struct Shape {
    name: &'static str,
    spans: &'static str,
    expected: &'static [&'static str],
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "1 LangGraph async",
        spans: r#"
            resource service.name="graph"
            scope "opentelemetry.instrumentation.genai.langchain"
            span 1/a1 "invoke_workflow LangGraph" kind=internal 0..4200ms gen_ai.operation.name="invoke_workflow" gen_ai.conversation.id="thread-1"
            span 2/b1 "chat gpt-4o" kind=client 320ms..900ms gen_ai.operation.name="chat" gen_ai.conversation.id="thread-1"
            span 3/c1 "execute_tool get_weather" kind=internal 910ms..1400ms gen_ai.operation.name="execute_tool" gen_ai.conversation.id="thread-1"
            span 4/d1 "chat gpt-4o" kind=client 1410ms..2600ms gen_ai.operation.name="chat" gen_ai.conversation.id="thread-1"
        "#,
        expected: &[
            "2/b1 mid_sequence_root <- 1/a1",
            "3/c1 tool_call_root <- 1/a1",
            "4/d1 mid_sequence_root <- 1/a1",
        ],
    },
    Shape {
        name: "2 Smolagents timeout thread",
        spans: r#"
            span 1/a1 "CodeAgent.run" 0..9000ms openinference.span.kind="AGENT"
            span 1/a2 parent=a1 "Step 1" 5ms..4000ms openinference.span.kind="CHAIN"
            span 1/a3 parent=a2 "OpenAIModel.generate" 10ms..3200ms openinference.span.kind="LLM"
            span 2/b1 "MCPAdaptTool" 3300ms..3900ms openinference.span.kind="TOOL"
            span 3/c1 "FinalAnswerTool" 8700ms..8710ms openinference.span.kind="TOOL"
        "#,
        expected: &["2/b1 tool_call_root", "3/c1 tool_call_root"],
    },
    Shape {
        name: "3 CrewAI thread and asyncio.run",
        spans: r#"
            span 1/a1 "Flow.kickoff" 0..12000ms openinference.span.kind="CHAIN"
            span 2/b1 "Crew.kickoff" 15ms..11950ms openinference.span.kind="CHAIN"
            span 2/b2 parent=b1 "agent" 20ms..11900ms openinference.span.kind="AGENT"
            span 3/c1 "SearchTool.run" 2000ms..3100ms openinference.span.kind="TOOL"
        "#,
        expected: &["3/c1 tool_call_root"],
    },
    Shape {
        name: "4 MCP client and server",
        spans: r#"
            resource service.name="client"
            scope -
            span 1/a1 "invoke_agent" 0..500ms gen_ai.operation.name="invoke_agent"
            span 1/a2 parent=a1 "tools/call get-weather" kind=client 100ms..420ms gen_ai.operation.name="execute_tool" mcp.method.name="tools/call" mcp.session.id="S" jsonrpc.request.id="7" gen_ai.tool.name="get-weather"
            resource service.name="server"
            scope -
            span 2/b1 "tools/call get-weather" kind=server 130ms..400ms mcp.method.name="tools/call" mcp.session.id="S" jsonrpc.request.id="7" gen_ai.tool.name="get-weather"
        "#,
        expected: &["2/b1 tool_call_root <- 1/a2"],
    },
    Shape {
        name: "4b MCP client whose trace never arrives, linked",
        spans: r#"
            span 2/b1 "POST /mcp" kind=server 100ms..420ms
            span 2/b2 parent=b1 "tools/call get-weather" kind=server 130ms..400ms mcp.method.name="tools/call"
              link 6/1
        "#,
        expected: &[],
    },
    Shape {
        name: "5 AutoGen runtime, linked",
        spans: r#"
            span 1/a1 "autogen publish default.(a/0)-T" kind=producer 10ms..12ms
            span 2/b1 "autogen process modifier.(default)-A" kind=consumer 14ms..300ms
              link 1/a1
            span 2/b2 parent=b1 "chat" kind=client 20ms..200ms gen_ai.operation.name="chat"
            span 3/c1 "autogen process checker.(default)-A" kind=consumer 310ms..400ms
              link 2/b1
        "#,
        expected: &[],
    },
    Shape {
        name: "6a ADK agents in traces of their own",
        spans: r#"
            scope "gcp.vertex.agent"
            span 1/a1 "invoke_agent supervisor" 0..9000ms gen_ai.operation.name="invoke_agent" gen_ai.conversation.id="c"
            span 1/a2 parent=a1 "call_llm" 10ms..900ms gen_ai.conversation.id="c" gen_ai.request.model="gemini"
            span 2/b1 "invoke_agent agent1" 1000ms..3000ms gen_ai.operation.name="invoke_agent" gen_ai.conversation.id="c"
            span 3/c1 "invoke_agent agent2" 3100ms..5000ms gen_ai.operation.name="invoke_agent" gen_ai.conversation.id="c"
        "#,
        expected: &["2/b1 mid_sequence_root <- 1/a1", "3/c1 mid_sequence_root <- 1/a1"],
    },
    Shape {
        name: "6b ADK call_llm that never ended",
        spans: r#"
            span 1/a1 "invoke_agent root" 0..5000ms gen_ai.operation.name="invoke_agent" flags=0x100
            span 1/a3 parent=a2 "execute_tool transfer_to_agent" 900ms..950ms gen_ai.operation.name="execute_tool" flags=0x100
            span 1/a4 parent=a2 "invoke_agent sub" 960ms..4000ms gen_ai.operation.name="invoke_agent" flags=0x100
        "#,
        expected: &["1/a3 tool_call_root", "1/a4 missing_parent"],
    },
    Shape {
        name: "7 A2A without propagation",
        spans: r#"
            resource service.name="gateway"
            scope -
            span 1/a1 "POST /api/a2a" kind=server 0..5000ms
            span 1/a2 parent=a1 "POST" kind=client 20ms..4950ms server.address="k8s-agent" a2a.task.id="task-81f0aa12"
            resource service.name="k8s-agent"
            scope -
            span 2/b1 "POST /" kind=server 40ms..4930ms a2a.task.id="task-81f0aa12"
            span 2/b2 parent=b1 "invoke_agent k8s-agent" 50ms..4900ms gen_ai.operation.name="invoke_agent"
            span 2/b3 parent=b2 "chat" kind=client 60ms..900ms gen_ai.operation.name="chat"
        "#,
        expected: &["2/b1 trace_discontinuity <- 1/a2"],
    },
    Shape {
        name: "7b the same without a key",
        spans: r#"
            resource service.name="gateway"
            scope -
            span 1/a1 "POST /api/a2a" kind=server 0..5000ms
            span 1/a2 parent=a1 "POST" kind=client 20ms..4950ms server.address="k8s-agent"
            resource service.name="k8s-agent"
            scope -
            span 2/b1 "POST /" kind=server 40ms..4930ms
        "#,
        expected: &["2/b1 trace_discontinuity <- 1/a2"],
    },
    Shape {
        name: "8 Celery",
        spans: r#"
            resource service.name="api"
            scope -
            span 1/a1 "POST /ask" kind=server 0..80ms
            span 1/a2 parent=a1 "apply_async/run_agent" kind=producer 60ms..75ms messaging.destination.name="celery" messaging.message.id="5f0c1d2e-71aa"
            resource service.name="worker"
            scope -
            span 2/b1 "run/run_agent" kind=consumer 640ms..9000ms messaging.destination.name="celery" messaging.message.id="5f0c1d2e-71aa"
            span 2/b2 parent=b1 "invoke_agent" 650ms..8900ms gen_ai.operation.name="invoke_agent"
        "#,
        expected: &["2/b1 trace_discontinuity <- 1/a2"],
    },
    Shape {
        name: "9 OpenHands",
        spans: r#"
            span 1/a1 "conversation" 0..9000ms session.id="s"
            span 4/d1 parent=0 "tools/call create_pr" 4000ms..5000ms mcp.method.name="tools/call"
        "#,
        expected: &["4/d1 tool_call_root"],
    },
    Shape {
        name: "10 Vercel nested loop, wrong level",
        spans: r#"
            span 1/a1 "ai.streamText" 0..9000ms ai.operationId="ai.streamText"
            span 1/a2 parent=a1 "ai.toolCall" 1000ms..8000ms ai.operationId="ai.toolCall"
            span 1/a3 parent=a1 "ai.streamText.doStream" 3000ms..4000ms ai.operationId="ai.streamText.doStream"
        "#,
        expected: &[],
    },
    Shape {
        name: "11 Temporal, dangling",
        spans: r#"
            span 1/a1 "Agent workflow" 0..9000ms traceloop.span.kind="workflow"
            span 1/a3 parent=ff "temporal:startActivity" 100ms..200ms traceloop.span.kind="task" flags=0x100
        "#,
        expected: &["1/a3 missing_parent"],
    },
    Shape {
        name: "12 LangSmith, tool disconnected",
        spans: r#"
            span 1/a1 "LangGraph" 0..9000ms langsmith.span.kind="chain" langsmith.span.id="run-0001-aaaa"
            span 2/b1 "get_weather" 1000ms..2000ms langsmith.span.kind="tool" langsmith.span.id="run-0002-bbbb" langsmith.span.parent_id="run-0001-aaaa"
        "#,
        expected: &["2/b1 tool_call_root <- 1/a1"],
    },
    Shape {
        name: "12b context that was noted while a new root began",
        spans: r#"
            span 1/a1 "invoke_agent" 0..9000ms gen_ai.operation.name="invoke_agent"
            span 2/b1 "session hook" 1000ms..2000ms prov.trace.parent="00-00000000000000000000000000000001-00000000000000a1-01"
        "#,
        expected: &["2/b1 trace_discontinuity <- 1/a1"],
    },
    Shape {
        name: "13 controls",
        spans: r#"
            resource service.name="cron"
            scope -
            span 1/a1 "nightly" kind=consumer 0..100ms
              link 9/1
            resource service.name="mcp-server"
            scope -
            span 2/b1 "tools/call search" kind=server 0..100ms mcp.method.name="tools/call"
            resource service.name="shop"
            scope -
            span 3/c1 parent=77 "GET /" kind=server 0..100ms flags=0x300
            span 4/d1 parent=78 "as root" 0..100ms langfuse.internal.as_root=true
            resource service.name="script"
            scope -
            span 5/e1 "chat gpt-4o" kind=client 0..100ms gen_ai.operation.name="chat"
            resource service.name="eval"
            scope -
            span 6/f1 "evaluation" 0..100ms openinference.span.kind="EVALUATOR"
            resource service.name="batch"
            scope -
            span 7/a1 "process orders" kind=consumer 0..100ms
              link 8/1
              link 8/2
              link 8/3
        "#,
        expected: &[],
    },
    Shape {
        name: "13 two requests of one session",
        spans: r#"
            span 1/a1 "invoke_agent" 0..1000ms gen_ai.operation.name="invoke_agent" session.id="s"
            span 1/a2 parent=a1 "chat" kind=client 1ms..900ms gen_ai.operation.name="chat" session.id="s"
            span 2/b1 "invoke_agent" 5000ms..6000ms gen_ai.operation.name="invoke_agent" session.id="s"
            span 2/b2 parent=b1 "chat" kind=client 5001ms..5900ms gen_ai.operation.name="chat" session.id="s"
        "#,
        expected: &[],
    },
];

/// What was said, as the shapes have it.
fn describe(at: (u128, u64), said: &Said) -> String {
    let parent = said.parent.map(|(trace, span)| format!(" <- {trace:x}/{span:x}"));
    format!("{:x}/{:x} {}{}", at.0, at.1, said.signatures[0], parent.unwrap_or_default())
}

/// Checks every shape, with a window before the tagger and without one.
pub fn check_all() {
    for window in [true, false] {
        for shape in SHAPES {
            let bytes = text::parse(shape.spans).expect(shape.name);
            let mut pipeline = Pipeline::new(window, "{}");
            pipeline.push(bytes, moment(1000.0));
            for seconds in 1..80 {
                pipeline.wake(moment(1000.0 + 1000.0 * f64::from(seconds)));
            }
            pipeline.finish(moment(100_000.0));
            let said = pipeline.passed.said.iter();
            let said: Vec<String> = said.map(|(at, said)| describe(*at, said)).collect();
            assert_eq!(said, shape.expected, "{}: {:?}", shape.name, pipeline.passed.said);
        }
    }
}
