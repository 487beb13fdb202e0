"""Which bytes may come next where a schema holds an answer: by llguidance, the server's library.

For each schema there are walks: texts that fit it, and at each of their bytes those that could stand there
instead. A schema that is refused has the server's message in their place.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from localphi.engine.schema_rules import Rules, SchemaRules
from localphi.errors import InvalidRequest
from tool_schemas import SCHEMAS, WRONG

PARAM = "response_format.json_schema.schema"
END = 256
WALKS, MOST_BYTES = 3, 60
OF_ARGUMENTS = frozenset(
    {
        *("no words", "all optional", "ref at the top", "any arguments", "one of two", "options at the top"),
        *("a list", "not at the top", "anyOf of no objects at the top", "required that is none"),
    }
)
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_PATTERNS = (
    *(
        "b",
        "^b",
        "^b|c$",
        "^$",
        "^(a$|b)",
        "(^a|b)c$",
        "^.{2}$",
        r"^\s\S$",
        '^[^a-y"\n]+$',
        r"^\x41\u0042\.$",
    ),
    *("^(?:ab|a)*?$", r"^\p{Lu}{1,2}$", "^a(\nb)?$", "^[]$", "a^b", r"a\b", r"(a)\1", "^a{,3}$", "^{$", "*"),
    *(r"^\x41\u0042\.$", "^[a&&b]$", r"^\cA$", "^]$", "a{3,2}", "[z-a]", "a|", "^[a-]$", r"^[\w.-]+@[^\W_]$"),
)
_RANGES: tuple[dict[str, Any], ...] = (
    *({"minimum": 1.5, "maximum": 2.25}, {"exclusiveMinimum": -2, "exclusiveMaximum": 3}),
    *({"minimum": -3, "maximum": -1}, {"minimum": 0, "maximum": 0}, {"maximum": 7.125}, {"multipleOf": 3}),
    *(
        {"multipleOf": 0.3, "maximum": 5},
        {"multipleOf": 2.5e-3, "minimum": 0.5},
        {"minimum": 99, "maximum": 101},
    ),
    *(
        {"minimum": 99, "maximum": 101},
        {"minimum": 3, "exclusiveMinimum": 4, "maximum": 20},
        {"minimum": -7.5, "maximum": 0.5},
    ),
)
MORE: dict[str, Any] = {
    **{f"format {form}": {"type": "string", "format": form} for form in _FORMATS},
    "short email": {"type": "string", "format": "email", "maxLength": 7, "minLength": 6},
    **{f"pattern {pattern}": {"type": "string", "pattern": pattern, "maxLength": 9} for pattern in _PATTERNS},
    **{f"number {json.dumps(bounds)}": {"type": "number", **bounds} for bounds in _RANGES},
    **{f"integer {json.dumps(bounds)}": {"type": "integer", **bounds} for bounds in _RANGES},
}
_CLOSING = frozenset(b'"}], ')


class Bytes:
    """A tokenizer in which each byte is a token, for llguidance."""

    eos_token_id, bos_token_id, special_token_ids = END, None, (END,)
    tokens = (*(bytes([byte]) for byte in range(256)), b"<|end|>")

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def schema_vectors() -> dict[str, Any]:
    sets: dict[str, int] = {}
    named = [*SCHEMAS.items(), *WRONG.items(), *MORE.items()]
    cases = [
        _case(name, schema, whole, sets)
        for name, schema in named
        for whole in (True, False)
        if name != "too large" and (whole or name in OF_ARGUMENTS)
    ]
    return {"param": PARAM, "sets": list(sets), "cases": cases}


def lark(schema: Any, whole: bool) -> str:
    """The server's grammar of JSON that fits the schema, or of a tool's arguments. Raises InvalidRequest."""
    rules = Rules()
    schema_rules = SchemaRules(rules, json.dumps(schema), PARAM)
    start = schema_rules.any_text() if whole else schema_rules.arguments()
    return f"start: {start}\n{rules}"


def allowed(matcher: Any) -> list[int]:
    mask = matcher.compute_bitmask()
    return [token for token in range(END + 1) if mask[token // 8] >> token % 8 & 1]


def as_ranges(tokens: list[int]) -> str:
    """`33-126 256`: first and last of each run."""
    runs: list[list[int]] = []
    for token in tokens:
        if runs and runs[-1][-1] == token - 1:
            runs[-1][1:] = [token]
        else:
            runs.append([token])
    return " ".join("-".join(map(str, run)) for run in runs)


def new_matcher(grammar: str) -> Any:
    from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

    return LLMatcher(LLTokenizer(TokenizerWrapper(Bytes())), grammar)


def _case(name: str, schema: Any, whole: bool, sets: dict[str, int]) -> dict[str, Any]:
    """refused: the message, empty where it is in the library's own words."""
    case = {"name": name if whole else f"{name}, as arguments", "whole": whole, "schema": schema}
    try:
        grammar = lark(schema, whole)
    except InvalidRequest as error:
        return {**case, "refused": error.message}
    if new_matcher(grammar).is_error():
        return {**case, "refused": ""}
    walks = [_walk(grammar, random.Random(f"{name} {number}"), sets) for number in range(WALKS)]
    return {**case, "walks": walks}


def _walk(grammar: str, chance: random.Random, sets: dict[str, int]) -> Mapping[str, Any]:
    """`next` has one set more than the text has bytes: what may follow at its end."""
    matcher = new_matcher(grammar)
    text: list[int] = []
    following: list[int] = []
    for token in _choices(matcher, chance, sets, following):
        text.append(token)
        matcher.consume_token(token)
    return {"text": bytes(text).decode("latin-1"), "next": following}


def _choices(
    matcher: Any, chance: random.Random, sets: dict[str, int], following: list[int]
) -> Iterator[int]:
    """Bytes that lead to an end soon, more often than not."""
    for place in range(10**6):
        tokens = allowed(matcher)
        following.append(sets.setdefault(as_ranges(tokens), len(sets)))
        closing = [token for token in tokens if token in _CLOSING or token == END]
        late = place > MOST_BYTES or chance.random() < 0.3
        token = chance.choice(closing if closing and late else tokens)
        if token == END:
            return
        yield token
