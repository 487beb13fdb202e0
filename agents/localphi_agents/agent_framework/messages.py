"""Agent Framework's messages from and to ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from agent_framework import ChatResponse, ChatResponseUpdate, Content, Message, UsageDetails
from agent_framework.exceptions import ChatClientInvalidRequestException

from localphi_agents.chat import Delta, Reply, Role, ToolCall, Usage
from localphi_agents.chat import Message as OurMessage

_ROLES: frozenset[str] = frozenset(get_args(Role))
_UNSAID = frozenset(("text_reasoning", "usage"))


def to_messages(messages: Iterable[Message]) -> list[OurMessage]:
    """Raises ChatClientInvalidRequestException for images and everything else that cannot be sent."""
    return [sent for message in messages for sent in _to_messages(message)]


def response(reply: Reply, response_format: Any) -> ChatResponse[Any]:
    contents = [Content.from_text(reply.text)] if reply.text or not reply.tool_calls else []
    return ChatResponse(
        messages=Message("assistant", [*contents, *map(_call, reply.tool_calls)], message_id=reply.id),
        response_id=reply.id,
        model=reply.model,
        finish_reason=reply.finish_reason,  # type: ignore[arg-type]
        usage_details=_usage(reply.usage),
        response_format=response_format,
    )


def update(delta: Delta) -> ChatResponseUpdate:
    contents = [Content.from_text(delta.text)] if delta.text else []
    contents += map(_call, delta.tool_calls)
    if (usage := _usage(delta.usage)) is not None:
        contents.append(Content.from_usage(usage))
    return ChatResponseUpdate(
        contents=contents,
        role="assistant",
        response_id=delta.id,
        message_id=delta.id,
        model=delta.model,
        finish_reason=delta.finish_reason,  # type: ignore[arg-type]
    )


def _to_messages(message: Message) -> Iterator[OurMessage]:
    role = str(message.role)
    if role not in _ROLES:
        raise ChatClientInvalidRequestException(
            f"A message of role {role} cannot be sent; roles are {', '.join(sorted(_ROLES))}."
        )
    texts: list[str] = []
    calls: list[ToolCall] = []
    results: list[OurMessage] = []
    for content in message.contents:
        match content.type:
            case "text":
                texts.append(content.text or "")
            case "function_call":
                calls.append(_tool_call(content))
            case "function_result":
                results.append(OurMessage("tool", _result(content), tool_call_id=content.call_id))
            case other if other not in _UNSAID:
                raise ChatClientInvalidRequestException(
                    f"Only text can be sent to a Phi model, but a message of role {role} has {other}."
                )
    if texts or calls or not results:
        yield OurMessage(role, "".join(texts), tuple(calls))  # type: ignore[arg-type]
    yield from results


def _tool_call(content: Content) -> ToolCall:
    arguments = content.arguments or "{}"
    if not isinstance(arguments, str):
        arguments = json.dumps(dict(arguments), ensure_ascii=False, default=str)
    return ToolCall(content.call_id or "", content.name or "", arguments)


def _result(content: Content) -> str:
    """Texts as they are; of images and the like there is only a note."""
    items = content.items or ()
    if any(item.type != "text" for item in items):
        return "\n".join(
            item.text or "" if item.type == "text" else f"({item.type}, which this model cannot read)"
            for item in items
        )
    return str(content.result or "")


def _call(call: ToolCall) -> Content:
    return Content.from_function_call(call.id, call.name, arguments=call.arguments)


def _usage(usage: Usage | None) -> UsageDetails | None:
    if usage is None:
        return None
    details: UsageDetails = {
        "input_token_count": usage.prompt_tokens,
        "output_token_count": usage.completion_tokens,
        "total_token_count": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        details["cache_read_input_token_count"] = usage.cached_tokens
    return details
