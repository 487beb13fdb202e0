"""Plugins and documents as tools that the server runs for its page (`localphi serve --plugin`, `--docs`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from localphi.chat import ServerTool, Tool
from localphi.cli.agent_docs import PLUGIN, documents
from localphi.cli.plugins import installed, named_plugins, quiet
from localphi.errors import ToolFailed

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from semantic_kernel import Kernel

_MAX_CHARS = 16_000  # of a result; a model reads no more of it


@contextmanager
def server_tools(
    plugins: tuple[str, ...], docs: str | None, embeddings: str | None
) -> Iterator[tuple[ServerTool, ...]]:
    """Usable from any thread until the block ends. Raises LocalphiError for what cannot be had."""
    if not plugins and docs is None:
        yield ()
        return
    quiet()
    with ExitStack() as stack:
        with installed("localphi serve --plugin"):
            from anyio.from_thread import start_blocking_portal
            from semantic_kernel import Kernel

            kernel = Kernel()
            for name, plugin in named_plugins(plugins):
                kernel.add_plugin(plugin, name)
            portal = stack.enter_context(start_blocking_portal())
            if docs is not None:
                opened = portal.wrap_async_context_manager(documents(docs, embeddings))
                kernel.add_plugin(stack.enter_context(opened), PLUGIN)
        yield tuple(_tools(kernel, portal))


def _tools(kernel: Kernel, portal: BlockingPortal) -> Iterator[ServerTool]:
    from localphi_agents.semantic_kernel.functions import function_tool

    for metadata in kernel.get_full_list_of_function_metadata():
        function = function_tool(metadata)["function"]
        name = str(function["name"])
        tool = Tool(name, str(function.get("description") or ""), json.dumps(function["parameters"]))
        yield ServerTool(tool, partial(_run, portal, kernel, name))


def _run(portal: BlockingPortal, kernel: Kernel, name: str, arguments: Mapping[str, Any]) -> str:
    """Raises ToolFailed with a sentence for the model."""
    from localphi_agents.semantic_kernel.messages import result_text

    try:
        result = result_text(portal.call(_invoke, kernel, name, arguments))
    except Exception as error:  # whatever a function raises is its answer
        said = str(error).splitlines() or [f"{name} failed: {type(error).__name__}."]
        raise ToolFailed(said[0]) from error
    cut = len(result) - _MAX_CHARS
    return result if cut <= 0 else f"{result[:_MAX_CHARS]}\n(cut: {cut} characters more)"


async def _invoke(kernel: Kernel, name: str, arguments: Mapping[str, Any]) -> Any:
    from semantic_kernel.functions import KernelArguments

    given = KernelArguments()
    given.update(arguments)
    function = kernel.get_function_from_fully_qualified_function_name(name)
    result = await function.invoke(kernel, given)
    return None if result is None else result.value
