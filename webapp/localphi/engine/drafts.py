"""Guesses at how a text goes on: as it did after the same words before (prompt lookup, n-gram speculation).

What quotes its prompt, or repeats itself, is guessed right for long stretches. A model checks several tokens
in one step for less than the price of one each, and takes those that it would have chosen itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_WORDS = 4  # tokens that must be the same
_LEAST, _MOST = 2, 8  # tokens of a guess
_PAUSE = 16  # tokens without a guess, after one of which nothing was right
INDEXED_TOKENS = 8192
"""Of a prompt's end, from which the guesses for an answer come."""


class Drafts:
    """The tokens of a text in order, and guesses at the next ones. Right ones let them become longer."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # where the text went on after these, the last time
        self._length = _LEAST
        self._drafted: list[int] = []
        self._silent = 0
        for token in ids:
            self._append(token)

    def push(self, tokens: Sequence[int]) -> None:
        """How the text went on since the last guess: those of the guess that were right, and one more."""
        right = 0
        for drafted, token in zip(self._drafted, tokens, strict=False):
            if drafted != token:
                break
            right += 1
        self._silent = max(0, self._silent - len(tokens))
        if self._drafted:
            self._length = min(2 * self._length, _MOST) if right == len(self._drafted) else _LEAST
            self._silent = 0 if right else _PAUSE
        self._drafted = []
        for token in tokens:
            self._append(token)

    def guess(self, most: int) -> list[int]:
        """The next tokens, `most` at most; none where nothing tells them."""
        place = self._after.get(tuple(self._ids[-_WORDS:])) if not self._silent else None
        if place is None:
            return []
        self._drafted = self._ids[place : place + min(most, self._length)]
        return self._drafted

    def _append(self, token: int) -> None:
        """The last words get their place when it is known how the text goes on after them."""
        if len(self._ids) >= _WORDS:
            self._after[tuple(self._ids[-_WORDS:])] = len(self._ids)
        self._ids.append(token)
