"""/engines: what is loaded, and loading and unloading by hand."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from localphi import create_app
from localphi.chat import ChatRequest, Message
from localphi.config import Settings
from localphi.errors import RequestAbandoned
from serving import BufferedClient

CHAT = "/v1/chat/completions"
DEMO = "localphi-demo"


def _wait_until_loaded(client: FlaskClient) -> None:
    deadline = time.monotonic() + 30
    while client.get("/engines").get_json()["engines"][0]["status"] != "loaded":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_model_is_loaded_shown_and_unloaded(client: FlaskClient) -> None:
    document = client.get("/engines").get_json()
    assert document["engines"] == []
    assert document["memory_budget_bytes"] > 0
    loading = client.post(f"/engines/{DEMO}/load")
    assert (loading.status_code, loading.get_json()["status"]) == (200, "loading")
    _wait_until_loaded(client)
    (engine,) = client.get("/engines").get_json()["engines"]
    assert (engine["id"], engine["backend"], engine["error"]) == (DEMO, "echo", None)
    assert engine["memory_bytes"] > 10**7
    assert 890 < engine["unloads_in_s"] <= 900
    unloaded = client.post(f"/engines/{DEMO}/unload")
    assert (unloaded.status_code, unloaded.get_json()["status"]) == (200, "idle")
    assert client.get("/engines").get_json()["engines"] == []
    assert client.post(f"/engines/{DEMO}/unload").status_code == 200, "twice is once"


def test_the_document_is_what_the_api_says(client: FlaskClient) -> None:
    client.post(f"/engines/{DEMO}/load")
    (engine,) = client.get("/engines").get_json()["engines"]
    schema = client.get("/openapi.json").get_json()["components"]["schemas"]["Engine"]
    assert set(engine) == set(schema["required"])


def test_a_model_at_work_is_not_unloaded(app: Flask, client: FlaskClient) -> None:
    engine = app.extensions["localphi"].get(DEMO)
    client.post(CHAT, json={"messages": [{"role": "user", "content": "hi"}]})
    refusals = []

    def unload_in_between() -> bool:
        refusals.append(client.post(f"/engines/{DEMO}/unload"))
        (shown,) = client.get("/engines").get_json()["engines"]
        assert shown["active"] + shown["waiting"] == 1
        assert (shown["idle_s"], shown["unloads_in_s"]) == (None, None)
        return True

    os.kill(engine.worker_pid, signal.SIGSTOP)
    try:
        with pytest.raises(RequestAbandoned):
            engine.submit(ChatRequest((Message("user", "hi"),)), unload_in_between)
    finally:
        os.kill(engine.worker_pid, signal.SIGCONT)
    (refused,) = refusals
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (409, "model_in_use")
    assert client.post(f"/engines/{DEMO}/unload").status_code == 200


@pytest.mark.parametrize("action", ["load", "unload"])
def test_other_pages_cannot_load_or_unload(client: FlaskClient, action: str) -> None:
    path = f"/engines/{DEMO}/{action}"
    foreign = client.post(path, headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.get_json()["error"]["code"]) == (403, "forbidden")
    assert client.get(path).status_code == 404, "a link or an image cannot do it either"
    assert client.post(path, headers={"Origin": "http://localhost"}).status_code == 200


@pytest.mark.parametrize("action", ["load", "unload"])
def test_an_unknown_model_is_404(client: FlaskClient, action: str) -> None:
    response = client.post(f"/engines/nope/{action}")
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, "model_not_found")
    assert client.post(f"/engines/..%2F..%2Fetc/{action}").status_code in (404, 405)


def test_a_model_beyond_the_budget_is_told_everywhere(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, backend="echo", memory_budget_bytes=10**8))
    app.test_client_class = BufferedClient
    client = app.test_client()
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    for response in (
        client.post(f"/engines/{DEMO}/load"),
        client.post(CHAT, json=chat),
        client.post(CHAT, json={**chat, "stream": True}),
        client.get("/readyz"),
    ):
        assert response.status_code == 503
        assert response.get_json()["error"]["code"] == "model_too_large"
    app.extensions["localphi"].close()
