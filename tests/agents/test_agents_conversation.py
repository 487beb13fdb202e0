"""A conversation told step by step, and what its history has when something ends early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import kernel_function

from localphi_agents.plugins import Math
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
from localphi_agents.semantic_kernel.conversation import (
    Called,
    Conversation,
    Ended,
    Event,
    Returned,
    Said,
    answer_once,
)

from .scripted_server import Dialogue, Script, ScriptedServer, answer, calling, chunk

Serve = Callable[[Script], ScriptedServer]

CALL = calling(("math-calculate", {"expression": "6*7"}), text="Let me see. ")


class Slow:
    @kernel_function
    async def wait(self) -> str:
        """Wait."""
        await asyncio.sleep(60)
        return "never"


def conversation_with(server: ScriptedServer, **kwargs: object) -> Conversation:
    kernel = Kernel()
    kernel.add_plugin(Math(), "math")
    kernel.add_plugin(Slow(), "slow")
    return Conversation(PhiChatCompletion(base_url=server.url), kernel, **kwargs)  # type: ignore[arg-type]


def roles(conversation: Conversation) -> list[str]:
    return [message.role.value for message in conversation.history.messages]


async def test_every_step_is_told_and_remembered(scripted: Serve) -> None:
    dialogue = Dialogue(CALL, answer("It is", " 42."))
    conversation = conversation_with(scripted(dialogue), instructions="Be brief.")
    events: list[Event] = [event async for event in conversation.ask("6*7?")]
    assert events == [
        Said("Let me see. "),
        Called("call_1_1", "math-calculate", '{"expression": "6*7"}'),
        Returned("call_1_1", "math-calculate", "42"),
        Said("It is"),
        Said(" 42."),
        Ended("stop", 2),
    ]
    assert roles(conversation) == ["system", "user", "assistant", "tool", "assistant"]
    assert conversation.history.messages[-1].content == "It is 42."
    conversation.start_over()
    assert roles(conversation) == ["system"]


async def test_the_answer_alone_is_what_was_said_last(scripted: Serve) -> None:
    conversation = conversation_with(scripted(Dialogue(CALL, answer("42"))))
    assert await answer_once(conversation, "6*7?") == "42"


async def test_settings_of_ones_own_are_kept(scripted: Serve) -> None:
    dialogue = Dialogue(CALL, answer("42"))
    behavior = FunctionChoiceBehavior.Required(filters={"included_plugins": ["math"]})
    settings = PhiPromptExecutionSettings(function_choice_behavior=behavior)
    await answer_once(conversation_with(scripted(dialogue), settings=settings), "6*7?")
    assert [body["tool_choice"] for body in dialogue.bodies] == ["required", "none"]


async def test_a_question_that_fails_is_forgotten_and_all_before_it_stays(scripted: Serve) -> None:
    dialogue = Dialogue(answer("Hello."), CALL, chunk("Forty"), answer("Again."))
    conversation = conversation_with(scripted(dialogue))
    await answer_once(conversation, "Hi")
    with pytest.raises(ServiceResponseException):
        await answer_once(conversation, "6*7?")
    assert roles(conversation) == ["user", "assistant"]
    assert await answer_once(conversation, "And now?") == "Again."
    assert [message["content"] for message in dialogue.bodies[-1]["messages"]] == ["Hi", "Hello.", "And now?"]


async def test_an_answer_that_is_left_early_keeps_what_was_said_and_done(scripted: Serve) -> None:
    conversation = conversation_with(scripted(Dialogue(CALL, answer("It is", " 42."))))
    async with aclosing(conversation.ask("6*7?")) as events:
        async for event in events:
            if event == Said("It is"):
                break
    assert roles(conversation) == ["user", "assistant", "tool", "assistant"]
    assert conversation.history.messages[-1].content == "It is"


async def test_a_question_that_is_left_before_anything_happened_is_forgotten(scripted: Serve) -> None:
    conversation = conversation_with(scripted(Dialogue(calling(("slow-wait", {})))))
    called = asyncio.Event()

    async def ask() -> None:
        async for event in conversation.ask("Wait!"):
            if isinstance(event, Called):
                called.set()

    task = asyncio.create_task(ask())
    await asyncio.wait_for(called.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert roles(conversation) == []
