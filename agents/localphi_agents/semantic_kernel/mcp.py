"""Tools of an MCP server as a plugin.

    async with McpTools("python server.py") as server:
        agent = ChatCompletionAgent(service=PhiChatCompletion(), plugins=[mcp_plugin(server, "shop")])

Semantic Kernel 1.45 has MCP plugins of its own, and they work with PhiChatCompletion, too. This one is for
what they cannot do. They wait for ever for a server that cannot be reached. They fail for names with a dot
and for parameters with a dash or called `kernel`, `settings` or `arguments`. They lose the definitions in
schemas and all but the first page of tools. And here, a result has a bound.
"""

from __future__ import annotations

from typing import Any

from semantic_kernel.functions import KernelFunctionFromMethod, KernelPlugin, kernel_function
from semantic_kernel.functions.kernel_parameter_metadata import KernelParameterMetadata

from localphi_agents.mcp.names import MAX_NAME, fitting_names
from localphi_agents.mcp.tools import McpTools, Tool

_TAKEN = frozenset(("arguments", "execution_settings", "kernel", "self", "service", "settings"))


def mcp_plugin(server: McpTools, name: str) -> KernelPlugin:
    """The server's tools as functions, for as long as it is connected.

    name: what the model reads before each function; letters, digits and _.
    A tool that fails or a server that went away is told to the model as the function's result.
    """
    room = MAX_NAME - len(name) - 1  # the function's name has the plugin's before it
    names = fitting_names((tool.name for tool in server.tools), "[^0-9A-Za-z_-]", room)
    functions = [
        _function(server, tool, names[tool.name], name) for tool in server.tools if tool.name in names
    ]
    return KernelPlugin(name=name, functions=functions)


def _function(server: McpTools, tool: Tool, local_name: str, plugin: str) -> KernelFunctionFromMethod:
    properties: dict[str, Any] = tool.schema.get("properties", {})
    required = tool.schema.get("required", [])
    names = fitting_names(properties, "[^0-9A-Za-z_]", taken=_TAKEN)
    back = {local: name for name, local in names.items()}

    @kernel_function(name=local_name, description=tool.description)
    async def call(**arguments: Any) -> str:
        return await server.call(tool.name, {back[local]: value for local, value in arguments.items()})

    parameters = [
        KernelParameterMetadata(
            name=names[name],
            description=schema.get("description") if isinstance(schema, dict) else None,
            is_required=name in required,
            type="Any",
            schema_data=schema if isinstance(schema, dict) else {},
        )
        for name, schema in properties.items()
    ]
    return KernelFunctionFromMethod(call, plugin_name=plugin, parameters=parameters)
