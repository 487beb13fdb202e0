"""Two calls in one answer, run at the same time, and every step of the way shown.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Annotated

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.contents import ChatMessageContent, FunctionCallContent, FunctionResultContent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments, kernel_function

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTION = "What is the weather in Rome and Oslo?"
REPORTS = {"Rome": {"temperature": 21, "condition": "sunny"}, "Oslo": {"temperature": 3, "condition": "snow"}}


class Weather:
    @kernel_function(description="Get the current weather in a city.")
    async def get_weather(self, city: Annotated[str, "Name of the city"]) -> dict[str, object]:
        await asyncio.sleep(0.1)  # as long as a request to a weather service may take
        return REPORTS.get(city, {"error": "unknown city"})


async def show(message: ChatMessageContent) -> None:
    for item in message.items:
        if isinstance(item, FunctionCallContent):
            print(f"     calls {item.function_name}({item.arguments})")
        elif isinstance(item, FunctionResultContent):
            print(f"     gets  {item.result}")


async def main(url: str) -> None:
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=url),
        plugins=[Weather()],
        arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=300)),
    )
    print(f"You: {QUESTION}")
    async for response in agent.invoke(QUESTION, on_intermediate_message=show):
        print(f"Phi: {response}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
