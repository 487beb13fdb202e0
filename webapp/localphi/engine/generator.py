"""The generator backend: any ORT GenAI folder, one `Generator` per request, one token each in turn.

Prefill goes in chunks, so that a long prompt
keeps neither a cancel nor the other answers waiting for more than one chunk.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from localphi.chat import ChatRequest, Chunk, Finished, FinishReason, Usage
from localphi.engine.base import Admitted, Event, Failed, Question, Reply
from localphi.engine.calls import (
    AnswerReader,
    FreeList,
    GuidedList,
    MarkedReader,
    Markers,
    Piece,
    TextReader,
    UnmarkedReader,
)
from localphi.engine.grammar import check_grammar, grammar_for, may_call
from localphi.engine.stops import StopMatcher
from localphi.engine.texts import Texts
from localphi.engine.tokenizer import PhiTokenizer
from localphi.errors import ContextLengthExceeded, EngineFailed
from localphi.models.manifest import Manifest, PromptFormat

PREFILL_CHUNK = 256
_SHORTEST = 8  # tokens of a generator that is made only to compile its grammar


class _Answer:
    """One request at work: prefill first, then a token at each step."""

    def __init__(
        self,
        model: Any,
        ids: list[int],
        *,
        request: ChatRequest,
        grammar: str | None,
        reader: AnswerReader,
        end_ids: frozenset[int],
        max_tokens: int,
    ) -> None:
        self._model = model
        self._ids = ids
        self._end_ids = end_ids
        self._reader = reader
        self._grammar = grammar
        self._stops = StopMatcher(request.stop)
        self._sampling = request.sampling
        self._max_tokens = max_tokens
        self._generator: Any = None
        self._prefilled = 0
        self._produced = 0
        self._first_s = self._last_s = 0.0

    @property
    def kv_tokens(self) -> int:
        """Tokens its KV cache has room for; GenAI allocates all of them at the start."""
        return len(self._ids) + self._max_tokens

    def step(self) -> list[Event]:
        if self._prefilled < len(self._ids):
            self._prefill()
            return []
        return self._decode()

    def _prefill(self) -> None:
        if self._generator is None:
            self._generator = og.Generator(self._model, self._search())
        chunk = self._ids[self._prefilled : self._prefilled + PREFILL_CHUNK]
        self._generator.append_tokens(chunk)
        self._prefilled += len(chunk)

    def _search(self) -> Any:
        sampling = self._sampling
        options: dict[str, Any] = {"max_length": self.kv_tokens, "do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
            if sampling.seed is not None:
                options["random_seed"] = sampling.seed
        params = og.GeneratorParams(self._model)
        params.set_search_options(**options)
        if self._grammar:
            params.set_guidance("lark_grammar", self._grammar)
        return params

    def _decode(self) -> list[Event]:
        self._generator.generate_next_token()
        token = int(self._generator.get_next_tokens()[0])
        self._produced += 1
        self._last_s = time.perf_counter()
        self._first_s = self._first_s or self._last_s
        if token in self._end_ids:
            return self._finish("stop")
        events = self._events(self._reader.push(token), (token,))
        if self._stops.matched or self._reader.over:
            return [*events, *self._finish("stop")]
        if self._produced == self._max_tokens:
            return [*events, *self._finish("length")]
        return events

    def _events(self, pieces: Sequence[Piece], token_ids: tuple[int, ...]) -> list[Event]:
        """The text of the pieces, stop strings taken out, and the calls behind it."""
        text = self._stops.push("".join(piece for piece in pieces if isinstance(piece, str)))
        calls: list[Event] = [piece for piece in pieces if not isinstance(piece, str)]
        if calls:  # no text comes after a call, so nothing held back can become a stop string
            text += self._stops.flush()
        return [Chunk(text, token_ids), *calls]

    def _finish(self, reason: FinishReason) -> list[Event]:
        last = [] if self._stops.matched else self._events(self._reader.finish(), ())
        last.append(Chunk(self._stops.flush(), ()))
        if reason == "stop" and self._reader.calls:
            reason = "tool_calls"
        usage = Usage(len(self._ids), self._produced, self._last_s - self._first_s)
        return [*(event for event in last if event != Chunk("", ())), Finished(reason, usage)]


class GeneratorBackend:
    """Serves `max_active` answers at a time, the others wait in order.

    kv_budget_bytes: what the KV caches of all answers at work may take. Bounds the context, too.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, threads: int, max_active: int, kv_budget_bytes: int
    ) -> None:
        config = og.Config(str(folder))
        options = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": options}}))
        self._model = og.Model(config)
        self._tokenizer = PhiTokenizer(folder)
        self._vocabulary = _vocabulary(folder)
        self._texts = Texts(self._tokenizer, manifest, self._vocabulary)
        self._markers = _markers(self._tokenizer, manifest.prompt_format)
        self._manifest = manifest
        self._max_active = max_active
        self._kv_tokens = kv_budget_bytes // manifest.variants["server-cpu"].kv_bytes_per_token
        self._context_length = min(manifest.context_length, self._kv_tokens)
        self._active: deque[tuple[int, _Answer]] = deque()
        self._waiting: deque[tuple[int, _Answer]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    def submit(self, request_id: int, request: ChatRequest) -> Admitted:
        grammar = self._grammar(request)
        ids = self._encode(request)
        room = self._context_length - len(ids)
        if room < 1:
            raise ContextLengthExceeded(len(ids), self._context_length)
        max_tokens = min(request.max_tokens or room, room)
        sampling = replace(request.sampling, top_k=min(request.sampling.top_k, self._vocabulary))
        asked = replace(request, sampling=sampling)
        answer = _Answer(
            self._model,
            ids,
            request=asked,
            grammar=grammar,
            reader=self._reader(request),
            end_ids=self._tokenizer.end_ids,
            max_tokens=max_tokens,
        )
        self._waiting.append((request_id, answer))
        return Admitted(len(ids))

    def _grammar(self, request: ChatRequest) -> str | None:
        """The grammar of the answer, compiled once already, so that a bad one fails now."""
        control = (*self._manifest.prompt_format.control, *(self._manifest.prompt_format.tool_call or ()))
        grammar = grammar_for(request, self._markers, control, self._tokenizer.end_ids)
        if grammar:
            check_grammar(request, self._markers, grammar, self._compile)
        return grammar

    def _compile(self, grammar: str) -> None:
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=_SHORTEST)
        params.set_guidance("lark_grammar", grammar)
        og.Generator(self._model, params)

    def _reader(self, request: ChatRequest) -> AnswerReader:
        """Only where tools were offered can there be calls."""
        if not may_call(request):
            return TextReader(self._texts.stream(request).decode)
        calls = GuidedList() if request.guided else FreeList()
        if self._markers:
            return MarkedReader(lambda: self._tokenizer.stream().decode, self._markers, calls)
        return UnmarkedReader(self._tokenizer.stream().decode, calls)

    def _encode(self, request: ChatRequest) -> list[int]:
        return self._texts.prompt_ids(request)

    def step(self) -> Sequence[tuple[int, Event]]:
        while self._waiting and len(self._active) < self._max_active and self._fits(self._waiting[0][1]):
            self._active.append(self._waiting.popleft())
        request_id, answer = self._active.popleft()
        try:
            events = answer.step()
        except Exception as error:  # the binding raises bare RuntimeError and its subclasses for everything
            return [(request_id, Failed(EngineFailed(f"ONNX Runtime GenAI failed: {error}")))]
        if not any(isinstance(event, Finished) for event in events):
            self._active.append((request_id, answer))
        return [(request_id, event) for event in events]

    def _fits(self, answer: _Answer) -> bool:
        held = sum(active.kv_tokens for _, active in self._active)
        return held + answer.kv_tokens <= self._kv_tokens

    def cancel(self, request_id: int) -> None:
        self._active = deque(item for item in self._active if item[0] != request_id)
        self._waiting = deque(item for item in self._waiting if item[0] != request_id)

    def reply(self, question: Question) -> Reply:
        return self._texts.reply(question)


def _vocabulary(folder: Path) -> int:
    config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
    return int(config["model"]["vocab_size"])


def _markers(tokenizer: PhiTokenizer, prompt_format: PromptFormat) -> Markers | None:
    """The tokens around calls, None for a model that has none; GenAI's own `bot_token_id` only guesses."""
    if prompt_format.tool_call is None:
        return None
    opening, closing = map(tokenizer.token_id, prompt_format.tool_call)
    return None if opening is None or closing is None else Markers(opening, closing)
