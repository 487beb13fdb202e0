"""Ask an exported model on the CPU: greedy, one conversation at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localphi.toolchain.demo.settings import ASSISTANT, END, END_OF_TEXT, SHAPE, Turn
from localphi.toolchain.demo.tokenizer import control_ids, load_tokenizer


class Answerer:
    """A model folder opened with ORT GenAI."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime_genai as og

        self._og: Any = og
        self._model: Any = og.Model(str(folder))
        self._tokenizer: Any = load_tokenizer(folder)
        ids = control_ids()
        self._stops = {ids[END], ids[END_OF_TEXT]}

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of the conversation, with the answer opened."""
        text = "".join(f"{role}{content}{END}" for role, content in turns) + ASSISTANT
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def continue_ids(self, prompt: Sequence[int], most: int) -> list[int]:
        """Up to `most` greedy token ids; the one that ends the answer is the last."""
        params: Any = self._og.GeneratorParams(self._model)
        params.set_search_options(do_sample=False, max_length=min(len(prompt) + most, SHAPE.context))
        generator: Any = self._og.Generator(self._model, params)
        generator.append_tokens(list(prompt))
        answer: list[int] = []
        while len(answer) < most and not generator.is_done():
            generator.generate_next_token()
            answer.append(int(generator.get_next_tokens()[0]))
        return answer

    def answer(self, turns: Sequence[Turn], most: int = 160) -> tuple[str, bool]:
        """The text of the answer, and whether the model ended it by itself."""
        ids = self.continue_ids(self.prompt(turns), most)
        ended = bool(ids) and ids[-1] in self._stops
        return self._tokenizer.decode(ids[:-1] if ended else ids), ended

    def reply(self, turns: Sequence[Turn]) -> Turn:
        """The answer as the next turn of the conversation."""
        return ASSISTANT, self.answer(turns)[0]
