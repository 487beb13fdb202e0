"""Tools and JSON in the browser: localphi.js answers as the server does, on every device."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from serving import VECTORS, LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.complaints(".")]

CASES: list[dict[str, Any]] = json.loads((VECTORS / "guided.json").read_text(encoding="utf-8"))["cases"]
CREATE = "async (options) => { window.phi = await (await import('/localphi.js')).createPhi(options); }"
ASK = "async (params) => JSON.parse(JSON.stringify(await window.phi.chat.completions.create(params)))"
STREAM = """async (params) => {
  const chunks = [];
  const stream = await window.phi.chat.completions.create({ ...params, stream: true });
  for await (const chunk of stream) chunks.push(JSON.parse(JSON.stringify(chunk)));
  return chunks;
}"""
FAILURE = """async (params) => {
  try { await window.phi.chat.completions.create(params); return null; }
  catch (error) { return { name: error.name, message: error.message }; }
}"""
QUESTION = [{"role": "user", "content": "What will the weather be in Oslo for 3 days?"}]
NUMBER = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def _tool(name: str, schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": schema}}


@pytest.fixture
def page(context: BrowserContext, demo_server: LiveServer) -> Page:
    page = context.new_page()
    page.goto(f"{demo_server.url}/healthz")
    return page


@pytest.mark.parametrize("device", ["wasm", "webgpu", "server"])
def test_every_device_answers_as_the_vectors_say(page: Page, device: str) -> None:
    page.evaluate(CREATE, {"device": device})
    few = ("a schema",)  # software GPUs are slow
    cases = [case for case in CASES if device != "webgpu" or case["name"] in few]
    for case in cases:
        answer = page.evaluate(ASK, case["body"])
        assert answer["timings"]["device"] == device
        (choice,) = answer["choices"]
        called = [call["function"] for call in choice["message"].get("tool_calls", [])]
        said = (choice["message"]["content"] or "", called, choice["finish_reason"])
        assert said == (case["text"], case["calls"], case["finish_reason"]), case["name"]
        assert choice["message"]["content"] is not None or called


@pytest.fixture
def phi(page: Page) -> Page:
    page.evaluate(CREATE, {"device": "wasm", "server": False})
    return page


def test_calls_stream_piece_by_piece(phi: Page) -> None:
    case = next(case for case in CASES if case["name"] == "two calls")
    chunks = phi.evaluate(STREAM, case["body"])
    calls: list[dict[str, Any]] = []
    for chunk in chunks:
        for delta in chunk["choices"][0]["delta"].get("tool_calls", []):
            if "id" in delta:
                assert (delta["index"], delta["type"]) == (len(calls), "function")
                assert delta["function"]["arguments"] == ""
                calls.append({"id": delta["id"], **delta["function"]})
            else:
                calls[delta["index"]]["arguments"] += delta["function"]["arguments"]
    assert [{key: call[key] for key in ("name", "arguments")} for call in calls] == case["calls"]
    assert len({call["id"] for call in calls}) == len(calls) == 2
    assert all(call["id"].startswith("call_") for call in calls)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert len([chunk for chunk in chunks if "tool_calls" in chunk["choices"][0]["delta"]]) > 4


def test_a_tool_is_called_its_result_given_and_the_answer_follows(phi: Page) -> None:
    tools = CASES[0]["body"]["tools"]
    asked = {"messages": QUESTION, "tools": tools, "temperature": 0}
    called = phi.evaluate(ASK, asked)["choices"][0]["message"]
    assert called["content"] is None
    (call,) = called["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": '{"celsius": 21}'}
    answer = phi.evaluate(ASK, {**asked, "messages": [*QUESTION, called, result]})
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert "21" in choice["message"]["content"]
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 50  # only what is new was read


def test_an_answer_of_chance_still_fits_its_schema(phi: Page) -> None:
    """At this temperature the tokens are nearly random: only the grammar holds them."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (extra 'agents')")
    case = next(case for case in CASES if case["name"] == "refs, formats, patterns")
    schema = case["body"]["response_format"]["json_schema"]["schema"]
    body = {**case["body"], "temperature": 2, "max_tokens": 400}
    texts = set()
    for seed in range(6):
        (choice,) = phi.evaluate(ASK, {**body, "seed": seed})["choices"]
        assert choice["finish_reason"] == "stop", choice
        jsonschema.Draft202012Validator(schema).validate(json.loads(choice["message"]["content"]))
        texts.add(choice["message"]["content"])
    assert len(texts) > 3
    forced = {"messages": QUESTION, "tool_choice": "required", "temperature": 2, "max_tokens": 600}
    for seed in range(4):
        tools = [_tool("f", schema), _tool("g", NUMBER)]
        (choice,) = phi.evaluate(ASK, {**forced, "tools": tools, "seed": seed})["choices"]
        assert choice["finish_reason"] == "tool_calls", choice
        for call in choice["message"]["tool_calls"]:
            wanted = schema if call["function"]["name"] == "f" else NUMBER
            jsonschema.Draft202012Validator(wanted).validate(json.loads(call["function"]["arguments"]))


@pytest.mark.parametrize("name", ["a schema", "two calls"])
def test_a_held_answer_goes_on_on_the_server_where_the_browser_fails_in_the_middle(
    page: Page, name: str
) -> None:
    case = next(case for case in CASES if case["name"] == name)
    page.evaluate(
        """() => {
          const { Worker } = globalThis;
          globalThis.workers = [];
          globalThis.Worker = class extends Worker {
            constructor(...given) { super(...given); workers.push(this); }
          };
        }"""
    )
    page.evaluate(CREATE, {"device": "wasm"})
    told = page.evaluate(
        """async (params) => {
          let [text, cut, device] = ['', false, ''];
          const calls = [];
          const stream = await phi.chat.completions.create({ ...params, stream: true });
          for await (const { choices: [{ delta }], timings } of stream) {
            text += delta.content ?? '';
            for (const { index, id, function: called } of delta.tool_calls ?? []) {
              if (id) calls[index] = { name: called.name, arguments: '' };
              calls[index].arguments += called.arguments;
            }
            device = timings?.device ?? device;
            if (cut || text.length + (calls[0]?.arguments.length ?? 0) < 3) continue;
            for (const worker of workers) worker.terminate();
            globalThis.Worker = class { constructor() { throw new Error('no more of them'); } };
            cut = true;
          }
          return { text, calls, cut, device };
        }""",
        case["body"],
    )
    assert told == {"text": case["text"], "calls": case["calls"], "cut": True, "device": "server"}


def test_what_cannot_be_held_is_refused_by_name_and_the_next_is_answered(phi: Page) -> None:
    tools = [_tool("fine", NUMBER), _tool("odd", {"type": "object", "not": {}})]
    refused = phi.evaluate(FAILURE, {"messages": QUESTION, "tools": tools})
    assert refused == {
        "name": "TypeError",
        "message": "'tools[1].function.parameters' cannot be used: 'not' is not supported in schemas.",
    }
    for fields, name in (
        ({"tools": [_tool("a b", NUMBER)]}, "tools[0].function.name"),
        ({"tools": [_tool("a", NUMBER), _tool("a", NUMBER)]}, "tools[1].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [_tool("a", NUMBER)], "tool_choice": "always"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"messages": [*QUESTION, {"role": "tool", "content": "1"}]}, "messages[1].tool_call_id"),
    ):
        refused = phi.evaluate(FAILURE, {"messages": QUESTION, **fields})
        assert refused["name"] == "TypeError"
        assert refused["message"].startswith(f"{name}: "), refused
    answer = phi.evaluate(ASK, {"messages": QUESTION, "response_format": {"type": "json_object"}})
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"]), dict)
