"""One SQLite file, for all threads of this program and for other programs beside it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from localphi_agents.rag.errors import StoreLocked, StoreUnusable

IN_MEMORY = ":memory:"
_APPLICATION_ID = 0x6C706869  # "lphi"; SQLite keeps it in the file's head
_VERSION = 1
_WAIT_S = 5.0

_SCHEMA = """
CREATE TABLE collections (
    name TEXT PRIMARY KEY,
    fields TEXT NOT NULL,       -- JSON: what the table was made of
    embeddings TEXT NOT NULL,   -- JSON: which model made each vector field
    changes INTEGER NOT NULL    -- counts up with every write, so that vectors in memory are known to be old
) STRICT
"""


class Database:
    """Two connections, one that reads and one that writes; threads take each in turn.

    Writes are whole or not at all, also when the program is killed, and readers do not wait for them.
    A new file is for its owner's eyes only, and so is what SQLite puts beside it.

    wait_s: how long another program may hold the file. Raises StoreUnusable, StoreLocked.
    """

    def __init__(self, path: str | Path, *, wait_s: float = _WAIT_S) -> None:
        self.path = path if path == IN_MEMORY else str(Path(path).expanduser())
        with self._as_sentence():
            if self.path != IN_MEMORY:
                _make(Path(self.path))
            self._writer = self._reader = _Turns(self.path, wait_s)
        try:
            with self._as_sentence():
                self._prepare()
                if self.path != IN_MEMORY:
                    self._reader = _Turns(self.path, wait_s)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that is read inside is of one moment."""
        with self._as_sentence(), self._reader.transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside is there at its end, or nothing of it after an error."""
        with self._as_sentence(), self._writer.transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def _prepare(self) -> None:
        connection = self._writer.connection
        (ours,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if ours == _APPLICATION_ID and version > _VERSION:
            raise StoreUnusable(f"{self.path} was made by a newer localphi.")
        if ours != _APPLICATION_ID:
            self._create()
        if self.path != IN_MEMORY:
            connection.execute("PRAGMA journal_mode = WAL")  # readers and one writer at the same time
            connection.execute("PRAGMA synchronous = NORMAL")

    def _create(self) -> None:
        with self.writing() as connection:
            (ours,) = connection.execute("PRAGMA application_id").fetchone()
            if ours == _APPLICATION_ID:  # another program was quicker
                return
            if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                raise StoreUnusable(f"{self.path} is a database of another program. Name another file.")
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _as_sentence(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreLocked(
                    f"{self.path} is locked by another program. Try again when it is done."
                ) from error
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise StoreUnusable(
                    f"{self.path} is no database, or damaged. Delete it, or name another."
                ) from error
            raise StoreUnusable(f"{self.path} cannot be used: {error}.") from error
        except OSError as error:
            raise StoreUnusable(f"{self.path} cannot be used: {error.strerror}.") from error


class _Turns:
    """A connection that one thread at a time has."""

    def __init__(self, path: str, wait_s: float) -> None:
        self.connection = sqlite3.connect(path, timeout=wait_s, check_same_thread=False, isolation_level=None)
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self.connection.execute(begin)
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self.connection.close()


def _make(path: Path) -> None:
    """An empty file, unless there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it will hold what documents say


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'
