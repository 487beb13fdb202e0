"""An answer as a Python object: the server's grammar lets nothing through that does not fit its type.

Start the server first (localphi serve), then run this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from pydantic import BaseModel, Field
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import KernelArguments

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

TEXT = "Ada Lovelace from London ordered 3 of the desk lamp"


class Order(BaseModel):
    # Limits keep a small model short: it cannot write more than fits.
    customer: str = Field(max_length=40)
    city: str = Field(max_length=40)
    quantity: int = Field(ge=1, le=99)
    product: str = Field(max_length=40)


async def main(url: str) -> None:
    settings = PhiPromptExecutionSettings(temperature=0, max_tokens=300, response_format=Order)
    agent = ChatCompletionAgent(service=PhiChatCompletion(base_url=url), arguments=KernelArguments(settings))
    print(f"You: {TEXT}")
    response = await agent.get_response(TEXT)
    print(f"Phi: {response}")
    order = Order.model_validate_json(str(response))
    for name, value in order:
        print(f"     {name} = {value!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url", default="http://localhost:8000", help="where the server is [default: %(default)s]"
    )
    try:
        asyncio.run(main(parser.parse_args().url))
    except (ServiceResponseException, ValueError) as error:
        sys.exit(f"\n{error}")
