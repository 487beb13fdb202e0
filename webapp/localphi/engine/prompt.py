"""A conversation as the text a model was trained on. The page has the same function; both pass
`tests/vectors/prompt.json`.

Phi-4-mini's form, where the manifest has the tokens for it:

    <|system|>TEXT<|tool|>[{"name": …, "description": …, "parameters": {…}}]<|/tool|><|end|>
    <|assistant|>TEXT<|tool_call|>[{"name": …, "arguments": {…}}]<|/tool_call|><|end|>
    <|tool_response|>RESULT<|end|>

A model without them (Phi-3) gets the tools as lines of its system turn, and the results as turns of the user.
A model without system turns (Llama 2, Mistral, Gemma) gets their text at the start of the user's next turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from localphi.chat import ChatRequest, JsonFormat, Message, RawPrompt, Tool, ToolCall
from localphi.engine.jsontext import is_json, quote, respace
from localphi.models.manifest import Manifest, PromptFormat

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_BREAK = "\u200b"  # zero-width space: invisible, and no control token contains it
_TOOLS_LINE = "Tools: "
_CALLS_LINE = 'To call tools, answer with nothing but a JSON list: [{"name": "…", "arguments": {…}}]'
_RESULT_LINE = "Tool result: "
_ANY_OBJECT_LINE = "Answer with a JSON object."
SCHEMA_LINE = "Answer with JSON that fits this schema: "


def prompt_text(manifest: Manifest, request: ChatRequest) -> str:
    """The prompt of a request as its model reads it. Raises TypeError when it came as token ids."""
    prompt_format, asked = manifest.prompt_format, request.messages
    if not isinstance(asked, RawPrompt):
        return render(prompt_format, asked, manifest.system_prompt, request.tools, request.answer_format)
    if not isinstance(asked.content, str):
        raise TypeError("A prompt of token ids has no text.")
    return prompt_format.prefix + neutralise(asked.content, prompt_format.control)


def render(
    prompt_format: PromptFormat,
    messages: Sequence[Message],
    system_prompt: str | None,
    tools: Sequence[Tool] = (),
    answer_format: JsonFormat | None = None,
) -> str:
    """The prompt up to and including what opens the answer.

    system_prompt becomes the first turn when the conversation has no system turn of its own. Tools and the
    format of the answer stand in the first system turn; an empty one is made for them where there is none.
    """
    if all(message.role != "system" for message in messages):
        if system_prompt is not None:
            messages = [Message("system", system_prompt), *messages]
        elif tools or answer_format:
            messages = [Message("system", ""), *messages]
    first_system = next((message for message in messages if message.role == "system"), None)
    turns: list[tuple[str, str]] = []  # role and text
    calls: tuple[ToolCall, ...] = ()
    for message in _results_in_order(messages):
        if message is first_system:
            turns.append(("system", _system_turn(prompt_format, message, tools, answer_format)))
        elif message.role == "tool":
            role = "tool" if "tool" in prompt_format.roles else "user"
            turns.append((role, _result_turn(prompt_format, message, calls)))
        else:
            turns.append((message.role, _turn(prompt_format, message)))
            calls = message.tool_calls
    if prompt_format.system_in_user:
        turns = _with_systems_in_users(prompt_format, turns)
    return prompt_format.prefix + "".join(text for _, text in turns) + prompt_format.generation


def _with_systems_in_users(
    prompt_format: PromptFormat, turns: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The turns without those of the system: their text opens the user's next turn, or is one by itself."""
    opening, closing = prompt_format.roles["user"]
    empty = "".join(prompt_format.roles["system"])
    placed: list[tuple[str, str]] = []
    held = ""
    for role, text in turns:
        if role == "system":
            held += text if text != empty else ""
        elif role == "user":
            placed.append((role, opening + held + text.removeprefix(opening)))
            held = ""
        else:
            if held:
                placed.append(("user", opening + held + closing))
            placed.append((role, text))
            held = ""
    return [*placed, ("user", opening + held + closing)] if held else placed


def _turn(prompt_format: PromptFormat, message: Message) -> str:
    opening, closing = prompt_format.roles[message.role]
    text = neutralise(message.content, prompt_format.control)
    if message.tool_calls:
        before, after = prompt_format.tool_call or ("", "")
        text += before + neutralise(_calls(message.tool_calls), prompt_format.control) + after
    return opening + text + closing


def _calls(calls: Iterable[ToolCall]) -> str:
    items = (f'{{"name": {_quoted(call.name)}, "arguments": {respace(call.arguments)}}}' for call in calls)
    return f"[{', '.join(items)}]"


def _system_turn(
    prompt_format: PromptFormat, message: Message, tools: Sequence[Tool], answer_format: JsonFormat | None
) -> str:
    opening, closing = prompt_format.roles["system"]
    lines = [message.content] if message.content else []
    if tools and not prompt_format.tools:
        lines += [_TOOLS_LINE + _tools(tools), _CALLS_LINE]
    if answer_format:
        schema = answer_format.schema
        lines.append(_ANY_OBJECT_LINE if schema is None else SCHEMA_LINE + respace(schema))
    text = neutralise("\n".join(lines), prompt_format.control)
    if tools and prompt_format.tools:
        before, after = prompt_format.tools
        text += before + neutralise(_tools(tools), prompt_format.control) + after
    return opening + text + closing


def _tools(tools: Iterable[Tool]) -> str:
    return f"[{', '.join(map(_tool, tools))}]"


def _tool(tool: Tool) -> str:
    description = f'"description": {_quoted(tool.description)}, ' if tool.description else ""
    return f'{{"name": {_quoted(tool.name)}, {description}"parameters": {respace(tool.parameters)}}}'


def _results_in_order(messages: Sequence[Message]) -> Iterator[Message]:
    """The messages, each run of tool results in the order of the calls it answers."""
    order: dict[str | None, int] = {}
    results: list[Message] = []
    for message in messages:
        if message.role == "tool":
            results.append(message)
            continue
        yield from sorted(results, key=lambda result: order.get(result.tool_call_id, len(order)))
        results = []
        order = {call.id: number for number, call in enumerate(message.tool_calls)}
        yield message
    yield from sorted(results, key=lambda result: order.get(result.tool_call_id, len(order)))


def _result_turn(prompt_format: PromptFormat, message: Message, calls: Sequence[ToolCall]) -> str:
    """One result. It names its tool where the turn before called several, or where it looks like a user's."""
    content = _clean(message.content)
    name = next((call.name for call in calls if call.id == message.tool_call_id), None)
    pair = prompt_format.roles.get("tool")
    if name is not None and (len(calls) > 1 or pair is None):
        value = respace(content) if is_json(content) else quote(content)
        content = f'{{"name": {_quoted(name)}, "content": {value}}}'
    if pair is None:
        return _turn(prompt_format, replace(message, role="user", content=_RESULT_LINE + content))
    opening, closing = pair
    return opening + neutralise(content, prompt_format.control) + closing


def neutralise(text: str, control: Sequence[str]) -> str:
    """`text` with a zero-width space after the first character of every control token in it.

    What a user types can then never end a turn or open another one. NUL is dropped, because tokenizers in C
    end the text there; half a surrogate pair, which is no character, becomes U+FFFD.
    """
    text = _clean(text)
    if not control:
        return text
    starts = f"(?={'|'.join(map(re.escape, control))})."
    return re.sub(starts, lambda first: first[0] + _BREAK, text, flags=re.DOTALL)


def _quoted(text: str) -> str:
    return quote(_clean(text))


def _clean(text: str) -> str:
    return _HALF_PAIR.sub("\ufffd", text.replace("\0", ""))
