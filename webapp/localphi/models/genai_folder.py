"""A plain ONNX Runtime GenAI folder, read as far as `localphi.json` needs it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localphi.errors import ModelFolderInvalid
from localphi.models.manifest import PromptFormat

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "genai_config.json", "tokenizer.json", "tokenizer_config.json"
_TURNS = ("system", "user", "assistant")
_CONTROL_TOKEN = re.compile(r"<\|[^|]+\|>|</?[a-z_]+>")
_WEIGHTS = re.compile(r".*\.onnx([._]data([._]\d+)?)?", re.DOTALL)


@dataclass(frozen=True)
class GenaiConfig:
    """graph: name of the decoder's file, None when the config names none."""

    context_length: int
    layers: int
    kv_heads: int
    head_size: int
    graph: str | None

    def kv_bytes_per_token(self, value_bytes: int) -> int:
        """Keys and values of one token in every layer; value_bytes: bytes of one number."""
        return 2 * self.layers * self.kv_heads * self.head_size * value_bytes


def read_genai_config(folder: Path) -> GenaiConfig:
    """The shapes in genai_config.json. Raises ModelFolderInvalid, naming the field."""
    document = _read_json(folder / CONFIG)
    try:
        model = document["model"]
        decoder = model["decoder"]
        return GenaiConfig(
            context_length=_positive(model, "context_length"),
            layers=_positive(decoder, "num_hidden_layers"),
            kv_heads=_positive(decoder, "num_key_value_heads"),
            head_size=_positive(decoder, "head_size"),
            graph=decoder.get("filename"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFolderInvalid(
            f"{folder / CONFIG} is not what ONNX Runtime GenAI writes: {error}."
        ) from error


def prompt_format_of(folder: Path, family: PromptFormat) -> PromptFormat:
    """The family's format with the control tokens and the first token of the tokenizer in the folder.

    A tokenizer without tool tokens gives a format without them. Raises ModelFolderInvalid when it lacks
    tokens of the turns: the model is of another family then.
    """
    added = _added_tokens(folder)
    turns = [*(text for role in _TURNS for text in family.roles[role]), family.generation, *family.end]
    if missing := sorted(_control_tokens(turns) - set(added)):
        raise ModelFolderInvalid(
            f"{folder / TOKENIZER} has no token {missing[0]}, which this family of models needs."
        )
    tools = [*family.roles.get("tool", ()), *(family.tools or ()), *(family.tool_call or ())]
    has_tools = _control_tokens(tools) <= set(added)
    return replace(
        family,
        prefix=_first_token(folder),
        roles={role: pair for role, pair in family.roles.items() if role in _TURNS or has_tools},
        control=tuple(dict.fromkeys((*added, *family.control))),
        tools=family.tools if has_tools else None,
        tool_call=family.tool_call if has_tools else None,
    )


def is_weights(name: str) -> bool:
    """Whether a file is a graph or its weights, and so belongs to what a device has to hold in memory."""
    return _WEIGHTS.fullmatch(name) is not None


def _added_tokens(folder: Path) -> list[str]:
    """Without those of white space alone: Phi-2 has one for each run of spaces, and users type them."""
    document = _read_json(folder / TOKENIZER)
    try:
        tokens = [str(token["content"]) for token in document.get("added_tokens") or ()]
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelFolderInvalid(f"{folder / TOKENIZER} is not a tokenizer: {error}.") from error
    return [token for token in tokens if token.strip()]


def _first_token(folder: Path) -> str:
    """What stands before the first turn: the beginning token where the chat template writes it."""
    config = _read_json(folder / TOKENIZER_CONFIG)
    begin = config.get("bos_token")
    begin = begin.get("content") if isinstance(begin, dict) else begin
    jinja = folder / "chat_template.jinja"
    template = (
        jinja.read_text(encoding="utf-8") if jinja.is_file() else str(config.get("chat_template") or "")
    )
    writes_it = "bos_token" in template and not config.get("add_bos_token")
    return str(begin) if begin and writes_it else ""


def _control_tokens(texts: Iterable[str]) -> set[str]:
    return {token for text in texts for token in _CONTROL_TOKEN.findall(text)}


def _positive(entry: dict[str, Any], name: str) -> int:
    value = entry[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}")
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderInvalid(f"{path} cannot be read: {error}.") from error
    if not isinstance(document, dict):
        raise ModelFolderInvalid(f"{path} is not a JSON object.")
    return document
