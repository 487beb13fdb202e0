"""Functions for Agent Framework's agents: our plugins, and tools of MCP servers."""

from __future__ import annotations

import inspect
from typing import Any

from agent_framework import FunctionTool

from localphi_agents.mcp.names import fitting_names
from localphi_agents.mcp.tools import McpTools, Tool


def plugin_tools(plugin: object) -> list[FunctionTool]:
    """The functions of a plugin of `localphi_agents.plugins`, with the bounds on what a model may write.

    Of any other object with Semantic Kernel's `@kernel_function`, too.
    """
    methods = (method for _, method in inspect.getmembers(plugin, inspect.ismethod))
    return [_plugin_tool(method) for method in methods if hasattr(method, "__kernel_function__")]


def mcp_tools(server: McpTools) -> list[FunctionTool]:
    """The server's tools, for as long as it is connected.

    Agent Framework's own MCP tools want version 2 of the package mcp, and Semantic Kernel a version before.
    """
    names = fitting_names((tool.name for tool in server.tools), "[^0-9A-Za-z_-]")
    return [_mcp_tool(server, tool, names[tool.name]) for tool in server.tools]


def _plugin_tool(method: Any) -> FunctionTool:
    made = FunctionTool(
        name=method.__kernel_function_name__,
        description=method.__kernel_function_description__ or "",
        func=method,
    )
    properties = made.parameters().get("properties", {})
    for parameter in method.__kernel_function_parameters__:
        bounds: dict[str, Any] = parameter.get("schema_data") or {}
        properties.get(parameter["name"], {}).update(bounds)
    return made


def _mcp_tool(server: McpTools, tool: Tool, name: str) -> FunctionTool:
    async def call(**arguments: Any) -> str:
        return await server.call(tool.name, arguments)

    return FunctionTool(name=name, description=tool.description, func=call, input_model=tool.schema)
