"""Nothing of what people write is logged, nothing is sent anywhere, nothing is left in the home folder.

A whole server runs in processes of its own, each with an audit hook that writes down what Python opens and
where it connects to, and with every logger at DEBUG. Connections that native code makes are seen only as far
as the system lists the sockets of the processes, at the moments when it is asked (Linux).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from localphi.config import Settings
from localphi.logs import place_of
from serving import ROOT, serving

SECRET = "zebrafinch"
CHAT = "/v1/chat/completions"
HOOK = """
import logging, os, sys
_out = os.open(os.environ["AUDIT_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_busy = False
def _hook(event, args):
    global _busy
    if _busy or not (event.startswith("socket.") or event == "open"):
        return
    _busy = True
    try:
        wanted = event != "open" or isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if wanted:
            what = args[0] if isinstance(args[0], (str, bytes)) else args[1:]
            os.write(_out, f"{os.getpid()} {event} {what}\\n".encode())
    finally:
        _busy = False
os.write(_out, f"{os.getpid()} started -\\n".encode())
sys.addaudithook(_hook)
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
logging.getLogger("test").debug("loggers write")
"""


@dataclass
class Served:
    url: str
    pid: int
    home: Path
    audit: Path
    remotes: set[str] = field(default_factory=set)
    printed: str = ""

    def processes(self) -> list[int]:
        found = [self.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text(encoding="latin-1").rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == self.pid:
                found.append(int(stat.parent.name))
        return found

    def events(self) -> list[list[str]]:
        """Process, event and what it was about, for each that a hook has seen."""
        return [line.split(" ", 2) for line in self.audit.read_text(encoding="utf-8").splitlines()]

    def look_at_sockets(self) -> None:
        """Remember where the sockets of all processes lead."""
        for pid in self.processes():
            self.remotes |= _remotes(pid)


def _remotes(pid: int) -> set[str]:
    proc = Path("/proc") / str(pid)
    inodes = set()
    for entry in proc.glob("fd/*"):
        try:
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(entry)))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[9] in inodes:
                found.add(_address(columns[2].partition(":")[0]))
    return found


def _address(text: str) -> str:
    """An address as /proc/net writes it: hexadecimal words in the machine's byte order."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    data = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(data)
    return str(getattr(address, "ipv4_mapped", None) or address)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server that has answered in every way it can, and is stopped; what it printed and did."""
    folder = tmp_path_factory.mktemp("private")
    home, hooks = folder / "home", folder / "hooks"
    home.mkdir()
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "LOCALPHI_"))}
    kept.pop("ORT_DISABLE_TELEMETRY", None)
    paths = [str(hooks), str(ROOT / "webapp"), str(ROOT / "agents")]
    environ = {
        **kept,
        "HOME": str(home),
        "AUDIT_FILE": str(folder / "audit"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", "from localphi.cli import main; main()", "serve", "--port", "0"]
    with (folder / "printed").open("w+b") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT)
        try:
            server = Served(_url(folder / "printed"), process.pid, home, folder / "audit")
            _ask_everything(server)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    server.printed = (folder / "printed").read_text(encoding="utf-8")
    return server


def _url(printed: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := re.search(r"page +http://localhost:(\d+)", printed.read_text(encoding="utf-8")):
            return f"http://127.0.0.1:{found[1]}"
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {printed.read_text(encoding='utf-8')}")


def _ask_everything(server: Served) -> None:
    said = [{"role": "user", "content": f"Tell me of the {SECRET}."}]
    tool = {"type": "function", "function": {"name": SECRET, "description": SECRET}}
    schema = {"name": SECRET, "schema": {SECRET: 1, "not": {"const": SECRET}}}
    bodies: list[tuple[str, Any]] = [
        (CHAT, {"messages": said, "max_tokens": 4}),
        (CHAT, {"messages": said, "max_tokens": 4, "stream": True, "stop": [SECRET], "logprobs": True}),
        (CHAT, {"messages": said, "max_tokens": 8, "tools": [tool], "tool_choice": "required"}),
        ("/v1/completions", {"prompt": f"The {SECRET}", "max_tokens": 4}),
        ("/tokenize", {"content": SECRET}),
        ("/apply-template", {"messages": said}),
        (CHAT, {"messages": said, "temperature": SECRET}),
        (CHAT, {"messages": [*said, {"role": SECRET, "content": SECRET}]}),
        (CHAT, {"messages": said, "model": SECRET}),
        (CHAT, {"messages": [{"role": "user", "content": f"{SECRET} " * 5000}]}),
        (CHAT, {"messages": said, "response_format": {"type": "json_schema", "json_schema": schema}}),
        (CHAT, f'{{"messages": "{SECRET}'),
        ("/detokenize", {"tokens": [SECRET]}),
    ]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for path, body in bodies:
            content = body if isinstance(body, str) else json.dumps(body)
            client.post(path, content=content)
            server.look_at_sockets()
        client.post(
            CHAT, content=json.dumps({"messages": said}), headers={"Origin": f"https://{SECRET}.example"}
        )
        client.get("/healthz", headers={"Host": f"{SECRET}.example"})
        client.get(f"/{SECRET}", headers={"Authorization": f"Bearer {SECRET}", "Cookie": SECRET})
        client.get("/metrics")
        long = {"messages": said, "stream": True, "max_tokens": 500}
        with client.stream("POST", CHAT, json=long) as response:
            next(response.iter_lines())  # and leaves
    server.look_at_sockets()


@pytest.mark.skipif(not Path("/proc/self/net").is_dir(), reason="reads Linux's lists of sockets")
def test_no_socket_leads_away_from_this_machine(served: Served) -> None:
    assert "127.0.0.1" in served.remotes, "our own connection is seen, so others would be"
    for remote in served.remotes:
        address = ipaddress.ip_address(remote)
        assert address.is_loopback or address.is_unspecified, remote


def test_python_connects_nowhere_and_looks_up_no_names(served: Served) -> None:
    events = served.events()
    assert any(event == "socket.bind" for _, event, _ in events), "the hook sees sockets"
    assert len({pid for pid, _, _ in events}) >= 2, "of the worker, too"
    for _, event, what in events:
        away = re.fullmatch(r"socket\.(connect|getaddrinfo|gethostby\w+|sendto|sendmsg)", event)
        assert not away or re.search(r"\b(127\.0\.0\.1|0\.0\.0\.0|localhost)\b", what), (event, what)


def test_nothing_is_left_in_the_home_folder(served: Served) -> None:
    """Official wheels of onnxruntime leave a device id and databases there while telemetry is on."""
    assert list(served.home.rglob("*")) == []
    written = [what for _, event, what in served.events() if event == "open"]
    assert not [path for path in written if "Microsoft" in path or "onnxruntime" in path]


def test_prompts_are_in_no_log(served: Served) -> None:
    assert "localphi serves" in served.printed
    assert served.printed.count("DEBUG:test:loggers write") >= 2, "of the server and of its worker"
    assert SECRET not in served.printed


def _break(*_: Any, **__: Any) -> None:
    try:
        raise KeyError(f"{SECRET} inside")
    except KeyError as error:
        raise RuntimeError(f"cannot encode {SECRET}") from error


def test_a_fault_before_the_answer_is_logged_without_its_message(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("localphi.engine.client.EngineClient.submit", _break)
    response = client.post(CHAT, json={"messages": [{"role": "user", "content": SECRET}]})
    assert response.status_code == 500
    assert SECRET not in response.text
    assert SECRET not in caplog.text
    assert "RuntimeError at faults/test_privacy.py" in caplog.text, "but where it was is told"
    assert "after KeyError at" in caplog.text


def test_a_fault_in_the_middle_of_an_answer_is_logged_without_its_message(
    echo_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"messages": [{"role": "user", "content": SECRET}], "stream": True}
    with serving(echo_settings) as live:
        httpx.post(live.url + CHAT, json=body, timeout=60)
        monkeypatch.setattr("localphi.engine.client.Answer.next", _break)
        try:
            answer = httpx.post(live.url + CHAT, json=body, timeout=60).text
        except httpx.RemoteProtocolError:
            answer = ""  # cut off, as it must be
    assert "[DONE]" not in answer
    assert "cannot encode" not in answer
    assert "RuntimeError at" in caplog.text
    printed = capfd.readouterr()
    assert SECRET not in caplog.text + printed.out + printed.err


def test_the_place_of_an_error_is_told_without_its_words() -> None:
    try:
        _break()
    except RuntimeError as error:
        told = place_of(error)
    assert SECRET not in told
    assert told.startswith("RuntimeError at faults/test_privacy.py:")
    assert "; after KeyError at faults/test_privacy.py:" in told


def test_a_worker_that_breaks_says_where_and_not_on_what(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from localphi.engine import worker
    from localphi.engine.base import WorkerSpec

    monkeypatch.setattr(worker, "_load_and_serve", _break)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    spec = WorkerSpec("m", Path(), False, "echo", 1, 1, 1)
    with pytest.raises(SystemExit):
        worker.main(None, spec)  # type: ignore[arg-type]
    printed = capfd.readouterr().err
    assert "the worker of 'm' failed: RuntimeError at" in printed
    assert SECRET not in printed


def test_secrets_of_the_server_are_not_in_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from localphi.config import forget_secrets

    for name in ("LOCALPHI_API_KEYS", "HF_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    forget_secrets()
    assert SECRET not in os.environ.values()
