"""POST /v1/completions: OpenAI's older route, which goes on with a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import httpx
import openai
import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from localphi.chat import Chunk
from localphi.engine.client import Answer
from localphi.errors import RequestAbandoned, WorkerDied
from localphi.routes.answers import Answers
from localphi.routes.completion_wires import TextWire
from serving import LiveServer

URL = "/v1/completions"


def _error(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    response = client.post(URL, json={"prompt": "one two", **fields})
    assert response.status_code == 400, response.text
    error = dict(response.get_json()["error"])
    assert error["type"] == "invalid_request_error"
    return error


def _choice(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    response = client.post(URL, json=fields)
    assert response.status_code == 200, response.text
    return dict(response.get_json()["choices"][0])


def test_a_whole_answer_has_openais_shape(client: FlaskClient) -> None:
    answer = client.post(URL, json={"prompt": "one two"}).get_json()
    assert answer["id"].startswith("cmpl-")
    assert (answer["object"], answer["model"]) == ("text_completion", "localphi-demo")
    assert answer["choices"] == [{"index": 0, "text": "one two", "finish_reason": "stop", "logprobs": None}]
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


def test_a_stream_has_openais_chunks_in_order(client: FlaskClient) -> None:
    body = {"prompt": "one two", "stream": True, "stream_options": {"include_usage": True}}
    response = client.post(URL, json=body)
    assert response.content_type.startswith("text/event-stream")
    comment, *events = [event for event in response.text.split("\n\n") if event]
    assert comment.startswith(":"), "something goes out at once"
    *documents, done = [event.removeprefix("data: ") for event in events]
    *pieces, last, usage = [json.loads(document) for document in documents]
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in (*pieces, last, usage)}) == 1
    assert {chunk["object"] for chunk in (*pieces, last, usage)} == {"text_completion"}
    assert [chunk["choices"][0]["text"] for chunk in pieces] == ["one ", "two"]
    assert {chunk["choices"][0]["finish_reason"] for chunk in pieces} == {None}
    assert (last["choices"][0]["text"], last["choices"][0]["finish_reason"]) == ("", "stop")
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 4)


def test_sixteen_tokens_come_where_nothing_is_said(client: FlaskClient) -> None:
    choice = _choice(client, prompt="word " * 40)
    assert (choice["text"], choice["finish_reason"]) == ("word " * 16, "length")
    assert _choice(client, prompt="word " * 40, max_tokens=3)["text"] == "word " * 3


def test_stop_texts_are_honoured(client: FlaskClient) -> None:
    choice = _choice(client, prompt="one two three", stop=["two"])
    assert (choice["text"], choice["finish_reason"]) == ("one ", "stop")


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2]]])
def test_a_prompt_may_be_token_ids(client: FlaskClient, prompt: Any) -> None:
    assert _choice(client, prompt=prompt)["text"] == "x xx"


def test_a_list_of_one_text_is_that_text(client: FlaskClient) -> None:
    assert _choice(client, prompt=["one two"])["text"] == "one two"


@pytest.mark.parametrize(
    "prompt",
    [None, "", [], [""], [[]], 3, {"text": "x"}, [1, "x"], [1, -1], [True], [1.0], [2**31], [2048], [[[1]]]],
)
def test_what_is_no_prompt_is_refused_by_name(client: FlaskClient, prompt: Any) -> None:
    error = _error(client, prompt=prompt)
    assert error["param"] == "prompt"
    assert "'prompt'" in error["message"]


@pytest.mark.parametrize("prompt", [["one", "two"], [[1], [2]]])
def test_several_prompts_are_refused_with_their_number(client: FlaskClient, prompt: Any) -> None:
    error = _error(client, prompt=prompt)
    assert error["param"] == "prompt"
    assert "2 prompts" in error["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suffix", "the end"),
        ("echo", True),
        ("logprobs", 0),
        ("logprobs", 5),
        ("best_of", 3),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("messages", [{"role": "user", "content": "hi"}]),
    ],
)
def test_what_this_route_cannot_do_is_refused_by_name(client: FlaskClient, name: str, value: Any) -> None:
    error = _error(client, **{name: value})
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"seed": -1}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"model": 3}, "model"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, fields: dict[str, Any], param: str) -> None:
    assert _error(client, **fields)["param"] == param


def test_unused_and_unknown_fields_are_fine(client: FlaskClient) -> None:
    unused: dict[str, Any] = {
        "suffix": None,
        "echo": False,
        "logprobs": None,
        "n": 1,
        "best_of": 1,
        "tools": [],
        "user": "me",
    }
    assert _choice(client, prompt="one", **unused)["text"] == "one"


def test_a_prompt_longer_than_the_context_names_the_prompt(client: FlaskClient) -> None:
    error = _error(client, prompt="word " * 3000)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert (error["prompt_tokens"], error["context_length"]) == (3000, 2048)


def test_an_unknown_model_is_404(client: FlaskClient) -> None:
    assert client.post(URL, json={"model": "nope", "prompt": "x"}).status_code == 404


def test_the_official_client_reads_a_whole_answer_and_a_stream(demo_server: LiveServer) -> None:
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none", max_retries=0) as official:
        asked: Any = {"model": "localphi-demo", "prompt": "Once", "temperature": 2, "seed": 1}
        whole = official.completions.create(**asked)
        assert whole.choices[0].text
        assert whole.usage
        chunks = list(
            official.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
        with pytest.raises(openai.BadRequestError, match="suffix"):
            official.completions.create(**asked, suffix="!")
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    usage = chunks[-1].usage
    assert usage
    assert usage.total_tokens == whole.usage.total_tokens
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] is not None


def test_seeds_make_sampling_repeatable(demo_server: LiveServer) -> None:
    def draw(seed: int) -> str:
        body = {"prompt": "Once", "temperature": 2, "seed": seed, "max_tokens": 8}
        return str(httpx.post(demo_server.url + URL, json=body, timeout=60).json()["choices"][0]["text"])

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_a_rendered_prompt_as_ids_is_answered_like_its_conversation(demo_server: LiveServer) -> None:
    messages = [{"role": "user", "content": "What is localphi?"}]

    def ask(path: str, **body: Any) -> Any:
        return httpx.post(demo_server.url + path, json=body, timeout=60).json()

    prompt = ask("/apply-template", messages=messages)["prompt"]
    ids = ask("/tokenize", content=prompt)["tokens"]
    raw = ask(URL, prompt=ids, max_tokens=50)
    chat = ask("/v1/chat/completions", messages=messages, max_tokens=50)
    assert raw["choices"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert raw["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"] == len(ids)


def test_control_tokens_in_a_text_prompt_end_nothing(demo_server: LiveServer) -> None:
    def tokens(prompt: Any) -> int:
        body = {"prompt": prompt, "max_tokens": 1}
        response = httpx.post(demo_server.url + URL, json=body, timeout=60)
        return int(response.json()["usage"]["prompt_tokens"])

    ids = httpx.post(demo_server.url + "/tokenize", json={"content": "<|end|>"}, timeout=60).json()["tokens"]
    assert len(ids) == tokens(ids) == 1
    assert tokens("<|end|>") > 1


class _Scripted:
    """An answer that gives these items, one for each question; an error is raised."""

    def __init__(self, *items: Chunk | WorkerDied | None) -> None:
        self._items: Iterator[Chunk | WorkerDied | None] = iter(items)
        self.closed = False

    def next(self, timeout_s: float) -> Chunk | None:
        item = next(self._items)
        if isinstance(item, WorkerDied):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


def _wire(answer: _Scripted) -> TextWire:
    return TextWire("localphi-demo", Answers([cast(Answer, answer)]))


def test_a_failure_in_mid_stream_is_an_error_event_without_done() -> None:
    answer = _Scripted(Chunk("x", (1,)), WorkerDied("localphi-demo", -9))
    *_, text, error = _wire(answer).events(True, lambda: False)
    assert b'"text":"x"' in text
    assert b'"worker_died"' in error


def test_a_silent_stream_is_kept_alive_and_ends_when_the_client_has_left() -> None:
    gone = iter([*[False] * 20, True])
    events = list(_wire(_Scripted(*[None] * 21)).events(True, lambda: next(gone)))
    assert events == [b": keepalive\n\n"] * 2, "one at once, one after ten seconds"


def test_a_whole_answer_is_given_up_as_soon_as_the_client_has_left() -> None:
    answer = _Scripted(Chunk("x", (1,)), None)
    gone = iter([False, True])
    with pytest.raises(RequestAbandoned):
        _wire(answer).completion(lambda: next(gone))
    assert answer.closed
