"""An agent on a local Phi: two turns of one conversation, printed as they are written.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from semantic_kernel.agents import AgentThread, ChatCompletionAgent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTIONS = ("What is localphi?", "How can I use it?")


async def main(url: str) -> None:
    # An agent is a model with instructions. It asks the server's default model.
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=url),
        name="Phi",
        instructions="Answer in one short sentence.",
        arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=200)),
    )

    # The thread is the memory: it starts with the first question, and each answer is added to it.
    thread: AgentThread | None = None
    for question in QUESTIONS:
        print(f"You: {question}")
        print("Phi: ", end="", flush=True)
        async for piece in agent.invoke_stream(question, thread=thread):
            print(piece.message.content, end="", flush=True)
            thread = piece.thread
        print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url", default="http://localhost:8000", help="where the server is [default: %(default)s]"
    )
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
