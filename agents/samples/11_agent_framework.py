"""Microsoft Agent Framework on the same server: a function, a plugin, and an answer as it comes.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Annotated

from agent_framework import Agent
from agent_framework.exceptions import ChatClientException

from localphi_agents.agent_framework import PhiChatClient, plugin_tools
from localphi_agents.plugins import Math

QUESTION = "What is the weather in Oslo?"


def get_weather(city: Annotated[str, "Name of the city"]) -> dict[str, str | int]:
    """Get the current weather in a city."""
    print(f"     get_weather(city={city!r})")
    return {"temperature": 3, "condition": "snow"}


async def main(url: str) -> None:
    agent = Agent(
        PhiChatClient(base_url=url),
        tools=[get_weather, *plugin_tools(Math())],
        default_options={"temperature": 0, "max_tokens": 200},
    )
    print(f"You: {QUESTION}")
    stream = agent.run(QUESTION, stream=True)
    answer = "".join([update.text async for update in stream])
    print(f"Phi: {answer}")
    usage = (await stream.get_final_response()).usage_details or {}
    print(f"     ({usage.get('output_token_count')} tokens)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://localhost:8000", help="where the server is")
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ChatClientException, ValueError) as error:
        sys.exit(f"\n{error}")
