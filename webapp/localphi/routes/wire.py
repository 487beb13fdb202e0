"""What the documents of an answer have in common, whatever API they belong to."""

from __future__ import annotations

import secrets
import time
from typing import Any

from localphi.chat import AnswerLogprob, Chunk, Item, Progress, Usage


def head(prefix: str, model_id: str) -> dict[str, Any]:
    """What every document of a completion begins with."""
    return {"id": new_id(prefix), "created": int(time.time()), "model": model_id}


def new_id(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(12)}"


def text_of(item: Item) -> str:
    return item.text if isinstance(item, Chunk) else ""


def logprobs_of(item: Item) -> tuple[AnswerLogprob, ...]:
    return item.logprobs if isinstance(item, Chunk) else ()


def progress_fields(progress: Progress) -> dict[str, Any]:
    """How far the prompt has been read, in llama.cpp's words: processed counts what was cached, too."""
    fields = {"total": progress.total, "cache": progress.cached, "processed": progress.processed}
    return {"prompt_progress": {**fields, "time_ms": round(progress.elapsed_s * 1000)}}


def usage_fields(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`, and beside it the server's own `timings` where there are some."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.tokens_per_second is None:
        return {"usage": counts}
    decode_ms, speed = round(usage.decode_s * 1000, 1), round(usage.tokens_per_second, 1)
    return {"usage": counts, "timings": {"decode_ms": decode_ms, "tokens_per_second": speed}}
