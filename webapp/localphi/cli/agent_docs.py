"""The documents of `localphi agent --docs`: read into a database of the home folder, and cited."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localphi.config import Settings
from localphi.errors import LocalphiError

if TYPE_CHECKING:
    from localphi_agents.plugins import Docs
    from localphi_agents.rag import Progress, Report

PLUGIN = "docs"
INSTRUCTIONS = (
    "Search the user's documents before you answer. Answer from what they say, and name the source."
)
_SEARCH = f"{PLUGIN}-search"
_MAX_FAILURES = 5


@asynccontextmanager
async def documents(folder: str, embeddings: str | None) -> AsyncIterator[Docs]:
    """A search in the folder's documents, as they are now. Raises LocalphiError."""
    from localphi_agents.plugins import Docs
    from localphi_agents.rag import DocumentIndex, OnnxTextEmbedding, RagError, TokenVectorEmbedding

    try:
        embedding = OnnxTextEmbedding(embeddings) if embeddings else TokenVectorEmbedding()
    except RagError as error:
        raise LocalphiError(f"--embeddings: {error}" if embeddings else str(error)) from error
    try:
        with DocumentIndex(folder, _database(folder, embedding.identity), embedding=embedding) as index:
            _tell(await index.update(_show))
            yield Docs(index)
    except RagError as error:
        raise LocalphiError(f"--docs: {error}") from error


def sources_of(function: str, result: str) -> list[str]:
    """What a function returned from documents; nothing if it is another function."""
    from localphi_agents.plugins.docs import sources

    return sources(result) if function == _SEARCH else []


def sources_line(found: Iterable[str]) -> str:
    return "Sources: " + "; ".join(dict.fromkeys(found))


def _database(folder: str, identity: str) -> Path:
    """One for each folder and embedding model."""
    place = Path(folder).expanduser().resolve()
    digest = hashlib.sha256(f"{place}\n{identity}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Settings.from_environment().home / "documents" / f"{digest}.db"


def _show(progress: Progress) -> None:
    if sys.stderr.isatty():
        line = f"Reading {progress.done} of {progress.total}" if progress.name else ""
        click.echo(f"\r{line:<40}\r", nl=False, err=True)


def _tell(report: Report) -> None:
    read = len(report.added) + len(report.changed)
    parts = [f"{read} read", f"{report.unchanged} known"]
    parts += [f"{len(report.removed)} gone"] if report.removed else []
    parts += [f"{len(report.failed)} not readable"] if report.failed else []
    click.echo(f"Documents: {', '.join(parts)}.", err=True)
    for reason in list(report.failed.values())[:_MAX_FAILURES]:
        click.echo(f"  {reason}", err=True)
