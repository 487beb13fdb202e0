"""A conversation with functions, told step by step: for programs that show what an agent does."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.contents import (
    ChatHistory,
    FunctionCallContent,
    FunctionResultContent,
    StreamingChatMessageContent,
    TextContent,
)

from localphi_agents.semantic_kernel.messages import result_text
from localphi_agents.semantic_kernel.service import PhiChatCompletion
from localphi_agents.semantic_kernel.settings import PhiPromptExecutionSettings


@dataclass(frozen=True)
class Said:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class Called:
    """A function is about to run. arguments: JSON text."""

    id: str | None
    name: str
    arguments: str


@dataclass(frozen=True)
class Returned:
    """What a function gave, as the model reads it; also what is told of one that failed."""

    id: str | None
    name: str
    text: str


@dataclass(frozen=True)
class Ended:
    """finish_reason: "length" when the answer was cut off."""

    finish_reason: str | None
    completion_tokens: int | None


Event = Said | Called | Returned | Ended


class Conversation:
    """One agent and what was said with it. Ask one question at a time.

    Its history always has whole turns. When a question fails, everything before it stays and the question is
    forgotten; when an answer is left early (`aclose()`, a cancelled task), what was said and done stays.
    """

    def __init__(
        self,
        service: PhiChatCompletion,
        kernel: Kernel,
        *,
        instructions: str | None = None,
        settings: PhiPromptExecutionSettings | None = None,
    ) -> None:
        """settings: a function_choice_behavior in it is kept, else the model chooses (Auto)."""
        self._service = service
        self._kernel = kernel
        self._settings = (settings or PhiPromptExecutionSettings()).model_copy()
        self._settings.function_choice_behavior = (
            self._settings.function_choice_behavior or FunctionChoiceBehavior.Auto()
        )
        self._instructions = instructions
        self.history = ChatHistory(system_message=instructions)

    def start_over(self) -> None:
        self.history = ChatHistory(system_message=self._instructions)

    async def ask(self, question: str) -> AsyncGenerator[Event, None]:
        """The answer as it comes, Ended last. Raises what PhiChatCompletion raises."""
        history = self.history
        before = len(history.messages)
        history.add_user_message(question)
        said = ""  # since the last function was called
        message: StreamingChatMessageContent | None = None
        try:
            stream = self._service.get_streaming_chat_message_contents(
                history, self._settings, kernel=self._kernel
            )
            async with aclosing(stream):
                async for messages in stream:
                    for message in messages:
                        for event in _events(message):
                            said = said + event.text if isinstance(event, Said) else ""
                            yield event
        except Exception:
            del history.messages[before:]
            raise
        except BaseException:  # left early
            if said:
                history.add_assistant_message(said)
            elif len(history.messages) == before + 1:
                del history.messages[before:]
            raise
        history.add_assistant_message(said)
        yield _end(message)


async def answer_once(conversation: Conversation, question: str) -> str:
    """The answer's text, without what was said before functions were called."""
    text = ""
    async with aclosing(conversation.ask(question)) as events:
        async for event in events:
            match event:
                case Said():
                    text += event.text
                case Returned():
                    text = ""
    return text


def _events(message: StreamingChatMessageContent) -> Iterator[Said | Called | Returned]:
    for item in message.items:
        match item:
            case TextContent() if item.text:
                yield Said(item.text)
            case FunctionCallContent():
                yield Called(item.id, item.name or item.function_name, _json(item.arguments))
            case FunctionResultContent():
                yield Returned(item.id, item.name or item.function_name, result_text(item.result))


def _json(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(dict(arguments or {}))


def _end(message: StreamingChatMessageContent | None) -> Ended:
    if message is None:
        return Ended(None, None)
    usage = message.metadata.get("usage")
    reason = message.finish_reason
    return Ended(reason.value if reason else None, usage.completion_tokens if usage else None)
