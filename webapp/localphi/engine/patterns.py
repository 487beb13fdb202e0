"""Patterns of JSON schemas, which are ECMAScript's, as llguidance's regular expressions.

llguidance cannot look ahead. `^(?!A)(?=B)C$` is C, not A, and B at the same time; pydantic writes such
patterns for Decimal, zod for email addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|.", re.DOTALL)  # an escape, a class of characters, or one
_SLASH = re.compile(r"\\.|/", re.DOTALL)
_RAW = r"[ !#-\[\]-~]"  # ASCII that stands in JSON as it is
_MAX_CHARS = 48  # with 128, `(?!.*…)` is "too many expressions" to llguidance; with 64 it takes seconds
_ASCII = {"d": "[0-9]", "D": "[^0-9]", "w": "[A-Za-z0-9_]", "W": "[^A-Za-z0-9_]"}


def ascii_classes(pattern: str) -> str:
    r"""The pattern with ECMAScript's `\d` and `\w`; llguidance's are digits and letters of all scripts."""
    return re.sub(r"\\(.)", lambda escape: _ASCII.get(escape[1], escape[0]), pattern, flags=re.DOTALL)


def terminal(pattern: str, least: int, most: int) -> str | None:
    """The Lark terminal of JSON strings that fit, None for a pattern that does not begin by looking ahead.

    The strings have no character that JSON escapes: then their JSON is what the pattern speaks of. The quotes
    around are written out, so that no `[^a]` of the pattern can take one for itself.
    """
    if not pattern.startswith(("^(?=", "^(?!")) or not pattern.isprintable():
        return None
    parts = [f'/"{_RAW}{{{least},{min(most, _MAX_CHARS)}}}"/']
    rest = pattern[1:]
    while rest.startswith(("(?=", "(?!")):
        end = next((end for depth, _, end in _tokens(rest) if depth == 0), len(rest))
        parts.append(("~" if rest[2] == "!" else "") + _quoted(rest[3 : end - 1]))
        rest = rest[end:]
    if _has_alternatives(rest):  # of which only the first looks ahead
        return None
    return " & ".join([*parts, _quoted(rest)])


def _tokens(pattern: str) -> Iterator[tuple[int, str, int]]:
    """Each token: how many groups are open after it, its text, where it ends."""
    depth = 0
    for token in _TOKEN.finditer(pattern):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        yield depth, token[0], token.end()


def _has_alternatives(pattern: str) -> bool:
    return any(depth == 0 and token == "|" for depth, token, _ in _tokens(pattern))


def _quoted(pattern: str) -> str:
    """The regular expression of JSON strings that begin with the pattern, or are it when it ends with `$`."""
    tokens = [token for _, token, _ in _tokens(pattern.removeprefix("^"))]
    rest = '[^"]*'
    if tokens and tokens[-1] == "$" and not _has_alternatives(pattern):
        tokens.pop()
        rest = ""
    return f'/"(?:{_SLASH.sub(_escaped, "".join(tokens))}){rest}"/'


def _escaped(part: re.Match[str]) -> str:
    return "\\/" if part[0] == "/" else part[0]
