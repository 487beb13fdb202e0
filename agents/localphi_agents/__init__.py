"""Agents on a local Phi: a client of the localphi server, and adapters to agent frameworks.

    chat, errors        plain values and the error tree
    sse, client         the server's wire format, over HTTP
    semantic_kernel     `PhiChatCompletion` for Semantic Kernel

Import the module you need; importing the package alone loads no HTTP library and no framework.
"""

from __future__ import annotations

from localphi_agents.chat import Delta, Message, Options, Reply, Role, Usage
from localphi_agents.errors import (
    AnswerFailed,
    AnswerIncomplete,
    ClientError,
    RequestRefused,
    ServerReported,
    ServerUnreachable,
    UnexpectedReply,
)

__all__ = [
    "AnswerFailed",
    "AnswerIncomplete",
    "ClientError",
    "Delta",
    "Message",
    "Options",
    "Reply",
    "RequestRefused",
    "Role",
    "ServerReported",
    "ServerUnreachable",
    "UnexpectedReply",
    "Usage",
]
