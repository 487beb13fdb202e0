"""The vector store in SQLite, as Semantic Kernel uses stores."""

# No `from __future__ import annotations`: Semantic Kernel 1.45 reads a model's annotations as objects.
import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.data.vector import (
    DistanceFunction,
    VectorStoreCollectionDefinition,
    VectorStoreField,
    vectorstoremodel,
)
from semantic_kernel.exceptions import (
    VectorSearchExecutionException,
    VectorStoreModelValidationError,
    VectorStoreOperationException,
)

from localphi_agents.rag import (
    OtherEmbedding,
    SqliteCollection,
    SqliteStore,
    StoreLocked,
    StoreUnusable,
)
from localphi_agents.rag.database import Database
from rag_files import Letters


@vectorstoremodel(collection_name="notes")
@dataclass
class Note:  # type: ignore[misc]
    id: Annotated[str, VectorStoreField("key")]
    text: Annotated[str, VectorStoreField("data", is_full_text_indexed=True)]
    year: Annotated[int, VectorStoreField("data", is_indexed=True)] = 2026
    tags: Annotated[list[str], VectorStoreField("data")] = field(default_factory=list)
    done: Annotated[bool, VectorStoreField("data")] = False
    vector: Annotated[Any, VectorStoreField("vector", dimensions=26)] = None

    def __post_init__(self) -> None:
        if self.vector is None:
            self.vector = self.text


NOTES = [
    Note("a", "zebras in the zoo", 2020, ["animal"], True),
    Note("b", "the rent is due in June", 2021, ["money", "home"]),
    Note("c", "pay the rental car", 2022, ["money"]),
    Note("d", "100% of 'quotes\" and (brackets) AND * operators", 2023),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "deep" / "notes.db", Letters())
    yield made
    made.close()


async def filled(store: SqliteStore) -> SqliteCollection[Any, Note]:
    notes = store.get_collection(Note)
    await notes.ensure_collection_exists()
    assert await notes.upsert(NOTES) == ["a", "b", "c", "d"]
    return notes


async def got(collection: SqliteCollection[Any, Any], key: Any) -> Any:
    return await collection.get(key)


async def ids(results: Any) -> list[Any]:
    return [result.record.id async for result in results.results]


async def test_records_come_back_as_they_went_in(store: SqliteStore) -> None:
    notes = await filled(store)
    first = await got(notes, "a")
    assert (first.text, first.year, first.tags, first.done) == ("zebras in the zoo", 2020, ["animal"], True)
    both: Any = await notes.get(keys=["d", "nobody", "b"], include_vectors=True)
    assert [note.id for note in both] == ["d", "b"]
    assert len(both[0].vector) == 26
    newest: Any = await notes.get(top=2, skip=1, order_by={"year": False})
    assert [note.id for note in newest] == ["c", "b"]
    assert await notes.get("nobody") is None


async def test_a_record_takes_the_place_of_its_key_and_words_follow(store: SqliteStore) -> None:
    notes = await filled(store)
    assert await notes.upsert(Note("a", "giraffes")) == "a"
    assert await ids(await notes.hybrid_search("giraffes", vector_property_name="vector", top=1)) == ["a"]
    await notes.delete(["a", "nobody"])
    notes.vector_weight = 0
    assert await ids(await notes.hybrid_search("giraffes zebras")) == []
    assert await notes.get("a") is None


async def test_a_search_is_by_nearness_and_a_hybrid_one_by_words_too(store: SqliteStore) -> None:
    notes = await filled(store)
    results = await notes.search("zzoo zebras", top=1, include_total_count=True)
    assert results.total_count == 4
    found = [result async for result in results.results]
    assert found[0].record.id == "a"
    assert 0.8 < (found[0].score or 0) <= 1
    assert await ids(await notes.hybrid_search("When is the rental due?", top=2)) == ["c", "b"]
    assert await ids(await notes.hybrid_search("rental", top=1, additional_property_name="text")) == ["c"]
    assert len(await ids(await notes.search("rent", top=2, skip=3))) == 1


async def test_filters_become_sql(store: SqliteStore) -> None:
    notes = await filled(store)
    for condition, wanted in {
        "lambda x: x.year > 2020 and x.year <= 2022": {"b", "c"},
        "lambda x: 2020 < x.year < 2022": {"b"},
        "lambda x: x.year in [2020, 2023]": {"a", "d"},
        "lambda x: x['year'] not in (2020, 2023)": {"b", "c"},
        "lambda x: 'money' in x.tags": {"b", "c"},
        "lambda x: x.tags.contains('home')": {"b"},
        "lambda x: x.text.startswith('the ') or x.done": {"a", "b"},
        "lambda x: x.text.endswith('car')": {"c"},
        "lambda x: 'rent' in x.text and not x.text == 'pay the rental car'": {"b"},
        'lambda x: x.text == "\' OR 1 --"': set(),
        "lambda x: x.done == True": {"a"},
    }.items():
        assert set(await ids(await notes.search("x", top=9, filter=condition))) == wanted, condition
        assert set(await ids(await notes.hybrid_search("x", top=9, filter=condition))) == wanted, condition
    several: list[Any] = ["lambda x: x.year > 2020", "lambda x: x.year < 2022"]
    assert await ids(await notes.search("x", filter=several)) == ["b"]


async def test_a_filter_may_be_a_function_that_is_read_and_not_run(store: SqliteStore) -> None:
    notes = await filled(store)
    found = await notes.search("x", filter=lambda note: note.year >= 2022 and not note.done)
    assert set(await ids(found)) == {"c", "d"}


async def test_languages_without_spaces_are_found_by_pairs_of_signs(store: SqliteStore) -> None:
    notes = await filled(store)
    notes.vector_weight = 0
    await notes.upsert(
        [Note("zh", "房租每年六月一日到期。", 2025), Note("ja", "家賃は六月に支払います。", 2025)]
    )
    assert await ids(await notes.hybrid_search("房租什么时候到期？", top=1)) == ["zh"]
    assert await ids(await notes.hybrid_search("家賃の支払い", top=1)) == ["ja"]
    assert set(await ids(await notes.hybrid_search("六月", filter="lambda x: x.year == 2025"))) == {
        "zh",
        "ja",
    }
    assert await ids(await notes.hybrid_search("六月", filter="lambda x: x.year == 2020")) == []
    assert await ids(await notes.hybrid_search("猫")) == []


@pytest.mark.parametrize(
    "condition",
    [
        "lambda x: __import__('os').system('true')",
        "lambda x: x.text.format('a')",
        "lambda x: x.unknown == 1",
        "lambda x: x.year == y",
        "lambda x: x.vector == 1",
        "lambda x: x.text[0] == 'a'",
        "lambda x: " + "not " * 60 + "x.done",
    ],
)
async def test_filters_that_are_none_are_refused(store: SqliteStore, condition: str) -> None:
    notes = await filled(store)
    with pytest.raises(VectorStoreOperationException):
        await notes.search("x", filter=condition)


@pytest.mark.parametrize(
    "text", ['"', "* AND (", "NEAR(a b)", "text:", "", "the", "ß" * 5000, "\0", "-1 ^ 2"]
)
async def test_whatever_is_asked_is_no_syntax(store: SqliteStore, text: str) -> None:
    notes = await filled(store)
    assert len(await ids(await notes.hybrid_search(text, top=9))) <= 4


@pytest.mark.parametrize(
    ("function", "scores"),
    [
        (DistanceFunction.COSINE_SIMILARITY, [1.0, 0.0]),
        (DistanceFunction.COSINE_DISTANCE, [0.0, 1.0]),
        (DistanceFunction.DOT_PROD, [2.0, 0.0]),
        (DistanceFunction.EUCLIDEAN_DISTANCE, [1.0, 2.236068]),
        (DistanceFunction.EUCLIDEAN_SQUARED_DISTANCE, [1.0, 5.0]),
    ],
)
async def test_scores_are_those_of_the_distance_function(
    function: DistanceFunction, scores: list[float]
) -> None:
    definition = VectorStoreCollectionDefinition(
        fields=[
            VectorStoreField("key", name="id", type="int"),
            VectorStoreField("vector", name="at", type="float", dimensions=2, distance_function=function),
        ]
    )
    with Database(":memory:") as database:
        places: SqliteCollection[int, Any] = SqliteCollection(
            database, dict, definition=definition, collection_name="places"
        )
        await places.ensure_collection_exists()
        await places.upsert([{"id": 1, "at": [0.0, 1.0]}, {"id": 2, "at": [1.0, 0.0]}])
        found = [one async for one in (await places.search(vector=[2.0, 0.0])).results]
        assert [one.record["id"] for one in found] == [2, 1]
        assert [one.score for one in found] == pytest.approx(scores, abs=1e-5)
        with pytest.raises(VectorStoreOperationException, match="2 numbers, but one of 3"):
            await places.upsert({"id": 3, "at": [1.0, 2.0, 3.0]})
        with pytest.raises(VectorStoreOperationException, match="finite"):
            await places.upsert({"id": 3, "at": [1.0, float("nan")]})
        with pytest.raises(VectorSearchExecutionException, match="2 numbers, but one of 1"):
            await places.search(vector=[1.0])


def test_what_cannot_be_kept_is_refused_at_once() -> None:
    hamming = VectorStoreField("vector", name="v", dimensions=2, distance_function=DistanceFunction.HAMMING)
    for fields in (
        [VectorStoreField("key", name="id", type="float")],
        [VectorStoreField("key", name="id"), hamming],
    ):
        definition = VectorStoreCollectionDefinition(fields=fields)
        with Database(":memory:") as database, pytest.raises(VectorStoreModelValidationError):
            SqliteCollection(database, dict, definition=definition, collection_name="x")


@vectorstoremodel
class Renamed(BaseModel):
    id: Annotated[int, VectorStoreField("key", storage_name="number")]
    text: Annotated[str, VectorStoreField("data", storage_name='bo"dy')]
    vector: Annotated[
        list[float] | str | None, VectorStoreField("vector", dimensions=26, storage_name="v")
    ] = None


async def test_models_of_pydantic_and_names_of_columns_work(store: SqliteStore) -> None:
    records = store.get_collection(Renamed, collection_name='odd "name"; --')
    await records.ensure_collection_exists()
    assert await records.upsert([Renamed(id=7, text="seven", vector="seven")]) == [7]
    assert (await got(records, 7)).text == "seven"
    found = await records.hybrid_search("seven", filter="lambda x: x.text == 'seven'")
    assert await ids(found) == [7]
    assert await store.list_collection_names() == ['odd "name"; --']
    await store.ensure_collection_deleted('odd "name"; --')
    assert await store.list_collection_names() == []


async def test_it_serves_as_a_function_of_a_kernel(store: SqliteStore) -> None:
    notes = await filled(store)
    kernel = Kernel()
    function = notes.create_search_function(
        "find", search_type="keyword_hybrid", string_mapper=lambda one: one.record.id
    )
    kernel.add_function("notes", function)
    result = await kernel.invoke(function_name="find", plugin_name="notes", query="rent", top=2)
    assert result is not None
    assert list(result.value) == ["b", "c"]


async def test_what_was_written_is_there_after_closing(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "n.db", Letters()) as store:
        await filled(store)
    async with SqliteStore(tmp_path / "n.db", Letters()) as store:
        assert await store.collection_exists("notes")
        assert not await store.collection_exists("others")
        assert await ids(await store.get_collection(Note).hybrid_search("rent", top=1)) == ["b"]


async def test_another_embedding_model_is_one_clear_error(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "n.db", Letters()) as store:
        await filled(store)
    async with SqliteStore(tmp_path / "n.db", Letters("others")) as store:
        notes = store.get_collection(Note)
        says = "'notes' were made with letters, but others is used now"
        with pytest.raises(OtherEmbedding, match=says):
            await notes.ensure_collection_exists()
        with pytest.raises(VectorSearchExecutionException, match=says) as caught:
            await notes.search("rent")
        assert isinstance(caught.value.__cause__, OtherEmbedding)
        with pytest.raises(VectorStoreOperationException, match=says):
            await notes.upsert(NOTES[0])


async def test_other_fields_and_no_collection_are_told(store: SqliteStore) -> None:
    with pytest.raises(VectorStoreOperationException, match="ensure_collection_exists"):
        await store.get_collection(Note).upsert(NOTES[0])
    await filled(store)
    definition = VectorStoreCollectionDefinition(fields=[VectorStoreField("key", name="id", type="str")])
    other = store.get_collection(dict, definition=definition, collection_name="notes")
    with pytest.raises(StoreUnusable, match="other fields"):
        await other.ensure_collection_exists()


async def test_an_upsert_is_whole_or_not_at_all(store: SqliteStore) -> None:
    notes = await filled(store)
    bad = Note("b", "changed")
    bad.year = "no number"  # type: ignore[assignment]
    with pytest.raises(VectorStoreOperationException):
        await notes.upsert([Note("e", "new"), bad])
    assert await notes.get("e") is None
    assert (await got(notes, "b")).text == "the rent is due in June"


def test_many_threads_read_and_write_at_the_same_time(store: SqliteStore) -> None:
    asyncio.run(filled(store))

    async def work(number: int) -> int:
        notes = store.get_collection(Note)
        for step in range(10):
            await notes.upsert([Note(f"{number}-{step}-{n}", "rent and zebras") for n in range(3)])
            found = await ids(await notes.hybrid_search("zebras", top=3))
            assert len(found) == 3
        await notes.delete([f"{number}-{step}-0" for step in range(10)])
        return number

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda number: asyncio.run(work(number)), range(8))) == list(range(8))
    count = asyncio.run(store.get_collection(Note).search("zebras", top=999, include_total_count=True))
    assert count.total_count == 4 + 8 * 20


def test_two_programs_write_at_the_same_time_and_a_killed_one_leaves_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    code = (
        "import sys; from localphi_agents.rag.database import Database\n"
        "with Database(sys.argv[1]) as database:\n"
        "    print('ready', flush=True)\n"
        "    for n in range(100000):\n"
        "        with database.writing() as c:\n"
        "            c.executemany('INSERT INTO pairs VALUES (?)', [(n,), (n,)])\n"
    )
    with Database(path) as database:
        with database.writing() as connection:
            connection.execute("CREATE TABLE pairs (n)")
        other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert other.stdout is not None
        other.stdout.readline()
        for _ in range(50):
            with database.writing() as connection:
                connection.execute("INSERT INTO pairs VALUES (-1)")
        other.kill()
        other.communicate()
        with database.reading() as connection:
            counts = dict(connection.execute("SELECT n, count(*) FROM pairs GROUP BY n").fetchall())
    assert counts.pop(-1) == 50
    assert set(counts.values()) <= {2}


async def test_a_locked_database_is_one_clear_error_and_readers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    async with SqliteStore(path, Letters(), wait_s=0.5) as store:
        notes = await filled(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(VectorStoreOperationException, match="is locked by another program") as caught:
            await notes.upsert(Note("e", "new"))
        assert isinstance(caught.value.__cause__, StoreLocked)
        slow = asyncio.create_task(notes.upsert(Note("f", "new")))  # waits, and nobody who reads with it
        assert await ids(await notes.search("rent", top=1)) == ["b"]
        assert not slow.done()
        with pytest.raises(VectorStoreOperationException):
            await slow
        other.execute("ROLLBACK")
        other.close()
        await notes.upsert(Note("e", "new"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps it in the user's folders instead")
async def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "n.db", Letters()) as store:
        await filled(store)
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["n.db", "n.db-shm", "n.db-wal"]
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_files_that_are_no_store_are_told_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_bytes(b"no database at all, but long enough to be looked at" * 30)
    with pytest.raises(StoreUnusable, match="no database, or damaged"):
        SqliteStore(text)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = foreign.read_bytes()
    with pytest.raises(StoreUnusable, match="another program"):
        SqliteStore(foreign)
    assert foreign.read_bytes() == before
    with pytest.raises(StoreUnusable, match="cannot be used"):
        SqliteStore(tmp_path)
