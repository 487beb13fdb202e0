"""Two agents in one chat, in turn: one writes, the other reviews, and the first writes again.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from typing import Any

from semantic_kernel.agents import ChatCompletionAgent, GroupChatOrchestration, RoundRobinGroupChatManager
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

TASK = "Say in one sentence what localphi is."
ROLES = {
    "Writer": "You write one short sentence.",
    "Reviewer": "You say in one short sentence how to make the last sentence better.",
}


def show(message: Any) -> None:  # a ChatMessageContent
    print(f"{message.name}: {message.content}")


async def main(url: str) -> None:
    # One service for all: they take turns here, but could ask at the same time as well.
    phi = PhiChatCompletion(base_url=url)
    settings = KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=100))
    members: list[Any] = [
        ChatCompletionAgent(service=phi, arguments=settings, name=name, description=role, instructions=role)
        for name, role in ROLES.items()
    ]
    turns = RoundRobinGroupChatManager(max_rounds=3)  # Writer, Reviewer, Writer
    chat = GroupChatOrchestration(members, turns, agent_response_callback=show)

    print(f"You: {TASK}")
    logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)  # an error is told at the end, once
    runtime = InProcessRuntime()  # carries the messages between the agents
    runtime.start()
    try:
        await (await chat.invoke(TASK, runtime)).get()
    finally:
        await runtime.stop_when_idle()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
