"""localphi bench --browser: what is missing is told before anything starts. See also tests/browser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from localphi.cli import main


def _refusal(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["bench", *arguments])
    assert done.exit_code != 0
    return done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--browser", "--streams", "2"), "--streams does not go with --browser"),
        (("--browser", "--quick"), "--quick does not go with --browser"),
        (("--browser", "--url", "http://localhost:1"), "--url does not go with --browser"),
        (("--browser", "a", "b"), "one model at a time"),
        (("--vs", "transformers.js"), "--device and --vs go with --browser"),
        (("--browser", "--report", "nowhere/page.md"), "There is no folder nowhere"),
        (("--browser", "--device", "abacus"), "--device takes"),
    ],
)
def test_what_does_not_go_together_is_named(arguments: tuple[str, ...], message: str) -> None:
    assert message in " ".join(_refusal(*arguments).split())


def test_a_peer_that_is_not_installed_is_told_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path))
    said = _refusal("--browser", "--vs", "transformers.js")
    assert f"npm install --prefix {tmp_path / 'bench-peers'}" in said
    assert "@huggingface/transformers" in said


def test_without_a_browser_it_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own: Playwright runs once in each, and other tests may be using it."""
    program = (
        "from localphi.cli import bench_browser, main; bench_browser.find_browsers = dict; "
        "main(['bench', '--browser'])"
    )
    environment = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), "LOCALPHI_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "python -m playwright install chromium" in done.stderr
