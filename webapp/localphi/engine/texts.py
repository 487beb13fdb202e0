"""Texts to token ids and back: prompts, answers, and what is asked about either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localphi.chat import ChatRequest, RawPrompt
from localphi.engine.base import Decoded, Encode, Encoded, Question, Reply
from localphi.engine.prompt import neutralise, prompt_text
from localphi.errors import InvalidRequest
from localphi.models.manifest import Manifest

if TYPE_CHECKING:
    from localphi.engine.tokenizer import PhiTokenizer, TextStream


class Texts:
    """vocabulary: how many ids the model has; those of a request lie below it."""

    def __init__(self, tokenizer: PhiTokenizer, manifest: Manifest, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._manifest = manifest
        self._vocabulary = vocabulary

    def prompt_ids(self, request: ChatRequest) -> list[int]:
        """Raises InvalidRequest when there is no token in the prompt, or one that the model does not have."""
        asked = request.messages
        if isinstance(asked, RawPrompt) and not isinstance(asked.content, str):
            check_ids("prompt", asked.content, self._vocabulary)
            ids = list(asked.content)
        else:
            ids = self._tokenizer.encode(prompt_text(self._manifest, request))
        if not ids:
            raise InvalidRequest("'prompt' holds no tokens, but the answer must go on from one.", "prompt")
        return ids

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
