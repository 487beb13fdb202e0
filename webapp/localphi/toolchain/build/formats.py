"""How conversations with a model are written: recognised from its tokenizer, or told by the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localphi.errors import CannotBuild
from localphi.models.catalogue import catalogue
from localphi.models.genai_folder import TOKENIZER, TOKENIZER_CONFIG
from localphi.models.manifest import PromptFormat, parse_prompt_format
from localphi.toolchain.build.source import Checkpoint

ALIASES: Mapping[str, str] = {
    "phi2": "phi-2",
    "phi3": "phi-3",
    "phi-3.5": "phi-3",
    "phi-4-mini": "phi-4",
    "phi4-mini": "phi-4",
    "phi4": "phi-4",
    "llama2": "llama-2",
    "codellama": "llama-2",
    "orca-2": "chatml",
}


@dataclass(frozen=True)
class _Signs:
    """added: the added tokens of the tokenizer. template: its chat template, perhaps empty."""

    architecture: str
    added: frozenset[str]
    template: str


# The first that fits. A template says how turns are written, so it is asked before the architecture.
_RULES: tuple[tuple[str, Callable[[_Signs], bool]], ...] = (
    ("phi-4", lambda signs: {"<|user|>", "<|end|>", "<|tool|>"} <= signs.added),
    ("phi-3", lambda signs: {"<|user|>", "<|assistant|>", "<|end|>"} <= signs.added),
    ("chatml", lambda signs: {"<|im_start|>", "<|im_end|>"} <= signs.added),
    ("gemma", lambda signs: {"<start_of_turn>", "<end_of_turn>"} <= signs.added),
    ("llama-2", lambda signs: "[INST]" in signs.template and "<<SYS>>" in signs.template),
    ("mistral", lambda signs: "[INST]" in signs.template and signs.architecture == "MistralForCausalLM"),
    ("phi-2", lambda signs: signs.architecture == "PhiForCausalLM"),
)


def family_names() -> list[str]:
    """What `--prompt-format` takes."""
    return sorted({*catalogue().families, *ALIASES})


def named_format(wish: str) -> tuple[str, PromptFormat]:
    """The family of that name, or the format in a JSON file. Raises CannotBuild."""
    name = ALIASES.get(wish, wish)
    if name in catalogue().families:
        return name, catalogue().families[name]
    path = Path(wish)
    if not path.is_file():
        raise CannotBuild(
            f"There is no prompt format {wish!r}. Give one of {', '.join(family_names())}, or a JSON file "
            "with the fields of prompt_format in a localphi.json (prefix, roles, generation, end, control)."
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return "custom", parse_prompt_format({"prefix": "", "control": [], **document})
    except KeyError as error:
        raise CannotBuild(f"{path} is not a prompt format: the field {error} is missing.") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CannotBuild(f"{path} is not a prompt format: {error}.") from error


def recognise(checkpoint: Checkpoint, wish: str | None) -> tuple[str, PromptFormat]:
    """Name and format of the conversations with the model. Raises CannotBuild when it is not known."""
    if wish:
        return named_format(wish)
    signs = _signs(checkpoint)
    for name, fits in _RULES:
        if fits(signs):
            return name, catalogue().families[name]
    raise CannotBuild(
        f"It cannot be told from {checkpoint.folder} how conversations with this model are written. Say it "
        f"with --prompt-format: one of {', '.join(sorted(catalogue().families))}, or a JSON file."
    )


def _signs(checkpoint: Checkpoint) -> _Signs:
    config = _json(checkpoint.folder / TOKENIZER_CONFIG)
    jinja = checkpoint.folder / "chat_template.jinja"
    template = jinja.read_text(encoding="utf-8") if jinja.is_file() else config.get("chat_template")
    tokens = [
        token.get("content") for token in _json(checkpoint.folder / TOKENIZER).get("added_tokens") or ()
    ]
    tokens += [token.get("content") for token in (config.get("added_tokens_decoder") or {}).values()]
    return _Signs(checkpoint.architecture, frozenset(map(str, tokens)), str(template or ""))


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one when there is no such file."""
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CannotBuild(f"{path} cannot be read: {error}.") from error
    return document if isinstance(document, dict) else {}
