"""The samples run as their readers run them, and importing the package is light."""

from __future__ import annotations

import subprocess
import sys

from serving import ROOT

SAMPLES = ROOT / "agents" / "samples"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


def test_01_chat_prints_both_turns(echo_url: str) -> None:
    done = run(str(SAMPLES / "01_chat.py"), "--url", echo_url)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "You: What is localphi?",
        "Phi: What is localphi?",
        "You: How can I use it?",
        "Phi: How can I use it?",
    ]


def test_01_chat_without_a_server_says_how_to_start_it() -> None:
    done = run(str(SAMPLES / "01_chat.py"), "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "No server answers at http://127.0.0.1:1. Start it with: localphi serve --port 1"
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, localphi_agents; print({'httpx', 'semantic_kernel', 'pydantic'} & set(sys.modules))"
    assert run("-c", code).stdout == "set()\n"
