"""The models of upstream servers, as the store of a server that has none itself.

What a localphi serves is described by its own localphi.json, of other servers by what their list tells. The
files stay where they are, so that the page takes the server's way.
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from localphi.config import DEMO_MODEL
from localphi.engine.far import Lost
from localphi.engine.upstream import OURS, UpstreamModel
from localphi.engine.upstreams import Upstreams
from localphi.errors import LocalphiError, ModelFolderInvalid, ModelNotFound
from localphi.models.manifest import (
    MANIFEST_NAME,
    Manifest,
    PromptFormat,
    SamplingDefaults,
    parse_manifest,
    safe_id,
    write_manifest,
)
from localphi.models.store import ModelFolder, ModelStore

_CONTEXT_LENGTH = 131072  # of a server that does not tell; it refuses by itself what is too long
_PLAIN = PromptFormat("", {"system": ("", "\n"), "user": ("", "\n"), "assistant": ("", "\n")}, "", (), ())


class UpstreamStore(ModelStore):
    """wanted: the model to answer when none is named; where it is not served, the first that is."""

    def __init__(self, home: Path, upstreams: Upstreams, wanted: str = DEMO_MODEL) -> None:
        super().__init__(home, home / "nothing")
        self._upstreams = upstreams
        self._wanted = wanted
        self._lock = threading.Lock()
        self._folders: dict[str, ModelFolder] = {}
        self._place = tempfile.TemporaryDirectory(prefix="localphi-upstream-")

    def folders(self) -> list[ModelFolder]:
        """A model that does not describe itself yet is left out for now."""
        found: list[ModelFolder] = []
        for model in self._upstreams.models():
            with suppress(LocalphiError, Lost, ValueError):
                found.append(self._folder(model))
        return sorted(found, key=lambda folder: folder.id != self._wanted)

    def default(self) -> ModelFolder:
        """Raises UpstreamUnreachable while nobody says what there is."""
        if not (folders := self.folders()):
            raise self._upstreams.unreachable()
        return folders[0]

    def get(self, model_id: str) -> ModelFolder:
        """Also by the part of an id in front of its colon; the rest comes as if it were an adapter."""
        folders = self.folders()
        for folder in folders:
            if folder.id == model_id:
                return folder
        for folder in folders:
            if folder.id.startswith(f"{model_id}:"):
                return replace(folder, manifest=replace(folder.manifest, id=model_id))
        if not folders:
            raise self._upstreams.unreachable()
        raise ModelNotFound(model_id, tuple(folder.id for folder in folders))

    def _folder(self, model: UpstreamModel) -> ModelFolder:
        with self._lock:
            if model.id not in self._folders:
                manifest = self._manifest(model)
                path = Path(self._place.name) / str(len(self._folders))
                path.mkdir()
                write_manifest(path, manifest)
                self._folders[model.id] = ModelFolder(path, manifest, bundled=False)
            return self._folders[model.id]

    def _manifest(self, model: UpstreamModel) -> Manifest:
        if model.owner == OURS:
            document = self._upstreams.first(model.id).model_file(safe_id(model.id))
            return replace(_read(document), files={}, variants={})
        return Manifest(
            id=model.id,
            name=model.id,
            description="Computed by another server.",
            family="",
            license="",
            origin={"source": "upstream", "revision": ""},
            context_length=model.context_length or _CONTEXT_LENGTH,
            sampling=SamplingDefaults(1.0, 1.0, 0),  # OpenAI's own
            system_prompt=None,
            prompt_format=_PLAIN,
            files={},
            variants={},
        )


def _read(document: Any) -> Manifest:
    try:
        return parse_manifest(document)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelFolderInvalid(f"The upstream's {MANIFEST_NAME} cannot be read.") from error
