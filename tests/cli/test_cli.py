from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from localphi.cli import main
from localphi.config import Settings
from localphi.server import page_url, who_may_ask


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def _run(*arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["ps"],
        ["load"],
        ["stop"],
        ["chat"],
        ["models"],
        ["models", "repair"],
        ["models", "pull"],
        ["doctor"],
        ["bench"],
    ],
)
def test_help_is_there_for_every_command(command: list[str]) -> None:
    code, output = _run(*command, "--help")
    assert code == 0
    assert "Usage:" in output


def test_models_are_listed_shown_and_verified(home: Path) -> None:
    assert "localphi-demo" in _run("models", "list")[1]
    assert json.loads(_run("models", "list", "--json")[1])[0]["bundled"] is True
    assert "2048 tokens" in _run("models", "show", "localphi-demo")[1]
    code, output = _run("models", "verify")
    assert (code, "are whole" in output) == (0, True)


def test_damage_is_named_and_repaired(home: Path, demo_copy: Path) -> None:
    (demo_copy / "tokenizer.json").write_text("{}", encoding="utf-8")
    code, output = _run("models", "verify", "localphi-demo")
    assert code == 1
    assert "tokenizer.json" in output
    assert f"localphi models repair {demo_copy}" in output
    assert "tokenizer.json is repaired" in _run("models", "repair", "localphi-demo")[1]
    assert "nothing to repair" in _run("models", "repair", "localphi-demo")[1]


@pytest.mark.parametrize(
    "command", [["models", "show", "nope"], ["chat", "--model", "nope", "hi"], ["serve", "--model", "nope"]]
)
def test_an_unknown_model_is_one_sentence(home: Path, command: list[str]) -> None:
    code, output = _run(*command)
    assert code == 1
    assert output.startswith("Error: There is no model 'nope'")


def test_a_missing_model_folder_is_named(home: Path, tmp_path: Path) -> None:
    code, output = _run("serve", "--model", str(tmp_path / "gone"))
    assert code == 1
    assert str(tmp_path / "gone") in output


def test_a_bad_environment_variable_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPHI_THREADS", "many")
    code, output = _run("models", "list")
    assert code == 1
    assert "LOCALPHI_THREADS" in output


def test_a_home_that_cannot_be_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", "~nobody-of-that-name/x")
    code, output = _run("models", "list")
    assert code == 1
    assert "LOCALPHI_HOME" in output


@pytest.mark.parametrize(
    "options",
    [["--host", "0.0.0.0"], ["--host", "phi.example"], ["--allow-host", "phi.example"]],
)
def test_others_are_not_served_without_keys(home: Path, options: list[str]) -> None:
    code, output = _run("serve", *options)
    assert code == 1
    assert "this machine only" in output
    assert "localphi keys new NAME" in output


def test_what_cannot_be_right_about_access_is_told_at_the_start(home: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("short\n", encoding="utf-8")
    for options, said in (
        (["--api-key-file", str(tmp_path / "keys.txt")], "Key 1 of"),
        (["--api-key-file", str(tmp_path / "none.txt")], "cannot be read"),
        (["--allow-origin", "*"], "one exact origin"),
        (["--allow-host", "http://phi.example"], "no scheme"),
    ):
        code, output = _run("serve", *options)
        assert (code, said in output) == (1, True), output


def test_who_may_ask_is_said_at_the_start(tmp_path: Path) -> None:
    keys = "alice:sk-this-is-the-secret-key"
    assert who_may_ask(Settings(home=tmp_path)) == "Nothing leaves this machine."
    assert who_may_ask(Settings(home=tmp_path, api_keys=keys)) == "It wants an access key (alice)."
    open_to_others = who_may_ask(Settings(home=tmp_path, host="0.0.0.0", api_keys=keys))
    assert "Other machines can use it with an access key (alice)" in open_to_others
    assert "not encrypted" in open_to_others
    assert page_url("0.0.0.0", 8000) == page_url("::1", 8000) == "http://localhost:8000"
    assert page_url("fe80::1", 8000) == "http://[fe80::1]:8000"


def test_a_port_in_use_is_told_with_a_way_out(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = _run("serve", "--port", str(port))
    assert code == 1
    assert f"Port {port} is in use" in output
    assert "--port" in output


def test_doctor_reports_and_says_that_telemetry_is_off(home: Path) -> None:
    _, output = _run("doctor")
    for subject in (
        "runtime",
        "providers",
        "gpu",
        "cores",
        "browser",
        "disk",
        "model localphi-demo",
        "page",
        "telemetry",
    ):
        assert subject in output
    findings = json.loads(_run("doctor", "--json")[1])
    assert {"subject", "ok", "detail", "needed"} == set(findings[0])


def test_chat_answers_one_question(home: Path) -> None:
    code, output = _run("chat", "What", "is", "localphi?")
    assert code == 0
    assert "localphi" in output


def test_chat_remembers_starts_over_and_leaves(home: Path) -> None:
    code, output = _run("chat", text="What is localphi?\n\n/new\nHello\n/quit\n")
    first, blank, new, hello, end = output.split("you> ")[1:]
    assert code == 0
    assert "localphi runs" in first
    assert (blank, new, end) == ("", "", "")
    assert "Hello! I am" in hello


def test_chat_tells_a_question_that_is_too_long_and_goes_on(home: Path) -> None:
    code, output = _run("chat", text="a b " * 3000 + "\nHello\n")
    assert code == 0
    assert "context" in output


@pytest.fixture
def served(home: Path) -> Iterator[str]:
    """The address `localphi serve` prints, as its own process."""
    code = "from localphi.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(3))
        match = re.search(r"http://localhost:\d+", printed)
        assert match, printed
        yield match[0]
        process.send_signal(signal.SIGINT)
        assert "Stopped." in process.stdout.read()
        assert process.wait(10) == 0


def test_serve_prints_where_it_answers_and_stops_cleanly(served: str) -> None:
    assert httpx.get(served.replace("localhost", "127.0.0.1") + "/healthz").json() == {"status": "ok"}
