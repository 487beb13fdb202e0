"""The counts as a table, and the figures of the fp32 parent that were measured when the model was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localphi.toolchain.evaluate.score import MEASURES, Count

RECORD = Path(__file__).parent / "fp32.json"


@dataclass(frozen=True)
class Column:
    """The figures of one model, under a short name."""

    name: str
    counts: Mapping[str, Count]


@dataclass(frozen=True)
class Record:
    """What the float32 parent of a model scored.

    revision: of the quantized model. measured: when, where, with what.
    """

    revision: str
    measured: str
    counts: Mapping[str, Count]


def load_record(path: Path = RECORD) -> Record | None:
    """The record, or None where there is none."""
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    counts = {name: Count(**entry) for name, entry in document["counts"].items()}
    return Record(document["revision"], document["measured"], counts)


def save_record(record: Record, path: Path = RECORD) -> None:
    """Write the record."""
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def table(columns: Sequence[Column]) -> str:
    """One line a measure, one column a model, and whether the first model reaches what is wanted."""
    names = [name for name in MEASURES if any(name in column.counts for column in columns)]
    width = max(len(MEASURES[name][0]) for name in names)
    head = f"{'':<{width}}" + "".join(f"  {column.name:>18}" for column in columns) + "   wanted"
    lines = [head]
    for name in names:
        title, wanted = MEASURES[name]
        cells = "".join(f"  {_cell(column.counts.get(name)):>18}" for column in columns)
        lines.append(f"{title:<{width}}{cells}   {_wanted(wanted, columns[0].counts.get(name))}".rstrip())
    return "\n".join(lines)


def as_json(columns: Sequence[Column]) -> str:
    """One line of JSON with the same figures."""
    return json.dumps({c.name: {name: asdict(one) for name, one in c.counts.items()} for c in columns})


def _cell(count: Count | None) -> str:
    return "-" if count is None else f"{count.right}/{count.asked} {count.share:6.1%}"


def _wanted(share: float | None, count: Count | None) -> str:
    if share is None:
        return ""
    reached = count is not None and count.share >= share
    return f"{share:.0%} {'yes' if reached else 'no'}"
