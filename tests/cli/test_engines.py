"""localphi ps, load and stop against a running server."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from localphi.cli import main
from localphi.config import Settings
from serving import LiveServer, kill_until_it_fails


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_model_is_loaded_listed_and_stopped(live_server: LiveServer) -> None:
    at = ("--url", live_server.url + "/")
    code, output = _run("ps", *at)
    assert (code, output.splitlines()[0].split()[:2]) == (0, ["MODEL", "STATUS"])
    assert "localphi-demo" not in output
    assert _run("load", "localphi-demo", *at) == (0, "localphi-demo is loading.\n")
    deadline = time.monotonic() + 30
    while "loaded" not in (output := _run("ps", *at)[1]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    row = output.splitlines()[1]
    assert row.split()[:3] == ["localphi-demo", "loaded", "echo"]
    assert " MB " in row
    assert row.endswith("in 15 min")
    assert "GB together." in output
    (engine,) = json.loads(_run("ps", "--json", *at)[1])["engines"]
    assert engine["id"] == "localphi-demo"
    assert _run("stop", "localphi-demo", *at) == (0, "localphi-demo is not loaded any more.\n")
    assert "localphi-demo" not in _run("ps", *at)[1]


def test_a_failed_model_is_listed_with_the_reason(live_server: LiveServer) -> None:
    engine = live_server.engines.get("localphi-demo")
    engine.decode((1,))
    kill_until_it_fails(engine)
    code, output = _run("ps", "--url", live_server.url)
    assert code == 0
    assert "failed" in output.splitlines()[1]
    assert "ended unexpectedly" in output


@pytest.mark.parametrize("command", [["load", "nope"], ["stop", "nope"], ["stop", "../x"], ["load", "a b?"]])
def test_what_the_server_refuses_is_one_sentence(live_server: LiveServer, command: list[str]) -> None:
    code, output = _run(*command, "--url", live_server.url)
    assert code == 1
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that is not localphi."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def do_POST(self) -> None:
            self.send_error(418)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_no_localphi_is_told(stranger: str) -> None:
    assert _run("ps", "--url", stranger) == (1, f"Error: What answers at {stranger} is not localphi.\n")
    assert "it says 418" in _run("stop", "x", "--url", stranger)[1]
    code, output = _run("ps", "--url", "http://127.0.0.1:9")
    assert (code, "localphi serve" in output) == (1, True)
    assert "must begin with http" in _run("ps", "--url", "file:///etc/passwd")[1]


@pytest.mark.parametrize(
    ("text", "wanted"), [("12GB", 12 * 10**9), ("800 mb", 8 * 10**8), ("1.5g", 15 * 10**8)]
)
def test_a_memory_budget_is_a_size(text: str, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []
    monkeypatch.setattr("localphi.server.serve", lambda settings, *_: given.append(settings))
    code, _ = _run("serve", "--memory-budget", text, "--idle-unload", "0", "--max-requests", "64")
    assert code == 0
    (settings,) = given
    assert (settings.memory_budget_bytes, settings.idle_unload_s, settings.max_requests) == (wanted, 0, 64)


@pytest.mark.parametrize("text", ["12", "GB", "-1GB", "0GB", "1TB", "1e3GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    code, output = _run("serve", "--memory-budget", text)
    assert code == 2
    assert "no size such as 800MB or 12GB" in output
