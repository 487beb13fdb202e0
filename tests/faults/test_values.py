"""Values at and beyond every limit: each is taken, or refused with 400, before native code sees it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from localphi import create_app
from localphi.config import Settings
from localphi.engine.client import EngineClient
from localphi.errors import InvalidRequest
from localphi.models.manifest import load_manifest
from localphi.routes.fields import MAX_DEPTH
from localphi.routes.forms import CHAT, TEXT, BodyForm
from localphi.routes.schema import chat_body, text_body
from serving import DEMO

HELLO = [{"role": "user", "content": "hello"}]
BODIES: dict[str, tuple[BodyForm, Any, dict[str, Any]]] = {
    "/v1/chat/completions": (CHAT, chat_body, {"messages": HELLO}),
    "/v1/completions": (TEXT, text_body, {"prompt": "hello"}),
}
EXTREMES: list[Any] = [
    math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0, 0, -1, 1, 0.5, 2**31 - 1, 2**31, 2**53, 2**63,
    -(2**63), 2**64, 10**400, True, False, "1", "", "NaN", "x" * 100_000, "\0", "\ud800", [], [1], [[]], {},
    {"a": 1}, [None], [math.nan], {"0": math.nan}, {"0": 1e308}, {str(2**64): 1}, {"": 1},
]  # fmt: skip


@pytest.fixture
def demo_app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app(Settings(home=tmp_path))
    yield app
    app.extensions["localphi"].close()


def _numbers(value: Any) -> list[float]:
    """Every number in a parsed request."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, int | float):
        return [value]
    items = value if isinstance(value, tuple) else vars(value).values()
    return [number for item in items for number in _numbers(item)]


@pytest.mark.parametrize("path", BODIES)
def test_no_field_lets_an_extreme_value_through(client: FlaskClient, path: str) -> None:
    """Every field that the description of the API knows, so that a new one is tried as well."""
    form, _, good = BODIES[path]
    for name in form.forms(load_manifest(DEMO)):
        for value in EXTREMES:
            body = {**good, "max_tokens": 1, name: value}
            response = client.post(path, data=json.dumps(body), content_type="application/json")
            assert response.status_code in (200, 400, 404), (name, value, response.text)


@pytest.mark.parametrize("path", BODIES)
def test_numbers_that_are_taken_are_finite_and_small(path: str) -> None:
    form, parse, good = BODIES[path]
    manifest = load_manifest(DEMO)
    taken = 0
    for name in form.forms(manifest):
        for value in EXTREMES:
            try:
                request = parse({**good, name: value}).to_request(manifest)
            except InvalidRequest:
                continue
            taken += 1
            for number in _numbers(request):
                assert math.isfinite(number), (name, value)
                assert -(2**31) <= number < 2**31, (name, value)
                assert type(number) in (int, float), "never true or false"
    assert taken > 50


def test_every_number_that_is_taken_is_fine_with_the_model(demo_app: Flask) -> None:
    """One of 5e-324 divided logits by nothing once."""
    client, manifest = demo_app.test_client(), load_manifest(DEMO)
    good = {"messages": HELLO, "max_tokens": 2, "logprobs": True}
    asked = 0
    for name, form in CHAT.forms(manifest).items():
        ends = [value for word in ("minimum", "maximum") if (value := (form or {}).get(word)) is not None]
        for value in [value for value in [*EXTREMES, *ends] if isinstance(value, int | float)]:
            try:
                chat_body({**good, name: value}).to_request(manifest)
            except InvalidRequest:
                continue
            for temperature in (0, 1, 5e-324):
                body = {"temperature": temperature, **good, name: value}
                response = client.post("/v1/chat/completions", json=body)
                assert response.status_code == 200, (body, response.text)
                assert "NaN" not in response.text
                asked += 1
    assert asked > 100


def test_minus_zero_is_zero(client: FlaskClient) -> None:
    for name in ("temperature", "presence_penalty", "min_p"):
        assert client.post("/v1/completions", json={"prompt": "a", name: -0.0}).status_code == 200


def _nested(depth: int) -> dict[str, Any]:
    value: Any = {}
    for _ in range(depth):
        value = [value]
    return {"messages": HELLO, "metadata": value}


@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 990, 100_000])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_deep_json_is_400_in_every_field(client: FlaskClient, depth: int, opens: str, closes: str) -> None:
    deep = opens * depth + "1" + closes * depth
    for name in ("metadata", "messages", "tools", "response_format", "logit_bias", "stop", "n", "model"):
        text = f'{{"messages": {json.dumps(HELLO)}, "{name}": {deep}}}'
        response = client.post("/v1/chat/completions", data=text)
        assert response.status_code == 400, name
        assert "nested deeper" in response.get_json()["error"]["message"]


def test_what_is_just_not_too_deep_is_fine(client: FlaskClient) -> None:
    assert client.post("/v1/chat/completions", json=_nested(MAX_DEPTH - 2)).status_code == 200
    assert client.post("/v1/chat/completions", json=_nested(MAX_DEPTH - 1)).status_code == 400


@pytest.mark.parametrize(
    "text",
    [
        '{"messages": [' + '{"role": "user", "content": "a"},' * 60_000 + "0]}",
        '{"a": ' + "9" * 1_000_000 + "}",
        '{"a": 1e' + "9" * 1_000_000 + "}",
        '{"messages": ' + "[]," * 1000 + "[]}",
        '{"messages": [' + "[]," * 1_000_000 + "[]]}",
        "{" + ",".join(f'"k{number}": 0' for number in range(200_000)) + "}",
        '{"stop": ["' + "\\u0000" * 100_000 + '"], "messages": []}',
        '{"model": "' + "a" * 3_000_000 + '", "messages": []}',
    ],
    ids=range(8),
)
def test_large_bodies_are_refused_in_short(client: FlaskClient, text: str) -> None:
    response = client.post("/v1/chat/completions", data=text)
    assert response.status_code == 400, response.text[:300]
    assert len(response.data) < 2000


@pytest.mark.parametrize(
    "data",
    [b"\xff", b'{"messages": "\xff\xfe"}', b'{"a": "\xc3"}', b'{"a": "\xed\xa0\x80"}', b"\x00",
     b"\xef\xbb\xbf{", '{"a": 1}'.encode("utf-16"), '{"messages": []}'.encode("utf-32")],
)  # fmt: skip
def test_bytes_that_are_no_text_are_400(client: FlaskClient, data: bytes) -> None:
    for path in ("/v1/chat/completions", "/tokenize", "/detokenize", "/apply-template", "/v1/completions"):
        assert client.post(path, data=data).status_code == 400


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\0", "\u202e", "\ufeff", "\U0010ffff", "\u2028"])
def test_odd_characters_are_answered_in_every_text(client: FlaskClient, text: str) -> None:
    bodies: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": f"{text} hi"}]},
        {"messages": [{"role": "system", "content": text}, *HELLO]},
        {"messages": HELLO, "stop": [text]},
        {"messages": HELLO, "user": text, text: text},
    ]
    for body in bodies:
        assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert client.post("/v1/chat/completions", json={"model": text, "messages": HELLO}).status_code == 404
    assert client.post("/tokenize", json={"content": text}).status_code == 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "input_image", "image_url": "https://example.com/x.png"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "text", "text": {"url": "http://127.0.0.1"}},
    ],
)
def test_addresses_of_clients_are_never_fetched(client: FlaskClient, part: dict[str, Any]) -> None:
    """No part but text is taken, so that there is nothing that could be."""
    body = {"messages": [{"role": "user", "content": [part]}]}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "messages[0].content[0]"


def test_a_reference_to_another_document_in_a_schema_is_not_fetched(demo_app: Flask) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/schema.json"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"messages": HELLO, "response_format": wanted}
    response = demo_app.test_client().post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert "$ref" in response.get_json()["error"]["message"]


def test_a_refused_request_never_reaches_the_engine(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a bad request got as far as the engine")

    monkeypatch.setattr(EngineClient, "submit", never)
    for name, value in (("temperature", math.nan), ("top_p", 1e308), ("seed", 2**63), ("max_tokens", True)):
        data = json.dumps({"messages": HELLO, name: value})
        assert client.post("/v1/chat/completions", data=data).status_code == 400
