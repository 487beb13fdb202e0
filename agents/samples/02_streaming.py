"""An answer as it comes, when its first word was there, and how it ended; then one that is left early.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import aclosing

from semantic_kernel.contents import ChatHistory
from semantic_kernel.exceptions import ServiceResponseException

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

QUESTION = "What is localphi?"


async def main(url: str) -> None:
    # Without an agent: the service, a history, and settings.
    service = PhiChatCompletion(base_url=url)
    settings = PhiPromptExecutionSettings(temperature=0, max_tokens=200)
    history = ChatHistory()
    history.add_user_message(QUESTION)

    print(f"You: {QUESTION}")
    print("Phi: ", end="", flush=True)
    began = time.perf_counter()
    first_word_s = None
    async for [piece] in service.get_streaming_chat_message_contents(history, settings):
        first_word_s = first_word_s or time.perf_counter() - began
        print(piece.content, end="", flush=True)

    # The last piece has no text, but says how the answer ended.
    usage = piece.metadata["usage"]
    reason = piece.finish_reason.value if piece.finish_reason else "nothing"
    print(f"\n({usage.completion_tokens} tokens, the first after {first_word_s:.2f} s, ended by {reason})")

    # Who stops reading closes the connection, and the server stops working.
    print("Phi: ", end="", flush=True)
    async with aclosing(service.get_streaming_chat_message_contents(history, settings)) as pieces:
        print((await anext(pieces))[0].content, end="")
    print(" (that is enough)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url", default="http://localhost:8000", help="where the server is [default: %(default)s]"
    )
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
