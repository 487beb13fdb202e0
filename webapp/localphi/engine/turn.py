"""One answer in GenAI's engine: begun, heard token by token, and begun again where it was interrupted.

An interrupted answer goes on with exactly the tokens it would have had. A greedy one without a grammar is
begun again with its tokens behind the prompt; most of them are still in the engine's prefix cache. Random
numbers and grammars begin with a turn, so that other answers are begun from their prompt, and what was said
before is heard again in silence.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime_genai as og

from localphi.chat import Sampling
from localphi.engine.base import Event
from localphi.engine.intake import Prepared
from localphi.engine.transcript import Transcript
from localphi.errors import EngineFailed

AHEAD = 256  # tokens promised to an answer that may become as long as the context, each time it needs more
_COLDEST = 1e-3  # GenAI reads less as 0; the most likely token has all of the probability long before


class Turn:
    """number: of its arrival. begin() before hear(); stop() ends what the engine has of it, at any time."""

    def __init__(self, number: int, request_id: int, prepared: Prepared, transcript: Transcript) -> None:
        self.number = number
        self.request_id = request_id
        self.restarts = 0  # after failures of the engine
        self.handle: Any = None
        self._prepared = prepared
        self._transcript = transcript
        self._sampling = _seeded(prepared.request.sampling)
        self._said: list[int] = []
        self._heard = 0  # of what was said, in the turn at work
        self._turn_id: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether it was told how long it may become."""
        return self._prepared.request.max_tokens is not None

    @property
    def wanted(self) -> int:
        """Tokens there must be room for, so that it can go on."""
        most = len(self._prepared.ids) + self._transcript.max_tokens
        return most if self.bounded else min(most, self.tokens + AHEAD)

    @property
    def tokens(self) -> int:
        """Of prompt and answer, so far."""
        return len(self._prepared.ids) + len(self._said)

    def begin(self, engine: Any) -> None:
        """Queue it in the engine. Raises what GenAI says about it."""
        appends = self._prepared.grammar is None and self._sampling.temperature == 0
        before = self._said if appends else []
        self._heard = len(before)
        self.handle = engine.create_request()
        options = turn_options(self.handle, self._sampling, self._prepared.grammar)
        options.set_max_generated_tokens(self._transcript.max_tokens - len(before))
        ids = np.asarray([*self._prepared.ids, *before], np.int32)
        self._turn_id = self.handle.begin_turn(ids, options)

    def hear(self, event: Any) -> list[Event]:
        """What an engine's event adds to the answer; the last of these is Finished when it is over."""
        finished = bool(event.flags.value & og.EngineEventFlags.TURN_FINISHED.value)
        if event.finish_reason == og.FinishReason.FAILED:
            raise EngineFailed(f"ONNX Runtime GenAI gave this answer up: {event.error_code.name}.")
        events = [] if event.token is None else self._hear(int(event.token))
        if not finished:
            if self._transcript.end is not None:  # by a stop string or a last bracket, which only we see
                self.handle.cancel_turn(self._turn_id)
            return events
        if self._transcript.end is None:
            self._end(event.finish_reason)
        cached = min(event.usage.cached_prompt_tokens, len(self._prepared.ids))
        return [*events, *self._transcript.finish(cached)]

    def stop(self) -> None:
        """Give back what the engine holds for it. May be called twice."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None

    def _hear(self, token: int) -> list[Event]:
        if self._transcript.end is not None:
            return []
        if self._heard < len(self._said):
            self._check(self._said[self._heard] == token)
            self._heard += 1
            return []
        self._said.append(token)
        self._heard += 1
        return self._transcript.push(token)

    def _end(self, reason: Any) -> None:
        """By the engine, which does not tell a token that ends the answer."""
        self._check(self._heard == len(self._said))
        if reason == og.FinishReason.EOS:
            self._transcript.push_end()
        else:
            self._transcript.cut()

    def _check(self, same: bool) -> None:
        if not same:
            raise EngineFailed("The answer was interrupted, and the model did not say the same again.")


def turn_options(handle: Any, sampling: Sampling, grammar: str | None) -> Any:
    """How the engine chooses tokens. All is set, for what is not comes from the model's genai_config.json."""
    options = og.TurnOptions(handle)
    options.set_do_sample(sampling.temperature > 0)
    options.set_temperature(sampling.temperature)
    options.set_top_k(sampling.top_k if sampling.temperature > 0 else 1)
    options.set_top_p(sampling.top_p)
    options.set_repetition_penalty(sampling.repetition_penalty)
    options.set_no_repeat_ngram_size(0)
    if sampling.seed is not None:
        options.set_seed(sampling.seed)
    if grammar:
        options.set_guidance("lark_grammar", grammar)
    return options


def _seeded(sampling: Sampling) -> Sampling:
    """With a seed wherever there is chance, so that the same can be said again."""
    if sampling.temperature == 0 or sampling.top_k == 1:
        return replace(sampling, temperature=0.0)
    seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
    return replace(sampling, temperature=max(sampling.temperature, _COLDEST), seed=seed)
