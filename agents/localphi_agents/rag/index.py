"""A folder of documents, kept as passages that can be searched and cited."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from localphi_agents.rag.chunks import Chunk, chunks
from localphi_agents.rag.database import IN_MEMORY, Database
from localphi_agents.rag.embedding import LocalEmbedding
from localphi_agents.rag.errors import NothingToRead, UnreadableFile
from localphi_agents.rag.reading import MAX_FILE_BYTES, READABLE, sections
from localphi_agents.rag.table import Column, Table, VectorColumn
from localphi_agents.rag.token_vectors import TokenVectorEmbedding

_EMBEDDED_AT_ONCE = 64
_MAX_FILES = 50_000
_MADE_BY = "1"  # counts up when files become other passages than before; then all are read again

_FILES = """
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, made_by TEXT NOT NULL, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True)
class Passage:
    """A piece of a document. file: relative to the folder; heading: with those above it; page: of a PDF."""

    text: str
    file: str
    heading: str
    page: int | None
    score: float

    @property
    def citation(self) -> str:
        """Where it stands, for people: `guide.pdf, page 3` or `README.md, Install > Windows`."""
        page = None if self.page is None else f"page {self.page}"
        return ", ".join(part for part in (self.file, self.heading, page) if part)


@dataclass(frozen=True)
class Progress:
    """files: done, of all that there are; name: what is being read."""

    done: int
    total: int
    name: str


@dataclass
class Report:
    """What an update found. failed: why, by file; passages that were read of it before are kept."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Known:
    size: int
    modified_ns: int
    sha256: str


class DocumentIndex:
    """The Markdown, text and PDF files of a folder, searched by words and by vectors.

        with DocumentIndex("notes", "notes.db") as index:
            await index.update()
            for passage in await index.search("When is the rent due?"):
                print(passage.citation, passage.text)

    database: the file that keeps the passages; without one they are kept in memory and are gone at the end.
    embedding: None for the vectors of the demo model, which need no download.

    `update` reads what is new or changed and forgets what is gone. Each file is whole or not there: an
    update that was stopped, or killed, goes on with the next file. Hidden files and folders, links that
    lead out of the folder and files over 50 MB are left out. Searches go on meanwhile, in any thread.

    Raises NothingToRead when folder is none; StoreUnusable, StoreLocked, OtherEmbedding.
    """

    def __init__(
        self,
        folder: str | Path,
        database: str | Path = IN_MEMORY,
        *,
        embedding: LocalEmbedding | None = None,
        wait_s: float = 5.0,
    ) -> None:
        """wait_s: how long another program may hold the database before that is an error."""
        self.folder = Path(folder).expanduser().resolve()
        if not self.folder.is_dir():
            raise NothingToRead(f"A folder of documents is wanted, but {folder} is none.")
        self.embedding = embedding or TokenVectorEmbedding()
        self._vector = VectorColumn("vector", self.embedding.dimensions, "cosine", self.embedding.identity)
        self._table = Table(
            "passages",
            Column("id"),
            [
                Column("file", indexed=True),
                Column("heading", words=True),
                Column("page", "INTEGER"),
                Column("text", words=True),
            ],
            [self._vector],
        )
        self._database = Database(database, wait_s=wait_s)
        try:
            with self._database.writing() as connection:
                connection.execute(_FILES)
                self._table.create(connection)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    async def update(self, on_progress: Callable[[Progress], object] | None = None) -> Report:
        """Read what is new or changed, forget what is gone.

        A file that cannot be read is in the report, and the others go on. on_progress is called on the
        event loop. Raises NothingToRead when the folder holds no document.
        """
        files = await asyncio.to_thread(lambda: dict(self._documents()))
        if not files:
            kinds = ", ".join(sorted(READABLE))
            raise NothingToRead(
                f"{self.folder} holds no document. Documents are files that end with {kinds}."
            )
        known = await asyncio.to_thread(self._known)
        report = Report()
        for done, (name, path) in enumerate(files.items()):
            if on_progress is not None:
                on_progress(Progress(done, len(files), name))
            try:
                await asyncio.to_thread(self._take_in, name, path, known.get(name), report)
            except UnreadableFile as error:
                report.failed[name] = str(error)
        report.removed = sorted(set(known) - set(files))
        await asyncio.to_thread(self._forget, report.removed)
        if on_progress is not None:
            on_progress(Progress(len(files), len(files), ""))
        return report

    async def search(
        self, query: str, top: int = 5, *, word_weight: float = 1.0, vector_weight: float | None = None
    ) -> list[Passage]:
        """The passages that fit best, the best first.

        The weights say what the ranking by words and the one by vectors count; None is what the embedding
        says.
        """
        return await asyncio.to_thread(self._search, query, top, word_weight, vector_weight)

    def _search(self, query: str, top: int, word_weight: float, vector_weight: float | None) -> list[Passage]:
        weight = self.embedding.hybrid_weight if vector_weight is None else vector_weight
        vector = self.embedding.embed([query], "query")[0] if weight else None
        with self._database.reading() as connection:
            hits = self._table.hybrid(
                connection, query, self._vector, vector, top, word_weight=word_weight, vector_weight=weight
            )
            best = dict(hits)
            rows = self._table.by_ids(connection, list(best), vectors=False)
        return [
            Passage(row["text"], row["file"], row["heading"], row["page"], best[row["rowid"]]) for row in rows
        ]

    def _documents(self) -> Iterator[tuple[str, Path]]:
        count = 0
        for parent, folders, names in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(parent, name)
                if name.startswith(".") or path.suffix.lower() not in READABLE or not self._is_inside(path):
                    continue
                count += 1
                if count > _MAX_FILES:
                    raise NothingToRead(f"{self.folder} holds more than {_MAX_FILES} documents.")
                yield _sendable(path.relative_to(self.folder).as_posix()), path

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.folder) and path.is_file()
        except (OSError, RuntimeError, ValueError):  # links in a circle, half a character
            return False

    def _known(self) -> dict[str, _Known | None]:
        """By name; None for a file that an older localphi took in."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, made_by, size, modified_ns, sha256 FROM files")
            return {row[0]: _Known(*row[2:]) if row[1] == _MADE_BY else None for row in rows}

    def _take_in(self, name: str, path: Path, known: _Known | None, report: Report) -> None:
        size, modified_ns, data = _contents(name, path, known)
        if data is None:
            report.unchanged += 1
            return
        sha256 = hashlib.sha256(data).hexdigest()
        same = known is not None and known.sha256 == sha256
        rows = [] if same else self._rows(name, list(chunks(sections(path, data))))
        with self._database.writing() as connection:
            was_there = connection.execute("SELECT 1 FROM files WHERE name = ?", (name,)).fetchone()
            if not same:
                self._table.delete(connection, ("file = ?", (name,)))
                self._table.write(connection, rows)
            connection.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
                (name, _MADE_BY, size, modified_ns, sha256),
            )
        if same:
            report.unchanged += 1
        else:
            (report.changed if was_there else report.added).append(name)

    def _rows(self, name: str, found: Sequence[Chunk]) -> list[dict[str, Any]]:
        rows = []
        for start in range(0, len(found), _EMBEDDED_AT_ONCE):
            part = found[start : start + _EMBEDDED_AT_ONCE]
            vectors = self.embedding.embed([f"{chunk.heading}\n{chunk.text}" for chunk in part])
            rows += [
                {
                    "id": f"{name}#{start + number}",
                    "file": name,
                    "heading": chunk.heading,
                    "page": chunk.page,
                    "text": chunk.text,
                    "vector": vector,
                }
                for number, (chunk, vector) in enumerate(zip(part, vectors, strict=True))
            ]
        return rows

    def _forget(self, names: Sequence[str]) -> None:
        for name in names:
            with self._database.writing() as connection:
                self._table.delete(connection, ("file = ?", (name,)))
                connection.execute("DELETE FROM files WHERE name = ?", (name,))


def _contents(name: str, path: Path, known: _Known | None) -> tuple[int, int, bytes | None]:
    """Size, time and bytes of a plain file; no bytes when it is as it was. Raises UnreadableFile."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(file, "rb") as content:
            state = os.fstat(content.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise UnreadableFile(f"{name} is not a file that can be read.")
            if state.st_size > MAX_FILE_BYTES:
                raise UnreadableFile(
                    f"{name} has {state.st_size} bytes, but up to {MAX_FILE_BYTES} are read."
                )
            if known and (known.size, known.modified_ns) == (state.st_size, state.st_mtime_ns):
                return state.st_size, state.st_mtime_ns, None
            return state.st_size, state.st_mtime_ns, content.read(MAX_FILE_BYTES)
    except OSError as error:
        raise UnreadableFile(f"{name} cannot be read: {error.strerror}.") from error


def _sendable(name: str) -> str:
    """The name; what is not UTF-8 in it cannot be sent."""
    return name.encode("utf-8", "replace").decode("utf-8")
