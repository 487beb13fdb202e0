"""A model's two backends behind one: paged for what it can do, generator for the rest.

What decides is what the request asks for, and not how busy the model is: the same request is answered by the
same backend, and with the same seed by the same tokens. Greedy answers have the same tokens in both; so where
there is memory for both, one that comes when nothing else is at work is the generator's, which is faster with
one answer: twice as fast behind a long prompt. When others come it changes over to them, while it is short.
An answer that outgrows the paged graph goes on in the generator backend, which reads all of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localphi.chat import ChatRequest
from localphi.engine.base import Admitted, Event, Question, Reply
from localphi.engine.generator import GeneratorBackend
from localphi.engine.intake import Intake, Prepared, Unfinished
from localphi.engine.paged import PagedBackend
from localphi.errors import EngineFailed

MOST_STEPS = 2  # of reading again, for an answer that is no longer alone


class RoutedBackend:
    """make_generator: loads the generator backend; called when a request needs it, for it takes memory.

    context_length: tokens of the longest sequence that the generator backend can hold.
    generator_alone: whether a greedy answer alone is the generator's, whose weights take memory again; it is
    then loaded at once.
    """

    def __init__(
        self,
        paged: PagedBackend,
        make_generator: Callable[[], GeneratorBackend],
        intake: Intake,
        *,
        context_length: int,
        generator_alone: bool = False,
    ) -> None:
        self._paged = paged
        self._make_generator = make_generator
        self._intake = intake
        self._context_length = context_length
        self._generator_alone = generator_alone and context_length >= paged.context_length
        self._generator: GeneratorBackend | None = None
        self._generators_turn = False
        self._alone: tuple[int, Prepared] | None = None  # the generator's, and nothing else has come since
        if self._generator_alone:
            self._loaded_generator()
        if context_length > paged.context_length:
            paged.on_outgrown = self._go_on

    @property
    def busy(self) -> bool:
        return any(backend.busy for backend in self._backends())

    @property
    def active(self) -> int:
        return sum(backend.active for backend in self._backends())

    @property
    def kv_used(self) -> float:
        return self._paged.kv_used

    def submit(self, request_id: int, request: ChatRequest, resume: Sequence[int] = ()) -> Admitted:
        prepared = self._intake.prepare(request)
        if not self._for_paged(prepared):
            return self._loaded_generator().take(request_id, prepared, resume)
        if self._generator_alone and _is_greedy(prepared) and not self.busy:
            self._alone = request_id, prepared
            return self._loaded_generator().take(request_id, prepared, resume)
        admitted = self._paged.take(request_id, prepared, resume)
        self._bring_together()
        return admitted

    def _bring_together(self) -> None:
        """The one that was alone is no longer; its tokens are read again, where they are soon read."""
        if self._alone is None or self._generator is None:
            return
        alone, self._alone = self._alone, None
        unfinished = self._generator.hand_over(*alone, most_tokens=MOST_STEPS * self._paged.step_tokens)
        if unfinished is not None:
            self._paged.go_on(alone[0], unfinished)

    def _go_on(self, request_id: int, unfinished: Unfinished) -> None:
        self._loaded_generator().go_on(request_id, unfinished)

    def _loaded_generator(self) -> GeneratorBackend:
        """Raises EngineFailed where there is no memory for it, or whatever keeps it from being loaded."""
        if self._generator is None:
            try:
                self._generator = self._make_generator()
            except Exception as error:  # the binding raises bare RuntimeError
                what = "The model cannot be loaded a second time, as this request needs"
                raise EngineFailed(f"{what}: {error}") from error
        return self._generator

    def _for_paged(self, prepared: Prepared) -> bool:
        wanted = len(prepared.ids) + (prepared.request.max_tokens or 1)
        fits = min(wanted, self._context_length) <= self._paged.context_length
        return fits and not needs_generator(prepared.request)

    def step(self) -> Sequence[tuple[int, Event]]:
        """A step of either in turn, where both have work."""
        backends = [backend for backend in self._backends() if backend.busy]
        self._generators_turn = not self._generators_turn
        return backends[-1 if self._generators_turn else 0].step()

    def cancel(self, request_id: int) -> None:
        for backend in self._backends():
            backend.cancel(request_id)

    def reply(self, question: Question) -> Reply:
        return self._intake.reply(question)

    def _backends(self) -> list[PagedBackend | GeneratorBackend]:
        return [self._paged] if self._generator is None else [self._paged, self._generator]


def _is_greedy(prepared: Prepared) -> bool:
    return prepared.request.sampling.temperature == 0 and prepared.grammar is None


def faster_alone(settings: Mapping[str, Any]) -> bool:
    """Whether GroupQueryAttention is faster for one answer than the paged graph, by the model's settings.

    It loses much where three heads and more share their keys (Phi-4-mini); see docs/decisions.md.
    """
    decoder = settings["decoder"]
    return int(decoder["num_attention_heads"]) < 3 * int(decoder["num_key_value_heads"])


def needs_generator(request: ChatRequest) -> bool:
    """Whether the answer wants what GenAI's engine cannot do: show logits or progress, take adapters."""
    sampling = request.sampling
    return (
        request.top_logprobs is not None
        or request.tells_progress
        or request.adapter is not None
        or bool(sampling.logit_bias)
        or (sampling.presence_penalty, sampling.frequency_penalty) != (0.0, 0.0)
        or (sampling.min_p > 0 and sampling.temperature > 0)
    )
