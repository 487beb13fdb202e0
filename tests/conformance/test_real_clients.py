"""Clients that people use, each against the server as it is: OpenAI's for JavaScript, LangChain, LiteLLM.

OpenAI's client for Python is in the tests of the routes. Calls and JSON are held by the grammar, so they work
whatever the model is worth; what wants a better model than the demo is marked so in the suite.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from real_clients import CONFORMANCE, JS, PYTHON, missing, node
from serving import LiveServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(600),
]
_JS_CHECKS = re.findall(r"^  async (\w+)\(", (JS / "checks.mjs").read_text(encoding="utf-8"), re.MULTILINE)
# What LangChain does differently through /v1/responses; the rest is the same code on both sides.
_THROUGH_RESPONSES = (
    "test_invoke or test_stream or usage or tool_calling or histories or agent "
    "or (structured and pydantic and not v1 and not async)"
)


def _run(*command: str | Path, cwd: Path = CONFORMANCE, **environment: str) -> str:
    """What it says. Fails with that when it fails. Nothing of our own environment is in its way."""
    ours = ("PYTHON", "PYTEST")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env={**inherited, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=550,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_no_javascript_check_is_left_out() -> None:
    assert _run(node(), "checks.mjs", cwd=JS).split() == _JS_CHECKS
    assert len(_JS_CHECKS) > 10


@pytest.mark.parametrize("check", _JS_CHECKS)
def test_openais_client_for_javascript(demo_server: LiveServer, check: str) -> None:
    _run(node(), "checks.mjs", demo_server.url, check, cwd=JS)


def test_litellm(demo_server: LiveServer) -> None:
    said = _run(PYTHON, "litellm_checks.py", demo_server.url, LITELLM_LOCAL_MODEL_COST_MAP="True")
    checks = re.findall(
        r"^def (check_\w+)", (CONFORMANCE / "litellm_checks.py").read_text("utf-8"), re.MULTILINE
    )
    assert [line for line in said.splitlines() if line.startswith("check_")] == checks


@pytest.mark.parametrize(
    ("tests", "least"),
    [("TestChatCompletions", 35), (f"TestResponses and ({_THROUGH_RESPONSES})", 12)],
    ids=["chat", "responses"],
)
def test_langchains_own_suite(demo_server: LiveServer, tests: str, least: int) -> None:
    suite = CONFORMANCE / "langchain"
    loops = [
        option
        for scope in ("test", "fixture")  # the client keeps its connections, which belong to one loop
        for option in ("-o", f"asyncio_default_{scope}_loop_scope=session")
    ]
    own = ["-c", os.devnull, "--rootdir", str(suite), "--confcutdir", str(suite), "-p", "no:cacheprovider"]
    said = _run(
        *(PYTHON, "-m", "pytest", "chat_model_suite.py", "-q", "-k", tests),
        *own,
        *("-o", "asyncio_mode=auto", *loops),
        cwd=suite,
        LOCALPHI_URL=demo_server.url,
    )
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) >= least, said
