"""JSON as text, never parsed and written again: numbers and escapes stay what they were, in every language.

The page has the same functions in `shared/json-text.ts`; both pass `tests/vectors/prompt.json`.
"""

from __future__ import annotations

import json
import re

MAX_DEPTH = 64  # deeper than that, parsers of different languages no longer agree on what is JSON

_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\n\r]+|[,:]', re.DOTALL)
# A string without an end takes the rest: else each quote in it would be tried as a beginning.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def respace(text: str) -> str:
    """The JSON text with ", " and ": " between its parts and no other white space."""
    return _PARTS.sub(_spaced, text)


def _spaced(part: re.Match[str]) -> str:
    if part[0] in ",:":
        return part[0] + " "
    return part[0] if part[0].startswith('"') else ""


def quote(text: str) -> str:
    """The text as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def is_json(text: str) -> bool:
    """Whether the text is JSON, no deeper than MAX_DEPTH."""
    if _depth(text) > MAX_DEPTH:
        return False
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
