"""The OpenVINO backend: continuous batching and a prefix cache by OpenVINO GenAI, for folders with its IR.

OpenVINO gets token ids and gives token ids; tokenizer, stop strings and text are those of the other backends.
It shows no logits and no mask, so what needs either is refused by name. Its pipeline takes requests at any
time and computes a token of each at every step, with the prompts of new ones in pieces between.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from localphi.chat import ChatRequest, Chunk, Finished, FinishReason, RawPrompt, Sampling, Usage
from localphi.engine.base import Admitted, Event, Failed, Question, Reply, variant_for
from localphi.engine.calls import TextReader
from localphi.engine.stops import StopMatcher
from localphi.engine.texts import Texts
from localphi.engine.tokenizer import PhiTokenizer
from localphi.errors import ContextLengthExceeded, EngineFailed, ToolchainMissing, UnsupportedParameter
from localphi.models.manifest import Manifest

_BLOCK_TOKENS = 32  # of OpenVINO's KV cache on the CPU
_STEP_TOKENS = 256  # computed in one step at most, so that a cancel never waits for a long prompt
_KEPT_CONTEXTS = 4  # beside those of the answers at work: what later turns may find again
_WARM_UP_TOKENS = 48
_MAX_SEED = 2**32 - 1
_ELSEWHERE = "Leave it out, or serve the model without '--backend openvino'."


@dataclass
class _Answer:
    """A request at work or waiting. handle: OpenVINO's side of it, None while it waits."""

    ids: list[int]
    request: ChatRequest
    max_tokens: int
    reader: TextReader
    stops: StopMatcher
    handle: Any = None
    produced: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def blocks(self) -> int:
        return -(-(len(self.ids) + self.max_tokens) // _BLOCK_TOKENS)


class OpenvinoBackend:
    """Serves `max_active` answers at a time, the others wait in order.

    kv_budget_bytes: what the pool of keys and values may take. An answer is let in when the pool has room for
    all that it may become, so none is ever put aside half done. Raises EngineFailed where there is no IR.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, threads: int, max_active: int, kv_budget_bytes: int
    ) -> None:
        variant = variant_for("openvino", manifest, folder)
        self._ov, genai = _libraries()
        self._genai = genai
        self._tokenizer = PhiTokenizer(folder)
        settings = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]
        self._vocabulary = int(settings["vocab_size"])
        self._texts = Texts(self._tokenizer, manifest, self._vocabulary)
        self._max_active = max_active
        affordable = kv_budget_bytes // variant.kv_bytes_per_token
        context_length = variant.context_length or manifest.context_length
        self._context_length = min(context_length, affordable)
        useful = (max_active + _KEPT_CONTEXTS) * context_length
        self._blocks = max(min(affordable, useful) // _BLOCK_TOKENS, 1)
        properties = json.loads((folder / "openvino" / "properties.json").read_text(encoding="utf-8"))
        properties |= {"INFERENCE_NUM_THREADS": threads}
        config = genai.SchedulerConfig()
        config.num_kv_blocks = self._blocks
        config.max_num_batched_tokens = _STEP_TOKENS
        config.max_num_seqs = max_active
        config.enable_prefix_caching = True
        self._pipeline = genai.ContinuousBatchingPipeline(folder / "openvino", config, "CPU", properties)
        self._active: dict[int, _Answer] = {}
        self._waiting: deque[tuple[int, _Answer]] = deque()
        self._warm_up()

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    def submit(self, request_id: int, request: ChatRequest, resume: Sequence[int] = ()) -> Admitted:
        """resume: ids of an answer that was broken off; it begins anew, and greedily tells the same."""
        _refuse(request)
        ids = self._texts.prompt_ids(request)
        room = self._context_length - len(ids)
        if room < 1:
            raise ContextLengthExceeded(len(ids), self._context_length)
        max_tokens = min(request.max_tokens or room, room)
        reader = TextReader(self._texts.stream(request).decode)
        answer = _Answer(ids, request, max_tokens, reader, StopMatcher(request.stop))
        if answer.blocks > self._blocks:
            raise ContextLengthExceeded(len(ids), self._blocks * _BLOCK_TOKENS)
        self._waiting.append((request_id, answer))
        return Admitted(len(ids))

    def step(self) -> Sequence[tuple[int, Event]]:
        try:
            self._admit()
            self._pipeline.step()
        except Exception as error:  # the pipeline is of no use after this
            failed = Failed(EngineFailed(f"OpenVINO GenAI failed: {error}"))
            lost = [*self._active, *(request_id for request_id, _ in self._waiting)]
            self._active.clear()
            self._waiting.clear()
            return [(request_id, failed) for request_id in lost]
        events: list[tuple[int, Event]] = []
        for request_id, answer in list(self._active.items()):
            told = self._read(answer)
            if told and isinstance(told[-1], Finished):
                del self._active[request_id]
            events += [(request_id, event) for event in told]
        return events

    def cancel(self, request_id: int) -> None:
        self._waiting = deque(item for item in self._waiting if item[0] != request_id)
        if answer := self._active.pop(request_id, None):
            answer.handle.cancel()

    def reply(self, question: Question) -> Reply:
        return self._texts.reply(question)

    def _admit(self) -> None:
        """Start those that wait, in order, as long as there is room for all that they may become."""
        while self._waiting and len(self._active) < self._max_active:
            request_id, answer = self._waiting[0]
            if answer.blocks + sum(other.blocks for other in self._active.values()) > self._blocks:
                return
            ids, config = self._tensor(answer.ids), self._config(answer)
            answer.handle = self._pipeline.add_request(request_id, ids, config)
            self._active[request_id] = answer
            self._waiting.popleft()

    def _config(self, answer: _Answer) -> Any:
        request = answer.request
        config = self._genai.GenerationConfig()
        config.apply_chat_template = False
        config.max_new_tokens = answer.max_tokens
        config.ignore_eos = request.ignore_end
        end_ids = sorted(self._tokenizer.end_ids)
        config.eos_token_id = end_ids[0]
        config.stop_token_ids = set(end_ids)
        config.repetition_penalty = request.sampling.repetition_penalty
        _set_sampling(config, request.sampling)
        return config

    def _read(self, answer: _Answer) -> list[Event]:
        events: list[Event] = []
        while answer.handle.can_read():
            (output,) = answer.handle.read().values()
            for token in output.generated_ids:
                events += self._take(answer, int(token))
                if events and isinstance(events[-1], Finished):
                    return events
        return events

    def _take(self, answer: _Answer, token: int) -> list[Event]:
        answer.produced += 1
        answer.times = [answer.times[0] if answer.times else time.perf_counter(), time.perf_counter()]
        if token in self._tokenizer.end_ids and not answer.request.ignore_end:
            return self._finish(answer, "stop")
        text = answer.stops.push("".join(map(str, answer.reader.push(token))))
        events: list[Event] = [Chunk(text, (token,))]
        if answer.stops.matched:
            answer.handle.cancel()
            return [*events, *self._finish(answer, "stop")]
        if answer.produced == answer.max_tokens:
            return [*events, *self._finish(answer, "length")]
        return events

    def _finish(self, answer: _Answer, reason: FinishReason) -> list[Event]:
        rest = ""
        if not answer.stops.matched:
            rest = answer.stops.push("".join(map(str, answer.reader.finish()))) + answer.stops.flush()
        first, last = answer.times
        end = Finished(reason, Usage(len(answer.ids), answer.produced, last - first))
        return [Chunk(rest, ()), end] if rest else [end]

    def _warm_up(self) -> None:
        """Read a prompt and write a token: OpenVINO orders the weights anew at the first of each.

        That takes some 7 s of two cores for Phi-3-mini (2026.4), which the first to ask would wait for.
        """
        request = ChatRequest(RawPrompt(tuple([0] * _WARM_UP_TOKENS)), ignore_end=True)
        reader = TextReader(self._texts.stream(request).decode)
        answer = _Answer([0] * _WARM_UP_TOKENS, request, 2, reader, StopMatcher(()))
        if answer.blocks > self._blocks:
            return
        handle = self._pipeline.add_request(0, self._tensor(answer.ids), self._config(answer))
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        while handle.can_read():
            handle.read()

    def _tensor(self, ids: list[int]) -> Any:
        return self._ov.Tensor(np.array([ids], np.int64))


def _libraries() -> tuple[Any, Any]:
    try:
        import openvino
        import openvino_genai
    except ImportError as error:
        raise ToolchainMissing("openvino-genai", "openvino") from error
    return openvino, openvino_genai


def _refuse(request: ChatRequest) -> None:
    """What OpenVINO cannot do, or does otherwise than the API says. Raises UnsupportedParameter."""
    sampling = request.sampling
    unusable = {
        "tools": bool(request.tools) and request.tool_choice != "none",
        "response_format": request.answer_format is not None,
        "logprobs": request.top_logprobs is not None,
        "logit_bias": bool(sampling.logit_bias),
        "presence_penalty": sampling.presence_penalty != 0,  # moves negative logits the wrong way
        "frequency_penalty": sampling.frequency_penalty != 0,
        "adapter": request.adapter is not None,
    }
    for name, wanted in unusable.items():
        if wanted:
            raise UnsupportedParameter(name, _ELSEWHERE)


def _set_sampling(config: Any, sampling: Sampling) -> None:
    config.do_sample = sampling.temperature > 0
    if sampling.temperature <= 0:
        return
    config.temperature = sampling.temperature
    config.top_p = sampling.top_p
    config.min_p = sampling.min_p
    if sampling.top_k:
        config.top_k = sampling.top_k
    config.rng_seed = secrets.randbelow(_MAX_SEED) if sampling.seed is None else sampling.seed
