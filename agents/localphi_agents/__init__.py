"""Agents on a local Phi: a client of the localphi server, and adapters to agent frameworks.

    chat, calls, errors     plain values and the error tree
    sse, wire, client       the server's wire format, over HTTP; json_format: pydantic types in it
    in_process              the same without a server: the model belongs to your program
    semantic_kernel         `PhiChatCompletion` and `PhiTextCompletion` for Semantic Kernel
    agent_framework         `PhiChatClient` for Microsoft Agent Framework
    plugins                 functions that many agents need: time, math, files, units, docs
    rag                     documents: embeddings, a vector store in SQLite, an index with citations
    mcp                     tools of MCP servers, and an agent as an MCP server

Import the module you need; importing the package alone loads no HTTP library and no framework.
"""

from __future__ import annotations

from localphi_agents.chat import Delta, Message, Options, Reply, Role, ToolCall, Usage
from localphi_agents.errors import (
    AnswerFailed,
    AnswerIncomplete,
    CallCutOff,
    ClientError,
    ModelUnavailable,
    RequestRefused,
    ServerReported,
    ServerUnreachable,
    UnexpectedReply,
)

__all__ = [
    "AnswerFailed",
    "AnswerIncomplete",
    "CallCutOff",
    "ClientError",
    "Delta",
    "Message",
    "ModelUnavailable",
    "Options",
    "Reply",
    "RequestRefused",
    "Role",
    "ServerReported",
    "ServerUnreachable",
    "ToolCall",
    "UnexpectedReply",
    "Usage",
]
