"""Where the time of an answer went, as OpenTelemetry's spans; only where somebody named who gets them.

    POST /v1/chat/completions    as long as the request; goes on with the client's traceparent
    ├── queue                    until its turn in the worker, or until another server was asked
    ├── prompt                   until the first token
    └── answer                   until the last one

Behind `--engine remote` the next server is told the trace, and its spans hang under ours. Spans hold names,
numbers and the model's id, nothing that was written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, has_request_context, request

from localphi.errors import ServerStartFailed, ToolchainMissing

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_TRACEPARENT = "traceparent"


class Tracing:
    """tracer: None, and nothing is told to anybody."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer

    def install(self, app: Flask) -> None:
        """Trace every request for an answer."""
        if self._tracer is not None:
            app.before_request(self._begin)
            app.after_request(self._end)

    def _begin(self) -> None:
        if self._tracer is None or request.method != "POST" or not request.path.startswith("/v1/"):
            return
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {_TRACEPARENT: request.headers.get(_TRACEPARENT, "")}
        propagator = TraceContextTextMapPropagator()
        rule = request.url_rule.rule if request.url_rule else "none"
        span = self._tracer.start_span(
            f"POST {rule}", propagator.extract(carrier), SpanKind.SERVER, {"http.route": rule}
        )
        propagator.inject(carrier, set_span_in_context(span))
        g.span, g.traceparent = span, carrier[_TRACEPARENT]

    def _end(self, response: Response) -> Response:
        span: Span | None = g.get("span")
        if span is not None:
            span.set_attribute("http.response.status_code", response.status_code)
            response.call_on_close(span.end)
        return response

    def of_answer(self, model_id: str, started_s: float) -> AnswerTrace | None:
        """Of the request at hand, None where it is not traced."""
        span: Span | None = g.get("span")
        if self._tracer is None or span is None:
            return None
        return AnswerTrace(self._tracer, span, model_id, started_s)


class AnswerTrace:
    """The parts of one answer, told when it is over. Times are those of time.perf_counter()."""

    def __init__(self, tracer: Tracer, parent: Span, model_id: str, started_s: float) -> None:
        self._tracer = tracer
        self._parent = parent
        self._model_id = model_id
        self._part = "queue"
        self._since_s = started_s

    def reached(self, part: str, at_s: float) -> None:
        """What went before ends here, and `part` begins."""
        self._tell(at_s, {})
        self._part, self._since_s = part, at_s

    def end(self, how: str, tokens: int) -> None:
        attributes = {"localphi.end": how, "gen_ai.usage.output_tokens": tokens}
        self._tell(time.perf_counter(), attributes)

    def _tell(self, at_s: float, more: Mapping[str, Any]) -> None:
        from opentelemetry.trace import set_span_in_context

        attributes = {"gen_ai.request.model": self._model_id, **more}
        context = set_span_in_context(self._parent)
        since = _clock_ns(self._since_s)
        span = self._tracer.start_span(self._part, context, attributes=attributes, start_time=since)
        span.end(max(since, _clock_ns(at_s)))


def _clock_ns(at_s: float) -> int:
    """A moment of time.perf_counter() by the clock on the wall."""
    return time.time_ns() - round((time.perf_counter() - at_s) * 1e9)


def tracing_to(endpoint: str | None) -> Tracing:
    """Spans go to a collector at this address, by OTLP over HTTP. None: nobody gets any.

    Raises ToolchainMissing without OpenTelemetry, ServerStartFailed for what is no address.
    """
    if endpoint is None:
        return Tracing()
    if not endpoint.startswith(("http://", "https://")):
        wanted = "--trace-to must be an address such as http://127.0.0.1:4318"
        raise ServerStartFailed(f"{wanted}, but is '{endpoint}'.")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ToolchainMissing("OpenTelemetry", "otel") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "localphi"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider.get_tracer("localphi"))


def traceparent() -> str:
    """Of the request at hand, for whoever computes the answer; empty where it is not traced."""
    return str(g.get("traceparent", "")) if has_request_context() else ""
