from __future__ import annotations

import mimetypes
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from localphi import create_app
from localphi.config import Settings
from localphi.models.manifest import load_manifest
from serving import DEMO, BufferedClient

FILE = "/models/localphi-demo/model.onnx.data"


def test_a_model_file_comes_whole_with_its_hash_as_etag(client: FlaskClient) -> None:
    response = client.get(FILE)
    entry = load_manifest(DEMO).files["model.onnx.data"]
    assert response.data == (DEMO / "model.onnx.data").read_bytes()
    assert response.headers["ETag"] == f'"{entry.sha256}"'
    assert response.content_length == entry.size


def test_a_range_resumes_a_download(client: FlaskClient) -> None:
    response = client.get(FILE, headers={"Range": "bytes=100-199"})
    whole = (DEMO / "model.onnx.data").read_bytes()
    assert response.status_code == 206
    assert response.data == whole[100:200]
    assert response.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"


def test_a_range_behind_the_end_is_416(client: FlaskClient) -> None:
    response = client.get(FILE, headers={"Range": "bytes=99999999999-"})
    assert response.status_code == 416
    assert response.headers["Content-Range"].startswith("bytes */")


@pytest.mark.parametrize("value", ["bytes=0-0,-1", "lines=1-2", "bytes=abc"])
def test_ranges_that_are_not_understood_are_passed_over(client: FlaskClient, value: str) -> None:
    assert client.get(FILE, headers={"Range": value}).status_code == 200


def test_if_range_with_another_version_gives_the_whole_file(client: FlaskClient) -> None:
    response = client.get(FILE, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert response.status_code == 200
    same = client.get(FILE, headers={"Range": "bytes=100-", "If-Range": response.headers["ETag"]})
    assert same.status_code == 206


def test_a_file_the_browser_has_is_not_sent_again(client: FlaskClient) -> None:
    etag = client.get(FILE).headers["ETag"]
    assert client.get(FILE, headers={"If-None-Match": etag}).status_code == 304


def test_an_address_with_the_hash_may_be_cached_for_ever_and_is_not_found_once_the_file_changed(
    client: FlaskClient,
) -> None:
    sha256 = load_manifest(DEMO).files["model.onnx.data"].sha256
    kept = client.get(f"{FILE}?v={sha256}", headers={"Range": "bytes=0-9"})
    assert kept.status_code == 206
    assert "immutable" in kept.headers["Cache-Control"]
    assert client.get(FILE).headers["Cache-Control"] == "no-cache"
    changed = client.get(f"{FILE}?v={'0' * 64}")
    assert changed.status_code == 404
    assert "has changed" in changed.get_json()["error"]["message"]


@pytest.mark.parametrize(
    "name", ["LICENSE", "../../../errors.py", "..%2f..%2fstore.py", "genai_config.json.bak"]
)
def test_only_files_of_the_manifest_are_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/models/localphi-demo/{name}").status_code == 404


def test_the_manifest_is_served_and_an_unknown_model_is_not(client: FlaskClient) -> None:
    assert client.get("/models/localphi-demo/localphi.json").get_json()["id"] == "localphi-demo"
    assert client.get("/models/nope/localphi.json").get_json()["error"]["code"] == "model_not_found"


def _page_client(settings: Settings, page_dir: Path) -> FlaskClient:
    app = create_app(replace(settings, page_dir=page_dir))
    app.test_client_class = BufferedClient
    return app.test_client()


def test_the_page_is_cross_origin_isolated_and_keeps_to_itself(
    echo_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<title>localphi</title>", encoding="utf-8")
    response = _page_client(echo_settings, tmp_path).get("/")
    assert b"localphi" in response.data
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "http" not in policy


def test_hashed_assets_are_kept_for_ever_and_the_page_is_not(echo_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "main-1234.js").write_text("1", encoding="utf-8")
    (tmp_path / "index.html").write_text("x", encoding="utf-8")
    client = _page_client(echo_settings, tmp_path)
    assert "immutable" in client.get("/assets/main-1234.js").headers["Cache-Control"]
    assert client.get("/").headers["Cache-Control"] == "no-cache"


def test_wasm_and_modules_have_the_types_browsers_insist_on(
    echo_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mimetypes.types_map, ".js", "text/plain")  # as some programs leave it on Windows
    for name in ("a.wasm", "a.mjs", "a.js", "a.svg"):
        (tmp_path / name).write_bytes(b"")
    client = _page_client(echo_settings, tmp_path)
    assert client.get("/a.wasm").mimetype == "application/wasm"
    assert client.get("/a.mjs").mimetype == "text/javascript"
    assert client.get("/a.js").mimetype == "text/javascript"
    assert client.get("/a.svg").mimetype == "image/svg+xml"


def test_a_missing_page_says_how_to_build_it(echo_settings: Settings, tmp_path: Path) -> None:
    response = _page_client(echo_settings, tmp_path / "none").get("/")
    assert response.status_code == 503
    assert "make serve" in response.get_json()["error"]["message"]


def test_a_path_out_of_the_page_folder_is_404(echo_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s", encoding="utf-8")
    (tmp_path / "page").mkdir()
    client = _page_client(echo_settings, tmp_path / "page")
    for path in ("/../secret", "/%2e%2e/secret", "/..%2fsecret"):
        assert client.get(path).status_code == 404


def test_a_link_out_of_the_model_folder_is_not_followed(demo_copy: Path, echo_settings: Settings) -> None:
    (demo_copy / "tokenizer.json").unlink()
    (demo_copy / "tokenizer.json").symlink_to(demo_copy.parent.parent / "secret")
    (demo_copy.parent.parent / "secret").write_text("s", encoding="utf-8")
    client = _page_client(echo_settings, demo_copy)
    assert client.get("/models/localphi-demo/tokenizer.json").status_code == 404
