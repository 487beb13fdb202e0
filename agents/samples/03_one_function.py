"""An agent that calls a Python function and answers with what it returned.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Annotated

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments, kernel_function

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTION = "What is the weather in Oslo?"


class Weather:
    # The model reads the description and the parameters, and decides. What is returned is sent to it as JSON.
    @kernel_function(description="Get the current weather in a city.")
    def get_weather(self, city: Annotated[str, "Name of the city"]) -> dict[str, str | int]:
        print(f"     get_weather(city={city!r})")
        return {"temperature": 3, "condition": "snow"}


async def main(url: str) -> None:
    # Agents let the model choose (FunctionChoiceBehavior.Auto). Required() insists on a call, and the
    # server's grammar keeps its arguments within the function's parameters either way.
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=url),
        plugins=[Weather()],
        arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=200)),
    )
    print(f"You: {QUESTION}")
    response = await agent.get_response(QUESTION)
    print(f"Phi: {response}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url", default="http://localhost:8000", help="where the server is [default: %(default)s]"
    )
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
