"""Ten conversations with the model, good and bad, as they come. The questions stood before any answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from localphi.chat import JsonFormat, Message, Tool, ToolCall
from localphi.config import available_threads
from localphi.models.manifest import load_manifest
from localphi.toolchain.evaluate.ask import Answer, Asker

_WEATHER = Tool(
    "get_weather",
    "Get the current weather in a city.",
    '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
)
_LIGHTS = Tool(
    "set_brightness",
    "Set the brightness of the lights in a room.",
    '{"type": "object", "properties": {"room": {"type": "string"}, "percent": {"type": "integer"}}, '
    '"required": ["room", "percent"]}',
)
_TICKET = Tool(
    "open_ticket",
    "Open a support ticket.",
    '{"type": "object", "properties": {"title": {"type": "string"}, "urgent": {"type": "boolean"}}, '
    '"required": ["title"]}',
)
_TOOLS = (_WEATHER, _LIGHTS, _TICKET)
_ORDER = (
    '{"type": "object", "properties": {"customer": {"type": "string"}, "product": {"type": "string"}, '
    '"quantity": {"type": "integer"}}, "required": ["customer", "product", "quantity"]}'
)


def transcripts(folder: Path) -> str:
    """A Markdown page. Everything greedy and, but for the last two, as the server does it: with a grammar."""
    manifest = load_manifest(folder)
    server = Asker(folder, available_threads(), guided=True)
    bare = Asker(folder, available_threads(), guided=False)
    parts = [
        "# Ten conversations with the demo model\n",
        "Unedited, greedy, int4, in the order they were written down before the model was asked. Made by "
        "`python -m localphi.toolchain.demo transcripts`.\n",
        f"Model: {manifest.id}, revision {manifest.origin['revision']}.\n",
        _talk(
            server,
            "1. A first question, and one that leans on it",
            ["What is localphi?", "And does it cost anything?"],
        ),
        _talk(server, "2. A command", ["how do I use another port"]),
        _talk(
            server,
            "3. Two formats compared",
            ["What is INT4?", "And what is INT8?", "which of them is smaller?"],
        ),
        _talk(server, "4. Greetings", ["Hallo!", "Bonjour", "你好"]),
        _talk(
            server,
            "5. What it cannot know",
            ["Who won the football match yesterday?", "Write me a poem about rain"],
        ),
        _tool_talk(server),
        _talk(server, "7. Two calls at once", ["What is the weather in Lisbon and in Oslo?"], _TOOLS),
        _talk(server, "8. No tool fits", ["Please book me a flight to Rome"], _TOOLS),
        _talk(
            bare,
            "9. JSON from a sentence, without a grammar",
            ["Mr. Novak wants 12 garden chairs"],
            (),
            JsonFormat(_ORDER),
        ),
        _talk(
            bare,
            "10. Too much for it",
            ["Compare AWQ with RTN, then set the lights in the kitchen to 40 percent"],
            _TOOLS,
        ),
    ]
    return "\n".join(parts)


def _talk(
    asker: Asker,
    title: str,
    questions: Sequence[str],
    tools: Sequence[Tool] = (),
    answer_format: JsonFormat | None = None,
) -> str:
    lines = [f"## {title}\n", *_given(tools, answer_format)]
    messages: list[Message] = []
    for question in questions:
        messages.append(Message("user", question))
        answer = asker.ask(messages, tools, answer_format)
        messages.append(answer.turn)
        lines += [f"> {question}\n", _said(answer)]
    return "\n".join(lines)


def _tool_talk(asker: Asker) -> str:
    """A call, its result, and the sentence."""
    question = Message("user", "I need a ticket: the printer on floor 3 is out of paper. It is urgent.")
    answer = asker.ask([question], _TOOLS)
    lines = ["## 6. A call, and a sentence from its result\n", *_given(_TOOLS, None)]
    lines += [f"> {question.content}\n", _said(answer)]
    if answer.calls:
        result = '{"ticket": "T-4711", "status": "open"}'
        last = asker.ask(
            [question, answer.turn, Message("tool", result, tool_call_id=answer.calls[0].id)], _TOOLS
        )
        lines += [f"> *(the tool returns)* `{result}`\n", _said(last)]
    return "\n".join(lines)


def _given(tools: Sequence[Tool], answer_format: JsonFormat | None) -> list[str]:
    if tools:
        return [f"Offered: {', '.join(f'`{tool.name}`' for tool in tools)}.\n"]
    if answer_format and answer_format.schema:
        return [f"Schema: `{', '.join(json.loads(answer_format.schema)['properties'])}`.\n"]
    return []


def _said(answer: Answer) -> str:
    lines = [answer.text] if answer.text else []
    lines += [f"`{_written(call)}`" for call in answer.calls]
    return "\n".join(lines) + "\n"


def _written(call: ToolCall) -> str:
    return f"{call.name}({call.arguments})"
