"""What needs no Ray: the configuration, a replica's own work, and the bridge to an ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from starlette.requests import Request

from localphi import create_app
from localphi.chat import ChatRequest, Chunk, Finished, Message
from localphi.cli import main
from localphi.config import Settings
from localphi.deploy.bridge import Bridge, environ_of
from localphi.deploy.replica import Replica
from localphi.deploy.scale import Scale
from localphi.engine.affinity import key_of, preference
from localphi.engine.base import Admitted, Decode, Decoded, Encode, Encoded, Failed


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(Settings(home=tmp_path, backend="echo"), "one")
    yield replica
    replica.close()


def _asked(*contents: str, **more: Any) -> ChatRequest:
    roles = ("user", "assistant")
    turns = (Message(roles[number % 2], text) for number, text in enumerate(contents))  # type: ignore[arg-type]
    return ChatRequest(tuple(turns), **more)


async def test_a_replica_answers_in_batches(replica: Replica) -> None:
    await asyncio.to_thread(replica.load)
    events = [event async for batch in replica.answer(_asked("one two three")) for event in batch]
    assert events[0] == Admitted(3)
    assert "".join(event.text for event in events if isinstance(event, Chunk)) == "one two three"
    assert isinstance(events[-1], Finished)
    assert await replica.reply(Encode("a bb")) == Encoded((1, 2))
    assert await replica.reply(Decode((1, 2))) == Decoded("x xx")
    assert isinstance(await replica.reply(Decode((10**6,))), Failed)
    counts = replica.counts()
    assert (counts.replica, counts.answers, counts.generated_tokens) == ("one", 1, 3)
    assert (counts.begun, counts.prompt_tokens, counts.held) == (1, 3, 0)
    replica.check()


async def test_what_is_wrong_with_a_request_is_an_event(replica: Replica) -> None:
    batches = [batch async for batch in replica.answer(_asked("x " * 5000))]
    assert isinstance(batches[0][0], Failed)


async def test_who_stops_listening_ends_the_answer(replica: Replica) -> None:
    stream = replica.answer(_asked("word " * 1000))
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    for _ in range(200):
        if replica.counts().held == 0:
            break
        await asyncio.sleep(0.02)
    assert replica.counts().held == 0


def test_a_conversation_has_one_place_and_others_spread() -> None:
    names = [f"replica-{number}" for number in range(4)]

    def place(request: ChatRequest, among: list[str]) -> str:
        return max(among, key=lambda name: preference(key_of(request), name))

    chosen = [place(_asked(f"question {number}"), names) for number in range(400)]
    assert all(60 < chosen.count(name) < 140 for name in names)
    for number in range(50):
        later = _asked(f"question {number}", "an answer", "and now?")
        assert place(later, names) == chosen[number]
    moved = sum(place(_asked(f"question {number}"), names[:3]) != chosen[number] for number in range(400))
    assert moved == chosen.count(names[3])
    assert place(_asked("a", adapter="poems"), names) == place(_asked("b", adapter="poems"), names)


def test_the_configuration_is_yaml_that_says_what_was_asked_for() -> None:
    arguments = [
        "deploy",
        "config",
        "--max-replicas",
        "8",
        "--cpus",
        "4",
        "--home",
        "/models: here",
        "--pull",
    ]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 0
    document = yaml.safe_load(told.output)
    assert document["http_options"]["host"] == "127.0.0.1"
    args = document["applications"][0]["args"]
    assert args["home"] == "/models: here"
    assert args["threads"] == 4
    assert args["pull"] is True
    assert Scale(**args["scale"]).options()["autoscaling_config"]["max_replicas"] == 8
    assert CliRunner().invoke(main, ["deploy", "config", "--min-replicas", "3"]).exit_code == 2


def test_ray_that_is_not_there_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = CliRunner().invoke(main, ["serve", "--engine", "ray"])
    assert told.exit_code == 1
    assert "pip install 'localphi[ray]'" in told.output


def test_upstreams_without_the_engine_are_refused() -> None:
    told = CliRunner().invoke(main, ["serve", "--upstream", "http://127.0.0.1:1"])
    assert told.exit_code == 1
    assert "--engine remote" in told.output


def _request(method: str, path: str, body: bytes = b"") -> Request:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"a=1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8000),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


async def test_the_application_answers_an_asgi_server(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, backend="echo"))
    bridge = Bridge(app, 4)
    try:
        body = b'{"stream": true, "messages": [{"role": "user", "content": "one two"}]}'
        response = await bridge.answer(_request("POST", "/v1/chat/completions", body))
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-content-type-options"] == "nosniff"
        pieces = [piece async for piece in response.body_iterator]  # type: ignore[attr-defined]
        assert pieces[-1] == b"data: [DONE]\n\n"

        endless = b'{"stream": true, "messages": [{"role": "user", "content": "' + b"word " * 900 + b'"}]}'
        response = await bridge.answer(_request("POST", "/v1/chat/completions", endless))
        stream = response.body_iterator  # type: ignore[attr-defined]
        await anext(stream)
        await stream.aclose()
        engine = app.extensions["localphi"].get("localphi-demo")
        for _ in range(200):
            if engine.held == 0:
                break
            await asyncio.sleep(0.02)
        assert engine.held == 0
    finally:
        app.extensions["localphi"].close()


def test_a_request_is_told_as_wsgi_wants_it() -> None:
    environ = environ_of(_request("POST", "/v1/é", b"{}"), b"{}")
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/v1/é"
    assert environ["CONTENT_LENGTH"] == "2"
    assert environ["HTTP_HOST"] == "localhost"
    assert environ["CONTENT_TYPE"] == "application/json"
