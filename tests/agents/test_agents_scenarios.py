"""The scenarios in which Semantic Kernel's own integration tests try chat services with functions, for ours.

They want each kind of content at its place, from a real model behind a real server; what a tiny model makes
of the numbers is another matter (`localphi evaluate`). Theirs live in semantic-kernel's folder
`python/tests/integration/completions`; the words here are ours. Left out is what only other vendors have:
pictures, and their keys.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import (
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    TextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions import kernel_function

from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
from serving import LiveServer

Filter = Literal["excluded_plugins", "included_plugins", "excluded_functions", "included_functions"]

NO_MATHS = "You are bad at sums. Do not try to do them yourself."
WITHOUT_TASKS: dict[Filter, list[str]] = {"excluded_plugins": ["tasks"]}


class Person(BaseModel):
    id: str
    name: str
    age: int


class People:
    @kernel_function(name="find_person", description="Find the person with the given id.")
    def find_person(self, person_id: Annotated[str, "The id of the person."]) -> Person:
        return Person(id=person_id, name="Ada", age=36)


class Sums:
    """In the form of Semantic Kernel's own MathPlugin, whose module warns of its end when it is imported."""

    @kernel_function(name="Add")
    def add(
        self,
        input: Annotated[float, "the first number to add"],
        amount: Annotated[float, "the second number to add"],
    ) -> float:
        """Returns the addition result of the values provided."""
        return input + amount

    @kernel_function(name="Subtract")
    def subtract(
        self,
        input: Annotated[float, "the first number"],
        amount: Annotated[float, "the number to subtract"],
    ) -> float:
        """Returns the difference of numbers provided."""
        return input - amount


class Tasks:
    @kernel_function(name="run_task", description="Run a task. Nobody should call this.")
    def run_task(self) -> str:
        raise AssertionError("an excluded plugin was called")


@pytest.fixture
def kernel() -> Kernel:
    kernel = Kernel()
    kernel.add_plugin(Tasks(), "tasks")
    return kernel


@pytest.fixture
def service(demo_server: LiveServer) -> PhiChatCompletion:
    return PhiChatCompletion(base_url=demo_server.url)


def _question(text: str, system: str | None = None) -> ChatHistory:
    history = ChatHistory()
    if system:
        history.add_system_message(system)
    history.add_user_message(text)
    return history


async def _ask(
    service: PhiChatCompletion, kernel: Kernel, history: ChatHistory, *, stream: bool, **settings: Any
) -> list[ChatMessageContent]:
    """All messages behind those of the history, the last one as it came."""
    asked = len(history)
    request = PhiPromptExecutionSettings(max_tokens=120, **settings)
    if not stream:
        answers = await service.get_chat_message_contents(history, request, kernel=kernel)
        return [*history.messages[asked:], *answers]
    pieces = [
        piece
        async for (piece,) in service.get_streaming_chat_message_contents(history, request, kernel=kernel)
        if piece.role is AuthorRole.ASSISTANT
    ]
    behind = history.messages[asked:]
    if behind:  # what the loop has put into the history was streamed as well
        pieces = pieces[-_pieces_of_the_last(pieces) :]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    return [*behind, whole]


def _pieces_of_the_last(pieces: list[Any]) -> int:
    last = max(piece.function_invoke_attempt for piece in pieces)
    return sum(piece.function_invoke_attempt == last for piece in pieces)


def _kinds(messages: list[ChatMessageContent]) -> list[type]:
    """Of each item, but for texts without a word beside others."""
    items = [item for message in messages for item in message.items]
    heard = [item for item in items if len(items) == 1 or not _is_blank(item)]
    return [TextContent if isinstance(item, TextContent) else type(item) for item in heard]


def _is_blank(item: object) -> bool:
    return isinstance(item, TextContent) and not item.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("as_text", [False, True], ids=["behavior", "string"])
async def test_auto_calls_the_function_and_answers_with_its_result(
    service: PhiChatCompletion, kernel: Kernel, stream: bool, as_text: bool
) -> None:
    if as_text:
        kernel.remove_all_services()
        kernel.plugins.pop("tasks")
    kernel.add_plugin(Sums(), "math")
    behavior: Any = "auto" if as_text else FunctionChoiceBehavior.Auto(filters=WITHOUT_TASKS)
    history = _question("Add 345 and 3.", NO_MATHS)
    messages = await _ask(service, kernel, history, stream=stream, function_choice_behavior=behavior)
    assert _kinds(messages) == [FunctionCallContent, FunctionResultContent, TextContent]
    call, result = messages[0].items[-1], messages[1].items[0]
    assert isinstance(call, FunctionCallContent)
    assert isinstance(result, FunctionResultContent)
    assert result.id == call.id
    assert call.plugin_name == result.plugin_name == "math"
    assert json.loads(str(call.arguments)) == {"input": 345, "amount": 3}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_without_invoking_the_call_is_the_answer(
    service: PhiChatCompletion, kernel: Kernel, stream: bool
) -> None:
    kernel.add_plugin(Sums(), "math")
    behavior = FunctionChoiceBehavior.Auto(auto_invoke=False, filters=WITHOUT_TASKS)
    history = _question("Add 345 and 3.", NO_MATHS)
    messages = await _ask(service, kernel, history, stream=stream, function_choice_behavior=behavior)
    assert _kinds(messages) == [FunctionCallContent]
    assert len(history) == 2, "the history is as it was"
    (call,) = [item for item in messages[0].items if isinstance(item, FunctionCallContent)]
    assert json.loads(str(call.arguments)) == {"input": 345, "amount": 3}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_call_and_its_result_of_earlier_are_answered_in_words(
    service: PhiChatCompletion, kernel: Kernel, stream: bool
) -> None:
    call = FunctionCallContent(
        id="fin", name="finance-search", arguments='{"company": "contoso", "year": 2024}'
    )
    result = FunctionResultContent(id="fin", name="finance-search", result="1.2B")
    history = _question("What did we earn in 2024?")
    history.add_message(ChatMessageContent(role=AuthorRole.ASSISTANT, items=[call]))
    history.add_message(ChatMessageContent(role=AuthorRole.TOOL, items=[result]))
    messages = await _ask(service, kernel, history, stream=stream)
    assert _kinds(messages) == [TextContent]
    assert "1.2" in str(messages[0])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_result_with_fields_comes_back_as_json(
    service: PhiChatCompletion, kernel: Kernel, stream: bool
) -> None:
    kernel.add_plugin(People(), "people")
    behavior = FunctionChoiceBehavior.Auto(filters=WITHOUT_TASKS)
    history = _question("Find the person whose id is 9b3f6e40.")
    messages = await _ask(service, kernel, history, stream=stream, function_choice_behavior=behavior)
    assert _kinds(messages) == [FunctionCallContent, FunctionResultContent, TextContent]
    (result,) = messages[1].items
    assert isinstance(result, FunctionResultContent)
    assert Person.model_validate(result.result).name == "Ada"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_required_calls_once_and_then_answers(
    service: PhiChatCompletion, kernel: Kernel, stream: bool
) -> None:
    kernel.add_plugin(Sums(), "math")
    behavior = FunctionChoiceBehavior.Required(filters={"included_functions": ["math-Subtract"]})
    history = _question("Good morning!")
    messages = await _ask(service, kernel, history, stream=stream, function_choice_behavior=behavior)
    assert _kinds(messages) == [FunctionCallContent, FunctionResultContent, TextContent]
    assert isinstance(call := messages[0].items[-1], FunctionCallContent)
    assert call.function_name == "Subtract"
