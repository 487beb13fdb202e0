"""Requests that name a LoRA adapter, over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from localphi import create_app
from localphi.config import Settings
from localphi.models.adapters import AdapterInfo, AdapterStore, base_of
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelFolder
from lora_files import matrices, module_sizes, write_peft
from serving import DEMO, BufferedClient

pytest.importorskip("safetensors", reason="safetensors is not installed (extra 'quantize')")

from localphi.toolchain.adapters.convert import convert_adapter

CHAT, MODEL = "/v1/chat/completions", "localphi-demo"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A server with the demo model and two adapters, "one" and "two"."""
    home = tmp_path_factory.mktemp("adapters")
    demo = ModelFolder(DEMO, load_manifest(DEMO), bundled=True)
    for seed, name in enumerate(("one", "two")):
        peft = write_peft(home / f"peft-{name}", matrices(module_sizes(DEMO), seed, strength=0.1))
        convert_adapter(AdapterStore(home), demo, peft, name)
    app = create_app(Settings(home=home))
    app.test_client_class = BufferedClient
    yield app.test_client()
    app.extensions["localphi"].close()


def _text(client: FlaskClient, **fields: Any) -> str:
    body = {"messages": [{"role": "user", "content": "What is WebGPU?"}], "max_tokens": 20, **fields}
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.get_json()
    return str(response.get_json()["choices"][0]["message"]["content"])


def test_each_request_is_answered_with_the_adapter_that_it_names(client: FlaskClient) -> None:
    base = _text(client)
    one, two = (_text(client, adapter=name) for name in ("one", "two"))
    assert len({base, one, two}) == 3
    assert _text(client, model=f"{MODEL}:one") == one
    assert _text(client, model=f"{MODEL}:two", adapter="two") == two
    assert _text(client, model=MODEL) == base
    assert _text(client, adapter="one", temperature=1, seed=1, top_k=1) == one


def test_text_completions_and_responses_take_them_too(client: FlaskClient) -> None:
    def text(**fields: Any) -> str:
        body = {"prompt": "WebGPU is", "max_tokens": 12, **fields}
        return str(client.post("/v1/completions", json=body).get_json()["choices"][0]["text"])

    assert text(adapter="one") == text(model=f"{MODEL}:one") != text()
    body = {"input": "What is WebGPU?", "max_output_tokens": 16}
    plain, adapted = (
        client.post("/v1/responses", json={**body, **fields}).get_json()["output"][0]["content"][0]["text"]
        for fields in ({}, {"model": f"{MODEL}:one"})
    )
    assert plain != adapted


def test_the_answer_says_what_made_it_and_models_are_listed_with_their_adapters(client: FlaskClient) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "adapter": "one"}
    assert client.post(CHAT, json=body).get_json()["model"] == f"{MODEL}:one"
    listed = [model["id"] for model in client.get("/v1/models").get_json()["data"]]
    assert listed == [MODEL, f"{MODEL}:one", f"{MODEL}:two"]
    assert client.get(f"/v1/models/{MODEL}:two").get_json()["id"] == f"{MODEL}:two"
    assert client.get(f"/v1/models/{MODEL}:three").status_code == 404


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"adapter": "three"}, 404, "has no adapter 'three'. It has one, two."),
        ({"model": f"{MODEL}:three"}, 404, "has no adapter 'three'"),
        ({"adapter": "../one"}, 404, "has no adapter '../one'"),
        ({"adapter": ""}, 400, "'adapter' must be"),
        ({"adapter": 7}, 400, "'adapter' must be"),
        ({"adapter": "x" * 65}, 400, "'adapter' must be"),
        ({"model": f"{MODEL}:"}, 400, "Behind the ':'"),
        ({"model": f"{MODEL}:one", "adapter": "two"}, 400, "'model' names the adapter 'one'"),
        ({"model": "nope:one"}, 404, "no model 'nope'"),
    ],
    ids=str,
)
def test_what_is_not_there_is_told(
    client: FlaskClient, fields: dict[str, Any], status: int, message: str
) -> None:
    response = client.post(CHAT, json={"messages": [{"role": "user", "content": "hi"}], **fields})
    assert response.status_code == status
    assert message in response.get_json()["error"]["message"]
    assert _text(client, adapter="one"), "the worker is as it was"


def test_the_files_of_adapters_are_listed_and_sent_with_their_hash(client: FlaskClient) -> None:
    listed = client.get(f"/adapters/{MODEL}").get_json()["adapters"]
    assert [each["name"] for each in listed] == ["one", "two"]
    assert {each["base"] for each in listed} == {base_of(load_manifest(DEMO))}
    one = listed[0]
    address = f"/adapters/{MODEL}/one"
    sent = client.get(f"{address}?v={one['sha256']}")
    assert hashlib.sha256(sent.data).hexdigest() == one["sha256"]
    assert sent.headers["ETag"] == f'"{one["sha256"]}"'
    assert "immutable" in sent.headers["Cache-Control"]
    assert client.get(address).headers["Cache-Control"] == "no-cache"
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, sent.data[10:20])
    changed = client.get(f"{address}?v={'0' * 64}")
    assert changed.status_code == 404
    assert "The adapter 'one' of 'localphi-demo' has changed" in changed.get_json()["error"]["message"]


def test_files_of_adapters_that_are_not_there_or_another_models_are_not_sent(
    client: FlaskClient, tmp_path: Path
) -> None:
    for path, code in (("nope", "model_not_found"), (f"{MODEL}/three", "adapter_not_found")):
        response = client.get(f"/adapters/{path}")
        assert (response.status_code, response.get_json()["error"]["code"]) == (404, code)
    for name in ("..", "..%2fone", "%00", "one%2fadapter.json", ".partial-1-one"):
        assert client.get(f"/adapters/{MODEL}/{name}").status_code == 404
    other = tmp_path / "adapters" / MODEL / "other"
    other.mkdir(parents=True)
    (other / "adapter.onnx_adapter").write_bytes(b"x")
    info = AdapterInfo(MODEL, base="0" * 64, rank=1, sites=1, parameters=2, sha256="0" * 64, source="x")
    (other / "adapter.json").write_text(json.dumps(asdict(info)), encoding="utf-8")
    app = create_app(Settings(home=tmp_path, backend="echo"))
    refused = app.test_client().get(f"/adapters/{MODEL}/other")
    app.extensions["localphi"].close()
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "adapter_invalid")
    assert "other weights than those of 'localphi-demo'" in refused.get_json()["error"]["message"]


def test_an_echo_takes_none(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, backend="echo"))
    app.test_client_class = BufferedClient
    body = {"messages": [{"role": "user", "content": "hi"}], "adapter": "one"}
    response = app.test_client().post(CHAT, json=body)
    app.extensions["localphi"].close()
    assert (response.status_code, response.get_json()["error"]["param"]) == (400, "adapter")
