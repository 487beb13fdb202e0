"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from localphi import create_app
from localphi.config import Settings
from localphi.engine import restarts
from localphi.engine.client import Engine, EngineClient
from serving import BufferedClient, LiveServer, kill_until_it_fails, serving

CHAT = "/v1/chat/completions"
MODEL = {"model": "localphi-demo"}


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def _chat(client: FlaskClient, text: str, **fields: Any) -> Any:
    return client.post(CHAT, json={"messages": [{"role": "user", "content": text}], **fields})


def _client(app: Flask) -> FlaskClient:
    app.test_client_class = BufferedClient
    return app.test_client()


def _engine(app: Flask) -> EngineClient:
    engine = app.extensions["localphi"].get("localphi-demo")
    assert isinstance(engine, EngineClient)
    return engine


def _kill(engine: Engine) -> None:
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, signal.SIGKILL)
    _wait_for(lambda: engine.state.status == "failed")


def test_a_server_is_ready_before_and_after_its_model_is_loaded(client: FlaskClient) -> None:
    ready = {"status": "ready", **MODEL}
    assert client.get("/readyz").get_json() == {**ready, "worker": "idle"}
    _chat(client, "hi")
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()) == (200, {**ready, "worker": "loaded"})


def test_a_killed_worker_is_told_once_and_started_again(app: Flask, client: FlaskClient) -> None:
    _chat(client, "hi")
    _kill(_engine(app))
    response = client.get("/readyz")
    assert response.status_code == 503
    document = response.get_json()
    assert (document["status"], document["error"]["code"]) == ("not ready", "worker_died")
    assert "-9" in document["error"]["message"]
    assert client.get("/readyz").get_json()["worker"] == "loading"
    _wait_for(lambda: client.get("/readyz").get_json().get("worker") == "loaded")
    assert client.get("/healthz").status_code == 200


def test_a_backend_that_the_model_has_no_files_for_is_not_ready(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, backend="openvino"))
    response = _client(app).get("/readyz")
    assert response.status_code == 503
    assert "localphi convert" in response.get_json()["error"]["message"]


def test_a_model_that_cannot_be_loaded_is_not_ready(demo_copy: Path) -> None:
    app = create_app(Settings(home=demo_copy.parent.parent))
    client = _client(app)
    whole = (demo_copy / "model.onnx").read_bytes()
    (demo_copy / "model.onnx").unlink()
    missing = client.get("/readyz")
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (503, "model_damaged")
    (demo_copy / "model.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert client.get("/readyz").get_json()["worker"] == "idle", "its bytes are read when it is loaded"
    _engine(app).start()
    _wait_for(lambda: client.get("/readyz").status_code == 503)
    assert "SHA-256" in client.get("/readyz").get_json()["error"]["message"]
    app.extensions["localphi"].close()


def test_a_model_for_browsers_only_is_not_ready(demo_copy: Path) -> None:
    path = demo_copy / "localphi.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["variants"]["server-cpu"]
    path.write_text(json.dumps(document), encoding="utf-8")
    response = _client(create_app(Settings(home=demo_copy.parent.parent))).get("/readyz")
    assert response.status_code == 503
    assert "only for the browser" in response.get_json()["error"]["message"]


def test_a_server_that_is_being_stopped_is_not_ready(app: Flask, client: FlaskClient) -> None:
    app.extensions["localphi"].close()
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["error"]["code"]) == (503, "stopping")


def _samples(text: str) -> dict[tuple[str, ...], float]:
    """By name and values of the labels, in the labels' order."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _metrics(client: FlaskClient) -> dict[tuple[str, ...], float]:
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    return _samples(response.text)


def test_an_answer_moves_the_numbers(client: FlaskClient) -> None:
    before = _metrics(client)
    assert not [name for name, *_ in before if "tokens" in name], "no model was asked so far"
    _chat(client, "one two three")
    _chat(client, "one two three", stream=True, max_tokens=2)
    client.post("/v1/completions", json={"prompt": "one two three"})
    numbers = _metrics(client)
    demo = "localphi-demo"
    assert numbers["localphi_http_requests_total", CHAT, "200"] == 2
    assert numbers["localphi_http_requests_total", "/v1/completions", "200"] == 1
    assert numbers["localphi_http_request_seconds_count", CHAT] == 2
    assert numbers["localphi_prompt_tokens_total", demo] == 9
    assert numbers["localphi_generated_tokens_total", demo] == 3 + 2 + 3
    assert numbers["localphi_answers_total", "stop", demo] == 2
    assert numbers["localphi_answers_total", "length", demo] == 1
    for histogram in ("localphi_time_to_first_token_seconds", "localphi_answer_seconds"):
        assert numbers[f"{histogram}_count", demo] == 3
        assert 0 < numbers[f"{histogram}_sum", demo] < 600
    assert numbers["localphi_model_loaded", demo] == 1


def test_waiting_loads_and_deaths_are_counted(app: Flask, client: FlaskClient) -> None:
    demo = "localphi-demo"
    _chat(client, "hi")
    _kill(_engine(app))
    _chat(client, "hi", stream=True)
    client.post(f"/engines/{demo}/unload")
    numbers = _metrics(client)
    assert numbers["localphi_queue_seconds_count", demo] == 2
    assert 0 < numbers["localphi_queue_seconds_sum", demo] < 60
    assert numbers["localphi_model_loads_total", demo] == 2
    assert numbers["localphi_model_unloads_total", demo] == 1
    assert numbers["localphi_worker_restarts_total", demo] == 0, "nobody was waiting when it died"


def test_a_model_that_measures_its_speed_is_counted_with_it(demo_server: LiveServer) -> None:
    body = {"messages": [{"role": "user", "content": "What is localphi?"}]}
    name = ("localphi_decode_tokens_per_second_count", "localphi-demo")
    before = _samples(httpx.get(demo_server.url + "/metrics").text).get(name, 0)
    usage = httpx.post(demo_server.url + CHAT, json=body, timeout=60).json()["usage"]
    numbers = _samples(httpx.get(demo_server.url + "/metrics").text)
    assert numbers[name] == before + 1
    assert numbers["localphi_generated_tokens_total", "localphi-demo"] >= usage["completion_tokens"]


def test_failures_are_counted_by_route_and_status(client: FlaskClient) -> None:
    client.post(CHAT, json={})
    client.get("/v1/models/nope")
    client.get("/models/nope/secret")
    client.put(CHAT)
    numbers = _metrics(client)
    assert numbers["localphi_http_requests_total", CHAT, "400"] == 1
    assert numbers["localphi_http_requests_total", "/v1/models/<model_id>", "404"] == 1
    assert numbers["localphi_http_requests_total", "/models/<model_id>/<path:name>", "404"] == 1
    assert numbers["localphi_http_requests_total", "none", "405"] == 1


def test_nothing_that_a_client_makes_up_becomes_a_label(client: FlaskClient) -> None:
    secret = "Xylophone"
    _chat(client, secret, user=secret, stop=secret)
    _chat(client, "hi", model=secret)
    client.get(f"/{secret}")
    client.get(f"/models/{secret}/{secret}")
    client.open(
        "/healthz", method=secret.upper(), headers={"User-Agent": secret, "Forwarded": f"for={secret}"}
    )
    text = client.get("/metrics").text
    assert secret.lower() not in text.lower()
    assert "127.0.0.1" not in text


def test_applications_count_for_themselves(client: FlaskClient, echo_settings: Settings) -> None:
    other = create_app(echo_settings)
    _chat(client, "hi")
    numbers = _metrics(_client(other))
    assert ("localphi_http_requests_total", CHAT, "200") not in numbers


def test_waiting_and_active_requests_are_told_apart(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    engine.decode((1,))
    pid = engine.worker_pid
    assert pid is not None

    def numbers() -> tuple[float, float]:
        found = _samples(httpx.get(live_server.url + "/metrics").text)
        return found["localphi_active_answers", "localphi-demo"], found[
            "localphi_queue_length", "localphi-demo"
        ]

    body = {"messages": [{"role": "user", "content": "word " * 1000}]}
    asking = threading.Thread(target=httpx.post, args=(live_server.url + CHAT,), kwargs={"json": body})
    os.kill(pid, signal.SIGSTOP)
    try:
        asking.start()
        _wait_for(lambda: numbers() == (0, 1))
    finally:
        os.kill(pid, signal.SIGCONT)
    asking.join()
    _wait_for(lambda: numbers() == (0, 0))


@pytest.mark.parametrize(
    ("end", "cut"), [("abandoned", lambda engine: None), ("failed", kill_until_it_fails)]
)
def test_an_answer_that_is_cut_short_is_counted_with_its_tokens(
    tmp_path: Path,
    end: str,
    cut: Callable[[Engine], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The demo takes most of a second for these tokens; an echo would be done before it is cut."""
    monkeypatch.setattr(restarts, "_FIRST_PAUSE_S", 0.0)
    messages = [{"role": "user", "content": "Say more."}]
    body = {"messages": messages, "stream": True, "max_tokens": 1500, "ignore_eos": True}
    with serving(Settings(home=tmp_path)) as server:
        engine = server.engines.get("localphi-demo")
        with httpx.stream("POST", server.url + CHAT, json=body, timeout=60) as response:
            next(lines := response.iter_lines())
            cut(engine)
            if end == "failed":  # it is told to who is still there
                list(lines)
        _wait_for(lambda: engine.held == 0)
        numbers = _samples(httpx.get(server.url + "/metrics").text)
    assert ("localphi_answers_total", end, "localphi-demo") in numbers
    assert numbers["localphi_generated_tokens_total", "localphi-demo"] < 1500
