"""A vector store for Semantic Kernel in one SQLite file, with hybrid search."""

from __future__ import annotations

import ast
import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.embedding_generator_base import EmbeddingGeneratorBase
from semantic_kernel.data.vector import (
    DistanceFunction,
    GetFilteredRecordOptions,
    KernelSearchResults,
    SearchType,
    VectorSearch,
    VectorSearchOptions,
    VectorSearchResult,
    VectorStore,
    VectorStoreCollection,
    VectorStoreCollectionDefinition,
    VectorStoreField,
)
from semantic_kernel.exceptions import VectorSearchOptionsException, VectorStoreModelValidationError

from localphi_agents.rag.database import IN_MEMORY, Database, quoted
from localphi_agents.rag.embedding import LocalEmbedding
from localphi_agents.rag.filters import Condition, condition
from localphi_agents.rag.table import Column, ColumnType, Hit, Metric, Row, Table, VectorColumn

TKey = TypeVar("TKey")
TModel = TypeVar("TModel")
_Result = TypeVar("_Result")

_SCORE = "localphi score"  # no column: columns are fields, and this is no name for one
_METRICS: dict[DistanceFunction, Metric] = {
    DistanceFunction.DEFAULT: "cosine",
    DistanceFunction.COSINE_SIMILARITY: "cosine",
    DistanceFunction.COSINE_DISTANCE: "cosine",
    DistanceFunction.DOT_PROD: "dot",
    DistanceFunction.EUCLIDEAN_DISTANCE: "euclidean",
    DistanceFunction.EUCLIDEAN_SQUARED_DISTANCE: "euclidean",
}
_TYPES: dict[str, ColumnType] = {"str": "TEXT", "int": "INTEGER", "bool": "INTEGER", "float": "REAL"}


class SqliteCollection(VectorStoreCollection[TKey, TModel], VectorSearch[TKey, TModel]):
    """Records of one type in a `SqliteStore`: upsert, get, delete, search and hybrid_search.

    Keys are str or int. Fields with `is_full_text_indexed` are searched for words by hybrid_search, all
    texts where none has it; `additional_property_name` names the one alone to look into. A search gives how
    near a record is as the field's distance function counts; a hybrid search gives the score of reciprocal
    rank fusion.

    word_weight, vector_weight: what each ranking counts in a hybrid search; None for what the embedding
    model says.

    Methods raise what Semantic Kernel's stores raise, with a RagError as its cause where it is about
    the file: StoreLocked, OtherEmbedding, StoreUnusable.
    """

    supported_key_types: ClassVar[set[str] | None] = {"str", "int"}
    supported_search_types: ClassVar[set[SearchType]] = {SearchType.VECTOR, SearchType.KEYWORD_HYBRID}

    word_weight: float = 1.0
    vector_weight: float | None = None

    _database: Database = PrivateAttr()
    _table: Table = PrivateAttr()

    def __init__(self, database: Database, record_type: type[TModel], **values: Any) -> None:
        super().__init__(record_type=record_type, managed_client=False, **values)
        self._database = database
        self._table = self._made()

    @property
    def table(self) -> Table:
        """For those who write within a transaction of their own."""
        return self._table

    async def ensure_collection_exists(self, **_: Any) -> None:
        await self._write(self._table.create)

    async def collection_exists(self, **_: Any) -> bool:
        return await self._read(self._table.exists)

    async def ensure_collection_deleted(self, **_: Any) -> None:
        await self._write(self._table.drop)

    async def _inner_upsert(self, records: Sequence[Any], **_: Any) -> Sequence[TKey]:
        return await self._write(lambda connection: self._table.write(connection, records))

    async def _inner_get(
        self,
        keys: Sequence[TKey] | None = None,
        options: GetFilteredRecordOptions | None = None,
        include_vectors: bool = False,
        **_: Any,
    ) -> Any:
        if keys:
            wanted = list(keys)
            return await self._read(
                lambda connection: self._table.by_keys(connection, wanted, vectors=include_vectors)
            )
        if options is None:
            return None
        order = {self._stored(name): up for name, up in (options.order_by or {}).items()}
        return await self._read(
            lambda connection: self._table.page(
                connection, order, options.top, options.skip, vectors=include_vectors
            )
        )

    async def _inner_delete(self, keys: Sequence[TKey], **_: Any) -> None:
        await self._write(lambda connection: self._table.delete_keys(connection, keys))

    async def _inner_search(
        self,
        search_type: SearchType,
        options: VectorSearchOptions,
        values: Any | None = None,
        vector: Sequence[float | int] | None = None,
        **_: Any,
    ) -> KernelSearchResults[VectorSearchResult[TModel]]:
        where = self._condition(options)
        limit = options.top + options.skip
        column = self._vector_column(options)
        hybrid = search_type is SearchType.KEYWORD_HYBRID
        weight = self._weight(options) if hybrid else 1.0
        asked = await self._asked(values, vector, options) if weight else None
        text, words_in = str(values or ""), self._word_column(options.additional_property_name)

        def hits(connection: sqlite3.Connection) -> list[Hit]:
            if hybrid:
                return self._table.hybrid(
                    connection,
                    text,
                    column,
                    asked,
                    limit,
                    word_weight=self.word_weight,
                    vector_weight=weight,
                    where=where,
                    words_in=words_in,
                )
            assert asked is not None
            near = self._table.near(connection, column, asked, limit, where)
            return [(row, self._distance(options, score)) for row, score in near]

        def found(connection: sqlite3.Connection) -> tuple[list[Row], int | None]:
            page = dict(hits(connection)[options.skip : limit])
            rows = self._table.by_ids(connection, list(page), vectors=options.include_vectors)
            for row in rows:
                row[_SCORE] = page[row["rowid"]]
            return rows, self._table.count(connection, where) if options.include_total_count else None

        rows, total = await self._read(found)
        results = self._get_vector_search_results_from_results(rows, options)
        return KernelSearchResults(results=results, total_count=total)

    def _weight(self, options: VectorSearchOptions) -> float:
        if self.vector_weight is not None:
            return self.vector_weight
        generator = self._generator(options)
        return generator.hybrid_weight if isinstance(generator, LocalEmbedding) else 1.0

    async def _asked(
        self, values: Any, vector: Sequence[float | int] | None, options: VectorSearchOptions
    ) -> np.ndarray[Any, Any]:
        if vector is None:
            vector = await self._generate_vector_from_values(values, options)
        if vector is None:
            raise VectorSearchOptionsException("A search wants values or a vector.")
        return np.asarray(vector, np.float32)

    async def _generate_vector_from_values(
        self, values: Any | None, options: VectorSearchOptions
    ) -> Sequence[float | int] | None:
        """As the base class, but tells an embedding model of ours that this is a question."""
        generator = self._generator(options)
        if values is None or not isinstance(generator, LocalEmbedding):
            return await super()._generate_vector_from_values(values, options)
        text = values if isinstance(values, str) else json.dumps(values)
        asked: list[float] = (await generator.generate_embeddings([text], kind="query"))[0].tolist()
        return asked

    def _generator(self, options: VectorSearchOptions) -> EmbeddingGeneratorBase | None:
        field = self.definition.try_get_vector_field(options.vector_property_name)
        return (field.embedding_generator if field else None) or self.embedding_generator

    def _condition(self, options: VectorSearchOptions) -> Condition | None:
        built: Any = self._build_filter(options.filter)
        if built is None:
            return None
        conditions: list[Condition] = built if isinstance(built, list) else [built]
        return " AND ".join(f"({sql})" for sql, _ in conditions), sum(
            (values for _, values in conditions), ()
        )

    def _lambda_parser(self, node: ast.AST) -> Condition:
        columns: dict[str, tuple[str, bool]] = {}
        for field in self.definition.fields:
            if field not in self.definition.vector_fields:
                column = (quoted(_storage(field)), _column_type(field) == "JSON")
                columns |= {field.name: column, _storage(field): column}
        return condition(node, columns)

    def _distance(self, options: VectorSearchOptions, nearness: float) -> float:
        field = self.definition.try_get_vector_field(options.vector_property_name)
        match field.distance_function if field else None:
            case DistanceFunction.COSINE_DISTANCE:
                return 1 - nearness
            case DistanceFunction.EUCLIDEAN_DISTANCE:
                return -nearness
            case DistanceFunction.EUCLIDEAN_SQUARED_DISTANCE:
                return nearness**2
        return nearness

    def _vector_column(self, options: VectorSearchOptions) -> VectorColumn:
        field = self.definition.try_get_vector_field(options.vector_property_name)
        if field is None:
            raise VectorSearchOptionsException(f"{self.collection_name!r} has no field of vectors.")
        return next(one for one in self._table.vectors if one.name == _storage(field))

    def _word_column(self, name: str | None) -> str | None:
        if name is None:
            return None
        stored = self._stored(name)
        if not any(one.name == stored and one.words for one in self._table.columns):
            raise VectorSearchOptionsException(f"{name!r} is no field whose words are indexed.")
        return stored

    def _stored(self, name: str) -> str:
        for field in self.definition.fields:
            if name in (field.name, field.storage_name):
                return _storage(field)
        raise VectorSearchOptionsException(f"{name!r} is no field of {self.collection_name!r}.")

    def _made(self) -> Table:
        if not self.collection_name:
            raise VectorStoreModelValidationError("A collection wants a name.")
        fields = self.definition.data_fields
        named = [field for field in fields if field.is_full_text_indexed]
        texts = named or [field for field in fields if _column_type(field) == "TEXT"]
        key = self.definition.key_field
        return Table(
            self.collection_name,
            Column(_storage(key), _column_type(key)),
            [
                Column(_storage(field), _column_type(field), bool(field.is_indexed), field in texts)
                for field in fields
            ],
            [
                VectorColumn(
                    _storage(field),
                    field.dimensions or 0,
                    _METRICS[field.distance_function or DistanceFunction.DEFAULT],
                    _identity(field.embedding_generator or self.embedding_generator),
                )
                for field in self.definition.vector_fields
            ],
        )

    def _validate_data_model(self) -> None:
        super()._validate_data_model()  # type: ignore[no-untyped-call]
        for field in self.definition.vector_fields:
            if field.distance_function and field.distance_function not in _METRICS:
                raise VectorStoreModelValidationError(
                    f"{field.name} wants {field.distance_function}, but there are "
                    f"{', '.join(one.value for one in _METRICS)}."
                )

    def _serialize_data_model_to_dict(self, record: TModel, **values: Any) -> Any:
        """Models of pydantic come with names of fields, but the base class goes on with those of columns."""
        made = super()._serialize_data_model_to_dict(record, **values)
        names = {field.name: _storage(field) for field in self.definition.fields}
        several = made if isinstance(made, list) else [made]
        renamed = [{names.get(name, name): value for name, value in one.items()} for one in several]
        return renamed if isinstance(made, list) else renamed[0]

    def _serialize_dicts_to_store_models(
        self, records: Sequence[dict[str, Any]], **_: Any
    ) -> Sequence[dict[str, Any]]:
        return records

    def _deserialize_store_models_to_dicts(
        self, records: Sequence[Any], **_: Any
    ) -> Sequence[dict[str, Any]]:
        booleans = {_storage(field) for field in self.definition.data_fields if field.type_ == "bool"}
        vectors = {_storage(field): None for field in self.definition.vector_fields}
        return [
            vectors
            | {
                name: bool(value) if name in booleans and value is not None else value
                for name, value in record.items()
                if name not in ("rowid", _SCORE)
            }
            for record in records
        ]

    def _get_record_from_result(self, result: Row) -> Row:
        return result

    def _get_score_from_result(self, result: Row) -> float | None:
        return result.get(_SCORE)

    async def _read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        def run() -> _Result:
            with self._database.reading() as connection:
                return work(connection)

        return await asyncio.to_thread(run)

    async def _write(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        def run() -> _Result:
            with self._database.writing() as connection:
                return work(connection)

        return await asyncio.to_thread(run)


class SqliteStore(VectorStore):
    """Collections in one SQLite file, or in memory. Any number of threads may use it, and other programs
    beside it.

        async with SqliteStore("notes.db", embedding_generator=OnnxTextEmbedding("bge-small")) as store:
            notes = store.get_collection(Note)
            await notes.ensure_collection_exists()
            await notes.upsert(Note(...))
            found = await notes.hybrid_search("how long does it take?")

    Which embedding model made the vectors is written down with them; another one is an OtherEmbedding, not
    nonsense. Raises StoreUnusable or StoreLocked.
    """

    _database: Database = PrivateAttr()

    def __init__(
        self,
        path: str | Path = IN_MEMORY,
        embedding_generator: EmbeddingGeneratorBase | None = None,
        *,
        wait_s: float = 5.0,
    ) -> None:
        """wait_s: how long another program may hold the file before that is an error."""
        super().__init__(embedding_generator=embedding_generator)
        self._database = Database(path, wait_s=wait_s)

    @property
    def database(self) -> Database:
        return self._database

    def get_collection(
        self,
        record_type: type[TModel],
        *,
        definition: VectorStoreCollectionDefinition | None = None,
        collection_name: str | None = None,
        embedding_generator: EmbeddingGeneratorBase | None = None,
        **values: Any,
    ) -> SqliteCollection[Any, TModel]:
        return SqliteCollection(
            self._database,
            record_type,
            definition=definition,
            collection_name=collection_name,
            embedding_generator=embedding_generator or self.embedding_generator,
            **values,
        )

    async def list_collection_names(self, **_: Any) -> Sequence[str]:
        def names() -> list[str]:
            with self._database.reading() as connection:
                return [row[0] for row in connection.execute("SELECT name FROM collections ORDER BY name")]

        return await asyncio.to_thread(names)

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()


def _storage(field: VectorStoreField) -> str:
    return field.storage_name or field.name


def _column_type(field: VectorStoreField) -> ColumnType:
    return _TYPES.get(field.type_ or "str", "JSON")


def _identity(generator: EmbeddingGeneratorBase | None) -> str:
    if generator is None:
        return ""
    if isinstance(generator, LocalEmbedding):
        return generator.identity
    return f"{type(generator).__name__} {generator.ai_model_id}"
