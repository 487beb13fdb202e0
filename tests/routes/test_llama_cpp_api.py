"""/tokenize, /detokenize and /apply-template, in the form of llama.cpp's server."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from localphi.chat import ChatRequest, Message
from localphi.routes.llama_cpp_api import MAX_CONTENT_CHARS, MAX_TOKENS, MAX_WAITING
from serving import LiveServer


def _ask(server: LiveServer, path: str, **fields: Any) -> Any:
    response = httpx.post(server.url + path, json=fields, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("text", ["What is localphi?", "<|user|>日本 🎉<|end|>", "", " "])
def test_a_text_comes_back_from_its_tokens(demo_server: LiveServer, text: str) -> None:
    tokens = _ask(demo_server, "/tokenize", content=text)["tokens"]
    assert all(isinstance(token, int) for token in tokens)
    assert _ask(demo_server, "/detokenize", tokens=tokens) == {"content": text}


def test_pieces_are_texts_or_the_bytes_of_a_part_of_a_character(demo_server: LiveServer) -> None:
    tokens = _ask(demo_server, "/tokenize", content="Hi 日<|end|>", with_pieces=True)["tokens"]
    assert [set(token) for token in tokens] == [{"id", "piece"}] * len(tokens)
    pieces = [token["piece"] for token in tokens]
    assert pieces[-1] == "<|end|>"
    parts = [piece for piece in pieces if isinstance(piece, list)]
    assert bytes(byte for part in parts for byte in part).decode() == "日"
    plain = _ask(demo_server, "/tokenize", content="Hi 日<|end|>")["tokens"]
    assert [token["id"] for token in tokens] == plain


def test_control_tokens_are_parsed_unless_told_otherwise(demo_server: LiveServer) -> None:
    assert len(_ask(demo_server, "/tokenize", content="<|end|>")["tokens"]) == 1
    assert len(_ask(demo_server, "/tokenize", content="<|end|>", parse_special=False)["tokens"]) > 1


def test_a_prompt_is_what_the_model_reads(client: FlaskClient) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi<|end|>"}]
    prompt = client.post("/apply-template", json={"messages": messages}).get_json()["prompt"]
    assert prompt == "<|system|>Be kind.<|end|><|user|>Hi<\u200b|end|><|end|><|assistant|>"


def test_a_prompt_shows_its_tools(client: FlaskClient) -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
    prompt = client.post("/apply-template", json=body).get_json()["prompt"]
    assert '<|tool|>[{"name": "now"' in prompt


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": 3}, "content"),
        ("/tokenize", {"content": "x" * (MAX_CONTENT_CHARS + 1)}, "content"),
        ("/tokenize", {"content": "x", "add_special": 1}, "add_special"),
        ("/tokenize", {"content": "x", "parse_special": "no"}, "parse_special"),
        ("/tokenize", {"content": "x", "with_pieces": "yes"}, "with_pieces"),
        ("/tokenize", {"content": "x", "model": 3}, "model"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": "x"}, "tokens"),
        ("/detokenize", {"tokens": [1, -1]}, "tokens"),
        ("/detokenize", {"tokens": [1.5]}, "tokens"),
        ("/detokenize", {"tokens": [True]}, "tokens"),
        ("/detokenize", {"tokens": [2**31]}, "tokens"),
        ("/detokenize", {"tokens": [2048]}, "tokens"),
        ("/detokenize", {"tokens": [1] * (MAX_TOKENS + 1)}, "tokens"),
        ("/apply-template", {}, "messages"),
        ("/apply-template", {"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ("/apply-template", {"messages": [{"role": "user", "content": "x"}], "tools": 3}, "tools"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, path: str, fields: dict[str, Any], param: str) -> None:
    response = client.post(path, json=fields)
    assert response.status_code == 400, response.text
    error = response.get_json()["error"]
    assert error["param"] == param
    assert f"'{param}'" in error["message"]


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/apply-template"])
def test_bodies_that_are_no_object_and_unknown_models_are_refused(client: FlaskClient, path: str) -> None:
    assert client.post(path, data=b"[").status_code == 400
    full = {"content": "x", "tokens": [], "messages": [{"role": "user", "content": "x"}]}
    response = client.post(path, json={**full, "model": "nope"})
    assert (response.status_code, response.get_json()["error"]["param"]) == (404, "model")


def test_text_that_is_no_unicode_is_read(demo_server: LiveServer) -> None:
    url = demo_server.url + "/tokenize"
    response = httpx.post(url, content=b'{"content": "a\\ud800\\u0000b", "with_pieces": true}', timeout=60)
    assert response.status_code == 200
    tokens = [token["id"] for token in response.json()["tokens"]]
    assert _ask(demo_server, "/detokenize", tokens=tokens) == {"content": "a\ufffdb"}


def test_a_full_queue_does_not_keep_texts_waiting(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    long = ChatRequest((Message("user", "word " * 1900),))
    answers = [engine.submit(long) for _ in range(32)]
    try:
        assert _ask(live_server, "/tokenize", content="a bb")["tokens"] == [1, 2]
    finally:
        for answer in answers:
            answer.close()


def test_only_a_few_may_wait_for_the_worker(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    _ask(live_server, "/detokenize", tokens=[1])
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, signal.SIGSTOP)  # stands for a model that takes long to load
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(
            httpx.post(live_server.url + "/tokenize", json={"content": "a"}, timeout=60).status_code
        )

    threads = [threading.Thread(target=ask) for _ in range(MAX_WAITING + 2)]
    try:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(statuses) < 2:
            assert time.monotonic() < deadline, "nobody was refused"
            time.sleep(0.01)
        assert httpx.get(live_server.url + "/healthz").status_code == 200
    finally:
        os.kill(engine.worker_pid, signal.SIGCONT)
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * MAX_WAITING + [429] * 2
    assert _ask(live_server, "/tokenize", content="a")["tokens"] == [1]


def test_the_prompt_of_a_conversation_needs_no_worker(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    _ask(live_server, "/apply-template", messages=[{"role": "user", "content": "Hi"}])
    assert engine.worker_pid is None


def test_a_client_that_leaves_is_not_replied_to(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    _ask(live_server, "/tokenize", content="a")
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, signal.SIGSTOP)  # stands for a model that takes long to load
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(live_server.url + "/tokenize", json={"content": "a"}, timeout=1)
    finally:
        os.kill(engine.worker_pid, signal.SIGCONT)
    assert _ask(live_server, "/tokenize", content="a bb")["tokens"] == [1, 2]
