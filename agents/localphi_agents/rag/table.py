"""Records of one collection in SQL: columns, an index of words, vectors; no framework."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from localphi_agents.rag.database import quoted
from localphi_agents.rag.errors import OtherEmbedding, StoreUnusable
from localphi_agents.rag.filters import Condition
from localphi_agents.rag.ranking import fused, match_expression, pairs

Metric = Literal["cosine", "dot", "euclidean"]
ColumnType = Literal["TEXT", "INTEGER", "REAL", "JSON"]
Row = dict[str, Any]
Hit = tuple[int, float]  # id of the row; how near: larger is nearer

_EVERYTHING: Condition = ("1", ())
_CANDIDATES = 100  # of words and of vectors, before they become one ranking
_PARAMETERS = 500  # in one statement


@dataclass(frozen=True)
class Column:
    """indexed: filters use it often. words: its words can be searched."""

    name: str
    type: ColumnType = "TEXT"
    indexed: bool = False
    words: bool = False


@dataclass(frozen=True)
class VectorColumn:
    """embedding: the model that made the vectors, "" where whoever puts them in knows."""

    name: str
    dimensions: int
    metric: Metric = "cosine"
    embedding: str = ""


@dataclass(frozen=True)
class Table:
    """The records of `name`, and how they are read and written within a transaction of the database.

    Vectors are compared with each other one by one, in memory: a table of 100,000 with 256 numbers takes
    100 MB, and a search some 30 ms. They are read again after somebody has written.
    """

    name: str
    key: Column
    columns: Sequence[Column]
    vectors: Sequence[VectorColumn]
    _known: dict[str, tuple[int, _Matrix]] = field(default_factory=dict, compare=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    @property
    def _records(self) -> str:
        return quoted(f"records of {self.name}")

    @property
    def _words(self) -> str:
        return quoted(f"words of {self.name}")

    @property
    def _fields(self) -> str:
        shape = [[one.name, one.type, one.words] for one in (self.key, *self.columns)]
        return json.dumps([shape, [[one.name, one.dimensions] for one in self.vectors]])

    def exists(self, connection: sqlite3.Connection) -> bool:
        wanted = "SELECT 1 FROM collections WHERE name = ?"
        return connection.execute(wanted, (self.name,)).fetchone() is not None

    def create(self, connection: sqlite3.Connection) -> None:
        """Unless it is there. Raises StoreUnusable, OtherEmbedding when it is there and another one."""
        if self.exists(connection):
            self.check(connection)
            return
        columns = [f"{quoted(self.key.name)} {_sql_type(self.key)} NOT NULL UNIQUE"]
        columns += [f"{quoted(one.name)} {_sql_type(one)}" for one in self.columns]
        columns += [f"{quoted(one.name)} BLOB" for one in self.vectors]
        connection.execute(
            f"CREATE TABLE {self._records} (rowid INTEGER PRIMARY KEY, {', '.join(columns)}) STRICT"
        )
        for one in self.columns:
            if one.indexed:
                index = quoted(f"{one.name} of {self.name}")
                connection.execute(f"CREATE INDEX {index} ON {self._records} ({quoted(one.name)})")
        self._create_words(connection)
        embeddings = json.dumps({one.name: one.embedding for one in self.vectors})
        connection.execute(
            "INSERT INTO collections VALUES (?, ?, ?, 0)", (self.name, self._fields, embeddings)
        )

    def _create_words(self, connection: sqlite3.Connection) -> None:
        """An index beside the table, which triggers keep true whoever writes."""
        names = [quoted(one.name) for one in self.columns if one.words]
        if not names:
            return
        connection.execute(
            f"CREATE VIRTUAL TABLE {self._words} USING fts5({', '.join(names)}, "
            f"content={self._records}, content_rowid='rowid', tokenize='porter unicode61')"
        )
        new, old = (", ".join(f"{side}.{name}" for name in names) for side in ("new", "old"))
        listed = ", ".join(names)
        add = f"INSERT INTO {self._words} (rowid, {listed}) VALUES (new.rowid, {new});"
        drop = (
            f"INSERT INTO {self._words} ({self._words}, rowid, {listed}) VALUES ('delete', old.rowid, {old});"
        )
        for event, does in (("INSERT", add), ("DELETE", drop), ("UPDATE", drop + add)):
            trigger = quoted(f"{event} in {self.name}")
            connection.execute(f"CREATE TRIGGER {trigger} AFTER {event} ON {self._records} BEGIN {does} END")

    def drop(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"DROP TABLE IF EXISTS {self._words}")
        connection.execute(f"DROP TABLE IF EXISTS {self._records}")
        connection.execute("DELETE FROM collections WHERE name = ?", (self.name,))

    def check(self, connection: sqlite3.Connection) -> int:
        """How often it was written. Raises StoreUnusable or OtherEmbedding if it is another one."""
        found = connection.execute(
            "SELECT fields, embeddings, changes FROM collections WHERE name = ?", (self.name,)
        ).fetchone()
        if found is None:
            raise StoreUnusable(
                f"There is no collection {self.name!r}. Call ensure_collection_exists() first."
            )
        if found[0] != self._fields:
            raise StoreUnusable(f"The collection {self.name!r} was made with other fields. Use another name.")
        stored: dict[str, str] = json.loads(found[1])
        for one in self.vectors:
            if one.embedding and stored[one.name] and one.embedding != stored[one.name]:
                raise OtherEmbedding(self.name, stored[one.name], one.embedding)
        return int(found[2])

    def write(self, connection: sqlite3.Connection, rows: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Put the rows in, each in the place of the one that has its key; gives the keys."""
        self.check(connection)
        names = [self.key.name, *(one.name for one in self.columns), *(one.name for one in self.vectors)]
        listed = ", ".join(quoted(name) for name in names)
        changed = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names[1:])
        act = f"UPDATE SET {changed}" if changed else "NOTHING"
        statement = (
            f"INSERT INTO {self._records} ({listed}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT ({quoted(self.key.name)}) DO {act}"
        )
        keys = []
        for row in rows:
            connection.execute(statement, self._values(row))
            keys.append(row[self.key.name])
        self._count(connection)
        return keys

    def delete(self, connection: sqlite3.Connection, where: Condition) -> None:
        self.check(connection)
        connection.execute(f"DELETE FROM {self._records} WHERE {where[0]}", where[1])
        self._count(connection)

    def delete_keys(self, connection: sqlite3.Connection, keys: Sequence[Any]) -> None:
        for part in _parts(keys):
            self.delete(
                connection, (f"{quoted(self.key.name)} IN ({', '.join('?' * len(part))})", tuple(part))
            )

    def by_keys(self, connection: sqlite3.Connection, keys: Sequence[Any], *, vectors: bool) -> list[Row]:
        """Those that are there, in the order of the keys."""
        found = {row[self.key.name]: row for row in self._read(connection, self.key.name, keys, vectors)}
        return [found[key] for key in keys if key in found]

    def by_ids(self, connection: sqlite3.Connection, ids: Sequence[int], *, vectors: bool) -> list[Row]:
        found = {row["rowid"]: row for row in self._read(connection, "rowid", ids, vectors)}
        return [found[one] for one in ids if one in found]

    def page(
        self, connection: sqlite3.Connection, order: Mapping[str, bool], top: int, skip: int, *, vectors: bool
    ) -> list[Row]:
        """order: columns, each with whether it ascends."""
        by = [f"{quoted(name)} {'ASC' if up else 'DESC'}" for name, up in order.items()]
        rest = f"ORDER BY {', '.join([*by, 'rowid'])} LIMIT ? OFFSET ?"
        return self._select(connection, rest, (top, skip), vectors)

    def near(
        self,
        connection: sqlite3.Connection,
        column: VectorColumn,
        vector: np.ndarray[Any, Any],
        limit: int | None,
        where: Condition | None = None,
    ) -> list[Hit]:
        """The rows with the nearest vectors, all of them without a limit."""
        matrix = self._matrix(connection, column)
        if vector.shape != (column.dimensions,):
            raise StoreUnusable(
                f"{column.name} has vectors of {column.dimensions} numbers, but one of {vector.size} came."
            )
        scores = matrix.scores(vector, column.metric)
        order = np.arange(len(scores))
        if where is not None:
            allowed = connection.execute(f"SELECT rowid FROM {self._records} WHERE {where[0]}", where[1])
            order = order[np.isin(matrix.ids, np.fromiter((row[0] for row in allowed), np.int64))]
        if limit is not None and limit < len(order):
            order = order[np.argpartition(-scores[order], limit)[:limit]]
        order = order[np.lexsort((matrix.ids[order], -scores[order]))]
        return [(int(matrix.ids[one]), float(scores[one])) for one in order]

    def with_words(
        self,
        connection: sqlite3.Connection,
        text: str,
        limit: int,
        where: Condition | None = None,
        column: str | None = None,
    ) -> list[Hit]:
        """The rows with the words, by BM25; and by pairs of signs where a language has no spaces.

        column: where alone to look.
        """
        names = [one.name for one in self.columns if one.words and column in (None, one.name)]
        expression = match_expression(text)
        if not expression or not names:
            return []
        if column is not None:
            expression = f"{quoted(column)} : ({expression})"
        only, values = "", ()
        if where is not None:
            only, values = f"AND rowid IN (SELECT rowid FROM {self._records} WHERE {where[0]})", where[1]
        found = connection.execute(
            f"SELECT rowid, -rank FROM {self._words} WHERE {self._words} MATCH ? {only} "
            "ORDER BY rank, rowid LIMIT ?",
            (expression, *values, limit),
        )
        hits = [(row[0], row[1]) for row in found]
        signs = pairs(text)
        if not signs:
            return hits
        paired = self._with_pairs(connection, signs, names, limit, where or _EVERYTHING)
        return fused([(1, [row for row, _ in hits]), (1, [row for row, _ in paired])])[:limit]

    def _with_pairs(
        self,
        connection: sqlite3.Connection,
        signs: Sequence[str],
        names: Sequence[str],
        limit: int,
        where: Condition,
    ) -> list[Hit]:
        """The rows with the most of the pairs, the shortest first of those with as many. Reads every row."""
        text = " || ' ' || ".join(f"ifnull({quoted(name)}, '')" for name in names)
        count = " + ".join("(instr(text, ?) > 0)" for _ in signs)
        found = connection.execute(
            f"SELECT rowid, {count} AS pairs FROM (SELECT rowid, lower({text}) AS text FROM {self._records} "
            f"WHERE {where[0]}) WHERE pairs > 0 ORDER BY pairs DESC, length(text), rowid LIMIT ?",
            (*signs, *where[1], limit),
        )
        return [(row[0], float(row[1])) for row in found]

    def hybrid(
        self,
        connection: sqlite3.Connection,
        text: str,
        column: VectorColumn,
        vector: np.ndarray[Any, Any] | None,
        limit: int,
        *,
        word_weight: float,
        vector_weight: float,
        where: Condition | None = None,
        words_in: str | None = None,
    ) -> list[Hit]:
        """Both rankings as one, with what each counts; the scores are those of `fused`."""
        wide = max(limit, _CANDIDATES)
        words = self.with_words(connection, text, wide, where, words_in) if word_weight else []
        near: list[Hit] = []
        if vector is not None and vector.any():  # a text without any word has zeros
            near = self.near(connection, column, vector, wide, where)
        rankings = [(word_weight, [row for row, _ in words]), (vector_weight, [row for row, _ in near])]
        return fused(rankings)[:limit]

    def count(self, connection: sqlite3.Connection, where: Condition | None = None) -> int:
        sql, values = where or _EVERYTHING
        (count,) = connection.execute(f"SELECT count(*) FROM {self._records} WHERE {sql}", values).fetchone()
        return int(count)

    def _count(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE collections SET changes = changes + 1 WHERE name = ?", (self.name,))

    def _values(self, row: Mapping[str, Any]) -> list[Any]:
        values = [row[self.key.name]]
        for one in self.columns:
            value = row.get(one.name)
            values.append(json.dumps(value) if one.type == "JSON" and value is not None else value)
        return values + [_packed(row.get(one.name), one) for one in self.vectors]

    def _read(
        self, connection: sqlite3.Connection, column: str, wanted: Sequence[Any], vectors: bool
    ) -> list[Row]:
        rows: list[Row] = []
        for part in _parts(wanted):
            rest = f"WHERE {quoted(column)} IN ({', '.join('?' * len(part))})"
            rows += self._select(connection, rest, tuple(part), vectors)
        return rows

    def _select(
        self, connection: sqlite3.Connection, rest: str, values: tuple[Any, ...], vectors: bool
    ) -> list[Row]:
        self.check(connection)
        plain = ["rowid", self.key.name, *(one.name for one in self.columns)]
        packed = [one.name for one in self.vectors] if vectors else []
        names = [*plain, *packed]
        listed = ", ".join(quoted(name) for name in names)
        found = connection.execute(f"SELECT {listed} FROM {self._records} {rest}", values)
        return [self._row(dict(zip(names, row, strict=True)), packed) for row in found]

    def _row(self, row: Row, packed: Sequence[str]) -> Row:
        for one in self.columns:
            if one.type == "JSON" and row[one.name] is not None:
                row[one.name] = json.loads(row[one.name])
        for name in packed:
            row[name] = None if row[name] is None else np.frombuffer(row[name], "<f4").tolist()
        return row

    def _matrix(self, connection: sqlite3.Connection, column: VectorColumn) -> _Matrix:
        changes = self.check(connection)
        with self._lock:
            known = self._known.get(column.name)
            if known is None or known[0] != changes:
                name = quoted(column.name)
                rows = connection.execute(
                    f"SELECT rowid, {name} FROM {self._records} WHERE {name} IS NOT NULL ORDER BY rowid"
                ).fetchall()
                known = changes, _Matrix.of(rows, column)
                self._known[column.name] = known
            return known[1]


@dataclass(frozen=True)
class _Matrix:
    ids: np.ndarray[Any, Any]  # (N,)
    vectors: np.ndarray[Any, Any]  # (N, D); of length 1 for cosine

    @classmethod
    def of(cls, rows: Sequence[tuple[int, bytes]], column: VectorColumn) -> _Matrix:
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        joined = b"".join(row[1] for row in rows)
        vectors = np.frombuffer(joined, "<f4").reshape(len(rows), column.dimensions)
        return cls(ids, _directions(vectors) if column.metric == "cosine" else vectors)

    def scores(self, vector: np.ndarray[Any, Any], metric: Metric) -> np.ndarray[Any, Any]:
        """(N,), larger is nearer."""
        if metric == "euclidean":
            return -np.asarray(np.linalg.norm(self.vectors - vector, axis=1))
        asked = _directions(vector[None])[0] if metric == "cosine" else vector
        return np.asarray(self.vectors @ asked)


def _directions(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)


def _packed(value: Any, column: VectorColumn) -> bytes | None:
    if value is None:
        return None
    vector = np.asarray(value, "<f4")
    if vector.shape != (column.dimensions,):
        raise StoreUnusable(
            f"{column.name} has vectors of {column.dimensions} numbers, but one of {vector.size} came."
        )
    if not np.isfinite(vector).all():
        raise StoreUnusable(f"{column.name} has vectors of finite numbers, but one came that is not.")
    return vector.tobytes()


def _sql_type(column: Column) -> str:
    return "TEXT" if column.type == "JSON" else column.type


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _PARAMETERS] for start in range(0, len(values), _PARAMETERS))
