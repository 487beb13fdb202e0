"""Which part of a conversation is complete: every function call in it has its result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
)


class WorkingHistory:
    """A copy for Semantic Kernel's loop to work on: a failure then leaves no half of a step in the original.

    The loop adds the calls first and each result when its function returns. When a filter raises, or the task
    is cancelled, calls without results would stay, and every later request with that history be refused; and
    functions that still run would add their results even later.
    """

    def __init__(self, original: ChatHistory) -> None:
        self._original = original
        self._handed_over = len(original.messages)
        self.copy = original.model_copy(update={"messages": list(original.messages)})

    def hand_over(self) -> None:
        """Give the original all complete steps that it does not have yet."""
        start = self._handed_over
        complete = complete_steps(self.copy.messages[start:])
        self._handed_over += len(complete)
        self.copy.messages[start : self._handed_over] = complete
        self._original.messages.extend(complete)


def complete_steps(messages: Sequence[ChatMessageContent]) -> list[ChatMessageContent]:
    """The messages up to the first call that has no result."""
    waiting: set[str | None] = set()
    end = 0
    for number, message in enumerate(messages, 1):
        for item in message.items:
            if isinstance(item, FunctionCallContent):
                waiting.add(item.id)
            elif isinstance(item, FunctionResultContent):
                waiting.discard(item.id)
        if not waiting:
            end = number
    return results_in_order(messages[:end])


def results_in_order(messages: Iterable[ChatMessageContent]) -> list[ChatMessageContent]:
    """The messages, results in the order of their calls. Semantic Kernel has them as the functions return."""
    ordered: list[ChatMessageContent] = []
    results: list[ChatMessageContent] = []
    order: dict[str | None, int] = {}

    def place(result: ChatMessageContent) -> int:
        ids = (item.id for item in result.items if isinstance(item, FunctionResultContent))
        return order.get(next(ids, None), len(order))

    for message in messages:
        if message.role == AuthorRole.TOOL:
            results.append(message)
            continue
        ordered += sorted(results, key=place)
        results = []
        calls = (item for item in message.items if isinstance(item, FunctionCallContent))
        order = {call.id: number for number, call in enumerate(calls)}
        ordered.append(message)
    return ordered + sorted(results, key=place)
