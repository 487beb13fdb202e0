"""Conversations in JSON mode: a schema in the system turn, sentences, and the objects that they mean."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from localphi.engine.prompt import SCHEMA_LINE
from localphi.toolchain.demo.invented import Inventor
from localphi.toolchain.demo.settings import ASSISTANT, SYSTEM, USER, Turn
from localphi.toolchain.demo.tools import Form
from localphi.toolchain.demo.values import Values

_INVENTED_SHARE = 0.4


class JsonConversations:
    """Draws conversations with one schema and one to `most_exchanges` sentences."""

    def __init__(self, values: Values, written: Sequence[Form], systems: Sequence[str]) -> None:
        self._values = values
        self._written = written
        self._systems = systems
        self._inventor = Inventor(values)

    def draw(self, rng: random.Random, most_exchanges: int = 3) -> list[Turn]:
        """A system turn with the schema, then sentences and objects, keys in the order of the schema."""
        invented = rng.random() < _INVENTED_SHARE
        form = self._inventor.form(rng) if invented else rng.choice(self._written)
        order = rng.sample(form.properties, len(form.properties))
        text = "" if rng.random() < 0.5 else rng.choice(self._systems) + "\n"
        schema = _schema(Form(tuple(order), form.say), rng)
        turns: list[Turn] = [(SYSTEM, f"{text}{SCHEMA_LINE}{json.dumps(schema, ensure_ascii=False)}")]
        for _ in range(rng.randint(1, most_exchanges)):
            said, meant = form.ask(self._values, rng)
            answer = {p.name: meant[p.name] for p in order}
            turns += [(USER, said), (ASSISTANT, json.dumps(answer, ensure_ascii=False))]
        return turns


def _schema(form: Form, rng: random.Random) -> dict[str, Any]:
    """As different clients write it: with titles as pydantic does, with descriptions, closed or not."""
    titled, described, closed = rng.random() < 0.3, rng.random() < 0.3, rng.random() < 0.4
    properties: dict[str, Any] = {}
    for entry in form.properties:
        schema = entry.schema(rng, described)
        if titled:
            schema["title"] = entry.name.replace("_", " ").title()
        properties[entry.name] = schema
    whole: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    if closed:
        whole["additionalProperties"] = False
    if titled:
        whole["title"] = rng.choice(("Answer", "Record", "Result", "Item", "Entry"))
    return dict(sorted(whole.items())) if rng.random() < 0.3 else whole
