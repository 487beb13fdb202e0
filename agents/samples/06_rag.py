"""Answers out of documents: a folder is read into passages, searched by a function, and cited.

Start the server first (localphi serve), then run this file. The documents are the samples' own README, and
whatever else lies in the folder that you name with --folder.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.contents import ChatMessageContent, FunctionCallContent, FunctionResultContent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments

from localphi_agents.plugins import Docs
from localphi_agents.rag import DocumentIndex, RagError
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTION = "Search my documents: which sample shows two agents in one chat?"


async def show(message: ChatMessageContent) -> None:
    for item in message.items:
        if isinstance(item, FunctionCallContent):
            print(f"     calls {item.function_name}({item.arguments})")
        elif isinstance(item, FunctionResultContent) and isinstance(item.result, list):
            print(f"     finds {'; '.join(found['source'] for found in item.result)}")


async def main(url: str, folder: str) -> None:
    with DocumentIndex(folder) as index:  # in memory; name a file to keep the passages
        report = await index.update()
        settings = PhiPromptExecutionSettings(temperature=0, max_tokens=200)
        agent = ChatCompletionAgent(
            service=PhiChatCompletion(base_url=url),
            plugins=[Docs(index, top=1)],
            arguments=KernelArguments(settings),
            function_choice_behavior=FunctionChoiceBehavior.Required(),  # it searches, then it answers
        )
        print(f"You: {QUESTION}")
        print(f"     reads {', '.join(report.added)}")
        async for response in agent.invoke(QUESTION, on_intermediate_message=show):
            print(f"Phi: {response}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    parser.add_argument("--folder", default=Path(__file__).parent, help="where the documents are")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.url, given.folder))
    except (ServiceResponseException, RagError, ValueError) as error:
        sys.exit(f"\n{error}")
