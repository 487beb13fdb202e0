"""What a replica does: the engine of one machine, asked by coroutines. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from localphi.chat import ChatRequest, Chunk, Finished
from localphi.config import Settings
from localphi.engine.base import Admitted, Decode, Decoded, Encode, Event, Failed, Question, Reply
from localphi.engine.client import Engine, Engines
from localphi.errors import LocalphiError
from localphi.models.store import ModelStore

Batch = tuple[Event, ...]
_POLL_S = 0.5


@dataclass(frozen=True)
class Counts:
    """Of a replica since it began. waiting: for their turn in its worker. cached: tokens of prompts."""

    replica: str
    model: str
    pid: int | None
    held: int
    active: int
    answers: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    first_token_s: float
    decode_s: float
    restarts: int
    memory_bytes: int | None


class Replica:
    """One model in one worker process, which it starts at once."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._name = name
        store = ModelStore(settings.home).pin(settings.model)
        self._model = store.default().id
        self._engines = Engines(store, settings)
        self._lock = threading.Lock()
        self._counts: dict[str, float] = dict.fromkeys(
            ("answers", "prompt_tokens", "cached_tokens", "generated_tokens", "first_token_s", "decode_s"), 0
        )

    @property
    def engine(self) -> Engine:
        return self._engines.get(self._model)

    def load(self) -> None:
        """Returns when the model is there, and files and hashes are right. Raises what is wrong with it."""
        self.engine.encode(Encode(""))

    async def answer(self, request: ChatRequest) -> AsyncIterator[Batch]:
        """Admitted, the items and Finished; or Failed. What comes together is told together.

        Whoever stops listening ends the answer.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        gone = threading.Event()

        def tell(event: Event | None) -> None:
            if not gone.is_set():
                loop.call_soon_threadsafe(events.put_nowait, event)

        name = "localphi-answer"
        threading.Thread(target=self._work, args=(request, tell, gone), name=name, daemon=True).start()
        try:
            while (event := await events.get()) is not None:
                batch = [event]
                while not events.empty() and (more := events.get_nowait()) is not None:
                    batch.append(more)
                yield tuple(batch)
                if isinstance(batch[-1], Finished | Failed):
                    return
        finally:
            gone.set()

    def _work(self, request: ChatRequest, tell: Any, gone: threading.Event) -> None:
        started_s = time.perf_counter()
        begun = False
        try:
            with self.engine.submit(request, gone.is_set) as answer:
                tell(Admitted(answer.prompt_tokens, self._name))
                while not gone.is_set():
                    item = answer.next(_POLL_S)
                    if item is None:
                        continue
                    if isinstance(item, Chunk) and not begun:
                        begun = True
                        self._count(answers=1, first_token_s=time.perf_counter() - started_s)
                    if isinstance(item, Finished):
                        usage = item.usage
                        self._count(
                            prompt_tokens=usage.prompt_tokens,
                            cached_tokens=usage.cached_tokens or 0,
                            generated_tokens=usage.completion_tokens - len(request.begun_ids),
                            decode_s=usage.decode_s,
                        )
                    tell(item)
                    if isinstance(item, Finished):
                        return
        except LocalphiError as error:
            tell(Failed(error))
        finally:
            tell(None)

    def _count(self, **more: float) -> None:
        with self._lock:
            for name, number in more.items():
                self._counts[name] += number

    async def reply(self, question: Question) -> Reply | Failed:
        def ask() -> Reply:
            if isinstance(question, Decode):
                return Decoded(self.engine.decode(question.ids))
            return self.engine.encode(question)

        try:
            return await asyncio.to_thread(ask)
        except LocalphiError as error:
            return Failed(error)

    def check(self) -> None:
        """Raises why it cannot answer, and is better replaced. A dead worker is only started again."""
        failure = self.engine.state.failure
        if failure is not None:
            self.engine.start()

    def counts(self) -> Counts:
        state, counts = self.engine.state, self._counts
        report = self._engines.report(self._model)
        return Counts(
            self._name,
            self._model,
            self.engine.worker_pid,
            state.held,
            state.active,
            int(counts["answers"]),
            int(counts["prompt_tokens"]),
            int(counts["cached_tokens"]),
            int(counts["generated_tokens"]),
            counts["first_token_s"],
            counts["decode_s"],
            state.restarts,
            report.memory_bytes,
        )

    def close(self) -> None:
        self._engines.close()
