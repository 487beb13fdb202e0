"""The plugins as a model meets them: schemas, a call of each function, what it is told of bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.contents import ChatHistory, FunctionCallContent, FunctionResultContent

from localphi_agents.plugins import Files, Math, Time, Units
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
from serving import LiveServer

from .scripted_server import Dialogue, Script, ScriptedServer, answer, calling

Serve = Callable[[Script], ScriptedServer]

FUNCTIONS = [
    "files-list_files", "files-read_file", "files-search_files", "math-calculate", "time-add", "time-between",
    "time-convert_zone", "time-now", "time-weekday", "units-convert",
]  # fmt: skip


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    kernel = Kernel()
    for name, plugin in {"time": Time(), "math": Math(), "files": Files(tmp_path), "units": Units()}.items():
        kernel.add_plugin(plugin, name)
    return kernel


async def ask(
    url: str, kernel: Kernel, behavior: FunctionChoiceBehavior, **settings: Any
) -> tuple[ChatHistory, str]:
    history = ChatHistory()
    history.add_user_message("How many days is it from today to 24 December 2026?")
    asked = PhiPromptExecutionSettings(temperature=0, function_choice_behavior=behavior, **settings)
    message = await PhiChatCompletion(base_url=url).get_chat_message_content(history, asked, kernel=kernel)
    return history, str(message)


async def test_every_function_and_parameter_is_described(scripted: Serve, kernel: Kernel) -> None:
    dialogue = Dialogue(answer("ok"))
    await ask(scripted(dialogue).url, kernel, FunctionChoiceBehavior.Auto())
    tools = {tool["function"]["name"]: tool["function"] for tool in dialogue.bodies[0]["tools"]}
    assert sorted(tools) == FUNCTIONS
    for function in tools.values():
        assert function["description"].endswith(".")
        assert "\n" not in function["description"]
        for parameter in function["parameters"]["properties"].values():
            assert parameter["type"] in ("string", "integer", "number")
            assert parameter["description"]
            assert parameter["type"] != "string" or parameter.keys() & {"maxLength", "enum"}
    assert tools["time-add"]["parameters"] == {
        "type": "object",
        "properties": {
            "start": {
                "type": "string",
                "description": "Date or time to start from, like 2026-11-26 or 2026-11-26T14:30",
                "maxLength": 32,
            },
            "amount": {
                "type": "integer",
                "description": "How many; negative to go back",
                "minimum": -10_000_000,
                "maximum": 10_000_000,
            },
            "unit": {
                "type": "string",
                "description": "Unit of the amount",
                "enum": ["minutes", "hours", "days", "weeks", "months", "years"],
            },
        },
        "required": ["start", "amount", "unit"],
    }


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("time-add", {"start": "2026-11-26", "amount": 1, "unit": "weeks"}, "2026-12-03"),
        ("time-between", {"start": "2026-11-26", "end": "2026-12-24"}, '"days": 28'),
        ("math-calculate", {"expression": "2 * 21"}, "42"),
        ("units-convert", {"value": 1, "from_unit": "mi", "to_unit": "km"}, "1 mi = 1.609344 km"),
        ("files-list_files", {}, "(empty)"),
        ("time-weekday", {"day": "someday"}, "A date is written like 2026-11-26"),
        ("math-calculate", {"expression": "1/0"}, "This divides by zero."),
        ("files-read_file", {"path": "../x"}, "is not in the folder"),
        ("units-convert", {"value": "many", "from_unit": "mi", "to_unit": "km"}, "value is expected"),
    ],
)
async def test_the_model_reads_results_and_complaints(
    scripted: Serve, kernel: Kernel, name: str, arguments: dict[str, Any], result: str
) -> None:
    dialogue = Dialogue(calling((name, arguments)), answer("ok"))
    await ask(scripted(dialogue).url, kernel, FunctionChoiceBehavior.Auto())
    [content] = [m["content"] for m in dialogue.bodies[1]["messages"] if m["role"] == "tool"]
    assert result in content


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_a_required_call_of_the_demo_model_fits_each_function(
    demo_server: LiveServer, kernel: Kernel, name: str
) -> None:
    """Its values may be nonsense, and then the function says so; but every parameter is there."""
    behavior = FunctionChoiceBehavior.Required(filters={"included_functions": [name]})
    history, _ = await ask(demo_server.url, kernel, behavior, max_tokens=400, parallel_tool_calls=False)
    [call] = [item for m in history for item in m.items if isinstance(item, FunctionCallContent)]
    [result] = [item for m in history for item in m.items if isinstance(item, FunctionResultContent)]
    assert call.name == name
    assert "malformed" not in str(result.result)
    assert "argument(s)" not in str(result.result)
