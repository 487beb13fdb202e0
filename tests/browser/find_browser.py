"""Find an installed Chromium-based browser for the tests, or install one.

    python tests/browser/find_browser.py             print its path; exit code 1 when there is none
    python tests/browser/find_browser.py --install   install one when there is none

Debian and Ubuntu get their package `chromium`, other systems Playwright's build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from localphi.doctor import find_browsers


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
    print(browser or "no browser found", flush=True)
    return 0 if browser else 1


if __name__ == "__main__":
    sys.exit(main())
