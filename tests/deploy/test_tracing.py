"""Spans tell where the time of an answer went, across servers, and nothing of what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from localphi.config import Settings
from localphi.errors import ServerStartFailed
from localphi.routes import tracing
from localphi.server import who_may_ask
from serving import serving

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry is not installed")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

BODY = {"messages": [{"role": "user", "content": "secret words here"}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What every application that is made now tells."""
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    told = tracing.Tracing(provider.get_tracer("test"))
    monkeypatch.setattr("localphi.routes.tracing_to", lambda _: told)
    yield exporter
    provider.shutdown()


def test_a_trace_goes_on_through_the_servers(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    with serving(Settings(home=tmp_path, backend="echo")) as behind:
        settings = Settings(home=tmp_path, engine="remote", upstreams=(behind.url,))
        with serving(settings) as front:
            response = httpx.post(
                f"{front.url}/v1/chat/completions",
                json=BODY,
                headers={"traceparent": PARENT},
                timeout=60,
                trust_env=False,
            )
            assert response.status_code == 200
            httpx.get(f"{front.url}/healthz", trust_env=False)
    finished: list[Any] = list(spans.get_finished_spans())
    roots = [span for span in finished if span.name == "POST /v1/chat/completions"]
    assert len(roots) == 2
    assert {span.context.trace_id for span in finished} == {0x0AF7651916CD43DD8448EB211C80319C}
    first = next(span for span in roots if span.parent.span_id == 0xB7AD6B7169203331)
    second = next(span for span in roots if span is not first)
    assert second.parent.span_id == first.context.span_id
    for root in roots:
        parts = [span for span in finished if span.parent.span_id == root.context.span_id]
        named = {span.name: span for span in parts if span is not second}
        assert set(named) == {"queue", "prompt", "answer"}
        assert named["queue"].end_time <= named["prompt"].end_time <= named["answer"].end_time
        assert named["answer"].attributes["localphi.end"] == "stop"
        assert named["answer"].attributes["gen_ai.usage.output_tokens"] == 3
    assert not any("secret" in str(span.to_json()) for span in finished)


def test_nothing_is_told_unless_somebody_gets_it(app: Flask) -> None:
    assert app.test_client().post("/v1/chat/completions", json=BODY).status_code == 200
    assert "go to http://127.0.0.1:4318" in who_may_ask(Settings(trace_to="http://127.0.0.1:4318"))
    with pytest.raises(ServerStartFailed, match="must be an address"):
        tracing.tracing_to("nowhere")
