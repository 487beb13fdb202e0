"""Answers out of documents: a folder is read into passages, searched by a function, and cited.

Start the server first (localphi serve), then run this file; --folder names other documents than the samples'
README. An embedding model finds more: localphi models pull all-minilm-l6-v2; then name it with
--embeddings.
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
from localphi_agents.rag import DocumentIndex, OnnxTextEmbedding, RagError
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTION = "Search my documents: which sample shows two agents in one chat?"


async def show(message: ChatMessageContent) -> None:
    for item in message.items:
        if isinstance(item, FunctionCallContent):
            print(f"     calls {item.function_name}({item.arguments})")
        elif isinstance(item, FunctionResultContent) and isinstance(item.result, list):
            print(f"     finds {'; '.join(found['source'] for found in item.result)}")


async def main(given: argparse.Namespace) -> None:
    embedding = OnnxTextEmbedding(given.embeddings) if given.embeddings else None
    with DocumentIndex(given.folder, embedding=embedding) as index:  # in memory; name a file to keep it
        print(f"You: {QUESTION}")
        print(f"     reads {', '.join((await index.update()).added)}")
        agent = ChatCompletionAgent(
            service=PhiChatCompletion(base_url=given.url),
            plugins=[Docs(index, top=1)],  # one passage: a small model is lost in more
            arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=200)),
            function_choice_behavior=FunctionChoiceBehavior.Required(),  # it searches, then it answers
        )
        async for response in agent.invoke(QUESTION, on_intermediate_message=show):
            print(f"Phi: {response}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    parser.add_argument("--folder", default=Path(__file__).parent, help="where the documents are")
    parser.add_argument("--embeddings", metavar="ID", help="embedding model; default: made of the demo model")
    try:
        asyncio.run(main(parser.parse_args()))
    except (ServiceResponseException, RagError, ValueError) as error:
        sys.exit(f"\n{error}")
