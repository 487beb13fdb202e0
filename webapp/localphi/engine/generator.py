"""The generator backend: any ORT GenAI folder, one `Generator` per answer at work, one token each in turn.

Prefill goes in chunks, so that a long prompt keeps neither a cancel nor the other answers waiting for more
than one chunk. The generators of finished answers are kept for requests that begin alike (`kvcache.py`).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from localphi.chat import ChatRequest, Finished, Sampling
from localphi.config import ProviderName
from localphi.engine.answer import RunningAnswer
from localphi.engine.base import Admitted, Event, Failed, Question, Reply
from localphi.engine.calls import (
    AnswerReader,
    FreeList,
    GuidedList,
    MarkedReader,
    Markers,
    TextReader,
    UnmarkedReader,
)
from localphi.engine.grammar import check_grammar, grammar_for, may_call
from localphi.engine.kvcache import KvCaches, Setup
from localphi.engine.providers import genai_name
from localphi.engine.texts import Texts
from localphi.engine.tokenizer import PhiTokenizer
from localphi.errors import ContextLengthExceeded, EngineFailed, InvalidRequest, UnsupportedParameter
from localphi.models.manifest import Manifest, PromptFormat

_SHORTEST = 8  # tokens of a generator that is made only to compile its grammar
_ROPE_SWITCH = {"phi3": 4096, "phimoe": 4096, "phi3small": 8192}


class GeneratorBackend:
    """Serves `max_active` answers at a time, the others wait in order.

    kv_budget_bytes: what the KV caches of all answers, at work and kept, may take. Bounds the context, too.
    provider: None for what the folder's configuration names.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        threads: int,
        max_active: int,
        kv_budget_bytes: int,
        *,
        provider: ProviderName | None = None,
    ) -> None:
        config = og.Config(str(folder))
        if provider is not None:
            config.clear_providers()
            config.append_provider(genai_name(provider))
        options = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": options}}))
        self._model = og.Model(config)
        self._tokenizer = PhiTokenizer(folder)
        settings = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]
        self._vocabulary = int(settings["vocab_size"])
        self._texts = Texts(self._tokenizer, manifest, self._vocabulary)
        self._markers = _markers(self._tokenizer, manifest.prompt_format)
        self._manifest = manifest
        self._max_active = max_active
        variant = manifest.server_variant
        if variant is None:
            raise EngineFailed(f"The model '{manifest.id}' has no files for the server.")
        kv_tokens = kv_budget_bytes // variant.kv_bytes_per_token
        self._context_length = min(manifest.context_length, kv_tokens)
        self._switch = _rope_switch(settings)
        self._caches = KvCaches(kv_tokens, self._context_length, self._make_generator, self._switch)
        self._active: deque[tuple[int, RunningAnswer]] = deque()
        self._waiting: deque[tuple[int, RunningAnswer]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    def submit(self, request_id: int, request: ChatRequest) -> Admitted:
        sampling = replace(request.sampling, top_k=min(request.sampling.top_k, self._vocabulary))
        request = replace(request, sampling=sampling)
        self._check_bias(request)
        grammar = self._grammar(request)
        ids = self._encode(request)
        room = self._room(len(ids), grammar)
        if room < 1:
            raise ContextLengthExceeded(len(ids), self._context_length)
        answer = RunningAnswer(
            ids,
            request=request,
            setup=_setup(grammar, sampling, request.ignore_end),
            reader=self._reader(request),
            end_ids=() if request.ignore_end else self._tokenizer.end_ids,
            token_bytes=self._tokenizer.token_bytes,
            max_tokens=min(request.max_tokens or room, room),
        )
        self._waiting.append((request_id, answer))
        return Admitted(len(ids))

    def _check_bias(self, request: ChatRequest) -> None:
        for token, _ in request.sampling.logit_bias:
            if token >= self._vocabulary:
                raise InvalidRequest(
                    f"'logit_bias' names the token {token}, but the last token of this model is "
                    f"{self._vocabulary - 1}.",
                    "logit_bias",
                )

    def _room(self, prompt_tokens: int, grammar: str | None) -> int:
        """How many tokens an answer may have.

        GenAI 0.18 begins a grammar anew where it changes to a model's second rope factor, in the middle of
        the answer; a guided answer ends there instead, as with `max_tokens`. Goes when GenAI is cured.
        """
        end = self._context_length
        if grammar and self._switch is not None and prompt_tokens <= self._switch:
            end = min(end, self._switch + 1)  # its last token is chosen before the change
        return end - prompt_tokens

    def _grammar(self, request: ChatRequest) -> str | None:
        """The grammar of the answer, compiled once already, so that a bad one fails now."""
        if request.ignore_end and (request.answer_format or may_call(request)):
            raise UnsupportedParameter("ignore_eos", "Leave it out where calls or JSON end the answer.")
        control = (*self._manifest.prompt_format.control, *(self._manifest.prompt_format.tool_call or ()))
        grammar = grammar_for(request, self._markers, control, self._tokenizer.end_ids)
        if grammar and request.sampling.min_p > 0 and request.sampling.temperature > 0:
            held = "tools" if request.tools else "response_format"
            raise UnsupportedParameter("min_p", f"Leave it out together with '{held}', or use 'top_p'.")
        if grammar:
            check_grammar(request, self._markers, grammar, self._compile)
        return grammar

    def _compile(self, grammar: str) -> None:
        self._make_generator(Setup(grammar), _SHORTEST)

    def _make_generator(self, setup: Setup, size: int) -> Any:
        sampling = setup.sampling
        options: dict[str, Any] = {"max_length": size, "do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
            if sampling.seed is not None:
                options["random_seed"] = sampling.seed
        if setup.endless:
            options["min_length"] = size
        params = og.GeneratorParams(self._model)
        params.set_search_options(**options)
        if setup.grammar:
            params.set_guidance("lark_grammar", setup.grammar)
        return og.Generator(self._model, params)

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
        self._admit()
        request_id, answer = self._active.popleft()
        try:
            events = answer.step()
        except Exception as error:  # the binding raises bare RuntimeError and its subclasses for everything
            self._caches.discard(answer.cache)
            return [(request_id, Failed(EngineFailed(f"ONNX Runtime GenAI failed: {error}")))]
        if any(isinstance(event, Finished) for event in events):
            self._caches.give_back(answer.cache)
        else:
            self._active.append((request_id, answer))
        return [(request_id, event) for event in events]

    def _admit(self) -> None:
        """Start those that wait, in order, as long as there is room for them."""
        while self._waiting and len(self._active) < self._max_active:
            _, answer = self._waiting[0]
            lent = self._caches.lend(answer.ids, answer.size, answer.setup)
            if lent is None:
                return
            answer.start(*lent)
            self._active.append(self._waiting.popleft())

    def cancel(self, request_id: int) -> None:
        for active_id, answer in self._active:
            if active_id == request_id:
                self._caches.give_back(answer.cache)
        self._active = deque(item for item in self._active if item[0] != request_id)
        self._waiting = deque(item for item in self._waiting if item[0] != request_id)

    def reply(self, question: Question) -> Reply:
        return self._texts.reply(question)


def _setup(grammar: str | None, sampling: Sampling, ignore_end: bool) -> Setup:
    """As little as GenAI must know, so that many requests can share a cache."""
    if grammar is None or sampling.temperature == 0:
        return Setup(grammar, endless=ignore_end)
    return Setup(grammar, Sampling(sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed))


def _rope_switch(settings: dict[str, Any]) -> int | None:
    """The longest sequence computed with the first of two rope factors, None for a model that has one.

    The config does not tell. Like GenAI itself we go by the type: every Phi with a longer context has two.
    """
    switch = _ROPE_SWITCH.get(str(settings["type"]))
    return switch if switch is not None and int(settings["context_length"]) > switch else None


def _markers(tokenizer: PhiTokenizer, prompt_format: PromptFormat) -> Markers | None:
    """The tokens around calls, None for a model that has none; GenAI's own `bot_token_id` only guesses."""
    if prompt_format.tool_call is None:
        return None
    opening, closing = map(tokenizer.token_id, prompt_format.tool_call)
    return None if opening is None or closing is None else Markers(opening, closing)
