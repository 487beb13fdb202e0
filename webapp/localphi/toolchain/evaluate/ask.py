"""The product's own engine, asked one thing at a time, greedily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localphi.chat import (
    CallArguments,
    CallStarted,
    ChatRequest,
    Chunk,
    Finished,
    JsonFormat,
    Message,
    Tool,
    ToolCall,
)
from localphi.config import disable_telemetry
from localphi.engine.base import Failed
from localphi.models.manifest import load_manifest

MAX_TOKENS = 200
_KV_BUDGET_BYTES = 2**30


@dataclass
class Answer:
    """What came back. ended: the model closed the turn, or its list of calls, by itself."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    ended: bool = False

    @property
    def turn(self) -> Message:
        """The answer as the next message of the conversation."""
        return Message("assistant", self.text, tuple(self.calls))


class Asker:
    """A model folder on the generator backend. guided: a grammar holds calls and JSON, as on the server."""

    def __init__(self, folder: Path, threads: int, *, guided: bool) -> None:
        disable_telemetry()
        from localphi.engine.generator import GeneratorBackend

        manifest = load_manifest(folder)
        self._backend = GeneratorBackend(
            folder, manifest, threads=threads, max_active=1, kv_budget_bytes=_KV_BUDGET_BYTES
        )
        self._guided = guided

    def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        answer_format: JsonFormat | None = None,
    ) -> Answer:
        """The greedy answer. Raises LocalphiError when the engine refuses or fails."""
        request = ChatRequest(
            tuple(messages),
            max_tokens=MAX_TOKENS,
            tools=tuple(tools),
            answer_format=answer_format,
            guided=self._guided,
        )
        self._backend.submit(0, request)
        answer = Answer()
        while self._backend.busy:
            for _, event in self._backend.step():
                match event:
                    case Chunk():
                        answer.text += event.text
                    case CallStarted():
                        answer.calls.append(ToolCall(event.id, event.name, ""))
                    case CallArguments():
                        call = answer.calls[event.index]
                        answer.calls[event.index] = ToolCall(call.id, call.name, call.arguments + event.text)
                    case Finished():
                        answer.ended = event.reason != "length"
                    case Failed():
                        raise event.error
        return answer
