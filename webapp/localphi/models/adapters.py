"""LoRA adapters of the models here: folders under `home/adapters/<model>/<name>`, each complete or not there.

    adapter.onnx_adapter   A and B of each site, in the form of ONNX Runtime
    adapter.json           what they are for, see `AdapterInfo`

An adapter belongs to the weights that it was made for, which `base_of` tells apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localphi.errors import AdapterInvalid, AdapterNotFound
from localphi.models.manifest import Manifest, safe_id

WEIGHTS_NAME, INFO_NAME = "adapter.onnx_adapter", "adapter.json"
MAX_NAME_CHARS = 64
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}")
_PARTIAL, _GRAVE = ".partial-", ".removed-"


@dataclass(frozen=True)
class AdapterInfo:
    """base: what `base_of` says of the model. sha256: of the weights. source: where they came from.

    sites: how many layers are adapted. rank: the largest of them. parameters: numbers in all.
    """

    model: str
    base: str
    rank: int
    sites: int
    parameters: int
    sha256: str
    source: str


@dataclass(frozen=True)
class Adapter:
    name: str
    folder: Path
    info: AdapterInfo

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS_NAME

    @property
    def key(self) -> str:
        """Differs where the weights do, for an adapter may be made anew under its old name."""
        return f"{self.name}@{self.info.sha256[:16]}"


class AdapterStore:
    """The adapters in a home folder."""

    def __init__(self, home: Path) -> None:
        self._dir = home / "adapters"

    def of_model(self, model: str) -> list[Adapter]:
        """All readable ones, by name."""
        parent = self._dir / safe_id(model)
        if not parent.is_dir():
            return []
        found = []
        for folder in sorted(parent.iterdir()):
            if _NAME.fullmatch(folder.name) and (folder / INFO_NAME).is_file():
                try:
                    found.append(_read(folder))
                except AdapterInvalid:
                    continue
        return found

    def models(self) -> list[str]:
        """Ids of models that have adapters."""
        folders = self._dir.iterdir() if self._dir.is_dir() else ()
        return sorted(folder.name for folder in folders if self.of_model(folder.name))

    def get(self, model: str, name: str) -> Adapter:
        """Raises AdapterNotFound, or AdapterInvalid for one that is broken."""
        folder = self._dir / safe_id(model) / name
        if not _NAME.fullmatch(name) or not (folder / INFO_NAME).is_file():
            raise AdapterNotFound(model, name, tuple(adapter.name for adapter in self.of_model(model)))
        return _read(folder)

    def checkpoint(self, model: str, name: str) -> Path:
        """Where the training of an adapter keeps what it has so far. Raises AdapterInvalid for no name."""
        _check_name(name)
        return self._dir / safe_id(model) / f".training-{name}.pt"

    def staging(self, model: str, name: str) -> Path:
        """An empty folder to make an adapter in, for `add`. Raises AdapterInvalid for a name that is none."""
        _check_name(name)
        folder = self._dir / safe_id(model) / f"{_PARTIAL}{os.getpid()}-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def add(self, staged: Path, name: str, about: Mapping[str, Any]) -> Adapter:
        """List what is in a staging folder, in the place of an older one. about: the info but its hash."""
        sha256 = hashlib.sha256((staged / WEIGHTS_NAME).read_bytes()).hexdigest()
        info = AdapterInfo(**about, sha256=sha256)
        (staged / INFO_NAME).write_text(json.dumps(asdict(info), indent=1) + "\n", encoding="utf-8")
        target = staged.parent / name
        if target.exists():
            self._bury(target)
        os.rename(staged, target)
        return Adapter(name, target, info)

    def remove(self, adapter: Adapter) -> None:
        """Out of the list at once, then from the disk."""
        self._bury(adapter.folder)

    def _bury(self, folder: Path) -> None:
        grave = folder.with_name(f"{_GRAVE}{os.getpid()}-{folder.name}")
        shutil.rmtree(grave, ignore_errors=True)
        os.rename(folder, grave)
        shutil.rmtree(grave, ignore_errors=True)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise AdapterInvalid(
            f"{name!r} is no name for an adapter: up to {MAX_NAME_CHARS} of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit."
        )


def base_of(manifest: Manifest) -> str:
    """Tells the weights of a model apart from others: a hash of the hashes of the server's weight files."""
    variant = manifest.server_variant
    names = sorted(variant.files) if variant else []
    weights = [name for name in names if name.endswith(".data")] or [n for n in names if n.endswith(".onnx")]
    told = "\n".join(f"{name} {manifest.files[name].sha256}" for name in weights)
    return hashlib.sha256(told.encode()).hexdigest()


def check_base(adapter: Adapter, manifest: Manifest) -> None:
    """Raises AdapterInvalid for an adapter of other weights."""
    if adapter.info.base != base_of(manifest):
        raise AdapterInvalid(
            f"The adapter '{adapter.name}' was made for other weights than those of '{manifest.id}' here. "
            f"Convert it again: localphi adapters convert … --model {manifest.id} --name {adapter.name}"
        )


def _read(folder: Path) -> Adapter:
    try:
        document = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
        info = AdapterInfo(**document)
    except (OSError, ValueError, TypeError) as error:
        raise AdapterInvalid(f"{folder / INFO_NAME} cannot be read: {error}. Remove the adapter.") from error
    if not (folder / WEIGHTS_NAME).is_file():
        raise AdapterInvalid(f"The adapter in {folder} has no weights. Remove it, and convert it again.")
    return Adapter(folder.name, folder, info)
