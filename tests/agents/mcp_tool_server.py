"""An MCP server with the tools that make trouble. Run as a program, it speaks over stdio."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "near": {"$ref": "#/$defs/Place"}},
    "required": ["city"],
}
ROUTE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "to": {"$ref": "#/$defs/Place", "description": "Where to go"},
        "max-stops": {"type": "integer", "minimum": 0, "maximum": 9},
        "kernel": {"oneOf": [{"const": "a"}, {"const": "b"}]},
        "settings": {"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": True, "maxItems": 2},
    },
    "required": ["to", "max-stops", "kernel"],
    "not": {"required": ["nothing"]},
    "$defs": {"Place": PLACE},
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
PAGES = [
    {
        "add": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
        "maps.route": ROUTE,
        "fail": NOTHING,
        "big": NOTHING,
    },
    {"image": NOTHING, "die": NOTHING, "wait": NOTHING, "x" * 100: NOTHING},
]


def tool_server() -> Server[Any, Any]:
    server: Server[Any, Any] = Server("troublesome")

    async def list_tools(request: types.ListToolsRequest) -> types.ListToolsResult:
        page = int(request.params.cursor) if request.params and request.params.cursor else 0
        tools = [
            types.Tool(name=name, description=f"Do {name[:10]}.", inputSchema=schema)
            for name, schema in PAGES[page].items()
        ]
        return types.ListToolsResult(tools=tools, nextCursor="1" if page == 0 else None)

    async def call_tool(name: str, arguments: dict[str, Any]) -> list[types.ContentBlock]:
        text = ""
        match name:
            case "add":
                text = str(arguments["a"] + arguments["b"])
            case "maps.route":
                text = json.dumps(arguments)
            case "fail":
                raise RuntimeError("no luck today")
            case "big":
                text = "word " * 200_000
            case "image":
                return [
                    types.TextContent(type="text", text="A picture:"),
                    types.ImageContent(type="image", data="aGk=", mimeType="image/png"),
                ]
            case "die":
                os._exit(3)
            case "wait":
                await asyncio.sleep(60)
            case _:
                text = name[:3]
        return [types.TextContent(type="text", text=text)]

    server.list_tools()(list_tools)  # type: ignore[no-untyped-call]
    server.call_tool(validate_input=False)(call_tool)
    return server


async def main() -> None:
    server = tool_server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
