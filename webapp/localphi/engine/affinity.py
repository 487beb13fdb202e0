"""Who should answer a conversation: whoever has computed its beginning before, told by hashing alone.

All turns of a conversation have the system's text and the first question in common. Rendezvous hashing gives
each conversation an order of those who answer, and moves few of them when one of these comes or goes.
"""

from __future__ import annotations

import hashlib

from localphi.chat import ChatRequest, RawPrompt

_PROMPT_ITEMS = 256


def key_of(request: ChatRequest) -> bytes:
    """The same for all turns of a conversation, and for all requests with the same adapter."""
    if request.adapter is not None:
        return request.adapter.encode("utf-8", "replace")
    if isinstance(request.messages, RawPrompt):
        return str(request.messages.content[:_PROMPT_ITEMS]).encode("utf-8", "replace")
    start: list[str] = []
    for message in request.messages:
        start.append(message.content)
        if message.role == "user":
            break
    return "\0".join(start).encode("utf-8", "replace")


def preference(key: bytes, who: str) -> bytes:
    """The greatest is the one to ask."""
    return hashlib.sha256(key + b"\0" + who.encode()).digest()
