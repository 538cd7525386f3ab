"""One multi-agent trace through the official Python SDK, configured by OTEL_* variables alone.

Prints one JSON object per line: {"kind": "entry" | "later" | "orphan", "span_id": "...", "name": "..."}.
The entry span carries the baggage and is exported before the later spans, as a queue worker's or a
long-running agent's spans are. Exits with 1 when the exporter could not deliver.
"""

import json
import logging
import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def exporter():
    """The exporter that OTEL_EXPORTER_OTLP_PROTOCOL names; it reads all else itself."""
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return OTLPSpanExporter()


class Failures(logging.Handler):
    """The SDK reports a failed export in its log only."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.seen = []

    def emit(self, record):
        self.seen.append(record.getMessage())


def report(kind, span):
    context = span.get_span_context()
    line = {"kind": kind, "span_id": f"{context.span_id:016x}", "name": span.name}
    print(json.dumps(line), flush=True)


def chat(tracer, agent, parent):
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.agent.name": agent,
        "gen_ai.usage.input_tokens": 420,
        "gen_ai.usage.output_tokens": 17,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    span = tracer.start_span(
        "chat gpt-4o", parent, kind=trace.SpanKind.CLIENT, attributes=attributes
    )
    span.add_event("prompt", {"sensitive": True, "text": "CANARY-PROMPT: my card is 4111"})
    span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": "CANARY-PROMPT: plan a trip"})
    span.add_event("retry", {"attempt": 2})
    span.end()
    report("later", span)


def main():
    failures = Failures()
    logging.getLogger("opentelemetry").addHandler(failures)
    provider = TracerProvider(resource=Resource.create({"service.name": "travel-agents"}))
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    tracer = provider.get_tracer("agents", "1.0")

    baggage = {"baggage": "user.id=alice,session.id=s-42"}
    entry = tracer.start_span("POST /trips", kind=trace.SpanKind.SERVER, attributes=baggage)
    parent = trace.set_span_in_context(entry)
    entry.end()
    report("entry", entry)
    provider.force_flush()

    for agent in ("planner", "researcher"):
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
        span = tracer.start_span(f"invoke_agent {agent}", parent, attributes=attributes)
        chat(tracer, agent, trace.set_span_in_context(span, parent))
        span.end()
        report("later", span)

    # The tool runs where the context was lost: a root of a trace of its own.
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather"}
    tool = tracer.start_span("execute_tool get_weather", attributes=attributes)
    tool.end()
    report("orphan", tool)

    provider.shutdown()
    for failure in failures.seen:
        print(failure, file=sys.stderr)
    return 1 if failures.seen else 0


if __name__ == "__main__":
    sys.exit(main())
