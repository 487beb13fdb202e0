"""Function calling: real kernels, plugins and agents against a server that calls what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import add
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from semantic_kernel import Kernel
from semantic_kernel.agents import AgentResponseItem, ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FinishReason,
    FunctionCallContent,
    FunctionResultContent,
    StreamingChatMessageContent,
)
from semantic_kernel.exceptions.service_exceptions import (
    ServiceInvalidExecutionSettingsError,
    ServiceInvalidRequestError,
    ServiceInvalidResponseError,
    ServiceResponseException,
)
from semantic_kernel.filters import AutoFunctionInvocationContext, FilterTypes, FunctionInvocationContext
from semantic_kernel.functions import KernelArguments, kernel_function

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
from serving import LiveServer

from .scripted_server import (
    DONE,
    STREAM_HEAD,
    Connection,
    Dialogue,
    Script,
    ScriptedServer,
    answer,
    call_chunk,
    calling,
    chunk,
    free_port,
    refusal,
)

Serve = Callable[[Script], ScriptedServer]
Next = Callable[[Any], Awaitable[None]]

QUESTION = "What is the weather in Oslo?"
CALL_OSLO = calling(("Weather-get_weather", {"city": "Oslo"}))
CALL_BOTH = calling(("Weather-get_weather", {"city": "Oslo"}), ("Weather-get_weather", {"city": "Rome"}))
REPORTS = {"Oslo": {"temperature": 3, "condition": "snow"}, "Rome": {"temperature": 21, "condition": "sunny"}}


class Weather:
    """Oslo's weather takes longer than Rome's."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @kernel_function(description="Get the current weather in a city.")
    async def get_weather(self, city: Annotated[str, "Name of the city"]) -> dict[str, Any]:
        self.asked.append(city)
        if city == "Oslo":
            await asyncio.sleep(0.02)
        return REPORTS[city]


@dataclass
class Asked:
    """What an agent said, and what its thread remembers."""

    text: str
    thread: list[ChatMessageContent]
    last: ChatMessageContent


Ask = Callable[[ChatCompletionAgent, str], Awaitable[Asked]]


async def _ask_whole(agent: ChatCompletionAgent, question: str) -> Asked:
    thread = ChatHistoryAgentThread()
    response: AgentResponseItem[ChatMessageContent] = await agent.get_response(question, thread=thread)
    messages = [message async for message in thread.get_messages()]
    return Asked(str(response), messages, response.message)


async def _ask_streaming(agent: ChatCompletionAgent, question: str) -> Asked:
    thread = ChatHistoryAgentThread()
    pieces = [item.message async for item in agent.invoke_stream(question, thread=thread)]
    messages = [message async for message in thread.get_messages()]
    last = pieces[-1] if pieces else messages[-1]
    return Asked("".join(piece.content for piece in pieces), messages, last)


@pytest.fixture(params=[_ask_whole, _ask_streaming], ids=["whole", "streaming"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asking: Ask = request.param
    return asking


def service_of(server: ScriptedServer) -> PhiChatCompletion:
    return PhiChatCompletion(base_url=server.url)


def agent_of(server: ScriptedServer, *plugins: object, **arguments: Any) -> ChatCompletionAgent:
    return ChatCompletionAgent(service=service_of(server), plugins=list(plugins) or [Weather()], **arguments)


def history(*messages: ChatMessageContent) -> ChatHistory:
    return ChatHistory(messages=[ChatMessageContent(role=AuthorRole.USER, content=QUESTION), *messages])


def roles(messages: list[ChatMessageContent]) -> list[str]:
    return [message.role.value for message in messages]


def results(messages: list[ChatMessageContent]) -> list[FunctionResultContent]:
    return [item for message in messages for item in message.items if isinstance(item, FunctionResultContent)]


def tool_messages(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(m["tool_call_id"], m["content"]) for m in body["messages"] if m["role"] == "tool"]


def assert_valid(messages: list[ChatMessageContent]) -> None:
    """Every call has exactly one result, behind it."""
    waiting: list[str | None] = []
    for message in messages:
        for item in message.items:
            if isinstance(item, FunctionCallContent):
                waiting.append(item.id)
            elif isinstance(item, FunctionResultContent):
                waiting.remove(item.id)
    assert waiting == []


@dataclass
class Turn:
    """One request to a service with a kernel, streaming or not, on a history that the test keeps."""

    service: PhiChatCompletion
    kernel: Kernel
    streaming: bool

    async def run(self, chat_history: ChatHistory, settings: PhiPromptExecutionSettings) -> str:
        if not self.streaming:
            message = await self.service.get_chat_message_content(chat_history, settings, kernel=self.kernel)
            return str(message)
        stream = self.service.get_streaming_chat_message_contents(chat_history, settings, kernel=self.kernel)
        return "".join([message.content async for messages in stream for message in messages])


@pytest.fixture(params=[False, True], ids=["whole", "streaming"])
def streaming(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def turn_of(server: ScriptedServer, streaming: bool, *plugins: object, kernel: Kernel | None = None) -> Turn:
    kernel = kernel or Kernel()
    for plugin in plugins or (Weather(),):
        kernel.add_plugin(plugin, type(plugin).__name__)
    return Turn(service_of(server), kernel, streaming)


def auto(**arguments: Any) -> PhiPromptExecutionSettings:
    return PhiPromptExecutionSettings(function_choice_behavior=FunctionChoiceBehavior.Auto(**arguments))


def required(**arguments: Any) -> PhiPromptExecutionSettings:
    return PhiPromptExecutionSettings(function_choice_behavior=FunctionChoiceBehavior.Required(**arguments))


# ---- auto, required, none


async def test_an_agent_calls_a_function_and_answers_with_its_result(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_OSLO, answer("Snow", " in Oslo."))
    asked = await ask(agent_of(scripted(dialogue)), QUESTION)
    first, second = dialogue.bodies
    assert asked.text == "Snow in Oslo."
    assert roles(asked.thread) == ["user", "assistant", "tool", "assistant"]
    assert first["tool_choice"] == "auto"
    assert first["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "Weather-get_weather",
                "description": "Get the current weather in a city.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "description": "Name of the city"}},
                    "required": ["city"],
                },
            },
        }
    ]
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1_1",
                    "type": "function",
                    "function": {"name": "Weather-get_weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1_1", "content": '{"temperature": 3, "condition": "snow"}'},
    ]
    assert second["tools"] == first["tools"]


async def test_required_calls_once_and_then_answers(scripted: Serve, ask: Ask) -> None:
    """Semantic Kernel's own streaming would end after the call, without an answer."""
    dialogue = Dialogue(CALL_OSLO, answer("Snow."))
    weather = Weather()
    agent = agent_of(scripted(dialogue), weather, function_choice_behavior=FunctionChoiceBehavior.Required())
    asked = await ask(agent, QUESTION)
    assert (asked.text, weather.asked) == ("Snow.", ["Oslo"])
    assert [body["tool_choice"] for body in dialogue.bodies] == ["required", "none"]
    assert dialogue.bodies[1]["tools"] == dialogue.bodies[0]["tools"]
    assert roles(asked.thread) == ["user", "assistant", "tool", "assistant"]


async def test_a_model_that_never_stops_calling_is_asked_for_an_answer(scripted: Serve, ask: Ask) -> None:
    replies = [calling(("Weather-get_weather", {"city": "Rome"}), turn=turn) for turn in (1, 2)]
    dialogue = Dialogue(*replies, answer("Enough."))
    behavior = FunctionChoiceBehavior.Auto(maximum_auto_invoke_attempts=2)
    asked = await ask(agent_of(scripted(dialogue), function_choice_behavior=behavior), QUESTION)
    assert asked.text == "Enough."
    assert [body["tool_choice"] for body in dialogue.bodies] == ["auto", "auto", "none"]


async def test_none_shows_the_functions_and_calls_none(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(answer("I could look at the weather."))
    agent = agent_of(scripted(dialogue), function_choice_behavior=FunctionChoiceBehavior.NoneInvoke())
    assert (await ask(agent, QUESTION)).text == "I could look at the weather."
    assert [body["tool_choice"] for body in dialogue.bodies] == ["none"]
    assert len(dialogue.bodies[0]["tools"]) == 1


async def test_calls_are_given_back_where_nobody_is_to_make_them(scripted: Serve, ask: Ask) -> None:
    weather = Weather()
    behavior = FunctionChoiceBehavior.Auto(auto_invoke=False)
    turn = turn_of(scripted(Dialogue(CALL_OSLO)), False, weather)
    message = await turn.service.get_chat_message_content(
        history(), PhiPromptExecutionSettings(function_choice_behavior=behavior), kernel=turn.kernel
    )
    assert message is not None
    [call] = message.items
    assert isinstance(call, FunctionCallContent)
    assert (call.plugin_name, call.function_name) == ("Weather", "get_weather")
    assert call.parse_arguments() == {"city": "Oslo"}
    assert message.finish_reason == FinishReason.TOOL_CALLS
    assert weather.asked == []


async def test_tools_of_ones_own_need_no_kernel(scripted: Serve) -> None:
    dialogue = Dialogue(calling(("look", {})))
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": "look"}}
    settings = PhiPromptExecutionSettings(tools=[tool], tool_choice=choice, parallel_tool_calls=False)
    message = await service_of(scripted(dialogue)).get_chat_message_content(history(), settings)
    assert message is not None
    assert [item.function_name for item in message.items if isinstance(item, FunctionCallContent)] == ["look"]
    body = dialogue.bodies[0]
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == ([tool], choice, False)


@pytest.mark.parametrize("filters", [None, {"excluded_plugins": ["Weather"]}])
async def test_no_functions_at_all_are_fine(scripted: Serve, ask: Ask, filters: Any) -> None:
    dialogue = Dialogue(answer("Hello."))
    agent = ChatCompletionAgent(
        service=service_of(scripted(dialogue)),
        plugins=[Weather()] if filters else [],
        function_choice_behavior=FunctionChoiceBehavior.Auto(filters=filters),
        arguments=KernelArguments(PhiPromptExecutionSettings(parallel_tool_calls=False)),
    )
    assert (await ask(agent, "Hi")).text == "Hello."
    assert dialogue.bodies[0].keys() & {"tools", "tool_choice", "parallel_tool_calls"} == set()


async def test_requiring_a_function_where_there_is_none_is_refused(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(answer("Hello."))
    behavior = FunctionChoiceBehavior.Required(filters={"included_functions": ["Weather-get_wether"]})
    agent = agent_of(scripted(dialogue), function_choice_behavior=behavior)
    with pytest.raises(ServiceInvalidExecutionSettingsError, match="the kernel has no functions"):
        await ask(agent, QUESTION)
    assert dialogue.bodies == []


# ---- several calls


async def test_parallel_calls_are_never_merged_and_answered_in_order(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_BOTH, answer("Snow and sun."))
    weather = Weather()
    asked = await ask(agent_of(scripted(dialogue), weather), "Weather in Oslo and Rome?")
    calls = [item for item in asked.thread[1].items if isinstance(item, FunctionCallContent)]
    assert [(call.id, call.index) for call in calls] == [("call_1_1", 0), ("call_1_2", 1)]
    assert weather.asked == ["Oslo", "Rome"]
    assert tool_messages(dialogue.bodies[1]) == [
        ("call_1_1", '{"temperature": 3, "condition": "snow"}'),
        ("call_1_2", '{"temperature": 21, "condition": "sunny"}'),
    ]
    assert [result.id for result in results(asked.thread)] == ["call_1_1", "call_1_2"]


async def test_streamed_pieces_of_two_calls_add_up_to_two_calls(scripted: Serve) -> None:
    body = CALL_BOTH.replace(b'"id": "call_1_1", ', b"").replace(b'"id": "call_1_2", ', b"")
    service = service_of(scripted(Dialogue(body)))
    stream = service.get_streaming_chat_message_contents(history(), PhiPromptExecutionSettings())
    pieces: list[StreamingChatMessageContent] = [piece async for pieces in stream for piece in pieces]
    total = reduce(add, pieces)
    calls = [item for item in total.items if isinstance(item, FunctionCallContent)]
    assert [call.arguments for call in calls] == ['{"city": "Oslo"}', '{"city": "Rome"}']
    assert len({call.id for call in calls}) == 2
    assert total.finish_reason == FinishReason.TOOL_CALLS


async def test_several_results_in_one_message_are_sent_one_by_one(scripted: Serve) -> None:
    dialogue = Dialogue(answer("ok"))
    calls = [FunctionCallContent(id=name, name=f"P-{name}", arguments={"n": 1}) for name in ("a", "b")]
    given = [
        FunctionResultContent(id="a", name="P-a", result="one"),
        FunctionResultContent(id="b", name="P-b", result=["two", 2]),
    ]
    chat = history(
        ChatMessageContent(role=AuthorRole.ASSISTANT, items=[*calls]),
        ChatMessageContent(role=AuthorRole.TOOL, items=[*given]),
    )
    await service_of(scripted(dialogue)).get_chat_message_content(chat, PhiPromptExecutionSettings())
    sent = dialogue.bodies[0]["messages"][1]["tool_calls"]
    assert [call["function"]["arguments"] for call in sent] == ['{"n": 1}', '{"n": 1}']
    assert tool_messages(dialogue.bodies[0]) == [("a", "one"), ("b", '["two", 2]')]


class Unknown:
    def __str__(self) -> str:
        return "something"


class Report(BaseModel):
    city: str
    degrees: float


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        ("plain", "plain"),
        ({"it's": 'a "b"'}, '{"it\'s": "a \\"b\\""}'),
        (Report(city="Århus", degrees=1.5), '{"city": "Århus", "degrees": 1.5}'),
        ([Report(city="X", degrees=0)], '[{"city": "X", "degrees": 0.0}]'),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        (date(2026, 11, 20), '"2026-11-20"'),
        (Unknown(), '"something"'),
    ],
)
async def test_results_are_sent_as_json(scripted: Serve, result: Any, sent: str) -> None:
    dialogue = Dialogue(answer("ok"))
    chat = history(
        ChatMessageContent(role=AuthorRole.ASSISTANT, items=[FunctionCallContent(id="a", name="P-f")]),
        ChatMessageContent(
            role=AuthorRole.TOOL, items=[FunctionResultContent(id="a", name="P-f", result=result)]
        ),
    )
    await service_of(scripted(dialogue)).get_chat_message_content(chat, PhiPromptExecutionSettings())
    assert tool_messages(dialogue.bodies[0]) == [("a", sent)]


# ---- filters


async def test_a_filter_that_terminates_ends_the_turn_with_the_results(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_OSLO, answer("never asked for"))
    kernel = Kernel()

    @kernel.filter(FilterTypes.AUTO_FUNCTION_INVOCATION)
    async def stop(context: AutoFunctionInvocationContext, next: Next) -> None:
        await next(context)
        context.terminate = True

    agent = agent_of(
        scripted(dialogue), kernel=kernel, function_choice_behavior=FunctionChoiceBehavior.Required()
    )
    asked = await ask(agent, QUESTION)
    assert len(dialogue.bodies) == 1
    assert roles(asked.thread) == ["user", "assistant", "tool"]
    assert [result.result for result in results(asked.thread)] == [REPORTS["Oslo"]]


async def test_a_filter_may_change_arguments_and_results(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_OSLO, answer("Sun."))
    kernel = Kernel()

    @kernel.filter(FilterTypes.FUNCTION_INVOCATION)
    async def move(context: FunctionInvocationContext, next: Next) -> None:
        context.arguments["city"] = "Rome"
        await next(context)

    weather = Weather()
    await ask(agent_of(scripted(dialogue), weather, kernel=kernel), QUESTION)
    assert weather.asked == ["Rome"]
    assert tool_messages(dialogue.bodies[1]) == [("call_1_1", '{"temperature": 21, "condition": "sunny"}')]


async def test_a_filter_that_raises_leaves_the_history_as_it_was(scripted: Serve, streaming: bool) -> None:
    kernel = Kernel()

    @kernel.filter(FilterTypes.AUTO_FUNCTION_INVOCATION)
    async def refuse(context: AutoFunctionInvocationContext, next: Next) -> None:
        if context.arguments["city"] == "Rome":
            raise PermissionError("not Rome")
        await next(context)

    turn = turn_of(scripted(Dialogue(CALL_BOTH)), streaming, kernel=kernel)
    chat = history()
    with pytest.raises(PermissionError, match="not Rome"):
        await turn.run(chat, auto())
    await asyncio.sleep(0.05)  # Oslo's call was still running
    assert roles(chat.messages) == ["user"]


# ---- what goes wrong


class Broken:
    @kernel_function(description="Fail.")
    def fail(self) -> str:
        raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("Broken-fail", {}), "An error occurred while invoking the function Broken-fail: .*no luck"),
        (("Broken-unheard_of", {}), "`Broken-unheard_of` is not part of the provided tools"),
        (("Broken-fail", {"extra": 1}), "unexpected argument"),
    ],
)
async def test_the_model_is_told_of_a_call_that_failed(
    scripted: Serve, ask: Ask, call: tuple[str, dict[str, Any]], told: str
) -> None:
    dialogue = Dialogue(calling(call), answer("Sorry."))
    asked = await ask(agent_of(scripted(dialogue), Broken()), "Fail!")
    assert asked.text == "Sorry."
    [(call_id, content)] = tool_messages(dialogue.bodies[1])
    assert call_id == "call_1_1"
    assert re.search(told, content)
    assert_valid(asked.thread)


async def test_a_call_cut_off_by_max_tokens_is_not_made(scripted: Serve, streaming: bool) -> None:
    weather = Weather()
    cut = call_chunk(0, '{"city": "Os', id="1", name="Weather-get_weather") + chunk(finish_reason="length")
    turn = turn_of(scripted(Dialogue(cut + DONE)), streaming, weather)
    chat = history()
    with pytest.raises(ServiceInvalidResponseError, match="allow more with max_tokens"):
        await turn.run(chat, auto())
    assert (weather.asked, roles(chat.messages)) == ([], ["user"])


async def test_a_server_that_goes_away_in_the_middle_can_be_asked_again(
    scripted: Serve, streaming: bool
) -> None:
    dialogue = Dialogue(CALL_OSLO, chunk("Sn"), answer("Snow."))
    weather = Weather()
    turn = turn_of(scripted(dialogue), streaming, weather)
    chat = history()
    with pytest.raises(ServiceInvalidResponseError, match="closed the connection before the answer"):
        await turn.run(chat, auto())
    assert roles(chat.messages) == ["user", "assistant", "tool"]
    assert_valid(chat.messages)
    assert await turn.run(chat, auto()) == "Snow."
    assert weather.asked == ["Oslo"]


async def test_a_refusal_is_one_sentence_and_leaves_the_history(scripted: Serve, streaming: bool) -> None:
    sentence = "The model 'phi' has no form for tools."
    turn = turn_of(scripted(Dialogue(refusal(400, sentence, "tools"))), streaming)
    chat = history()
    with pytest.raises(ServiceInvalidRequestError) as refused:
        await turn.run(chat, required())
    assert (str(refused.value), roles(chat.messages)) == (sentence, ["user"])


async def test_a_result_too_long_for_the_model_is_refused_by_the_server(
    scripted: Serve, streaming: bool
) -> None:
    class Library:
        @kernel_function(description="Read a book.")
        def read(self) -> str:
            return "word " * 200_000

    dialogue = Dialogue(
        calling(("Library-read", {})), refusal(400, "The prompt has 200013 tokens, but may have 2048.")
    )
    turn = turn_of(scripted(dialogue), streaming, Library())
    chat = history()
    with pytest.raises(ServiceInvalidRequestError, match="200013 tokens"):
        await turn.run(chat, auto())
    assert [len(content) for _, content in tool_messages(dialogue.bodies[1])] == [1_000_000]
    assert_valid(chat.messages)


async def test_no_server_is_named_with_functions_too(ask: Ask) -> None:
    service = PhiChatCompletion(base_url=f"http://127.0.0.1:{free_port()}")
    agent = ChatCompletionAgent(service=service, plugins=[Weather()])
    with pytest.raises(ServiceResponseException, match=r"Start it with: localphi serve"):
        await ask(agent, QUESTION)


async def test_another_program_at_the_address_is_named(scripted: Serve, ask: Ask) -> None:
    page = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"
    with pytest.raises(ServiceInvalidRequestError, match=r"HTTP status 404\. Is it a localphi server"):
        await ask(agent_of(scripted(Dialogue(page))), QUESTION)


async def test_a_tool_without_a_json_schema_is_refused_by_name(scripted: Serve) -> None:
    settings = PhiPromptExecutionSettings(tools=[{"type": "function", "function": {"name": "f", "x": date}}])
    turn = turn_of(scripted(Dialogue(answer("ok"))), False)
    with pytest.raises(ServiceInvalidExecutionSettingsError, match=r"'tools\.f' cannot be sent: .*type"):
        await turn.run(history(), settings)


async def test_tools_come_from_one_place(scripted: Serve) -> None:
    settings = auto()
    settings.tools = [{"type": "function", "function": {"name": "look"}}]
    turn = turn_of(scripted(Dialogue(answer("ok"))), False)
    with pytest.raises(ServiceInvalidExecutionSettingsError, match="both were given"):
        await turn.run(history(), settings)


async def test_functions_are_called_for_one_answer(scripted: Serve) -> None:
    settings = PhiPromptExecutionSettings(
        extension_data={"n": 2}, function_choice_behavior=FunctionChoiceBehavior.Auto()
    )
    with pytest.raises(ServiceInvalidExecutionSettingsError, match="but n is 2"):
        await turn_of(scripted(Dialogue(answer("ok"))), False).run(history(), settings)


async def test_settings_of_a_wrong_kind_are_refused_in_one_sentence(scripted: Serve) -> None:
    from semantic_kernel.connectors.ai import PromptExecutionSettings

    service = service_of(scripted(Dialogue(answer("ok"))))
    with pytest.raises(ServiceInvalidExecutionSettingsError, match=r"^The setting 'tool_choice' is wrong: "):
        await service.get_chat_message_content(history(), PromptExecutionSettings(tool_choice="always"))


# ---- schemas


class Colours:
    @kernel_function(description="Paint.")
    def paint(self, colour: Literal["red", "blue"], coats: Literal[1, 2] = 1) -> str:
        return f"{colour} {coats}"


async def test_a_literal_is_offered_as_its_values(scripted: Serve) -> None:
    dialogue = Dialogue(answer("ok"))
    await turn_of(scripted(dialogue), False, Colours()).run(history(), auto())
    assert dialogue.bodies[0]["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "coats": {"enum": [1, 2]}},
        "required": ["colour"],
    }


class Batch(BaseModel):
    count: int = Field(ge=1)  # Semantic Kernel 1.45 takes the constraint for the description
    description: str


class Shop:
    @kernel_function(description="Order.")
    def order(self, batch: Batch) -> str:
        return "done"


async def test_a_constraint_is_no_description(scripted: Serve) -> None:
    dialogue = Dialogue(answer("ok"))
    await turn_of(scripted(dialogue), False, Shop()).run(history(), auto())
    assert dialogue.bodies[0]["tools"][0]["function"]["parameters"]["properties"] == {
        "batch": {
            "type": "object",
            "properties": {"count": {"type": "integer"}, "description": {"type": "string"}},
            "required": ["count", "description"],
        }
    }


async def test_a_reference_to_a_definition_that_was_lost_means_anything(scripted: Serve) -> None:
    @kernel_function(description="Go.")
    def go(**arguments: Any) -> str:
        return "gone"

    items = {"$ref": "#/$defs/Place", "title": "Place"}  # of an MCP tool, as Semantic Kernel 1.45 keeps it
    to = {"name": "to", "is_required": True, "schema_data": {"type": "array", "items": items}}
    setattr(go, "__kernel_function_parameters__", [to])  # noqa: B010
    dialogue = Dialogue(answer("ok"))
    await turn_of(scripted(dialogue), False, {"go": go}).run(history(), auto())
    properties = dialogue.bodies[0]["tools"][0]["function"]["parameters"]["properties"]
    assert properties == {"to": {"type": "array", "items": {"title": "Place"}}}


class Item(BaseModel):
    title: str = Field(description="What it is called")
    count: int = 1


class Order(BaseModel):
    customer: str
    items: list[Item]


async def test_a_model_type_is_sent_as_its_schema_and_comes_back_as_json(scripted: Serve, ask: Ask) -> None:
    written = '{"customer": "Ada", "items": [{"title": "lamp", "count": 2}]}'
    dialogue = Dialogue(answer(written))
    arguments = KernelArguments(PhiPromptExecutionSettings(response_format=Order))
    agent = ChatCompletionAgent(service=service_of(scripted(dialogue)), arguments=arguments)
    asked = await ask(agent, "Ada orders 2 lamps")
    assert Order.model_validate_json(asked.text) == Order(customer="Ada", items=[Item(title="lamp", count=2)])
    assert dialogue.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Order",
            "strict": True,
            "schema": {
                "$defs": {
                    "Item": {
                        "properties": {
                            "title": {"description": "What it is called", "type": "string"},
                            "count": {"default": 1, "type": "integer"},
                        },
                        "required": ["title"],
                        "type": "object",
                    }
                },
                "properties": {
                    "customer": {"type": "string"},
                    "items": {"items": {"$ref": "#/$defs/Item"}, "type": "array"},
                },
                "required": ["customer", "items"],
                "type": "object",
            },
        },
    }


async def test_a_format_in_the_servers_form_is_sent_as_it_is(scripted: Serve) -> None:
    dialogue = Dialogue(answer("{}"))
    settings = PhiPromptExecutionSettings(response_format={"type": "json_object"})
    await service_of(scripted(dialogue)).get_chat_message_content(history(), settings)
    assert dialogue.bodies[0]["response_format"] == {"type": "json_object"}


# ---- many at once, leaving early


def weather_model(body: dict[str, Any]) -> bytes:
    """Calls the weather of every city in the question, then says what the results were."""
    asked = max(number for number, message in enumerate(body["messages"]) if message["role"] == "user")
    said = [message["content"] for message in body["messages"][asked + 1 :] if message["role"] == "tool"]
    time.sleep(0.005)
    if said:
        return answer(*said)
    cities = [city for city in REPORTS if city in body["messages"][asked]["content"]]
    return calling(*(("Weather-get_weather", {"city": city}) for city in cities), turn=asked)


async def _transcript(agent: ChatCompletionAgent, number: int, ask_streaming: bool) -> list[Any]:
    thread = ChatHistoryAgentThread()
    for question in (f"{number}: weather in Oslo and Rome?", f"{number}: and in Rome?"):
        if ask_streaming:
            async for _ in agent.invoke_stream(question, thread=thread):
                pass
        else:
            await agent.get_response(question, thread=thread)
    return [
        (message.role.value, message.content, [_item(item) for item in message.items])
        async for message in thread.get_messages()
    ]


def _item(item: Any) -> Any:
    if isinstance(item, FunctionCallContent):
        return (item.id, item.index, item.name, item.arguments)
    if isinstance(item, FunctionResultContent):
        return (item.id, item.name, json.dumps(item.result))
    return str(item)


async def test_eight_agents_at_once_say_what_they_say_one_by_one(scripted: Serve, streaming: bool) -> None:
    service = service_of(scripted(Dialogue(weather_model)))
    agents = [ChatCompletionAgent(service=service, plugins=[Weather()]) for _ in range(8)]
    one_by_one = [await _transcript(agent, number, streaming) for number, agent in enumerate(agents)]
    at_once = await asyncio.gather(
        *(_transcript(agent, number, streaming) for number, agent in enumerate(agents))
    )
    assert at_once == one_by_one
    assert [role for role, _, _ in at_once[0]] == [
        "user", "assistant", "tool", "tool", "assistant", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip


async def test_the_event_loop_runs_on_while_calls_come_slowly(scripted: Serve, ask: Ask) -> None:
    slow_pieces = [call_chunk(0, id="call_1", name="Weather-get_weather")]
    slow_pieces += [call_chunk(0, piece) for piece in '{"city": "Rome"}']
    dialogue = Dialogue(answer("Sun."))

    def script(connection: Connection) -> None:
        if any(message["role"] == "tool" for message in connection.body["messages"]):
            return dialogue(connection)
        connection.send(STREAM_HEAD)
        for piece in slow_pieces:
            time.sleep(0.01)
            connection.send(piece)
        return connection.send(chunk(finish_reason="tool_calls") + DONE)

    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.002)

    agent = agent_of(scripted(script))
    ticker = asyncio.create_task(tick())
    assert (await ask(agent, "Weather in Rome?")).text == "Sun."
    ticker.cancel()
    assert ticks > 20


async def test_cancelling_the_answer_after_a_call_closes_its_connection(
    scripted: Serve, streaming: bool
) -> None:
    began, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        if connection.body["messages"][-1]["role"] == "user":
            return connection.send(STREAM_HEAD + CALL_OSLO)
        connection.send(STREAM_HEAD + chunk("Sn"))
        began.set()
        connection.wait_for_close()
        return closed.set()

    chat = history()
    task = asyncio.create_task(turn_of(scripted(script), streaming).run(chat, auto()))
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(closed.wait, 10)
    assert roles(chat.messages) == ["user", "assistant", "tool"]


async def test_cancelling_while_a_function_runs_leaves_no_half_of_a_step(
    scripted: Serve, streaming: bool
) -> None:
    running = asyncio.Event()

    class Slow:
        @kernel_function(description="Wait.")
        async def wait(self) -> str:
            running.set()
            await asyncio.sleep(60)
            return "never"

    turn = turn_of(scripted(Dialogue(calling(("Slow-wait", {})))), streaming, Slow())
    chat = history()
    task = asyncio.create_task(turn.run(chat, auto()))
    await asyncio.wait_for(running.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert roles(chat.messages) == ["user"]


async def test_a_stream_that_is_left_after_the_call_is_complete_up_to_there(scripted: Serve) -> None:
    turn = turn_of(scripted(Dialogue(CALL_OSLO, answer("Snow."))), True)
    chat = history()
    stream: AsyncIterator[list[StreamingChatMessageContent]]
    stream = turn.service.get_streaming_chat_message_contents(chat, auto(), kernel=turn.kernel)
    async for messages in stream:
        if messages[0].role == AuthorRole.TOOL:
            break
    assert roles(chat.messages) == ["user", "assistant", "tool"]
    assert_valid(chat.messages)


# ---- the real server


async def test_the_servers_limits_are_service_errors(demo_server: LiveServer) -> None:
    class Wordy:
        @kernel_function(description="Look.")
        def look(self, what: Annotated[str, "long " * 20_000]) -> str:
            return "done"

    service = PhiChatCompletion(base_url=demo_server.url)
    kernel = Kernel()
    kernel.add_plugin(Wordy(), "Wordy")
    with pytest.raises(ServiceInvalidRequestError, match="bytes, but may have") as refused:
        await service.get_chat_message_content(history(), auto(), kernel=kernel)
    assert str(refused.value).count("\n") == 0
    chat = history(
        ChatMessageContent(role=AuthorRole.ASSISTANT, items=[FunctionCallContent(id="a", name="P-f")]),
        ChatMessageContent(
            role=AuthorRole.TOOL, items=[FunctionResultContent(id="a", name="P-f", result="x" * 1_000_000)]
        ),
    )
    with pytest.raises(ServiceInvalidRequestError, match="tokens"):
        await service.get_chat_message_content(chat, PhiPromptExecutionSettings())


class Town:
    """A function whose argument is short whatever a model does."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @kernel_function(description="Get the current weather in a city.")
    def get_weather(self, city: Literal["Oslo", "Rome"]) -> dict[str, Any]:
        self.asked.append(city)
        return REPORTS[city]


async def test_a_required_call_of_the_demo_model_is_made(demo_server: LiveServer, ask: Ask) -> None:
    """Whatever the model would say: the server's grammar makes the call valid."""
    town = Town()
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=demo_server.url),
        plugins=[town],
        function_choice_behavior=FunctionChoiceBehavior.Required(),
        arguments=KernelArguments(
            PhiPromptExecutionSettings(temperature=0, parallel_tool_calls=False, max_tokens=50)
        ),
    )
    asked = await ask(agent, QUESTION)
    assert len(town.asked) == 1
    assert roles(asked.thread) == ["user", "assistant", "tool", "assistant"]
    assert_valid(asked.thread)


class Place(BaseModel):
    city: Annotated[str, Field(max_length=20)]
    warm: bool


async def test_a_structured_answer_of_the_demo_model_is_valid(demo_server: LiveServer, ask: Ask) -> None:
    settings = PhiPromptExecutionSettings(temperature=0, response_format=Place, max_tokens=100)
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=demo_server.url), arguments=KernelArguments(settings)
    )
    Place.model_validate_json((await ask(agent, "Oslo is not warm.")).text)
