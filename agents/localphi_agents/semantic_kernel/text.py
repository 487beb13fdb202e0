"""The text completion service: the model goes on with a text, without a chat template."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.connectors.ai.text_completion_client_base import TextCompletionClientBase
from semantic_kernel.contents import StreamingTextContent, TextContent
from semantic_kernel.utils.telemetry.model_diagnostics.decorators import (
    trace_streaming_text_completion,
    trace_text_completion,
)

from localphi_agents.client import DEFAULT_URL, LocalphiClient
from localphi_agents.semantic_kernel.messages import metadata
from localphi_agents.semantic_kernel.requests import (
    PROVIDER,
    own_settings,
    service_errors,
    tell_cached_tokens,
)
from localphi_agents.semantic_kernel.settings import PhiPromptExecutionSettings


class PhiTextCompletion(TextCompletionClientBase):
    """A text completion service on a localphi server, or in this process by `client=InProcessClient(…)`.

    Fails with a ServiceResponseException; its `__cause__` is the ClientError that tells more.
    """

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
        """ai_model_id: None lets the server choose; a text's `metadata["model"]` tells which model it was.
        client: used instead of one for base_url.
        """
        super().__init__(ai_model_id=ai_model_id or PROVIDER, service_id=service_id or "")
        self._client = client or LocalphiClient(base_url)
        self._model = ai_model_id

    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return PhiPromptExecutionSettings

    def service_url(self) -> str:
        return self._client.base_url

    @trace_text_completion(PROVIDER)
    async def _inner_get_text_contents(
        self, prompt: str, settings: PromptExecutionSettings
    ) -> list[TextContent]:
        options = own_settings(self, settings).to_options(self._model)
        with service_errors():
            reply = await self._client.complete(prompt, options)
        tell_cached_tokens(reply.usage)
        return [TextContent(text=reply.text, ai_model_id=self.ai_model_id, metadata=metadata(reply))]

    @trace_streaming_text_completion(PROVIDER)
    async def _inner_get_streaming_text_contents(
        self, prompt: str, settings: PromptExecutionSettings
    ) -> AsyncGenerator[list[StreamingTextContent], Any]:
        options = own_settings(self, settings).to_options(self._model)
        with service_errors():
            async with aclosing(self._client.stream_completion(prompt, options)) as deltas:
                async for delta in deltas:
                    tell_cached_tokens(delta.usage)
                    yield [
                        StreamingTextContent(
                            choice_index=0,
                            text=delta.text,
                            ai_model_id=self.ai_model_id,
                            metadata=metadata(delta),
                        )
                    ]
