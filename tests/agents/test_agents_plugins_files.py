"""Reading in one folder, and every way out of it closed."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from localphi_agents.plugins import Files, PluginError

ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of this kind are POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("outside", encoding="utf-8")
    inside = tmp_path / "inside"
    (inside / "notes").mkdir(parents=True)
    (inside / "readme.txt").write_text("Hello.\nThe key is BLUE.\n", encoding="utf-8")
    (inside / "notes" / "today.md").write_text("Buy milk\nkey: under the mat\n", encoding="utf-8")
    (inside / "picture.bin").write_bytes(b"\x00\x01key")
    return inside


@pytest.fixture
def files(folder: Path) -> Files:
    return Files(folder)


async def test_files_are_listed(files: Files, folder: Path) -> None:
    (folder / "empty").mkdir()
    assert await files.list_files() == "empty/\nnotes/\npicture.bin\nreadme.txt"
    assert await files.list_files("notes") == "today.md"
    assert await files.list_files("./notes/") == "today.md"
    assert await files.list_files("empty") == "(empty)"


async def test_files_are_read(files: Files, folder: Path) -> None:
    assert await files.read_file("readme.txt") == "Hello.\nThe key is BLUE."
    assert await files.read_file("notes\\today.md", 2) == "key: under the mat"
    (folder / "none.txt").write_bytes(b"")
    assert await files.read_file("none.txt") == "(empty)"
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    assert await files.read_file("latin.txt") == "caf\ufffd"


async def test_a_long_file_is_read_in_parts(files: Files, folder: Path) -> None:
    (folder / "long.txt").write_text("\n".join(f"line {n} " + "x" * 90 for n in range(1, 301)))
    first = await files.read_file("long.txt")
    assert len(first) < 8_100
    last = first.splitlines()[-1]
    assert last.startswith("(goes on at line ")
    assert last.endswith(" of 300)")
    next_line = int(last.split()[4])
    assert (await files.read_file("long.txt", next_line)).startswith(f"line {next_line} ")
    assert (await files.read_file("long.txt", 300)).startswith("line 300 ")
    (folder / "one.txt").write_text("y" * 1_000_000)
    assert len(await files.read_file("one.txt")) == 2_001


async def test_texts_are_found(files: Files, folder: Path) -> None:
    blue, mat = "readme.txt:2: The key is BLUE.", "notes/today.md:2: key: under the mat"
    assert await files.search_files("KEY") == f"{blue}\n{mat}"
    assert await files.search_files("key", "notes") == mat
    assert await files.search_files("nowhere") == "'nowhere' is in none of the files."
    (folder / "many.txt").write_text("key " * 100 + "\n" + "key\n" * 100)
    found = (await files.search_files("key")).splitlines()
    assert (len(found), found[-1]) == (41, "(there may be more; look for something longer)")
    assert max(map(len, found)) < 230


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "notes/../../secret.txt",
        "..",
        "/etc/passwd",
        "\ud800",
        "\\etc\\passwd",
        "~/x\0y",
        "a" * 70 + "/../" * 9,
    ],
)
async def test_paths_out_of_the_folder_are_refused(files: Files, path: str) -> None:
    for look in (files.read_file(path), files.list_files(path), files.search_files("a", path)):
        with pytest.raises(PluginError, match="is not in the folder"):
            await look


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        ("gone.txt", 1, r"There is no file 'gone.txt'\. List the files"),
        ("readme.txt/x", 1, "cannot be read"),
        ("notes", 1, "cannot be read|is not a file"),
        ("", 1, "cannot be read|is not a file"),
        ("x" * 5000, 1, "cannot be read|is not in the folder"),
        ("picture.bin", 1, "is not a text file"),
        ("readme.txt", 3, "has 2 lines, but line 3 was asked for"),
        ("readme.txt", 0, "but line 0"),
        ("readme.txt", -5, "but line -5"),
    ],
)
async def test_what_cannot_be_read_is_one_sentence(files: Files, path: str, line: int, said: str) -> None:
    with pytest.raises(PluginError, match=said) as refused:
        await files.read_file(path, line)
    assert "\n" not in str(refused.value)
    assert str(files.folder) not in str(refused.value)


async def test_bounds_are_told(files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "huge.txt").open("wb") as huge:
        huge.truncate(5_000_001)
    with pytest.raises(PluginError, match="has 5000001 bytes, but up to 5000000 are read"):
        await files.read_file("huge.txt")
    for number in range(205):
        (folder / "notes" / f"{number:03}.txt").touch()
    listed = (await files.list_files("notes")).splitlines()
    assert (len(listed), listed[-1]) == (201, "(6 more)")
    with pytest.raises(PluginError, match="the text is empty"):
        await files.search_files("  ")
    with pytest.raises(PluginError, match="There is no folder 'nope'"):
        await files.list_files("nope")
    monkeypatch.setattr("localphi_agents.plugins.files._MAX_SEARCHED_FILES", 100)
    with pytest.raises(PluginError, match="too many files to search"):
        await files.search_files("nowhere")


def test_a_folder_that_is_none_is_told(folder: Path) -> None:
    for wrong in (folder / "gone", folder / "readme.txt"):
        with pytest.raises(ValueError, match="A folder is wanted, but "):
            Files(wrong)


@ON_POSIX
async def test_links_that_lead_out_are_neither_shown_nor_followed(files: Files, folder: Path) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    (folder / "circle").symlink_to("circle")
    (folder / "broken").symlink_to(folder.parent / "gone")
    (folder / "same.txt").symlink_to("readme.txt")
    assert await files.list_files() == "notes/\npicture.bin\nreadme.txt\nsame.txt"
    assert await files.read_file("same.txt") == "Hello.\nThe key is BLUE."
    for path in ("out.txt", "up/secret.txt", "circle", "broken"):
        with pytest.raises(PluginError, match=r"is not in the folder|cannot be read"):
            await files.read_file(path)
    assert await files.search_files("outside") == "'outside' is in none of the files."


@ON_POSIX
async def test_names_that_are_no_text_are_shown_as_they_can_be(files: Files, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text("needle")
    assert "caf?.txt" in await files.list_files()
    assert await files.search_files("needle") == "caf?.txt:1: needle"


@ON_POSIX
async def test_pipes_and_sockets_are_not_waited_for(
    files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(PluginError, match="is not a file that can be read"):
        await files.read_file("pipe")
    assert "none of the files" in await files.search_files("nothing")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder)  # the name of a socket must be short
        listener.bind("sock")
        with pytest.raises(PluginError, match="cannot be read"):
            await files.read_file("sock")


async def test_the_event_loop_is_free_while_files_are_read(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader: list[int] = []
    monkeypatch.setattr(Files, "_read", lambda *_: reader.append(threading.get_ident()))
    await files.read_file("readme.txt")
    assert reader != [threading.get_ident()]
