"""The tools of one MCP server.

async with McpTools("npx some-mcp-server") as server:
    for tool in server.tools:
        print(tool.name, tool.description)
    print(await server.call("search", {"text": "phi"}))
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, TextIO

import anyio
import httpx
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from localphi_agents.mcp.errors import ToolFailed, ToolServerLost, ToolServerUnreachable
from localphi_agents.mcp.schemas import loosened

_MAX_TOOLS = 500
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CLOSED = -32000  # how the protocol's library numbers an answer that will not come any more
_TIMED_OUT = 408


@dataclass(frozen=True)
class Tool:
    """schema: JSON Schema of its arguments, an object; see `schemas`."""

    name: str
    description: str
    schema: dict[str, Any]


class McpTools:
    """Connected while its `async with` lasts; the block may be left in another task than it was entered in.

    target: a command, started as a process of its own and ended with the block; or a URL of streamable HTTP.
    start_s: how long the server may take until it has told its tools. call_s: how long each call may take.
    max_characters: longer results are cut, and end with a note that says so.

    Once connected, `name` is what the server calls itself, and `tools` are its tools at that time.

    Entering raises ToolServerUnreachable, and ValueError for a target that is neither.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        start_s: float = 60.0,
        call_s: float = 300.0,
        max_characters: int = 16_000,
    ) -> None:
        self._url, self._command = _read_target(target)
        self._name = self._url or self._command[0]
        self.name = ""
        self._start_s, self._call_s = start_s, call_s
        self._max_characters = max_characters
        self._session: ClientSession | None = None
        self.tools: tuple[Tool, ...] = ()

    async def __aenter__(self) -> McpTools:
        # The protocol's library wants its connection opened and closed in one task, and cancels that task
        # when the connection breaks. So it gets one of its own.
        self._closing, self._lost = asyncio.Event(), asyncio.Event()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._connection(ready))
        try:
            await asyncio.wait_for(asyncio.shield(ready), self._start_s)
        except TimeoutError as error:
            raise ToolServerUnreachable(
                f"The MCP server {self._name} did not answer within {self._start_s:.0f} s."
            ) from error
        finally:
            if self._session is None:
                self._task.cancel()
                await asyncio.wait({self._task})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await asyncio.wait({self._task})

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What the tool gives, as text. Raises ToolFailed and ToolServerLost."""
        if self._session is None:
            raise self._gone()
        asking = asyncio.create_task(
            self._session.call_tool(name, dict(arguments), timedelta(seconds=self._call_s))
        )
        losing = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({asking, losing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            losing.cancel()
            is_over = not asking.cancel()
        if not is_over or asking.cancelled():
            raise self._gone()
        text = self._text(name, asking)
        if len(text) <= self._max_characters:
            return text
        return f"{text[: self._max_characters]}\n(cut here; there are {len(text)} characters)"

    def _text(self, name: str, asking: asyncio.Task[types.CallToolResult]) -> str:
        try:
            result = asking.result()
        except McpError as error:
            if error.error.code == _CLOSED:
                raise self._gone() from error
            if error.error.code == _TIMED_OUT:
                raise ToolFailed(f"{name} did not answer within {self._call_s:.0f} s.") from error
            raise ToolFailed(error.error.message) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise self._gone() from error
        except Exception as error:  # of the transport, or an answer that is no answer
            raise ToolFailed(
                f"The MCP server {self._name} answered {name} in a wrong way: {error}"
            ) from error
        text = "\n".join(_shown(content) for content in result.content)
        if result.isError:
            raise ToolFailed(text or f"{name} failed.")
        return text

    def _gone(self) -> ToolServerLost:
        return ToolServerLost(f"The MCP server {self._name} is not there any more.")

    async def _connection(self, ready: asyncio.Future[None]) -> None:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            try:
                async with AsyncExitStack() as stack:
                    session = await self._opened(stack, log)
                    self.name = (await session.initialize()).serverInfo.name
                    self.tools = await _listed(session)
                    self._session = session
                    ready.set_result(None)
                    await self._closing.wait()
            except Exception as error:
                if not ready.done():
                    ready.set_exception(self._unreachable(error, log))
            finally:
                self._session = None
                self._lost.set()

    async def _opened(self, stack: AsyncExitStack, log: TextIO) -> ClientSession:
        if self._url:
            host = httpx.URL(self._url).host
            http = httpx.AsyncClient(
                timeout=httpx.Timeout(30.0, read=self._call_s),
                trust_env=host not in _LOOPBACK,  # a proxy must not get between two local programs
            )
            await stack.enter_async_context(http)
            read, write, _ = await stack.enter_async_context(
                streamable_http_client(self._url, http_client=http)
            )
        else:
            program, *arguments = self._command
            process = StdioServerParameters(command=program, args=arguments, encoding_error_handler="replace")
            read, write = await stack.enter_async_context(stdio_client(process, errlog=log))
        return await stack.enter_async_context(
            ClientSession(read, write, client_info=types.Implementation(name="localphi", version="1"))
        )

    def _unreachable(self, error: Exception, log: TextIO) -> ToolServerUnreachable:
        log.seek(0)
        last = next((line.strip() for line in reversed(log.read()[-4000:].splitlines()) if line.strip()), "")
        if self._url:
            return ToolServerUnreachable(
                f"No MCP server answers at {self._url}: {_innermost(error)}. Its path often is /mcp."
            )
        if isinstance(error, OSError):
            return ToolServerUnreachable(
                f"The MCP server {self._name} cannot be started: {error.strerror or error}."
            )
        return ToolServerUnreachable(
            f"The MCP server {self._name} ended before it was ready: {last or _innermost(error)}"
        )


def _read_target(target: str | Sequence[str]) -> tuple[str, list[str]]:
    """A URL or the words of a command."""
    if isinstance(target, str):
        if target.startswith(("http://", "https://")):
            if not httpx.URL(target).host:
                raise ValueError(
                    f"A URL of an MCP server is like http://localhost:8765/mcp, but is {target}."
                )
            return target, []
        target = shlex.split(target, posix=sys.platform != "win32")
    if not target:
        raise ValueError("The command of an MCP server is empty.")
    return "", list(target)


async def _listed(session: ClientSession) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    page: types.PaginatedRequestParams | None = None
    while len(tools) < _MAX_TOOLS:
        try:
            listed = await session.list_tools(params=page)
        except McpError:  # it has none
            break
        tools += [
            Tool(tool.name, tool.description or "", {"type": "object", **loosened(tool.inputSchema)})
            for tool in listed.tools
        ]
        if not listed.nextCursor:
            break
        page = types.PaginatedRequestParams(cursor=listed.nextCursor)
    return tuple(tools[:_MAX_TOOLS])


def _shown(content: types.ContentBlock) -> str:
    match content:
        case types.TextContent():
            return content.text
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.ResourceLink():
            return str(content.uri)
        case types.ImageContent() | types.AudioContent():
            return f"({content.mimeType}, which this model cannot read)"
    return "(data that this model cannot read)"


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answers with HTTP status {error.response.status_code}"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
