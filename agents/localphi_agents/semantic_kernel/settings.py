"""The settings of one request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.exceptions.service_exceptions import ServiceInvalidExecutionSettingsError

from localphi_agents.chat import Options
from localphi_agents.json_format import json_format

_MAX_SEED = 2**31 - 1
_T = TypeVar("_T")


class PhiPromptExecutionSettings(PromptExecutionSettings):
    """What is None is left to the model's own defaults.

    The names are those that Semantic Kernel's telemetry looks for. Settings of other names (`extension_data`)
    are sent as they are: the server refuses those it knows and cannot honour, and passes over the rest.

    adapter: name of a LoRA adapter that the model is to answer with.
    response_format: a pydantic model type, whose JSON the answer will be, or the server's own form.
    tools, tool_choice: set by FunctionChoiceBehavior. Set by hand, calls are given back and not made.
    """

    max_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=0)] = None
    adapter: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    seed: Annotated[int | None, Field(ge=0, le=_MAX_SEED)] = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "required", "none"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: type[BaseModel] | dict[str, Any] | None = None

    def to_options(self, model: str | None) -> Options:
        """Raises ServiceInvalidExecutionSettingsError for a value that cannot be sent."""
        return Options(
            model=model,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            adapter=self.adapter,
            seed=self.seed,
            stop=tuple(self.stop_sequences or ()),
            tools=tuple(_sendable(_tool_name(tool), tool) for tool in self.tools or ()),
            tool_choice=_sendable("tool_choice", self.tool_choice),
            parallel_tool_calls=self.parallel_tool_calls if self.tools else None,
            response_format=_sendable("response_format", _json_format(self.response_format)),
            extra={
                name: _sendable(name, value)
                for name, value in self.extension_data.items()
                if self._is_extra(name)
            },
        )

    def _is_extra(self, name: str) -> bool:
        return name not in type(self).model_fields and self.extension_data[name] is not None


def _json_format(asked: type[BaseModel] | dict[str, Any] | None) -> Mapping[str, Any] | None:
    return asked if asked is None or isinstance(asked, dict) else json_format(asked)


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return f"tools.{function.get('name')}" if isinstance(function, Mapping) else "tools"


def _sendable(name: str, value: _T) -> _T:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ServiceInvalidExecutionSettingsError(
            f"The setting '{name}' cannot be sent: {error}."
        ) from error
    return value
