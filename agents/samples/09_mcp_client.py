"""An agent that calls the tools of an MCP server; here mcp_weather_server.py, which is started for it.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.contents import ChatMessageContent, FunctionCallContent, FunctionResultContent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments

from localphi_agents.mcp import McpTools, ToolServerError
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
from localphi_agents.semantic_kernel.mcp import mcp_plugin

QUESTION = "What is the weather in Oslo?"
COMMAND = [sys.executable, str(Path(__file__).with_name("mcp_weather_server.py"))]


async def show(message: ChatMessageContent) -> None:
    for item in message.items:
        if isinstance(item, FunctionCallContent):
            print(f"     calls {item.function_name}({item.arguments})")
        elif isinstance(item, FunctionResultContent):
            print(f"     gets  {item.result}")


async def main(url: str) -> None:
    print(f"You: {QUESTION}")
    # A command, or the URL of a server that is running: McpTools("http://localhost:9000/mcp")
    async with McpTools(COMMAND) as server:
        print(f"     tools {', '.join(tool.name for tool in server.tools)}")
        agent = ChatCompletionAgent(
            service=PhiChatCompletion(base_url=url),
            plugins=[mcp_plugin(server, "weather")],
            arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=200)),
        )
        async for response in agent.invoke(QUESTION, on_intermediate_message=show):
            print(f"Phi: {response}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ToolServerError, ValueError) as error:
        sys.exit(f"\n{error}")
