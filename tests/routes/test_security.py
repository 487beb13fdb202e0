from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000"])
def test_loopback_names_are_served(client: FlaskClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""])
def test_a_name_that_was_rebound_to_this_machine_is_refused(client: FlaskClient, host: str) -> None:
    response = client.get("/healthz", headers={"Host": host})
    assert response.status_code == 403
    assert response.get_json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/models/localphi-demo/model.onnx",
        "/tokenize",
        "/detokenize",
        "/apply-template",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ],
)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://[", "http://localhost:1", "http://localhost:8000.x"]
)
def test_other_sites_may_not_use_any_route(client: FlaskClient, path: str, origin: str) -> None:
    headers = {"Host": "localhost:8000", "Origin": origin}
    assert client.post(path, headers=headers).status_code == 403
    assert client.get(path, headers=headers).status_code == 403


def test_the_page_itself_may(client: FlaskClient) -> None:
    headers = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_refusals_and_errors_carry_the_headers_too(client: FlaskClient) -> None:
    for response in (client.get("/nope"), client.get("/", headers={"Host": "evil.example"})):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in response.headers


def test_a_host_that_is_no_address_is_refused(app: Flask) -> None:
    statuses: list[str] = []
    environ = {"HTTP_HOST": "[::1", "REQUEST_METHOD": "GET", "PATH_INFO": "/healthz"}

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    app.wsgi_app(environ, start)
    assert statuses == ["403 Forbidden"]
