"""Microsoft Agent Framework: agents with functions against a server that does as a test tells it."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from agent_framework import (
    Agent,
    AgentSession,
    ChatResponse,
    Content,
    FunctionInvocationContext,
    FunctionMiddleware,
    Message,
)
from agent_framework.exceptions import (
    ChatClientException,
    ChatClientInvalidRequestException,
    ChatClientInvalidResponseException,
)
from pydantic import BaseModel, Field

from localphi_agents.agent_framework import PhiChatClient, PhiChatOptions, mcp_tools, plugin_tools
from localphi_agents.errors import AnswerIncomplete, ClientError
from localphi_agents.mcp import McpTools
from localphi_agents.plugins import Files, Math, Time, Units
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

QUESTION = "What is the weather in Oslo?"
CALL_OSLO = calling(("get_weather", {"city": "Oslo"}))
CALL_BOTH = calling(("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"}))
REPORTS = {"Oslo": {"temperature": 3, "condition": "snow"}, "Rome": {"temperature": 21, "condition": "sunny"}}


class Weather:
    """Oslo's weather takes longer than Rome's."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get_weather(self, city: Annotated[str, "Name of the city"]) -> dict[str, Any]:
        """Get the current weather in a city."""
        self.asked.append(city)
        if city == "Oslo":
            await asyncio.sleep(0.02)
        return REPORTS[city]


@dataclass
class Asked:
    text: str
    messages: list[Message]
    usage: Any
    finish_reason: Any


Ask = Callable[..., Awaitable[Asked]]


async def _ask_whole(agent: Agent[Any], question: str, **kwargs: Any) -> Asked:
    done = await agent.run(question, **kwargs)
    return Asked(done.text, done.messages, done.usage_details, done.finish_reason)


async def _ask_streaming(agent: Agent[Any], question: str, **kwargs: Any) -> Asked:
    stream = agent.run(question, stream=True, **kwargs)
    text = "".join([update.text async for update in stream])
    done = await stream.get_final_response()
    return Asked(text, done.messages, done.usage_details, done.finish_reason)


@pytest.fixture(params=[_ask_whole, _ask_streaming], ids=["whole", "streaming"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asking: Ask = request.param
    return asking


def agent_of(server: ScriptedServer, *tools: Any, **kwargs: Any) -> Agent[Any]:
    return Agent(PhiChatClient(base_url=server.url), tools=list(tools) or [Weather().get_weather], **kwargs)


def roles(messages: list[Message]) -> list[str]:
    return [str(message.role) for message in messages]


def tool_messages(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(m["tool_call_id"], m["content"]) for m in body["messages"] if m["role"] == "tool"]


# ---- answers


async def test_an_answer_has_text_reason_usage_and_names(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(answer("It runs", " here."))
    agent: Agent[PhiChatOptions] = Agent(
        PhiChatClient(base_url=scripted(dialogue).url, model="phi"),
        "Be brief.",
        default_options={
            "temperature": 0,
            "top_p": 0.5,
            "top_k": 4,
            "adapter": "poems",
            "max_tokens": 9,
            "seed": 7,
            "stop": "\n",
        },
    )
    asked = await ask(agent, "What is localphi?")
    assert (asked.text, asked.finish_reason) == ("It runs here.", "stop")
    assert asked.usage == {"input_token_count": 3, "output_token_count": 2, "total_token_count": 5}
    body = dialogue.bodies[0]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is localphi?"},
    ]
    settings = ("model", "temperature", "top_p", "top_k", "adapter", "max_tokens", "seed", "stop")
    assert [body[name] for name in settings] == ["phi", 0, 0.5, 4, "poems", 9, 7, ["\n"]]
    assert body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls", "instructions", "store"})


async def test_a_stream_comes_in_pieces_and_is_one_message(scripted: Serve) -> None:
    client = PhiChatClient(base_url=scripted(Dialogue(answer("a", "b", "c"))).url)
    stream = client.get_response([Message("user", ["Hi"])], stream=True)
    assert [update.text async for update in stream] == ["a", "b", "c", ""]
    done: ChatResponse[Any] = await stream.get_final_response()
    assert (done.text, done.response_id, done.model) == ("abc", "chatcmpl-1", "tiny")
    assert len(done.messages) == 1


async def test_a_session_remembers(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(answer("One."), answer("Two."))
    agent = agent_of(scripted(dialogue))
    session = agent.create_session()
    for question in ("a", "b"):
        await ask(agent, question, session=session)
    assert [message["content"] for message in dialogue.bodies[1]["messages"]] == ["a", "One.", "b"]


class Order(BaseModel):
    customer: str = Field(max_length=40)
    count: int = 1


async def test_a_model_type_is_sent_as_its_schema_and_comes_back_as_an_object(scripted: Serve) -> None:
    dialogue = Dialogue(answer('{"customer": "Ada", "count": 2}'))
    agent = Agent(PhiChatClient(base_url=scripted(dialogue).url))
    done = await agent.run("Ada orders 2", options={"response_format": Order})
    assert done.value == Order(customer="Ada", count=2)
    assert dialogue.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Order",
            "strict": True,
            "schema": {
                "properties": {
                    "customer": {"maxLength": 40, "type": "string"},
                    "count": {"default": 1, "type": "integer"},
                },
                "required": ["customer"],
                "type": "object",
            },
        },
    }


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "object", "properties": {}},
            {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {}}},
            },
        ),
    ],
)
async def test_formats_of_other_forms_are_sent(scripted: Serve, given: Any, sent: Any) -> None:
    dialogue = Dialogue(answer("{}"))
    client = PhiChatClient(base_url=scripted(dialogue).url)
    await client.get_response([Message("user", ["Hi"])], options={"response_format": given})
    assert dialogue.bodies[0]["response_format"] == sent


# ---- functions


async def test_an_agent_calls_a_function_and_answers_with_its_result(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_OSLO, answer("Snow", " in Oslo."))
    asked = await ask(agent_of(scripted(dialogue)), QUESTION)
    first, second = dialogue.bodies
    assert asked.text == "Snow in Oslo."
    assert roles(asked.messages) == ["assistant", "tool", "assistant"]
    assert first["tool_choice"] == "auto"
    assert first["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
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
                    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1_1", "content": '{"temperature": 3, "condition": "snow"}'},
    ]
    assert second["tools"] == first["tools"]


async def test_parallel_calls_are_never_merged_and_answered_in_order(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_BOTH, answer("Snow and sun."))
    weather = Weather()
    asked = await ask(agent_of(scripted(dialogue), weather.get_weather), "Weather in Oslo and Rome?")
    calls = [c for m in asked.messages for c in m.contents if c.type == "function_call"]
    assert [(call.call_id, call.arguments) for call in calls] == [
        ("call_1_1", '{"city": "Oslo"}'),
        ("call_1_2", '{"city": "Rome"}'),
    ]
    assert weather.asked == ["Oslo", "Rome"]
    assert tool_messages(dialogue.bodies[1]) == [
        ("call_1_1", '{"temperature": 3, "condition": "snow"}'),
        ("call_1_2", '{"temperature": 21, "condition": "sunny"}'),
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        ("none", "none"),
        ({"mode": "auto"}, "auto"),
        (
            {"mode": "required", "required_function_name": "get_weather"},
            {"type": "function", "function": {"name": "get_weather"}},
        ),
    ],
)
async def test_choices_are_sent_in_the_servers_form(scripted: Serve, choice: Any, sent: Any) -> None:
    dialogue = Dialogue(answer("ok"))
    await agent_of(scripted(dialogue)).run(QUESTION, options={"tool_choice": choice})
    assert dialogue.bodies[0]["tool_choice"] == sent


async def test_required_calls_once_and_then_answers(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(CALL_OSLO, answer("Snow."))
    asked = await ask(agent_of(scripted(dialogue)), QUESTION, options={"tool_choice": "required"})
    assert asked.text == "Snow."
    assert dialogue.bodies[0]["tool_choice"] == "required"
    assert dialogue.bodies[1].get("tool_choice") in (None, "auto", "none")


async def test_allowed_tools_are_all_that_is_offered(scripted: Serve) -> None:
    def other() -> str:
        """Do something else."""
        return ""

    dialogue = Dialogue(answer("ok"))
    choice = {"mode": "auto", "allowed_tools": ["other"]}
    await agent_of(scripted(dialogue), Weather().get_weather, other).run(
        "Hi", options={"tool_choice": choice}
    )
    assert [tool["function"]["name"] for tool in dialogue.bodies[0]["tools"]] == ["other"]


async def test_a_model_that_never_stops_calling_is_asked_for_an_answer(scripted: Serve, ask: Ask) -> None:
    def reply(body: dict[str, Any]) -> bytes:
        turn = len(body["messages"])
        return (
            answer("Enough.")
            if body.get("tool_choice") == "none"
            else calling(("get_weather", {"city": "Rome"}), turn=turn)
        )

    dialogue = Dialogue(reply)
    asked = await ask(agent_of(scripted(dialogue)), QUESTION)
    assert asked.text == "Enough."
    assert len(dialogue.bodies) == 11


# ---- what goes wrong


def broken() -> str:
    """Fail."""
    raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("broken", {}), "no luck"),
        (("unheard_of", {}), "unheard_of"),
        (("get_weather", {"town": 1}), "city"),
    ],
)
async def test_the_model_is_told_of_a_call_that_failed(
    scripted: Serve, ask: Ask, call: tuple[str, dict[str, Any]], told: str
) -> None:
    dialogue = Dialogue(calling(call), answer("Sorry."))
    asked = await ask(agent_of(scripted(dialogue), broken, Weather().get_weather), "Fail!")
    assert asked.text == "Sorry."
    [(call_id, content)] = tool_messages(dialogue.bodies[1])
    assert call_id == "call_1_1"
    assert told in content


async def test_a_call_cut_off_by_max_tokens_is_not_made(scripted: Serve, ask: Ask) -> None:
    weather = Weather()
    cut = call_chunk(0, '{"city": "Os', id="1", name="get_weather") + chunk(finish_reason="length")
    with pytest.raises(ChatClientInvalidResponseException, match="allow more with max_tokens"):
        await ask(agent_of(scripted(Dialogue(cut + DONE)), weather.get_weather), QUESTION)
    assert weather.asked == []


async def test_a_server_that_goes_away_in_the_middle_can_be_asked_again(scripted: Serve, ask: Ask) -> None:
    dialogue = Dialogue(answer("One."), CALL_OSLO, chunk("Sn"), answer("Snow."))
    agent = agent_of(scripted(dialogue))
    session: AgentSession = agent.create_session()
    await ask(agent, "Hi", session=session)
    with pytest.raises(ChatClientInvalidResponseException, match="closed the connection before") as broke:
        await ask(agent, QUESTION, session=session)
    assert isinstance(broke.value.__cause__, AnswerIncomplete)
    assert (await ask(agent, QUESTION, session=session)).text == "Snow."
    sent = dialogue.bodies[-1]["messages"]
    waiting = {call["id"] for message in sent for call in message.get("tool_calls", ())}
    assert waiting == {message["tool_call_id"] for message in sent if message["role"] == "tool"}
    assert [message["content"] for message in sent][:2] == ["Hi", "One."]
    assert sent[-1]["content"] == QUESTION


async def test_a_refusal_is_one_sentence(scripted: Serve, ask: Ask) -> None:
    sentence = "The model 'phi' has no form for tools."
    with pytest.raises(ChatClientInvalidRequestException) as refused:
        await ask(agent_of(scripted(Dialogue(refusal(400, sentence, "tools")))), QUESTION)
    assert str(refused.value) == sentence
    assert isinstance(refused.value.__cause__, ClientError)


async def test_a_result_too_long_for_the_model_is_refused_by_the_server(scripted: Serve, ask: Ask) -> None:
    def read() -> str:
        """Read a book."""
        return "word " * 200_000

    dialogue = Dialogue(
        calling(("read", {})), refusal(400, "The prompt has 200013 tokens, but may have 2048.")
    )
    with pytest.raises(ChatClientInvalidRequestException, match="200013 tokens"):
        await ask(agent_of(scripted(dialogue), read), "Read!")
    assert [len(content) for _, content in tool_messages(dialogue.bodies[1])] == [1_000_000]


async def test_no_server_and_another_program_are_named(scripted: Serve, ask: Ask) -> None:
    agent = Agent(PhiChatClient(base_url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(ChatClientException, match=r"Start it with: localphi serve"):
        await ask(agent, QUESTION)
    page = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"
    with pytest.raises(ChatClientInvalidRequestException, match=r"HTTP status 404\. Is it a localphi server"):
        await ask(agent_of(scripted(Dialogue(page))), QUESTION)
    with pytest.raises(ValueError, match="base_url must be like"):
        PhiChatClient(base_url="localhost:8000")


@pytest.mark.parametrize(
    ("message", "options", "said"),
    [
        (
            Message("user", [Content.from_uri("data:image/png;base64,aGk=", media_type="image/png")]),
            {},
            "has data",
        ),
        (Message("critic", ["Hi"]), {}, "of role critic"),
        (Message("user", ["Hi"]), {"temperature": 3}, "An option is wrong: temperature must be"),
        (Message("user", ["Hi"]), {"tool_choice": "always", "tools": [broken]}, "always"),
        (Message("user", ["Hi"]), {"response_format": 3}, "but int came"),
        (Message("user", ["Hi"]), {"logit_bias": {1: object()}}, "'extra' cannot be sent"),
    ],
)
async def test_what_cannot_be_sent_is_refused_in_one_sentence(
    scripted: Serve, message: Message, options: Any, said: str
) -> None:
    dialogue = Dialogue(answer("ok"))
    client = PhiChatClient(base_url=scripted(dialogue).url)
    with pytest.raises((ChatClientInvalidRequestException, ChatClientException), match=said) as refused:
        await client.get_response([message], options=options)
    assert "\n" not in str(refused.value)
    assert dialogue.bodies == []


async def test_options_that_the_server_knows_better_are_sent_to_it(scripted: Serve) -> None:
    dialogue = Dialogue(answer("ok"))
    client = PhiChatClient(base_url=scripted(dialogue).url)
    await client.get_response([Message("user", ["Hi"])], options={"presence_penalty": 1, "user": "me"})
    assert (dialogue.bodies[0]["presence_penalty"], dialogue.bodies[0]["user"]) == (1, "me")


# ---- middleware, many at once, leaving early


async def test_middleware_sees_every_call(scripted: Serve, ask: Ask) -> None:
    seen: list[str] = []

    class Watch(FunctionMiddleware):
        async def process(
            self, context: FunctionInvocationContext, call_next: Callable[[], Awaitable[None]]
        ) -> None:
            seen.append(context.function.name)
            await call_next()

    dialogue = Dialogue(CALL_BOTH, answer("ok"))
    await ask(agent_of(scripted(dialogue), middleware=[Watch()]), QUESTION)
    assert seen == ["get_weather", "get_weather"]


async def test_eight_agents_at_once_say_what_they_say_one_by_one(scripted: Serve, ask: Ask) -> None:
    def model(body: dict[str, Any]) -> bytes:
        time.sleep(0.005)
        said = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        question = body["messages"][0]["content"]
        return answer(question, *said) if said else CALL_BOTH

    agent = agent_of(scripted(Dialogue(model)))
    one_by_one = [(await ask(agent, f"Question {number}")).text for number in range(8)]
    at_once = await asyncio.gather(*(ask(agent, f"Question {number}") for number in range(8)))
    assert [asked.text for asked in at_once] == one_by_one
    assert one_by_one[7].startswith("Question 7{")


async def test_cancelling_closes_the_connection(scripted: Serve, ask: Ask) -> None:
    began, closed = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + chunk("Sn"))
        began.set()
        connection.wait_for_close()
        closed.set()

    task = asyncio.ensure_future(ask(agent_of(scripted(script)), QUESTION))
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_stream_that_is_left_early_closes_the_connection(scripted: Serve) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + chunk("Sn"))
        connection.wait_for_close()
        closed.set()

    async with agent_of(scripted(script)).run(QUESTION, stream=True) as stream:
        async for _ in stream:
            break
    assert await asyncio.to_thread(closed.wait, 10)


# ---- plugins and MCP


async def test_plugins_are_offered_with_their_bounds_and_called(
    scripted: Serve, ask: Ask, tmp_path: Path
) -> None:
    plugins = [Time(), Math(), Files(tmp_path), Units()]
    tools = [tool for plugin in plugins for tool in plugin_tools(plugin)]
    dialogue = Dialogue(
        calling(
            ("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1/0"}), ("list_files", {})
        ),
        answer("42"),
    )
    await ask(agent_of(scripted(dialogue), *tools), "?")
    offered = {tool["function"]["name"]: tool["function"] for tool in dialogue.bodies[0]["tools"]}
    assert len(offered) == 10
    assert offered["add"]["parameters"]["properties"]["start"] == {
        "type": "string",
        "description": "Date or time to start from, like 2026-11-26 or 2026-11-26T14:30",
        "maxLength": 32,
    }
    told = [content for _, content in tool_messages(dialogue.bodies[1])]
    assert told[0] == "42"
    assert "divides by zero" in told[1]
    assert told[2] == "(empty)"


async def test_tools_of_an_mcp_server_are_called(scripted: Serve, ask: Ask) -> None:
    arguments = {"to": {"city": "Oslo"}, "max-stops": 1, "kernel": "a"}
    dialogue = Dialogue(calling(("maps_route", arguments), ("fail", {})), answer("There."))
    async with McpTools([sys.executable, str(Path(__file__).parent / "mcp_tool_server.py")]) as server:
        asked = await ask(agent_of(scripted(dialogue), *mcp_tools(server)), "Go!")
    assert asked.text == "There."
    told = [content for _, content in tool_messages(dialogue.bodies[1])]
    assert json.loads(told[0]) == arguments
    assert "no luck today" in told[1]


# ---- the real server


class Town:
    """A function whose argument is short whatever a model does."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_weather(self, city: Literal["Oslo", "Rome"]) -> dict[str, Any]:
        """Get the current weather in a city."""
        self.asked.append(city)
        return REPORTS[city]


async def test_a_required_call_of_the_demo_model_is_made(demo_server: LiveServer, ask: Ask) -> None:
    """Whatever the model would say: the server's grammar makes the call valid."""
    town = Town()
    agent = Agent(
        PhiChatClient(base_url=demo_server.url),
        tools=[town.get_weather],
        default_options={"temperature": 0, "max_tokens": 50, "allow_multiple_tool_calls": False},
    )
    asked = await ask(agent, QUESTION, options={"tool_choice": "required"})
    assert town.asked
    assert roles(asked.messages)[:2] == ["assistant", "tool"]
    assert roles(asked.messages)[-1] == "assistant"


class Place(BaseModel):
    city: Annotated[str, Field(max_length=20)]
    warm: bool


async def test_a_structured_answer_of_the_demo_model_is_valid(demo_server: LiveServer) -> None:
    agent = Agent(PhiChatClient(base_url=demo_server.url))
    options: Any = {"temperature": 0, "max_tokens": 100, "response_format": Place}
    done = await agent.run("Oslo is not warm.", options=options)
    assert isinstance(done.value, Place)
