"""What a paged graph answers: the smallest use of ONNX Runtime GenAI's engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localphi.models.manifest import PagedGraph
from localphi.models.paged import paged_overlay


def paged_answers(
    folder: Path, paged: PagedGraph, prompts: Sequence[Sequence[int]], tokens: int
) -> list[tuple[int, ...]]:
    """Up to `tokens` greedy token ids after each prompt, all of them served at once.

    A token that ends an answer is not part of it. Raises RuntimeError when GenAI cannot run the graph.
    """
    import onnxruntime_genai as og

    blocks = sum(-(-(len(prompt) + tokens) // paged.block_tokens) for prompt in prompts)
    config: Any = og.Config(str(folder))
    config.overlay(
        paged_overlay(
            paged, num_blocks=blocks, max_batch_size=len(prompts), max_scheduled_tokens=paged.block_tokens * 8
        )
    )
    engine: Any = og.Engine(og.Model(config))
    answers: list[list[int]] = [[] for _ in prompts]
    requests = [_begin(og, engine, prompt, tokens) for prompt in prompts]
    buffer = engine.create_event_buffer(2 * len(prompts))
    open_requests = set(range(len(prompts)))
    while open_requests:
        engine.run(buffer)
        for event in (buffer[number] for number in range(len(buffer))):
            which = next(number for number in open_requests if requests[number] is event.request)
            if event.token is not None:
                answers[which].append(int(event.token))
            if event.flags.value & og.EngineEventFlags.FAILED.value:
                raise RuntimeError(f"the engine failed: {event.error_code}")
            if event.flags.value & og.EngineEventFlags.TURN_FINISHED.value:
                requests[which].close()
                open_requests.discard(which)
    return [tuple(answer) for answer in answers]


def _begin(og: Any, engine: Any, prompt: Sequence[int], tokens: int) -> Any:
    request = engine.create_request()
    options = og.TurnOptions(request)
    options.set_do_sample(False)
    options.set_max_generated_tokens(tokens)
    request.begin_turn(list(prompt), options)
    return request
