"""The chat client. Agent Framework's layers around it call the functions, run middleware and measure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, ClassVar

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    FunctionInvocationConfiguration,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
    prepend_instructions_to_messages,
)
from agent_framework.exceptions import (
    ChatClientException,
    ChatClientInvalidRequestException,
    ChatClientInvalidResponseException,
)
from agent_framework.observability import ChatTelemetryLayer

from localphi_agents.agent_framework.messages import response, to_messages, update
from localphi_agents.agent_framework.options import PhiChatOptions, to_options
from localphi_agents.chat import Message as OurMessage
from localphi_agents.chat import Options
from localphi_agents.client import DEFAULT_URL, LocalphiClient
from localphi_agents.errors import AnswerIncomplete, CallCutOff, ClientError, RequestRefused, UnexpectedReply

_MAX_ITERATIONS = 10  # a small model may go on calling for ever; then it is asked for an answer
_WRONG_REQUEST = (400, 404, 413, 422)


class _PlainPhiChatClient(BaseChatClient[PhiChatOptions]):
    """One request, one answer: functions are given back, not called."""

    OTEL_PROVIDER_NAME: ClassVar[str] = "localphi"

    def __init__(self, *, client: LocalphiClient, model: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._client = client
        self.model = model

    def service_url(self) -> str:
        return self._client.base_url

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **_: Any
    ) -> Awaitable[ChatResponse[Any]] | ResponseStream[ChatResponseUpdate, ChatResponse[Any]]:
        answer_format = options.get("response_format")
        if stream:
            return self._build_response_stream(
                self._updates(messages, options), response_format=answer_format
            )
        return self._response(messages, options, answer_format)

    async def _response(
        self, messages: Sequence[Message], options: Mapping[str, Any], answer_format: Any
    ) -> ChatResponse[Any]:
        request = await self._request(messages, options)
        with _chat_client_errors():
            return response(await self._client.chat(*request), answer_format)

    async def _updates(
        self, messages: Sequence[Message], options: Mapping[str, Any]
    ) -> AsyncGenerator[ChatResponseUpdate, None]:
        request = await self._request(messages, options)
        with _chat_client_errors():
            async with aclosing(self._client.stream(*request)) as deltas:
                async for delta in deltas:
                    yield update(delta)

    async def _request(
        self, messages: Sequence[Message], options: Mapping[str, Any]
    ) -> tuple[list[OurMessage], Options]:
        try:
            valid = await self._validate_options(options)
        except ValueError as error:
            raise ChatClientInvalidRequestException(f"An option is wrong: {error}.") from error
        told = prepend_instructions_to_messages(list(messages), valid.get("instructions"))
        return to_messages(told), to_options(valid, self.model)


class PhiChatClient(
    FunctionInvocationLayer[PhiChatOptions],
    ChatMiddlewareLayer[PhiChatOptions],
    ChatTelemetryLayer[PhiChatOptions],
    _PlainPhiChatClient,
):
    """A chat client on a localphi server. Any number of requests may run at the same time.

    Fails with a ChatClientException; its `__cause__` is the ClientError that tells more. When a function
    raises, the model is told its message, not only that it failed: nothing leaves this machine.
    """

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_URL,
        model: str | None = None,
        client: LocalphiClient | None = None,
        function_invocation_configuration: FunctionInvocationConfiguration | None = None,
        **kwargs: Any,
    ) -> None:
        """model: None lets the server choose; a response's `model` tells which it was.
        client: used instead of one for base_url.
        kwargs: what BaseChatClient and its layers take (middleware, compaction_strategy…).
        """
        super().__init__(
            client=client or LocalphiClient(base_url),
            model=model,
            function_invocation_configuration={
                "include_detailed_errors": True,
                "max_iterations": _MAX_ITERATIONS,
                **(function_invocation_configuration or {}),
            },
            **kwargs,
        )


@contextmanager
def _chat_client_errors() -> Iterator[None]:
    """Our errors as those that users of Agent Framework catch."""
    try:
        yield
    except RequestRefused as error:
        kind = ChatClientInvalidRequestException if error.status in _WRONG_REQUEST else ChatClientException
        raise kind(str(error)) from error
    except (AnswerIncomplete, CallCutOff, UnexpectedReply) as error:
        raise ChatClientInvalidResponseException(str(error)) from error
    except ClientError as error:
        raise ChatClientException(str(error)) from error
