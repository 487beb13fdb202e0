"""Texts to token ids and back: prompts, answers, and what is asked about either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localphi.chat import ChatRequest, RawPrompt
from localphi.engine.base import Decoded, Encode, Encoded, Question, Reply
from localphi.engine.prompt import neutralise, prompt_text
from localphi.errors import ContextLengthExceeded, InvalidRequest
from localphi.models.manifest import Manifest

if TYPE_CHECKING:
    from localphi.engine.tokenizer import PhiTokenizer, TextStream


_SHORT_CHARS = 128 * 1024
_PART_CHARS = 64 * 1024
_CUT_TOKENS = 16


class Texts:
    """vocabulary: how many ids the model has; those of a request lie below it."""

    def __init__(self, tokenizer: PhiTokenizer, manifest: Manifest, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._manifest = manifest
        self._vocabulary = vocabulary

    def prompt_ids(self, request: ChatRequest) -> list[int]:
        """Raises InvalidRequest when there is no token in the prompt, or one that the model does not have;
        ContextLengthExceeded when it is so long that counting its tokens would take long.
        """
        asked = request.messages
        if isinstance(asked, RawPrompt) and not isinstance(asked.content, str):
            check_ids("prompt", asked.content, self._vocabulary)
            ids = list(asked.content)
        else:
            text = prompt_text(self._manifest, request)
            self._refuse_far_too_long(text, "prompt" if isinstance(asked, RawPrompt) else "messages")
            ids = self._tokenizer.encode(text)
        if not ids:
            raise InvalidRequest("'prompt' holds no tokens, but the answer must go on from one.", "prompt")
        return ids

    def _refuse_far_too_long(self, text: str, param: str) -> None:
        """Count the tokens part by part, until they are too many.

        GenAI 0.18 encodes in quadratic time: a megabyte of words takes 20 s, four take minutes, and no answer
        of this model goes on meanwhile. A part takes 0.1 s. Cut within a word, it may have some more tokens.
        """
        limit = self._manifest.context_length
        if len(text) <= _SHORT_CHARS:
            return
        tokens = 0
        for begin in range(0, len(text), _PART_CHARS):
            part = self._tokenizer.encode(text[begin : begin + _PART_CHARS])
            tokens += max(0, len(part) - _CUT_TOKENS)
            if tokens > limit:
                raise ContextLengthExceeded(tokens, limit, param, at_least=True)

    def stream(self, request: ChatRequest) -> TextStream:
        """A decoder for the answer to a request."""
        return self._tokenizer.stream(begun=isinstance(request.messages, RawPrompt))

    def reply(self, question: Question) -> Reply:
        """Raises InvalidRequest for ids that the model does not have."""
        if isinstance(question, Encode):
            ids = self._encode(question)
            pieces = map(self._tokenizer.token_bytes, ids) if question.with_pieces else ()
            return Encoded(ids, tuple(pieces))
        check_ids("tokens", question.ids, self._vocabulary)
        text = b"".join(map(self._tokenizer.token_bytes, question.ids)).decode("utf-8", "replace")
        return Decoded(self._tokenizer.strip(text))

    def _encode(self, asked: Encode) -> tuple[int, ...]:
        prompt_format = self._manifest.prompt_format
        text = neutralise(asked.text, () if asked.parse_special else prompt_format.control)
        return tuple(self._tokenizer.encode(prompt_format.prefix + text if asked.add_special else text))


def check_ids(param: str, ids: Sequence[int], vocabulary: int) -> None:
    """Raises InvalidRequest, naming the field `param` and the first id that is not below `vocabulary`."""
    for token in ids:
        if not 0 <= token < vocabulary:
            wanted = f"token ids from 0 to {vocabulary - 1}"
            raise InvalidRequest(f"'{param}' must hold {wanted}, but holds {token}.", param)
