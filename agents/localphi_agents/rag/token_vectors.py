"""Vectors out of a language model's own token table: no download, and no more than words are worth."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PrivateAttr

from localphi.config import Settings
from localphi.errors import LocalphiError
from localphi.models.store import ModelStore
from localphi_agents.rag.embedding import Kind, LocalEmbedding, Vectors, unit
from localphi_agents.rag.errors import EmbeddingUnusable

_WORD = re.compile(r"[^\W_]+")
_LONGEST_WORD = 64
_KEPT_WORDS = 8192
# Chosen on tests/retrieval_set.py, which also measures it: its figures are the best to hope for. What
# helped was to weigh whole words by their rarest piece, and to leave out signs (reciprocal rank 0.30; with
# every token of the text weighed by itself it was 0.25 at best).
_ZIPF_OFFSET = 30.0
_RARE = 3e-5


class TokenVectorEmbedding(LocalEmbedding):
    """The weighted mean of the vectors that a language model has for a text's words.

    model: an id of the model store, or a folder; None for the demo model that comes with localphi. A word is
    the mean of its tokens' vectors, without the part common to all; rare words weigh more (SIF, Arora et al.
    2017), where how rare a token is comes from its place in the vocabulary.

    How good it is, on 60 questions about this project's pages (tests/bench/RESULTS.md): among the first five
    passages is a right one for 42 %; words alone (FTS5) have 77 %. So it is for words that are merely
    alike, and in a hybrid search it counts a tenth of the words. A real embedding model
    (`OnnxTextEmbedding`) counts in full.

    Raises EmbeddingUnusable when there is no such model, or its table is quantized.
    """

    _table: np.ndarray[Any, Any] = PrivateAttr()
    _weights: np.ndarray[Any, Any] = PrivateAttr()
    _tokenizer: Any = PrivateAttr()
    _word: Any = PrivateAttr()
    _identity: str = PrivateAttr()

    def __init__(self, model: str | Path | None = None, *, service_id: str | None = None) -> None:
        store = ModelStore(Settings.from_environment().home)
        try:
            folder = (store if model is None else store.pin(str(model))).default()
        except LocalphiError as error:
            raise EmbeddingUnusable(str(error)) from error
        super().__init__(ai_model_id=folder.id, service_id=service_id or folder.id)
        table = _table(folder.path)
        rare = 1 / (np.arange(len(table)) + _ZIPF_OFFSET)
        rare /= rare.sum()
        self._weights = _RARE / (_RARE + rare)
        self._table = unit(table - rare @ table)
        self._tokenizer = _tokenizer(folder.path)
        self._word = lru_cache(_KEPT_WORDS)(self._word_vector)
        digest = hashlib.sha256(table.tobytes()).hexdigest()[:12]
        self._identity = f"the token vectors of {folder.id} ({digest}, 1)"

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dimensions(self) -> int:
        return int(self._table.shape[1])

    @property
    def hybrid_weight(self) -> float:
        return 0.1

    def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Vectors:
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                vectors[row] += self._word(word[:_LONGEST_WORD])
        return unit(vectors)

    def _word_vector(self, word: str) -> np.ndarray[Any, Any]:
        ids = self._tokenizer.encode(f" {word}", add_special_tokens=False).ids
        if not ids:
            return np.zeros(self.dimensions, np.float32)
        return np.asarray(self._table[ids].mean(axis=0) * self._weights[ids].max(), np.float32)


def _table(folder: Path) -> np.ndarray[Any, Any]:
    """(V, D) of the graph's first step, in float32."""
    import onnx  # noqa: PLC0415 - none of the rest needs it
    from onnx import numpy_helper  # noqa: PLC0415

    try:
        config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
        decoder = config["model"]["decoder"]
        graph = onnx.load(str(folder / decoder["filename"]), load_external_data=False).graph
        ids = decoder["inputs"]["input_ids"]
        name = next(one.input[0] for one in graph.node if one.op_type == "Gather" and one.input[1] == ids)
        tensor = next(one for one in graph.initializer if one.name == name)
        table = numpy_helper.to_array(tensor, base_dir=str(folder))
    except StopIteration as error:
        raise EmbeddingUnusable(
            f"{folder.name} keeps its tokens' vectors quantized or elsewhere; take another model for that."
        ) from error
    except Exception as error:  # onnx and protobuf raise what they like for a damaged file
        raise EmbeddingUnusable(f"{folder} has no graph that can be read: {str(error)[:200]}") from error
    return np.asarray(table, np.float32)


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer  # noqa: PLC0415

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises plain Exception
        raise EmbeddingUnusable(
            f"{folder} has no tokenizer.json that can be read: {str(error)[:200]}"
        ) from error
