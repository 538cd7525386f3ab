"""Runs that lose their context, with the libraries and for the reasons for which it is lost in earnest.

    program.py pool | celery-worker | celery-sender | mcp-stdio | mcp-http | http [mended]

Each is a small agent. Every process exports each span as it ends, by OTLP to where
OTEL_EXPORTER_OTLP_ENDPOINT says. Nothing here writes an id that it should not know: where a trace is
torn, it is torn by what the libraries did not pass on. With `mended` the run is the same with the
remedy applied, and whole. Prints the names of the spans that lost their parents, each with the name
of its parent, as one line of JSON.
"""

import asyncio
import contextlib
import contextvars
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

# Read by instrumentations of HTTP as they are imported: the stable names of attributes.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
MENDED = sys.argv[-1] == "mended"
# The client of MCP would inject its context by itself; this is how it is turned off, by mistake.
if sys.argv[1] in ("mcp-stdio", "mcp-http") and not MENDED:
    os.environ["OTEL_PROPAGATORS"] = "none"

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

TOOL_CALL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather"}


def tracer(service):
    resource = Resource.create({"service.name": service, "service.instance.id": str(uuid.uuid4())})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return trace.get_tracer("agent")


def agent(tracer):
    """The span of an agent's whole run."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "planner",
        "gen_ai.conversation.id": str(uuid.uuid4()),
    }
    return tracer.start_as_current_span("invoke_agent planner", attributes=attributes)


def chat(tracer):
    """A call of the model, which asks for a tool. Returns the id of that call."""
    call = f"call_{uuid.uuid4().hex}"
    part = {"type": "tool_call", "id": call, "name": "get_weather", "arguments": {}}
    said = [{"role": "assistant", "parts": [part], "finish_reason": "tool_calls"}]
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.output.messages": json.dumps(said),
    }
    with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=attributes):
        time.sleep(0.02)
    return call


def report(**parents):
    print(json.dumps(parents), flush=True)


def pool():
    """The agent runs its tool on a thread of a pool, which does not take the context along."""
    spans = tracer("planner")

    def tool(call):
        attributes = TOOL_CALL | {"gen_ai.tool.call.id": call}
        with spans.start_as_current_span("execute_tool get_weather", attributes=attributes):
            time.sleep(0.03)

    with agent(spans):
        call = chat(spans)
        with ThreadPoolExecutor() as threads:
            work = contextvars.copy_context().run if MENDED else lambda tool, call: tool(call)
            threads.submit(work, tool, call).result()
        chat(spans)
    report(**{"execute_tool get_weather": "invoke_agent planner"})


def celery(sender, worker):
    """A task goes through a queue; one of both sides is instrumented, the other writes spans by hand."""
    from celery import Celery
    from celery.signals import worker_init
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    folder = os.environ.get("QUEUE") or tempfile.mkdtemp()
    os.environ["QUEUE"] = folder
    app = Celery("research", broker="filesystem://", backend=f"file://{folder}")
    app.conf.broker_transport_options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder + "/control",
    }
    app.conf.broker_connection_retry_on_startup = True
    about = {"messaging.system": "celery", "messaging.destination.name": "celery"}

    def work():
        with tracing.start_as_current_span(
            "invoke_agent researcher", attributes={"gen_ai.operation.name": "invoke_agent"}
        ):
            chat(tracing)

    @app.task(bind=True, name="research")
    def research(task):
        if worker:
            return work()
        attributes = about | {
            "messaging.operation.type": "process",
            "messaging.message.id": task.request.id,
        }
        with tracing.start_as_current_span(
            "process celery", kind=SpanKind.CONSUMER, attributes=attributes
        ):
            work()

    if os.environ.get("WORKER"):
        tracing = tracer("worker")
        if worker:
            worker_init.connect(lambda **_: CeleryInstrumentor().instrument(), weak=False)
        app.worker_main(["worker", "--pool", "solo", "--loglevel", "ERROR", "--without-mingle"])
        return
    tracing = tracer("planner")
    if sender:
        CeleryInstrumentor().instrument()
    command = [sys.executable, __file__, *sys.argv[1:]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"WORKER": "1"}, **quiet)
    try:
        with agent(tracing):
            chat(tracing)
            if sender:
                result = research.apply_async()
            else:
                task = str(uuid.uuid4())
                attributes = about | {
                    "messaging.operation.type": "send",
                    "messaging.message.id": task,
                }
                with tracing.start_as_current_span(
                    "send celery", kind=SpanKind.PRODUCER, attributes=attributes
                ):
                    result = research.apply_async(task_id=task)
            result.get(timeout=60, interval=0.05)
        # The result is there before the worker's span has ended.
        time.sleep(0.5)
    finally:
        process.terminate()
        process.wait()
    head = "run/research" if worker else "process celery"
    report(**{head: "apply_async/research" if sender else "send celery"})


def mcp_server():
    """An MCP server as its authors write it; the library makes its spans."""
    from mcp.server.mcpserver import MCPServer

    tracer("weather")
    server = MCPServer("weather", log_level="ERROR")

    @server.tool()
    async def get_weather(city: str) -> str:
        await asyncio.sleep(0.03)
        return f"It rains in {city}."

    if len(sys.argv) > 2:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("stdio")


async def mcp_client(transport):
    """An agent that calls the server's tool; the library makes the client's spans too."""
    from mcp.client import Client

    spans = tracer("planner")
    async with Client(transport) as client:
        with agent(spans):
            chat(spans)
            await client.call_tool("get_weather", {"city": "Paris"})
    calls = ["server/discover", "tools/list", "tools/call get_weather"]
    report(**{call: f"MCP send {call}" for call in calls})


def mcp_stdio():
    from mcp.client.stdio import StdioServerParameters, stdio_client

    environment = {key: value for key, value in os.environ.items() if key != "OTEL_PROPAGATORS"}
    server = StdioServerParameters(
        command=sys.executable, args=[__file__, "mcp-server"], env=environment
    )
    asyncio.run(mcp_client(stdio_client(server)))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving(command, port, environment=None):
    """A server in a process of its own, from when it listens on."""
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def mcp_http():
    from mcp.client.streamable_http import streamable_http_client

    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "OTEL_PROPAGATORS"}
    with serving([sys.executable, __file__, "mcp-server", str(port)], port, environment):
        asyncio.run(mcp_client(streamable_http_client(f"http://127.0.0.1:{port}/mcp")))


def http():
    """The agent calls a service by a client that nobody instrumented; its span is written by hand."""
    if sys.argv[2:] not in ([], ["mended"]):
        from wsgiref.simple_server import make_server

        from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

        spans = tracer("search")

        def application(_, start_response):
            with spans.start_as_current_span("SELECT documents", kind=SpanKind.CLIENT):
                time.sleep(0.03)
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]

        server = make_server("127.0.0.1", int(sys.argv[2]), OpenTelemetryMiddleware(application))
        # The span ends behind the answer: who is told to end finishes what it is at.
        end = lambda *_: threading.Thread(target=server.shutdown).start()
        signal.signal(signal.SIGTERM, end)
        server.serve_forever()
        sys.exit()
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    port = free_port()
    with serving([sys.executable, __file__, "http", str(port)], port):
        spans = tracer("planner")
        with agent(spans):
            chat(spans)
            attributes = {
                "http.request.method": "GET",
                "url.full": f"http://127.0.0.1:{port}/search",
                "server.address": "127.0.0.1",
                "server.port": port,
            }
            if MENDED:
                RequestsInstrumentor().instrument()
                requests.get(attributes["url.full"], timeout=30)
            else:
                with spans.start_as_current_span(
                    "GET", kind=SpanKind.CLIENT, attributes=attributes
                ) as span:
                    answer = requests.get(attributes["url.full"], timeout=30)
                    span.set_attribute("http.response.status_code", answer.status_code)
    report(**{"GET /search": "GET"})


if __name__ == "__main__":
    {
        "pool": pool,
        "celery-worker": lambda: celery(sender=MENDED, worker=True),
        "celery-sender": lambda: celery(sender=True, worker=MENDED),
        "mcp-server": mcp_server,
        "mcp-stdio": mcp_stdio,
        "mcp-http": mcp_http,
        "http": http,
    }[sys.argv[1]]()
