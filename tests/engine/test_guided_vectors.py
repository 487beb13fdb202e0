"""The server's greedy answers under tools and formats are those that the page is held to."""

from __future__ import annotations

import json

from serving import VECTORS
from vectors.guided_vectors import guided_vectors


def test_the_answers_of_the_demo_are_those_of_the_vectors() -> None:
    known = json.loads((VECTORS / "guided.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(guided_vectors())) == known
