"""The chat completion service.

Semantic Kernel's base class calls the functions: it asks for an answer, runs the calls in it, all at once,
adds calls and results to the history, and asks again. Two things are done to it here. It works on a copy of
the history, see `history`. And where it streams, it gets one attempt more, in which functions are withheld:
without it, a stream whose last attempt called a function (`Required` has only one) would end without one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_call_choice_configuration import FunctionCallChoiceConfiguration
from semantic_kernel.connectors.ai.function_choice_type import FunctionChoiceType
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.exceptions.service_exceptions import ServiceInvalidExecutionSettingsError
from semantic_kernel.utils.telemetry.model_diagnostics.decorators import (
    trace_chat_completion,
    trace_streaming_chat_completion,
)

from localphi_agents.chat import Message, Options
from localphi_agents.client import DEFAULT_URL, LocalphiClient
from localphi_agents.semantic_kernel.functions import offer_functions, withhold_functions
from localphi_agents.semantic_kernel.history import WorkingHistory, results_in_order
from localphi_agents.semantic_kernel.messages import message_pieces, to_messages, whole_message
from localphi_agents.semantic_kernel.requests import (
    PROVIDER,
    own_settings,
    service_errors,
    tell_cached_tokens,
)
from localphi_agents.semantic_kernel.settings import PhiPromptExecutionSettings


class PhiChatCompletion(ChatCompletionClientBase):
    """A chat completion service on a localphi server, or in this process by `client=InProcessClient(…)`.
    Any number of requests may run at the same time.

    Fails with a ServiceResponseException; its `__cause__` is the ClientError that tells more. The history
    then has what was complete: of a function call, both the call and its result or neither.
    """

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True

    _client: LocalphiClient = PrivateAttr()
    _model: str | None = PrivateAttr()

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_URL,
        ai_model_id: str | None = None,
        service_id: str | None = None,
        client: LocalphiClient | None = None,
    ) -> None:
        """ai_model_id: None lets the server choose; an answer's `metadata["model"]` tells which model it was.
        client: used instead of one for base_url.
        """
        super().__init__(ai_model_id=ai_model_id or PROVIDER, service_id=service_id or "")
        self._client = client or LocalphiClient(base_url)
        self._model = ai_model_id

    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return PhiPromptExecutionSettings

    def service_url(self) -> str:
        return self._client.base_url

    async def get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, **kwargs: Any
    ) -> list[ChatMessageContent]:
        """One answer, whole."""
        own = own_settings(self, settings)
        history = WorkingHistory(chat_history)
        try:
            return await super().get_chat_message_contents(history.copy, own, **kwargs)
        finally:
            history.hand_over()

    async def get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, **kwargs: Any
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        """One answer in pieces. The last piece has no text, but the finish reason and the usage."""
        own = _with_last_attempt(own_settings(self, settings))
        history = WorkingHistory(chat_history)
        stream = super().get_streaming_chat_message_contents(history.copy, own, **kwargs)
        try:
            async with aclosing(stream):
                async for messages in stream:
                    history.hand_over()
                    yield messages
        finally:
            history.hand_over()

    @trace_chat_completion(PROVIDER)
    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        messages, options = self._request(chat_history, settings)
        with service_errors():
            reply = await self._client.chat(messages, options)
        tell_cached_tokens(reply.usage)
        return [whole_message(reply, self.ai_model_id)]

    @trace_streaming_chat_completion(PROVIDER)
    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        if _is_last_attempt(settings, function_invoke_attempt):
            self._reset_function_choice_settings(settings)
        messages, options = self._request(chat_history, settings)
        with service_errors():
            async with aclosing(self._client.stream(messages, options)) as deltas:
                async for delta in deltas:
                    tell_cached_tokens(delta.usage)
                    for piece in message_pieces(delta, self.ai_model_id, function_invoke_attempt):
                        yield [piece]

    def _request(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> tuple[list[Message], Options]:
        assert isinstance(settings, PhiPromptExecutionSettings)
        return self._prepare_chat_history_for_request(chat_history), settings.to_options(self._model)

    def _prepare_chat_history_for_request(
        self, chat_history: ChatHistory, role_key: str = "role", content_key: str = "content"
    ) -> list[Message]:
        return to_messages(results_in_order(chat_history.messages))

    def _verify_function_choice_settings(self, settings: PromptExecutionSettings) -> None:
        if settings.extension_data.get("n") not in (None, 1):
            raise ServiceInvalidExecutionSettingsError(
                f"Functions are called for one answer at a time, but n is {settings.extension_data['n']}."
            )

    def _update_function_choice_settings_callback(
        self,
    ) -> Callable[[FunctionCallChoiceConfiguration, PromptExecutionSettings, FunctionChoiceType], None]:
        return offer_functions

    def _reset_function_choice_settings(self, settings: PromptExecutionSettings) -> None:
        withhold_functions(settings)


def _with_last_attempt(settings: PhiPromptExecutionSettings) -> PhiPromptExecutionSettings:
    behavior = settings.function_choice_behavior
    if behavior is not None and behavior.auto_invoke_kernel_functions:
        attempts = behavior.maximum_auto_invoke_attempts + 1
        settings.function_choice_behavior = behavior.model_copy(
            update={"maximum_auto_invoke_attempts": attempts}
        )
    return settings


def _is_last_attempt(settings: PromptExecutionSettings, attempt: int) -> bool:
    behavior = settings.function_choice_behavior
    return behavior is not None and attempt > 0 and attempt == behavior.maximum_auto_invoke_attempts - 1
