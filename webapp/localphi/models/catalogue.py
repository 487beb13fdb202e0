"""The models that can be pulled: `catalogue.toml`, read once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from localphi.errors import InvalidRequest, ModelNotFound
from localphi.models.manifest import DEVICES, PromptFormat, SamplingDefaults

_FILE = Path(__file__).parent / "catalogue.toml"
_SUFFIXES = {"server-cpu": "", "server-cuda": "-cuda", "webgpu-f16": "-web-f16", "webgpu-f32": "-web-f32"}
_GREEDY: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "top_k": 0}
# What ONNX Runtime GenAI and tokenizers read; program code and pictures are left where they are.
_MODEL_FILES = ("*.json", "*.jinja", "*.onnx", "*.onnx.data", "*.onnx_data", "merges.txt", "tokenizer.model")
# What sentence-transformers writes about a model, and the one graph of the many that such repositories hold.
_EMBEDDING_FILES = (
    "tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "1_Pooling/config.json", "onnx/model.onnx",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where the files of a folder of the store lie on the hub.

    id: of the folder in the store. revision: a commit, None for the newest. about_bytes: None when not known.
    """

    id: str
    repo: str
    folder: str
    files: tuple[str, ...]
    revision: str | None
    about_bytes: int | None
    note: str

    @property
    def address(self) -> str:
        """The hub's own way to write the place, as it stands in a manifest's origin."""
        return f"hf://{self.repo}/{self.folder}".rstrip("/")

    def local_name(self, name: str) -> str | None:
        """The name in the model folder of a file of the repository; None for a file that is not wanted."""
        path, folder = PurePosixPath(name), PurePosixPath(self.folder)
        if not path.is_relative_to(folder):
            return None
        inside = path.relative_to(folder)
        return str(inside) if any(_matches(inside, pattern) for pattern in self.files) else None


@dataclass(frozen=True)
class Source(Place):
    """A place with files for one device."""

    device: str
    kv_value_bytes: int


@dataclass(frozen=True)
class Entry:
    """What is told of anything that can be pulled."""

    id: str
    name: str
    about: str
    license: str


@dataclass(frozen=True)
class CatalogueModel(Entry):
    family: str
    context_length: int
    system_prompt: str | None
    sampling: SamplingDefaults
    sources: Mapping[str, Source]

    def source(self, device: str) -> Source:
        """Where the files for the device are. Raises InvalidRequest, naming the devices there are."""
        if device not in self.sources:
            there = ", ".join(self.sources)
            raise InvalidRequest(
                f"The catalogue has no files of {self.id} for {device}. There are: {there}.", "--for"
            )
        return self.sources[device]


@dataclass(frozen=True)
class CatalogueEmbedding(Entry):
    """A model that makes vectors of texts, and answers nothing.

    dimensions: of a vector. query, passage: what stands before a question and before a text that is searched,
    where the model's own files do not say.
    """

    dimensions: int
    query: str
    passage: str
    place: Place


@dataclass(frozen=True)
class Catalogue:
    models: tuple[CatalogueModel, ...]
    embeddings: tuple[CatalogueEmbedding, ...]
    families: Mapping[str, PromptFormat]

    def find(self, name: str) -> tuple[CatalogueModel, tuple[Source, ...]]:
        """The model of that name, and its sources that the name can mean.

        name: id of a model, of a folder in the store, or a repository of the hub. Raises ModelNotFound, with
        the ids that look alike.
        """
        wanted = name.lower()
        for model in self.models:
            sources = tuple(model.sources.values())
            meant = [source for source in sources if wanted in (source.id, source.repo.lower())]
            if wanted == model.id:
                return model, sources
            if meant:
                return model, tuple(meant)
        raise ModelNotFound(name, tuple(entry.id for entry in (*self.models, *self.embeddings)))

    def find_embedding(self, name: str) -> CatalogueEmbedding | None:
        """The embedding model of that id or repository, None when it is none."""
        wanted = name.lower()
        return next((one for one in self.embeddings if wanted in (one.id, one.place.repo.lower())), None)

    def of_id(self, source_id: str) -> tuple[CatalogueModel, Source]:
        """The source that has that id in the store, and its model. Raises ModelNotFound."""
        sources = {source.id: (model, source) for model in self.models for source in model.sources.values()}
        if source_id not in sources:
            raise ModelNotFound(source_id, tuple(sources))
        return sources[source_id]

    def search(self, text: str) -> list[CatalogueModel]:
        """The models in whose id, names or description every word of `text` occurs, small and large alike."""
        return [
            model
            for model in self.models
            if _has(model, (f"{one.id} {one.repo} {one.device}" for one in model.sources.values()), text)
        ]

    def search_embeddings(self, text: str) -> list[CatalogueEmbedding]:
        """Likewise; each of them has the word embedding."""
        return [one for one in self.embeddings if _has(one, (one.place.repo, "embedding"), text)]


@cache
def catalogue() -> Catalogue:
    """The catalogue that comes with the package."""
    document = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return Catalogue(
        models=tuple(_model(entry) for entry in document["models"]),
        embeddings=tuple(_embedding(entry) for entry in document["embeddings"]),
        families={name: _family(entry) for name, entry in document["families"].items()},
    )


def _model(entry: Mapping[str, Any]) -> CatalogueModel:
    sources = [_source(entry["id"], variant) for variant in entry["variants"]]
    return CatalogueModel(
        id=entry["id"],
        name=entry["name"],
        about=entry["about"],
        family=entry["family"],
        license=entry["license"],
        context_length=entry["context_length"],
        system_prompt=entry.get("system_prompt"),
        sampling=SamplingDefaults(**(_GREEDY | entry.get("sampling", {}))),
        sources={source.device: source for source in sources},
    )


def _embedding(entry: Mapping[str, Any]) -> CatalogueEmbedding:
    return CatalogueEmbedding(
        id=entry["id"],
        name=entry["name"],
        about=entry["about"],
        license=entry["license"],
        dimensions=entry["dimensions"],
        query=entry.get("query", ""),
        passage=entry.get("passage", ""),
        place=Place(**_place(entry["id"], entry, _EMBEDDING_FILES)),
    )


def _source(model_id: str, entry: Mapping[str, Any]) -> Source:
    device = entry["device"]
    assert device in DEVICES, device
    place = _place(model_id + _SUFFIXES[device], entry, _MODEL_FILES)
    return Source(**place, device=device, kv_value_bytes=entry["kv_value_bytes"])


def _place(folder_id: str, entry: Mapping[str, Any], files: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id": folder_id,
        "repo": entry["repo"],
        "folder": entry["folder"],
        "files": tuple(entry.get("files", files)),
        "revision": entry.get("revision"),
        "about_bytes": round(entry["about_gb"] * 1e9) if "about_gb" in entry else None,
        "note": entry.get("note", ""),
    }


def _family(entry: Mapping[str, Any]) -> PromptFormat:
    return PromptFormat(
        prefix="",
        roles={role: _pair(pair) for role, pair in entry["roles"].items()},
        generation=entry["generation"],
        end=tuple(entry["end"]),
        control=tuple(entry.get("control", ())),
        tools=_pair(entry["tools"]) if "tools" in entry else None,
        tool_call=_pair(entry["tool_call"]) if "tool_call" in entry else None,
        system_in_user=entry.get("system_in_user", False),
    )


def _pair(value: Iterable[str]) -> tuple[str, str]:
    opening, closing = value
    return opening, closing


def _matches(path: PurePosixPath, pattern: str) -> bool:
    return len(path.parts) == len(PurePosixPath(pattern).parts) and path.match(pattern)


def _has(entry: Entry, places: Iterable[str], text: str) -> bool:
    searched = " ".join((entry.id, entry.name, entry.about, *places)).lower()
    return all(word in searched for word in text.lower().split())
