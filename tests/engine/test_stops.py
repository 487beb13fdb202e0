from __future__ import annotations

import itertools

import pytest

from localphi.engine.stops import StopMatcher

TEXT = "one two three"


def _run(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, bool]:
    matcher = StopMatcher(stops)
    shown = ""
    for piece in pieces:
        shown += matcher.push(piece)
        if matcher.matched:
            return shown, True
    return shown + matcher.flush(), False


@pytest.mark.parametrize(
    ("stops", "shown", "matched"),
    [
        ((), TEXT, False),
        (("two",), "one ", True),
        (("three",), "one two ", True),
        (("e t",), "on", True),
        (("four", "thrice", "ee!"), TEXT, False),
        (("three four",), TEXT, False),
        (("wo", "two"), "one ", True),
    ],
)
def test_a_stop_string_is_found_at_every_split(stops: tuple[str, ...], shown: str, matched: bool) -> None:
    for first, second in itertools.combinations_with_replacement(range(len(TEXT) + 1), 2):
        pieces = [TEXT[:first], TEXT[first:second], TEXT[second:]]
        assert _run(stops, pieces) == (shown, matched), pieces
    assert _run(stops, list(TEXT)) == (shown, matched)


def test_text_that_cannot_begin_a_stop_string_is_shown_at_once() -> None:
    assert StopMatcher(["END"]).push("hello E") == "hello "
