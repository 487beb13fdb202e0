"""Find an installed Chromium-based browser for the tests, or install one.

    python tests/browser/find_browser.py             print its path; exit code 1 when there is none
    python tests/browser/find_browser.py --install   install one when there is none

Debian and Ubuntu get their package `chromium`, other systems Playwright's build. Neither has a backend for
WebNN on Linux; one that has comes from npm (`@sparticuz/chromium`, for x86-64), for `test_webnn.py`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from localphi.doctor import find_browsers

ROOT = Path(__file__).parents[2]
_WEBNN = ROOT / "build" / "webnn-browser"
_WEBNN_PACKAGE = "@sparticuz/chromium@153.0.0"
_UNPACK = (
    "import('@sparticuz/chromium').then(async ({ default: it }) => console.log(await it.executablePath()))"
)


def find_with_webnn() -> Path | None:
    path = _WEBNN / "chromium"
    return path if path.is_file() else None


def install_with_webnn() -> None:
    """Fetch and unpack it. What goes wrong is said: without it some tests are skipped."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return
    _WEBNN.mkdir(parents=True, exist_ok=True)
    (_WEBNN / "package.json").write_text("{}", encoding="utf-8")
    environment = {**os.environ, "TMPDIR": str(_WEBNN)}
    try:
        for command in (
            ["npm", "install", "--no-audit", "--no-fund", _WEBNN_PACKAGE],
            ["node", "-e", _UNPACK],
        ):
            subprocess.run(command, cwd=_WEBNN, env=environment, check=True, timeout=300, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"localphi: no browser with WebNN, its tests will be skipped: {error}", flush=True)


def find() -> Path | None:
    """Chromium, Chrome or Edge of this machine, then Playwright's own."""
    found = find_browsers()
    for name in ("Chromium", "Chrome", "Edge"):
        if name in found and found[name].is_file():
            return found[name]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    return own if own.is_file() else None


def install() -> None:
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0 and _apt("chromium"):
        return
    subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"], check=True)


def _apt(package: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        if subprocess.run(["apt-get", *command], env=environment, check=False).returncode:
            return False
    return find() is not None


def main() -> int:
    browser = find()
    if browser is None and "--install" in sys.argv:
        print("localphi: no Chrome, Edge or Chromium found, installing one", flush=True)
        install()
        browser = find()
    if "--install" in sys.argv and find_with_webnn() is None:
        install_with_webnn()
    print(browser or "no browser found", flush=True)
    return 0 if browser else 1


if __name__ == "__main__":
    sys.exit(main())
