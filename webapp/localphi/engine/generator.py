"""The generator backend: any ORT GenAI folder, one `Generator` per answer at work, one token each in turn.

Prefill goes in chunks, so that a long prompt keeps neither a cancel nor the other answers waiting for more
than one chunk. The generators of finished answers are kept for requests that begin alike (`kvcache.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from localphi.chat import ChatRequest, Finished, Sampling
from localphi.config import ProviderName
from localphi.engine.adapters import LoadedAdapters
from localphi.engine.answer import RunningAnswer
from localphi.engine.base import Admitted, Event, Failed, Question, Reply
from localphi.engine.intake import Intake, Prepared, Unfinished
from localphi.engine.kvcache import KvCache, KvCaches, Setup
from localphi.engine.providers import genai_name
from localphi.errors import ContextLengthExceeded, EngineFailed
from localphi.models.lora import lora_overlay
from localphi.models.manifest import Manifest
from localphi.models.paged import threads_overlay

_LIKELIEST = 1024  # tokens that are drawn from where no top_k is asked for
_SHORTEST = 8  # tokens of a generator that is made only to compile its grammar
_ROPE_SWITCH = {"phi3": 4096, "phimoe": 4096, "phi3small": 8192}


class GeneratorBackend:
    """Serves `max_active` answers at a time, the others wait in order.

    kv_budget_bytes: what the KV caches of all answers, at work and kept, may take. Bounds the context, too.
    intake: of the same folder, where there is one already.
    provider: None for what the folder's configuration names. home: where adapters are, None for none.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        threads: int,
        max_active: int,
        kv_budget_bytes: int,
        *,
        intake: Intake | None = None,
        provider: ProviderName | None = None,
        home: Path | None = None,
    ) -> None:
        def load_model(overlay: str = "") -> Any:
            config = og.Config(str(folder))
            if provider is not None:
                config.clear_providers()
                config.append_provider(genai_name(provider))
            config.overlay(threads_overlay(threads))
            if overlay:
                config.overlay(overlay)
            return og.Model(config)

        self._model = load_model()
        self._adapters = LoadedAdapters(home, manifest, lambda graph: load_model(lora_overlay(graph)))
        self._intake = intake or Intake(folder, manifest)
        self._max_active = max_active
        variant = manifest.server_variant
        if variant is None:
            raise EngineFailed(f"The model '{manifest.id}' has no files for the server.")
        kv_tokens = kv_budget_bytes // variant.kv_bytes_per_token
        self._context_length = min(manifest.context_length, kv_tokens)
        self._switch = _rope_switch(self._intake.settings)
        self._caches = KvCaches(kv_tokens, self._context_length, self._make_generator, self._switch)
        self._all_logits: bool | None = None
        self._active: deque[tuple[int, RunningAnswer]] = deque()
        self._waiting: deque[tuple[int, RunningAnswer]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    def submit(self, request_id: int, request: ChatRequest, resume: Sequence[int] = ()) -> Admitted:
        return self.take(request_id, self._intake.prepare(request), resume)

    def take(self, request_id: int, prepared: Prepared, resume: Sequence[int] = ()) -> Admitted:
        """Queue a request. Raises ContextLengthExceeded, or InvalidRequest for a grammar GenAI refuses."""
        self._intake.check(prepared, self._compile)
        room = self._room(len(prepared.ids), prepared.grammar)
        if room < 1:
            raise ContextLengthExceeded(len(prepared.ids), self._context_length)
        if prepared.request.adapter:
            self._take_adapters(prepared.request.adapter)
        transcript = self._intake.transcript(prepared, room)
        self._queue(request_id, Unfinished(prepared, transcript, [], list(resume)))
        return Admitted(len(prepared.ids))

    def go_on(self, request_id: int, unfinished: Unfinished) -> None:
        """Queue an answer that another backend had no room for. It may become as long as the context."""
        prepared = unfinished.prepared
        unfinished.transcript.go_on(self._room(len(prepared.ids), prepared.grammar))
        self._queue(request_id, unfinished)

    def hand_over(self, request_id: int, prepared: Prepared, most_tokens: int) -> Unfinished | None:
        """Give an answer without a grammar up to another backend, unless it is over or has more tokens."""
        for queue in (self._active, self._waiting):
            for entry in queue:
                if entry[0] == request_id and entry[1].tokens <= most_tokens:
                    if queue is self._active:
                        self._caches.give_back(entry[1].cache)
                    queue.remove(entry)
                    return entry[1].unfinished(prepared)
        return None

    def _take_adapters(self, name: str) -> None:
        """From the first one on every answer comes of the graph for adapters, which says the same without."""
        self._adapters.key(name)
        if self._model is not self._adapters.model:
            self._caches.forget()
            self._model = self._adapters.model

    def _queue(self, request_id: int, unfinished: Unfinished) -> None:
        prepared = unfinished.prepared
        answer = RunningAnswer(
            prepared.ids,
            request=prepared.request,
            setup=self._setup(prepared),
            transcript=unfinished.transcript,
            token_bytes=self._intake.tokenizer.token_bytes,
            resume=unfinished.resume,
            said=unfinished.said,
            guesses=prepared.grammar is None and self._gives_all_logits(),
        )
        self._waiting.append((request_id, answer))

    def _setup(self, prepared: Prepared) -> Setup:
        """As little as GenAI must know, so that many requests can share a cache."""
        request, sampling = prepared.request, prepared.request.sampling
        adapter = self._adapters.key(request.adapter) if request.adapter else None
        if prepared.grammar is None or sampling.temperature == 0:
            return Setup(prepared.grammar, endless=request.ignore_end, adapter=adapter)
        drawn = Sampling(sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed)
        return Setup(prepared.grammar, drawn, adapter=adapter)

    def _room(self, prompt_tokens: int, grammar: str | None) -> int:
        """How many tokens an answer may have.

        GenAI 0.18 begins a grammar anew where it changes to a model's second rope factor, in the middle of
        the answer; a guided answer ends there instead, as with `max_tokens`. Goes when GenAI is cured.
        """
        end = self._context_length
        if grammar and self._switch is not None and prompt_tokens <= self._switch:
            end = min(end, self._switch + 1)  # its last token is chosen before the change
        return end - prompt_tokens

    def _gives_all_logits(self) -> bool:
        """Whether the graph computes logits for every token that it reads; asked of it once."""
        if self._all_logits is None:
            cache = KvCache(Setup(), _SHORTEST, self._make_generator)
            try:
                self._all_logits = len(cache.read_all([0, 0])) == 2
            except RuntimeError:  # of the binding: a provider that does not show them goes without guesses
                self._all_logits = False
        return self._all_logits

    def _compile(self, grammar: str) -> None:
        self._make_generator(Setup(grammar), _SHORTEST)

    def _make_generator(self, setup: Setup, size: int) -> Any:
        sampling = setup.sampling
        options: dict[str, Any] = {"max_length": size, "do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            top_k = genai_top_k(sampling, self._intake.vocabulary)
            options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": top_k}
            if sampling.seed is not None:
                options["random_seed"] = sampling.seed
        if setup.endless:
            options["min_length"] = size
        params = og.GeneratorParams(self._model)
        params.set_search_options(**options)
        if setup.grammar:
            params.set_guidance("lark_grammar", setup.grammar)
        generator = og.Generator(self._model, params)
        if setup.adapter:
            self._adapters.put(generator, setup.adapter)
        return generator

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
        return self._intake.reply(question)


def genai_top_k(sampling: Sampling, vocabulary: int) -> int:
    """The top_k that GenAI is to draw with.

    Without one GenAI 0.18 takes 50 ms for each token of a vocabulary of 200,000, where 1024 take less than
    one, and applies top_p to something broader than the softmax at the temperature: 47 tokens where 6 have
    the mass. Who asks for more than 1024 gets them.
    """
    return sampling.top_k or min(vocabulary, _LIKELIEST)


def _rope_switch(settings: dict[str, Any]) -> int | None:
    """The longest sequence computed with the first of two rope factors, None for a model that has one.

    The config does not tell. Like GenAI itself we go by the type: every Phi with a longer context has two.
    """
    switch = _ROPE_SWITCH.get(str(settings["type"]))
    return switch if switch is not None and int(settings["context_length"]) > switch else None
