"""Models that make vectors of texts: folders under `home/embeddings`, apart from the models that chat.

Their `localphi.json`:

{
  "schema": 1, "id", "name", "description", "license", "origin", "chunk_bytes", "files": as in `manifest.py`,
  "embedding": {"graph": one of the files,
                "query", "passage": what stands before a question and before a text that is searched}
}

What else there is to know stands in the model's own files (`embedding_folder.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from localphi.errors import ModelFolderInvalid, ModelNotFound
from localphi.models.catalogue import CatalogueEmbedding, Place, catalogue
from localphi.models.embedding_folder import POOLING_CONFIG, EmbeddingForm, read_embedding_folder
from localphi.models.genai_folder import TOKENIZER
from localphi.models.manifest import (
    CHUNK_BYTES,
    MANIFEST_NAME,
    SCHEMA,
    FileEntry,
    load_document,
    parse_described,
    write_document,
)
from localphi.models.pull import Fetcher, Plan, WriteManifest
from localphi.models.store import Folder, FolderStore, is_path, subfolders

_GRAPH = "onnx/model.onnx"


@dataclass(frozen=True)
class EmbeddingManifest:
    id: str
    name: str
    description: str
    license: str
    origin: Mapping[str, str]
    files: Mapping[str, FileEntry]
    graph: str
    query: str
    passage: str
    chunk_bytes: int = CHUNK_BYTES


@dataclass(frozen=True)
class EmbeddingFolder(Folder):
    manifest: EmbeddingManifest


class EmbeddingStore(FolderStore):
    """Finds embedding models. Reads the disk at each call."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "embeddings")

    def folders(self) -> list[EmbeddingFolder]:
        """Every readable one, by id."""
        found = []
        for path in subfolders(self.models_dir):
            with contextlib.suppress(ModelFolderInvalid):
                found.append(open_embedding(path))
        return found

    def get(self, model_id: str) -> EmbeddingFolder:
        """Raises ModelNotFound, or ModelFolderInvalid if broken."""
        for path in subfolders(self.models_dir):
            if path.name == model_id:
                return open_embedding(path)
        known = tuple(folder.id for folder in self.folders())
        listed = catalogue().find_embedding(model_id) or catalogue().embeddings[0]
        what = "it" if listed.id == model_id else "one"
        advice = f"Get {what} with: localphi models pull {listed.id}."
        raise ModelNotFound(model_id, known, advice, "embedding model")

    def locate(self, model: str | Path) -> Path:
        """The folder that is meant by an id, or by a path anywhere on the disk.

        Raises ModelNotFound, or ModelFolderInvalid.
        """
        path = Path(model).expanduser()
        if isinstance(model, Path) or is_path(model):
            if not path.is_dir():
                raise ModelFolderInvalid(f"A folder with an embedding model is wanted, but {model} is none.")
            return path
        try:
            return self.get(model).path
        except ModelNotFound:
            if path.is_dir():
                return path
            raise


class EmbeddingPuller(Fetcher[CatalogueEmbedding, Place, EmbeddingFolder]):
    """Fetches embedding models of the catalogue."""

    _needed = (TOKENIZER, POOLING_CONFIG, _GRAPH)

    def _open(self, path: Path) -> EmbeddingFolder:
        return open_embedding(path)

    def _examine(self, plan: Plan[CatalogueEmbedding, Place], folder: Path) -> WriteManifest:
        form = read_embedding_folder(folder)

        def write(files: Mapping[str, FileEntry]) -> None:
            manifest = EmbeddingManifest(
                id=plan.source.id,
                name=plan.model.name,
                description=plan.model.about,
                license=plan.license,
                origin={"source": plan.source.address, "revision": plan.repo.commit},
                files=files,
                graph=_GRAPH,
                query=form.query or plan.model.query,
                passage=form.passage or plan.model.passage,
            )
            write_document(folder, _to_json(manifest))

        return write


def open_embedding(folder: Path) -> EmbeddingFolder:
    """Raises ModelFolderInvalid."""
    return EmbeddingFolder(folder, load_document(folder, _parse), bundled=False)


def embedding_form(folder: Path) -> EmbeddingForm:
    """How vectors are made in this folder, of the store or not. Raises ModelFolderInvalid.

    Prompts are those of the manifest where there is one: the catalogue knows more of them than the files.
    """
    form = read_embedding_folder(folder)
    if not (folder / MANIFEST_NAME).is_file():
        return form
    manifest = open_embedding(folder).manifest
    return replace(form, query=manifest.query, passage=manifest.passage)


def _to_json(manifest: EmbeddingManifest) -> dict[str, Any]:
    document: dict[str, Any] = {"schema": SCHEMA, **asdict(manifest)}
    document["embedding"] = {name: document.pop(name) for name in ("graph", "query", "passage")}
    return document


def _parse(document: Mapping[str, Any]) -> EmbeddingManifest:
    if "embedding" not in document:
        raise ValueError("it is that of a model that chats, not of an embedding model")
    common, how = parse_described(document), document["embedding"]
    if how["graph"] not in common["files"]:
        raise ValueError(f"the graph {how['graph']!r} is not among the files")
    return EmbeddingManifest(
        **common, graph=str(how["graph"]), query=str(how["query"]), passage=str(how["passage"])
    )
