"""A GPU with float16, where there is none: Dawn (Chromium's WebGPU) in Node, on Mesa's llvmpipe.

    python tests/browser/dawn.py --install    on Debian 12: 200 MB in build/dawn, nothing in the system

Chromium's own software adapter has no float16, and Chromium takes no other. Mesa has it since version 24, and
Debian 12 has that among its backports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "dawn"
_VERSION = "0.6.2"
_LIBRARIES = FOLDER / "mesa" / "usr" / "lib" / "x86_64-linux-gnu"
_DRIVER = _LIBRARIES / "libvulkan_lvp.so"
_DRIVER_FILE = FOLDER / "driver.json"
_LOADER = Path("/usr/lib/chromium")  # Debian's Chromium brings a libvulkan.so.1
MODULE = FOLDER / "node_modules" / "webgpu" / "index.js"
_BACKPORTS = ("mesa-vulkan-drivers", "libdrm2", "libdrm-amdgpu1")
_XCB = ("dri3-0", "present0", "randr0", "shm0", "sync1", "xfixes0")
_OTHERS = ("libllvm15", "libz3-4", "libwayland-client0", "libx11-xcb1", "libxshmfence1")


def missing() -> str:
    """Why the tests cannot run, empty when they can."""
    if MODULE.is_file() and _DRIVER_FILE.is_file() and _DRIVER.is_file():
        return ""
    return "there is no GPU with float16 for Node: python tests/browser/dawn.py --install (Debian 12)"


def run(script: Path, job: dict[str, Any], timeout_s: float) -> Any:
    """The JSON that a script prints, run in Node on that GPU. Raises CalledProcessError or TimeoutExpired."""
    places = {
        "VK_ICD_FILENAMES": str(_DRIVER_FILE),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, (_LIBRARIES, _LOADER))),
    }
    done = subprocess.run(
        ["node", str(script), json.dumps({"dawn": str(MODULE), **job})],
        env={**os.environ, **places},
        stdout=subprocess.PIPE,
        check=True,
        timeout=timeout_s,
    )
    return json.loads(done.stdout)


def install() -> None:
    """Raises CalledProcessError when a package cannot be had."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "package.json").write_text('{"private": true}', encoding="utf-8")
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", f"webgpu@{_VERSION}"], cwd=FOLDER, check=True
    )
    lists, cache = FOLDER / "apt" / "lists", FOLDER / "apt" / "cache"
    for folder in (lists / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    sources = FOLDER / "apt" / "sources.list"
    suites = ("bookworm-backports", "bookworm")
    sources.write_text("".join(f"deb {_mirror()} {suite} main\n" for suite in suites), encoding="utf-8")
    places = {
        "Etc::SourceList": sources,
        "Etc::SourceParts": "/dev/null",
        "State::Lists": lists,
        "Cache": cache,
    }
    options = [word for name, place in places.items() for word in ("-o", f"Dir::{name}={place}")]
    wanted = [*(f"{name}/{suites[0]}" for name in _BACKPORTS), *_OTHERS, *(f"libxcb-{name}" for name in _XCB)]
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True)
    subprocess.run(["apt-get", *options, "download", "-qq", *wanted], cwd=FOLDER / "apt", check=True)
    for package in sorted((FOLDER / "apt").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(FOLDER / "mesa")], check=True)
    driver = {"library_path": str(_DRIVER), "api_version": "1.4.0"}
    _DRIVER_FILE.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": driver}), encoding="utf-8")


def _mirror() -> str:
    """Where this system has its own packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Codename: bookworm"]
    sites = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    if not sites:
        raise SystemExit("This needs Debian 12 with its package lists: apt-get update")
    return sites[0]


if __name__ == "__main__":
    if missing() and "--install" in sys.argv:
        install()
    sys.stdout.write(f"{missing() or MODULE}\n")
    sys.exit(1 if missing() else 0)
