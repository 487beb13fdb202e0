"""`localphi.json`: what a model folder holds beyond a plain ORT GenAI folder.

{
  "schema": 1, "id", "name", "description", "family", "license",
  "origin":        {"source", "revision"},
  "context_length": tokens of prompt and answer together,
  "sampling":      {"temperature", "top_p", "top_k"}   used when a request says nothing,
  "system_prompt": text of the system turn of a conversation that has none, or null,
  "prompt_format": what stands around each role, see `PromptFormat`,
  "chunk_bytes":   size of the pieces whose hashes are listed, so that a download can be resumed and checked,
  "files":         {name: {"size", "sha256", "chunks": [sha256 of each piece]}},
  "variants":      {device: {"files": [names], "memory": {"weights_bytes", "kv_bytes_per_token"},
                             "canary": {"prompt": [ids], "expected": [greedy ids]} or null,
                             "paged": {"graph", "block_tokens", "max_sequence_tokens"}, where there is one,
                             "lora": {"graph", "sites"}, where there is one,
                             "context_length": where the device's is shorter than the model's}}
}

The server reads `server-cpu` or `server-cuda`, its OpenVINO backend `server-openvino`, the page `wasm` and
`webgpu-*`; variants may share files.
A model made elsewhere comes without a canary: who made it did not say what it should answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from localphi.errors import ModelFolderInvalid

MANIFEST_NAME = "localphi.json"
SCHEMA = 1
SERVER_DEVICES = ("server-cpu", "server-cuda")
OPENVINO_DEVICE = "server-openvino"  # made of another variant by `localphi convert`, never built or pulled
DEVICES = (*SERVER_DEVICES, "webgpu-f16", "webgpu-f32", "wasm", "webnn")
CHUNK_BYTES = 8 * 1024 * 1024
_MODEL_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_READ_BYTES = 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True)
class PromptFormat:
    """How a conversation becomes text. Pairs are what opens and what closes.

    end: tokens that end the answer. control: every added token of the tokenizer, neutralised in message text.
    tools, tool_call: around the list of tools and a list of calls; None for a model without such tokens.
    system_in_user: a system turn has no place of its own, but stands at the beginning of the next user turn.
    """

    prefix: str
    roles: Mapping[str, tuple[str, str]]
    generation: str
    end: tuple[str, ...]
    control: tuple[str, ...]
    tools: tuple[str, str] | None = None
    tool_call: tuple[str, str] | None = None
    system_in_user: bool = False


@dataclass(frozen=True)
class FileEntry:
    """size in bytes; hex SHA-256 of the file and of each `chunk_bytes` piece of it."""

    size: int
    sha256: str
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Canary:
    """Greedy decoding of `prompt` must give `expected`, or the device computes wrongly."""

    prompt: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True)
class PagedGraph:
    """A second graph over the same weights, whose KV cache is a pool of blocks that all conversations share.

    graph: its file. block_tokens: tokens in one block. max_sequence_tokens: of prompt and answer; longer
    ones are not computed as the first graph computes them.
    """

    graph: str
    block_tokens: int
    max_sequence_tokens: int


@dataclass(frozen=True)
class LoraGraph:
    """The first graph once more, over the same weights, with inputs for LoRA adapters; none is none.

    graph: its file. sites: what can be adapted, as "layers.0.attn.qkv_proj", with the numbers of inputs and
    outputs of that linear layer.
    """

    graph: str
    sites: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Variant:
    files: tuple[str, ...]
    weights_bytes: int
    kv_bytes_per_token: int
    canary: Canary | None
    paged: PagedGraph | None = None
    lora: LoraGraph | None = None
    context_length: int | None = None


@dataclass(frozen=True)
class SamplingDefaults:
    temperature: float
    top_p: float
    top_k: int


class Described(Protocol):
    """What every manifest says: of a model that chats, or of one that makes vectors (`embeddings.py`)."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def license(self) -> str: ...

    @property
    def origin(self) -> Mapping[str, str]: ...

    @property
    def files(self) -> Mapping[str, FileEntry]: ...


@dataclass(frozen=True)
class Manifest:
    id: str
    name: str
    description: str
    family: str
    license: str
    origin: Mapping[str, str]
    context_length: int
    sampling: SamplingDefaults
    system_prompt: str | None
    prompt_format: PromptFormat
    files: Mapping[str, FileEntry]
    variants: Mapping[str, Variant]
    chunk_bytes: int = CHUNK_BYTES

    @property
    def server_variant(self) -> Variant | None:
        """What the server computes with; None for a model that only a browser can run."""
        return next((self.variants[name] for name in SERVER_DEVICES if name in self.variants), None)


class FileHasher:
    """Takes a file piece by piece, in any sizes, and gives its `FileEntry`."""

    def __init__(self, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.size = 0
        self._chunk_bytes = chunk_bytes
        self._whole, self._chunk = hashlib.sha256(), hashlib.sha256()
        self._chunks: list[str] = []

    def update(self, data: bytes) -> None:
        self._whole.update(data)
        view = memoryview(data)
        while view:
            piece = view[: self._chunk_bytes - self.size % self._chunk_bytes]
            self._chunk.update(piece)
            self.size += len(piece)
            view = view[len(piece) :]
            if self.size % self._chunk_bytes == 0:
                self._chunks.append(self._chunk.hexdigest())
                self._chunk = hashlib.sha256()

    def entry(self) -> FileEntry:
        chunks = list(self._chunks)
        if self.size % self._chunk_bytes or not chunks:
            chunks.append(self._chunk.hexdigest())
        return FileEntry(self.size, self._whole.hexdigest(), tuple(chunks))


def describe_file(
    path: Path, chunk_bytes: int = CHUNK_BYTES, on_bytes: Callable[[int], object] = lambda _: None
) -> FileEntry:
    """Size and hashes of a file. `on_bytes` is told of every piece read, for a progress bar."""
    hasher = FileHasher(chunk_bytes)
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
            on_bytes(len(data))
    return hasher.entry()


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write `localphi.json` into the folder, whole or not at all."""
    return write_document(folder, _to_json(manifest))


def write_document(folder: Path, document: Mapping[str, Any]) -> Path:
    target, partial = folder / MANIFEST_NAME, folder / (MANIFEST_NAME + ".partial")
    partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, target)
    return target


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder. Raises ModelFolderInvalid, naming the folder and the field."""
    return load_document(folder, parse_manifest)


def load_document(folder: Path, parse: Callable[[Mapping[str, Any]], T]) -> T:
    """What `parse` makes of the folder's `localphi.json`. Raises ModelFolderInvalid for what it raises."""
    path = folder / MANIFEST_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderInvalid(
            f"{folder} is not a localphi model folder: it has no {MANIFEST_NAME}."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderInvalid(f"{path} cannot be read: {error}.") from error
    try:
        return parse(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFolderInvalid(f"{path} is not a manifest of schema {SCHEMA}: {_what(error)}.") from error


def _what(error: Exception) -> str:
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    document: dict[str, Any] = {"schema": SCHEMA, **asdict(manifest)}
    document["variants"] = {
        device: {
            "files": variant.files,
            "memory": {
                "weights_bytes": variant.weights_bytes,
                "kv_bytes_per_token": variant.kv_bytes_per_token,
            },
            "canary": asdict(variant.canary) if variant.canary else None,
            **({"paged": asdict(variant.paged)} if variant.paged else {}),
            **({"lora": asdict(variant.lora)} if variant.lora else {}),
            **({"context_length": variant.context_length} if variant.context_length else {}),
        }
        for device, variant in manifest.variants.items()
    }
    return document


def parse_manifest(document: Mapping[str, Any]) -> Manifest:
    common = parse_described(document)
    return Manifest(
        **common,
        family=str(document["family"]),
        context_length=_count(document, "context_length", least=1),
        sampling=_sampling(document["sampling"]),
        system_prompt=_text_or_null(document["system_prompt"], "system_prompt"),
        prompt_format=parse_prompt_format(document["prompt_format"]),
        variants={device: _variant(entry, common["files"]) for device, entry in document["variants"].items()},
    )


def parse_described(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every manifest has."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']} is not known to this version")
    return {
        "id": safe_id(str(document["id"])),
        "name": str(document["name"]),
        "description": str(document["description"]),
        "license": str(document["license"]),
        "origin": {str(key): str(value) for key, value in document["origin"].items()},
        "files": {safe_name(name): _file(entry) for name, entry in document["files"].items()},
        "chunk_bytes": _count(document, "chunk_bytes", least=1),
    }


def _count(entry: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = entry[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, but is {value!r}")
    return value


def _sampling(entry: Mapping[str, Any]) -> SamplingDefaults:
    temperature, top_p = float(entry["temperature"]), float(entry["top_p"])
    if not 0 <= temperature <= 2 or not 0 < top_p <= 1:
        raise ValueError(f"sampling wants a temperature in [0, 2] and a top_p in (0, 1], but is {entry}")
    return SamplingDefaults(temperature, top_p, _count(entry, "top_k"))


def _text_or_null(value: Any, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be a text or null, but is {value!r}")
    return value


def safe_id(model_id: str) -> str:
    """`model_id` itself. Raises ValueError for one that is no id."""
    if not _MODEL_ID.fullmatch(model_id):
        raise ValueError(f"the id {model_id!r} has characters other than a-z, 0-9, '.', '_' and '-'")
    return model_id


def safe_name(name: str) -> str:
    """`name` itself. Raises ValueError for one that would leave the model folder."""
    parts = PurePosixPath(name).parts
    leaves = ".." in parts or name.startswith("/") or bool(set(name) & {"\\", ":", "\0"})
    if leaves or not parts or name != "/".join(parts):
        raise ValueError(f"the file name {name!r} leaves the model folder")
    return name


def _file(entry: Mapping[str, Any]) -> FileEntry:
    return FileEntry(_count(entry, "size"), str(entry["sha256"]), tuple(entry["chunks"]))


def _variant(entry: Mapping[str, Any], files: Mapping[str, FileEntry]) -> Variant:
    for name in entry["files"]:
        if name not in files:
            raise ValueError(f"a variant uses the file {name!r}, which is not listed")
    return Variant(
        files=tuple(entry["files"]),
        weights_bytes=_count(entry["memory"], "weights_bytes"),
        kv_bytes_per_token=_count(entry["memory"], "kv_bytes_per_token", least=1),
        canary=_canary(entry["canary"]),
        paged=_paged(entry),
        lora=_lora(entry),
        context_length=_count(entry, "context_length", least=1) if "context_length" in entry else None,
    )


def _canary(entry: Mapping[str, Any] | None) -> Canary | None:
    return None if entry is None else Canary(tuple(entry["prompt"]), tuple(entry["expected"]))


def _graph(entry: Mapping[str, Any], variant: Mapping[str, Any], what: str) -> str:
    graph = str(entry["graph"])
    if graph not in variant["files"]:
        raise ValueError(f"{what} {graph!r} is not among the files of its variant")
    return graph


def _lora(variant: Mapping[str, Any]) -> LoraGraph | None:
    entry = variant.get("lora")
    if entry is None:
        return None
    graph = _graph(entry, variant, "the graph for adapters")
    sites = {str(site): (int(sizes[0]), int(sizes[1])) for site, sizes in entry["sites"].items()}
    return LoraGraph(graph, sites)


def _paged(variant: Mapping[str, Any]) -> PagedGraph | None:
    entry = variant.get("paged")
    if entry is None:
        return None
    return PagedGraph(
        _graph(entry, variant, "the paged graph"),
        block_tokens=_count(entry, "block_tokens", least=1),
        max_sequence_tokens=_count(entry, "max_sequence_tokens", least=1),
    )


def parse_prompt_format(entry: Mapping[str, Any]) -> PromptFormat:
    """The prompt format of a manifest. Raises KeyError, TypeError or ValueError, naming the field."""
    if missing := {"system", "user", "assistant"} - set(entry["roles"]):
        raise ValueError(f"prompt_format has no role {', '.join(sorted(missing))}")
    if "" in entry["control"]:
        raise ValueError("prompt_format.control has an empty token")
    return PromptFormat(
        prefix=str(entry["prefix"]),
        roles={role: _pair(pair) for role, pair in entry["roles"].items()},
        generation=str(entry["generation"]),
        end=tuple(entry["end"]),
        control=tuple(entry["control"]),
        tools=_pair(entry["tools"]) if entry.get("tools") else None,
        tool_call=_pair(entry["tool_call"]) if entry.get("tool_call") else None,
        system_in_user=entry.get("system_in_user", False) is True,
    )


def _pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"a pair of texts is wanted, not {value!r}")
    opening, closing = value
    return str(opening), str(closing)
