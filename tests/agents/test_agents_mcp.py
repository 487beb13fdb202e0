"""Tools of MCP servers for agents here, and an agent here as a tool for others."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.mcp import MCPStdioPlugin
from semantic_kernel.functions import KernelArguments

from localphi_agents.mcp import McpTools, ToolFailed, ToolServerLost, ToolServerUnreachable
from localphi_agents.mcp.schemas import loosened
from localphi_agents.mcp.server import agent_server, serve_http
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
from localphi_agents.semantic_kernel.mcp import mcp_plugin
from serving import LiveServer

from .mcp_tool_server import PLACE, ROUTE, tool_server
from .scripted_server import Dialogue, Script, ScriptedServer, answer, calling, free_port

Serve = Callable[[Script], ScriptedServer]

TOOL_SERVER = [sys.executable, str(Path(__file__).parent / "mcp_tool_server.py")]


@asynccontextmanager
async def over_http(server: Any) -> AsyncIterator[str]:
    """Serve until the block ends."""
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_http(server, 0, url.set_result))
    try:
        yield await asyncio.wait_for(url, 30)
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(params=["stdio", "http"])
async def tools(request: pytest.FixtureRequest) -> AsyncIterator[McpTools]:
    if request.param == "stdio":
        async with McpTools(TOOL_SERVER) as connected:
            yield connected
    else:
        async with over_http(tool_server()) as url, McpTools(url) as connected:
            yield connected


async def test_every_page_of_tools_is_listed_and_they_are_called(tools: McpTools) -> None:
    assert [tool.name[:10] for tool in tools.tools] == [
        "add", "maps.route", "fail", "big", "image", "die", "wait", "x" * 10,
    ]  # fmt: skip
    assert tools.tools[0].description == "Do add."
    assert await tools.call("add", {"a": 2, "b": 3}) == "5"
    assert await tools.call("image", {}) == "A picture:\n(image/png, which this model cannot read)"
    at_once = await asyncio.gather(*(tools.call("add", {"a": n, "b": n}) for n in range(8)))
    assert at_once == [str(2 * n) for n in range(8)]


async def test_failures_of_tools_are_typed_and_the_next_call_works(tools: McpTools) -> None:
    with pytest.raises(ToolFailed, match=r"^no luck today$"):
        await tools.call("fail", {})
    big = await tools.call("big", {})
    assert len(big) < 16_100
    assert big.endswith("\n(cut here; there are 1000000 characters)")
    tools._call_s = 0.2
    with pytest.raises(ToolFailed, match=r"^wait did not answer within 0 s\.$"):
        await tools.call("wait", {})
    assert await tools.call("add", {"a": 1, "b": 1}) == "2"


async def test_a_call_can_be_cancelled(tools: McpTools) -> None:
    waiting = asyncio.create_task(tools.call("wait", {}))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await tools.call("add", {"a": 1, "b": 1}) == "2"


async def test_a_server_that_dies_is_lost_and_nothing_hangs() -> None:
    async with McpTools(TOOL_SERVER) as tools:
        for name in ("die", "add"):
            with pytest.raises(ToolServerLost, match=r"is not there any more\.$"):
                await asyncio.wait_for(tools.call(name, {}), 60)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-program-here"], "cannot be started: No such file"),
        ([sys.executable, "-c", "raise SystemExit('wrong option --x')"], "ready: wrong option --x"),
        ([sys.executable, "-c", "import time; print('hello'); time.sleep(60)"], "did not answer within 3 s"),
    ],
)
async def test_a_command_that_is_no_server_is_told_in_one_sentence(command: list[str], said: str) -> None:
    with pytest.raises(ToolServerUnreachable, match=said) as unreachable:
        async with McpTools(command, start_s=3 if "3 s" in said else 60):
            pass
    assert "\n" not in str(unreachable.value)


async def test_a_url_where_no_server_is_is_told_in_one_sentence(echo_url: str) -> None:
    for url in (f"http://127.0.0.1:{free_port()}/mcp", f"{echo_url}/mcp"):
        with pytest.raises(
            ToolServerUnreachable, match=rf"^No MCP server answers at {url}: .*\. Its path"
        ) as no:
            async with McpTools(url):
                pass
        assert "\n" not in str(no.value)


@pytest.mark.parametrize("target", ["", "  ", [], "http://", "https:///mcp"])
def test_a_target_that_is_none_is_refused(target: Any) -> None:
    with pytest.raises(ValueError, match="of an MCP server is"):
        McpTools(target)


# ---- schemas


def test_definitions_are_put_in_place_and_what_cannot_be_held_is_left_out() -> None:
    near: dict[str, Any] = {}
    place = {**PLACE, "properties": {"city": {"type": "string", "maxLength": 20}, "near": near}}
    assert loosened(ROUTE) == {
        "type": "object",
        "properties": {
            "to": {**place, "description": "Where to go"},
            "max-stops": {"type": "integer", "minimum": 0, "maximum": 9},
            "kernel": {"anyOf": [{"const": "a"}, {"const": "b"}]},
            "settings": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2},
        },
        "required": ["to", "max-stops", "kernel"],
    }


@pytest.mark.parametrize(
    ("schema", "loose"),
    [
        ({"properties": {"not": {"type": "null"}}}, {"properties": {"not": {"type": "null"}}}),
        ({"items": {"$ref": "#/$defs/gone"}}, {"items": {}}),
        ({"items": {"$ref": "https://example.com/x"}}, {"items": {}}),
        (
            {"items": {"$ref": "#/definitions/a~1b"}, "definitions": {"a/b": {"type": "null"}}},
            {"items": {"type": "null"}},
        ),
        ({"additionalProperties": False, "items": True}, {"additionalProperties": False, "items": True}),
        ({"anyOf": [{"not": {}}], "oneOf": [{}]}, {"anyOf": [{}]}),
        ({"$ref": "#"}, {}),
    ],
)
def test_schemas_of_any_form_are_loosened(schema: dict[str, Any], loose: dict[str, Any]) -> None:
    assert loosened(schema) == loose


# ---- Semantic Kernel


async def test_an_agent_uses_the_tools_and_names_come_back_as_they_were(
    scripted: Serve, tools: McpTools
) -> None:
    arguments = {"to": {"city": "Oslo"}, "max_stops": 1, "kernel_2": "a", "settings_2": ["x"]}
    dialogue = Dialogue(
        calling(("maps-maps_route", arguments), ("maps-add", {"a": 1, "b": 2})), answer("There.")
    )
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=scripted(dialogue).url), plugins=[mcp_plugin(tools, "maps")]
    )
    assert str(await agent.get_response("Go!")) == "There."
    offered = {tool["function"]["name"]: tool["function"] for tool in dialogue.bodies[0]["tools"]}
    assert list(offered)[:3] == ["maps-add", "maps-maps_route", "maps-fail"]
    assert max(map(len, offered)) == 64
    assert list(offered["maps-maps_route"]["parameters"]["properties"]) == [
        "to", "max_stops", "kernel_2", "settings_2",
    ]  # fmt: skip
    assert offered["maps-maps_route"]["parameters"]["required"] == ["to", "max_stops", "kernel_2"]
    told = [m["content"] for m in dialogue.bodies[1]["messages"] if m["role"] == "tool"]
    assert json.loads(told[0]) == {"to": {"city": "Oslo"}, "max-stops": 1, "kernel": "a", "settings": ["x"]}
    assert told[1] == "3"


async def test_the_model_is_told_of_a_tool_that_failed_and_of_a_server_that_died(scripted: Serve) -> None:
    dialogue = Dialogue(calling(("t-fail", {})), calling(("t-die", {}), turn=2), answer("Sorry."))
    async with McpTools(TOOL_SERVER) as tools:
        agent = ChatCompletionAgent(
            service=PhiChatCompletion(base_url=scripted(dialogue).url), plugins=[mcp_plugin(tools, "t")]
        )
        assert str(await agent.get_response("Try!")) == "Sorry."
    told = [m["content"] for m in dialogue.bodies[2]["messages"] if m["role"] == "tool"]
    assert told[0].endswith("no luck today")
    assert told[1].endswith("is not there any more.")


async def test_semantic_kernels_own_plugin_works_with_ours(scripted: Serve) -> None:
    """Of a server that makes no trouble; its results are lists of contents, and are read as text."""
    script = (
        "from mcp.server.fastmcp import FastMCP\n"
        "server = FastMCP('plain')\n"
        "@server.tool()\n"
        "def add(a: int, b: int) -> int:\n    return a + b\n"
        "server.run()\n"
    )
    dialogue = Dialogue(calling(("plain-add", {"a": 2, "b": 3})), answer("5"))
    async with MCPStdioPlugin("plain", sys.executable, args=["-c", script]) as plugin:
        agent = ChatCompletionAgent(
            service=PhiChatCompletion(base_url=scripted(dialogue).url), plugins=[plugin]
        )
        await agent.get_response("2 + 3?")
    assert [m["content"] for m in dialogue.bodies[1]["messages"] if m["role"] == "tool"] == ["5"]


async def test_every_schema_is_taken_by_the_server_and_a_required_call_is_made(
    demo_server: LiveServer, tools: McpTools
) -> None:
    """Whatever the model would say: what it calls fits the tool."""
    agent = ChatCompletionAgent(
        service=PhiChatCompletion(base_url=demo_server.url),
        plugins=[mcp_plugin(tools, "maps")],
        function_choice_behavior=FunctionChoiceBehavior.Required(
            filters={"included_functions": ["maps-maps_route"]}
        ),
        arguments=KernelArguments(
            PhiPromptExecutionSettings(temperature=0, parallel_tool_calls=False, max_tokens=1500)
        ),
    )
    results: list[Any] = []

    async def watch(message: Any) -> None:
        results.extend(item.result for item in message.items if hasattr(item, "result"))

    async for _ in agent.invoke("Go to Oslo", on_intermediate_message=watch):
        pass
    [result] = results
    assert json.loads(result).keys() >= {"to", "max-stops", "kernel"}


# ---- an agent as a server


async def backwards(question: str) -> str:
    if question == "fail":
        raise RuntimeError("No server answers. Start it with: localphi serve")
    await asyncio.sleep(0)
    return question[::-1]


async def test_an_agent_is_asked_over_http() -> None:
    async with over_http(agent_server(backwards)) as url, McpTools(url) as client:
        [tool] = client.tools
        assert tool.name == "ask_phi"
        assert tool.schema["required"] == ["question"]
        assert await client.call("ask_phi", {"question": "abc"}) == "cba"
        with pytest.raises(ToolFailed, match="Start it with: localphi serve"):
            await client.call("ask_phi", {"question": "fail"})
        with pytest.raises(ToolFailed, match="question"):
            await client.call("ask_phi", {})
        with pytest.raises(ToolFailed, match="There is no tool 'other'"):
            await client.call("other", {"question": "x"})
        assert await client.call("ask_phi", {"question": "å"}) == "å"


async def test_pages_of_other_origins_cannot_use_it() -> None:
    async with over_http(agent_server(backwards)) as url, httpx.AsyncClient(trust_env=False) as http:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accept = {"Accept": "application/json, text/event-stream"}
        for foreign in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            response = await http.post(url, json=ping, headers={**accept, **foreign})
            assert response.status_code in (403, 421)
        assert url.startswith("http://127.0.0.1:")


async def test_leaving_a_question_early_stops_the_agent() -> None:
    stopped = asyncio.Event()

    async def slow(question: str) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return ""

    began = time.monotonic()
    async with over_http(agent_server(slow)) as url:
        async with McpTools(url) as client:
            asking = asyncio.create_task(client.call("ask_phi", {"question": "x"}))
            await asyncio.sleep(0.5)
            asking.cancel()
        await asyncio.wait_for(stopped.wait(), 30)
    assert time.monotonic() - began < 40
