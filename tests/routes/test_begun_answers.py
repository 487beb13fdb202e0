"""Answers that were begun elsewhere, as by a device of a browser that has failed, and go on here."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from serving import VECTORS, LiveServer

PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
CASE = PARITY["cases"][0]
HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}
TOOL = {"type": "function", "function": {"name": "f"}}


def _answer(server: LiveServer, begun: list[int], **more: Any) -> Any:
    body = {"messages": CASE["messages"], "temperature": 0, "max_tokens": PARITY["max_tokens"]}
    url = f"{server.url}/v1/chat/completions"
    return httpx.post(url, json=body | {"begun_ids": begun} | more, timeout=60, trust_env=False)


@pytest.mark.parametrize("begun", [0, 1, 7])
def test_a_begun_answer_becomes_the_one_it_would_have_been(demo_server: LiveServer, begun: int) -> None:
    answer = _answer(demo_server, CASE["ids"][:begun]).json()
    assert answer["choices"][0]["message"]["content"] == CASE["text"]
    assert (
        answer["usage"]["completion_tokens"] == _answer(demo_server, []).json()["usage"]["completion_tokens"]
    )


def test_what_it_begins_with_need_not_be_the_models_own_choice(demo_server: LiveServer) -> None:
    other = PARITY["cases"][1]["ids"][:4]
    own = _answer(demo_server, []).json()["choices"][0]["message"]["content"]
    text = _answer(demo_server, other).json()["choices"][0]["message"]["content"]
    assert text != own
    assert text[:8] == PARITY["cases"][1]["text"][:8]


def test_one_that_has_all_its_tokens_ends_at_once(demo_server: LiveServer) -> None:
    answer = _answer(demo_server, CASE["ids"][:3], max_tokens=3).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_ids_that_the_model_does_not_have_are_refused(demo_server: LiveServer) -> None:
    response = _answer(demo_server, [10**6])
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "begun_ids"


@pytest.mark.parametrize(
    "with_it",
    [
        {"tools": [TOOL]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"seed": 1},
        {"n": 2},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_must_have_seen_its_beginning_is_refused(client: FlaskClient, with_it: dict[str, Any]) -> None:
    response = client.post("/v1/chat/completions", json=HELLO | {"begun_ids": [5]} | with_it)
    assert response.status_code == 400
    error = response.get_json()["error"]
    assert error["param"] == "begun_ids"
    assert next(iter(with_it)) in error["message"]


@pytest.mark.parametrize("ids", ["5", [-1], [1.5], [True], [5] * 5000, {}])
def test_what_is_no_list_of_ids_is_refused(client: FlaskClient, ids: Any) -> None:
    response = client.post("/v1/chat/completions", json=HELLO | {"begun_ids": ids})
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "begun_ids"
