"""LiteLLM against a server of ours: python litellm_checks.py <url>. Ends quietly, or with what was wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

MODEL = "openai/localphi-demo"  # LiteLLM's way to say: OpenAI's API, somewhere else
QUESTION = [{"role": "user", "content": "What is localphi?"}]
WEATHER = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
    },
}
ORDER = {
    "type": "object",
    "properties": {"dish": {"enum": ["soup", "salad"]}, "number": {"type": "integer"}},
    "required": ["dish", "number"],
    "additionalProperties": False,
}


def check_chat(where: dict[str, Any]) -> None:
    whole = litellm.completion(messages=QUESTION, **where)
    text = whole.choices[0].message.content
    assert "localphi" in text
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(
        litellm.completion(messages=QUESTION, stream=True, stream_options={"include_usage": True}, **where)
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    built = litellm.stream_chunk_builder(chunks)
    assert built.choices[0].message.content == text
    assert built.usage.completion_tokens == whole.usage.completion_tokens


def check_async(where: dict[str, Any]) -> None:
    async def ask() -> str:
        stream = await litellm.acompletion(messages=QUESTION, stream=True, **where)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert "localphi" in asyncio.run(ask())


def check_several(where: dict[str, Any]) -> None:
    answer = litellm.completion(messages=QUESTION, n=2, seed=7, temperature=2, max_tokens=32, **where)
    texts = [choice.message.content for choice in answer.choices]
    assert len(texts) == len(set(texts)) == 2


def check_tools(where: dict[str, Any]) -> None:
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "How is the weather in Paris?"}],
        "tools": [{"type": "function", "function": WEATHER}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        **where,
    }
    (call,) = litellm.completion(**asked).choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    built = litellm.stream_chunk_builder(list(litellm.completion(stream=True, **asked)))
    (streamed,) = built.choices[0].message.tool_calls
    assert streamed.function.arguments == call.function.arguments


def check_schema(where: dict[str, Any]) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER, "strict": True}}
    messages = [{"role": "user", "content": "Two soups, please."}]
    answer = litellm.completion(messages=messages, response_format=schema, **where)
    assert set(json.loads(answer.choices[0].message.content)) == {"dish", "number"}


def check_text(where: dict[str, Any]) -> None:
    text_model = {**where, "model": "text-completion-openai/localphi-demo"}
    answer = litellm.text_completion(prompt="localphi is", max_tokens=8, **text_model)
    assert answer.choices[0].text


def check_responses(where: dict[str, Any]) -> None:
    answer = litellm.responses(input="What is localphi?", **where)
    assert "localphi" in answer.output[0].content[0].text
    kinds = [event.type for event in litellm.responses(input="What is localphi?", stream=True, **where)]
    assert kinds[-1] == "response.completed"


def check_errors(where: dict[str, Any]) -> None:
    for error, fields in (
        (litellm.BadRequestError, {"max_tokens": 0}),
        (litellm.NotFoundError, {"model": "openai/nope"}),
    ):
        try:
            litellm.completion(messages=QUESTION, num_retries=0, max_retries=0, **{**where, **fields})
        except error:
            continue
        raise AssertionError(f"{error.__name__} was wanted for {fields}")


def main() -> None:
    where = {"model": MODEL, "api_base": sys.argv[1] + "/v1", "api_key": "none"}
    for name, check in tuple(globals().items()):
        if name.startswith("check_"):
            check(where)
            print(name)


if __name__ == "__main__":
    main()
