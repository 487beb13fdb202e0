"""Sentence embeddings on ONNX Runtime, without PyTorch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PrivateAttr

from localphi.config import Settings
from localphi.errors import LocalphiError
from localphi.models.embedding_folder import Pooling
from localphi.models.embeddings import EmbeddingStore, embedding_form
from localphi_agents.rag.embedding import Kind, LocalEmbedding, Vectors, unit
from localphi_agents.rag.errors import EmbeddingUnusable

_GRAPHS = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}


class OnnxTextEmbedding(LocalEmbedding):
    """The vectors of a sentence-embedding model that was exported to ONNX: MiniLM, BGE, E5, GTE and the like.

    model: an id of the model store, such as all-minilm-l6-v2 once it was pulled (`localphi models pull
    all-minilm-l6-v2`), or a folder as on the hub, with `tokenizer.json` and `model.onnx` (or
    `onnx/model.onnx`). Pooling, longest text and prompts are those of the store, or of the files that
    sentence-transformers writes, else mean, 512 tokens and none. Longer texts are cut. Texts of like length
    are computed together, `batch_size` at a time.

    Raises EmbeddingUnusable.
    """

    _pooling: Pooling = PrivateAttr()
    _prompts: dict[Kind, str] = PrivateAttr()
    _batch_size: int = PrivateAttr()
    _tokenizer: Any = PrivateAttr()
    _session: Any = PrivateAttr()
    _dimensions: int = PrivateAttr()
    _identity: str = PrivateAttr()

    def __init__(
        self,
        model: str | Path,
        *,
        file: str | None = None,
        pooling: Pooling | None = None,
        max_length: int | None = None,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        batch_size: int = 32,
        threads: int = 0,
        service_id: str | None = None,
    ) -> None:
        """threads: 0 for as many as there are cores."""
        try:
            place = EmbeddingStore(Settings.from_environment().home).locate(model)
            form = embedding_form(place)
        except LocalphiError as error:
            raise EmbeddingUnusable(str(error)) from error
        graph = _graph(place, file)
        longest = max_length or form.max_tokens
        if longest < 1 or batch_size < 1:
            raise ValueError("max_length and batch_size must be at least 1.")
        super().__init__(ai_model_id=place.resolve().name, service_id=service_id or place.resolve().name)
        self._pooling = pooling or form.pooling
        self._prompts = {
            "query": form.query if query_prompt is None else query_prompt,
            "passage": form.passage if passage_prompt is None else passage_prompt,
        }
        self._batch_size = batch_size
        self._tokenizer = _tokenizer(place, longest)
        self._session = _session(graph, threads)
        self._dimensions = self._compute(["a"]).shape[1]
        how = f"{self._pooling}, {longest} tokens, {self._prompts['query']!r}, {self._prompts['passage']!r}"
        self._identity = f"{self.ai_model_id} ({_hash(graph)}; {how})"

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Vectors:
        asked = [self._prompts[kind] + text for text in texts]
        vectors = np.zeros((len(asked), self._dimensions), np.float32)
        by_length = sorted(range(len(asked)), key=lambda index: len(asked[index]))
        for start in range(0, len(asked), self._batch_size):
            batch = by_length[start : start + self._batch_size]
            vectors[batch] = self._compute([asked[index] for index in batch])
        return vectors

    def _compute(self, texts: list[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded], np.int64)  # (B, T)
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        if ids.shape[1] == 0:
            return np.zeros((len(texts), getattr(self, "_dimensions", 0)), np.float32)
        known = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.clip(np.cumsum(mask, axis=1) - 1, 0, None),
        }
        feeds = {one.name: known[one.name] for one in self._session.get_inputs()}
        names = [one.name for one in self._session.get_outputs()]
        wanted = "sentence_embedding" if "sentence_embedding" in names else names[0]
        try:
            output = self._session.run([wanted], feeds)[0]
        except Exception as error:  # onnxruntime has its own, without a common name
            reason = str(error).splitlines()[0][:200]
            raise EmbeddingUnusable(f"{self.ai_model_id} cannot be computed: {reason}") from error
        return unit(output if output.ndim == 2 else self._pooled(output, mask))

    def _pooled(self, states: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(B, T, D) -> (B, D)"""
        if states.ndim != 3:
            raise EmbeddingUnusable(
                f"{self.ai_model_id} gives {states.ndim} dimensions; an embedding model gives 2 or 3."
            )
        if self._pooling == "cls":
            return np.asarray(states[:, 0])
        if self._pooling == "last":
            return np.asarray(states[np.arange(len(states)), np.maximum(mask.sum(axis=1) - 1, 0)])
        weights = mask[:, :, None].astype(np.float32)
        return np.asarray((states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))


def _graph(folder: Path, file: str | None) -> Path:
    for name in (file,) if file else _GRAPHS:
        if (folder / name).is_file():
            return folder / name
    raise EmbeddingUnusable(f"{folder} has no {file or 'model.onnx'}. Export the model to ONNX first.")


def _tokenizer(folder: Path, longest: int) -> Any:
    from tokenizers import Tokenizer  # noqa: PLC0415 - with onnxruntime, half a second

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise EmbeddingUnusable(f"{folder} has no tokenizer.json, which comes with the model on the hub.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise EmbeddingUnusable(f"{path} is no tokenizer: {str(error)[:200]}") from error
    padding = tokenizer.padding or {}
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding(
        pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"), direction="right"
    )
    return tokenizer


def _session(graph: Path, threads: int) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the model wants the cores, too
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own, without a common name
        reason = str(error).splitlines()[0][:200]
        raise EmbeddingUnusable(f"{graph} cannot be loaded: {reason}") from error
    unknown = [one.name for one in session.get_inputs() if one.name not in _INPUTS]
    if unknown:
        raise EmbeddingUnusable(
            f"{graph} wants {', '.join(unknown)}; an embedding model wants token ids only."
        )
    return session


def _hash(graph: Path) -> str:
    """Of the graph and its weights, which may stand in a file beside it."""
    digest = hashlib.sha256()
    for path in (graph, graph.with_name(graph.name + "_data"), graph.with_name(graph.name + ".data")):
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(1024 * 1024):
                    digest.update(block)
    return digest.hexdigest()[:12]
