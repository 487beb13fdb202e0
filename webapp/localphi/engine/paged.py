"""The paged backend: GenAI's engine on a paged graph. Every step computes all answers at work together, and
what prompts begin with alike is computed once, by itself.

    promise blocks → begin what fits, in order of arrival → run the engine once → hear its events

The engine reads prompts one after the other; a long one lets shorter ones pass that come later.

Two nets lie under the promises: an engine that reports nothing but lack of room for several runs in a row
loses its youngest answer, which begins again later; and one that fails is made anew, once for each answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og

from localphi.chat import ChatRequest, Finished
from localphi.engine.admission import BlockPool
from localphi.engine.base import Admitted, Event, Failed, Question, Reply
from localphi.engine.generator import genai_top_k
from localphi.engine.intake import Intake, Prepared, Unfinished
from localphi.engine.transcript import Transcript
from localphi.engine.turn import Turn, turn_options
from localphi.errors import ContextLengthExceeded, EngineFailed, LocalphiError
from localphi.models.manifest import Manifest, PagedGraph
from localphi.models.paged import paged_overlay, threads_overlay

STUCK_RUNS = 3  # that report lack of room and nothing else
_Tagged = tuple[int, Event]


class PagedBackend:
    """Serves `max_active` answers at a time, the others wait in order.

    pool_blocks: of the KV pool, from `pool_blocks`; GenAI allocates all of it now. Bounds the context, too.
    on_outgrown: takes answers that nothing bounds but the context, when they have filled it.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        threads: int,
        max_active: int,
        pool_blocks: int,
        *,
        intake: Intake | None = None,
    ) -> None:
        variant, paged = manifest.server_variant, paged_graph(manifest)
        if variant is None or paged is None:
            raise EngineFailed(f"The model '{manifest.id}' has no paged graph.")
        self.step_tokens = max(max_active, step_tokens(variant.weights_bytes))
        overlay = paged_overlay(
            paged,
            num_blocks=pool_blocks,
            max_batch_size=max_active,
            max_scheduled_tokens=self.step_tokens,
        )
        config = og.Config(str(folder))
        config.overlay(overlay)
        config.overlay(threads_overlay(threads))
        self._model = og.Model(config)
        self._intake = intake or Intake(folder, manifest)
        self._max_active = max_active
        self._pool = BlockPool(pool_blocks, paged.block_tokens)
        self.context_length = min(manifest.context_length, paged.max_sequence_tokens, self._pool.tokens)
        self._numbers = itertools.count()
        self._waiting: list[Turn] = []  # in order of arrival
        self._active: list[Turn] = []
        self._stuck = 0
        self.on_outgrown: Callable[[int, Unfinished], None] | None = None
        self._engine: Any = None
        self._buffer: Any = None
        self._most_drafted = 0
        self._make_engine()

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def kv_used(self) -> float:
        return self._pool.used

    def submit(self, request_id: int, request: ChatRequest, resume: Sequence[int] = ()) -> Admitted:
        return self.take(request_id, self._intake.prepare(request), resume)

    def take(self, request_id: int, prepared: Prepared, resume: Sequence[int] = ()) -> Admitted:
        """Queue a request. Raises ContextLengthExceeded, or InvalidRequest for a grammar GenAI refuses."""
        self._intake.check(prepared, self._compile)
        room = self.context_length - len(prepared.ids)
        if room < 1:
            raise ContextLengthExceeded(len(prepared.ids), self.context_length)
        sampling = prepared.request.sampling
        sampling = replace(sampling, top_k=genai_top_k(sampling, self._intake.vocabulary))
        prepared = replace(prepared, request=replace(prepared.request, sampling=sampling))
        transcript = self._intake.transcript(prepared, room)
        self._waiting.append(self._turn(request_id, prepared, transcript, resume=resume))
        return Admitted(len(prepared.ids))

    def go_on(self, request_id: int, unfinished: Unfinished) -> None:
        """Queue an answer that another backend has begun, of at most `context_length` tokens so far."""
        prepared, room = unfinished.prepared, self.context_length - len(unfinished.prepared.ids)
        unfinished.transcript.go_on(min(prepared.request.max_tokens or room, room))
        begun = {"said": unfinished.said, "resume": unfinished.resume}
        self._waiting.append(self._turn(request_id, prepared, unfinished.transcript, **begun))

    def _turn(
        self, request_id: int, prepared: Prepared, transcript: Transcript, **begun: Sequence[int]
    ) -> Turn:
        goes_on = self.on_outgrown is not None
        return Turn(next(self._numbers), request_id, prepared, transcript, goes_on=goes_on, **begun)

    def _compile(self, grammar: str) -> None:
        """GenAI compiles it where a turn begins; this one ends before it is run."""
        handle = self._engine.create_request()
        try:
            sampling = ChatRequest(()).sampling
            handle.begin_turn(np.zeros(1, np.int32), turn_options(handle, sampling, grammar))
        finally:
            handle.close()

    def step(self) -> Sequence[_Tagged]:
        self._grow()
        said = self._admit()
        if not self._active:
            return said
        try:
            if len(self._active) == 1:  # several fill a step with tokens that are not guessed
                (turn,) = self._active
                turn.draft(min(self._most_drafted, self._pool.promised(turn.number) - turn.tokens - 1))
            events = list(self._engine.run(self._buffer))
            turns = {turn.handle: turn for turn in self._active}
            heard = [(turns[event.request], event) for event in events if event.request in turns]
            self._watch(events)
        except Exception as error:  # the binding raises bare RuntimeError; every later run would raise again
            return said + self._restart(error)
        for turn, event in heard:
            said += self._hear(turn, event)
        return said

    def _hear(self, turn: Turn, event: Any) -> list[_Tagged]:
        if turn not in self._active:
            return []
        if turn.paused(event):
            turn.stop()
            return self._first_events(turn)
        try:
            events = turn.hear(event)
        except Exception as error:  # of this answer alone: the engine has done its work
            events = [Failed(_failure(error))]
        return self._sorted_out(turn, events)

    def _sorted_out(self, turn: Turn, events: list[Event]) -> list[_Tagged]:
        """The events with their request. An answer that is over gives back what it has."""
        if events and isinstance(events[-1], Finished | Failed):
            self._remove(turn)
        elif turn.outgrown and self.on_outgrown:
            self._remove(turn)
            try:
                self.on_outgrown(turn.request_id, turn.unfinished)
            except LocalphiError as error:
                events = [*events, Failed(error)]
        return [(turn.request_id, event) for event in events]

    def _admit(self) -> list[_Tagged]:
        """Begin those that wait, in order, as long as there is room for them."""
        events: list[_Tagged] = []
        while self._waiting and len(self._active) < self._max_active:
            turn = self._waiting[0]
            if not self._pool.promise(turn.number, turn.wanted):
                break
            self._active.append(self._waiting.pop(0))
            events += self._first_events(turn)
            for other in self._active:
                other.let_pass(turn)
        return events

    def _first_events(self, turn: Turn) -> list[_Tagged]:
        try:
            events = turn.begin(self._engine)
        except Exception as error:  # of this answer alone: it was never run
            events = [Failed(_failure(error))]
        return self._sorted_out(turn, events)

    def _grow(self) -> None:
        """Promise more to the answers that have used what they were promised.

        Where there is no more, the youngest of them goes back to wait. The oldest never does, and there is
        room for it in the pool when it is alone: so all come to their end.
        """
        for turn in sorted(self._active, key=_number):
            if turn.tokens < self._pool.promised(turn.number):
                continue
            while turn in self._active and not self._pool.promise(turn.number, turn.wanted):
                self._interrupt(max((other for other in self._active if not other.bounded), key=_number))

    def _watch(self, events: Sequence[Any]) -> None:
        progress = og.EngineEventFlags.TOKEN.value | og.EngineEventFlags.TURN_FINISHED.value
        if not events or any(event.flags.value & progress for event in events):
            self._stuck = 0
            return
        self._stuck += 1
        if self._stuck >= STUCK_RUNS:
            self._stuck = 0
            self._interrupt(max(self._active, key=_number))

    def _interrupt(self, turn: Turn) -> None:
        """Let it begin again where it stands in the order of arrival."""
        self._remove(turn)
        self._waiting.append(turn)
        self._waiting.sort(key=_number)

    def _restart(self, error: Exception) -> list[_Tagged]:
        """A new engine. What the old one worked on begins again there, unless that was tried before."""
        failed: list[_Tagged] = []
        for turn in list(self._active):
            turn.handle = None  # its engine can close nothing any more
            self._interrupt(turn)
            turn.restarts += 1
            if turn.restarts > 1:
                self._waiting.remove(turn)
                failed.append((turn.request_id, Failed(_failure(error))))
        self._make_engine()
        return failed

    def _make_engine(self) -> None:
        self._engine = self._buffer = None  # the old pool goes before the new one comes
        self._engine = og.Engine(self._model)
        self._buffer = self._engine.create_event_buffer(4 * self._max_active)
        self._most_drafted = self._engine.max_draft_tokens_per_proposal()
        self._stuck = 0

    def _remove(self, turn: Turn) -> None:
        self._active.remove(turn)
        self._pool.give_back(turn.number)
        turn.stop()

    def cancel(self, request_id: int) -> None:
        for turn in self._active:
            if turn.request_id == request_id:
                self._remove(turn)
                break
        self._waiting = [turn for turn in self._waiting if turn.request_id != request_id]

    def reply(self, question: Question) -> Reply:
        return self._intake.reply(question)


def paged_graph(manifest: Manifest) -> PagedGraph | None:
    """The graph that the server's engine can run, None for a model without one."""
    return manifest.server_variant.paged if manifest.server_variant else None


def pool_blocks(manifest: Manifest, max_active: int, pool_bytes: int) -> int:
    """Blocks of a pool that takes at most so many bytes, and no more than `max_active` answers can use."""
    variant = manifest.server_variant
    if variant is None or variant.paged is None:
        return 0
    block_tokens = variant.paged.block_tokens
    longest = min(manifest.context_length, variant.paged.max_sequence_tokens)
    most = max_active * -(-longest // block_tokens)
    return min(most, pool_bytes // (block_tokens * variant.kv_bytes_per_token))


def step_tokens(weights_bytes: int) -> int:
    """How many tokens of all answers together are computed in one step.

    Everybody waits for a step: who cancels, and who is in the middle of an answer. Long prompts like large
    ones. The demo reads 1900 tokens fastest by 256 (366 ms of CPU time; 407 by 128, 441 by 1024), and then no
    step takes longer than 63 ms. Larger models get smaller steps.
    """
    return 256 if weights_bytes < 256 * 2**20 else 128 if weights_bytes < 2**30 else 64


def _number(turn: Turn) -> int:
    return turn.number


def _failure(error: Exception) -> LocalphiError:
    return error if isinstance(error, LocalphiError) else EngineFailed(f"ONNX Runtime GenAI failed: {error}")
