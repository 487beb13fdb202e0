"""Log probabilities in the form that chat completions have for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from localphi.chat import AnswerLogprob, TokenLogprob

_LEAST = -9999.0  # OpenAI's way to say minus infinity, which JSON cannot


def chat_logprobs(tokens: Iterable[AnswerLogprob]) -> dict[str, Any]:
    """`logprobs` of a choice."""
    content = [{**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _token(token: TokenLogprob) -> dict[str, Any]:
    """token: its text; bytes that are no whole character are written as \\xNN."""
    text = token.data.decode("utf-8", "backslashreplace")
    data = list(token.data) if token.data else None
    return {"token": text, "logprob": max(token.logprob, _LEAST), "bytes": data}
