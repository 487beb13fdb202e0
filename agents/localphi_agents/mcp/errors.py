"""What can go wrong with a server of tools.

    ToolServerError
    ├── ToolServerUnreachable   it cannot be started, nothing listens, or it does not speak MCP
    ├── ToolServerLost          it went away; every later call fails the same way
    └── ToolFailed              it answered that the tool did not do what was asked

Each is one sentence; the last two are for the model, which may try something else.
"""

from __future__ import annotations


class ToolServerError(Exception):
    """No result of a tool."""


class ToolServerUnreachable(ToolServerError):
    pass


class ToolServerLost(ToolServerError):
    pass


class ToolFailed(ToolServerError):
    pass
