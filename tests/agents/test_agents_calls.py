"""Calls of tools on the wire: pieces put together, ids, answers that end within a call."""

from __future__ import annotations

import json

import httpx
import pytest

from localphi_agents import CallCutOff, Delta, Message, Options, Reply, ToolCall, UnexpectedReply, Usage
from localphi_agents.client import LocalphiClient

from .scripted_server import DONE, call_chunk, calling, chunk, event, usage

HELLO = (Message("user", "Weather in Oslo and Rome?"),)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
BOTH = calling(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}), text="One moment.")
OSLO = ToolCall("call_1_1", "weather", '{"city": "Oslo"}')
ROME = ToolCall("call_1_2", "weather", '{"city": "Rome"}')


def client_of(body: bytes, sent: list[bytes] | None = None) -> LocalphiClient:
    def answer(request: httpx.Request) -> httpx.Response:
        if sent is not None:
            sent.append(request.content)
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=body)

    return LocalphiClient(transport=httpx.MockTransport(answer))


async def calls_of(body: bytes) -> tuple[ToolCall, ...]:
    return (await client_of(body).chat(HELLO)).tool_calls


async def test_calls_come_whole_with_the_last_delta() -> None:
    deltas = [delta async for delta in client_of(BOTH).stream(HELLO)]
    assert deltas == [
        Delta("chatcmpl-1", "tiny", "One moment."),
        Delta("chatcmpl-1", "tiny", "", "tool_calls", Usage(5, 4), (OSLO, ROME)),
    ]
    reply = Reply("chatcmpl-1", "tiny", "One moment.", "tool_calls", Usage(5, 4), (OSLO, ROME))
    assert await client_of(BOTH).chat(HELLO) == reply


async def test_arguments_may_be_cut_anywhere() -> None:
    arguments = '{"a": {}, "b": "é\\n"}'
    for at in range(len(arguments) + 1):
        pieces = call_chunk(0, arguments[:at], id="x", name="f") + call_chunk(0, arguments[at:])
        assert await calls_of(pieces + chunk(finish_reason="tool_calls") + DONE) == (
            ToolCall("x", "f", arguments),
        )


async def test_pieces_of_two_calls_may_alternate() -> None:
    body = call_chunk(0, '{"a"', id="x", name="f") + call_chunk(1, '{"b"', id="y", name="g")
    body += call_chunk(0, ": 1}") + call_chunk(1, ": 2}") + DONE
    assert await calls_of(body) == (ToolCall("x", "f", '{"a": 1}'), ToolCall("y", "g", '{"b": 2}'))


@pytest.mark.parametrize("head", [{}, {"id": "same"}])
async def test_every_call_has_an_id_of_its_own_and_an_object_of_arguments(head: dict[str, str]) -> None:
    """As servers send them that give no ids, or the same."""
    calls = await calls_of(call_chunk(0, name="f", **head) + call_chunk(1, "{}", name="f", **head) + DONE)
    assert [call.arguments for call in calls] == ["{}", "{}"]
    assert len({call.id for call in calls} - {""}) == 2


async def test_calls_of_one_index_are_told_apart_by_id_or_name() -> None:
    by_id = call_chunk(0, "{}", id="x", name="f") + call_chunk(0, "{}", id="y", name="f") + DONE
    by_name = call_chunk(0, "{}", name="f") + call_chunk(0, "{}", name="g") + DONE
    assert [call.name for call in await calls_of(by_id)] == ["f", "f"]
    assert [call.name for call in await calls_of(by_name)] == ["f", "g"]


async def test_arguments_that_are_no_text_are_made_one() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    body = event({"id": "1", "model": "m", "choices": [{"delta": {"tool_calls": [call]}}]}) + DONE
    assert [call.arguments for call in await calls_of(body)] == ['{"a": 1}']


async def test_half_a_call_is_an_error_that_names_it() -> None:
    body = call_chunk(0, '{"city": "Os', id="x", name="weather") + chunk(finish_reason="length") + DONE
    with pytest.raises(CallCutOff, match="within a call of weather; allow more with max_tokens"):
        await calls_of(body)


async def test_a_call_without_a_name_is_unexpected() -> None:
    with pytest.raises(UnexpectedReply, match="without the tool's name"):
        await calls_of(call_chunk(0, "{}", id="x") + DONE)


async def test_cached_tokens_are_told() -> None:
    reply = await client_of(chunk("yes", "stop") + usage(9, 1, cached_tokens=7) + DONE).chat(HELLO)
    assert reply.usage == Usage(9, 1, 7)


async def test_calls_results_and_tools_are_sent_in_the_servers_form() -> None:
    sent: list[bytes] = []
    messages = [
        *HELLO,
        Message("assistant", "", (OSLO,)),
        Message("tool", "sunny", tool_call_id="call_1_1"),
    ]
    options = Options(
        tools=(TOOL,),
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
    )
    await client_of(chunk("ok", "stop") + DONE, sent).chat(messages, options)
    body = json.loads(sent[0])
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1_1"},
    ]
    assert (body["tools"], body["tool_choice"]) == ([TOOL], "required")
    assert (body["parallel_tool_calls"], body["response_format"]) == (False, {"type": "json_object"})
