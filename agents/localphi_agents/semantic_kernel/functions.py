"""Functions of a kernel as the server's tools."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from semantic_kernel.connectors.ai.function_call_choice_configuration import FunctionCallChoiceConfiguration
from semantic_kernel.connectors.ai.function_calling_utils import (
    kernel_function_metadata_to_function_call_format,
)
from semantic_kernel.connectors.ai.function_choice_type import FunctionChoiceType
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.exceptions.service_exceptions import ServiceInvalidExecutionSettingsError
from semantic_kernel.functions import KernelFunctionMetadata, KernelParameterMetadata

from localphi_agents.semantic_kernel.settings import PhiPromptExecutionSettings


def offer_functions(
    configuration: FunctionCallChoiceConfiguration,
    settings: PromptExecutionSettings,
    choice: FunctionChoiceType | None,
) -> None:
    """Put the functions of a behavior into the settings. It may have none, unless a call is required."""
    assert isinstance(settings, PhiPromptExecutionSettings)
    functions = configuration.available_functions
    if not functions:
        if choice == FunctionChoiceType.REQUIRED:
            raise ServiceInvalidExecutionSettingsError(
                "A function call is required, but the kernel has no functions that the filters let through."
            )
        return
    if settings.tools:
        raise ServiceInvalidExecutionSettingsError(
            "Tools come from the kernel's functions or from the setting 'tools', but both were given."
        )
    settings.tools = [function_tool(function) for function in functions]
    settings.tool_choice = choice.value if choice else None


def withhold_functions(settings: PromptExecutionSettings) -> None:
    """No calls any more. The tools stay in the prompt, so the server need not compute it again."""
    assert isinstance(settings, PhiPromptExecutionSettings)
    settings.tool_choice = "none" if settings.tools else None


def function_tool(metadata: KernelFunctionMetadata) -> dict[str, Any]:
    """A function in the form that the server's route takes."""
    tool = kernel_function_metadata_to_function_call_format(metadata)
    properties = {
        name: _mended(schema) for name, schema in tool["function"]["parameters"]["properties"].items()
    }
    tool["function"]["parameters"]["properties"] = properties
    for parameter in metadata.parameters:
        if parameter.name in properties and (values := _literal_values(parameter)):
            properties[parameter.name] = _enum(values, properties[parameter.name])
    return tool


def _mended(schema: Any) -> Any:
    """The schema without two faults of Semantic Kernel 1.45, for which the whole request would be refused.

    It keeps the properties of an MCP tool, but not the `$defs` they refer to: what does may be anything.
    And it takes the first constraint of a pydantic field for its description.
    """
    if isinstance(schema, list):
        return [_mended(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _mended(value) for name, value in schema.items() if not _is_faulty(name, value)}


def _is_faulty(name: str, value: Any) -> bool:
    if name == "$ref":
        return isinstance(value, str) and value.startswith(("#/$defs/", "#/definitions/"))
    return name == "description" and not isinstance(value, str | dict)  # a property may have that name, too


def _literal_values(parameter: KernelParameterMetadata) -> tuple[Any, ...]:
    kind = parameter.type_object
    return get_args(kind) if get_origin(kind) is Literal else ()


def _enum(values: tuple[Any, ...], schema: dict[str, Any]) -> dict[str, Any]:
    """Semantic Kernel 1.45 takes a Literal for an object; a model held to that could only answer `{}`."""
    kept = {name: value for name, value in schema.items() if name != "type"}
    is_text = all(isinstance(value, str) for value in values)
    return {**({"type": "string"} if is_text else {}), **kept, "enum": list(values)}
