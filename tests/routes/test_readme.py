"""README says what the server supports as the server itself does."""

from __future__ import annotations

from flask.testing import FlaskClient

from support_table import README, table, table_in


def test_the_table_of_support_is_the_servers_own(client: FlaskClient) -> None:
    wanted = table(client.get("/openapi.json").get_json())
    assert table_in(README.read_text(encoding="utf-8")) == wanted, "make docs writes it"


def test_fields_are_in_the_column_they_belong_to() -> None:
    properties = {"b": {"type": "string"}, "a": {}, "c": {"enum": [None], "x-localphi-refused": True}}
    body = {"content": {"application/json": {"schema": {"properties": properties}}}}
    document = {"paths": {"/x": {"post": {"summary": "Does x", "requestBody": body}}}}
    assert table(document).splitlines()[2:] == ["| `POST /x` | Does x | `a`, `b` | `c` |"]
