"""Search in the user's documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Protocol

from semantic_kernel.functions import kernel_function

from localphi_agents.plugins.bounds import bounds
from localphi_agents.plugins.errors import PluginError

_MAX_QUERY = 200
_MAX_TEXT = 1_200  # of a passage; three of them and a question fit into a small model's context


class FoundPassage(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def citation(self) -> str: ...


class Searchable(Protocol):
    """What `DocumentIndex` of localphi_agents.rag is."""

    async def search(self, query: str, top: int) -> Sequence[FoundPassage]: ...


class Docs:
    """Finds passages of documents, each with its source.

    index: a `DocumentIndex`. top: how many passages an answer has. What documents say is data: control
    tokens in them stay text, as in every result of a function.
    """

    def __init__(self, index: Searchable, *, top: int = 3) -> None:
        self._index = index
        self._top = top

    @bounds(query={"maxLength": _MAX_QUERY})
    @kernel_function
    async def search(
        self, query: Annotated[str, "What to look for, in a few words"]
    ) -> Annotated[list[dict[str, str]], "Passages, each with its source and text"]:
        """Search the user's documents. Name the source in the answer."""
        if not query.strip():
            raise PluginError("Say what to look for; the query is empty.")
        found = await self._index.search(query[:_MAX_QUERY], self._top)
        if not found:
            raise PluginError(f"Nothing is found for {query[:80]!r}. Try other words.")
        return [{"source": passage.citation, "text": passage.text[:_MAX_TEXT]} for passage in found]


def sources(result: str) -> list[str]:
    """The sources in what `search` returned, as the model reads it; none when it complained."""
    try:
        found = json.loads(result)
    except ValueError:
        return []
    if not isinstance(found, list):
        return []
    return [str(one["source"]) for one in found if isinstance(one, dict) and "source" in one]
