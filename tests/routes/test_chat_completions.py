from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpx
import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from localphi.chat import ChatRequest, Chunk, Message
from localphi.engine import restarts
from localphi.engine.client import Answer
from localphi.errors import RequestAbandoned
from localphi.models.manifest import load_manifest
from localphi.routes.answers import Answers
from localphi.routes.completion_wires import ChatWire
from serving import DEMO, LiveServer, kill_until_it_fails

URL = "/v1/chat/completions"


def _body(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "localphi-demo", "messages": [{"role": "user", "content": text}], **fields}


def _events(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]


def test_a_whole_answer_has_openais_shape(client: FlaskClient) -> None:
    answer = client.post(URL, json=_body("one two")).get_json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "localphi-demo"
    assert answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "one two", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


def test_a_stream_has_openais_chunks_in_order(client: FlaskClient) -> None:
    response = client.post(URL, json=_body("one two", stream=True, stream_options={"include_usage": True}))
    assert response.content_type.startswith("text/event-stream")
    *documents, done = _events(response.text)
    chunks = [json.loads(document) for document in documents]
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    *deltas, last, usage = chunks
    assert deltas[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["delta"] for chunk in deltas[1:]] == [{"content": "one "}, {"content": "two"}]
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 4)


def test_text_parts_and_the_developer_role_are_understood(client: FlaskClient) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "x"}, {"role": "user", "content": parts}]
    answer = client.post(URL, json={"messages": messages}).get_json()
    assert answer["choices"][0]["message"]["content"] == "one two"


def test_stop_and_max_tokens_are_honoured(client: FlaskClient) -> None:
    stopped = client.post(URL, json=_body("one two three", stop="two")).get_json()["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("one ", "stop")
    cut = client.post(URL, json=_body("one two three", max_completion_tokens=1)).get_json()["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("one ", "length")


def test_the_models_are_listed(client: FlaskClient) -> None:
    listed = client.get("/v1/models").get_json()
    assert [model["id"] for model in listed["data"]] == ["localphi-demo"]
    assert client.get("/v1/models/localphi-demo").get_json()["object"] == "model"
    assert client.get("/v1/models/nope").status_code == 404


def test_health_is_ok_before_any_model_is_loaded(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}


def test_a_worker_killed_in_mid_stream_is_not_noticed(demo_server: LiveServer) -> None:
    """Eight at once, greedy and seeded, begun and waiting: each text is that of an undisturbed run."""
    engine = demo_server.engines.get("localphi-demo")
    url, questions = demo_server.url + URL, [f"Tell me {number} things about WebGPU." for number in range(8)]
    bodies = [
        _body(text, max_tokens=300, ignore_eos=True, temperature=number % 2 * 1.5, seed=number)
        for number, text in enumerate(questions)
    ]
    with ThreadPoolExecutor(8) as pool:
        alone = [httpx.post(url, json=body, timeout=60).json()["choices"][0] for body in bodies]
        streams = [pool.submit(_streamed, url, {**body, "stream": True}) for body in bodies]
        _wait_until(lambda: engine.state.active > 1)
        time.sleep(0.05)
        before = engine.state.restarts
        assert engine.worker_pid is not None
        os.kill(engine.worker_pid, signal.SIGKILL)
        texts = [stream.result(60) for stream in streams]
    assert engine.state.restarts == before + 1
    assert texts == [(choice["message"]["content"], choice["finish_reason"]) for choice in alone]


def test_calls_that_a_worker_had_begun_are_completed_by_the_next(demo_server: LiveServer) -> None:
    engine = demo_server.engines.get("localphi-demo")
    names = {"type": "array", "items": {"type": "string", "minLength": 60, "maxLength": 80}, "minItems": 2}
    parameters = {"type": "object", "properties": {"names": names}, "required": ["names"]}
    tool = {"type": "function", "function": {"name": "name_them", "parameters": parameters}}
    body = _body("Name some.", tools=[tool], tool_choice="required", temperature=1, seed=3, max_tokens=900)
    alone = httpx.post(demo_server.url + URL, json=body, timeout=60).json()["choices"][0]
    wanted = [call["function"] for call in alone["message"]["tool_calls"]]
    calls: list[dict[str, Any]] = []
    before, pid = engine.state.restarts, engine.worker_pid
    with httpx.stream("POST", demo_server.url + URL, json={**body, "stream": True}, timeout=60) as response:
        for line in response.iter_lines():
            if not line.startswith('data: {"id"'):
                continue
            for piece in json.loads(line[6:])["choices"][0]["delta"].get("tool_calls", []):
                if "id" in piece:
                    assert piece["index"] == len(calls)
                    calls.append({"id": piece["id"], **piece["function"]})
                else:
                    calls[piece["index"]]["arguments"] += piece["function"]["arguments"]
                if pid is not None and len(calls[0]["arguments"]) > 20:
                    os.kill(pid, signal.SIGKILL)
                    pid = None
    assert len({call.pop("id") for call in calls}) == len(calls)
    assert calls == wanted
    assert engine.state.restarts == before + 1


def _streamed(url: str, body: dict[str, Any]) -> tuple[str, str]:
    with httpx.stream("POST", url, json=body, timeout=60) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", lines[-1]
    choices = [json.loads(line)["choices"][0] for line in lines[:-1]]
    return "".join(choice["delta"].get("content") or "" for choice in choices), choices[-1]["finish_reason"]


def test_a_worker_that_keeps_dying_gives_an_error_event_and_later_requests_work(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "_FIRST_PAUSE_S", 0.5)
    engine = live_server.engines.get("localphi-demo")
    body = _body("word " * 1000, stream=True)
    for _ in range(50):  # a quick worker may be done before it is killed
        with httpx.stream("POST", live_server.url + URL, json=body, timeout=30) as response:
            lines = response.iter_lines()
            next(lines)
            kill_until_it_fails(engine)
            events = [line for line in lines if line]
        if "[DONE]" not in events[-1]:
            break
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert error["code"] == "worker_died"
    refused = httpx.post(live_server.url + URL, json=_body("Hello"), timeout=30)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "worker_died")
    assert int(refused.headers["Retry-After"]) == 1
    time.sleep(0.6)
    again = httpx.post(live_server.url + URL, json=_body("Hello"), timeout=30)
    assert again.json()["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_before_it_is_served_frees_its_place(
    live_server: LiveServer, stream: bool
) -> None:
    engine = live_server.engines.get("localphi-demo")
    engine.start()
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, signal.SIGSTOP)  # stands for a model that takes long to load
    body = json.dumps(_body("hello", stream=stream)).encode()
    host, port = live_server.url.removeprefix("http://").split(":")
    try:
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            _wait_until(lambda: engine.held == 1)
        _wait_until(lambda: engine.held == 0)
    finally:
        os.kill(engine.worker_pid, signal.SIGCONT)


def _wait_until(condition: Any, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)


def test_the_official_client_reads_a_whole_answer_and_a_stream(demo_server: LiveServer) -> None:
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        assert [model.id for model in official.models.list()] == ["localphi-demo"]
        messages: Any = [{"role": "user", "content": "What is localphi?"}]
        whole = official.chat.completions.create(model="localphi-demo", messages=messages)
        text = whole.choices[0].message.content
        assert text
        assert "localphi" in text
        assert whole.choices[0].finish_reason == "stop"
        stream = official.chat.completions.create(
            model="localphi-demo", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    streamed = chunks[-1].usage
    assert whole.usage is not None
    assert streamed is not None
    assert streamed.completion_tokens == whole.usage.completion_tokens
    assert streamed.prompt_tokens == whole.usage.prompt_tokens
    assert streamed.prompt_tokens_details is not None
    assert streamed.prompt_tokens_details.cached_tokens == streamed.prompt_tokens - 1, (
        "the prompt was the same"
    )


def test_answers_of_the_engine_share_whole_blocks_of_their_prompts(demo_server: LiveServer) -> None:
    paged = load_manifest(DEMO).variants["server-cpu"].paged
    assert paged
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        messages: Any = [{"role": "user", "content": "Is this question long enough? " * 12}]
        for asked_before in (False, True):
            answer = official.chat.completions.create(
                model="localphi-demo", messages=messages, max_tokens=2, temperature=1, seed=1
            )
            assert answer.usage is not None
            assert answer.usage.prompt_tokens_details is not None
            blocks = (answer.usage.prompt_tokens - 1) // paged.block_tokens if asked_before else 0
            assert answer.usage.prompt_tokens_details.cached_tokens == blocks * paged.block_tokens
        assert blocks > 2


def test_the_speed_of_decoding_comes_with_the_usage(demo_server: LiveServer) -> None:
    answer = httpx.post(demo_server.url + URL, json=_body("What is localphi?"), timeout=60).json()
    tokens, timings = answer["usage"]["completion_tokens"], answer["timings"]
    assert timings["tokens_per_second"] == pytest.approx((tokens - 1) / timings["decode_ms"] * 1000, rel=0.05)


def test_the_official_client_gets_typed_errors(demo_server: LiveServer) -> None:
    import openai

    messages: Any = [{"role": "user", "content": "hi"}]
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none", max_retries=0) as official:
        with pytest.raises(openai.NotFoundError, match="no model"):
            official.chat.completions.create(model="nope", messages=messages)
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            official.chat.completions.create(model="localphi-demo", messages=messages, max_tokens=0)


def test_a_full_queue_is_429_with_retry_after(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    long = ChatRequest((Message("user", "word " * 1900),))
    answers = [engine.submit(long) for _ in range(32)]
    response = httpx.post(live_server.url + URL, json=_body("hello"))
    for answer in answers:
        answer.close()
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["error"]["code"] == "queue_full"


def test_line_separators_of_unicode_do_not_break_an_event(client: FlaskClient) -> None:
    response = client.post(URL, json=_body("a\u2028b\u0085c 日本語", stream=True))
    assert response.text.isascii()
    deltas = [json.loads(event)["choices"][0]["delta"] for event in _events(response.text)[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "a\u2028b\u0085c 日本語"


class _Endless:
    """An answer that gives the same item for ever."""

    def __init__(self, item: Chunk | None) -> None:
        self._item = item
        self.asked, self.closed = 0, False

    def next(self, timeout_s: float) -> Chunk | None:
        self.asked += 1
        assert self.asked < 100, "nobody noticed that the client has left"
        return self._item

    def close(self) -> None:
        self.closed = True


def _wire(answer: _Endless) -> ChatWire:
    return ChatWire("localphi-demo", Answers([cast(Answer, answer)]))


WORDY, SILENT = Chunk("x", (1,)), None


@pytest.mark.parametrize("item", [WORDY, SILENT])
def test_a_whole_answer_is_given_up_as_soon_as_the_client_has_left(item: Chunk | None) -> None:
    gone = iter([False, False, True])
    answer = _Endless(item)
    with pytest.raises(RequestAbandoned):
        _wire(answer).completion(lambda: next(gone))
    assert (answer.asked, answer.closed) == (3, True)


@pytest.mark.parametrize(("item", "shown"), [(WORDY, 2), (SILENT, 0)])
def test_a_stream_is_given_up_as_soon_as_the_client_has_left(item: Chunk | None, shown: int) -> None:
    gone = iter([False, False, True])
    answer = _Endless(item)
    first, *events = _wire(answer).events(False, lambda: next(gone))
    assert b'"role"' in first
    assert len(events) == shown
    assert answer.asked == 3


def test_a_silent_stream_is_kept_alive() -> None:
    gone = iter([*[False] * 60, True])
    events = list(_wire(_Endless(SILENT)).events(False, lambda: next(gone)))
    assert events[1:] == [b": keepalive\n\n"] * 3, "60 waits of half a second are 30 seconds"


def test_text_that_is_no_unicode_is_answered(demo_server: LiveServer) -> None:
    body = _body("What is \ud800 localphi\0?", max_tokens=4)
    response = httpx.post(demo_server.url + URL, content=json.dumps(body), timeout=60)
    assert response.status_code == 200
