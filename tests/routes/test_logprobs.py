"""Log probabilities and what they show of sampling, on the wire."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from openai.types.chat.chat_completion_token_logprob import ChatCompletionTokenLogprob

from localphi.chat import AnswerLogprob, TokenLogprob
from localphi.models.manifest import load_manifest
from localphi.routes.logprobs import chat_logprobs
from serving import DEMO, LiveServer

URL = "/v1/chat/completions"
MODEL = "localphi-demo"
ASK: Any = [{"role": "user", "content": "What is localphi?"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def _body(text: str = "one two", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


def test_a_whole_answer_tells_them_in_openais_shape(client: FlaskClient) -> None:
    answer = client.post(URL, json=_body(logprobs=True, top_logprobs=1)).get_json()
    one = {"token": "one ", "logprob": 0.0, "bytes": [111, 110, 101, 32]}
    two = {"token": "two", "logprob": 0.0, "bytes": [116, 119, 111]}
    content = [{**token, "top_logprobs": [token]} for token in (one, two)]
    assert answer["choices"][0]["logprobs"] == {"content": content, "refusal": None}


def test_a_stream_tells_them_beside_the_text(client: FlaskClient) -> None:
    lines = client.post(URL, json=_body(logprobs=True, stream=True)).text.split("\n\n")
    choices = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines if "{" in line]
    told = [choice["logprobs"]["content"][0]["token"] for choice in choices if choice["logprobs"]]
    assert told == ["one ", "two"] == [choice["delta"]["content"] for choice in choices if choice["logprobs"]]
    assert choices[0]["logprobs"] is choices[-1]["logprobs"] is None


def test_without_them_logprobs_is_null(client: FlaskClient) -> None:
    for fields in ({}, {"logprobs": False}, {"logprobs": None, "top_logprobs": None}):
        assert client.post(URL, json=_body(**fields)).get_json()["choices"][0]["logprobs"] is None


def test_held_back_text_does_not_hold_back_its_tokens(client: FlaskClient) -> None:
    """A word that may become a stop string comes later, its log probability at once; none is lost."""
    response = client.post(URL, json=_body("one two", logprobs=True, stream=True, stop=["one two three"]))
    assert [text.count('"logprob":') for text in response.text.split("\n\n")].count(1) == 2


def test_half_characters_and_nothing_at_all_can_be_told() -> None:
    half, none = TokenLogprob("é".encode()[:1], -1.0), TokenLogprob(b"", -math.inf)
    first = chat_logprobs([AnswerLogprob(b"a\xf0", -0.5, (half, none))])["content"][0]
    assert (first["token"], first["bytes"]) == ("a\\xf0", [97, 240])
    assert first["top_logprobs"] == [
        {"token": "\\xc3", "logprob": -1.0, "bytes": [195]},
        {"token": "", "logprob": -9999.0, "bytes": None},
    ]


def _join(told: list[ChatCompletionTokenLogprob]) -> str:
    return b"".join(bytes(token.bytes or []) for token in told).decode()


def test_the_official_client_reads_them_whole_and_streamed(demo_server: LiveServer) -> None:
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        completions = official.chat.completions
        whole = completions.create(model=MODEL, messages=ASK, logprobs=True, top_logprobs=4)
        stream = completions.create(model=MODEL, messages=ASK, logprobs=True, top_logprobs=4, stream=True)
        pieces = [chunk.choices[0] for chunk in stream]
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert _join(logprobs.content) == whole.choices[0].message.content
    for token in logprobs.content:
        assert len(token.top_logprobs) == 4
        assert token.logprob == token.top_logprobs[0].logprob <= 0
    streamed = [token for piece in pieces if piece.logprobs for token in piece.logprobs.content or []]
    assert [token.token for token in streamed] == [token.token for token in logprobs.content]
    for left, right in zip(streamed, logprobs.content, strict=True):
        assert left.logprob == pytest.approx(right.logprob, abs=1e-3)


def test_the_official_clients_bias_and_penalties_are_honoured(demo_server: LiveServer) -> None:
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        completions = official.chat.completions
        forced = completions.create(
            model=MODEL, messages=ASK, logit_bias={"300": 100}, max_tokens=4, logprobs=True
        )
        varied = completions.create(
            model=MODEL, messages=ASK, max_tokens=20, logprobs=True, frequency_penalty=2, presence_penalty=2
        )
    assert forced.choices[0].logprobs is not None
    assert varied.choices[0].logprobs is not None
    assert len({token.token for token in forced.choices[0].logprobs.content or []}) == 1
    tokens = [token.token for token in varied.choices[0].logprobs.content or []]
    assert len(set(tokens)) > 12


@pytest.mark.parametrize(
    "fields", [{}, {"temperature": 1.0, "seed": 1}], ids=["by the generator", "by the engine"]
)
def test_the_next_turn_tells_how_much_of_it_was_cached(
    demo_server: LiveServer, fields: dict[str, Any]
) -> None:
    asked = "What is WebGPU, in a few words, and what is it for? "
    turns: Any = [{"role": "user", "content": asked * 4}]
    paged = load_manifest(DEMO).variants["server-cpu"].paged
    assert paged
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none") as official:
        first = official.chat.completions.create(model=MODEL, messages=turns, **fields)
        turns += [{"role": "assistant", "content": first.choices[0].message.content}, *ASK]
        second = official.chat.completions.create(model=MODEL, messages=turns, **fields)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached is not None
    assert first.usage.prompt_tokens - paged.block_tokens < cached < second.usage.prompt_tokens
    assert cached > 0


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"logit_bias": {"3072": 1}}, "logit_bias", "3071"),
        ({"min_p": 0.1, "temperature": 1, "tools": [TOOL]}, "min_p", "'tools'"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_only_the_model_knows_is_400_too(
    demo_server: LiveServer, fields: dict[str, Any], param: str, words: str, stream: bool
) -> None:
    response = httpx.post(demo_server.url + URL, json=_body(stream=stream, **fields), timeout=60)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert words in response.json()["error"]["message"]


def test_calls_come_with_their_tokens_log_probabilities(demo_server: LiveServer) -> None:
    body = _body("What is localphi?", tools=[TOOL], tool_choice="required", logprobs=True, max_tokens=60)
    choice = httpx.post(demo_server.url + URL, json=body, timeout=60).json()["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "f"
    told = "".join(token["token"] for token in choice["logprobs"]["content"])
    assert '[{"name": "f", "arguments": {}' in told
