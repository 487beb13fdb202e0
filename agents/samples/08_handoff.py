"""An agent that hands over to another one: to hand over is a function, which the model may call.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from functools import partial
from typing import Any, Literal

from semantic_kernel.agents import ChatCompletionAgent, HandoffOrchestration, OrchestrationHandoffs
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments, kernel_function

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

TASK = "What is the weather in Oslo?"


class Weather:
    @kernel_function(description="Get the current weather in a city.")
    def get_weather(self, city: Literal["Oslo", "Rome"]) -> str:
        return f"{city}: snow, 3 degrees"


def show(message: Any) -> None:  # a ChatMessageContent
    print(f"{message.name}: {message.content or '(calls a function)'}")


async def main(url: str) -> None:
    settings = KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=200))
    agent = partial(ChatCompletionAgent, service=PhiChatCompletion(base_url=url), arguments=settings)
    front = agent(name="Front", description="Finds who can help.")
    desk = agent(name="Desk", description="Knows the weather.", plugins=[Weather()])
    # Front gets a function that hands over to Desk; each gets one that ends the task.
    handoffs = OrchestrationHandoffs().add(front, desk, "Transfer to this agent for weather.")
    handoff = HandoffOrchestration([front, desk], handoffs, agent_response_callback=show)
    print(f"You: {TASK}")
    logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)  # an error is told at the end, once
    runtime = InProcessRuntime()  # carries the messages between the agents
    runtime.start()
    try:
        print(f"End: {await (await handoff.invoke(TASK, runtime)).get()}")
    finally:
        await runtime.stop_when_idle()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
