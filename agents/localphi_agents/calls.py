"""Calls of tools, put together from the pieces they are streamed in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from localphi_agents.chat import ToolCall
from localphi_agents.errors import CallCutOff, UnexpectedReply


@dataclass(frozen=True)
class CallPiece:
    """index: which call of the answer it belongs to. The first piece of a call has its name."""

    index: int
    id: str | None
    name: str | None
    arguments: str


class CallCollector:
    """Add the pieces of one answer, then ask for its calls.

    A piece continues the last call of its index, unless it brings another id or name: there are servers that
    number every call 0.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, pieces: Iterable[CallPiece]) -> None:
        for piece in pieces:
            call = next((call for call in reversed(self._calls) if call.continued_by(piece)), None)
            if call is None:
                call = _Call(piece.index)
                self._calls.append(call)
            call.id = call.id or piece.id
            call.name = call.name or piece.name
            call.arguments += piece.arguments

    def calls(self, finish_reason: str | None) -> tuple[ToolCall, ...]:
        """Every call, with an id that no other call of this answer has.

        Raises CallCutOff, for half a call is none, and UnexpectedReply for one without a name.
        """
        if self._calls and finish_reason == "length":
            raise CallCutOff(self._calls[-1].name)
        taken: set[str] = set()
        return tuple(call.finished(taken) for call in self._calls)


@dataclass
class _Call:
    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""

    def continued_by(self, piece: CallPiece) -> bool:
        if self.index != piece.index:
            return False
        if self.id and piece.id:
            return self.id == piece.id
        return not (self.name and piece.name)

    def finished(self, taken: set[str]) -> ToolCall:
        if not self.name:
            raise UnexpectedReply("The server sent a call of a tool without the tool's name.")
        call_id = self.id if self.id and self.id not in taken else f"call_{uuid.uuid4().hex}"
        taken.add(call_id)
        return ToolCall(call_id, self.name, self.arguments.strip() or "{}")
