"""`n`: several answers to one prompt, all or none."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from localphi.chat import ChatRequest, Chunk, Finished, Item, Message, Sampling, Usage
from localphi.engine.client import Answer, EngineClient
from localphi.errors import EngineBusy, RequestAbandoned, WorkerDied
from localphi.routes.answers import Answers, submit, total_usage
from localphi.routes.completion_wires import ChatWire
from serving import LiveServer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "one two"}]
QUESTION: Any = [{"role": "user", "content": "What is localphi?"}]
SAMPLED: Any = {"temperature": 2, "top_p": 1, "max_tokens": 24}


def _documents(text: str) -> list[dict[str, Any]]:
    *events, done = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(event) for event in events]


def test_whole_answers_are_numbered_and_their_prompt_counts_once(client: FlaskClient) -> None:
    answer = client.post(CHAT, json={"messages": HELLO, "n": 3}).get_json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in answer["choices"]} == {"one two"}
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}


def test_streams_are_interleaved_by_index_and_usage_comes_once(client: FlaskClient) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage = _documents(client.post(CHAT, json={"messages": HELLO, "n": 2, **options}).text)
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for index in (0, 1):
        role, *deltas, last = [choice for choice in choices if choice["index"] == index]
        assert role["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"]["content"] for choice in deltas) == "one two"
        assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], usage["usage"]["prompt_tokens"]) == ([], 2)
    assert usage["usage"]["completion_tokens"] == 4


def test_text_completions_have_it_too(client: FlaskClient) -> None:
    body = {"prompt": "one two", "n": 2, "best_of": 2}
    whole = client.post(TEXT, json=body).get_json()
    assert [(choice["index"], choice["text"]) for choice in whole["choices"]] == [
        (0, "one two"),
        (1, "one two"),
    ]
    texts = {0: "", 1: ""}
    for chunk in _documents(client.post(TEXT, json={**body, "stream": True}).text):
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == {0: "one two", 1: "one two"}


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("n", [0, 9, -1, 1.5, True, "2"])
def test_numbers_that_are_none_are_refused_by_name(client: FlaskClient, path: str, n: Any) -> None:
    body = {"messages": HELLO} if path == CHAT else {"prompt": "one"}
    response = client.post(path, json={**body, "n": n})
    assert (response.status_code, response.get_json()["error"]["param"]) == (400, "n")


@pytest.mark.parametrize(("n", "best_of"), [(None, 2), (2, 1), (2, 3), (1, True), (1, "1")])
def test_best_of_may_not_throw_answers_away(client: FlaskClient, n: int | None, best_of: Any) -> None:
    response = client.post(TEXT, json={"prompt": "one", "n": n, "best_of": best_of})
    error = response.get_json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "best_of", "unsupported_parameter")


def test_seeds_count_up_so_that_answers_differ_and_come_again(demo_server: LiveServer) -> None:
    def texts(seed: int, n: int) -> list[str]:
        body = {"messages": QUESTION, "seed": seed, "n": n, **SAMPLED}
        choices = httpx.post(demo_server.url + CHAT, json=body, timeout=60).json()["choices"]
        return [choice["message"]["content"] for choice in choices]

    several = texts(7, 3)
    assert len(set(several)) == 3
    assert texts(7, 3) == several
    assert texts(9, 1) == several[2:], "the third of seed 7 is the first of seed 9"


def test_the_official_client_streams_what_it_gets_whole(demo_server: LiveServer) -> None:
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        whole = official.chat.completions.create(
            model="localphi-demo", messages=QUESTION, n=2, seed=1, **SAMPLED
        )
        stream = official.chat.completions.create(
            model="localphi-demo", messages=QUESTION, n=2, seed=1, stream=True, **SAMPLED
        )
        texts = {0: "", 1: ""}
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert list(texts.values()) == [choice.message.content for choice in whole.choices]


def test_there_must_be_a_place_for_every_answer(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    long = ChatRequest((Message("user", "word " * 1900),))
    answers = [engine.submit(long) for _ in range(30)]  # of 32 places
    refused = httpx.post(live_server.url + CHAT, json={"messages": HELLO, "n": 3})
    held = engine.held
    fits = httpx.post(live_server.url + CHAT, json={"messages": HELLO, "n": 2}, timeout=60)
    for answer in answers:
        answer.close()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert held <= 30, "the places of a refused request are free again"
    assert fits.status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_that_is_cut_frees_every_place(demo_server: LiveServer, stream: bool) -> None:
    engine = demo_server.engines.get("localphi-demo")
    long = [{"role": "user", "content": "7" * 1900}]  # read in chunks, in turn with the others
    body = json.dumps({"messages": long, "n": 5, "stream": stream}).encode()
    host, port = demo_server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        _wait_until(lambda: engine.held == 5)
    _wait_until(lambda: engine.held == 0)


def _wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.002)


class _Scripted:
    """An answer of these items, one for each question; an error is raised."""

    prompt_tokens = 1

    def __init__(self, *items: Item | WorkerDied | None) -> None:
        self._items = iter(items)
        self.closed = False

    def next(self, timeout_s: float) -> Item | None:
        item = next(self._items, None)
        if isinstance(item, WorkerDied):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


def _answers(*scripted: _Scripted) -> Answers:
    return Answers([cast(Answer, answer) for answer in scripted])


END = Finished("stop", Usage(3, 2))


def test_none_of_several_is_kept_waiting_by_another() -> None:
    silent, quick = _Scripted(), _Scripted(*[Chunk(str(number), (number,)) for number in range(3)])
    answers = _answers(silent, quick)
    assert [answers.next(5) for _ in range(3)] == [(1, Chunk(str(n), (n,))) for n in range(3)]
    assert answers.next(0.01) is None


def test_a_failure_of_one_ends_all_with_one_error_event() -> None:
    good, bad = _Scripted(Chunk("x", (1,)), END), _Scripted(None, None, WorkerDied("localphi-demo", -9))
    wire = ChatWire("localphi-demo", _answers(good, bad))
    events = list(wire.events(True, lambda: False))
    assert b'"worker_died"' in events[-1]
    assert not any(b"[DONE]" in event for event in events)


def test_a_client_that_leaves_frees_all() -> None:
    both = _Scripted(), _Scripted()
    with pytest.raises(RequestAbandoned):
        ChatWire("localphi-demo", _answers(*both)).completion(lambda: True)
    assert [answer.closed for answer in both] == [True, True]


class _Narrow:
    """An engine with places for two."""

    def __init__(self) -> None:
        self.admitted: list[_Scripted] = []
        self.seeds: list[int | None] = []

    def submit(self, request: ChatRequest, gone: object, client: str = "") -> Any:
        if len(self.admitted) == 2:
            raise EngineBusy(2, 1)
        self.seeds.append(request.sampling.seed)
        self.admitted.append(_Scripted())
        return self.admitted[-1]


def test_what_was_admitted_is_closed_when_the_next_is_not() -> None:
    engine = _Narrow()
    with pytest.raises(EngineBusy):
        submit(cast(EngineClient, engine), ChatRequest(()), 3, lambda: False)
    assert [answer.closed for answer in engine.admitted] == [True, True]


def test_seeds_go_on_at_zero_behind_the_greatest() -> None:
    engine = _Narrow()
    asked = ChatRequest((), sampling=Sampling(seed=2**31 - 1))
    submit(cast(EngineClient, engine), asked, 2, lambda: False)
    assert engine.seeds == [2**31 - 1, 0]


def test_usage_of_several_counts_their_prompt_once() -> None:
    one = Usage(5, 2, decode_s=1.0, cached_tokens=4)
    assert total_usage([one]) is one
    total = total_usage([one, Usage(5, 3, decode_s=1.0, cached_tokens=0)])
    assert (total.prompt_tokens, total.completion_tokens, total.cached_tokens) == (5, 5, 0)
    assert total.tokens_per_second is None
