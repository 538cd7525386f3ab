"""An agent under a GenAI instrumentation as users install it, with the capture of content on.

    program.py openai-v2 | openinference | openllmetry | agents

The model is a server of its own on loopback, which answers with a call of a tool, then with a text,
then with an error. Whatever a user, a developer, the model or a tool says has CANARY in it; names,
ids and counts have not. Telemetry goes where OTEL_EXPORTER_OTLP_ENDPOINT says, by gRPC: traces, logs
and metrics. Prints how many spans were made, as JSON.
"""

import asyncio
import http.server
import json
import os
import sys
import threading

# Read by the instrumentations as they are imported.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_AND_EVENT"
os.environ["TRACELOOP_TRACE_CONTENT"] = "true"

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

MODEL = "gpt-4o-2024-08-06"
USAGE = {"prompt_tokens": 421, "completion_tokens": 17, "total_tokens": 438}
ARGUMENTS = json.dumps({"city": "CANARY-ARGUMENT"})
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": ARGUMENTS},
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "CANARY-DESCRIPTION",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "CANARY-SCHEMA"}},
        },
    },
}
SYSTEM = "CANARY-SYSTEM: you are a planner"
QUESTION = "CANARY-QUESTION: is it raining in Paris?"


class Model(http.server.BaseHTTPRequestHandler):
    """Answers as the API does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "/embeddings" in self.path:
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}]
            usage = {"prompt_tokens": 421, "total_tokens": 421}
            answer = {"object": "list", "data": data, "model": MODEL, "usage": usage}
            return self.say(200, json.dumps(answer))
        said = json.dumps(request.get("messages") or request.get("input"))
        if "fail" in said:
            error = {"message": "CANARY-ERROR: no such thing", "type": "invalid_request_error"}
            return self.say(400, json.dumps({"error": error}))
        called = '"tool"' in said or "function_call_output" in said
        if self.path.endswith("/responses"):
            return self.say(200, json.dumps(response(called)))
        if request.get("stream"):
            return self.say(200, stream(), "text/event-stream")
        self.say(200, json.dumps(completion(called)))

    def say(self, status, text, kind="application/json"):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def completion(called):
    message = {"role": "assistant", "content": "CANARY-ANSWER: it is"}
    if not called:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    reason = "stop" if called else "tool_calls"
    choice = {"index": 0, "finish_reason": reason, "message": message}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1780000000}
    return {**head, "model": MODEL, "choices": [choice], "usage": USAGE}


def stream():
    head = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1780000000}
    deltas = [{"role": "assistant", "content": "CANARY-"}, {"content": "STREAMED"}, {}]
    chunks = []
    for at, delta in enumerate(deltas):
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if at == 2 else None}
        chunks.append({**head, "model": MODEL, "choices": [choice], "usage": None})
    chunks.append({**head, "model": MODEL, "choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def response(called):
    said = {"type": "output_text", "text": "CANARY-ANSWER: it is", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    item["content"] = [said]
    if not called:
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "status": "completed"}
        item |= {"name": "get_weather", "arguments": ARGUMENTS}
    usage = {"input_tokens": 421, "output_tokens": 17, "total_tokens": 438}
    usage["input_tokens_details"] = {"cached_tokens": 0}
    usage["output_tokens_details"] = {"reasoning_tokens": 0}
    head = {"id": "resp_1", "object": "response", "created_at": 1780000000, "model": MODEL}
    head |= {"status": "completed", "parallel_tool_calls": False, "tool_choice": "auto"}
    return {**head, "tools": [], "output": [item], "usage": usage}


class Count(SpanExporter):
    """Counts the spans that ended."""

    spans = 0

    def export(self, spans):
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


def chat(url):
    """What the three instrumentations of the client see: a tool, a stream, embeddings, an error."""
    import openai

    client = openai.OpenAI(base_url=url, api_key="sk-CANARY-KEY", max_retries=0)
    ask = client.chat.completions.create
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "user", "content": QUESTION},
    ]
    first = ask(model=MODEL, messages=messages, tools=[TOOL], user="u-42", temperature=0.5)
    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": "call_1", "content": "CANARY-RESULT"})
    ask(model=MODEL, messages=messages, metadata={"team": "CANARY-METADATA"})
    options = {"include_usage": True}
    for _ in ask(model=MODEL, messages=messages, stream=True, stream_options=options):
        pass
    client.embeddings.create(model=MODEL, input=["CANARY-EMBEDDED"])
    client.responses.create(model=MODEL, instructions=SYSTEM, input=QUESTION)
    with trace.get_tracer("agent").start_as_current_span("plan") as span:
        try:
            ask(model=MODEL, messages=[{"role": "user", "content": "CANARY fail"}])
        except openai.BadRequestError as error:
            span.record_exception(error)
            span.set_status(trace.StatusCode.ERROR, str(error))


async def agents(url):
    """An agent that calls a tool, and one that fails, by both APIs of the client."""
    import agents
    import openai

    client = openai.AsyncOpenAI(base_url=url, api_key="sk-CANARY-KEY", max_retries=0)

    @agents.function_tool
    def get_weather(city: str) -> str:
        """CANARY-DESCRIPTION."""
        return "CANARY-RESULT in " + city

    for kind in (agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel):
        model = kind(model=MODEL, openai_client=client)
        agent = agents.Agent("planner", instructions=SYSTEM, tools=[get_weather], model=model)
        await agents.Runner.run(agent, QUESTION)
        try:
            await agents.Runner.run(agent, "CANARY fail")
        except openai.BadRequestError:
            pass


def instrument(name):
    if name == "openai-v2":
        from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
    elif name == "openinference":
        from openinference.instrumentation.openai import OpenAIInstrumentor
    elif name == "openllmetry":
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor
    else:
        from openinference.instrumentation.openai_agents import (
            OpenAIAgentsInstrumentor as OpenAIInstrumentor,
        )
    OpenAIInstrumentor().instrument()


def main(name):
    resource = Resource.create({"service.name": "travel-agents"})
    count, tracers = Count(), TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracers.add_span_processor(BatchSpanProcessor(count))
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
    trace.set_tracer_provider(tracers)
    set_logger_provider(logs)
    metrics.set_meter_provider(meters)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    instrument(name)
    asyncio.run(agents(url)) if name == "agents" else chat(url)
    for provider in (tracers, logs, meters):
        provider.shutdown()
    print(json.dumps({"spans": count.spans}))


if __name__ == "__main__":
    main(sys.argv[1])
