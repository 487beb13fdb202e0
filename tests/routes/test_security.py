"""What holds for every route: its names, its headers, and what cannot be done at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from localphi.config import Settings
from route_map import routes
from serving import LiveServer


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000"])
def test_loopback_names_are_served(client: FlaskClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""])
def test_a_name_that_was_rebound_to_this_machine_is_refused(client: FlaskClient, host: str) -> None:
    response = client.get("/healthz", headers={"Host": host})
    assert response.status_code == 403
    assert response.get_json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://[", "http://localhost:1", "http://localhost:8000.x"]
)
def test_other_sites_may_not_use_any_route(client: FlaskClient, origin: str) -> None:
    headers = {"Host": "localhost:8000", "Origin": origin}
    for method, path in [*routes(client.application), ("GET", "/logo.svg"), ("POST", "/nope")]:
        assert client.open(path, method=method, headers=headers).status_code == 403, (method, path)


def test_the_page_itself_may(client: FlaskClient) -> None:
    headers = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
    assert client.get("/v1/models", headers=headers).status_code == 200


HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def _check_headers(response: TestResponse) -> None:
    for name, value in HEADERS.items():
        assert response.headers.getlist(name) == [value]
    (policy,) = response.headers.getlist("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; ")
    assert "frame-ancestors 'none'" in policy
    assert response.headers["Cache-Control"]
    assert "Server" not in response.headers
    assert not any(name.startswith("Access-Control") for name, _ in response.headers)


def test_every_route_answers_with_the_headers(client: FlaskClient) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "content": "hi", "tokens": [1]}
    for method, path in routes(client.application):
        _check_headers(client.open(path, method=method, json=body if method == "POST" else None))


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/nope", "GET", {}, 404),
        ("/v1/models", "DELETE", {}, 405),
        ("/v1/models", "OPTIONS", {}, 200),
        ("/v1/chat/completions", "POST", {}, 400),
        ("/", "GET", {"Host": "evil.example"}, 403),
        ("/" + "a" * 9000, "GET", {}, 414),
        ("/models/localphi-demo/model.onnx", "GET", {"Range": "bytes=0-9"}, 206),
        ("/models/localphi-demo/model.onnx", "GET", {"Range": "bytes=99999999999-"}, 416),
    ],
)
def test_refusals_and_errors_carry_the_headers_too(
    client: FlaskClient, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    response = client.open(path, method=method, headers=headers)
    assert response.status_code == status
    _check_headers(response)


def test_a_fault_of_ours_carries_the_headers_too(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localphi.models.store.ModelStore.folders", lambda _: 1 // 0)
    response = client.get("/v1/models")
    assert response.status_code == 500
    _check_headers(response)


def test_answers_are_not_kept_by_caches(client: FlaskClient) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert client.post("/v1/chat/completions", json=body).headers["Cache-Control"] == "no-store"
    assert client.get("/v1/models").headers["Cache-Control"] == "no-store"


def test_the_server_does_not_say_what_it_is_made_of(live_server: LiveServer) -> None:
    assert "Server" not in httpx.get(live_server.url + "/healthz").headers


def test_nothing_can_be_changed_or_uploaded_but_by_posts_that_are_known(app: Flask) -> None:
    """A new route that takes a body has to be thought about here first."""
    takes_body = {path for method, path in routes(app) if method not in ("GET", "HEAD")}
    assert takes_body == {
        "/v1/chat/completions",
        "/v1/completions",
        "/tokenize",
        "/detokenize",
        "/apply-template",
        "/pulls/x",
        "/tools/x",
        "/v1/responses",
        "/v1/streams/x",
        "/engines/localphi-demo/load",
        "/engines/localphi-demo/unload",
    }
    assert {method for method, _ in routes(app)} == {"GET", "HEAD", "POST", "DELETE"}


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_models_are_not_uploaded_over_http(client: FlaskClient, method: str, echo_settings: Settings) -> None:
    for path in ("/models/localphi-demo/model.onnx", "/models/new/localphi.json", "/v1/models/localphi-demo"):
        assert client.open(path, method=method, data=b"x").status_code in (404, 405)
    assert not (echo_settings.home / "models").exists()


def test_a_host_that_is_no_address_is_refused(app: Flask) -> None:
    statuses: list[str] = []
    environ = {"HTTP_HOST": "[::1", "REQUEST_METHOD": "GET", "PATH_INFO": "/healthz"}

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    app.wsgi_app(environ, start)
    assert statuses == ["403 Forbidden"]
