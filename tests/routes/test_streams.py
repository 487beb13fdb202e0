"""Resumable streams: who lost the connection gets the rest, and nobody else gets anything."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from localphi.config import Settings
from localphi.engine.client import Gone
from localphi.errors import StreamNotFound, StreamTrimmed, WorkerDied
from localphi.routes import sse, streams
from localphi.routes.streams import Limits, Stream, Streams
from serving import LiveServer, serving

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
RESUMABLE = {"X-Stream-Resumable": "1"}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "one two three four five"}], "stream": True},
    TEXT: {"prompt": "one two three four five", "stream": True},
    RESPONSES: {"input": "one two three four five", "stream": True},
}


def _numbered(text: str) -> dict[int, str]:
    """Events by their numbers, comments left out."""
    events = {}
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            number, _, rest = block.partition("\n")
            events[int(number.removeprefix("id: "))] = rest
    return events


def _wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)


def _asked(client: FlaskClient, path: str) -> tuple[str, dict[int, str]]:
    response = client.post(path, json=BODIES[path], headers=RESUMABLE)
    assert response.status_code == 200
    return response.headers["X-Stream-Id"], _numbered(response.text)


@pytest.mark.parametrize("path", BODIES)
def test_the_events_have_numbers_and_can_be_read_again_from_any(client: FlaskClient, path: str) -> None:
    stream_id, events = _asked(client, path)
    assert list(events) == list(range(1, len(events) + 1))
    assert len(events) >= 7
    plain = client.post(path, json=BODIES[path])
    assert "X-Stream-Id" not in plain.headers
    assert "id: " not in plain.text
    for start in (1, 3, len(events)):
        rest = client.get(f"/v1/streams/{stream_id}?from={start}")
        assert rest.content_type.startswith("text/event-stream")
        assert _numbered(rest.text) == {number: events[number] for number in range(start, len(events) + 1)}


def test_last_event_id_is_what_browsers_send(client: FlaskClient) -> None:
    stream_id, events = _asked(client, CHAT)
    url = f"/v1/streams/{stream_id}"
    rest = client.get(f"{url}?from=1", headers={"Last-Event-ID": "3"})
    assert list(_numbered(rest.text)) == list(range(4, len(events) + 1))
    assert _numbered(client.get(url).text) == events
    over = client.get(url, headers={"Last-Event-ID": str(len(events))})
    assert (over.status_code, over.text) == (204, "")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_id_that_is_none_is_404(client: FlaskClient, method: str) -> None:
    response = client.open("/v1/streams/nope", method=method)
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, "stream_not_found")


def test_ids_cannot_be_guessed_or_listed(client: FlaskClient) -> None:
    first, second = (_asked(client, CHAT)[0] for _ in range(2))
    assert first != second
    assert len(first) >= 32
    assert client.get("/v1/streams").status_code == 404
    assert client.get("/v1/streams/").status_code == 404


@pytest.mark.parametrize(
    ("query", "headers", "param"),
    [
        ("from=0", {}, "from"),
        ("from=x", {}, "from"),
        ("from=-1", {}, "from"),
        ("from=" + "9" * 400, {}, "from"),
        ("from=99", {}, "from"),
        ("from=²", {}, "from"),
        ("", {"Last-Event-ID": "x"}, "Last-Event-ID"),
    ],
)
def test_numbers_that_are_none_are_refused(
    client: FlaskClient, query: str, headers: dict[str, str], param: str
) -> None:
    stream_id, _ = _asked(client, CHAT)
    response = client.get(f"/v1/streams/{stream_id}?{query}", headers=headers)
    assert (response.status_code, response.get_json()["error"]["param"]) == (400, param)


def test_the_wish_must_be_one_that_can_be_had(client: FlaskClient) -> None:
    whole = client.post(CHAT, json={**BODIES[CHAT], "stream": False}, headers=RESUMABLE)
    assert (whole.status_code, whole.get_json()["error"]["param"]) == (400, "stream")
    odd = client.post(CHAT, json=BODIES[CHAT], headers={"X-Stream-Resumable": "maybe"})
    assert (odd.status_code, odd.get_json()["error"]["param"]) == (400, "X-Stream-Resumable")
    for no in ("0", "false"):
        off = client.post(CHAT, json=BODIES[CHAT], headers={"X-Stream-Resumable": no})
        assert "X-Stream-Id" not in off.headers


def test_a_page_of_another_site_cannot_read_or_cancel(client: FlaskClient) -> None:
    stream_id, _ = _asked(client, CHAT)
    for method in ("GET", "DELETE"):
        foreign = client.open(
            f"/v1/streams/{stream_id}", method=method, headers={"Origin": "https://evil.example"}
        )
        assert foreign.status_code == 403


def test_a_look_at_the_headers_takes_nobodys_place(client: FlaskClient) -> None:
    stream_id, _ = _asked(client, CHAT)
    assert client.head(f"/v1/streams/{stream_id}").status_code == 200


# ---- with real connections


@contextmanager
def _limited(monkeypatch: pytest.MonkeyPatch, home: Path, **limits: Any) -> Iterator[LiveServer]:
    monkeypatch.setattr(streams, "LIMITS", Limits(**limits))
    with serving(Settings(home=home)) as server:
        yield server


LONG: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is localphi?"}],
    "stream": True,
    "max_tokens": 300,
    "temperature": 1.2,
    "seed": 5,
}


def _text(events: dict[int, str]) -> str:
    deltas = [json.loads(event.removeprefix("data: ")) for event in events.values() if "[DONE]" not in event]
    return "".join(delta["choices"][0]["delta"].get("content", "") for delta in deltas)


def test_a_stream_that_was_cut_goes_on_and_is_whole(demo_server: LiveServer) -> None:
    engine = demo_server.engines.get("localphi-demo")
    with httpx.stream("POST", demo_server.url + CHAT, json=LONG, timeout=60) as whole:
        wanted = whole.read().decode()
    got = ""
    with httpx.stream("POST", demo_server.url + CHAT, json=LONG, headers=RESUMABLE, timeout=60) as response:
        stream_id = response.headers["X-Stream-Id"]
        for line in response.iter_lines():
            got += line + "\n"
            if line.startswith("id: 4"):
                break  # and the connection is closed, in the middle of an event
    seen = _numbered(got.rpartition("id: ")[0])
    assert list(seen) == [1, 2, 3]
    rest = httpx.get(f"{demo_server.url}/v1/streams/{stream_id}", headers={"Last-Event-ID": "3"}, timeout=60)
    events = {**seen, **_numbered(rest.text)}
    assert list(events) == list(range(1, len(events) + 1))
    assert events[len(events)] == "data: [DONE]"
    plain = [json.loads(line[6:]) for line in wanted.split("\n") if line.startswith("data: {")]
    assert _text(events) == "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in plain)
    _wait_until(lambda: engine.held == 0)


def test_it_can_be_cut_at_every_event(live_server: LiveServer) -> None:
    url = live_server.url
    whole = httpx.post(url + CHAT, json=BODIES[CHAT], headers=RESUMABLE, timeout=60)
    events = _numbered(whole.text)
    for cut in events:
        with httpx.stream("POST", url + CHAT, json=BODIES[CHAT], headers=RESUMABLE, timeout=60) as response:
            stream_id = response.headers["X-Stream-Id"]
            next(line for line in response.iter_lines() if line == f"id: {cut}")
        rest = httpx.get(f"{url}/v1/streams/{stream_id}?from={cut}", timeout=60)
        assert _text(_numbered(rest.text)) == _text({n: event for n, event in events.items() if n >= cut})


def test_the_official_client_takes_no_notice(demo_server: LiveServer) -> None:
    messages: Any = LONG["messages"]
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        texts = []
        for headers in ({}, RESUMABLE):
            stream = official.chat.completions.create(
                model="localphi-demo", messages=messages, stream=True, extra_headers=headers
            )
            texts.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))
    assert texts[0] == texts[1] != ""


def test_without_a_reader_an_answer_ends_after_its_grace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with _limited(monkeypatch, tmp_path, grace_s=0.3) as server:
        engine = server.engines.get("localphi-demo")
        with _Stalled(server) as stalled:
            assert engine.held == 8, "it holds its places, as long as it is wanted"
            stalled.leave()
            _wait_until(lambda: engine.held == 0)
        late = httpx.get(f"{server.url}/v1/streams/{stalled.stream_id}", timeout=60)
    last = list(_numbered(late.text).values())[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "client_left"
    assert "[DONE]" not in late.text


class _Stalled:
    """A resumable stream whose worker stands still while it reads the prompt, with a client that listens."""

    def __init__(self, server: LiveServer) -> None:
        self._engine = server.engines.get("localphi-demo")
        self._client = httpx.Client(timeout=60)
        said = [{"role": "user", "content": "7" * 1900}]  # read in chunks, in turn with the others
        long = {"messages": said, "n": 8, "stream": True}
        self._request = self._client.build_request("POST", server.url + CHAT, json=long, headers=RESUMABLE)
        self.stream_id = ""

    def __enter__(self) -> _Stalled:
        self._response = self._client.send(self._request, stream=True)
        assert self._engine.worker_pid is not None
        os.kill(self._engine.worker_pid, signal.SIGSTOP)
        self.stream_id = self._response.headers["X-Stream-Id"]
        return self

    def leave(self) -> None:
        self._response.close()

    def __exit__(self, *error: object) -> None:
        assert self._engine.worker_pid is not None
        os.kill(self._engine.worker_pid, signal.SIGCONT)
        self._response.close()
        self._client.close()


def test_cancelling_frees_the_place_and_forgets_the_stream(demo_server: LiveServer) -> None:
    engine = demo_server.engines.get("localphi-demo")
    with _Stalled(demo_server) as stalled:
        assert engine.held == 8
        url = f"{demo_server.url}/v1/streams/{stalled.stream_id}"
        assert httpx.delete(url, timeout=60).status_code == 204
        _wait_until(lambda: engine.held == 0)
        assert httpx.delete(url, timeout=60).status_code == 404
        assert httpx.get(url, timeout=60).status_code == 404


# ---- the ring


@contextmanager
def _fed(limits: Limits) -> Iterator[tuple[Streams, Stream, Callable[[str], None], threading.Event]]:
    """A stream that is fed by hand; the event is set when its answer is closed."""
    said: list[str | None] = []
    closed = threading.Event()

    def events(gone: Gone) -> Iterator[bytes]:
        while not gone():
            if not said:
                time.sleep(0.002)
                continue
            text = said.pop(0)
            if text is None:
                return
            yield text.encode()

    kept = Streams(limits)
    stream = kept.open(events, closed.set)
    try:
        yield kept, stream, lambda text: said.append(text or None), closed
    finally:
        stream.forget()
        assert closed.wait(10)


def _never() -> bool:
    return False


def test_events_are_forgotten_after_their_time() -> None:
    with _fed(Limits(ttl_s=0.2)) as (kept, stream, say, closed):
        say("")
        assert closed.wait(10)
        assert kept.find(stream.id) is stream

        def gone() -> bool:
            try:
                kept.find(stream.id)
            except StreamNotFound:
                return True
            return False

        _wait_until(gone)
        assert stream.held_bytes == 0


def test_the_ring_holds_the_newest_events() -> None:
    with _fed(Limits(ring_bytes=30)) as (_, stream, say, _closed):
        for number in range(1, 11):
            say(f"event {number:03}!")  # ten bytes
        _wait_until(lambda: stream.next_number == 11)
        assert stream.held_bytes == 30
        with pytest.raises(StreamTrimmed, match="oldest is 8"):
            stream.attach(7)
        say("")
        events = list(stream.read(stream.attach(8), 8, _never))
    assert events[1:] == [f"id: {number}\nevent {number:03}!".encode() for number in (8, 9, 10)]


def test_a_reader_who_falls_behind_is_told() -> None:
    with _fed(Limits(ring_bytes=30)) as (_, stream, say, _closed):
        reader = stream.read(stream.FIRST_READER, 1, _never)
        assert next(reader) == sse.KEEPALIVE
        for number in range(10):
            say(f"event {number:03}!")
        _wait_until(lambda: stream.next_number == 11)
        assert b'"stream_trimmed"' in next(reader)
        assert list(reader) == []


def test_a_new_reader_takes_the_place_of_the_old_one() -> None:
    with _fed(Limits(grace_s=0.2)) as (_, stream, say, closed):
        old = stream.read(stream.FIRST_READER, 1, _never)
        next(old)
        new = stream.attach(1)
        assert list(old) == []
        stream.detach(stream.FIRST_READER)  # as its connection is closed at last
        assert not closed.wait(0.6), "there is a reader"
        say("x")
        say("")
        assert list(stream.read(new, 1, _never)) == [sse.KEEPALIVE, b"id: 1\nx"]


def test_comments_of_the_writer_have_no_number() -> None:
    with _fed(Limits()) as (_, stream, say, _closed):
        for text in (": keepalive\n\n", "x", ""):
            say(text)
        assert list(stream.read(stream.FIRST_READER, 1, _never)) == [sse.KEEPALIVE, b"id: 1\nx"]


def test_the_oldest_of_those_that_are_over_make_room() -> None:
    kept = Streams(Limits(streams=2))
    opened = [kept.open(lambda gone: iter([b"x"]), lambda: None) for _ in range(2)]
    for stream in opened:
        _wait_until(lambda stream=stream: stream.over)  # type: ignore[misc]
    third = kept.open(lambda gone: iter([b"x"]), lambda: None)
    with pytest.raises(StreamNotFound):
        kept.find(opened[0].id)
    assert kept.find(opened[1].id) is opened[1]
    for stream in (opened[1], third):
        kept.cancel(stream.id)


def test_memory_is_bounded_over_all() -> None:
    kept = Streams(Limits(total_bytes=100))
    for _ in range(50):
        stream = kept.open(lambda gone: iter([b"x" * 30]), lambda: None)
        _wait_until(lambda stream=stream: stream.over)  # type: ignore[misc]
    _wait_until(lambda: sum(stream.held_bytes for stream in kept._streams.values()) <= 100)
    assert kept.find(stream.id)
    for held in tuple(kept._streams):
        kept.cancel(held)


def test_a_failure_on_the_way_is_the_last_event() -> None:
    def events(gone: Gone) -> Iterator[bytes]:
        yield b"x"
        raise WorkerDied("localphi-demo", -9)

    closed = threading.Event()
    kept = Streams()
    stream = kept.open(events, closed.set)
    *_, last = stream.read(stream.FIRST_READER, 1, _never)
    assert b'"worker_died"' in last
    assert closed.is_set()
    kept.cancel(stream.id)


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(streams, "_POLL_S", 0.02)
    with _fed(Limits()) as (_, stream, _say, _closed):
        reader = stream.read(stream.FIRST_READER, 1, _never)
        assert [next(reader) for _ in range(3)] == [sse.KEEPALIVE] * 3
