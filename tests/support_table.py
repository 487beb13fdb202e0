"""README's table of what the server supports, written from the API's own description.

python tests/support_table.py
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from localphi import create_app
from localphi.config import Settings
from localphi.routes.forms import REFUSED
from serving import ROOT

README = ROOT / "README.md"
_TABLE = re.compile(r"(?<=<!-- support: make docs -->\n).*?(?=<!-- /support -->)", re.DOTALL)


def table(document: Mapping[str, Any]) -> str:
    """A row for each operation of an OpenAPI document, OpenAI's first."""
    head = ["| route | what it does | fields it honours | fields it refuses |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *_rows(document), ""])


def _rows(document: Mapping[str, Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for path, operations in sorted(document["paths"].items(), key=_openai_first):
        for method, operation in operations.items():
            fields = _fields(operation)
            honoured = _names(name for name, form in fields.items() if REFUSED not in form)
            refused = _names(name for name, form in fields.items() if REFUSED in form)
            cells = f"{honoured} | {refused}"
            first = seen.setdefault(cells, path)
            if fields and first != path:
                cells = f"as `{first}` | as `{first}`"
            yield f"| `{method.upper()} {path}` | {operation['summary']} | {cells} |"


def _openai_first(item: tuple[str, Any]) -> tuple[bool, str]:
    path, _ = item
    return not path.startswith("/v1/"), path


def _fields(operation: Mapping[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    return {name: form for body in content.values() for name, form in body["schema"]["properties"].items()}


def _names(names: Iterator[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def table_in(readme: str) -> str:
    """The table that a README has. Raises ValueError when there is no place for one."""
    found = _TABLE.search(readme)
    if found is None:
        raise ValueError("README.md has no comments around its table of support")
    return found[0]


def main() -> None:
    """Write the table into README.md."""
    with tempfile.TemporaryDirectory() as home:
        app = create_app(Settings(home=Path(home), backend="echo"))
        document = app.test_client().get("/openapi.json").get_json()
    readme = README.read_text(encoding="utf-8")
    README.write_text(_TABLE.sub(lambda _: table(document), readme), encoding="utf-8")


if __name__ == "__main__":
    main()
