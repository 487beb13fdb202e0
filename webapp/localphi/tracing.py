"""OpenTelemetry's spans of answers; only where somebody named who gets them.

    POST /v1/chat/completions    as long as the request; goes on with the client's traceparent
    ├── queue                    until its turn in the worker, or until another machine was asked
    ├── prompt                   until the first token
    ├── answer                   until the last one, with an event for each of the engine's steps
    └── replica                  in Ray: the same three of the replica's own, under a span with its name

Behind `--engine remote` the next server is told the trace, and its spans hang under ours. Spans hold names,
numbers and the model's id, nothing that was written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from localphi.chat import Chunk, Finished, Item, Usage
from localphi.engine.ticket import Answer
from localphi.errors import LocalphiError, ServerStartFailed, ToolchainMissing

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

TRACEPARENT = "traceparent"
_STEPS_TOLD = 128  # of one answer; a collector takes no more events of a span, either


def tracer_to(endpoint: str | None) -> Tracer | None:
    """Spans go to a collector at this address, by OTLP over HTTP. None: nobody gets any.

    Raises ToolchainMissing without OpenTelemetry, ServerStartFailed for what is no address.
    """
    if endpoint is None:
        return None
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
    return provider.get_tracer("localphi")


def flush(tracer: Tracer) -> None:
    """Send the spans that are over, as far as the collector takes them."""
    processor: Any = getattr(tracer, "span_processor", None)  # of the SDK's tracers
    if processor is not None:
        processor.force_flush()


def begin(tracer: Tracer, name: str, parent: str, attributes: Mapping[str, Any]) -> Span:
    """A span under the one that a traceparent names; under none where it is empty or wrong."""
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({TRACEPARENT: parent})
    return tracer.start_span(name, context, SpanKind.SERVER, attributes)


def traceparent_of(span: Span) -> str:
    """For whoever goes on with its trace."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
    return carrier[TRACEPARENT]


class AnswerTrace:
    """The parts of one answer, each told when it is over. Call it with the answer's items, like a Watcher.

    started_s: of time.perf_counter(), as are all times here.
    """

    def __init__(self, tracer: Tracer, parent: Span, model_id: str, answer: Answer, started_s: float) -> None:
        self._tracer = tracer
        self._parent = parent
        self._model_id = model_id
        self._answer = answer
        self._started_s = self._since_s = started_s
        self._part = "queue"
        self._tokens = self._steps = 0
        self._told: list[tuple[float, int]] = []
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()

    def __call__(self, item: Item | LocalphiError | None) -> None:
        now_s = time.perf_counter()
        if self._part == "queue" and self._answer.queued_s is not None:
            self._reached("prompt", self._started_s + self._answer.queued_s)
        match item:
            case Chunk(text=text, token_ids=ids) if text or ids:
                self._step(len(ids), now_s)
            case Finished(reason, usage):
                self._end(reason, usage)
            case LocalphiError():
                self._end("failed")
            case None:
                self._end("abandoned")

    def _step(self, tokens: int, now_s: float) -> None:
        if self._part != "answer":
            self._reached("answer", now_s)
        self._steps += 1
        self._tokens += tokens
        if self._steps <= _STEPS_TOLD:
            self._told.append((now_s, tokens))

    def _reached(self, part: str, at_s: float) -> None:
        """What went before ends here, and `part` begins."""
        self._tell(at_s, {})
        self._part, self._since_s = part, at_s

    def _end(self, how: str, usage: Usage | None = None) -> None:
        now_s = time.perf_counter()
        if usage is not None and usage.completion_tokens and self._part != "answer":
            self._reached("answer", now_s)
        numbers: dict[str, Any] = {"gen_ai.usage.output_tokens": self._tokens}
        if usage is not None:
            numbers["gen_ai.usage.output_tokens"] = usage.completion_tokens
            numbers["gen_ai.usage.input_tokens"] = usage.prompt_tokens
            numbers["localphi.cached_tokens"] = usage.cached_tokens or 0
            numbers["localphi.decode_s"] = usage.decode_s
        self._tell(now_s, {"localphi.end": how, "localphi.steps": self._steps, **numbers})

    def _tell(self, at_s: float, more: Mapping[str, Any]) -> None:
        from opentelemetry.trace import set_span_in_context

        attributes = {"gen_ai.request.model": self._model_id, **more}
        context = set_span_in_context(self._parent)
        since = self._clock_ns(self._since_s)
        span = self._tracer.start_span(self._part, context, attributes=attributes, start_time=since)
        for step_s, tokens in self._told:
            span.add_event("step", {"localphi.tokens": tokens}, self._clock_ns(step_s))
        self._told.clear()
        span.end(max(since, self._clock_ns(at_s)))

    def _clock_ns(self, at_s: float) -> int:
        """A moment of time.perf_counter() by the clock on the wall; one offset for all keeps their order."""
        return self._epoch_ns + round(at_s * 1e9)
