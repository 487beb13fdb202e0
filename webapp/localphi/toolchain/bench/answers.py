"""One answer on the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """When an answer was asked for, when its pieces came, and how many tokens it had.

    Moments are seconds of one clock. A server sends no piece for a token without text (half a character, a
    control token), so there may be fewer pieces than tokens; tokens are then taken to come evenly over them.
    """

    asked_s: float
    pieces_s: tuple[float, ...]
    ended_s: float
    tokens: int

    @property
    def ttft_s(self) -> float:
        return self._first_s - self.asked_s

    @property
    def _first_s(self) -> float:
        return self.pieces_s[0] if self.pieces_s else self.ended_s

    def token_s(self, number: int) -> float:
        """When token `number` came, counted from 1 to `tokens`."""
        if number >= self.tokens:
            return self.ended_s
        pieces = len(self.pieces_s)
        if pieces >= self.tokens:
            return self.pieces_s[number - 1]
        if not pieces:
            return self.ended_s
        place = (number - 1) * (pieces - 1) / max(self.tokens - 1, 1)
        return self.pieces_s[round(place)]

    def tokens_per_s(self, first: int) -> float | None:
        """Speed of the first so many tokens, their prompt included: what a reader gets. None for fewer."""
        if self.tokens < first:
            return None
        return first / max(self.token_s(first) - self.asked_s, 1e-9)

    def decode_tokens_per_s(self, first: int | None = None) -> float | None:
        """Speed after the first token, up to token `first` or the end. None where there are too few."""
        last = self.tokens if first is None else first
        if last < 2 or self.tokens < last:
            return None
        return (last - 1) / max(self.token_s(last) - self._first_s, 1e-9)

    @property
    def decode_s_per_token(self) -> float:
        """0 for a single token."""
        speed = self.decode_tokens_per_s()
        return 1 / speed if speed else 0.0


@dataclass(frozen=True)
class Together:
    """Answers asked for at the same moment."""

    answers: tuple[Timed, ...]

    @property
    def decode_tokens_per_s(self) -> float:
        """All tokens after the first of each, from the first token of any to the end of the last."""
        first = min(answer.token_s(1) for answer in self.answers)
        last = max(answer.ended_s for answer in self.answers)
        return sum(answer.tokens - 1 for answer in self.answers) / max(last - first, 1e-9)

    @property
    def steady_tokens_per_s(self) -> float | None:
        """Speed while all of them decode. None where they never do, because some wait for others to end."""
        start = max(answer.token_s(1) for answer in self.answers)
        end = min(answer.ended_s for answer in self.answers)
        if end <= start:
            return None
        came = sum(
            start < answer.token_s(number) <= end
            for answer in self.answers
            for number in range(1, answer.tokens + 1)
        )
        return came / (end - start)

    @property
    def ttfts_s(self) -> Sequence[float]:
        """Fastest first."""
        return sorted(answer.ttft_s for answer in self.answers)
