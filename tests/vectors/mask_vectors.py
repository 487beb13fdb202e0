"""Which tokens of the demo may come next in whole answers: by llguidance, along random walks.

A step is the token that was taken, how many might have been, and the sum of their ids. Where the text of a
grammar leaves no choice, only the token that the text is encoded to may come.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from localphi.chat import ChatRequest, JsonFormat, Message, Tool
from localphi.engine.calls import Markers
from localphi.engine.grammar import grammar_for
from localphi.models.manifest import load_manifest
from serving import DEMO
from tool_schemas import SCHEMAS

WALKS, MOST_STEPS = 60, 60
KINDS = ("auto", "required", "none", "format", "format or tools")


def mask_vectors() -> dict[str, Any]:
    from llguidance import LLTokenizer

    prompt_format = load_manifest(DEMO).prompt_format
    text = (DEMO / "tokenizer.json").read_text(encoding="utf-8")
    ids = {token["content"]: token["id"] for token in json.loads(text)["added_tokens"]}
    assert prompt_format.tool_call is not None
    opening, closing = (ids[token] for token in prompt_format.tool_call)
    ends = [ids[token] for token in prompt_format.end]
    tokenizer = LLTokenizer(text, eos_token=ends[0])
    control = (*prompt_format.control, *prompt_format.tool_call)
    walks = []
    for number in range(WALKS):
        chance = random.Random(number)
        kind = KINDS[number % len(KINDS)]
        first, second = chance.sample(sorted(set(SCHEMAS) - {"no words"}), 2)
        request = _request(kind, first, second)
        grammar = grammar_for(request, Markers(opening, closing), control, ends)
        steps = list(_steps(tokenizer, grammar, {*ends, closing}, chance))
        walks.append({"kind": kind, "schemas": [first, second], "steps": steps})
    return {"schemas": {name: json.dumps(schema) for name, schema in SCHEMAS.items()}, "walks": walks}


def _request(kind: str, first: str, second: str) -> ChatRequest:
    names = {"alpha": first, "be_ta-2": second}
    tools = tuple(Tool(name, "", json.dumps(SCHEMAS[schema])) for name, schema in names.items())
    answer_format = JsonFormat(json.dumps(SCHEMAS[first])) if kind.startswith("format") else None
    return ChatRequest(
        (Message("user", "Hi"),),
        tools=() if kind == "format" else tools,
        tool_choice="required" if kind == "required" else "none" if kind == "none" else "auto",
        answer_format=answer_format,
    )


def _steps(tokenizer: Any, grammar: str | None, last: set[int], chance: random.Random) -> Iterator[list[int]]:
    """Random tokens, those that end something more often than others."""
    from llguidance import LLMatcher

    assert grammar is not None
    matcher = LLMatcher(tokenizer, grammar)
    for _ in range(MOST_STEPS):
        mask = matcher.compute_bitmask()
        allowed = [token for token in range(8 * len(mask)) if mask[token // 8] >> token % 8 & 1]
        closing = [token for token in allowed if token in last or len(allowed) < 6]
        token = chance.choice(closing if closing and chance.random() < 0.4 else allowed)
        yield [token, len(allowed), sum(allowed)]
        if token in last:
            return
        assert matcher.consume_token(token), matcher.get_error()
