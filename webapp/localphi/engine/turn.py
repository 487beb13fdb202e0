"""One answer in GenAI's engine: begun, heard token by token, and begun again where it was interrupted.

An interrupted answer goes on with exactly the tokens it would have had. A greedy one without a grammar is
begun again with its tokens behind the prompt; most of them are still in the engine's prefix cache. Grammars
and the random numbers of a seed begin with a turn, so that other answers are begun from their prompt, and
what was said before is heard again in silence.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime_genai as og

from localphi.chat import Sampling
from localphi.engine.base import Event
from localphi.engine.drafts import INDEXED_TOKENS, Drafts
from localphi.engine.intake import Prepared, Unfinished
from localphi.engine.transcript import Transcript
from localphi.errors import EngineFailed

MOST_PASSES = 8  # how often the reading of a prompt lets a shorter one pass
AHEAD = 256  # tokens promised to an answer that may become as long as the context, each time it needs more
_COLDEST = 1e-3  # GenAI reads less as 0; the most likely token has all of the probability long before


class Turn:
    """number: of its arrival. begin() before hear(); stop() ends what the engine has of it, at any time.

    said: tokens that the answer has already, of a request whose tokens can be appended to its prompt: without
    a seed and a grammar. resume: more of them, from another worker, which are told again.
    goes_on: where there is no room for more of it here, it is not finished but `outgrown`.
    """

    def __init__(
        self,
        number: int,
        request_id: int,
        prepared: Prepared,
        transcript: Transcript,
        *,
        said: Sequence[int] = (),
        resume: Sequence[int] = (),
        goes_on: bool = False,
    ) -> None:
        self.number = number
        self.request_id = request_id
        self.restarts = 0  # after failures of the engine
        self.handle: Any = None
        self._prepared = prepared
        self._transcript = transcript
        self._sampling = _sampling(prepared)
        drawn = self._sampling.temperature > 0 and self._sampling.seed is not None
        self._appends = prepared.grammar is None and not drawn
        self._resume = list(resume) if self._appends else []  # what is drawn again is told by itself
        self._goes_on = goes_on and prepared.request.max_tokens is None and prepared.grammar is None
        self._said = list(said)
        self._heard = 0  # of what was said, in the turn at work
        self._turn_id: int | None = None
        self._reading = self._pausing = False
        self._passes = 0
        self._cached: int | None = None
        greedy = self._sampling.temperature == 0 and self._sampling.repetition_penalty == 1
        self._draftable = greedy and prepared.grammar is None and not prepared.request.ignore_end
        self._drafts: Drafts | None = None
        self._indexed = 0  # of what was said, in the drafts

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
        return len(self._prepared.ids) + len(self._said) + len(self._resume)

    @property
    def outgrown(self) -> bool:
        return self._goes_on and self._transcript.end == "length"

    @property
    def unfinished(self) -> Unfinished:
        """What another backend needs to go on with it."""
        return Unfinished(self._prepared, self._transcript, self._said, self._resume)

    def begin(self, engine: Any) -> list[Event]:
        """Queue it in the engine, and tell what it has already. Raises what GenAI says about it."""
        events = self._tell_again()
        if self._transcript.end is not None:
            return self._ended(events)
        before = self._said if self._appends else []
        self._heard = len(before)
        self._reading, self._pausing = True, False
        self.handle = engine.create_request()
        options = turn_options(self.handle, self._sampling, self._prepared.grammar)
        options.set_max_generated_tokens(self._transcript.max_tokens - len(before))
        if self._prepared.request.ignore_end:
            options.set_min_generated_tokens(self._transcript.max_tokens - len(before))
        ids = np.asarray([*self._prepared.ids, *before], np.int32)
        self._turn_id = self.handle.begin_turn(ids, options)
        return events

    def let_pass(self, other: Turn) -> None:
        """End the reading of this prompt, if it is long beside the other; `paused` tells when it has ended.

        The engine reads prompts one after the other. What it has read of this one stays in its prefix cache.
        """
        if (
            self._reading
            and not self._pausing
            and self._passes < MOST_PASSES
            and self.tokens > 2 * other.tokens
        ):
            self._passes += 1
            self._pausing = self.handle.cancel_turn(self._turn_id)

    def draft(self, most: int) -> None:
        """Let the next step check up to `most` guessed tokens, where something tells how the answer goes on.

        The engine keeps those that it would have chosen, and the answer is the same.
        """
        most = min(most, self._transcript.max_tokens - len(self._said) - 1)  # one more comes of itself
        if not self._draftable or self._reading or self._transcript.end is not None or most < 1:
            return
        if self._drafts is None:
            self._drafts = Drafts(self._prepared.ids[-INDEXED_TOKENS:])
        self._drafts.push(self._said[self._indexed :])
        self._indexed = len(self._said)
        guess = self._drafts.guess(most)
        if guess:
            self.handle.set_draft_tokens(guess)

    def paused(self, event: Any) -> bool:
        """Whether this is the end of a turn that has let another one pass: then begin() again."""
        if not self._pausing or event.finish_reason != og.FinishReason.CANCELLED:
            return False
        self._note(event.usage)
        return True

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
        self._note(event.usage)
        return self._ended(events)

    def stop(self) -> None:
        """Give back what the engine holds for it. May be called twice."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None

    def _tell_again(self) -> list[Event]:
        if not self._resume:
            return []
        events = self._transcript.push_again(self._resume)
        told = self._transcript.produced - len(self._said)
        self._said += self._resume[:told]
        del self._resume[:told]
        return events

    def _ended(self, events: list[Event]) -> list[Event]:
        return events if self.outgrown else [*events, *self._transcript.finish(self._cached or 0)]

    def _note(self, usage: Any) -> None:
        """What was cached when the prompt was first read; later it finds what it has computed itself."""
        if self._cached is None:
            self._cached = usage.cached_prompt_tokens

    def _hear(self, token: int) -> list[Event]:
        self._reading = False
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


def _sampling(prepared: Prepared) -> Sampling:
    """With a seed where a grammar and chance come together, so that the same can be said again."""
    sampling = prepared.request.sampling
    if sampling.temperature == 0 or sampling.top_k == 1:
        return replace(sampling, temperature=0.0)
    seed = secrets.randbits(31) if sampling.seed is None and prepared.grammar else sampling.seed
    return replace(sampling, temperature=max(sampling.temperature, _COLDEST), seed=seed)
