"""Semantic Kernel's own agents and kernels on PhiChatCompletion."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterable, Callable
from functools import reduce
from operator import add
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.connectors.ai import PromptExecutionSettings
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FinishReason,
    FunctionCallContent,
    FunctionResultContent,
    ImageContent,
    StreamingChatMessageContent,
    TextContent,
)
from semantic_kernel.exceptions.service_exceptions import (
    ServiceInvalidExecutionSettingsError,
    ServiceInvalidRequestError,
    ServiceInvalidResponseError,
    ServiceResponseException,
)
from semantic_kernel.functions import KernelArguments
from semantic_kernel.utils.telemetry.model_diagnostics import decorators

from localphi_agents import RequestRefused, ServerUnreachable
from localphi_agents.client import LocalphiClient
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

from .scripted_server import (
    DONE,
    STREAM_HEAD,
    Connection,
    ScriptedServer,
    answer,
    chunk,
    event,
    free_port,
    usage,
)

Serve = Callable[[Callable[[Connection], None]], ScriptedServer]


class Recorder:
    """A server that answers "yes" and keeps what it was asked."""

    def __init__(self, body: bytes | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._body = body or answer("yes")

    def service(self, **arguments: Any) -> PhiChatCompletion:
        client = LocalphiClient(transport=httpx.MockTransport(self._answer))
        return PhiChatCompletion(client=client, **arguments)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=self._body)


def history(*messages: ChatMessageContent) -> ChatHistory:
    return ChatHistory(messages=list(messages))


def asked(text: str) -> ChatHistory:
    return history(ChatMessageContent(role=AuthorRole.USER, content=text))


async def gather_stream(
    service: PhiChatCompletion, chat_history: ChatHistory, settings: PromptExecutionSettings
) -> list[StreamingChatMessageContent]:
    stream = service.get_streaming_chat_message_contents(chat_history, settings)
    return [message async for messages in stream for message in messages]


async def texts(answers: AsyncIterable[Any]) -> list[str]:
    return [item.message.content async for item in answers]


# ---- the service


async def test_a_whole_answer_has_text_reason_usage_and_names(echo_url: str) -> None:
    service = PhiChatCompletion(base_url=echo_url)
    message = await service.get_chat_message_content(asked("one two three"), PhiPromptExecutionSettings())
    assert message is not None
    assert (message.role, message.content) == (AuthorRole.ASSISTANT, "one two three")
    assert message.finish_reason == FinishReason.STOP
    assert message.metadata["usage"] == CompletionUsage(prompt_tokens=3, completion_tokens=3)
    assert message.metadata["model"] == "localphi-demo"
    assert message.metadata["id"].startswith("chatcmpl-")


async def test_streamed_pieces_add_up_to_the_whole_answer(echo_url: str) -> None:
    service = PhiChatCompletion(base_url=echo_url)
    settings = PhiPromptExecutionSettings()
    pieces = await gather_stream(service, asked("one two three"), settings)
    whole = await service.get_chat_message_content(asked("one two three"), settings)
    total = reduce(add, pieces)
    assert [piece.content for piece in pieces] == ["one ", "two ", "three", ""]
    assert whole is not None
    assert (total.content, total.finish_reason) == (whole.content, whole.finish_reason)
    assert total.metadata["usage"] == whole.metadata["usage"]


async def test_settings_reach_the_server_under_its_names() -> None:
    server = Recorder()
    settings = PhiPromptExecutionSettings(
        max_tokens=5, temperature=0.0, top_p=0.5, top_k=3, adapter="a", seed=7, stop_sequences=["end"]
    )
    await server.service(ai_model_id="tiny").get_chat_message_content(asked("hi"), settings)
    del server.bodies[0]["messages"], server.bodies[0]["stream"], server.bodies[0]["stream_options"]
    assert server.bodies[0] == {
        "model": "tiny",
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "adapter": "a",
        "seed": 7,
        "stop": ["end"],
    }


async def test_settings_of_no_service_in_particular_are_understood() -> None:
    server = Recorder()
    settings = PromptExecutionSettings(max_tokens=5, stop="end", user=None)
    await server.service().get_chat_message_content(asked("hi"), settings)
    body = server.bodies[0]
    assert (body["max_tokens"], body["stop"]) == (5, "end")
    assert body.keys() == {"messages", "stream", "stream_options", "max_tokens", "stop"}


@pytest.mark.parametrize(
    "wrong", [{"temperature": 3}, {"top_p": 0}, {"max_tokens": 0}, {"seed": -1}, {"top_k": -1}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PhiPromptExecutionSettings(**wrong)


async def test_a_setting_that_the_server_cannot_honour_is_refused_by_name(echo_url: str) -> None:
    settings = PromptExecutionSettings(min_tokens=5)
    with pytest.raises(ServiceInvalidRequestError, match="'min_tokens' is not supported"):
        await PhiChatCompletion(base_url=echo_url).get_chat_message_content(asked("hi"), settings)


async def test_a_setting_that_is_not_json_is_refused_by_name() -> None:
    settings = PromptExecutionSettings(user=PhiPromptExecutionSettings)
    with pytest.raises(ServiceInvalidExecutionSettingsError, match="'user' cannot be sent"):
        await Recorder().service().get_chat_message_content(asked("hi"), settings)


async def test_stop_sequences_end_the_answer(echo_url: str) -> None:
    settings = PhiPromptExecutionSettings(stop_sequences=["three"])
    message = await PhiChatCompletion(base_url=echo_url).get_chat_message_content(
        asked("one two three four"), settings
    )
    assert message is not None
    assert (message.content, message.finish_reason) == ("one two ", FinishReason.STOP)


async def test_max_tokens_ends_the_answer_with_length(echo_url: str) -> None:
    settings = PhiPromptExecutionSettings(max_tokens=1)
    pieces = await gather_stream(PhiChatCompletion(base_url=echo_url), asked("one two"), settings)
    assert pieces[-1].finish_reason == FinishReason.LENGTH


async def test_every_role_is_sent_with_all_its_text() -> None:
    server = Recorder()
    chat = history(
        ChatMessageContent(role=AuthorRole.SYSTEM, content="be brief"),
        ChatMessageContent(role=AuthorRole.DEVELOPER, content="be kind"),
        ChatMessageContent(role=AuthorRole.USER, items=[TextContent(text="a"), TextContent(text="b")]),
        ChatMessageContent(role=AuthorRole.ASSISTANT, content=""),
        ChatMessageContent(
            role=AuthorRole.TOOL, items=[FunctionResultContent(id="1", name="lights-switch", result=42)]
        ),
    )
    await server.service().get_chat_message_content(chat, PhiPromptExecutionSettings())
    assert server.bodies[0]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]


@pytest.mark.parametrize(
    ("role", "item", "wanted"),
    [
        (
            AuthorRole.USER,
            ImageContent(uri="http://localhost/cat.png"),
            "Only text .* role user has ImageContent",
        ),
        (
            AuthorRole.USER,
            FunctionCallContent(id="1", name="lights-switch", arguments="{}"),
            "Only the assistant calls functions, but .* role user has a call of lights-switch",
        ),
    ],
)
async def test_content_that_cannot_be_sent_is_refused(role: AuthorRole, item: Any, wanted: str) -> None:
    server = Recorder()
    chat = history(ChatMessageContent(role=role, items=[TextContent(text="look"), item]))
    with pytest.raises(ServiceInvalidRequestError, match=wanted):
        await server.service().get_chat_message_content(chat, PhiPromptExecutionSettings())
    assert server.bodies == []


def test_a_service_has_its_own_id_or_the_models() -> None:
    assert PhiChatCompletion().service_id == "localphi"
    assert PhiChatCompletion(ai_model_id="tiny").service_id == "tiny"
    assert PhiChatCompletion(ai_model_id="tiny", service_id="small").service_id == "small"
    assert PhiChatCompletion(base_url="http://localhost:9000").service_url() == "http://localhost:9000"


# ---- agents


async def test_an_agent_remembers_the_turns_of_its_thread() -> None:
    server = Recorder()
    agent = ChatCompletionAgent(service=server.service(), name="Phi", instructions="Be brief.")
    first = await agent.get_response("Do you hear me?")
    second = await agent.get_response("Still?", thread=first.thread)
    assert (str(first), str(second)) == ("yes", "yes")
    assert server.bodies[1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Do you hear me?"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "Still?"},
    ]


async def test_a_streaming_agent_gives_words_usage_and_a_thread(echo_url: str) -> None:
    agent = ChatCompletionAgent(service=PhiChatCompletion(base_url=echo_url), instructions="Be brief.")
    thread = ChatHistoryAgentThread()
    first = [item.message async for item in agent.invoke_stream("one two three", thread=thread)]
    second = await texts(agent.invoke_stream("four five", thread=thread))
    assert [message.content for message in first] == ["one ", "two ", "three", ""]
    assert first[-1].finish_reason == FinishReason.STOP
    assert first[-1].metadata["usage"] == CompletionUsage(prompt_tokens=5, completion_tokens=3)
    assert "".join(second) == "four five"
    remembered = [(message.role.value, message.content) async for message in thread.get_messages()]
    assert remembered == [
        ("user", "one two three"),
        ("assistant", "one two three"),
        ("user", "four five"),
        ("assistant", "four five"),
    ]


async def test_an_agent_takes_its_settings_from_its_arguments(echo_url: str) -> None:
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=echo_url),
        arguments=KernelArguments(settings=PhiPromptExecutionSettings(max_tokens=2)),
    )
    assert str(await agent.get_response("one two three")) == "one two "


async def test_two_streaming_agents_do_not_mix(echo_url: str) -> None:
    service = PhiChatCompletion(base_url=echo_url)
    agents = [ChatCompletionAgent(service=service, name=name) for name in ("Ann", "Bob")]
    questions = [" ".join([agent.name] * 50) for agent in agents]
    streams = [texts(agent.invoke_stream(text)) for agent, text in zip(agents, questions, strict=True)]
    assert ["".join(answer) for answer in await asyncio.gather(*streams)] == questions


async def test_a_prompt_function_of_a_kernel_is_answered(echo_url: str) -> None:
    kernel = Kernel()
    kernel.add_service(PhiChatCompletion(base_url=echo_url))
    assert str(await kernel.invoke_prompt("Say {{$word}}", word="hello")) == "Say hello"


# ---- failures


async def test_an_unknown_model_is_an_invalid_request(echo_url: str) -> None:
    service = PhiChatCompletion(base_url=echo_url, ai_model_id="nobody")
    with pytest.raises(ServiceInvalidRequestError, match="There is no model 'nobody'") as refused:
        await service.get_chat_message_content(asked("hi"), PhiPromptExecutionSettings())
    assert isinstance(refused.value.__cause__, RequestRefused)


async def test_no_server_is_a_service_error_that_says_how_to_start_one() -> None:
    agent = ChatCompletionAgent(service=PhiChatCompletion(base_url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(ServiceResponseException, match=r"Start it with: localphi serve") as unreachable:
        await texts(agent.invoke_stream("hi"))
    assert isinstance(unreachable.value.__cause__, ServerUnreachable)


async def test_a_failure_within_the_answer_is_a_service_error() -> None:
    failing = chunk("some") + event({"error": {"message": "The worker ended."}})
    with pytest.raises(ServiceResponseException, match="The worker ended"):
        await gather_stream(Recorder(failing).service(), asked("hi"), PhiPromptExecutionSettings())


@pytest.mark.parametrize("body", [chunk("some"), b"data: nonsense\n\n" + DONE])
async def test_half_an_answer_or_nonsense_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(ServiceInvalidResponseError):
        await Recorder(body).service().get_chat_message_content(asked("hi"), PhiPromptExecutionSettings())


# ---- leaving early


async def test_an_agent_that_stops_listening_closes_the_connection(scripted: Serve) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(STREAM_HEAD + chunk("some"))
        connection.wait_for_close()
        closed.set()

    agent = ChatCompletionAgent(service=PhiChatCompletion(base_url=scripted(script).url))
    async for _ in agent.invoke_stream("hi"):
        break
    assert await asyncio.to_thread(closed.wait, 10)


async def test_cancelling_one_answer_of_a_service_leaves_it_usable(echo_url: str) -> None:
    agent = ChatCompletionAgent(service=PhiChatCompletion(base_url=echo_url))
    began = asyncio.Event()

    async def listen() -> None:
        async for _ in agent.invoke_stream("one two three"):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert str(await agent.get_response("next")) == "next"


# ---- telemetry


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(decorators, "tracer", provider.get_tracer("test"))
    monkeypatch.setattr(decorators, "are_model_diagnostics_enabled", lambda: True)
    return exporter


async def test_telemetry_sees_settings_usage_and_reason(spans: InMemorySpanExporter) -> None:
    service = Recorder().service(ai_model_id="tiny")
    settings = PhiPromptExecutionSettings(max_tokens=5, temperature=0.5, stop_sequences=["end"])
    settings.seed = 7  # set later, it is seen too
    await service.get_chat_message_content(asked("hi"), settings)
    await gather_stream(service, asked("hi"), settings)
    whole, streamed = (dict(span.attributes or {}) for span in spans.get_finished_spans())
    assert whole == streamed
    assert whole == {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "localphi",
        "gen_ai.request.model": "tiny",
        "server.address": "http://localhost:8000",
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("end",),
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reason": "FinishReason.STOP",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
    }


@pytest.mark.parametrize("streaming", [False, True])
async def test_telemetry_sees_how_much_of_the_prompt_was_at_hand(
    spans: InMemorySpanExporter, streaming: bool
) -> None:
    body = chunk("yes") + chunk(finish_reason="stop") + usage(9, 2, cached_tokens=8) + DONE
    service, settings = Recorder(body).service(), PhiPromptExecutionSettings()
    if streaming:
        await gather_stream(service, asked("hi"), settings)
    else:
        await service.get_chat_message_content(asked("hi"), settings)
    (span,) = spans.get_finished_spans()
    assert (span.attributes or {})["gen_ai.usage.cache_read.input_tokens"] == 8
