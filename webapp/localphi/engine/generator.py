"""The generator backend: any ORT GenAI folder, one `Generator` per request, one token each in turn.

Prefill goes in chunks, so that a long prompt
keeps neither a cancel nor the other answers waiting for more than one chunk.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from localphi.chat import ChatRequest, Chunk, Finished, FinishReason, Message, Sampling, Usage
from localphi.engine.base import Admitted, Event, Failed
from localphi.engine.prompt import render
from localphi.engine.stops import StopMatcher
from localphi.engine.tokenizer import PhiTokenizer
from localphi.errors import ContextLengthExceeded, EngineFailed, InvalidRequest
from localphi.models.manifest import Manifest

PREFILL_CHUNK = 256


class _Answer:
    """One request at work: prefill first, then a token at each step."""

    def __init__(
        self, model: Any, tokenizer: PhiTokenizer, ids: list[int], max_tokens: int, request: ChatRequest
    ) -> None:
        self._model = model
        self._ids = ids
        self._end_ids = tokenizer.end_ids
        self._stream = tokenizer.stream()
        self._stops = StopMatcher(request.stop)
        self._sampling = request.sampling
        self._max_tokens = max_tokens
        self._generator: Any = None
        self._prefilled = 0
        self._produced = 0

    def step(self) -> list[Event]:
        if self._prefilled < len(self._ids):
            self._prefill()
            return []
        return self._decode()

    def _prefill(self) -> None:
        if self._generator is None:
            length = len(self._ids) + self._max_tokens
            self._generator = og.Generator(self._model, _search(self._model, self._sampling, length))
        chunk = self._ids[self._prefilled : self._prefilled + PREFILL_CHUNK]
        self._generator.append_tokens(chunk)
        self._prefilled += len(chunk)

    def _decode(self) -> list[Event]:
        self._generator.generate_next_token()
        token = int(self._generator.get_next_tokens()[0])
        self._produced += 1
        if token in self._end_ids:
            return self._finish("stop")
        chunk = Chunk(self._stops.push(self._stream.decode(token)), (token,))
        if self._stops.matched:
            return [chunk, *self._finish("stop")]
        if self._produced == self._max_tokens:
            return [chunk, *self._finish("length")]
        return [chunk]

    def _finish(self, reason: FinishReason) -> list[Event]:
        rest = self._stops.flush()
        last: list[Event] = [Chunk(rest, ())] if rest else []
        return [*last, Finished(reason, Usage(len(self._ids), self._produced))]


class GeneratorBackend:
    """Serves `max_active` answers at a time, the others wait in order."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int, max_active: int) -> None:
        config = og.Config(str(folder))
        options = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": options}}))
        self._model = og.Model(config)
        self._tokenizer = PhiTokenizer(folder)
        self._manifest = manifest
        self._max_active = max_active
        self._active: deque[tuple[int, _Answer]] = deque()
        self._waiting: deque[tuple[int, _Answer]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    def submit(self, request_id: int, request: ChatRequest) -> Admitted:
        ids = self._encode(request.messages)
        room = self._manifest.context_length - len(ids)
        if room < 1:
            raise ContextLengthExceeded(len(ids), self._manifest.context_length)
        max_tokens = min(request.max_tokens or room, room)
        self._waiting.append((request_id, _Answer(self._model, self._tokenizer, ids, max_tokens, request)))
        return Admitted(len(ids))

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        for number, message in enumerate(messages):
            if message.role not in self._manifest.prompt_format.roles:
                raise InvalidRequest(
                    f"The model '{self._manifest.id}' has no '{message.role}' turns.",
                    f"messages[{number}].role",
                )
        prompt = render(self._manifest.prompt_format, messages, self._manifest.system_prompt)
        return self._tokenizer.encode(prompt)

    def step(self) -> Sequence[tuple[int, Event]]:
        while self._waiting and len(self._active) < self._max_active:
            self._active.append(self._waiting.popleft())
        request_id, answer = self._active.popleft()
        try:
            events = answer.step()
        except Exception as error:  # the binding raises bare RuntimeError and its subclasses for everything
            return [(request_id, Failed(EngineFailed(f"ONNX Runtime GenAI failed: {error}")))]
        if not any(isinstance(event, Finished) for event in events):
            self._active.append((request_id, answer))
        return [(request_id, event) for event in events]

    def cancel(self, request_id: int) -> None:
        self._active = deque(item for item in self._active if item[0] != request_id)
        self._waiting = deque(item for item in self._waiting if item[0] != request_id)


def _search(model: Any, sampling: Sampling, max_length: int) -> Any:
    """Search options of one request. Without max_length the KV cache would hold the whole context."""
    params = og.GeneratorParams(model)
    options: dict[str, Any] = {"max_length": max_length, "do_sample": sampling.temperature > 0}
    if sampling.temperature > 0:
        options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        if sampling.seed is not None:
            options["random_seed"] = sampling.seed
    params.set_search_options(**options)
    return params
