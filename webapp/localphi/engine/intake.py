"""What a request asks of its model, worked out before it waits for its turn; the same for every backend."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localphi.chat import ChatRequest
from localphi.engine.base import Question, Reply
from localphi.engine.calls import (
    AnswerReader,
    FreeList,
    GuidedList,
    MarkedReader,
    Markers,
    TextReader,
    UnmarkedReader,
)
from localphi.engine.grammar import Check, check_grammar, grammar_for, may_call
from localphi.engine.texts import Texts, check_ids
from localphi.engine.tokenizer import PhiTokenizer
from localphi.engine.transcript import Transcript
from localphi.errors import InvalidRequest, UnsupportedParameter
from localphi.models.manifest import Manifest, PromptFormat


@dataclass(frozen=True)
class Prepared:
    """A request whose fields are right. ids: the prompt. grammar: Lark text that holds the answer."""

    request: ChatRequest
    ids: list[int]
    grammar: str | None


@dataclass(frozen=True)
class Unfinished:
    """An answer for another backend to go on with.

    said: its tokens so far. resume: more of them, from an earlier worker, that are still to be told again.
    """

    prepared: Prepared
    transcript: Transcript
    said: list[int]
    resume: list[int]


class Intake:
    """The model's tokenizer, and what else must be known to read requests and answers. Loads no weights.

    settings: the "model" part of the folder's genai_config.json. vocabulary: how many ids the model has.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.settings: dict[str, Any] = json.loads(
            (folder / "genai_config.json").read_text(encoding="utf-8")
        )["model"]
        self.vocabulary = int(self.settings["vocab_size"])
        self.tokenizer = PhiTokenizer(folder)
        self._texts = Texts(self.tokenizer, manifest, self.vocabulary)
        self._markers = _markers(self.tokenizer, manifest.prompt_format)
        self._manifest = manifest

    def prepare(self, request: ChatRequest) -> Prepared:
        """Raises InvalidRequest, naming the field at fault."""
        sampling = replace(request.sampling, top_k=min(request.sampling.top_k, self.vocabulary))
        request = replace(request, sampling=sampling)
        self._check_bias(request)
        check_ids("begun_ids", request.begun_ids, self.vocabulary)
        grammar = self._grammar(request)
        return Prepared(request, self.prompt_ids(request), grammar)

    def prompt_ids(self, request: ChatRequest) -> list[int]:
        return self._texts.prompt_ids(request)

    def check(self, prepared: Prepared, check: Check) -> None:
        """Raises InvalidRequest when the runtime cannot compile the grammar. check: compiles one."""
        if prepared.grammar:
            check_grammar(prepared.request, self._markers, prepared.grammar, check)

    def transcript(self, prepared: Prepared, room: int) -> Transcript:
        """Of the answer to come. room: how many tokens it may have at most."""
        request = prepared.request
        return Transcript(
            request,
            prompt_tokens=len(prepared.ids),
            reader=self._reader(request),
            end_ids=() if request.ignore_end else self.tokenizer.end_ids,
            max_tokens=min(request.max_tokens or room, room),
        )

    def reply(self, question: Question) -> Reply:
        return self._texts.reply(question)

    def _check_bias(self, request: ChatRequest) -> None:
        for token, _ in request.sampling.logit_bias:
            if token >= self.vocabulary:
                raise InvalidRequest(
                    f"'logit_bias' names the token {token}, but the last token of this model is "
                    f"{self.vocabulary - 1}.",
                    "logit_bias",
                )

    def _grammar(self, request: ChatRequest) -> str | None:
        if request.ignore_end and (request.answer_format or may_call(request)):
            raise UnsupportedParameter("ignore_eos", "Leave it out where calls or JSON end the answer.")
        control = (*self._manifest.prompt_format.control, *(self._manifest.prompt_format.tool_call or ()))
        grammar = grammar_for(request, self._markers, control, self.tokenizer.end_ids)
        if grammar and request.sampling.min_p > 0 and request.sampling.temperature > 0:
            held = "tools" if request.tools else "response_format"
            raise UnsupportedParameter("min_p", f"Leave it out together with '{held}', or use 'top_p'.")
        return grammar

    def _reader(self, request: ChatRequest) -> AnswerReader:
        """Only where tools were offered can there be calls."""
        if not may_call(request):
            return TextReader(self._texts.stream(request).decode)
        calls = GuidedList() if request.guided else FreeList()
        if self._markers:
            return MarkedReader(lambda: self.tokenizer.stream().decode, self._markers, calls)
        return UnmarkedReader(self.tokenizer.stream().decode, calls)


def _markers(tokenizer: PhiTokenizer, prompt_format: PromptFormat) -> Markers | None:
    """The tokens around calls, None for a model that has none; GenAI's own `bot_token_id` only guesses."""
    if prompt_format.tool_call is None:
        return None
    opening, closing = map(tokenizer.token_id, prompt_format.tool_call)
    return None if opening is None or closing is None else Markers(opening, closing)
