"""What a finished graph answers, greedily, on this machine's CPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localphi.chat import Message
from localphi.config import disable_telemetry
from localphi.models.manifest import PromptFormat

ANSWER_TOKENS = 8
# Something to go on with that a model is sure about, so that the rounding of other devices changes nothing;
# and more than 32 tokens, because GPUs read those with other kernels than fewer.
_QUESTION = (
    "Go on counting, in digits, with a comma after each number and nothing else: 1, 2, 3, 4, 5, 6, 7, 8, 9, "
    "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,"
)


def open_graph(folder: Path, graph: str) -> Any:
    """The og.Model of a graph in a folder whose genai_config.json may name another one, on the CPU."""
    disable_telemetry()
    import onnxruntime_genai as og

    config: Any = og.Config(str(folder))
    config.clear_providers()
    config.overlay(json.dumps({"model": {"decoder": {"filename": graph}}}))
    return og.Model(config)


def continued(model: Any, prompt: Sequence[int], most: int = ANSWER_TOKENS) -> tuple[int, ...]:
    """Up to `most` greedy token ids after the prompt, the one that ends the answer included."""
    import onnxruntime_genai as og

    params: Any = og.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(prompt) + most)
    generator: Any = og.Generator(model, params)
    generator.append_tokens(list(prompt))
    answer: list[int] = []
    while len(answer) < most and not generator.is_done():
        generator.generate_next_token()
        answer.append(int(generator.get_next_tokens()[0]))
    return tuple(answer)


def canary_prompt(folder: Path, prompt_format: PromptFormat, context: int) -> tuple[int, ...]:
    """Ids of a question in the model's own format, as the server encodes it."""
    disable_telemetry()
    from localphi.engine.prompt import render
    from localphi.engine.tokenizer import PhiTokenizer

    text = render(prompt_format, [Message("user", _QUESTION)], None)
    return tuple(PhiTokenizer(folder).encode(text)[: context - ANSWER_TOKENS])
