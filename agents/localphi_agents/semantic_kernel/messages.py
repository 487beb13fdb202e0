"""Semantic Kernel's messages from and to ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic_core import to_jsonable_python
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.contents import (
    AuthorRole,
    ChatMessageContent,
    FinishReason,
    FunctionCallContent,
    FunctionResultContent,
    StreamingChatMessageContent,
    TextContent,
)
from semantic_kernel.contents.kernel_content import KernelContent
from semantic_kernel.exceptions.service_exceptions import ServiceInvalidRequestError

from localphi_agents.chat import Delta, Message, Reply, Role, ToolCall, Usage

_ROLES: dict[AuthorRole, Role] = {
    AuthorRole.SYSTEM: "system",
    AuthorRole.DEVELOPER: "developer",
    AuthorRole.USER: "user",
    AuthorRole.ASSISTANT: "assistant",
    AuthorRole.TOOL: "tool",
}
_FINISH_REASONS = {reason.value: reason for reason in FinishReason}
_NO_ID = "unknown"  # how Semantic Kernel calls a call that has no id, in its result


def to_messages(messages: Iterable[ChatMessageContent]) -> list[Message]:
    """Raises ServiceInvalidRequestError for images and everything else that cannot be sent."""
    return [sent for message in messages for sent in _to_messages(message)]


def whole_message(reply: Reply, ai_model_id: str) -> ChatMessageContent:
    items: list[Any] = _calls(reply.tool_calls, ai_model_id)
    if reply.text or not items:
        items.insert(0, TextContent(text=reply.text, ai_model_id=ai_model_id))
    return ChatMessageContent(
        role=AuthorRole.ASSISTANT,
        items=items,
        ai_model_id=ai_model_id,
        finish_reason=_finish_reason(reply.finish_reason),
        metadata=metadata(reply),
    )


def message_pieces(delta: Delta, ai_model_id: str, attempt: int) -> Iterator[StreamingChatMessageContent]:
    """Calls in a message of their own: agents hold those back, and the usage behind them must get through."""
    common: dict[str, Any] = {
        "role": AuthorRole.ASSISTANT,
        "choice_index": 0,
        "ai_model_id": ai_model_id,  # messages of different ids, or with none, cannot be added up
        "function_invoke_attempt": attempt,
        "metadata": metadata(delta),
    }
    if delta.tool_calls:
        yield StreamingChatMessageContent(items=[*_calls(delta.tool_calls, ai_model_id)], **common)
    reason = _finish_reason(delta.finish_reason)
    yield StreamingChatMessageContent(content=delta.text, finish_reason=reason, **common)


def result_text(result: Any) -> str:
    """What a function returned, as the model reads it: texts as they are, everything else as JSON.

    Tools of MCP servers return lists of contents; their texts are put together, and of images and the like
    there is only a note.
    """
    contents = result if isinstance(result, list) and result else [result]
    if any(isinstance(content, KernelContent) for content in contents):
        return "\n".join(_shown(content) for content in contents)
    return result if isinstance(result, str) else _json(result)


def _to_messages(message: ChatMessageContent) -> Iterator[Message]:
    role = _ROLES[message.role]
    if role == "tool":
        yield from (_tool_message(item) for item in message.items)
        return
    calls = [item for item in message.items if isinstance(item, FunctionCallContent)]
    if calls and role != "assistant":
        raise ServiceInvalidRequestError(
            f"Only the assistant calls functions, but a message of role {role} has a call of {calls[0].name}."
        )
    others = (item for item in message.items if not isinstance(item, FunctionCallContent))
    text = "".join(_text(item, role) for item in others)
    yield Message(role, text, tuple(_tool_call(call) for call in calls))


def _tool_message(item: KernelContent) -> Message:
    call_id = item.id if isinstance(item, FunctionResultContent) else None
    return Message("tool", _text(item, "tool"), tool_call_id=call_id)


def _tool_call(item: FunctionCallContent) -> ToolCall:
    arguments = item.arguments or "{}"
    if not isinstance(arguments, str):
        arguments = _json(dict(arguments))
    return ToolCall(item.id or _NO_ID, item.name or item.function_name, arguments)


def _text(item: KernelContent, role: Role) -> str:
    match item:
        case TextContent():
            return item.text
        case FunctionResultContent():
            return result_text(item.result)
    raise ServiceInvalidRequestError(
        f"Only text can be sent to a Phi model, but a message of role {role} has {type(item).__name__}."
    )


def _shown(content: Any) -> str:
    match content:
        case TextContent():
            return content.text
        case ChatMessageContent():
            return content.content
        case KernelContent():
            return f"({type(content).__name__}, which this model cannot read)"
    return result_text(content)


def _json(value: Any) -> str:
    """Also of models, dataclasses, dates and whatever else functions return; the rest by its str()."""
    return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)


def _calls(calls: Sequence[ToolCall], ai_model_id: str) -> list[FunctionCallContent]:
    """Each with an index: Semantic Kernel takes calls without one for pieces of the same call."""
    return [
        FunctionCallContent(
            id=call.id, index=index, name=call.name, arguments=call.arguments, ai_model_id=ai_model_id
        )
        for index, call in enumerate(calls)
    ]


def metadata(answer: Delta | Reply) -> dict[str, Any]:
    """What Semantic Kernel's telemetry looks for, and which model it was."""
    known: dict[str, Any] = {"id": answer.id, "model": answer.model}
    if answer.usage is not None:
        known["usage"] = _usage(answer.usage)
    return known


def _usage(usage: Usage) -> CompletionUsage:
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return CompletionUsage(**counts)


def _finish_reason(reason: str | None) -> FinishReason | None:
    return _FINISH_REASONS.get(reason) if reason else None
