"""Readers of answers, at every point where the text can be split. A token stands for a piece of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from localphi.chat import CallArguments, CallStarted
from localphi.engine.calls import (
    AnswerReader,
    FreeList,
    GuidedList,
    ListReader,
    MarkedReader,
    Markers,
    TextReader,
    UnmarkedReader,
)

OPEN, CLOSE = 1, 2
MARKERS = Markers(OPEN, CLOSE)
ONE = '[{"name": "f", "arguments": {}}]'
HARD = json.dumps(
    [
        {"name": "get_weather", "arguments": {"city": 'Os"lo}] \\', "at": [{"x": {}}, []], "é": "日本 😀"}},
        {"name": "now", "arguments": {}},
        {"name": "get_weather", "arguments": {"city": '", "arguments": {', "e": "\\\\"}},
    ],
    ensure_ascii=False,
)
LISTS = [ONE, HARD]


class _Answer:
    """A piece of text per token, and the decoders that give it."""

    def __init__(self, parts: Sequence[str | int]) -> None:
        self.tokens = [part if isinstance(part, int) else 10 + number for number, part in enumerate(parts)]
        self._texts = {10 + number: part for number, part in enumerate(parts) if isinstance(part, str)}

    def decode(self, token: int) -> str:
        return self._texts.get(token, "<marker>")


def _read(reader: AnswerReader, tokens: Sequence[int]) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls, as the wire puts them together."""
    text = ""
    calls: list[tuple[str, str]] = []
    pieces = [piece for token in tokens for piece in reader.push(token)]
    for piece in [*pieces, *reader.finish()]:
        match piece:
            case str():
                assert not calls, "text came after a call"
                text += piece
            case CallStarted(index, _, name):
                assert index == len(calls)
                calls.append((name, ""))
            case CallArguments(index, arguments):
                name, before = calls[index]
                calls[index] = (name, before + arguments)
    return text, calls


def _marked(parts: Sequence[str | int], calls: ListReader) -> tuple[str, list[tuple[str, str]]]:
    answer = _Answer(parts)
    return _read(MarkedReader(lambda: answer.decode, MARKERS, calls), answer.tokens)


def _unmarked(parts: Sequence[str], calls: ListReader) -> tuple[str, list[tuple[str, str]]]:
    answer = _Answer(parts)
    return _read(UnmarkedReader(answer.decode, calls), answer.tokens)


def _calls(text: str) -> list[tuple[str, str]]:
    return [(call["name"], json.dumps(call["arguments"], ensure_ascii=False)) for call in json.loads(text)]


def _splits(text: str) -> Iterator[list[str]]:
    """Letter by letter, and in two at every point."""
    yield list(text)
    yield from ([text[:cut], text[cut:]] for cut in range(len(text) + 1))


@pytest.mark.parametrize("text", LISTS)
@pytest.mark.parametrize("before", ["", "Let me see. [{"])
def test_marked_calls_are_read_at_every_split(text: str, before: str) -> None:
    for parts in _splits(text):
        marked: list[str | int] = [*before, OPEN, *parts, CLOSE]
        assert _marked(marked, GuidedList()) == (before, _calls(text))


@pytest.mark.parametrize("text", LISTS)
def test_unmarked_calls_are_read_at_every_split(text: str) -> None:
    for parts in _splits(text):
        assert _unmarked(parts, GuidedList()) == ("", _calls(text))


@pytest.mark.parametrize("text", LISTS)
def test_free_calls_are_read_at_every_split(text: str) -> None:
    for parts in _splits(text):
        assert _marked([OPEN, *parts, CLOSE], FreeList()) == ("", _calls(text))
        assert _marked([OPEN, *parts], FreeList()) == ("", _calls(text))
        assert _unmarked(["\n", *parts], FreeList()) == ("", _calls(text))


@pytest.mark.parametrize("text", ["", "Hello", "[", '[{"name": ', "[1, 2]", '{"name": "f"}', "é日"])
def test_text_that_is_no_list_of_calls_stays_text_at_every_split(text: str) -> None:
    for parts in _splits(text):
        assert _unmarked(parts, GuidedList()) == (text, [])
        assert _unmarked(parts, FreeList()) == (text, [])
        assert _marked(parts, GuidedList()) == (text, [])


@pytest.mark.parametrize(
    "text", ["", "[]", "[1]", '[{"name": 1, "arguments": {}}]', '[{"name": "f"}]', ONE[:-1]]
)
def test_what_a_free_model_puts_between_the_markers_and_is_no_list_is_text(text: str) -> None:
    assert _marked([OPEN, *text, CLOSE], FreeList()) == (text, [])


def test_a_free_model_may_write_one_call_without_a_list() -> None:
    assert _marked([OPEN, ' {"name":"f","arguments":{"x":1}} ', CLOSE], FreeList()) == (
        "",
        [("f", '{"x": 1}')],
    )


def test_arguments_are_passed_on_as_they_come() -> None:
    answer = _Answer([OPEN, *'[{"name": "f", "arguments": {"x": 12', "3"])
    reader = MarkedReader(lambda: answer.decode, MARKERS, GuidedList())
    *_, last = [reader.push(token) for token in answer.tokens]
    assert last == [CallArguments(0, "3")]
    assert reader.finish() == []


def test_a_list_is_over_with_its_last_token_and_has_calls() -> None:
    answer = _Answer([OPEN, ONE, CLOSE])
    reader = MarkedReader(lambda: answer.decode, MARKERS, GuidedList())
    states = []
    for token in answer.tokens:
        reader.push(token)
        states.append((reader.calls, reader.over))
    assert states == [(False, False), (True, False), (True, True)]


def test_a_marker_within_an_argument_is_text() -> None:
    parts: list[str | int] = [OPEN, '[{"name": "f", "arguments": {"x": "', CLOSE, OPEN, '"}}]', CLOSE]
    assert _marked(parts, GuidedList()) == ("", [("f", '{"x": "<marker><marker>"}')])


def test_a_closing_marker_without_an_opening_one_is_text() -> None:
    assert _marked(["a", CLOSE, "b"], GuidedList()) == ("a<marker>b", [])


def test_text_is_text_where_no_tools_were_offered() -> None:
    answer = _Answer([ONE, OPEN])
    assert _read(TextReader(answer.decode), answer.tokens) == (ONE + "<marker>", [])


def test_every_call_has_an_id_of_its_own() -> None:
    answer = _Answer([OPEN, HARD, CLOSE])
    reader = MarkedReader(lambda: answer.decode, MARKERS, GuidedList())
    pieces = [piece for token in answer.tokens for piece in reader.push(token)]
    ids = [piece.id for piece in pieces if isinstance(piece, CallStarted)]
    assert len(set(ids)) == 3
    assert all(call_id.startswith("call_") for call_id in ids)
