"""Names of tools and parameters, as they may be written elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_NAME = 64  # of a tool, as the localphi server takes it


def fitting_names(
    names: Iterable[str], foreign: str, room: int = MAX_NAME, taken: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Each name without characters that match `foreign`, at most `room` long, no two alike, none `taken`."""
    fitting: dict[str, str] = {}
    used = set(taken)
    for name in names:
        wanted = re.sub(foreign, "_", name)[:room] or "_"
        number, candidate = 2, wanted
        while candidate in used:
            candidate = f"{wanted[: room - 4]}_{number}"
            number += 1
        used.add(candidate)
        fitting[name] = candidate
    return fitting
