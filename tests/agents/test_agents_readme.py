"""What agents/README.md says of ours, beside the connectors of others, is what tests show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from serving import ROOT

README = (ROOT / "agents" / "README.md").read_text(encoding="utf-8")
HEADING = "## Beside Semantic Kernel's own connectors"


def rows() -> list[list[str]]:
    section = README.partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_that_run() -> Iterator[str]:
    """Names of tests that nothing skips or expects to fail."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
                if not re.search(r"skip|xfail", marks):
                    yield node.name


def test_every_row_of_the_table_has_tests_that_run() -> None:
    known = set(names_that_run())
    assert len(rows()) > 15
    for what, *_, ours, tests in rows():
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, f"{what!r} says {ours!r} without a test"
        assert set(named) <= known, f"{what!r} names tests that are not there: {set(named) - known}"
