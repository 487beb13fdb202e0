"""Spans tell where the time of an answer went, across servers, and nothing of what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from localphi.chat import ChatRequest, Message
from localphi.config import Settings
from localphi.deploy.replica import Replica
from localphi.errors import ServerStartFailed
from localphi.routes.tracing import Tracing, tracing_to
from localphi.server import who_may_ask
from serving import serving

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry is not installed")
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

BODY = {"messages": [{"role": "user", "content": "secret words here"}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What every application that is made now tells."""
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr("localphi.routes.tracing_to", lambda _: Tracing(tracer))
    monkeypatch.setattr("localphi.deploy.replica.tracer_to", lambda _: tracer)
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
        assert [event.attributes["localphi.tokens"] for event in named["answer"].events] == [1, 1, 1]
    assert not any("secret" in str(span.to_json()) for span in finished)


async def test_a_replica_tells_its_part_down_to_the_engines_steps(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    replica = Replica(Settings(home=tmp_path, backend="echo"), "one")
    try:
        words = (Message("user", "secret words here"),)
        for trace in (PARENT, ""):
            async for _ in replica.answer(ChatRequest(words, trace=trace)):
                pass
    finally:
        await asyncio.to_thread(replica.close)
    finished: list[Any] = list(spans.get_finished_spans())
    assert {span.context.trace_id for span in finished} == {0x0AF7651916CD43DD8448EB211C80319C}
    whole = next(span for span in finished if span.name == "replica")
    assert whole.parent.span_id == 0xB7AD6B7169203331
    assert whole.attributes["localphi.replica"] == "one"
    parts = {span.name: span for span in finished if span is not whole}
    assert set(parts) == {"queue", "prompt", "answer"}
    assert {span.parent.span_id for span in parts.values()} == {whole.context.span_id}
    steps = [event.timestamp for event in parts["answer"].events]
    assert len(steps) == parts["answer"].attributes["localphi.steps"] == 3
    assert parts["prompt"].end_time <= steps[0] <= steps[-1] <= parts["answer"].end_time
    assert not any("secret" in str(span.to_json()) for span in finished)


def test_what_is_over_is_sent_before_the_server_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
    monkeypatch.setattr("localphi.routes.tracing_to", lambda _: Tracing(provider.get_tracer("test")))
    with serving(Settings(home=tmp_path, backend="echo")) as server:
        httpx.post(f"{server.url}/v1/chat/completions", json=BODY, timeout=60, trust_env=False)
        assert not exporter.get_finished_spans()
    assert "answer" in {span.name for span in exporter.get_finished_spans()}
    provider.shutdown()


def test_nothing_is_told_unless_somebody_gets_it(app: Flask) -> None:
    assert app.test_client().post("/v1/chat/completions", json=BODY).status_code == 200
    assert "go to http://127.0.0.1:4318" in who_may_ask(Settings(trace_to="http://127.0.0.1:4318"))
    with pytest.raises(ServerStartFailed, match="must be an address"):
        tracing_to("nowhere")
