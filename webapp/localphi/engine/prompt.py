"""A conversation as the text a model was trained on. The page has the same function; both pass
`tests/vectors/prompt.json`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localphi.chat import Message
from localphi.models.manifest import PromptFormat

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_BREAK = "\u200b"  # zero-width space: invisible, and no control token contains it


def render(prompt_format: PromptFormat, messages: Sequence[Message], system_prompt: str | None) -> str:
    """The prompt up to and including what opens the answer.

    system_prompt becomes the first turn when the conversation has no system turn of its own.
    """
    if system_prompt is not None and all(message.role != "system" for message in messages):
        messages = [Message("system", system_prompt), *messages]
    turns = (_turn(prompt_format, message) for message in messages)
    return prompt_format.prefix + "".join(turns) + prompt_format.generation


def _turn(prompt_format: PromptFormat, message: Message) -> str:
    opening, closing = prompt_format.roles[message.role]
    return opening + neutralise(message.content, prompt_format.control) + closing


def neutralise(text: str, control: Sequence[str]) -> str:
    """`text` with a zero-width space after the first character of every control token in it.

    What a user types can then never end a turn or open another one. NUL is dropped, because tokenizers in C
    end the text there; half a surrogate pair, which is no character, becomes U+FFFD.
    """
    text = _HALF_PAIR.sub("\ufffd", text.replace("\0", ""))
    if not control:
        return text
    longest_first = sorted(control, key=len, reverse=True)
    pattern = "|".join(re.escape(token) for token in longest_first)
    return re.sub(pattern, lambda match: match[0][0] + _BREAK + match[0][1:], text)
