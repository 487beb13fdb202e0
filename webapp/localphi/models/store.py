"""The model store: folders under `home/models`, and the demo model that comes with the package.

A model of the user's hides a bundled one of the same id. Embedding models are kept apart (`embeddings.py`).
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from localphi.config import DEMO_MODEL
from localphi.errors import LocalphiError, ModelDamaged, ModelFolderInvalid, ModelNotFound
from localphi.models.catalogue import catalogue
from localphi.models.manifest import MANIFEST_NAME, Described, FileEntry, Manifest, load_manifest

BUNDLED_DIR = Path(__file__).parent / "bundled"

HUB_SCHEME = "hf://"  # how the origin of a pulled model begins

OnBytes = Callable[[int], object]
_READ_BYTES = 1024 * 1024
_GRAVE = ".removed-"


def _ignore(_: int) -> None:
    return None


@dataclass(frozen=True)
class Folder:
    """A folder with a manifest. bundled: it belongs to the installed package and is not ours to change."""

    path: Path
    manifest: Described
    bundled: bool

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def size_bytes(self) -> int:
        return sum(entry.size for entry in self.manifest.files.values())

    def file(self, name: str) -> Path | None:
        """Path of a file of the manifest (or the manifest itself), None for anything else."""
        if name != MANIFEST_NAME and name not in self.manifest.files:
            return None
        inside = (self.path / name).resolve().is_relative_to(self.path.resolve())
        return self.path / name if inside else None

    @property
    def repair_advice(self) -> str:
        """A sentence that says how to get whole files again."""
        if self.bundled:
            return "Repair it with: pip install --force-reinstall --no-deps localphi"
        if (BUNDLED_DIR / self.id).is_dir():
            return f"Repair it with: localphi models repair {shlex.quote(str(self.path))}"
        if self.manifest.origin.get("source", "").startswith(HUB_SCHEME):
            return f"Repair it with: localphi models pull {shlex.quote(self.id)}"
        return "Copy or build the folder again."


@dataclass(frozen=True)
class ModelFolder(Folder):
    """A readable model folder."""

    manifest: Manifest


class FolderStore:
    """Where folders of one kind are kept. Folders whose name begins with a dot are none of them: there `pull`
    gathers what is not whole yet, and `remove` puts what it is about to delete.
    """

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self.pulling_dir = models_dir / ".pulling"

    def remove(self, folder: Folder) -> None:
        """Delete a folder of the store: out of the list at once, then from the disk.

        Raises LocalphiError for one that belongs to the package or lies outside the store.
        """
        if folder.bundled:
            raise LocalphiError(f"The model '{folder.id}' belongs to the package and cannot be removed.")
        if folder.path.parent.resolve() != self.models_dir.resolve():
            raise LocalphiError(f"{folder.path} is not in the store; delete the folder yourself.")
        for left in self.models_dir.glob(f"{_GRAVE}*"):  # of a removal that was cut short
            shutil.rmtree(left, ignore_errors=True)
        if folder.path.is_symlink():
            folder.path.unlink()
            return
        grave = self.models_dir / f"{_GRAVE}{os.getpid()}-{folder.path.name}"
        os.rename(folder.path, grave)
        shutil.rmtree(grave)


class ModelStore(FolderStore):
    """Finds, checks and repairs model folders. Reads the disk at each call.

    pinned: one more model folder, anywhere on the disk, that is listed first.
    """

    def __init__(
        self, home: Path, bundled_dir: Path = BUNDLED_DIR, pinned: ModelFolder | None = None
    ) -> None:
        super().__init__(home / "models")
        self._bundled_dir = bundled_dir
        self._pinned = pinned

    def pin(self, model: str) -> ModelStore:
        """The same store with the model of that id, or the model folder at that path, listed first.

        Raises ModelNotFound, or ModelFolderInvalid when the folder exists but is no model.
        """
        folder = self._open(Path(model).expanduser()) if is_path(model) else self.get(model)
        return ModelStore(self.models_dir.parent, self._bundled_dir, folder)

    def folders(self) -> list[ModelFolder]:
        """Every readable model: the pinned one, the demo, then by id. Unreadable folders are left out."""
        found = {self._pinned.id: self._pinned} if self._pinned else {}
        for path, bundled in self._candidates():
            try:
                manifest = load_manifest(path)
            except ModelFolderInvalid:
                continue
            found.setdefault(manifest.id, ModelFolder(path, manifest, bundled))
        pinned_id = self._pinned.id if self._pinned else None
        return sorted(
            found.values(), key=lambda folder: (folder.id != pinned_id, folder.id != DEMO_MODEL, folder.id)
        )

    def default(self) -> ModelFolder:
        """The model that answers when none is named. Raises ModelNotFound when there is none at all."""
        folders = self.folders()
        if not folders:
            raise ModelNotFound(DEMO_MODEL, ())
        return folders[0]

    def get(self, model_id: str) -> ModelFolder:
        """The model of that id; never a path. Raises ModelNotFound, or ModelFolderInvalid if broken."""
        for folder in self.folders():
            if folder.id == model_id:
                return folder
        for path, _ in self._candidates():
            if path.name == model_id:
                load_manifest(path)  # raises, with what is wrong
        raise ModelNotFound(model_id, self._known(), _pull_advice(model_id))

    def _open(self, path: Path) -> ModelFolder:
        if not path.is_dir():
            raise ModelNotFound(str(path), self._known())
        folder = path.resolve()
        return ModelFolder(folder, load_manifest(folder), folder.parent == self._bundled_dir.resolve())

    def _known(self) -> tuple[str, ...]:
        return tuple(folder.id for folder in self.folders())

    def _candidates(self) -> Iterator[tuple[Path, bool]]:
        yield from ((path, False) for path in subfolders(self.models_dir))
        yield from ((path, True) for path in subfolders(self._bundled_dir))

    def repair(self, folder: Folder, on_bytes: OnBytes = _ignore) -> list[str]:
        """Replace damaged files by the bundled ones with the same hash; gives their names.

        Raises ModelDamaged for a file that no source here holds whole.
        """
        repaired = []
        for problem in find_damage(folder, on_bytes=on_bytes):
            if not self._restore(folder, problem.file):
                raise problem
            repaired.append(problem.file)
        return repaired

    def _restore(self, folder: Folder, name: str) -> bool:
        wanted = folder.manifest.files[name]
        source = self._bundled_dir / folder.id / name
        if folder.bundled or _problem(source, wanted, _ignore):
            return False
        partial = folder.path / (name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, partial)
        os.replace(partial, folder.path / name)
        return True


def is_path(model: str) -> bool:
    """Whether this names a folder anywhere on the disk, and not a model of the store."""
    return os.sep in model or "/" in model or model.startswith(("~", "."))


def subfolders(parent: Path) -> list[Path]:
    """By name; those whose name begins with a dot are left out."""
    if not parent.is_dir():
        return []
    return [path for path in sorted(parent.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def find_damage(
    folder: Folder, names: Iterable[str] | None = None, on_bytes: OnBytes = _ignore
) -> list[ModelDamaged]:
    """One ModelDamaged (not raised) for each file that is missing or differs from the manifest.

    names: the files to look at, None for all. Reads every byte; `on_bytes` is told of them.
    """
    wanted = folder.manifest.files if names is None else {name: folder.manifest.files[name] for name in names}
    problems = []
    for name, entry in wanted.items():
        problem = _problem(folder.path / name, entry, on_bytes)
        if problem is not None:
            problems.append(ModelDamaged(folder.id, name, problem, folder.repair_advice))
    return problems


def _pull_advice(model_id: str) -> str:
    """What to do about a model that is not here but in the catalogue; nothing for others."""
    sources = (source for model in catalogue().models for source in model.sources.values())
    if model_id in (source.id for source in sources):
        return f"Get it with: localphi models pull {model_id}."
    if catalogue().find_embedding(model_id):
        return (
            f"That is an embedding model: get it with localphi models pull {model_id}, and use it with "
            f"localphi agent --docs FOLDER --embeddings {model_id}."
        )
    return ""


def _problem(path: Path, entry: FileEntry, on_bytes: OnBytes) -> str | None:
    if not path.is_file():
        return "it is missing"
    if (size := path.stat().st_size) != entry.size:
        return f"it has {size} bytes instead of {entry.size}"
    if (found := _sha256(path, on_bytes)) != entry.sha256:
        return f"its SHA-256 is {found[:12]}… instead of {entry.sha256[:12]}…"
    return None


def _sha256(path: Path, on_bytes: OnBytes) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
            on_bytes(len(data))
    return digest.hexdigest()
