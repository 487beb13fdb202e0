"""What a replica does: the engine of one machine, asked by coroutines. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from localphi.chat import ChatRequest, Chunk, Finished
from localphi.config import Settings
from localphi.engine.base import Admitted, Decode, Decoded, Encode, Event, Failed, Question, Reply
from localphi.engine.client import Answer, Engine, Engines
from localphi.engine.far import ReplicaCounts
from localphi.errors import LocalphiError
from localphi.models.store import ModelStore
from localphi.tracing import AnswerTrace, begin, tracer_to

Batch = tuple[Event, ...]
_POLL_S = 0.5
_COUNTED = (
    "begun",
    "answers",
    "prompt_tokens",
    "cached_tokens",
    "generated_tokens",
    "first_token_s",
    "decode_s",
)


class Replica:
    """One model in one worker process, which it starts at once."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._name = name
        store = ModelStore(settings.home).pin(settings.model)
        self._model = store.default().id
        self._engines = Engines(store, settings)
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(_COUNTED, 0.0)
        self._tracer = tracer_to(settings.trace_to)

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
            with self.engine.submit(request, gone.is_set) as answer, self._traced(request, answer, started_s):
                tell(Admitted(answer.prompt_tokens, self._name))
                while not gone.is_set():
                    item = answer.next(_POLL_S)
                    if item is None:
                        continue
                    if isinstance(item, Chunk) and not begun:
                        begun = True
                        self._count(begun=1, first_token_s=time.perf_counter() - started_s)
                    if isinstance(item, Finished):
                        usage = item.usage
                        self._count(
                            answers=1,
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

    @contextmanager
    def _traced(self, request: ChatRequest, answer: Answer, started_s: float) -> Iterator[None]:
        """While it is answered; a span under the request's, where that has one."""
        if self._tracer is None or not request.trace:
            yield
            return
        span = begin(self._tracer, "replica", request.trace, {"localphi.replica": self._name})
        answer.watch(AnswerTrace(self._tracer, span, self._model, answer, started_s))
        try:
            yield
        finally:
            answer.close()
            span.end()

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

    def counts(self) -> ReplicaCounts:
        state, counts = self.engine.state, self._counts
        report = self._engines.report(self._model)
        return ReplicaCounts(
            replica=self._name,
            model=self._model,
            pid=self.engine.worker_pid,
            held=state.held,
            active=state.active,
            kv_used=state.kv_used,
            begun=int(counts["begun"]),
            answers=int(counts["answers"]),
            prompt_tokens=int(counts["prompt_tokens"]),
            cached_tokens=int(counts["cached_tokens"]),
            generated_tokens=int(counts["generated_tokens"]),
            first_token_s=counts["first_token_s"],
            decode_s=counts["decode_s"],
            restarts=state.restarts,
            memory_bytes=report.memory_bytes,
        )

    def close(self) -> None:
        self._engines.close()
