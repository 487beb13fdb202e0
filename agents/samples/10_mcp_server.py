"""An agent as an MCP server over HTTP, and a client that asks it. Without code: localphi agent --mcp

Start the server first (localphi serve), then run this file. With --stay, other programs can ask it, too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.functions import KernelArguments

from localphi_agents.mcp import McpTools, ToolServerError
from localphi_agents.mcp.server import agent_server, serve_http
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTION = "What is localphi?"


async def main(url: str, stay: bool) -> None:
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=url),
        arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=100)),
    )

    async def answer(question: str) -> str:
        return str(await agent.get_response(question))

    # Port 0 is any free one; serve_http tells the address as soon as it listens there.
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_http(agent_server(answer), 0, address.set_result))
    try:
        async with McpTools(await address) as client:
            print(f"You: {QUESTION}")
            print(f"     asks {client.tools[0].name} at {await address}")
            print(f"Phi: {await client.call(client.tools[0].name, {'question': QUESTION})}")
        if stay:
            await serving
    finally:
        serving.cancel()
        await asyncio.wait({serving})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    parser.add_argument("--stay", action="store_true", help="serve until Ctrl-C")
    try:
        asyncio.run(main(**vars(parser.parse_args())))
    except (ToolServerError, ValueError) as error:
        sys.exit(f"\n{error}")
