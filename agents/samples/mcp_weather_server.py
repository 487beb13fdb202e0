"""A small MCP server, which 09_mcp_client.py starts. It speaks over its input and output."""

from __future__ import annotations

from typing import Literal

from mcp.server.fastmcp import FastMCP

server = FastMCP("weather")


@server.tool(description="Get the current weather in a city.")
def get_weather(city: Literal["Oslo", "Rome"]) -> str:
    return f"{city}: snow, 3 degrees"


if __name__ == "__main__":
    server.run()
