"""The server's grammars are those that the vectors of the page were made from."""

from __future__ import annotations

import json

import pytest

from serving import VECTORS
from vectors.mask_vectors import mask_vectors
from vectors.schema_vectors import schema_vectors


def test_the_bytes_that_a_schema_allows_are_those_of_the_vectors() -> None:
    pytest.importorskip("llguidance", reason="llguidance is not installed (extra 'test')")
    known = json.loads((VECTORS / "schemas.json").read_text(encoding="utf-8"))
    made = json.loads(json.dumps(schema_vectors()))
    assert len(known["cases"]) == len(made["cases"]) > 150
    for old, new in zip(known["cases"], made["cases"], strict=True):
        assert _spelt_out(old, known["sets"]) == _spelt_out(new, made["sets"])


def test_the_tokens_that_may_come_next_are_those_of_the_vectors() -> None:
    known = json.loads((VECTORS / "masks.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(mask_vectors())) == known


def _spelt_out(case: dict[str, object], sets: list[str]) -> dict[str, object]:
    walks = case.get("walks", [])
    assert isinstance(walks, list)
    return {**case, "walks": [{**walk, "next": [sets[number] for number in walk["next"]]} for walk in walks]}
