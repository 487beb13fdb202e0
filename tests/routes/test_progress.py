"""`return_progress`: how far a long prompt has been read, as llama.cpp tells it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest

from localphi.chat import Progress
from localphi.routes.wire import progress_fields
from serving import LiveServer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
_numbers = itertools.count(100)


def _body(path: str) -> dict[str, Any]:
    """A prompt of several chunks that nobody has asked before."""
    text = f"{next(_numbers)} " + "7" * 1500
    said: Any = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
    return {**said, "max_tokens": 2, "stream": True}


def _progress(server: LiveServer, path: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    """What was told while the prompt was read, and what came after it."""
    with httpx.stream("POST", server.url + path, json=body, timeout=60) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines]
    assert all("error" not in chunk for chunk in chunks)
    told = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    last = max((i for i, chunk in enumerate(chunks) if "prompt_progress" in chunk), default=-1)
    return told, chunks[last + 1 :]


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_it_grows_to_the_whole_prompt_before_the_answer(demo_server: LiveServer, path: str) -> None:
    body = {**_body(path), "return_progress": True, "stream_options": {"include_usage": True}}
    told, rest = _progress(demo_server, path, body)
    assert len(told) > 3
    assert {step["total"] for step in told} == {rest[-1]["usage"]["prompt_tokens"]}
    processed = [step["processed"] for step in told]
    assert processed == sorted(set(processed))
    assert processed[-1] == told[-1]["total"]
    times = [step["time_ms"] for step in told]
    assert times == sorted(times)
    assert all(type(value) is int for step in told for value in step.values())


def test_what_was_cached_counts_as_read(demo_server: LiveServer) -> None:
    body = {**_body(CHAT), "return_progress": True}
    _progress(demo_server, CHAT, body)
    (again,), _ = _progress(demo_server, CHAT, body)
    assert again["processed"] == again["total"] == again["cache"] + 1


def test_each_of_several_answers_tells_its_own(demo_server: LiveServer) -> None:
    body = {**_body(CHAT), "return_progress": True, "n": 2}
    with httpx.stream("POST", demo_server.url + CHAT, json=body, timeout=60) as response:
        chunks = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]
    told = {chunk["choices"][0]["index"] for chunk in chunks if "prompt_progress" in chunk}
    assert told == {0, 1}


@pytest.mark.parametrize("fields", [{}, {"return_progress": False}, {"return_progress": None}])
def test_nobody_is_told_who_does_not_ask(demo_server: LiveServer, fields: dict[str, Any]) -> None:
    assert _progress(demo_server, CHAT, {**_body(CHAT), **fields})[0] == []


def test_a_whole_answer_has_no_place_for_it(demo_server: LiveServer) -> None:
    body = {**_body(CHAT), "stream": False, "return_progress": True}
    response = httpx.post(demo_server.url + CHAT, json=body, timeout=60)
    assert response.status_code == 200
    assert "prompt_progress" not in response.text


def test_the_wish_is_true_or_false(demo_server: LiveServer) -> None:
    response = httpx.post(demo_server.url + CHAT, json={**_body(CHAT), "return_progress": 1})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "return_progress")


def test_its_words_are_llama_cpps() -> None:
    assert progress_fields(Progress(300, 400, 44, 1.2344)) == {
        "prompt_progress": {"total": 400, "cache": 44, "processed": 300, "time_ms": 1234}
    }
