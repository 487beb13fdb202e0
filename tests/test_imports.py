"""Who may import whom. The table is DESIGN's; a new arrow fails here before it becomes a habit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "webapp" / "localphi"
AGENTS = ROOT / "agents" / "localphi_agents"

VALUES = {"chat", "errors", "config"}
MAY_IMPORT = {
    "errors": set(),
    "chat": set(),
    "config": set(),
    "models": VALUES,
    "engine": VALUES | {"models", "logs"},
    "doctor": VALUES | {"models", "engine", "security"},  # what can be computed with
    "keys": {"errors"},
    "logs": set(),
    "security": VALUES | {"keys"},
    "routes": VALUES | {"models", "engine", "security", "logs", "tracing"},
    "tracing": VALUES | {"engine"},
    "__init__": {"chat", "config", "engine", "routes"},
    "server": VALUES | {"__init__", "engine", "routes", "security", "logs", "deploy"},
    "toolchain": VALUES | {"models", "engine"},  # the evaluation asks through the engine
    "deploy": VALUES | {"models", "engine", "tracing", "__init__"},
    "cli": VALUES | {"models", "engine", "server", "doctor", "toolchain", "keys", "deploy", "__init__"},
}
ONLY_IN = {
    "flask": {"routes", "__init__"},
    "werkzeug": {"routes"},
    "waitress": {"server"},
    "prometheus_client": {"routes"},
    "psutil": {"engine"},
    "click": {"cli", "toolchain"},
    "onnxruntime_genai": {"engine", "toolchain"},
    "numpy": {"engine", "toolchain"},
    "torch": {"toolchain"},
    "transformers": {"toolchain"},
    "onnx": {"toolchain"},
    "openvino": {"engine", "toolchain"},
    "openvino_genai": {"engine"},
    "multiprocessing": {"engine"},
    "ray": {"deploy"},
    "opentelemetry": {"routes", "tracing"},
    "starlette": {"deploy"},
    "socket": {"engine", "server"},
    "requests": set(),
    "huggingface_hub": {"models"},
    "httpx2": {"models"},
    "filelock": {"keys", "models"},
    "localphi_agents": {"cli"},  # `localphi agent`, when the extra is installed
    "semantic_kernel": {"cli"},
    "anyio": {"cli"},
}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [alias.name for alias in node.names]
            yield from _resolved(str(node.module), names, node.lineno)


def _resolved(module: str, names: list[str], line: int) -> Iterator[tuple[str, int]]:
    """`from localphi import x` means the submodule x where there is one."""
    if module != "localphi":
        yield module, line
        return
    for name in names:
        is_module = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
        yield f"localphi.{name if is_module else '__init__'}", line


def _sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "page" not in path.relative_to(PACKAGE).parts[:1]]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room = _room(path)
    for name, line in _imports(path):
        top, _, rest = name.partition(".")
        if top == "localphi":
            target = rest.split(".")[0] or "__init__"
            assert target == room or target in MAY_IMPORT[room], (
                f"line {line}: {room} may not import {target}"
            )
        elif top in ONLY_IN:
            assert room in ONLY_IN[top], f"line {line}: {room} may not import {top}"


def test_every_room_is_in_the_table() -> None:
    assert {_room(path) for path in _sources()} == set(MAY_IMPORT)


def test_agents_import_of_localphi_the_application_and_where_models_are() -> None:
    application = {"localphi.__init__", "localphi.config", "localphi.errors"}
    stores = {"localphi.models.embedding_folder", "localphi.models.embeddings"}
    may_import = {
        "in_process.py": application,
        "onnx_embedding.py": {"localphi.config", "localphi.errors", *stores},
        "token_vectors.py": {"localphi.config", "localphi.errors", "localphi.models.store"},
    }
    for path in AGENTS.rglob("*.py"):
        for name, line in _imports(path):
            allowed = name in may_import.get(path.name, set())
            assert not name.startswith("localphi.") or allowed, f"{path.name}:{line} imports {name}"


def test_the_environment_is_read_in_config_only() -> None:
    for path in _sources():
        if _room(path) != "config":
            assert "environ[" not in path.read_text(encoding="utf-8"), path
            assert "os.environ" not in path.read_text(encoding="utf-8"), path
            assert "getenv" not in path.read_text(encoding="utf-8"), path


def test_importing_the_package_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = {
        "localphi": "{'flask', 'onnxruntime', 'click'}",
        "localphi.cli": "{'flask', 'onnxruntime', 'localphi_agents', 'semantic_kernel', 'httpx', 'anyio'}",
    }
    for module, libraries in heavy.items():
        code = f"import sys, {module}; print({libraries} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"
