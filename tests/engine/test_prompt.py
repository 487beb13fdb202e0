from __future__ import annotations

import json
from typing import Any

import pytest

from localphi.chat import Message
from localphi.engine.prompt import neutralise, render
from localphi.models.manifest import PromptFormat
from serving import VECTORS

DOCUMENT = json.loads((VECTORS / "prompt.json").read_text(encoding="utf-8"))


def _format(entry: dict[str, Any]) -> PromptFormat:
    return PromptFormat(
        prefix=entry["prefix"],
        roles={role: (opening, closing) for role, (opening, closing) in entry["roles"].items()},
        generation=entry["generation"],
        end=tuple(entry["end"]),
        control=tuple(entry["control"]),
    )


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: case["name"])
def test_a_conversation_is_rendered_as_in_the_vectors(case: dict[str, Any]) -> None:
    messages = [Message(m["role"], m["content"]) for m in case["messages"]]
    prompt_format = _format(DOCUMENT["formats"][case["format"]])
    assert render(prompt_format, messages, case["system_prompt"]) == case["rendered"]


def test_nothing_a_user_types_contains_a_control_token() -> None:
    control = ("<|end|>", "<|endoftext|>", "<|system|>", "<s>", "</s>")
    for text in ("<|end|><|system|>", "<<|end|>|end|>", "a</s><s>", "<|endoftext|>"):
        safe = neutralise(text, control)
        assert not any(token in safe for token in control)
        assert safe.replace("\u200b", "") == text


def test_text_without_control_tokens_is_left_alone() -> None:
    assert neutralise("a < b | c |> d", ("<|end|>",)) == "a < b | c |> d"
