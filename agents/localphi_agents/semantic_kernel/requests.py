"""What both services do around a request."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import get_current_span
from pydantic import ValidationError
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.exceptions.service_exceptions import (
    ServiceInvalidExecutionSettingsError,
    ServiceInvalidRequestError,
    ServiceInvalidResponseError,
    ServiceResponseException,
)
from semantic_kernel.services.ai_service_client_base import AIServiceClientBase
from semantic_kernel.utils.telemetry.model_diagnostics import decorators

from localphi_agents.chat import Usage
from localphi_agents.errors import AnswerIncomplete, CallCutOff, ClientError, RequestRefused, UnexpectedReply
from localphi_agents.semantic_kernel.settings import PhiPromptExecutionSettings

PROVIDER = "localphi"
"""How telemetry calls us, and the server's default model, whose name is never sent."""

_CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
_WRONG_REQUEST = (400, 404, 413, 422)


def own_settings(
    service: AIServiceClientBase, settings: PromptExecutionSettings
) -> PhiPromptExecutionSettings:
    """A copy. Its extension_data has what was set by attribute too, for that is what telemetry reads.

    Raises ServiceInvalidExecutionSettingsError.
    """
    try:
        own = service.get_prompt_execution_settings_from_settings(copy.deepcopy(settings))
    except ValidationError as error:
        raise ServiceInvalidExecutionSettingsError(_first_fault(error)) from error
    assert isinstance(own, PhiPromptExecutionSettings)
    own.pack_extension_data()
    return own


@contextmanager
def service_errors() -> Iterator[None]:
    """Our errors as those that users of Semantic Kernel catch."""
    try:
        yield
    except RequestRefused as error:
        kind = ServiceInvalidRequestError if error.status in _WRONG_REQUEST else ServiceResponseException
        raise kind(str(error)) from error
    except (AnswerIncomplete, CallCutOff, UnexpectedReply) as error:
        raise ServiceInvalidResponseError(str(error)) from error
    except ClientError as error:
        raise ServiceResponseException(str(error)) from error


def tell_cached_tokens(usage: Usage | None) -> None:
    """Semantic Kernel's spans have the tokens in and out, but not how much of the prompt was at hand."""
    if usage is not None and usage.cached_tokens is not None and decorators.are_model_diagnostics_enabled():
        get_current_span().set_attribute(_CACHED_TOKENS, usage.cached_tokens)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in fault["loc"][:1]) or "settings"
    return f"The setting '{name}' is wrong: {fault['msg']}."
