"""The figures of the float32 parent, kept because the package does not ship it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from tqdm import tqdm

from localphi.config import available_threads
from localphi.models.manifest import load_manifest
from localphi.toolchain.evaluate.ask import Asker
from localphi.toolchain.evaluate.cases import load_cases
from localphi.toolchain.evaluate.score import KINDS, count, judge, number_of_cases
from localphi.toolchain.evaluate.table import RECORD, Column, Record, save_record, table


def record_parent(parent: Path, quantized: Path) -> Path:
    """Evaluate `parent` bare, and write the record that belongs to the weights in `quantized`."""
    held_out = load_cases()
    asker = Asker(parent, available_threads(), guided=False)
    total = number_of_cases(held_out, KINDS)
    with tqdm(total=total, desc=parent.name, unit="case", leave=False, disable=None) as bar:
        counts = count(judge(asker, held_out, KINDS, lambda _: bar.update()))
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnxruntime-genai"))
    machine = f"{platform.machine()}, {available_threads()} threads"
    measured = f"{datetime.now(UTC):%Y-%m-%d} on {machine}, {packages}"
    save_record(Record(load_manifest(quantized).origin["revision"], measured, counts))
    click.echo(table([Column(parent.name, counts)]))
    return RECORD
