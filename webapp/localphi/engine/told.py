"""What an answer has told so far, so that another worker can go on where the first one ended.

That worker is given the token ids and tells their events again. What has been passed on already is dropped
here, by ids and characters: the worker may have ended between a token and the call that it completed.
"""

from __future__ import annotations

from localphi.chat import CallArguments, CallStarted, Chunk, Finished, Item
from localphi.errors import EngineFailed


class Told:
    """ids: of all tokens of the answer so far, in order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._chars = 0
        self._calls: list[int] = []  # characters of the arguments of each call
        self._seen_ids = self._seen_chars = 0  # by the worker at hand
        self._seen_calls: list[int] = []

    def begin_again(self) -> None:
        """Everything told so far is to come once more."""
        self._seen_ids = self._seen_chars = 0
        self._seen_calls = []

    def new_of(self, item: Item) -> Item | None:
        """What of an item was not told before, None for nothing.

        Raises EngineFailed when the answer goes another way than the first time.
        """
        match item:
            case Chunk():
                return self._chunk(item)
            case CallStarted(index=index):
                self._seen_calls.append(0)
                if index < len(self._calls):
                    return None
                self._calls.append(0)
                return item
            case CallArguments(index, text):
                return self._arguments(index, text)
            case Finished():
                return item
        return None if self.ids else item  # whatever comes before the answer itself

    def _chunk(self, chunk: Chunk) -> Chunk | None:
        ids = self._new_ids(chunk.token_ids)
        known = min(self._chars - self._seen_chars, len(chunk.text))
        self._seen_chars += len(chunk.text)
        self._chars = max(self._chars, self._seen_chars)
        if not ids and known == len(chunk.text):
            return None
        logprobs = chunk.logprobs[len(chunk.logprobs) - len(ids) :] if chunk.logprobs else ()
        return Chunk(chunk.text[known:], ids, logprobs)

    def _new_ids(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        known = self.ids[self._seen_ids : self._seen_ids + len(ids)]
        if known != list(ids[: len(known)]):
            raise EngineFailed(
                "The answer cannot go on: its worker died, and the next one answers otherwise."
            )
        self._seen_ids += len(ids)
        self.ids += ids[len(known) :]
        return ids[len(known) :]

    def _arguments(self, index: int, text: str) -> CallArguments | None:
        known = min(self._calls[index] - self._seen_calls[index], len(text))
        self._seen_calls[index] += len(text)
        self._calls[index] = max(self._calls[index], self._seen_calls[index])
        return CallArguments(index, text[known:]) if known < len(text) else None
