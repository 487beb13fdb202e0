"""A folder with a sentence-embedding model, as sentence-transformers writes it and the hub has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from localphi.errors import ModelFolderInvalid

Pooling = Literal["mean", "cls", "last"]

POOLING_CONFIG = "1_Pooling/config.json"
_MODULES = ("Transformer", "Pooling", "Normalize")
_LONGEST = 512  # tokens, where the folder does not say
_NO_LIMIT = 1_000_000  # tokenizers write 1e30 for "no limit"


@dataclass(frozen=True)
class EmbeddingForm:
    """How a text becomes a vector, beside the graph.

    pooling: which states of the graph are the text's. max_tokens: of a text; the rest is cut. query, passage:
    what stands before a question and before a text that is searched. Vectors are made as long as 1 in
    any case: for cosine similarity nothing else counts.
    """

    pooling: Pooling
    max_tokens: int
    query: str
    passage: str


def read_embedding_folder(folder: Path) -> EmbeddingForm:
    """What the folder's files say; mean, 512 tokens and nothing before a text where they do not.

    Raises ModelFolderInvalid for what is not computed here.
    """
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    _check_modules(folder)
    return EmbeddingForm(
        pooling=_pooling(folder),
        max_tokens=_max_tokens(folder),
        query=str(prompts.get("query") or ""),
        passage=str(prompts.get("passage") or prompts.get("document") or ""),
    )


def _check_modules(folder: Path) -> None:
    modules = _read(folder / "modules.json") or []
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    except (TypeError, KeyError) as error:
        raise ModelFolderInvalid(f"{folder / 'modules.json'} is not a list of modules.") from error
    if unknown := [kind for kind in kinds if kind not in _MODULES]:
        raise ModelFolderInvalid(
            f"{folder} has a layer {unknown[0]} behind its graph, which is not computed here. Take a model "
            "that ends with pooling."
        )


def _pooling(folder: Path) -> Pooling:
    config = _json(folder / POOLING_CONFIG)
    if config.get("pooling_mode_cls_token"):
        return "cls"
    if config.get("pooling_mode_lasttoken"):
        return "last"
    if config and not config.get("pooling_mode_mean_tokens"):
        raise ModelFolderInvalid(f"{folder} wants another pooling than mean, cls and last.")
    return "mean"


def _max_tokens(folder: Path) -> int:
    lengths = (
        _json(folder / "sentence_bert_config.json").get("max_seq_length"),
        _json(folder / "tokenizer_config.json").get("model_max_length"),
    )
    return next((int(one) for one in lengths if one and 0 < one < _NO_LIMIT), _LONGEST)


def _json(path: Path) -> Mapping[str, Any]:
    document = _read(path)
    return document if isinstance(document, dict) else {}


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFolderInvalid(f"{path} is not JSON.") from error
