"""Every way a request can be wrong gives one clear error, before the first byte of an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from localphi.chat import Sampling
from localphi.models.manifest import load_manifest
from localphi.routes.schema import parse_body
from serving import DEMO, LiveServer

URL = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


def _error(client: FlaskClient, body: Any, status: int = 400) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(URL, data=data, content_type="application/json")
    assert response.status_code == status, response.text
    error = response.get_json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return dict(error)


@pytest.mark.parametrize("data", [b"", b"{bad", b"[1]", b"12", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(client: FlaskClient, data: bytes) -> None:
    assert "JSON" in _error(client, data)["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": HELLO * 1025}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [*HELLO, {"role": "alien", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1e9}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_tokens": "ten"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"seed": 2**31}, "seed"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 1.1}, "min_p"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"presence_penalty": False}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 11}, "repetition_penalty"),
        ({"logprobs": 5}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1.5": 1}}, "logit_bias"),
        ({"logit_bias": {"07": 1}}, "logit_bias"),
        ({"logit_bias": {"٣": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"logit_bias": {"7": 101}}, "logit_bias"),
        ({"logit_bias": {"7": "much"}}, "logit_bias"),
        ({"logit_bias": {"7": None}}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
        ({"stop": 3}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"model": 3}, "model"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, fields: dict[str, Any], param: str) -> None:
    error = _error(client, {"messages": HELLO, **fields})
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert f"'{param}'" in error["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("best_of", 2),
        ("min_tokens", 1),
        ("modalities", ["audio"]),
        ("function_call", {"name": "f"}),
    ],
)
def test_what_no_backend_can_do_is_refused_by_name(client: FlaskClient, name: str, value: Any) -> None:
    error = _error(client, {"messages": HELLO, name: value})
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")


def test_unused_and_unknown_fields_are_fine(client: FlaskClient) -> None:
    extra = {"n": 1, "tools": [], "logprobs": False, "top_logprobs": 0, "user": "me", "whatever": 1}
    response = client.post(URL, json={"messages": HELLO, **extra})
    assert response.status_code == 200


def test_an_unknown_model_is_404(client: FlaskClient) -> None:
    error = _error(client, {"model": "gpt-9", "messages": HELLO}, 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "localphi-demo" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_longer_than_the_context_is_400_with_both_numbers(client: FlaskClient, stream: bool) -> None:
    long = [{"role": "user", "content": "word " * 3000}]
    error = _error(client, {"messages": long, "stream": stream})
    assert error["code"] == "context_length_exceeded"
    assert (error["prompt_tokens"], error["context_length"]) == (3000, 2048)
    assert "3000" in error["message"]
    assert "2048" in error["message"]


def test_a_body_over_the_limit_is_refused(live_server: LiveServer) -> None:
    response = httpx.post(live_server.url + URL, content=b"x" * (4 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_unknown_paths_and_methods_answer_with_an_error_object(client: FlaskClient) -> None:
    assert client.get("/nope").get_json()["error"]["message"]
    assert client.get("/" + "a" * 300).status_code == 404
    refused = client.post("/v1/embeddings")
    assert refused.get_json()["error"]["message"]
    assert "GET" in refused.headers["Allow"]


def test_top_k_0_means_no_limit_whatever_the_model_prefers() -> None:
    manifest = load_manifest(DEMO)
    choosy = replace(manifest, sampling=replace(manifest.sampling, top_k=40))
    body = {"messages": HELLO}
    assert parse_body(json.dumps(body).encode()).to_request(choosy).sampling.top_k == 40
    assert parse_body(json.dumps({**body, "top_k": 0}).encode()).to_request(choosy).sampling.top_k == 0


def test_how_a_token_is_chosen_reaches_the_engine() -> None:
    fields = {
        "temperature": 0.5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": -2,
        "frequency_penalty": 2,
        "logit_bias": {"7": -100, "0": 0.5},
        "logprobs": True,
    }
    asked = parse_body(json.dumps({"messages": HELLO, **fields}).encode()).to_request(load_manifest(DEMO))
    assert asked.sampling == Sampling(0.5, 1.0, 0, None, 0.1, 1.1, -2, 2, ((7, -100.0), (0, 0.5)))
    assert asked.top_logprobs == 0
    plain = parse_body(json.dumps({"messages": HELLO}).encode()).to_request(load_manifest(DEMO))
    assert not plain.sampling.adjusts
    assert plain.top_logprobs is None
