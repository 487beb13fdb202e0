"""Ids of models and names of files never lead out of the store, however they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from flask.testing import FlaskClient

from localphi import create_app
from localphi.config import Settings
from serving import BufferedClient

SECRET = b"a secret of this machine"
UPWARDS = [
    "../secret", "../../secret", "..%2fsecret", "..%2f..%2fsecret", "%2e%2e/secret",
    "%2e%2e%2f%2e%2e%2fsecret", "..\\secret", "..%5csecret", "..%5c..%5csecret", "....//secret",
    "..;/secret", "..%00/secret", "secret%00", "%c0%ae%c0%ae/secret", "%e2%80%a5/secret", "．．/secret",
    "%ef%bc%8e%ef%bc%8e/secret", "..%c0%afsecret", "..%252fsecret", "%252e%252e%252fsecret",
    "./../secret", "x/../../secret", "~/secret", "~root/secret", "//secret", "/secret", "%2fsecret",
    "C:/secret", "C:%5csecret", "\\\\host\\secret", "file:///secret", "con", "nul", "aux.txt", "secret.",
    "secret%20", "localphi.json%00.txt", "localphi.json/", "localphi.json/..", "LOCALPHI.JSON",
    "localphi.json::$DATA", "a" * 300, "%0a", "%ff%fe", "",
]  # fmt: skip


@pytest.fixture
def client(demo_copy: Path, echo_settings: Settings, tmp_path: Path) -> Iterator[FlaskClient]:
    """A server whose store has secrets in it and above it, and a page with one beside it."""
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("page", encoding="utf-8")
    for folder in (demo_copy, *demo_copy.parents[:3], tmp_path.parent):
        (folder / "secret").write_bytes(SECRET)
    app = create_app(replace(echo_settings, home=demo_copy.parent.parent, page_dir=page))
    app.test_client_class = BufferedClient
    yield app.test_client()
    app.extensions["localphi"].close()
    (tmp_path.parent / "secret").unlink()


def _get(client: FlaskClient, path: str) -> tuple[int, bytes]:
    """As a server hands it over: decoded once, dots and slashes as they came."""
    decoded = unquote_to_bytes(path).decode("latin-1")
    response = client.get("/", environ_overrides={"PATH_INFO": decoded})
    return response.status_code, response.data


@pytest.mark.parametrize("name", UPWARDS)
def test_names_of_files_stay_in_the_model(client: FlaskClient, name: str) -> None:
    status, data = _get(client, f"/models/localphi-demo/{name}")
    assert status in (404, 308), data[:200]
    assert SECRET not in data


@pytest.mark.parametrize("name", UPWARDS)
def test_ids_of_models_are_those_of_the_store(client: FlaskClient, name: str) -> None:
    for path in (f"/v1/models/{name}", f"/models/{name}/localphi.json", f"/models/{name}/secret"):
        status, data = _get(client, path)
        assert status in (200, 404, 308), data[:200]
        assert SECRET not in data
        assert b'"id"' not in data or b"localphi-demo" in data


@pytest.mark.parametrize("name", [name for name in UPWARDS if name])
def test_a_model_of_a_request_is_no_path(client: FlaskClient, name: str) -> None:
    model = unquote_to_bytes(name).decode("utf-8", "surrogateescape")
    messages = {"messages": [{"role": "user", "content": "a"}]}
    for path, body in (
        ("/v1/chat/completions", messages),
        ("/apply-template", messages),
        ("/v1/completions", {"prompt": "a"}),
        ("/tokenize", {"content": "a"}),
        ("/detokenize", {"tokens": [1]}),
    ):
        response = client.post(path, json={"model": model, **body})
        assert response.status_code in (400, 404), (path, response.text)
        assert response.get_json()["error"]["param"] == "model"


def test_nor_is_the_folder_of_a_model(client: FlaskClient, demo_copy: Path) -> None:
    for model in (
        str(demo_copy),
        f"{demo_copy}/",
        "./localphi-demo",
        "../models/localphi-demo",
        "localphi-demo/",
    ):
        response = client.post("/tokenize", json={"model": model, "content": "a"})
        assert response.status_code == 404


@pytest.mark.parametrize("name", UPWARDS)
def test_names_of_files_stay_in_the_page(client: FlaskClient, name: str) -> None:
    for path in (f"/assets/{name}", f"/{name}"):
        status, data = _get(client, path)
        assert status in (404, 308) or (path, data) == ("/", b"page")
        assert SECRET not in data


@pytest.mark.parametrize("where", ["secret", "../secret", "../../secret", "/etc/hostname"])
def test_links_out_of_a_model_are_not_followed(client: FlaskClient, demo_copy: Path, where: str) -> None:
    target = Path(where) if where.startswith("/") else demo_copy / ".." / where
    (demo_copy / "tokenizer.json").unlink()
    (demo_copy / "tokenizer.json").symlink_to(os.path.relpath(target, demo_copy))
    assert _get(client, "/models/localphi-demo/tokenizer.json")[0] == 404
    (demo_copy / "tokenizer.json").unlink()
    (demo_copy / "tokenizer.json").symlink_to(target.absolute())
    assert _get(client, "/models/localphi-demo/tokenizer.json")[0] == 404


def test_a_folder_that_is_a_link_in_a_model_is_not_followed(client: FlaskClient, demo_copy: Path) -> None:
    manifest = demo_copy / "localphi.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"tokenizer.json"', '"sub/tokenizer.json"'), encoding="utf-8")
    outside = demo_copy.parent.parent / "outside"
    outside.mkdir()
    (demo_copy / "tokenizer.json").rename(outside / "tokenizer.json")
    (demo_copy / "sub").symlink_to(outside)
    assert _get(client, "/models/localphi-demo/localphi.json")[0] == 200
    assert _get(client, "/models/localphi-demo/sub/tokenizer.json")[0] == 404


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..\\secret", "a/../../secret", "C:\\x", "a\0b", ""]
)
def test_a_manifest_cannot_name_files_of_others(client: FlaskClient, demo_copy: Path, name: str) -> None:
    """A model that somebody was given, not one that we built."""
    path = demo_copy / "localphi.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["files"][name] = document["files"].pop("tokenizer.json")
    path.write_text(json.dumps(document), encoding="utf-8")
    for answer in (
        _get(client, f"/models/localphi-demo/{name}"),
        _get(client, "/models/localphi-demo/secret"),
    ):
        assert answer[0] in (308, 404, 503)
        assert SECRET not in answer[1]
