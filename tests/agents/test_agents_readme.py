"""What agents/README.md says of ours, and of what goes wrong, is what tests show."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from serving import ROOT

README = (ROOT / "agents" / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Of the table under the heading."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_of_tests() -> Iterator[str]:
    """Of those that nothing skips or expects to fail."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(
            r"((?:^@.*\n(?:^[ )\]].*\n)*)*)^(?:async )?def (test_\w+)", text, re.MULTILINE
        ):
            if not re.search(r"skip|xfail|@[A-Z]", found[1]):
                yield found[2]


@pytest.mark.parametrize(
    ("heading", "least"), [("Beside Semantic Kernel's own connectors", 18), ("When something goes wrong", 8)]
)
def test_every_row_of_the_table_has_tests_that_run(heading: str, least: int) -> None:
    known = set(names_of_tests())
    assert len(rows(heading)) >= least
    for what, *_, ours, tests in rows(heading):
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, f"{what!r} says {ours!r} without a test"
        assert set(named) <= known, f"{what!r} names tests that are not there: {set(named) - known}"
