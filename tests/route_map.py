"""Every route of an application with a path that fits it, so that no test can forget a new one."""

from __future__ import annotations

import re

from flask import Flask

_PLACES = {"model_id": "localphi-demo", "name": "localphi.json"}
PUBLIC = frozenset({"/", "/bench", "/healthz", "/readyz"})
"""Routes that want no key, beside the files of the page."""
PAGE_FILES = "/<path:name>"


def routes(app: Flask) -> list[tuple[str, str]]:
    """Method and path of each route, without the files of the page."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.rule != PAGE_FILES:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda place: _PLACES.get(place[1], "x"), rule.rule)
            found += [(method, path) for method in sorted(rule.methods or ()) if method != "OPTIONS"]
    return sorted(found)
