"""Who may ask: keys on every route, names of the server, pages of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from flask import Flask, jsonify, request
from flask.testing import FlaskClient
from openai import AuthenticationError, OpenAI

from localphi import create_app
from localphi.config import Settings
from localphi.errors import KeysUnusable, ServerStartFailed
from localphi.keys import KeyStore
from localphi.security import CLIENT, MAX_URL_CHARS
from route_map import PUBLIC, routes
from serving import BufferedClient, serving

KEY, OTHER = "sk-this-is-the-secret-key", "sk-this-is-another-secret-key"
PAGE = "https://app.example"

Make = Callable[..., FlaskClient]


@pytest.fixture
def make(echo_settings: Settings, tmp_path: Path) -> Iterator[Make]:
    """A client of an application with a page and with the given settings."""
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    for name in ("index.html", "logo.svg", "assets/main-12.js"):
        (page / name).write_text("x", encoding="utf-8")
    (page / ".secret").write_text("x", encoding="utf-8")
    (tmp_path / "outside").write_text("x", encoding="utf-8")
    apps: list[Flask] = []

    def made(**settings: Any) -> FlaskClient:
        app = create_app(replace(echo_settings, page_dir=page, **settings))
        apps.append(app)
        app.test_client_class = BufferedClient
        return app.test_client()

    yield made
    for app in apps:
        app.extensions["localphi"].close()


@pytest.fixture
def closed(make: Make) -> FlaskClient:
    return make(api_keys=f"alice:{KEY},{OTHER}")


def test_every_route_wants_a_key_but_for_the_page_and_the_probes(closed: FlaskClient) -> None:
    for method, path in routes(closed.application):
        response = closed.open(path, method=method)
        public = path in PUBLIC and method in ("GET", "HEAD")
        assert (response.status_code == 401) is not public, (method, path)
        if not public:
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="localphi"'
        if not public and method != "HEAD":
            error = response.get_json()["error"]
            assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MOVE", "x"])
def test_methods_and_paths_that_no_route_has_want_a_key_too(closed: FlaskClient, method: str) -> None:
    for path in ("/v1/models", "/nope", "/v1", "/admin", "/V1/MODELS"):
        assert closed.open(path, method=method).status_code == 401


@pytest.mark.parametrize("path", ["/", "/logo.svg", "/assets/main-12.js", "/healthz", "/readyz"])
def test_the_page_and_the_probes_are_public(closed: FlaskClient, path: str) -> None:
    assert closed.get(path).status_code == 200
    assert closed.head(path).status_code == 200
    assert closed.post(path).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["//v1/models", "/v1//models", "/./v1/models", "/assets/../v1/models", "/assets/..%2fv1/models",
     "/%76%31/models", "/v1/models/", "/v1/models%00", "/v1/models;x=/logo.svg", "/logo.svg/../v1/models",
     "/v1\\models", "/..\\outside", "/%2e%2e/outside", "/.secret", "/healthz/../v1/models", "/healthz/",
     "/healthz%2f..%2fv1%2fmodels", "/logo.svg%00", "/%e2%80%aelogo.svg", "/logo.svg%0a", "/logo.svg/", ""],
)  # fmt: skip
def test_no_way_of_writing_a_path_gets_around_the_key(closed: FlaskClient, path: str) -> None:
    decoded = unquote_to_bytes(path).decode("latin-1")  # as WSGI servers hand it over
    response = closed.get("/", environ_overrides={"PATH_INFO": decoded})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "name", ["v1/models", "metrics", "openapi.json", "models/localphi-demo/localphi.json"]
)
def test_a_file_of_the_page_does_not_open_a_route_of_its_name(make: Make, tmp_path: Path, name: str) -> None:
    file = tmp_path / "page" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x", encoding="utf-8")
    assert make(api_keys=KEY).get(f"/{name}").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer   {KEY}"},
        {"X-Api-Key": KEY},
        {"X-Api-Key": KEY, "Authorization": f"Bearer {KEY}"},
        {"X-Api-Key": KEY, "Authorization": "Basic YTpi"},  # of a proxy in front
        {"Authorization": f"Bearer {OTHER}"},
    ],
)
def test_a_key_opens_in_either_header(closed: FlaskClient, headers: dict[str, str]) -> None:
    assert closed.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer "},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY.upper()}"},
        {"Authorization": f"Bearer {KEY}, Bearer {OTHER}"},  # what two headers become
        {"Authorization": f"Bearer {KEY} {OTHER}"},
        {"Authorization": f"Bearer{KEY}"},
        {"Authorization": f"Bearer {'x' * 20_000}"},
        {"X-Api-Key": ""},
        {"X-Api-Key": f"{KEY},{KEY}"},
        {"X-Api-Key": "ÿþ" * 10},
        {"X-Api-Key": OTHER, "Authorization": f"Bearer {KEY}"},
        {"X-Api-Key": "nonsense-of-some-length", "Authorization": f"Bearer {KEY}"},
        {"Api-Key": KEY},
        {"Cookie": f"key={KEY}"},
    ],
)
def test_anything_else_does_not(closed: FlaskClient, headers: dict[str, str]) -> None:
    response = closed.get("/v1/models", headers=headers)
    assert response.status_code == 401
    assert KEY not in response.text
    assert closed.get(f"/v1/models?api_key={KEY}", headers=headers).status_code == 401


def test_a_wrong_key_is_told_apart_from_none(closed: FlaskClient) -> None:
    response = closed.get("/v1/models", headers={"Authorization": "Bearer sk-wrong-wrong-wrong"})
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert "not known" in response.get_json()["error"]["message"]
    assert "wrong-wrong" not in response.text


def test_a_wrong_key_is_401_before_anything_else_is_looked_at(closed: FlaskClient) -> None:
    for body in (b"{bad", b'{"model": "gpt-9"}'):
        assert closed.post("/v1/chat/completions", data=body).status_code == 401


def test_probes_say_less_without_a_key(closed: FlaskClient) -> None:
    assert closed.get("/readyz").get_json() == {"status": "ready"}
    with_key = closed.get("/readyz", headers={"X-Api-Key": KEY}).get_json()
    assert with_key["model"] == "localphi-demo"
    closed.application.extensions["localphi"].close()
    response = closed.get("/readyz")
    assert (response.status_code, response.get_json()["error"]["code"]) == (503, "stopping")
    assert "With an access key" in response.get_json()["error"]["message"]


def test_the_openai_client_knows_the_refusal(echo_settings: Settings) -> None:
    with serving(replace(echo_settings, api_keys=KEY)) as server:
        with OpenAI(base_url=f"{server.url}/v1", api_key="wrong-wrong-wrong-wrong") as client:
            with pytest.raises(AuthenticationError) as caught:
                client.models.list()
            assert caught.value.code == "invalid_api_key"
        with OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
            assert client.models.list().data[0].id == "localphi-demo"


def test_a_key_works_as_soon_as_it_is_made_and_no_longer_than_it_is_there(make: Make, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "home")
    client = make()
    assert client.get("/v1/models").status_code == 200
    headers = {"Authorization": f"Bearer {store.new('alice')}"}
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers=headers).status_code == 200
    store.remove("alice")
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_routes_are_told_who_asks(make: Make) -> None:
    def asked_by(client: FlaskClient, **headers: str) -> Any:
        client.application.add_url_rule("/who", view_func=lambda: jsonify(request.environ[CLIENT]))
        return client.get("/who", headers={"X-Forwarded-For": "9.9.9.9", **headers}).get_json()

    assert asked_by(make(api_keys=f"alice:{KEY}"), **{"X-Api-Key": KEY}) == "alice"
    assert asked_by(make()) == "127.0.0.1"


def test_keys_come_from_a_file(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# ours\nbob:{KEY}\n", encoding="utf-8")
    assert make(key_file=file).get("/metrics", headers={"X-Api-Key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("data", "said"), [(None, "No such file"), (b"", "no access key"), (b"\xff", "UTF-8")]
)
def test_a_file_without_keys_does_not_open_the_server(
    make: Make, tmp_path: Path, data: bytes | None, said: str
) -> None:
    file = tmp_path / "keys.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(KeysUnusable, match=said):
        make(key_file=file)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": ""},
        {"host": "192.168.1.7"},
        {"host": "fe80::1"},
        {"host": "phi.example"},
        {"allow_hosts": ("phi.example",)},
        {"allow_hosts": ("192.168.1.7",)},
    ],
)
def test_others_are_let_in_only_with_keys(make: Make, settings: dict[str, Any]) -> None:
    with pytest.raises(ServerStartFailed, match="localphi keys new"):
        make(**settings)
    assert make(**settings, api_keys=KEY).get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("settings", "host", "known"),
    [
        ({}, "localhost", True),
        ({}, "LOCALHOST:8000", True),
        ({}, "[::1]:1", True),
        ({}, "[0:0:0:0:0:0:0:1]", True),
        ({}, "192.168.1.7:8000", False),
        ({"host": "127.0.0.2"}, "127.0.0.2:8000", True),
        ({}, "127.0.0.2:8000", False),
        ({"host": "192.168.1.7"}, "192.168.1.7:8000", True),
        ({"host": "192.168.1.7"}, "192.168.1.8:8000", False),
        ({"host": "192.168.1.7"}, "evil.example", False),
        ({"host": "0.0.0.0"}, "192.168.1.8:8000", True),
        ({"host": "::"}, "[fe80::1]:8000", True),
        ({"host": "0.0.0.0"}, "evil.example", False),
        ({"host": "0.0.0.0"}, "192.168.1.8.evil.example", False),
        ({"host": "0.0.0.0", "allow_hosts": ("Phi.Example",)}, "phi.example", True),
        ({"allow_hosts": ("phi.example",)}, "x.phi.example", False),
        ({}, "localhost, evil.example", False),  # what two headers become
        ({}, "evil.example@localhost", False),
        ({}, "localhost@evil.example", False),
        ({}, "localhost:80:80", False),
        ({}, "localhost/x", False),
        ({}, "localhost\x00", False),
        ({}, "", False),
    ],
)
def test_the_server_knows_its_own_names(make: Make, settings: dict[str, Any], host: str, known: bool) -> None:
    client = make(**settings, api_keys=KEY)
    for path in ("/healthz", "/", "/v1/models"):
        status = client.get(path, headers={"Host": host, "X-Api-Key": KEY}).status_code
        assert status == (200 if known else 403)


@pytest.mark.parametrize("name", ["", "*", "*.example", "http://phi.example", "phi.example:80", "a b", "a/b"])
def test_a_name_that_could_never_match_is_refused_at_the_start(make: Make, name: str) -> None:
    with pytest.raises(ServerStartFailed, match="--allow-host"):
        make(allow_hosts=(name,), api_keys=KEY)


@pytest.mark.parametrize(
    "origin", ["*", "null", "", "app.example", "https://app.example/", "https://*.example"]
)
def test_an_origin_that_is_none_is_refused_at_the_start(make: Make, origin: str) -> None:
    with pytest.raises(ServerStartFailed, match="--allow-origin"):
        make(allow_origins=(origin,))


def test_all_of_host_origin_and_key_must_be_right(make: Make) -> None:
    client = make(api_keys=KEY, allow_origins=(PAGE,), allow_hosts=("phi.example",))
    hosts = {"localhost:8000": True, "phi.example": True, "evil.example": False, "": False}
    origins = {None: True, PAGE: True, "https://evil.example": False, "null": False, f"{PAGE}:444": False}
    keys = {KEY: True, "wrong-wrong-wrong-wrong": False, None: False}
    for host, good_host in hosts.items():
        for origin, good_origin in origins.items():
            for key, good_key in keys.items():
                headers = {"Host": host}
                headers |= {} if origin is None else {"Origin": origin}
                headers |= {} if key is None else {"X-Api-Key": key}
                wanted = 403 if not (good_host and good_origin) else 200 if good_key else 401
                for method, path in (("GET", "/v1/models"), ("POST", "/tokenize")):
                    response = client.open(path, method=method, headers=headers, json={"content": "a"})
                    assert response.status_code == wanted, headers
                    allowed = response.headers.get("Access-Control-Allow-Origin")
                    assert allowed == (PAGE if origin == PAGE else None)
                    assert "Access-Control-Allow-Credentials" not in response.headers


PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
}


def test_a_preflight_of_an_allowed_page_needs_no_key(make: Make) -> None:
    client = make(api_keys=KEY, allow_origins=(PAGE,))
    response = client.options("/v1/chat/completions", headers=PREFLIGHT)
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_what_is_no_list_of_headers_is_not_said_again(make: Make) -> None:
    headers = {**PREFLIGHT, "Access-Control-Request-Headers": "a\tb<script>"}
    response = make(allow_origins=(PAGE,)).options("/tokenize", headers=headers)
    assert "Access-Control-Allow-Headers" not in response.headers


def test_without_allowed_pages_nothing_of_cors_is_there(make: Make) -> None:
    client = make()
    for headers in (PREFLIGHT, {**PREFLIGHT, "Origin": "http://localhost", "Host": "localhost"}):
        response = client.options("/v1/chat/completions", headers=headers)
        assert not any(name.startswith("Access-Control") for name in dict(response.headers))
        assert "Vary" not in response.headers


def test_images_of_other_pages_reach_no_route_and_links_do(make: Make) -> None:
    client = make()

    def status(site: str, mode: str) -> int:
        return client.get("/readyz", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}).status_code

    assert status("cross-site", "no-cors") == status("same-site", "no-cors") == 403
    assert (
        status("cross-site", "navigate") == status("same-origin", "cors") == status("none", "navigate") == 200
    )


def test_an_address_that_is_too_long_is_414(make: Make) -> None:
    response = make().get("/" + "a" * MAX_URL_CHARS)
    assert response.status_code == 414
    assert str(MAX_URL_CHARS) in response.get_json()["error"]["message"]
    assert make().get("/v1/models?" + "a" * MAX_URL_CHARS).status_code == 414


def test_a_streamed_answer_wants_the_key_too(echo_settings: Settings) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    with serving(replace(echo_settings, api_keys=KEY)) as server:
        url = f"{server.url}/v1/chat/completions"
        assert httpx.post(url, json=body).status_code == 401
        answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        assert answer.text.endswith("data: [DONE]\n\n")
