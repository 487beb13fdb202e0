"""Plugins and documents that the server runs for its page: told, called, refused, bounded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from localphi import create_app
from localphi.chat import ServerTool
from localphi.cli import main
from localphi.cli.serve_tools import server_tools
from localphi.config import Settings
from localphi.errors import LocalphiError
from serving import BufferedClient

pytest.importorskip("semantic_kernel", reason="Semantic Kernel is not installed (extra 'agents')")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "rent.md").write_text("# Rent\n\nThe rent is due in June.\n")
    (folder / "long.txt").write_text("word " * 50_000)
    return folder


@pytest.fixture(scope="module")
def tools(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerTool, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALPHI_HOME", str(tmp_path_factory.mktemp("home")))
        with server_tools((f"files:{folder}", "math"), str(folder), None) as made:
            yield made


@pytest.fixture
def server(echo_settings: Settings, tools: tuple[ServerTool, ...]) -> Iterator[FlaskClient]:
    app = create_app(echo_settings, tools=tools)
    app.test_client_class = BufferedClient
    yield app.test_client()
    app.extensions["localphi"].close()


def call(server: FlaskClient, name: str, **arguments: object) -> tuple[int, str]:
    response = server.post(f"/tools/{name}", json={"arguments": arguments})
    answer = response.get_json()
    return response.status_code, answer.get("result") or answer["error"]["message"]


def test_they_are_told_with_their_parameters(server: FlaskClient) -> None:
    told = {tool["name"]: tool for tool in server.get("/tools").get_json()["tools"]}
    assert {"files-read_file", "files-search_files", "docs-search", "math-calculate"} <= set(told)
    assert told["docs-search"]["description"].startswith("Search the user's documents")
    assert told["docs-search"]["parameters"]["required"] == ["query"]


def test_they_are_called_and_say_what_the_model_reads(server: FlaskClient) -> None:
    assert call(server, "math-calculate", expression="6 * 7") == (200, "42")
    status, text = call(server, "files-read_file", path="rent.md")
    assert (status, "due in June" in text) == (200, True)
    status, text = call(server, "docs-search", query="When is the rent due?")
    assert (status, '"source": "rent.md, Rent"' in text) == (200, True)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("files-read_file", {"path": "../secret"}, "is not in the folder"),
        ("math-calculate", {"expression": "1 / 0"}, "zero"),
        ("docs-search", {"query": " "}, "query is empty"),
        ("math-calculate", {}, "expression"),
    ],
)
def test_what_fails_is_a_sentence_for_the_model(
    server: FlaskClient, name: str, arguments: dict[str, object], says: str
) -> None:
    status, sentence = call(server, name, **arguments)
    assert status == 422
    assert says in sentence
    assert "\n" not in sentence


def test_long_results_are_cut(server: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localphi.cli.serve_tools._MAX_CHARS", 10)
    _, text = call(server, "files-read_file", path="rent.md")
    assert text.startswith("# Rent")
    assert text.endswith("characters more)")


def test_what_is_not_there_or_no_call_is_refused(server: FlaskClient, client: FlaskClient) -> None:
    status, sentence = call(server, "files-write_file", path="x")
    assert (status, "no tool 'files-write_file'" in sentence) == (404, True)
    for body in (b"", b"{}", b'{"arguments": []}', b"[]"):
        assert server.post("/tools/math-calculate", data=body).status_code == 400
    assert client.get("/tools").get_json() == {"tools": []}  # a server that was told of none
    assert call(client, "math-calculate", expression="1") == (
        404,
        "This server has no tool 'math-calculate'. It has: none.",
    )


def test_bad_options_are_one_sentence_before_anything_is_served(tmp_path: Path) -> None:
    for arguments, says in (
        (["--plugin", "shell"], "--plugin is time, math, units or files:FOLDER"),
        (["--plugin", f"files:{tmp_path / 'gone'}"], "--plugin files:"),
        (["--docs", str(tmp_path / "gone")], "--docs: "),
        (["--embeddings", "x"], "name their folder with --docs"),
    ):
        result = CliRunner().invoke(main, ["serve", *arguments])
        assert (result.exit_code != 0, says in result.output) == (True, True), result.output
        assert "Traceback" not in result.output


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "semantic_kernel", None)
    result = CliRunner().invoke(main, ["serve", "--plugin", "math"])
    assert result.exit_code == 1
    assert "'localphi serve --plugin' needs more than is installed" in result.output
    assert "pip install 'localphi[agents]'" in result.output


def test_documents_that_cannot_be_had_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(LocalphiError, match="is none"), server_tools((), str(tmp_path / "gone"), None):
        raise AssertionError("never entered")
