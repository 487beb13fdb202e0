"""An agent as an MCP server: one tool, which asks it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import Route

_HOST = "127.0.0.1"
_STOP_S = 2


def agent_server(
    answer: Callable[[str], Awaitable[str]],
    *,
    tool: str = "ask_phi",
    description: str = "Ask a language model on this computer. It remembers nothing of earlier questions.",
) -> Server[Any, Any]:
    """A server with one tool, `tool(question)`. What `answer` raises is told to the caller by its words."""
    server: Server[Any, Any] = Server("localphi")
    schema = {
        "type": "object",
        "properties": {"question": {"type": "string", "description": "The question"}},
        "required": ["question"],
        "additionalProperties": False,
    }

    async def list_tools() -> list[types.Tool]:
        return [types.Tool(name=tool, description=description, inputSchema=schema)]

    async def call_tool(name: str, arguments: dict[str, Any]) -> list[types.ContentBlock]:
        if name != tool:
            raise ValueError(f"There is no tool {name!r}, only {tool!r}.")
        return [types.TextContent(type="text", text=await answer(arguments["question"]))]

    server.list_tools()(list_tools)  # type: ignore[no-untyped-call]
    server.call_tool()(call_tool)
    return server


async def serve_stdio(server: Server[Any, Any]) -> None:
    """Serve the program that started this one, until it closes our input. Nothing else may be printed."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(server: Server[Any, Any], port: int, ready: Callable[[str], None]) -> None:
    """Serve programs on this machine over streamable HTTP, until Ctrl-C or until the task is cancelled.

    port: 0 takes a free one. ready: is told the URL. Raises OSError when the port is taken.
    """
    # The library logs a traceback each time a client leaves (mcp 1.30).
    logging.getLogger("mcp.server.streamable_http").setLevel(logging.CRITICAL)
    with socket.create_server((_HOST, port)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            http_app(server, port), log_config=None, lifespan="on", timeout_graceful_shutdown=_STOP_S
        )
        http = uvicorn.Server(config)
        serving = asyncio.ensure_future(http.serve(sockets=[listener]))
        ready(f"http://{_HOST}:{port}/mcp")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            http.should_exit = True
            await serving
            raise


def http_app(server: Server[Any, Any], port: int) -> Starlette:
    """The ASGI application at /mcp. Pages in a browser cannot use it: foreign Host and Origin are refused."""
    names = [f"{name}:{port}" for name in (_HOST, "localhost")]
    sessions = StreamableHTTPSessionManager(
        server,
        security_settings=TransportSecuritySettings(
            allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]
        ),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with sessions.run():
            yield

    return Starlette(routes=[Route("/mcp", endpoint=sessions.asgi_app)], lifespan=lifespan)
