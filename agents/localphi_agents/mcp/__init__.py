"""MCP both ways: tools of MCP servers for agents here, and an agent here as a tool for others. No framework.

errors     what can go wrong with a server of tools
schemas    schemas of tools, made to fit any model server
tools      `McpTools`: the tools of one MCP server
server     an agent as an MCP server, over stdio or HTTP

`semantic_kernel.mcp` and `agent_framework.mcp` hand such tools to agents.
"""

from __future__ import annotations

from localphi_agents.mcp.errors import ToolFailed, ToolServerError, ToolServerLost, ToolServerUnreachable
from localphi_agents.mcp.tools import McpTools, Tool

__all__ = ["McpTools", "Tool", "ToolFailed", "ToolServerError", "ToolServerLost", "ToolServerUnreachable"]
