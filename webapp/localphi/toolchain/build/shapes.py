"""The shapes of real models, to be filled with random weights: `shapes.toml`, read once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from localphi.errors import CannotBuild

_FILE = Path(__file__).parent / "shapes.toml"
_NAME = re.compile(r"(?P<name>[a-z0-9.-]+)(?::layers=(?P<layers>\d{1,3}))?")


@dataclass(frozen=True)
class Shape:
    """config: what AutoConfig of transformers reads. tokens: those that are no text, by id."""

    name: str
    format: str
    layers: int
    config: Mapping[str, Any]
    tokens: Mapping[int, str]
    end: tuple[int, ...]

    def with_layers(self, layers: int) -> dict[str, Any]:
        """The config of the same model with so many layers."""
        return dict(self.config) | {"num_hidden_layers": layers}


@cache
def shapes() -> Mapping[str, Shape]:
    """The shapes by name."""
    document = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: _shape(name, entry, document) for name, entry in document["shapes"].items()}


def parse_shape(text: str) -> Shape:
    """The shape of "NAME" or "NAME:layers=N". Raises CannotBuild, with the names that there are."""
    match = _NAME.fullmatch(text)
    shape = shapes().get(match["name"]) if match else None
    if match is None or shape is None:
        raise CannotBuild(
            f"There is no shape {text!r}. There are: {', '.join(shapes())}; "
            "each may be followed by :layers=N for a model of fewer layers."
        )
    layers = int(match["layers"] or shape.layers)
    if layers < 1:
        raise CannotBuild(f"A model needs at least one layer, but {text!r} asks for {layers}.")
    return Shape(shape.name, shape.format, layers, shape.config, shape.tokens, shape.end)


def _shape(name: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> Shape:
    config = dict(entry["config"])
    if factors := entry.get("factors"):
        pair = document["factors"][factors]
        config["rope_scaling"] = {
            "type": "longrope",
            "short_factor": pair["short"],
            "long_factor": pair["long"],
        }
    return Shape(
        name=name,
        format=entry["format"],
        layers=config["num_hidden_layers"],
        config=config,
        tokens={int(number): token for number, token in document["tokens"][entry["tokens"]].items()},
        end=tuple(entry["end"]),
    )
