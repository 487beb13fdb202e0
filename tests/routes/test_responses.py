"""/v1/responses: items in, items out, typed events, and no memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, cast

import httpx
import openai
import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from pydantic import BaseModel

from localphi.chat import CallArguments, CallStarted, Chunk, Finished, Item, Message, ToolCall, Usage
from localphi.engine.client import Answer
from localphi.errors import WorkerDied
from localphi.models.manifest import load_manifest
from localphi.routes.answers import Answers
from localphi.routes.responses_body import responses_body
from localphi.routes.responses_wire import ResponseWire
from serving import DEMO, LiveServer

URL = "/v1/responses"
MANIFEST = load_manifest(DEMO)
CALL = {"type": "function_call", "call_id": "a", "name": "now", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "noon"}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "strict": True,
}


def _messages(given: Any, **fields: Any) -> tuple[Message, ...]:
    asked = responses_body({"input": given, **fields}).to_request(MANIFEST)
    assert isinstance(asked.messages, tuple)
    return asked.messages


def _error(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    response = client.post(URL, json={"input": "hello", **fields})
    assert response.status_code == 400, response.text
    return dict(response.get_json()["error"])


# ---- what is asked


def test_a_text_is_a_turn_of_the_user_behind_the_instructions() -> None:
    turns = _messages("hi", instructions="Be brief.")
    assert turns == (Message("system", "Be brief."), Message("user", "hi"))
    assert _messages("hi", instructions=None) == (Message("user", "hi"),)


def test_items_become_turns() -> None:
    parts = [{"type": "input_text", "text": "one "}, {"type": "input_text", "text": "two"}]
    said = [{"type": "output_text", "text": "three", "annotations": []}]
    assert _messages(
        [
            {"role": "developer", "content": "x"},
            {"type": "message", "role": "user", "content": parts},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": said},
            {"role": "user", "content": "four"},
        ]
    ) == (
        Message("system", "x"),
        Message("user", "one two"),
        Message("assistant", "three"),
        Message("user", "four"),
    )


def test_calls_belong_to_the_turn_before_and_results_to_their_calls() -> None:
    other = {**CALL, "call_id": "b", "arguments": '{"x": 1}'}
    parts = [{"type": "input_text", "text": "night"}]
    items = [
        {"role": "user", "content": "when?"},
        {"role": "assistant", "content": "I look."},
        CALL,
        other,
        {**RESULT, "call_id": "b", "output": parts},
        RESULT,
        {**CALL, "call_id": "c"},
        {**RESULT, "call_id": "c"},
    ]
    first, second = ToolCall("a", "now", "{}"), ToolCall("b", "now", '{"x": 1}')
    assert _messages(items)[1:] == (
        Message("assistant", "I look.", (first, second)),
        Message("tool", "night", (), "b"),
        Message("tool", "noon", (), "a"),
        Message("assistant", "", (ToolCall("c", "now", "{}"),)),
        Message("tool", "noon", (), "c"),
    )


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([RESULT], "input[0].call_id"),
        ([CALL, {"role": "user", "content": "x"}, RESULT], "input[2].call_id"),
        ([CALL, CALL], "input[1].call_id"),
        ([{**CALL, "arguments": "[]"}], "input[0].arguments"),
        ([{**CALL, "name": None}], "input[0].name"),
        ([{**CALL, "call_id": str(number)} for number in range(129)], "input[128]"),
        ([{"role": "user", "content": [{"type": "input_file"}]}], "input[0].content[0]"),
        ([{"role": "nobody", "content": "x"}], "input[0].role"),
        ([{"type": "reasoning", "summary": []}], "input[0].type"),
        ([7], "input[0]"),
        (7, "input"),
    ],
)
def test_a_wrong_item_is_named(client: FlaskClient, items: Any, param: str) -> None:
    error = _error(client, input=items)
    assert error["param"] == param
    assert f"'{param}'" in error["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("prompt", {"id": "pmpt_1"}),
        ("truncation", "auto"),
        ("reasoning", {"effort": "high"}),
        ("n", 2),
        ("max_tokens", 5),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_what_this_server_cannot_do_is_refused_by_name(client: FlaskClient, name: str, value: Any) -> None:
    error = _error(client, **{name: value})
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")


@pytest.mark.parametrize("tool", ["web_search", "file_search", "mcp", "code_interpreter", "custom"])
def test_built_in_tools_are_refused_by_name(client: FlaskClient, tool: str) -> None:
    error = _error(client, tools=[WEATHER, {"type": tool, "name": "x"}])
    assert (error["param"], error["code"]) == ("tools[1].type", "unsupported_parameter")
    assert tool in error["message"]


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("required", "tool_choice"),
        ({"type": "function", "name": "nope"}, "tool_choice"),
        ({"type": "web_search"}, "tool_choice.type"),
        (3, "tool_choice"),
    ],
)
def test_a_choice_that_cannot_be_is_named(client: FlaskClient, choice: Any, param: str) -> None:
    assert _error(client, tool_choice=choice)["param"] == param


def test_a_choice_of_no_tool_that_is_there_is_named(client: FlaskClient) -> None:
    error = _error(client, tools=[WEATHER], tool_choice={"type": "function", "name": "nope"})
    assert error["param"] == "tool_choice.name"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{**WEATHER, "parameters": {"not": {}}}]}, "tools[0].parameters"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"not": {}}}}},
            "text.format.schema",
        ),
        ({"input": "word " * 9000}, "input"),
        ({"tools": [WEATHER], "min_p": 0.5, "temperature": 1}, "min_p"),
    ],
)
def test_what_the_engine_refuses_has_the_names_of_this_route(
    demo_server: LiveServer, fields: dict[str, Any], param: str
) -> None:
    response = httpx.post(demo_server.url + URL, json={"input": "hello", **fields}, timeout=60)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert "response_format" not in error["message"]
    assert "function.parameters" not in error["message"]


# ---- what is answered


def test_a_whole_answer_has_openais_shape(client: FlaskClient) -> None:
    body = {"input": "one two", "metadata": {"who": "me"}, "instructions": "x", "store": True}
    answer = client.post(URL, json={**body, "max_output_tokens": 9, "temperature": 0.5}).get_json()
    assert answer["id"].startswith("resp_")
    (message,) = answer.pop("output")
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert message["content"] == [
        {"type": "output_text", "text": "one two", "annotations": [], "logprobs": []}
    ]
    assert answer["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }
    wanted: dict[str, Any] = {
        "object": "response",
        "status": "completed",
        "model": "localphi-demo",
        "error": None,
        "incomplete_details": None,
        "store": False,
        "previous_response_id": None,
        "metadata": {"who": "me"},
        "instructions": "x",
        "max_output_tokens": 9,
        "temperature": 0.5,
        "tool_choice": "auto",
        "tools": [],
        "text": {"format": {"type": "text"}},
    }
    assert {name: answer[name] for name in wanted} == wanted


def test_an_answer_that_is_cut_is_incomplete(client: FlaskClient) -> None:
    answer = client.post(URL, json={"input": "one two three", "max_output_tokens": 1}).get_json()
    assert answer["status"] == answer["output"][0]["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}


def _events(text: str) -> list[dict[str, Any]]:
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert name == f"event: {document['type']}"
        events.append(document)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_a_stream_has_openais_events_in_order(client: FlaskClient) -> None:
    response = client.post(URL, json={"input": "one two", "stream": True})
    assert response.content_type.startswith("text/event-stream")
    events = _events(response.text)
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert (events[0]["response"]["output"], events[0]["response"]["usage"]) == ([], None)
    assert events[2]["item"]["content"] == []
    assert [event["delta"] for event in events[4:6]] == ["one ", "two"]
    assert events[6]["text"] == events[7]["part"]["text"] == "one two"
    assert events[8]["item"] == events[9]["response"]["output"][0]
    assert len({event["item_id"] for event in events[3:8]}) == 1


class _Scripted:
    def __init__(self, *items: Item | WorkerDied) -> None:
        self._items = iter(items)

    def next(self, timeout_s: float) -> Item | None:
        item = next(self._items)
        if isinstance(item, WorkerDied):
            raise item
        return item

    def close(self) -> None:
        pass


def _wire(*items: Item | WorkerDied) -> ResponseWire:
    return ResponseWire("localphi-demo", Answers([cast(Answer, _Scripted(*items))]), {})


def _streamed(*items: Item | WorkerDied) -> list[dict[str, Any]]:
    return _events(b"".join(_wire(*items).events(lambda: False)).decode())


CALLS: tuple[Item, ...] = (
    Chunk("I ", (1,)),
    Chunk("", (2,)),
    Chunk("look.", (3,)),
    CallStarted(0, "a", "now"),
    CallArguments(0, '{"x": '),
    CallArguments(0, "1}"),
    CallStarted(1, "b", "now"),
    CallArguments(1, "{}"),
    Finished("tool_calls", Usage(3, 9)),
)


def test_text_and_calls_are_items_of_their_own() -> None:
    answer = _wire(*CALLS).response(lambda: False)
    assert answer["status"] == "completed"
    text, first, second = answer["output"]
    assert text["content"][0]["text"] == "I look."
    assert {name: first[name] for name in ("type", "call_id", "name", "arguments", "status")} == {
        **CALL,
        "arguments": '{"x": 1}',
        "status": "completed",
    }
    assert second["call_id"] == "b"
    assert len({item["id"] for item in answer["output"]}) == 3


def test_calls_are_streamed_one_after_the_other() -> None:
    events = _streamed(*CALLS)
    whole = _wire(*CALLS).response(lambda: False)["output"]
    last = events[-1]["response"]["output"]
    assert [{**item, "id": ""} for item in last] == [{**item, "id": ""} for item in whole]
    assert [event["type"] for event in events if event.get("output_index") == 1] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == last
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["status"] for item in added] == ["in_progress"] * 3
    assert [item.get("arguments") for item in added] == [None, "", ""]


def test_a_call_that_is_cut_is_incomplete() -> None:
    answer = _wire(*CALLS[:5], Finished("length", Usage(3, 5))).response(lambda: False)
    assert [item["status"] for item in answer["output"]] == ["completed", "incomplete"]
    assert answer["output"][1]["arguments"] == '{"x": '


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    (message,) = _wire(Finished("stop", Usage(3, 1))).response(lambda: False)["output"]
    assert (message["type"], message["content"][0]["text"]) == ("message", "")


def test_a_failure_in_mid_stream_is_the_last_event() -> None:
    *_, last = _streamed(Chunk("I ", (1,)), WorkerDied("localphi-demo", -9))
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert "ended unexpectedly" in last["response"]["error"]["message"]


# ---- the official client


@pytest.fixture
def official(demo_server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=demo_server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_official_client_reads_what_a_chat_would_say(official: OpenAI) -> None:
    question = "What is localphi?"
    answer = official.responses.create(model="localphi-demo", input=question)
    chat = official.chat.completions.create(
        model="localphi-demo", messages=[{"role": "user", "content": question}]
    )
    assert answer.output_text == chat.choices[0].message.content
    assert (answer.status, answer.store if hasattr(answer, "store") else False) == ("completed", False)
    assert answer.usage is not None
    assert chat.usage is not None
    assert answer.usage.input_tokens == chat.usage.prompt_tokens
    again = official.responses.create(model="localphi-demo", input=question)
    assert again.usage is not None
    assert again.usage.input_tokens_details.cached_tokens == answer.usage.input_tokens - 1


def test_the_official_client_puts_a_stream_together(official: OpenAI) -> None:
    whole = official.responses.create(model="localphi-demo", input="What is WebGPU?")
    with official.responses.stream(model="localphi-demo", input="What is WebGPU?") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == whole.output_text
    assert len(deltas) > 3


class Order(BaseModel):
    dish: Literal["soup", "salad"]
    number: int


def test_the_official_client_parses_an_answer_in_a_schema(official: OpenAI) -> None:
    answer = official.responses.parse(
        model="localphi-demo", input="Two soups, please.", text_format=Order, max_output_tokens=200
    )
    assert isinstance(answer.output_parsed, Order)
    with official.responses.stream(
        model="localphi-demo", input="Two soups, please.", text_format=Order, max_output_tokens=200
    ) as stream:
        streamed = stream.get_final_response()
    assert streamed.output_parsed == answer.output_parsed


CHOICES: Any = ["required", {"type": "function", "name": "get_weather"}]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_function_is_called_and_its_result_answered(official: OpenAI, choice: Any) -> None:
    items: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
    tools: Any = [WEATHER]
    asked: Any = {"model": "localphi-demo", "tools": tools, "max_output_tokens": 400}
    answer = official.responses.create(input=items, tool_choice=choice, **asked)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert calls
    for call in calls:
        assert call.name == "get_weather"
        assert set(json.loads(call.arguments)) == {"city", "unit"}
    with official.responses.stream(input=items, tool_choice=choice, **asked) as stream:
        streamed = stream.get_final_response()
    arguments = [item.arguments for item in streamed.output if item.type == "function_call"]
    assert arguments == [call.arguments for call in calls]
    items += [item.to_dict() for item in answer.output]
    items += [
        {"type": "function_call_output", "call_id": call.call_id, "output": "snow, 3 degrees"}
        for call in calls
    ]
    final = official.responses.create(input=items, tool_choice="none", **asked)
    assert final.output_text


def test_logprobs_come_when_they_are_included(official: OpenAI) -> None:
    asked: Any = {"model": "localphi-demo", "input": "What is localphi?", "max_output_tokens": 4}
    answer = official.responses.create(include=["message.output_text.logprobs"], top_logprobs=2, **asked)
    part: Any = answer.output[0].to_dict()["content"]
    logprobs = part[0]["logprobs"]
    assert "".join(token["token"] for token in logprobs) == answer.output_text
    assert all(len(token["top_logprobs"]) == 2 for token in logprobs)
    plain: Any = official.responses.create(**asked).output[0].to_dict()["content"]
    assert plain[0]["logprobs"] == []


def test_the_official_client_gets_typed_errors(official: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model"):
        official.responses.create(model="nope", input="hi")
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        official.responses.create(model="localphi-demo", input="hi", previous_response_id="resp_1")
    with pytest.raises(openai.BadRequestError, match="max_output_tokens"):
        official.responses.create(model="localphi-demo", input="hi", max_output_tokens=0)
