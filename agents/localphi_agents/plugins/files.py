"""Reading in one folder."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Annotated

from semantic_kernel.functions import kernel_function

from localphi_agents.plugins.bounds import bounds
from localphi_agents.plugins.errors import PluginError

_PATH = {"maxLength": 120}
_MAX_ENTRIES = 200
_MAX_CHARACTERS = 8_000  # of one reading; a small model's context holds a few thousand tokens
_MAX_LINE = 2_000
_MAX_FILE_BYTES = 5_000_000
_MAX_HITS = 40
_MAX_HIT_LENGTH = 200
_MAX_SEARCHED_FILES = 5_000
_MAX_SEARCHED_BYTES = 50_000_000


class Files:
    """Lists, reads and searches text files in a folder; changes nothing and sees nothing outside of it.

    Paths are relative to the folder. What leads out of it, by .. or by a symbolic link, is refused, and so is
    what is no plain file: devices, pipes and sockets. An answer has at most 200 entries, 8000 characters or
    40 lines found; files of more than 5 MB are not read.

    Raises ValueError when folder is not a folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().resolve()
        if not self.folder.is_dir():
            raise ValueError(f"A folder is wanted, but {folder} is none.")

    @bounds(folder=_PATH)
    @kernel_function
    async def list_files(
        self, folder: Annotated[str, "Folder to look into; empty for the whole folder"] = ""
    ) -> Annotated[str, "One name a line; folders end with /"]:
        """List the files in the folder."""
        return await asyncio.to_thread(self._list, folder)

    @bounds(path=_PATH, start_line={"minimum": 1, "maximum": _MAX_FILE_BYTES})
    @kernel_function
    async def read_file(
        self,
        path: Annotated[str, "Name of the file, like notes/today.txt"],
        start_line: Annotated[int, "Line to start at, 1 for the beginning"] = 1,
    ) -> Annotated[str, "The text"]:
        """Read a text file."""
        return await asyncio.to_thread(self._read, path, start_line)

    @bounds(text={"maxLength": _MAX_HIT_LENGTH}, folder=_PATH)
    @kernel_function
    async def search_files(
        self,
        text: Annotated[str, "Words to look for, as they are written"],
        folder: Annotated[str, "Folder to search; empty for the whole folder"] = "",
    ) -> Annotated[str, "Lines that contain the text, each with its file and line number"]:
        """Find a text in the files of the folder."""
        return await asyncio.to_thread(self._search, text, folder)

    def _list(self, folder: str) -> str:
        place = self._inside(folder)
        if not os.path.isdir(place):  # unlike Path.is_dir, says no where it may not look
            raise PluginError(f"There is no folder {folder!r}.")
        with _as_sentence(folder), os.scandir(place) as entries:
            names = sorted(
                _sendable(entry.name) + ("/" if entry.is_dir() else "")
                for entry in entries
                if self._is_inside(Path(entry.path))
            )
        more = f"\n({len(names) - _MAX_ENTRIES} more)" if len(names) > _MAX_ENTRIES else ""
        return "\n".join(names[:_MAX_ENTRIES]) + more if names else "(empty)"

    def _read(self, path: str, start_line: int) -> str:
        lines = _text(self._inside(path), path).splitlines()
        if start_line < 1 or (start_line > len(lines) and start_line > 1):
            raise PluginError(f"{path} has {len(lines)} lines, but line {start_line} was asked for.")
        shown: list[str] = []
        room = _MAX_CHARACTERS
        for line in lines[start_line - 1 :]:
            shown.append(line[:_MAX_LINE] + ("…" if len(line) > _MAX_LINE else ""))
            room -= len(shown[-1]) + 1
            if room < 0 and len(shown) > 1:
                shown.pop()
                break
        next_line = start_line + len(shown)
        more = f"\n(goes on at line {next_line} of {len(lines)})" if next_line <= len(lines) else ""
        return "\n".join(shown) + more if lines else "(empty)"

    def _search(self, text: str, folder: str) -> str:
        wanted = text.strip().casefold()
        if not wanted:
            raise PluginError("Say what to look for; the text is empty.")
        place = self._inside(folder)
        if not os.path.isdir(place):  # unlike Path.is_dir, says no where it may not look
            raise PluginError(f"There is no folder {folder!r}.")
        hits: list[str] = []
        for path, content in self._texts(place):
            for number, line in enumerate(content.splitlines(), 1):
                if wanted in line.casefold():
                    hits.append(f"{path}:{number}: {line.strip()[:_MAX_HIT_LENGTH]}")
                    if len(hits) == _MAX_HITS:
                        return "\n".join(hits) + "\n(there may be more; look for something longer)"
        return "\n".join(hits) or f"{text.strip()!r} is in none of the files."

    def _texts(self, place: Path) -> Iterator[tuple[str, str]]:
        """Every text file below, a folder before those inside it. What cannot be read is passed over."""
        files, total = 0, 0
        for parent, folders, names in os.walk(place):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if not self._is_inside(path):
                    continue
                try:
                    content = _text(path, name)
                except PluginError:
                    continue
                files, total = files + 1, total + len(content)
                if files > _MAX_SEARCHED_FILES or total > _MAX_SEARCHED_BYTES:
                    raise PluginError("There are too many files to search. Name a folder inside.")
                yield _sendable(path.relative_to(self.folder).as_posix()), content

    def _inside(self, path: str) -> Path:
        """Where the path is, all links followed. Raises PluginError when that is not in the folder."""
        asked = PurePath(path.strip().replace("\\", "/"))
        is_odd = "\0" in path or (os.name == "nt" and ":" in path)  # there, name:stream is another file
        if is_odd or asked.is_absolute() or ".." in asked.parts or not self._is_inside(self.folder / asked):
            raise PluginError(f"{path[:80]!r} is not in the folder. Paths look like notes/today.txt")
        return (self.folder / asked).resolve()

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.folder)
        except (OSError, RuntimeError, ValueError):  # links in a circle, half a character
            return False


def _sendable(name: str) -> str:
    """The name; what is not UTF-8 in it cannot be sent."""
    return name.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def _as_sentence(name: str) -> Iterator[None]:
    """Errors of the system, without the folder's own path."""
    try:
        yield
    except FileNotFoundError as error:
        raise PluginError(f"There is no file {name[:80]!r}. List the files to see their names.") from error
    except OSError as error:
        raise PluginError(f"{name[:80]!r} cannot be read: {error.strerror}.") from error


def _text(path: Path, name: str) -> str:
    """The text of a plain file. Raises PluginError for all else."""
    with _as_sentence(name):
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            state = os.fstat(file)
            if not stat.S_ISREG(state.st_mode):
                raise PluginError(f"{name[:80]!r} is not a file that can be read.")
            if state.st_size > _MAX_FILE_BYTES:
                raise PluginError(
                    f"{name[:80]!r} has {state.st_size} bytes, but up to {_MAX_FILE_BYTES} are read."
                )
            with open(file, "rb", closefd=False) as content:
                data = content.read(_MAX_FILE_BYTES)
        finally:
            os.close(file)
    if b"\0" in data:
        raise PluginError(f"{name[:80]!r} is not a text file.")
    return data.decode("utf-8-sig", errors="replace")
