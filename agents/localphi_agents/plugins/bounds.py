"""Bounds on what a model may write for a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_TYPES = {str: "string", int: "integer"}


def bounds(**schemas: Mapping[str, int]) -> Callable[[_Function], _Function]:
    """Put JSON Schema bounds on parameters of a kernel function: `@bounds(zone={"maxLength": 40})`.

    Semantic Kernel 1.45 makes schemas of types and descriptions alone, and a weak model writes on and on
    where nothing ends it.
    """

    def decorate(function: _Function) -> _Function:
        for parameter in vars(function)["__kernel_function_parameters__"]:
            if parameter["name"] in schemas:
                parameter["schema_data"] = {
                    "type": _TYPES[parameter["type_object"]],
                    "description": parameter["description"],
                    **schemas[parameter["name"]],
                }
        return function

    return decorate
