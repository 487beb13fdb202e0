"""The span of a request for an answer, with the parts of its answers under it (`localphi/tracing.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, g, has_request_context, request

from localphi.engine.client import Answer
from localphi.tracing import TRACEPARENT, AnswerTrace, begin, flush, traceparent_of, tracer_to

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer


class Tracing:
    """tracer: None, and nothing is told to anybody."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer

    def install(self, app: Flask) -> None:
        """Trace every request for an answer."""
        if self._tracer is not None:
            app.before_request(self._begin)
            app.after_request(self._end)

    def flush(self) -> None:
        """Send the spans that are over and not sent yet."""
        if self._tracer is not None:
            flush(self._tracer)

    def _begin(self) -> None:
        if self._tracer is None or request.method != "POST" or not request.path.startswith("/v1/"):
            return
        rule = request.url_rule.rule if request.url_rule else "none"
        parent = request.headers.get(TRACEPARENT, "")
        g.span = begin(self._tracer, f"POST {rule}", parent, {"http.route": rule})
        g.traceparent = traceparent_of(g.span)

    def _end(self, response: Response) -> Response:
        span: Span | None = g.get("span")
        if span is not None:
            span.set_attribute("http.response.status_code", response.status_code)
            response.call_on_close(span.end)
        return response

    def of_answer(self, model_id: str, answer: Answer, started_s: float) -> AnswerTrace | None:
        """Of the request at hand, None where it is not traced."""
        span: Span | None = g.get("span")
        if self._tracer is None or span is None:
            return None
        return AnswerTrace(self._tracer, span, model_id, answer, started_s)


def tracing_to(endpoint: str | None) -> Tracing:
    """Spans go there, see `tracer_to`."""
    return Tracing(tracer_to(endpoint))


def traceparent() -> str:
    """Of the request at hand, for whoever computes the answer; empty where it is not traced."""
    return str(g.get("traceparent", "")) if has_request_context() else ""
