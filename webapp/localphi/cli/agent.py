"""localphi agent"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from localphi.cli.agent_docs import INSTRUCTIONS, PLUGIN, documents, sources_line, sources_of
from localphi.cli.agent_terminal import ask
from localphi.cli.conversing import converse
from localphi.cli.plugins import installed, named_plugins, quiet
from localphi.errors import LocalphiError

if TYPE_CHECKING:
    from semantic_kernel import Kernel

    from localphi_agents.client import LocalphiClient
    from localphi_agents.semantic_kernel.conversation import Conversation

_INTERRUPTED = 130  # as shells count a program that Ctrl-C ended
_DEFAULT_PLUGINS = ("time", "math", "units")


@click.command()
@click.argument("question", nargs=-1)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="time|math|units|files:FOLDER",
    help="Functions for the model; may be given again. [default: time, math and units]",
)
@click.option(
    "--mcp-server",
    "mcp_servers",
    multiple=True,
    metavar="COMMAND|URL",
    help="Tools of an MCP server instead of or beside plugins; may be given again.",
)
@click.option(
    "--docs",
    metavar="FOLDER",
    help="Search in the Markdown, text and PDF files of a folder; sources are shown.",
)
@click.option(
    "--embeddings",
    metavar="ID|FOLDER",
    help="With --docs: an embedding model of the store (localphi models search embedding), or its folder. "
    "[default: made of the demo model]",
)
@click.option("--mcp", is_flag=True, help="Be an MCP server: a tool that asks the agent, over stdio.")
@click.option(
    "--mcp-port",
    type=click.IntRange(0, 65535),
    help="Be an MCP server over HTTP, on this machine only, at this port; 0 for a free one.",
)
@click.option("--url", default="http://localhost:8000", show_default=True, help="Where the server is.")
@click.option("--here", is_flag=True, help="Load the model in this program instead of asking a server.")
@click.option(
    "--model", metavar="ID", help="Which model answers; with --here also a folder. [default: the server's]"
)
@click.option(
    "--key",
    envvar="LOCALPHI_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="Access key of the server, where it wants one.",
)
@click.option("--instructions", metavar="TEXT", help="How the agent is to answer.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), help="0 for greedy decoding. [default: the model's]"
)
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Longest answer. [default: what the context holds]"
)
def agent(
    *,
    question: tuple[str, ...],
    plugins: tuple[str, ...],
    mcp_servers: tuple[str, ...],
    docs: str | None,
    embeddings: str | None,
    mcp: bool,
    mcp_port: int | None,
    url: str,
    here: bool,
    model: str | None,
    key: str | None,
    instructions: str | None,
    temperature: float | None,
    max_tokens: int | None,
) -> None:
    """Chat with an agent that calls functions; with a QUESTION, answer it and leave.

    Asks a running server (localphi serve), or with --here a model of its own. Each call and its result is
    shown in a line.
    Inside: /new starts over, /quit (or Ctrl-D) leaves, Ctrl-C stops an answer.
    """
    if question and (mcp or mcp_port is not None):
        raise click.UsageError("An MCP server gets its questions from its clients; leave out QUESTION.")
    if embeddings is not None and docs is None:
        raise click.UsageError("--embeddings are for documents; name their folder with --docs.")
    quiet()
    recipe = _Recipe(
        plugins, mcp_servers, docs, embeddings, url, here, model, key, instructions, temperature, max_tokens
    )
    with installed("localphi agent"):
        if mcp or mcp_port is not None:
            _serve(recipe, mcp_port)
        else:
            _talk(recipe, " ".join(question))


@dataclass(frozen=True)
class _Recipe:
    """What the agent is made of."""

    plugins: tuple[str, ...]
    mcp_servers: tuple[str, ...]
    docs: str | None
    embeddings: str | None
    url: str
    here: bool
    model: str | None
    key: str | None
    instructions: str | None
    temperature: float | None
    max_tokens: int | None

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[tuple[Callable[[], Conversation], list[str]]]:
        """What starts a conversation, and the names of its functions. MCP servers are connected meanwhile."""
        from semantic_kernel import Kernel

        from localphi_agents.mcp import McpTools, ToolServerError
        from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
        from localphi_agents.semantic_kernel.conversation import Conversation
        from localphi_agents.semantic_kernel.mcp import mcp_plugin

        kernel = Kernel()
        others = bool(self.mcp_servers) or self.docs is not None
        for name, plugin in named_plugins(self.plugins or (() if others else _DEFAULT_PLUGINS)):
            kernel.add_plugin(plugin, name)
        async with AsyncExitStack() as stack:
            if self.docs is not None:
                docs = await stack.enter_async_context(documents(self.docs, self.embeddings))
                kernel.add_plugin(docs, PLUGIN)
            client = self._client(stack)
            service = PhiChatCompletion(client=client, ai_model_id=None if self.here else self.model)
            for target in self.mcp_servers:
                try:
                    tools = await stack.enter_async_context(McpTools(target))
                except ValueError as error:
                    raise LocalphiError(f"--mcp-server {target!r}: {error}") from error
                except ToolServerError as error:
                    raise LocalphiError(str(error)) from error
                kernel.add_plugin(mcp_plugin(tools, _free_name(kernel, tools.name)))
            settings = PhiPromptExecutionSettings(temperature=self.temperature, max_tokens=self.max_tokens)
            functions = kernel.get_full_list_of_function_metadata()
            instructions = self.instructions or (INSTRUCTIONS if self.docs is not None else None)
            yield (
                lambda: Conversation(service, kernel, instructions=instructions, settings=settings),
                [function.fully_qualified_name for function in functions],
            )

    def _client(self, stack: AsyncExitStack) -> LocalphiClient:
        """Of a server, or with a model of this program for as long as the stack lasts."""
        from localphi_agents import ModelUnavailable
        from localphi_agents.client import LocalphiClient
        from localphi_agents.in_process import InProcessClient

        if self.here:
            try:
                return stack.enter_context(InProcessClient(self.model))
            except ModelUnavailable as error:
                raise LocalphiError(str(error)) from error
        try:
            return LocalphiClient(self.url, api_key=self.key)
        except ValueError as error:
            raise LocalphiError(f"{'--url' if 'base_url' in str(error) else '--key'}: {error}") from error


def _talk(recipe: _Recipe, question: str) -> None:
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(recipe.agent()) as made:
        conversation = made[0]()
        if not question:
            click.echo(f"Functions: {', '.join(made[1])}")
            click.echo("/new starts over, /quit leaves, Ctrl-C stops an answer.\n")
            converse(lambda text: ask(portal, conversation, text), conversation.start_over)
        elif not ask(portal, conversation, question):
            raise SystemExit(_INTERRUPTED)


def _serve(recipe: _Recipe, port: int | None) -> None:
    """Until the client leaves (stdio) or Ctrl-C (HTTP)."""
    from localphi_agents.mcp.server import agent_server, serve_http, serve_stdio

    async def run() -> None:
        async with recipe.agent() as (start, functions):
            can = ", ".join(functions) or "nothing"
            server = agent_server(
                _answers(start),
                description="Ask a language model on this computer. It remembers nothing of earlier "
                f"questions. Functions it can call: {can}.",
            )
            if port is None:
                # The thread that reads our input cannot be interrupted; there is nothing to save, either.
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                await serve_stdio(server)
            else:
                await serve_http(server, port, ready)

    def ready(url: str) -> None:
        click.echo(f"localphi agent is an MCP server at {url}")
        click.echo("Nothing leaves this machine. Stop with Ctrl-C.")

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
    except OSError as error:
        if port is None:
            raise
        why = os.strerror(error.errno or 0)
        raise LocalphiError(
            f"Port {port} cannot be served: {why}. Choose another with --mcp-port."
        ) from error


def _answers(start: Callable[[], Conversation]) -> Callable[[str], Awaitable[str]]:
    """Each question in a conversation of its own; the sources come behind the answer."""
    from localphi_agents.semantic_kernel.conversation import answer_once

    async def answer(question: str) -> str:
        conversation = start()
        text = await answer_once(conversation, question)
        found = _found(conversation)
        return f"{text}\n\n{sources_line(found)}" if found else text

    return answer


def _found(conversation: Conversation) -> list[str]:
    """The sources that were found for its answers."""
    from semantic_kernel.contents import FunctionResultContent

    from localphi_agents.semantic_kernel.messages import result_text

    results = (item for message in conversation.history.messages for item in message.items)
    return [
        source
        for item in results
        if isinstance(item, FunctionResultContent)
        for source in sources_of(item.name or item.function_name, result_text(item.result))
    ]


def _free_name(kernel: Kernel, wanted: str) -> str:
    """A name for a plugin, of what may be in one."""
    name = re.sub(r"[^0-9A-Za-z_]+", "_", wanted).strip("_")[:24] or "mcp"
    number, free = 2, name
    while free in kernel.plugins:
        free = f"{name}_{number}"
        number += 1
    return free
