"""Semantic Kernel on a local Phi.

    agent = ChatCompletionAgent(service=PhiChatCompletion(), instructions="Answer in one sentence.")
    print(await agent.get_response("What is ONNX?"))

Functions are not called yet: an agent that brings some is refused with a sentence, because Semantic Kernel
itself would leave them out without a word.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.connectors.ai.function_choice_type import FunctionChoiceType
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FinishReason,
    FunctionResultContent,
    StreamingChatMessageContent,
    TextContent,
)
from semantic_kernel.contents.kernel_content import KernelContent
from semantic_kernel.exceptions.service_exceptions import (
    ServiceInvalidExecutionSettingsError,
    ServiceInvalidRequestError,
    ServiceInvalidResponseError,
    ServiceResponseException,
)
from semantic_kernel.utils.telemetry.model_diagnostics.decorators import (
    trace_chat_completion,
    trace_streaming_chat_completion,
)

from localphi_agents.chat import Delta, Message, Options, Reply, Role, Usage
from localphi_agents.client import DEFAULT_URL, LocalphiClient
from localphi_agents.errors import AnswerIncomplete, ClientError, RequestRefused, UnexpectedReply

_PROVIDER = "localphi"
_DEFAULT_MODEL = "localphi"  # how telemetry calls the server's default model; never sent
_MAX_SEED = 2**31 - 1
_ROLES: dict[AuthorRole, Role] = {
    AuthorRole.SYSTEM: "system",
    AuthorRole.DEVELOPER: "developer",
    AuthorRole.USER: "user",
    AuthorRole.ASSISTANT: "assistant",
    AuthorRole.TOOL: "tool",
}
_FINISH_REASONS = {reason.value: reason for reason in FinishReason}


class PhiPromptExecutionSettings(PromptExecutionSettings):
    """What is None is left to the model's own defaults.

    The names are those that Semantic Kernel's telemetry looks for. Settings of other names (`extension_data`)
    are sent as they are: the server refuses those it knows and cannot honour, and passes over the rest.
    """

    max_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=0)] = None
    seed: Annotated[int | None, Field(ge=0, le=_MAX_SEED)] = None
    stop_sequences: list[str] | None = None

    def to_options(self, model: str | None) -> Options:
        """Raises ServiceInvalidExecutionSettingsError for a value that cannot be sent."""
        return Options(
            model=model,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            stop=tuple(self.stop_sequences or ()),
            extra={
                name: _sendable(name, value)
                for name, value in self.extension_data.items()
                if self._is_extra(name)
            },
        )

    def _is_extra(self, name: str) -> bool:
        return name not in type(self).model_fields and self.extension_data[name] is not None


class PhiChatCompletion(ChatCompletionClientBase):
    """A chat completion service on a localphi server. Any number of requests may run at the same time.

    Fails with a ServiceResponseException; its `__cause__` is the ClientError that tells more.
    """

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = False

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
        super().__init__(ai_model_id=ai_model_id or _DEFAULT_MODEL, service_id=service_id or "")
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
        _refuse_functions(settings, kwargs.get("kernel"))
        return await super().get_chat_message_contents(chat_history, settings, **kwargs)

    async def get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, **kwargs: Any
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        """One answer in pieces. The last piece has no text, but the finish reason and the usage."""
        _refuse_functions(settings, kwargs.get("kernel"))
        async for messages in super().get_streaming_chat_message_contents(chat_history, settings, **kwargs):
            yield messages

    @trace_chat_completion(_PROVIDER)
    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        messages, options = self._request(chat_history, settings)
        with _service_errors():
            return [self._whole(await self._client.chat(messages, options))]

    @trace_streaming_chat_completion(_PROVIDER)
    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        messages, options = self._request(chat_history, settings)
        with _service_errors():
            async with aclosing(self._client.stream(messages, options)) as deltas:
                async for delta in deltas:
                    yield [self._piece(delta, function_invoke_attempt)]

    def _request(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> tuple[list[Message], Options]:
        phi_settings = self.get_prompt_execution_settings_from_settings(settings)
        assert isinstance(phi_settings, PhiPromptExecutionSettings)
        return self._prepare_chat_history_for_request(chat_history), phi_settings.to_options(self._model)

    def _prepare_chat_history_for_request(
        self, chat_history: ChatHistory, role_key: str = "role", content_key: str = "content"
    ) -> list[Message]:
        return [Message(_ROLES[message.role], _text(message)) for message in chat_history.messages]

    def _whole(self, reply: Reply) -> ChatMessageContent:
        return ChatMessageContent(
            role=AuthorRole.ASSISTANT,
            content=reply.text,
            ai_model_id=self.ai_model_id,
            finish_reason=_finish_reason(reply.finish_reason),
            metadata=_metadata(reply),
        )

    def _piece(self, delta: Delta, function_invoke_attempt: int) -> StreamingChatMessageContent:
        return StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            content=delta.text,
            choice_index=0,
            ai_model_id=self.ai_model_id,  # messages of different ids, or with none, cannot be added up
            finish_reason=_finish_reason(delta.finish_reason),
            metadata=_metadata(delta),
            function_invoke_attempt=function_invoke_attempt,
        )


def _refuse_functions(settings: PromptExecutionSettings, kernel: Kernel | None) -> None:
    """Agents ask for functions by default (`Auto`), so only functions that are really there are refused."""
    behavior = settings.function_choice_behavior
    if behavior is None or kernel is None or not behavior.enable_kernel_functions:
        return
    if behavior.type_ == FunctionChoiceType.NONE:
        return
    if functions := behavior.get_config(kernel).available_functions:
        names = ", ".join(function.fully_qualified_name for function in functions)
        raise ServiceInvalidExecutionSettingsError(
            f"PhiChatCompletion does not call functions yet, but was given: {names}. Leave the plugins out, "
            "or pass function_choice_behavior=FunctionChoiceBehavior.NoneInvoke() to go on without them."
        )


def _text(message: ChatMessageContent) -> str:
    """Raises ServiceInvalidRequestError for images, function calls and everything else that is not text."""
    return "".join(_item_text(item, message.role) for item in message.items)


def _item_text(item: KernelContent, role: AuthorRole) -> str:
    match item:
        case TextContent():
            return item.text
        case FunctionResultContent():
            return str(item.result)
    raise ServiceInvalidRequestError(
        f"Only text can be sent to a Phi model, but a message of role {role.value} has {type(item).__name__}."
    )


def _sendable(name: str, value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ServiceInvalidExecutionSettingsError(
            f"The setting '{name}' cannot be sent: {error}."
        ) from error
    return value


def _metadata(answer: Delta | Reply) -> dict[str, Any]:
    """What Semantic Kernel's telemetry looks for, and which model it was."""
    metadata: dict[str, Any] = {"id": answer.id, "model": answer.model}
    if answer.usage is not None:
        metadata["usage"] = _usage(answer.usage)
    return metadata


def _usage(usage: Usage) -> CompletionUsage:
    return CompletionUsage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)


def _finish_reason(reason: str | None) -> FinishReason | None:
    return _FINISH_REASONS.get(reason) if reason else None


@contextmanager
def _service_errors() -> Iterator[None]:
    """Our errors as those that users of Semantic Kernel catch."""
    try:
        yield
    except RequestRefused as error:
        kind = ServiceInvalidRequestError if error.status in (400, 404) else ServiceResponseException
        raise kind(str(error)) from error
    except (AnswerIncomplete, UnexpectedReply) as error:
        raise ServiceInvalidResponseError(str(error)) from error
    except ClientError as error:
        raise ServiceResponseException(str(error)) from error
