"""What a paged graph answers: a small, greedy use of ONNX Runtime GenAI's engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localphi.models.manifest import PagedGraph
from localphi.models.paged import paged_overlay, threads_overlay

_BLOCKS_IN_A_STEP = 8


class PagedEngine:
    """Answers prompts greedily, all those that have begun at once.

    Raises RuntimeError when GenAI cannot run the graph. There must be a block for every token that is asked
    for: the engine waits for ever for those it lacks.

    threads: to compute with; 0 leaves it to GenAI.
    answers, cached: the ids and the number of prompt tokens that were found in the cache, by the order in
    which the prompts began. A token that ends an answer is not part of it.
    """

    def __init__(
        self,
        folder: Path,
        paged: PagedGraph,
        *,
        num_blocks: int,
        max_batch_size: int,
        max_scheduled_tokens: int = 0,
        threads: int = 0,
    ) -> None:
        import onnxruntime_genai as og

        config: Any = og.Config(str(folder))
        sizes = {"num_blocks": num_blocks, "max_batch_size": max_batch_size}
        scheduled = max_scheduled_tokens or _BLOCKS_IN_A_STEP * paged.block_tokens
        config.overlay(paged_overlay(paged, max_scheduled_tokens=scheduled, **sizes))
        if threads:
            config.overlay(threads_overlay(threads))
        self._og: Any = og
        self._engine: Any = og.Engine(og.Model(config))
        self._buffer = self._engine.create_event_buffer(4 * max_batch_size)
        self._running: dict[int, Any] = {}
        self.answers: list[list[int]] = []
        self.cached: dict[int, int] = {}

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def begin(self, prompt: Sequence[int], tokens: int, least: int = 0) -> int:
        """Answer with `least` to `tokens` ids. Gives the place in `answers`."""
        request = self._engine.create_request()
        options = self._og.TurnOptions(request)
        options.set_do_sample(False)
        options.set_max_generated_tokens(tokens)
        options.set_min_generated_tokens(least)
        request.begin_turn(list(prompt), options)
        number = len(self.answers)
        self.answers.append([])
        self._running[number] = request
        return number

    def draft(self, number: int, tokens: Sequence[int]) -> None:
        """Say how an answer may go on. The next step tells how far it does, and what comes after that."""
        self._running[number].set_draft_tokens(list(tokens))

    def step(self) -> None:
        """Compute a token of each answer, or read some of the prompts."""
        flags = self._og.EngineEventFlags
        self._engine.run(self._buffer)
        for event in [self._buffer[place] for place in range(len(self._buffer))]:
            number = next(n for n, request in self._running.items() if request is event.request)
            if event.flags.value & flags.FAILED.value:
                raise RuntimeError(f"the engine failed: {event.error_code}")
            if event.token is not None:
                self.answers[number].append(int(event.token))
            if event.flags.value & flags.TURN_FINISHED.value:
                self.cached[number] = int(event.usage.cached_prompt_tokens)
                self._running.pop(number).close()


def paged_answer(folder: Path, paged: PagedGraph, prompt: Sequence[int], tokens: int) -> tuple[int, ...]:
    """Up to `tokens` greedy ids after the prompt, of an engine of its own."""
    blocks = -(-(len(prompt) + tokens) // paged.block_tokens)
    engine = PagedEngine(folder, paged, num_blocks=blocks, max_batch_size=1)
    engine.begin(prompt, tokens)
    while engine.busy:
        engine.step()
    return tuple(engine.answers[0])
