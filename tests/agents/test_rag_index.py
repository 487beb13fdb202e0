"""A folder of documents: what is read again, what is left, and where a passage stands."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from localphi_agents.rag import (
    DocumentIndex,
    NothingToRead,
    OtherEmbedding,
    Progress,
    StoreLocked,
    UnreadableFile,
)
from localphi_agents.rag.chunks import Chunk, chunks
from localphi_agents.rag.embedding import Kind, Vectors
from localphi_agents.rag.reading import Section, sections
from rag_files import Letters, pdf, with_outline

GUIDE = """Before all.

# The guide

Words of the guide.

## Rent *and* power ##

The rent is due on the first of June.

```sh
# no heading
```

# Cars
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    (made / "deep").mkdir(parents=True)
    (made / "guide.md").write_text(GUIDE)
    (made / "deep" / "notes.txt").write_text("Zebras live in the zoo.")
    (made / "manual.pdf").write_bytes(pdf(["Turn the machine on.", "", "Clean the filter every week."]))
    (made / ".hidden.md").write_text("secret")
    (made / "picture.png").write_bytes(b"\0")
    return made


def test_markdown_is_cut_at_its_headings_but_not_in_code() -> None:
    found = [(one.heading, " ".join(one.text.split())) for one in sections(Path("a.md"), GUIDE.encode())]
    assert found == [
        ("", "Before all."),
        ("The guide", "Words of the guide."),
        ("The guide > Rent and power", "The rent is due on the first of June. ```sh # no heading ```"),
        ("Cars", ""),
    ]


def test_pdf_is_cut_at_its_pages() -> None:
    found = [(one.page, one.text.strip()) for one in sections(Path("a.pdf"), pdf(["One.", "", "Three."]))]
    assert found == [(1, "One."), (2, ""), (3, "Three.")]


def test_pdf_has_the_headings_of_its_outline() -> None:
    plain = pdf(["Zero.", "One.", "Two.", "Three.", "Four."])
    headings = [
        ("Install", 1, None),
        ("On  Windows", 2, "Install"),
        ("On Linux", 2, "Install"),
        ("Use", 4, None),
    ]
    found = [(one.page, one.heading) for one in sections(Path("a.pdf"), with_outline(plain, headings))]
    assert found == [
        (1, ""), (2, "Install"), (3, "Install > On Linux"), (4, "Install > On Linux"), (5, "Use"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.pdf", b"%PDF-1.4 and nothing", "a.pdf cannot be read as PDF"),
        ("a.pdf", b"", "a.pdf cannot be read as PDF"),
        ("a.pdf", pdf(["", ""]), "a.pdf holds no text; perhaps it is scanned"),
        ("a.md", b"a\0b", "a.md is not a text file"),
        ("a.txt", b" \n ", "a.txt holds no text"),
    ],
    ids=["damaged", "empty", "scanned", "binary", "blank"],
)
def test_what_holds_no_text_is_one_sentence(name: str, data: bytes, says: str) -> None:
    with pytest.raises(UnreadableFile, match=rf"{says}.*\.$"):
        sections(Path(name), data)


def test_a_text_is_cut_where_it_hurts_least_and_nothing_is_lost() -> None:
    text = "\n\n".join(f"Paragraph {n} has words. And more of them, a line." for n in range(40))
    made = list(chunks([Section(text, "H", 3)], size=200, overlap=40))
    assert all(len(one.text) <= 200 and (one.heading, one.page) == ("H", 3) for one in made)
    assert all(one.text.endswith("a line.") for one in made)
    for n in range(40):
        assert any(f"Paragraph {n} has words. And more of them, a line." in one.text for one in made)
    for before, after in pairwise(made):
        assert after.text.split("\n")[0] in before.text


def test_a_text_without_any_seam_is_cut_all_the_same() -> None:
    made = list(chunks([Section("x" * 1_000_000)], size=900, overlap=0))
    assert "".join(one.text for one in made) == "x" * 1_000_000
    assert list(chunks([Section("short")], size=10, overlap=3)) == [Chunk("short", "", None)]
    with pytest.raises(ValueError, match="under half of size"):
        list(chunks([], size=10, overlap=5))


async def test_passages_tell_where_they_stand(folder: Path) -> None:
    with DocumentIndex(folder, embedding=Letters()) as index:
        report = await index.update()
        assert report.added == ["guide.md", "manual.pdf", "deep/notes.txt"]
        assert (report.failed, report.removed, report.unchanged) == ({}, [], 0)
        for query, citation in {
            "When is the rent due?": "guide.md, The guide > Rent and power",
            "How often do I clean the filter?": "manual.pdf, page 3",
            "zebras": "deep/notes.txt",
        }.items():
            assert (await index.search(query, 1))[0].citation == citation
        assert len(await index.search("rent", 2)) == 2


async def test_only_what_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    database = tmp_path / "docs.db"
    with DocumentIndex(folder, database, embedding=Letters()) as index:
        await index.update()
    (folder / "guide.md").write_text("# Guide\n\nThe rent is due in August.")
    (folder / "manual.pdf").unlink()
    (folder / "new.txt").write_text("Giraffes.")
    os.utime(folder / "deep" / "notes.txt", (1, 1))  # another time, the same text

    class Counting(Letters):
        def __init__(self) -> None:
            super().__init__()

        def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Vectors:
            asked.extend(texts)
            return super().embed(texts, kind)

    asked: list[str] = []
    with DocumentIndex(folder, database, embedding=Counting()) as index:
        report = await index.update()
        assert (report.added, report.changed, report.removed, report.unchanged) == (
            ["new.txt"], ["guide.md"], ["manual.pdf"], 1,
        )  # fmt: skip
        assert asked == ["Guide\nThe rent is due in August.", "\nGiraffes."]
        assert [one.file for one in await index.search("filter machine clean", 9)].count("manual.pdf") == 0
        assert "August" in (await index.search("rent", 1))[0].text
        assert (await index.update()).unchanged == 3


async def test_one_bad_file_does_not_stop_the_others_and_keeps_what_was_known(folder: Path) -> None:
    with DocumentIndex(folder, embedding=Letters()) as index:
        await index.update()
        (folder / "manual.pdf").write_bytes(b"%PDF-1.4 damaged")
        (folder / "bad.pdf").write_bytes(b"nothing")
        (folder / "new.txt").write_text("Giraffes.")
        report = await index.update()
        assert set(report.failed) == {"manual.pdf", "bad.pdf"}
        assert report.added == ["new.txt"]
        assert report.removed == []
        assert (await index.search("clean the filter", 1))[0].citation == "manual.pdf, page 3"


async def test_an_update_that_was_stopped_goes_on(folder: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 2:
            raise KeyboardInterrupt

    database = tmp_path / "docs.db"
    with DocumentIndex(folder, database, embedding=Letters()) as index:
        with pytest.raises(KeyboardInterrupt):
            await index.update(stop)
        assert [(one.done, one.total, one.name) for one in seen] == [
            (0, 3, "guide.md"), (1, 3, "manual.pdf"), (2, 3, "deep/notes.txt"),
        ]  # fmt: skip
    with DocumentIndex(folder, database, embedding=Letters()) as index:
        report = await index.update()
        assert (report.added, report.unchanged) == (["deep/notes.txt"], 2)


async def test_links_that_lead_out_are_left(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.md").write_text("secret")
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    with DocumentIndex(folder, embedding=Letters()) as index:
        report = await index.update()
        assert len(report.added) == 3
        assert report.failed == {}


async def test_no_folder_and_no_documents_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match="is none"):
        DocumentIndex(tmp_path / "missing", embedding=Letters())
    with DocumentIndex(tmp_path, embedding=Letters()) as index:
        with pytest.raises(NothingToRead, match=r"holds no document.*\.md"):
            await index.update()
        assert await index.search("rent") == []


async def test_another_embedding_model_and_a_locked_database_are_told(folder: Path, tmp_path: Path) -> None:
    database = tmp_path / "docs.db"
    with DocumentIndex(folder, database, embedding=Letters()) as index:
        await index.update()
    with pytest.raises(OtherEmbedding, match="made with letters, but others"):
        DocumentIndex(folder, database, embedding=Letters("others"))
    with DocumentIndex(folder, database, embedding=Letters(), wait_s=0.1) as index:
        other = sqlite3.connect(database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        (folder / "new.txt").write_text("Giraffes.")
        with pytest.raises(StoreLocked, match="locked by another program"):
            await index.update()
        assert await index.search("rent", 1)
        other.close()
        assert (await index.update()).added == ["new.txt"]


async def test_a_large_document_leaves_the_event_loop_free(folder: Path) -> None:
    (folder / "large.txt").write_text("The quick brown fox is quick. " * 35_000)  # 1 MB
    with DocumentIndex(folder) as index:
        work = asyncio.create_task(index.update())
        turns = 0
        while not work.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert (await work).failed == {}
        assert turns > 20  # five files are five turns, where the loop has to wait for the work
        assert len(await index.search("fox", 50)) == 50
