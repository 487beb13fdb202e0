"""A wheel of this source, installed alone: no Node, no source tree, another folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("localphi-*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds nothing but the wheel and what it asks for."""
    environment = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", str(environment))
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    _run(str(programs / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    return programs


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def test_the_wheel_holds_the_page_the_model_and_both_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "localphi/page/index.html" in names
    assert "localphi/models/bundled/localphi-demo/model.onnx.data" in names
    assert "localphi_agents/semantic_kernel/service.py" in names
    assert "localphi/toolchain/evaluate/help.toml" in names
    assert any(re.fullmatch(r"localphi/page/ort/.*\.wasm", name) for name in names)
    assert not [name for name in names if "node_modules" in name or name.startswith("tests/")]


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    environment = {"HOME": str(tmp_path), "PATH": str(installed)}
    command = [str(installed / "localphi"), "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(3))
        match = re.search(r"http://localhost:(\d+)", printed)
        assert match, printed
        yield f"http://127.0.0.1:{match[1]}"
        process.terminate()


def test_an_installed_wheel_serves_the_page_and_answers(served: str) -> None:
    with urllib.request.urlopen(served, timeout=60) as page:
        assert b"<title>localphi" in page.read()
    body = {"messages": [{"role": "user", "content": "What is localphi?"}]}
    request = urllib.request.Request(served + "/v1/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as response:
        answer = json.load(response)["choices"][0]
    assert "localphi" in answer["message"]["content"]
    assert answer["finish_reason"] == "stop"


def test_doctor_finds_everything_it_needs(installed: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": str(installed)}
    result = subprocess.run(
        [str(installed / "localphi"), "doctor", "--json"],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    findings = {finding["subject"]: finding for finding in json.loads(result.stdout)}
    assert result.returncode == 0
    assert findings["page"]["detail"].startswith(str(installed.parent))
