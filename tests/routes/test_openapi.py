"""/openapi.json: a valid document that says what the routes and parsers do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from localphi.models.manifest import load_manifest
from localphi.routes import forms, responses_forms
from localphi.routes.forms import REFUSED, BodyForm
from localphi.routes.survey import Survey
from serving import DEMO

JSON = "application/json"
CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
HELLO = [{"role": "user", "content": "hello"}]
SAMPLES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO},
    TEXT: {"prompt": "one"},
    RESPONSES: {"input": "hello"},
    "/apply-template": {"messages": HELLO},
    "/tokenize": {"content": "one"},
    "/detokenize": {"tokens": [1]},
}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    return dict(response.get_json())


def _body(document: dict[str, Any], path: str) -> dict[str, Any]:
    return dict(document["paths"][path]["post"]["requestBody"]["content"][JSON]["schema"])


def _accepts(document: dict[str, Any], path: str, body: Any) -> bool:
    return bool(Draft202012Validator(_body(document, path)).is_valid(body))


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    untyped: Any = document  # its validator wants any hashable keys
    validator = OpenAPIV31SpecValidator(untyped)
    assert [error.message for error in validator.iter_errors()] == []


def test_every_route_but_the_pages_is_in_the_document(app: Flask, document: dict[str, Any]) -> None:
    missing = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule) not in document["paths"]
    }
    assert missing == {"/", "/bench", "/<path:name>"}


def test_every_method_of_a_route_is_in_the_document(app: Flask, document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        rules = [
            rule
            for rule in app.url_map.iter_rules()
            if re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule) == path
        ]
        methods = {method.lower() for rule in rules for method in rule.methods or ()}
        assert set(operations) == methods - {"head", "options"}


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(set(names)) == len(names)


class _Spy(dict[str, Any]):
    """Remembers every field it was asked for."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


@pytest.mark.parametrize(
    ("path", "form"), [(CHAT, forms.CHAT), (TEXT, forms.TEXT), (RESPONSES, responses_forms.RESPONSES)]
)
def test_every_field_that_is_read_is_in_the_document(
    document: dict[str, Any], path: str, form: BodyForm
) -> None:
    spy = _Spy(SAMPLES[path])
    form.parse(spy, load_manifest(DEMO))
    properties = _body(document, path)["properties"]
    assert spy.asked == set(properties)
    assert {"temperature", "top_p", "stop", "stream", "model", "n"} <= spy.asked


@pytest.mark.parametrize("path", SAMPLES)
def test_every_field_has_a_form(document: dict[str, Any], path: str) -> None:
    properties = _body(document, path)["properties"]
    assert [name for name, form in properties.items() if not form] == [], "give it one in forms.py"


def _fields(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in SAMPLES:
        for name, form in _body(document, path)["properties"].items():
            yield path, name, form


def test_every_refused_field_is_refused_by_name(client: FlaskClient, document: dict[str, Any]) -> None:
    refused = [(path, name, form) for path, name, form in _fields(document) if form.get(REFUSED)]
    assert {
        (CHAT, "min_tokens"),
        (TEXT, "suffix"),
        (RESPONSES, "background"),
        ("/apply-template", "min_tokens"),
    } <= {(path, name) for path, name, _ in refused}
    for path, name, form in refused:
        response = client.post(path, json={**SAMPLES[path], name: {"used": 1}})
        assert response.status_code == 400, (path, name)
        error = response.get_json()["error"]
        assert (error["param"], error["code"]) == (name, "unsupported_parameter")
        for unused in form["enum"]:
            response = client.post(path, json={**SAMPLES[path], name: unused})
            assert response.status_code == 200, (path, name, unused)


def _numbers(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, name, form in _fields(document):
        if "maximum" in form:
            yield path, name, form


def test_the_limits_of_numbers_are_those_of_the_parsers(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    found = list(_numbers(document))
    assert {"temperature", "top_p", "top_k", "seed", "max_tokens"} <= {name for _, name, _ in found}
    for path, name, form in found:
        sample = {**SAMPLES[path], "logprobs": True} if name == "top_logprobs" else SAMPLES[path]
        is_open, high = "exclusiveMinimum" in form, form["maximum"]
        low = form["exclusiveMinimum" if is_open else "minimum"]
        too_low = low if is_open else low - 1
        for value in (too_low, high + 1, "text", True):
            response = client.post(path, json={**sample, name: value})
            assert response.status_code == 400, (path, name, value)
            assert response.get_json()["error"]["param"] == name
            assert not _accepts(document, path, {**sample, name: value})
        for value in (high, *(() if is_open else (low,)), None):
            response = client.post(path, json={**sample, name: value})
            assert response.status_code == 200, (path, name, value, response.text)
            assert _accepts(document, path, {**sample, name: value})


TOOL = {"type": "function", "function": {"name": "now"}}
CALL = {"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CALLED = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
PART = {"type": "input_text", "text": "x"}
REFUSAL = {"type": "refusal", "refusal": "no"}
ITEM = {"type": "function_call", "call_id": "a", "name": "now", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "noon"}
NESTED: list[tuple[str, dict[str, Any], bool]] = [
    (CHAT, {"messages": []}, False),
    (CHAT, {"messages": HELLO * 1025}, False),
    (CHAT, {"messages": HELLO * 1024}, True),
    (CHAT, {"messages": "hello"}, False),
    (CHAT, {"messages": ["hello"]}, False),
    (CHAT, {"messages": [{"role": "alien", "content": "x"}]}, False),
    (CHAT, {"messages": [{"role": "developer", "content": "x"}]}, True),
    (CHAT, {"messages": [{"role": "user"}]}, False),
    (CHAT, {"messages": [{"role": "user", "content": 3}]}, False),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, True),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, False),
    (CHAT, {"messages": [*HELLO, {"role": "assistant"}]}, True),
    (CHAT, {"messages": [*HELLO, {"role": "assistant", "tool_calls": [{"id": "a"}]}]}, False),
    (CHAT, {"messages": [*CALLED, {"role": "tool", "content": "1", "tool_call_id": "a"}]}, True),
    (CHAT, {"messages": [*CALLED, {"role": "tool", "content": "1"}]}, False),
    (CHAT, {"messages": [*CALLED, {"role": "tool", "content": "1", "tool_call_id": ""}]}, False),
    (CHAT, {"stop": "x"}, True),
    (CHAT, {"stop": ["x"] * 16}, True),
    (CHAT, {"stop": ["x"] * 17}, False),
    (CHAT, {"stop": [""]}, False),
    (CHAT, {"stop": "x" * 1025}, False),
    (CHAT, {"stop": 3}, False),
    (CHAT, {"model": 3}, False),
    (CHAT, {"model": "localphi-demo"}, True),
    (CHAT, {"stream_options": {"include_usage": True}}, True),
    (CHAT, {"stream_options": {"include_usage": 1}}, False),
    (CHAT, {"stream_options": []}, False),
    ("/apply-template", {"tools": [TOOL]}, True),
    ("/apply-template", {"tools": [TOOL], "tool_choice": "required"}, True),
    ("/apply-template", {"tools": [TOOL], "tool_choice": TOOL}, True),
    ("/apply-template", {"tools": [TOOL], "tool_choice": "maybe"}, False),
    ("/apply-template", {"tools": [{"type": "custom"}]}, False),
    ("/apply-template", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, False),
    ("/apply-template", {"tools": [{"type": "function", "function": {"name": "a", "strict": 1}}]}, False),
    (
        "/apply-template",
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
        False,
    ),
    ("/apply-template", {"tools": {}}, False),
    ("/apply-template", {"response_format": {"type": "json_object"}}, True),
    ("/apply-template", {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, True),
    ("/apply-template", {"response_format": {"type": "json_schema"}}, False),
    ("/apply-template", {"response_format": {"type": "yaml"}}, False),
    (CHAT, {"n": 2, "best_of": 9}, False),
    (CHAT, {"n": 2, "best_of": 2}, True),
    (CHAT, {"return_progress": True}, True),
    (CHAT, {"return_progress": "yes"}, False),
    (TEXT, {"prompt": [1, 2]}, True),
    (TEXT, {"prompt": [[1, 2]]}, True),
    (TEXT, {"prompt": ["one"]}, True),
    (TEXT, {"prompt": ["one", "two"]}, False),
    (TEXT, {"prompt": [[1], [2]]}, False),
    (TEXT, {"prompt": ""}, False),
    (TEXT, {"prompt": []}, False),
    (TEXT, {"prompt": [""]}, False),
    (TEXT, {"prompt": [[]]}, False),
    (TEXT, {"prompt": [-1]}, False),
    (TEXT, {"prompt": None}, False),
    (RESPONSES, {"input": None}, False),
    (RESPONSES, {"input": []}, False),
    (RESPONSES, {"input": HELLO}, True),
    (RESPONSES, {"input": HELLO * 1024}, True),
    (RESPONSES, {"input": HELLO * 1025}, False),
    (RESPONSES, {"input": ["hello"]}, False),
    (RESPONSES, {"input": [{"role": "tool", "content": "x"}]}, False),
    (RESPONSES, {"input": [{"role": "user"}]}, False),
    (RESPONSES, {"input": [{"type": "message", "role": "user", "content": [PART]}]}, True),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, False),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, False),
    (RESPONSES, {"input": [{"role": "assistant", "content": [REFUSAL]}, *HELLO]}, True),
    (RESPONSES, {"input": [{"role": "assistant", "content": [{"type": "refusal"}]}]}, False),
    (RESPONSES, {"input": [{"type": "item_reference", "id": "x"}]}, False),
    (RESPONSES, {"input": [ITEM, {**RESULT, "output": [PART]}]}, True),
    (RESPONSES, {"input": [ITEM, {**RESULT, "output": None}]}, False),
    (RESPONSES, {"input": [ITEM, {**RESULT, "call_id": ""}]}, False),
    (RESPONSES, {"input": [{**ITEM, "name": "a b"}, RESULT]}, False),
    (RESPONSES, {"input": [{**ITEM, "arguments": {}}, RESULT]}, False),
    (RESPONSES, {"instructions": "Be brief."}, True),
    (RESPONSES, {"instructions": ["Be brief."]}, False),
    (RESPONSES, {"store": True}, True),
    (RESPONSES, {"store": "no"}, False),
    (RESPONSES, {"metadata": {"a": "b"}}, True),
    (RESPONSES, {"metadata": {"a": 1}}, False),
    (RESPONSES, {"metadata": {str(number): "x" for number in range(17)}}, False),
    (RESPONSES, {"include": ["reasoning.encrypted_content"]}, True),
    (RESPONSES, {"include": ["everything"]}, False),
    (RESPONSES, {"include": "message.output_text.logprobs"}, False),
    (RESPONSES, {"text": {"format": {"type": "text"}, "verbosity": "low"}}, True),
    (RESPONSES, {"text": "short"}, False),
    (RESPONSES, {"text": {"format": {"type": "yaml"}}}, False),
    (RESPONSES, {"text": {"format": {"type": "json_schema"}}}, False),
    (RESPONSES, {"tools": {}}, False),
    (RESPONSES, {"tools": [{"type": "web_search"}]}, False),
    (RESPONSES, {"tools": [{"type": "function"}]}, False),
    (RESPONSES, {"tools": [{"type": "function", "name": "a", "strict": 1}]}, False),
    (RESPONSES, {"tools": [{"type": "function", "name": "a", "parameters": []}]}, False),
    (RESPONSES, {"tool_choice": "maybe"}, False),
    (RESPONSES, {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, False),
    ("/tokenize", {"content": None}, False),
    ("/tokenize", {"content": "x" * (128 * 1024 + 1)}, False),
    ("/detokenize", {"tokens": []}, True),
    ("/detokenize", {"tokens": [-1]}, False),
    ("/detokenize", {"tokens": ["a"]}, False),
]


@pytest.mark.parametrize(
    ("path", "fields", "good"),
    NESTED,
    ids=[f"{path} {json.dumps(fields)[:70]}" for path, fields, _ in NESTED],
)
def test_the_document_and_the_parsers_agree(
    client: FlaskClient, document: dict[str, Any], path: str, fields: dict[str, Any], good: bool
) -> None:
    body = {**SAMPLES[path], **fields}
    assert _accepts(document, path, body) is good
    assert client.post(path, json=body).status_code == (200 if good else 400)


@pytest.mark.parametrize("path", SAMPLES)
def test_a_body_without_what_must_be_there_is_refused_by_both(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    assert _body(document, path)["required"] == list(SAMPLES[path])
    for example in _body(document, path)["examples"]:
        assert _accepts(document, path, example)
    assert client.post(path, json={}).status_code == 400


def _assert_described(document: dict[str, Any], path: str, method: str, response: Any) -> None:
    described = document["paths"][path][method]["responses"][str(response.status_code)]
    schema = described["content"][JSON]["schema"]
    validator = Draft202012Validator({**schema, "components": document["components"]})
    assert [error.message for error in validator.iter_errors(response.get_json())] == []


@pytest.mark.parametrize("path", SAMPLES)
def test_answers_and_errors_are_as_described(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    for body, status in (
        (SAMPLES[path], 200),
        ({}, 400),
        ({**SAMPLES[path], "model": "nope"}, 404),
    ):
        response = client.post(path, json=body)
        assert response.status_code == status
        _assert_described(document, path, "post", response)
    refused = client.post(path, json=SAMPLES[path], headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    _assert_described(document, path, "post", refused)


def test_tokens_with_pieces_are_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    response = client.post("/tokenize", json={"content": "one two", "with_pieces": True})
    _assert_described(document, "/tokenize", "post", response)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/openapi.json"])
def test_what_can_be_got_is_as_described(client: FlaskClient, document: dict[str, Any], path: str) -> None:
    _assert_described(document, path, "get", client.get(path))


def test_one_model_is_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    for model, status in (("localphi-demo", 200), ("nope", 404)):
        response = client.get(f"/v1/models/{model}")
        assert response.status_code == status
        _assert_described(document, "/v1/models/{model_id}", "get", response)


def test_a_server_that_is_not_ready_says_so_as_described(
    app: Flask, client: FlaskClient, document: dict[str, Any]
) -> None:
    app.extensions["localphi"].close()
    _assert_described(document, "/readyz", "get", client.get("/readyz"))


def test_limits_that_depend_on_the_model_are_those_of_the_one_that_is_served(
    document: dict[str, Any],
) -> None:
    assert _body(document, CHAT)["properties"]["max_tokens"]["maximum"] == load_manifest(DEMO).context_length


def test_a_survey_reads_as_the_body_it_stands_for() -> None:
    survey = Survey({"a": 1})
    assert (survey.get("a"), survey.get("b"), survey.get("c", 3)) == (1, None, 3)
    assert survey.forms == {"a": None, "b": None, "c": None}
