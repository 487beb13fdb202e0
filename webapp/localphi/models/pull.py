"""Fetching a model from the hub into the store.

What arrives is appended to NAME.partial at once, so a pull that is killed goes on at the byte where it was.
A file loses `.partial` when its hash is the hub's; `localphi.json` is written when all files are whole, and
then the folder moves into the store (`staging.py`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Generic, TypeVar

from localphi.errors import (
    DownloadDamaged,
    HubRefused,
    HubUnreachable,
    ModelFolderInvalid,
    PullBusy,
    PullFailed,
)
from localphi.models.catalogue import CatalogueModel, Entry, Place, Source, catalogue
from localphi.models.genai_folder import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    GenaiConfig,
    is_weights,
    prompt_format_of,
    read_genai_config,
)
from localphi.models.hub import Hub, Interrupted, RemoteFile, RemoteRepo
from localphi.models.manifest import (
    SERVER_DEVICES,
    FileEntry,
    FileHasher,
    Manifest,
    PromptFormat,
    Variant,
    load_manifest,
    safe_name,
    write_manifest,
)
from localphi.models.staging import Begun, Staging
from localphi.models.store import Folder, FolderStore, ModelFolder, ModelStore

_WAITS_S = (1, 2, 4, 8, 16)  # before asking again, while nothing new arrives
_LONGEST_WAIT_S = 300  # a hub that asks for more than this is not worth waiting for
_DISK_RESERVE_BYTES = 64 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_LOOK_AGAIN_S = 1.0  # whether another process has ended its pull

EntryT = TypeVar("EntryT", bound=Entry)
PlaceT = TypeVar("PlaceT", bound=Place)
FolderT = TypeVar("FolderT", bound=Folder)
WriteManifest = Callable[[Mapping[str, FileEntry]], object]


class Progress:
    """Told what happens during a pull. Does nothing; made to be overridden."""

    def kept(self, size: int) -> None:
        """Bytes that need not be fetched: they are here already."""

    def fetched(self, size: int) -> None:
        """Bytes that arrived; fewer than none for bytes that turned out wrong."""

    def waiting(self, seconds: float, problem: str) -> None:
        """The hub is asked again after so many seconds."""


@dataclass(frozen=True)
class Plan(Generic[EntryT, PlaceT]):
    """What a pull will do. files: by their names in the model folder. kept_bytes: of them, here already."""

    model: EntryT
    source: PlaceT
    repo: RemoteRepo
    files: Mapping[str, RemoteFile]
    kept_bytes: int
    free_bytes: int

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files.values())

    @property
    def missing_bytes(self) -> int:
        return self.total_bytes - self.kept_bytes

    @property
    def license(self) -> str:
        """The hub's word for it where it differs from the catalogue's."""
        said = self.repo.license
        return said if said and said.lower() != self.model.license.lower() else self.model.license


class Fetcher(ABC, Generic[EntryT, PlaceT, FolderT]):
    """Fetches what the catalogue knows of one kind. wait: sleeps for so many seconds."""

    _needed: ClassVar[tuple[str, ...]]
    """Files without which it cannot be used."""

    def __init__(self, store: FolderStore, hub: Hub, wait: Callable[[float], object] = time.sleep) -> None:
        self._store = store
        self._hub = hub
        self._wait = wait

    @property
    def address(self) -> str:
        """Of the hub."""
        return self._hub.address

    @abstractmethod
    def _open(self, path: Path) -> FolderT:
        """Raises ModelFolderInvalid."""

    @abstractmethod
    def _examine(self, plan: Plan[EntryT, PlaceT], folder: Path) -> WriteManifest:
        """Look at the small files, which are there; gives what writes `localphi.json` when all are.

        Raises HubRefused or ModelFolderInvalid when the model could not be used.
        """

    def local(self, source: PlaceT) -> FolderT | None:
        """What an earlier pull put into the store, damaged or not. Asks nobody.

        Raises PullFailed when something else has its place there.
        """
        path = self._store.models_dir / source.id
        if not path.is_dir():
            return None
        try:
            folder = self._open(path)
        except ModelFolderInvalid as error:
            raise PullFailed(f"{error.message} Move it away to pull {source.id}.") from error
        if folder.manifest.origin.get("source") != source.address:
            raise PullFailed(
                f"{path} was not pulled from {source.address}. Move it away to pull {source.id}."
            )
        return folder

    def plan(
        self, model: EntryT, source: PlaceT, revision: str | None = None, *, update: bool = False
    ) -> Plan[EntryT, PlaceT]:
        """Ask the hub what there is to fetch, and look what of it is here.

        revision: branch, tag or commit. Without one the model stays at the commit it is at, or the one an
        interrupted pull began with, or the catalogue's; update asks for the newest. Raises PullFailed.
        """
        local, staging = self.local(source), Staging(self._store, source.id)
        begun = staging.begun(source.repo)
        if revision is None and not update:
            revision = (local.manifest.origin.get("revision") if local else begun.commit) or source.revision
        repo = self._describe(source.repo, revision)
        files = _wanted(source, repo, self._needed)
        kept = 0
        for name, file in files.items():
            if begun.files.get(name) == file.identity:
                kept += min(staging.kept_bytes(name), file.size)
            elif local and _holds(local, name, file):
                kept += file.size
        return Plan(model, source, repo, files, kept, staging.free_bytes)

    def pull(self, plan: Plan[EntryT, PlaceT], progress: Progress) -> FolderT:
        """Fetch what is missing and put the model into the store. Raises PullFailed or ModelFolderInvalid."""
        staging = Staging(self._store, plan.source.id)
        with staging.lock():
            identities = {name: file.identity for name, file in plan.files.items()}
            staging.begin(Begun(plan.repo.repo, plan.repo.commit, identities))
            if plan.missing_bytes + _DISK_RESERVE_BYTES > staging.free_bytes:
                raise staging.disk_full(plan.missing_bytes)
            small = [name for name in plan.files if not is_weights(name)]
            entries = {name: self._fetch(plan, staging, name, progress) for name in small}
            write = self._examine(plan, staging.folder)  # before the gigabytes
            for name in plan.files:
                if is_weights(name):
                    entries[name] = self._fetch(plan, staging, name, progress)
            write(entries)
            return self._open(staging.publish())

    def _describe(self, repo: str, revision: str | None) -> RemoteRepo:
        try:
            return self._hub.describe(repo, revision)
        except Interrupted as first:
            self._wait(min(first.retry_after_s or _WAITS_S[0], _LONGEST_WAIT_S))
        try:
            return self._hub.describe(repo, revision)
        except Interrupted as error:
            raise HubUnreachable(f"{self._hub.address} cannot be reached: {error}.") from error

    def _fetch(
        self, plan: Plan[EntryT, PlaceT], staging: Staging, name: str, progress: Progress
    ) -> FileEntry:
        """Have the file whole in the staging folder. Bytes that are here count, once their hash is right."""
        file, partial = plan.files[name], staging.partial(name)
        if not partial.exists():
            self._begin_with_local(plan, name, partial)
        while True:
            hasher = FileHasher()
            with partial.open("ab") as out:
                _read_partial(partial, file, hasher, progress)
                kept = hasher.size
                self._append(plan, file, out, hasher, progress)
                os.fsync(out.fileno())
            if _is_right(partial, file, hasher):
                os.replace(partial, staging.folder / name)
                return hasher.entry()
            partial.unlink()
            progress.fetched(-hasher.size)
            if not kept:
                raise DownloadDamaged(
                    f"{file.name} of {plan.repo.repo} is not what the hub lists: its hash is another one. "
                    "Nothing of it was kept; pull again, or look who answers for the hub."
                )

    def _begin_with_local(self, plan: Plan[EntryT, PlaceT], name: str, partial: Path) -> None:
        """Take the file of the model that is to be replaced, where it is the same as the hub's."""
        local = self.local(plan.source)
        path = local.file(name) if local and _holds(local, name, plan.files[name]) else None
        if path is None or not path.is_file():
            return
        try:
            os.link(path, partial)
        except OSError:  # a file system without links
            shutil.copyfile(path, partial)

    def _append(
        self,
        plan: Plan[EntryT, PlaceT],
        file: RemoteFile,
        out: BinaryIO,
        hasher: FileHasher,
        progress: Progress,
    ) -> None:
        """Fetch the rest of the file, asking again as often as something new arrives."""
        failures = 0
        while hasher.size < file.size:
            before = hasher.size
            try:
                for data in self._hub.read(plan.repo, file, start=before):
                    out.write(data)
                    out.flush()  # a kill must not take it along
                    hasher.update(data)
                    progress.fetched(len(data))
                    if hasher.size > file.size:
                        return
                problem = Interrupted("it ended too early")
            except Interrupted as error:
                problem = error
            if hasher.size < file.size:
                failures = 0 if hasher.size > before else failures + 1
                self._patiently(problem, failures, progress)

    def _patiently(self, problem: Interrupted, failures: int, progress: Progress) -> None:
        seconds = problem.retry_after_s or _WAITS_S[min(failures, len(_WAITS_S) - 1)]
        if failures >= len(_WAITS_S) or seconds > _LONGEST_WAIT_S:
            raise HubUnreachable(
                f"{self._hub.address} stopped answering: {problem}. "
                "What has come is kept; the next pull goes on there."
            ) from problem
        progress.waiting(seconds, str(problem))
        self._wait(seconds)


class Puller(Fetcher[CatalogueModel, Source, ModelFolder]):
    """Fetches models that chat."""

    _needed = (CONFIG, TOKENIZER, TOKENIZER_CONFIG)

    def _open(self, path: Path) -> ModelFolder:
        return ModelFolder(path, load_manifest(path), bundled=False)

    def _examine(self, plan: Plan[CatalogueModel, Source], folder: Path) -> WriteManifest:
        shapes = read_genai_config(folder)
        if plan.source.device in SERVER_DEVICES and shapes.graph not in plan.files:
            raise HubRefused(f"{plan.repo.repo} has no file {shapes.graph}, which its {CONFIG} names.")
        prompt_format = prompt_format_of(folder, catalogue().families[plan.model.family])
        return lambda files: write_manifest(folder, _manifest(plan, shapes, prompt_format, files))


def pull_once(
    store: ModelStore, hub: Hub, source_id: str, wait: Callable[[float], object] = time.sleep
) -> ModelFolder:
    """The model of that id, fetched where it is not in the store; another process that fetches it is awaited.

    Raises ModelNotFound for one that is not in the catalogue, or PullFailed.
    """
    model, source = catalogue().of_id(source_id)
    puller = Puller(store, hub, wait)
    while (folder := puller.local(source)) is None:
        try:
            return puller.pull(puller.plan(model, source), Progress())
        except PullBusy:
            wait(_LOOK_AGAIN_S)
    return folder


def _wanted(source: Place, repo: RemoteRepo, needed: tuple[str, ...]) -> dict[str, RemoteFile]:
    """The files of the source by local names, small ones first. Raises HubRefused when one is missing."""
    place = f"{repo.repo} at {repo.commit[:12]}" + (f", folder {source.folder}," if source.folder else "")
    found: dict[str, RemoteFile] = {}
    for file in sorted(repo.files, key=lambda file: file.size):
        name = source.local_name(file.name)
        if name is None or file.size == 0:
            continue
        try:
            found[safe_name(name)] = file
        except ValueError as error:
            raise HubRefused(f"{place} cannot be taken: {error}.") from error
        if not file.identity:
            raise HubRefused(f"{place} cannot be checked: the hub lists no hash of {file.name}.")
    if missing := [name for name in needed if name not in found]:
        raise HubRefused(f"{place} has no {missing[0]}. Another --revision may have it.")
    return found


def _manifest(
    plan: Plan[CatalogueModel, Source],
    shapes: GenaiConfig,
    prompt_format: PromptFormat,
    files: Mapping[str, FileEntry],
) -> Manifest:
    variant = Variant(
        files=tuple(files),
        weights_bytes=sum(entry.size for name, entry in files.items() if is_weights(name)),
        kv_bytes_per_token=shapes.kv_bytes_per_token(plan.source.kv_value_bytes),
        canary=None,
    )
    return Manifest(
        id=plan.source.id,
        name=plan.model.name,
        description=plan.model.about,
        family=plan.model.family,
        license=plan.license,
        origin={"source": plan.source.address, "revision": plan.repo.commit},
        context_length=shapes.context_length,
        sampling=plan.model.sampling,
        system_prompt=plan.model.system_prompt,
        prompt_format=prompt_format,
        files=files,
        variants={plan.source.device: variant},
    )


def _holds(folder: Folder, name: str, file: RemoteFile) -> bool:
    """Whether the folder should have the same file; a damaged one shows when it is read."""
    entry, path = folder.manifest.files.get(name), folder.path / name
    if entry is None or not path.is_file() or path.stat().st_size != file.size:
        return False
    return entry.sha256 == file.sha256 if file.sha256 else _git_blob_id(path) == file.blob_id


def _read_partial(partial: Path, file: RemoteFile, hasher: FileHasher, progress: Progress) -> None:
    """Give the hasher what is on the disk; a file that is too long to be right is emptied first."""
    if partial.stat().st_size > file.size:
        os.truncate(partial, 0)
    with partial.open("rb") as begun:
        while data := begun.read(_READ_BYTES):
            hasher.update(data)
            progress.kept(len(data))


def _is_right(path: Path, file: RemoteFile, hasher: FileHasher) -> bool:
    if not hasher.size == path.stat().st_size == file.size:
        return False
    if file.sha256:
        return hasher.entry().sha256 == file.sha256
    return _git_blob_id(path) == file.blob_id


def _git_blob_id(path: Path) -> str:
    """Git's name for a file. This SHA-1 is all that the hub says about its small files."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()
