"""The client against servers that do well, badly, or not at all."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import get_args

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

from localphi_agents import (
    AnswerFailed,
    AnswerIncomplete,
    Delta,
    Message,
    Options,
    Reply,
    RequestRefused,
    Role,
    ServerUnreachable,
    ToolCall,
    UnexpectedReply,
    Usage,
)
from localphi_agents.client import LocalphiClient

from .scripted_server import (
    DONE,
    STREAM_HEAD,
    Connection,
    ScriptedServer,
    answer,
    chunk,
    event,
    free_port,
    usage,
)

Serve = Callable[[Callable[[Connection], None]], ScriptedServer]

HELLO = (Message("user", "one two three"),)


class Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def client_of(*pieces: bytes) -> LocalphiClient:
    """A client whose server answers with this event stream, in these pieces."""
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    return LocalphiClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=Pieces(pieces)))
    )


def client_refused(status: int, body: str, headers: dict[str, str] | None = None) -> LocalphiClient:
    return LocalphiClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(status, text=body, headers=headers))
    )


async def collect(client: LocalphiClient) -> list[Delta]:
    return [delta async for delta in client.stream(HELLO)]


# ---- what is sent, what comes back


async def test_stream_gives_texts_then_one_end_with_reason_and_usage() -> None:
    assert await collect(client_of(answer("Hel", "lo\u2028"))) == [
        Delta("chatcmpl-1", "tiny", "Hel"),
        Delta("chatcmpl-1", "tiny", "lo\u2028"),
        Delta("chatcmpl-1", "tiny", "", "stop", Usage(3, 2)),
    ]


async def test_stream_is_the_same_wherever_the_bytes_are_cut() -> None:
    body = b": keepalive\n\n" + answer("Grüße 🙂", " you")
    whole = await collect(client_of(body))
    for at in range(len(body)):
        assert await collect(client_of(body[:at], body[at:])) == whole


async def test_a_text_in_the_same_chunk_as_the_finish_reason_is_not_lost() -> None:
    deltas = await collect(client_of(chunk("all", "length") + DONE))
    assert deltas == [Delta("chatcmpl-1", "tiny", "all"), Delta("chatcmpl-1", "tiny", "", "length")]


async def test_only_what_was_set_is_sent() -> None:
    bodies = []

    def keep(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=answer("x"))

    client = LocalphiClient(transport=httpx.MockTransport(keep))
    always = {
        "messages": [{"role": "user", "content": "one two three"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    await client.chat(HELLO)
    await client.chat(
        HELLO, Options(temperature=0, seed=0, stop=("end",), extra={"user": "me", "stream": False})
    )
    assert bodies[0] == always
    assert bodies[1] == always | {"temperature": 0, "seed": 0, "stop": ["end"], "user": "me"}


@pytest.mark.parametrize("given", ["http://localhost:1", "http://localhost:1/", "http://localhost:1/v1/"])
def test_base_url_may_be_given_with_v1(given: str) -> None:
    assert LocalphiClient(given).base_url == "http://localhost:1"


@pytest.mark.parametrize("given", ["localhost:8000", "http://", "http://localhost:99999", "http://[::1", ""])
def test_base_url_of_no_server_is_refused(given: str) -> None:
    with pytest.raises(
        ValueError, match=f"must be like http://localhost:8000, but is {re.escape(repr(given))}"
    ):
        LocalphiClient(given)


# ---- the real server


async def test_whole_and_streamed_answers_are_the_same(echo_url: str) -> None:
    client = LocalphiClient(echo_url)
    reply = await client.chat(HELLO)
    *texts, end = await collect(client)
    assert len(texts) == 3
    assert "".join(delta.text for delta in texts) == reply.text == "one two three"
    assert reply == Reply(reply.id, "localphi-demo", "one two three", "stop", Usage(3, 3))
    assert (end.finish_reason, end.usage) == (reply.finish_reason, reply.usage)


async def test_stop_texts_and_max_tokens_end_the_answer(echo_url: str) -> None:
    client = LocalphiClient(echo_url)
    stopped = await client.chat(HELLO, Options(stop=("three",)))
    limited = await client.chat(HELLO, Options(max_tokens=2))
    assert (stopped.text, stopped.finish_reason) == ("one two ", "stop")
    assert (limited.text, limited.finish_reason) == ("one two ", "length")


async def test_every_role_is_understood(echo_url: str) -> None:
    messages = [
        Message("system", "word"),
        Message("developer", "word"),
        Message("user", "word"),
        Message("assistant", "word", (ToolCall("call_1", "look", "{}"),)),
        Message("tool", "word", tool_call_id="call_1"),
    ]
    assert [message.role for message in messages] == list(get_args(Role))
    assert (await LocalphiClient(echo_url).chat(messages)).finish_reason == "stop"


async def test_unknown_model_is_refused_with_everything_the_server_says(echo_url: str) -> None:
    with pytest.raises(RequestRefused, match="There is no model 'nobody'") as refused:
        await LocalphiClient(echo_url).chat(HELLO, Options(model="nobody"))
    error = refused.value
    assert (error.status, error.kind, error.param, error.code) == (
        404,
        "invalid_request_error",
        "model",
        "model_not_found",
    )


async def test_what_the_server_cannot_honour_is_refused_by_name(echo_url: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        await LocalphiClient(echo_url).chat(HELLO, Options(extra={"min_tokens": 5}))
    assert (refused.value.status, refused.value.param) == (400, "min_tokens")
    assert refused.value.code == "unsupported_parameter"


async def test_simultaneous_answers_do_not_mix(echo_url: str) -> None:
    client = LocalphiClient(echo_url)
    texts = [" ".join([name] * 50) for name in ("ann", "bob", "cleo", "dan")]
    replies = await asyncio.gather(*(client.chat([Message("user", text)]) for text in texts))
    assert [reply.text for reply in replies] == texts


def test_one_client_serves_one_event_loop_after_the_other(echo_url: str) -> None:
    client = LocalphiClient(echo_url)
    assert [asyncio.run(client.chat(HELLO)).text for _ in range(2)] == ["one two three"] * 2


async def test_a_proxy_in_the_environment_is_not_asked(
    echo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await LocalphiClient(echo_url).chat(HELLO)).text == "one two three"


# ---- failures


async def test_no_server_says_how_to_start_one() -> None:
    port = free_port()
    with pytest.raises(ServerUnreachable) as unreachable:
        await LocalphiClient(f"http://127.0.0.1:{port}").chat(HELLO)
    assert str(unreachable.value) == (
        f"No server answers at http://127.0.0.1:{port}. Start it with: localphi serve --port {port}"
    )


def test_the_default_port_needs_no_option() -> None:
    assert str(ServerUnreachable("http://localhost:8000")).endswith("Start it with: localphi serve")


async def test_an_error_event_ends_the_stream_with_what_it_says() -> None:
    broken = event({"error": {"message": "The worker ended.", "type": "server_error", "code": "worker_died"}})
    deltas = client_of(chunk("some"), broken).stream(HELLO)
    assert (await anext(deltas)).text == "some"
    with pytest.raises(AnswerFailed, match=r"The worker ended\.") as failed:
        await anext(deltas)
    assert (failed.value.kind, failed.value.param, failed.value.code) == ("server_error", None, "worker_died")


@pytest.mark.parametrize("body", [b"", chunk("some"), chunk("some") + chunk(finish_reason="stop"), DONE[:-1]])
async def test_a_stream_without_done_is_incomplete(body: bytes) -> None:
    with pytest.raises(AnswerIncomplete):
        await client_of(body).chat(HELLO)


async def test_a_connection_that_breaks_is_incomplete(scripted: Serve) -> None:
    head = STREAM_HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    server = scripted(lambda connection: connection.send(head + b"20\r\ndata:"))
    with pytest.raises(AnswerIncomplete, match="broke off"):
        await LocalphiClient(server.url).chat(HELLO)


async def test_silence_ends_the_wait_where_it_is_limited(scripted: Serve) -> None:
    def silent(connection: Connection) -> None:
        connection.send(STREAM_HEAD + chunk("some"))
        connection.wait_for_close()

    with pytest.raises(AnswerIncomplete, match="fell silent"):
        await LocalphiClient(scripted(silent).url, silence_s=0.05).chat(HELLO)


async def test_a_full_queue_says_when_to_come_back() -> None:
    body = json.dumps(
        {"error": {"message": "The queue is full.", "type": "rate_limit_error", "code": "queue_full"}}
    )
    with pytest.raises(RequestRefused, match="queue is full") as refused:
        await client_refused(429, body, {"Retry-After": "2"}).chat(HELLO)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 2)


@pytest.mark.parametrize(
    "body", ["<h1>Not Found</h1>", "[]", '{"error": "gone"}', '{"detail": "Not Found"}', ""]
)
async def test_a_refusal_in_other_words_keeps_its_status(body: str) -> None:
    with pytest.raises(RequestRefused, match="HTTP status 404") as refused:
        await client_refused(404, body).chat(HELLO)
    assert (refused.value.status, refused.value.code) == (404, None)


async def test_a_page_instead_of_a_stream_is_unexpected() -> None:
    with pytest.raises(UnexpectedReply, match="text/html instead of an event stream"):
        await client_refused(200, "<h1>Hello</h1>", {"Content-Type": "text/html"}).chat(HELLO)


@pytest.mark.parametrize(
    "data", [b"not json", b"[]", b"{}", b'{"choices":[1]}', b"\xff", b'{"error":"gone"}']
)
async def test_an_event_that_is_no_chunk_is_unexpected(data: bytes) -> None:
    with pytest.raises(UnexpectedReply, match="not a completion chunk"):
        await client_of(b"data: " + data + b"\n\n" + DONE).chat(HELLO)


async def test_an_answer_of_nothing_is_unexpected() -> None:
    with pytest.raises(UnexpectedReply, match="before it began"):
        await client_of(DONE).chat(HELLO)


# ---- the event loop, and leaving early


async def test_the_event_loop_runs_on_while_the_server_is_slow(scripted: Serve) -> None:
    def slow(connection: Connection) -> None:
        connection.send(STREAM_HEAD)
        for _ in range(10):
            time.sleep(0.02)
            connection.send(chunk("x"))
        connection.send(chunk(finish_reason="stop") + usage(1, 10) + DONE)

    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.002)

    ticker = asyncio.create_task(tick())
    reply = await LocalphiClient(scripted(slow).url).chat(HELLO)
    ticker.cancel()
    assert reply.text == "x" * 10
    assert ticks > 20


@pytest.fixture
def endless() -> tuple[Callable[[Connection], None], threading.Event]:
    """A script that sends one piece and waits, and what tells that the client hung up."""
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + chunk("some"))
        connection.wait_for_close()
        closed.set()

    return script, closed


Endless = tuple[Callable[[Connection], None], threading.Event]


async def test_cancelling_the_task_closes_the_connection(scripted: Serve, endless: Endless) -> None:
    script, closed = endless
    began = asyncio.Event()
    client = LocalphiClient(scripted(script).url)

    async def read() -> None:
        async for _ in client.stream(HELLO):
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(closed.wait, 10)


async def test_closing_the_stream_closes_the_connection(scripted: Serve, endless: Endless) -> None:
    script, closed = endless
    async with aclosing(LocalphiClient(scripted(script).url).stream(HELLO)) as deltas:
        assert (await anext(deltas)).text == "some"
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_timeout_around_an_answer_closes_the_connection(scripted: Serve, endless: Endless) -> None:
    script, closed = endless
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(LocalphiClient(scripted(script).url).chat(HELLO), 0.1)
    assert await asyncio.to_thread(closed.wait, 10)


def key_sent(monkeypatch: pytest.MonkeyPatch, variable: str | None, api_key: str | None) -> str | None:
    """The Authorization of a request of a client that was made so."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(401, json={"error": {"message": "no", "code": "invalid_api_key"}})

    monkeypatch.delenv("LOCALPHI_API_KEY", raising=False)
    if variable is not None:
        monkeypatch.setenv("LOCALPHI_API_KEY", variable)
    client = LocalphiClient(api_key=api_key, transport=httpx.MockTransport(handle))
    with pytest.raises(RequestRefused) as caught:
        asyncio.run(client.chat(HELLO))
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    header: str | None = sent[0].headers.get("Authorization")
    return header


def test_an_access_key_is_sent_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert key_sent(monkeypatch, None, None) is None
    assert key_sent(monkeypatch, "sk-of-the-environment", None) == "Bearer sk-of-the-environment"
    assert key_sent(monkeypatch, "sk-of-the-environment", "sk-given") == "Bearer sk-given"
    assert key_sent(monkeypatch, "sk-of-the-environment", "") is None


@pytest.mark.parametrize("key", ["two words", "sk-1\r\nX: y", "ключ"])
def test_what_can_be_no_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="access key") as caught:
        LocalphiClient(api_key=key)
    assert key not in str(caught.value)


async def test_the_servers_spans_hang_under_those_of_the_program() -> None:
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, json={"error": {"message": "not now"}})

    client = LocalphiClient(transport=httpx.MockTransport(refuse))
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("the program's") as span, pytest.raises(RequestRefused):
        await client.chat([Message("user", "Hello")])
    with pytest.raises(RequestRefused):
        await client.chat([Message("user", "Hello")])
    within, without = (request.headers.get("traceparent", "") for request in asked)
    assert f"{span.get_span_context().span_id:016x}" in within
    assert without == ""
