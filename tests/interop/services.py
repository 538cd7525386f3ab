"""Three services in three processes with the official Python SDK. The entry holds the baggage of its
request, as an instrumentation that captures the header does; the two that it calls have no baggage
processor and know of no user. The context travels as a traceparent. Seven spans; the entry's ends last.
"""

import os
import subprocess
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

CALLS = {"entry": ["planner", "researcher"]}
BAGGAGE = ("user.id=alice,session.id=s-42",)


def main(service):
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("services")
    context = TraceContextTextMapPropagator().extract({"traceparent": os.environ.get("CALLER", "")})
    attributes = {"http.request.header.baggage": BAGGAGE} if service == "entry" else {}
    kind = trace.SpanKind.SERVER
    with tracer.start_as_current_span(f"POST /{service}", context, kind, attributes):
        for callee in CALLS.get(service, []):
            with tracer.start_as_current_span(f"call {callee}", kind=trace.SpanKind.CLIENT):
                carrier = {}
                TraceContextTextMapPropagator().inject(carrier)
                environment = os.environ | {"CALLER": carrier["traceparent"]}
                subprocess.run([sys.executable, __file__, callee], check=True, env=environment)
        if service != "entry":
            tracer.start_span("chat gpt-4o", kind=trace.SpanKind.CLIENT).end()
    provider.shutdown()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "entry")
