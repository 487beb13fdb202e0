"""An answer's tokens told apart into text and calls of tools.

Where the model has tokens around its calls, those are what is looked for: by id, since text can be imitated.
Where it has none (Phi-3), an answer is a list of calls when it begins as one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from localphi.chat import CallArguments, CallStarted

LIST_OPENING = '[{"name": "'  # how a list of calls begins, and no guided text of a model without call tokens
_CALL_HEAD = re.compile(r'(?:\[|, )\{"name": "([^"\\]*)", "arguments": \{')

Piece = str | CallStarted | CallArguments
"""A str is text of the answer."""

Decode = Callable[[int], str]
"""Text of the next token of one stream; empty while a character is incomplete."""


@dataclass(frozen=True)
class Markers:
    """Ids of the tokens around a list of calls."""

    opening: int
    closing: int


class AnswerReader(Protocol):
    """calls: whether calls were read. over: nothing of the answer can follow."""

    @property
    def calls(self) -> bool: ...

    @property
    def over(self) -> bool: ...

    def push(self, token: int) -> list[Piece]:
        """What this token adds to the answer."""

    def finish(self) -> list[Piece]:
        """What was still held back, when the answer ended."""


class TextReader:
    """An answer that is text, whatever it looks like."""

    calls = over = False

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def push(self, token: int) -> list[Piece]:
        text = self._decode(token)
        return [text] if text else []

    def finish(self) -> list[Piece]:
        return []


class MarkedReader:
    """Text, then perhaps a list of calls between two tokens.

    new_stream: a decoder; text and list get one each, so that no half character of the text enters the list.
    """

    def __init__(self, new_stream: Callable[[], Decode], markers: Markers, calls: ListReader) -> None:
        self._new_stream = new_stream
        self._decode = new_stream()
        self._markers = markers
        self._list = calls
        self._opened = False
        self.over = False

    @property
    def calls(self) -> bool:
        return self._list.calls

    def push(self, token: int) -> list[Piece]:
        if token == self._markers.closing and self._opened and self._list.may_close:
            self.over = True
            return self._list.finish()
        if token == self._markers.opening and not self._opened:
            self._opened = True
            self._decode = self._new_stream()
            return []
        text = self._decode(token)
        if self._opened:
            return self._list.push(text)
        return [text] if text else []

    def finish(self) -> list[Piece]:
        return self._list.finish() if self._opened and not self.over else []


class UnmarkedReader:
    """Text, or a list of calls in its place; held back until it is clear which."""

    def __init__(self, decode: Decode, calls: ListReader) -> None:
        self._decode = decode
        self._list = calls
        self._held: str | None = ""
        self._opened = False

    @property
    def calls(self) -> bool:
        return self._list.calls

    @property
    def over(self) -> bool:
        return self._list.complete

    def push(self, token: int) -> list[Piece]:
        text = self._decode(token)
        if self._opened:
            return self._list.push(text)
        if self._held is None:
            return [text] if text else []
        self._held += text
        begun = self._held.lstrip()
        if begun.startswith(LIST_OPENING):
            self._opened = True
            return self._list.push(begun)
        if LIST_OPENING.startswith(begun):
            return []
        text, self._held = self._held, None
        return [text]

    def finish(self) -> list[Piece]:
        if self._opened:
            return self._list.finish()
        text, self._held = self._held, None
        return [text] if text else []


class ListReader(Protocol):
    """A list of calls in pieces of any size.

    complete: its last bracket was read. may_close: a closing token would end it here; where it would not,
    that token is text in an argument, which a grammar allows if tokenizer.json does not mark it as special.
    """

    calls: bool
    complete: bool
    may_close: bool

    def push(self, text: str) -> list[Piece]: ...

    def finish(self) -> list[Piece]: ...


class GuidedList:
    """The list as the grammar writes it: each piece of the arguments is passed on as it comes."""

    def __init__(self) -> None:
        self.calls = self.complete = self.may_close = False
        self._state: Literal["head", "arguments", "tail"] = "head"
        self._head = ""
        self._index = -1
        self._depth = 0
        self._in_string = self._escaped = False

    def push(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        arguments = ""
        for character in text:
            if self._state == "arguments":
                arguments += character
                self._follow(character)
                if self._depth == 0:
                    pieces.append(CallArguments(self._index, arguments))
                    arguments = ""
                    self._state = "tail"
            elif self._state == "tail":  # the bracket that ends the call
                self._state, self._head = "head", ""
            else:
                self._head += character
                if character == "{" and (head := _CALL_HEAD.fullmatch(self._head)):
                    pieces.append(self._start(head[1]))
                    arguments = character
                self.complete = self.may_close = self._head == "]"
        return [*pieces, CallArguments(self._index, arguments)] if arguments else pieces

    def _start(self, name: str) -> CallStarted:
        self.calls = True
        self._index += 1
        self._depth = 1
        self._state = "arguments"
        return CallStarted(self._index, _new_id(), name)

    def _follow(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._in_string:
            self._escaped = character == "\\"
            self._in_string = character != '"'
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1

    def finish(self) -> list[Piece]:
        return []


class FreeList:
    """The list as a model writes it without a grammar: read at its end, and given as text if it is none."""

    complete, may_close = False, True

    def __init__(self) -> None:
        self.calls = False
        self._text = ""

    def push(self, text: str) -> list[Piece]:
        self._text += text
        return []

    def finish(self) -> list[Piece]:
        calls = _read_calls(self._text)
        self.calls = bool(calls)
        if not calls:
            return [self._text] if self._text else []
        pieces: list[Piece] = []
        for index, (name, arguments) in enumerate(calls):
            pieces += [CallStarted(index, _new_id(), name), CallArguments(index, arguments)]
        return pieces


def _read_calls(text: str) -> list[tuple[str, str]]:
    """Name and arguments of each call, or nothing when the text is not a list of calls, or one call."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    items = document if isinstance(document, list) else [document]
    return [_read_call(item) for item in items] if all(map(_is_call, items)) else []


def _is_call(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    return isinstance(item.get("name"), str) and isinstance(item.get("arguments"), dict)


def _read_call(item: dict[str, Any]) -> tuple[str, str]:
    return item["name"], json.dumps(item["arguments"], ensure_ascii=False)


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"
