"""A pydantic model type as the server's `response_format`."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

_MAX_NAME = 64


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic makes of the names: every token of a schema is read by the model."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        if made.get("title") == schema["cls"].__name__:  # one that somebody wrote stays
            del made["title"]
        return made


def json_format(model: type[BaseModel]) -> dict[str, Any]:
    """What makes the answer JSON of this type."""
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", model.__name__)[:_MAX_NAME]
    schema = model.model_json_schema(schema_generator=_Untitled)
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
