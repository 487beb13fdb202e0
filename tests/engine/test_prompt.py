from __future__ import annotations

import json
import time
from typing import Any

import pytest

from localphi.chat import JsonFormat, Message, Tool, ToolCall
from localphi.engine.jsontext import is_json
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
        tools=_pair(entry.get("tools")),
        tool_call=_pair(entry.get("tool_call")),
        system_in_user=entry.get("system_in_user", False),
    )


def _pair(entry: list[str] | None) -> tuple[str, str] | None:
    return (entry[0], entry[1]) if entry else None


def _message(entry: dict[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in entry.get("tool_calls", ()))
    return Message(entry["role"], entry["content"], calls, entry.get("tool_call_id"))


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: case["name"])
def test_a_conversation_is_rendered_as_in_the_vectors(case: dict[str, Any]) -> None:
    messages = [_message(entry) for entry in case["messages"]]
    prompt_format = _format(DOCUMENT["formats"][case["format"]])
    tools = [Tool(**tool) for tool in case.get("tools", ())]
    answer_format = JsonFormat(**case["answer_format"]) if "answer_format" in case else None
    assert render(prompt_format, messages, case["system_prompt"], tools, answer_format) == case["rendered"]


def test_nothing_a_user_types_contains_a_control_token() -> None:
    control = ("<|end|>", "<|endoftext|>", "<|system|>", "<s>", "</s>")
    for text in ("<|end|><|system|>", "<<|end|>|end|>", "a</s><s>", "<|endoftext|>"):
        safe = neutralise(text, control)
        assert not any(token in safe for token in control)
        assert safe.replace("\u200b", "") == text


def test_text_without_control_tokens_is_left_alone() -> None:
    assert neutralise("a < b | c |> d", ("<|end|>",)) == "a < b | c |> d"


def test_json_that_was_cut_off_within_a_string_is_soon_known_to_be_none() -> None:
    start = time.perf_counter()
    assert not is_json('"' + r"\"" * 200_000)
    assert time.perf_counter() - start < 10, "each quote was tried as the beginning of a string"
