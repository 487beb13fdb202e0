"""Where a model is gathered before it is one.

    models/.pulling/ID.lock        held by the one process that pulls ID; let go of when that dies
    models/.pulling/ID/pull.json   repository, commit and files, so that the next pull goes on with the same
    models/.pulling/ID/folder/     the model to be: whole files, and NAME.partial for the growing one
    models/.pulling/ID/replaced/   the folder that was in the store before, between two renames

Nothing in here is ever listed as a model: the folder moves into the store with one rename, when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from localphi.errors import DiskFull, PullBusy
from localphi.models.store import FolderStore

PARTIAL = ".partial"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Begun:
    """What an interrupted pull was fetching. files: identities by local names."""

    repo: str = ""
    commit: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


class Staging:
    """The staging folder of one model id; changed only by who holds its lock."""

    def __init__(self, store: FolderStore, model_id: str) -> None:
        self._id = model_id
        self._root = store.pulling_dir
        self._path = store.pulling_dir / model_id
        self._target = store.models_dir / model_id
        self.folder = self._path / "folder"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from this folder. Raises PullBusy when one is at work.

        What runs under it raises DiskFull where the system says that there is no space.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._root / f"{self._id}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise PullBusy(
                f"Another process is pulling {self._id}. Wait for it, or stop it first."
            ) from error
        try:
            yield
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise self.disk_full() from error
            raise
        finally:
            lock.release()

    def begun(self, repo: str) -> Begun:
        """What an interrupted pull from that repository was fetching; empty without one."""
        try:
            begun = Begun(**json.loads((self._path / "pull.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Begun()
        return begun if begun.repo == repo else Begun()

    def begin(self, begun: Begun) -> None:
        """Make the folder hold nothing but beginnings of these files, whatever was left in it."""
        replaced = self._path / "replaced"
        if replaced.is_dir() and not self._target.exists():  # killed between the renames of `publish`
            os.rename(replaced, self._target)
        shutil.rmtree(replaced, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.begun(begun.repo).files
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            name = path.relative_to(self.folder).as_posix().removesuffix(PARTIAL)
            if name not in begun.files or before.get(name) != begun.files[name]:
                path.unlink()
        self._write(begun)

    def _write(self, begun: Begun) -> None:
        target = self._path / "pull.json"
        partial = target.with_name(target.name + PARTIAL)
        partial.write_text(json.dumps(vars(begun), indent=1), encoding="utf-8")
        os.replace(partial, target)

    def partial(self, name: str) -> Path:
        """Where the file grows. One that is whole becomes a partial again, to be checked once more."""
        path = self.folder / name
        partial = path.with_name(path.name + PARTIAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            os.replace(path, partial)
        return partial

    def kept_bytes(self, name: str) -> int:
        """Bytes that are here of a file."""
        path = self.folder / name
        return _size(path) or _size(path.with_name(path.name + PARTIAL))

    def publish(self) -> Path:
        """Move the folder into the store, in place of what is there. Gives where it is."""
        _sync(self.folder)
        if self._target.exists():
            os.rename(self._target, self._path / "replaced")
        os.rename(self.folder, self._target)
        _sync(self._target.parent)
        shutil.rmtree(self._path, ignore_errors=True)
        return self._target

    def discard(self) -> int:
        """Delete what interrupted pulls left; gives its bytes. Raises PullBusy."""
        if not self._path.is_dir():
            return 0
        with self.lock():
            size = _size(self._path)
            shutil.rmtree(self._path)
        return size

    @property
    def free_bytes(self) -> int:
        folder = self._path
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def disk_full(self, missing_bytes: int = 0) -> DiskFull:
        """The error that says so. missing_bytes: how much is still to come, 0 when that is not known."""
        need = f"{missing_bytes / 1e9:.2f} GB are still to come, and " if missing_bytes else ""
        return DiskFull(
            f"The disk is full: {need}{self.free_bytes / 1e9:.2f} GB are free for {self._target.parent}. "
            "What has come is kept: make room, or move the store with LOCALPHI_HOME, and pull again."
        )


def interrupted(store: FolderStore) -> dict[str, int]:
    """Ids of pulls that did not come to an end, with the bytes that are here of them."""
    if not store.pulling_dir.is_dir():
        return {}
    return {
        path.name: _size(path / "folder") for path in sorted(store.pulling_dir.iterdir()) if path.is_dir()
    }


def _size(path: Path) -> int:
    """Bytes of a file or of all files in a folder; 0 when there is none."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system has a way to ask for it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
