// One multi-agent trace through the official JavaScript SDK, configured by OTEL_* variables alone:
//
//   node agents.mjs FOLDER    where FOLDER/node_modules holds the packages of package.json
//
// Prints one JSON object per line: {"kind": "entry" | "later" | "orphan", "span_id": "...", "name": "..."}.
// The entry span carries the baggage and is exported before the later spans, as a queue worker's or a
// long-running agent's spans are. Exits with 1 when the exporter could not deliver.

import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "package.json"));
const { ROOT_CONTEXT, SpanKind, trace } = require("@opentelemetry/api");
const { BatchSpanProcessor, TracerProvider } = require("@opentelemetry/sdk-trace");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const packages = {
  grpc: "@opentelemetry/exporter-trace-otlp-grpc",
  "http/json": "@opentelemetry/exporter-trace-otlp-http",
  "http/protobuf": "@opentelemetry/exporter-trace-otlp-proto",
};
const protocol = process.env.OTEL_EXPORTER_OTLP_PROTOCOL ?? "http/protobuf";
const { OTLPTraceExporter } = require(packages[protocol]);

const provider = new TracerProvider({
  resource: resourceFromAttributes({ "service.name": "travel-agents" }),
  spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
});

// What could not be delivered rejects the flush that tried.
const failures = [];
const fail = (errors) => failures.push(...[errors].flat());

const tracer = provider.getTracer("agents", "1.0");

function report(kind, span) {
  console.log(JSON.stringify({ kind, span_id: span.spanContext().spanId, name: span.name }));
}

function chat(agent, parent) {
  const attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.agent.name": agent,
    "gen_ai.usage.input_tokens": 420,
    "gen_ai.usage.output_tokens": 17,
    "gen_ai.response.finish_reasons": ["stop"],
  };
  const span = tracer.startSpan("chat gpt-4o", { kind: SpanKind.CLIENT, attributes }, parent);
  span.addEvent("prompt", { sensitive: true, text: "CANARY-PROMPT: my card is 4111" });
  span.addEvent("gen_ai.content.prompt", { "gen_ai.prompt": "CANARY-PROMPT: plan a trip" });
  span.addEvent("retry", { attempt: 2 });
  span.end();
  report("later", span);
}

const baggage = { baggage: "user.id=alice,session.id=s-42" };
const entry = tracer.startSpan(
  "POST /trips",
  { kind: SpanKind.SERVER, attributes: baggage },
  ROOT_CONTEXT,
);
const parent = trace.setSpan(ROOT_CONTEXT, entry);
entry.end();
report("entry", entry);
await provider.forceFlush().catch(fail);

for (const agent of ["planner", "researcher"]) {
  const attributes = { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent };
  const span = tracer.startSpan(`invoke_agent ${agent}`, { attributes }, parent);
  chat(agent, trace.setSpan(parent, span));
  span.end();
  report("later", span);
}

// The tool runs where the context was lost: a root of a trace of its own.
const attributes = { "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather" };
const tool = tracer.startSpan("execute_tool get_weather", { attributes }, ROOT_CONTEXT);
tool.end();
report("orphan", tool);

await provider.shutdown().catch(fail);
for (const failure of failures) console.error(String(failure));
process.exitCode = failures.length > 0 ? 1 : 0;
