"""The client of a localphi server.

    client = LocalphiClient()
    reply = await client.chat([Message("user", "What is ONNX?")])
    async for delta in client.stream([Message("user", "What is ONNX?")], Options(temperature=0)):
        print(delta.text, end="")

One client serves any number of requests at the same time, in any event loop. It holds no connection between
requests, so there is nothing to close. Cancelling the task that waits for an answer closes its connection,
and the server stops working on it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from urllib.parse import urlsplit

import httpx

try:
    from opentelemetry.trace.propagation import tracecontext
except ImportError:  # this client wants no framework
    tracecontext = None  # type: ignore[assignment]

from localphi_agents.calls import CallCollector
from localphi_agents.chat import Delta, Message, Options, Reply, Usage
from localphi_agents.errors import (
    AnswerIncomplete,
    RequestRefused,
    ServerUnreachable,
    UnexpectedReply,
)
from localphi_agents.sse import EventReader
from localphi_agents.wire import Chunk, read_chunk, write_chat, write_completion

DEFAULT_URL = "http://localhost:8000"
_CONNECT_TIMEOUT_S = 5.0
_DONE = b"[DONE]"
_DEFAULTS = Options()


class LocalphiClient:
    """base_url: where the server is, with or without /v1.

    api_key: an access key, for a server that wants one; None for that of LOCALPHI_API_KEY, if it is set.
    silence_s: give up on an answer when nothing, not even a keepalive, came for so long. None waits as long
    as the server lives: it says nothing while it loads a model.
    transport: what carries the requests, for tests.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        silence_s: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not _is_http_url(base_url):
            raise ValueError(f"base_url must be like {DEFAULT_URL}, but is {base_url!r}.")
        key = os.environ.get("LOCALPHI_API_KEY", "") if api_key is None else api_key
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise ValueError("An access key is one word of ASCII characters, but the given one is not.")
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self._http = httpx.AsyncClient(
            transport=transport or _transport(),
            timeout=httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S, pool=None),
            trust_env=False,  # a proxy for the world outside must not get between two local programs
        )

    async def chat(self, messages: Sequence[Message], options: Options = _DEFAULTS) -> Reply:
        """The whole answer. Raises ClientError.

        It is collected from a stream: the server's keepalives tell a long answer from a dead connection.
        """
        return await _whole(self.stream(messages, options))

    def stream(
        self, messages: Sequence[Message], options: Options = _DEFAULTS
    ) -> AsyncGenerator[Delta, None]:
        """The answer as it comes: its text in pieces, then one delta with calls, finish reason and usage.

        Raises ClientError. Leaving early, by `aclose()` or cancellation, closes the connection.
        """
        return self._ask("chat/completions", write_chat(messages, options))

    async def complete(self, prompt: str, options: Options = _DEFAULTS) -> Reply:
        """How the model goes on with a text: no chat template, no tools. Raises ClientError."""
        return await _whole(self.stream_completion(prompt, options))

    def stream_completion(self, prompt: str, options: Options = _DEFAULTS) -> AsyncGenerator[Delta, None]:
        """The same as it comes."""
        return self._ask("completions", write_completion(prompt, options))

    async def _ask(self, path: str, content: bytes) -> AsyncGenerator[Delta, None]:
        url = f"{self.base_url}/v1/{path}"
        with _transport_errors(self.base_url):
            headers = self._headers | _trace_headers()
            async with self._http.stream("POST", url, content=content, headers=headers) as response:
                if response.status_code != 200:
                    raise _refusal(self.base_url, response, await response.aread())
                _check_is_stream(self.base_url, response)
                async with aclosing(_deltas(response)) as deltas:
                    async for delta in deltas:
                        yield delta


def _trace_headers() -> dict[str, str]:
    """So that the server's spans hang under those of the program, where it has some."""
    headers: dict[str, str] = {}
    if tracecontext is not None:
        tracecontext.TraceContextTextMapPropagator().inject(headers)
    return headers


async def _whole(stream: AsyncGenerator[Delta, None]) -> Reply:
    deltas = [delta async for delta in stream]
    end = deltas[-1]
    text = "".join(delta.text for delta in deltas)
    return Reply(end.id, end.model, text, end.finish_reason, end.usage, end.tool_calls)


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, a bracket without its partner
        return False


@contextmanager
def _transport_errors(base_url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServerUnreachable(base_url) from error
    except httpx.ReadTimeout as error:
        raise AnswerIncomplete(
            f"The server at {base_url} fell silent before the answer was complete."
        ) from error
    except httpx.TransportError as error:
        cause = str(error) or type(error).__name__
        raise AnswerIncomplete(f"The connection to {base_url} broke off: {cause}.") from error


def _transport() -> httpx.AsyncHTTPTransport:
    """One connection per request.

    A connection kept for later belongs to the event loop that opened it: a second `asyncio.run` with the same
    client would fail with "Event loop is closed". Connecting again, to this machine, is quick.
    """
    return httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def _refusal(base_url: str, response: httpx.Response, body: bytes) -> RequestRefused:
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        error = {}
        message = f"{base_url} answered with HTTP status {response.status_code}. Is it a localphi server?"
    retry_after = response.headers.get("Retry-After", "")
    return RequestRefused(
        message,
        error.get("type"),
        error.get("param"),
        error.get("code"),
        status=response.status_code,
        retry_after_s=int(retry_after) if retry_after.isdecimal() else None,
    )


def _check_is_stream(base_url: str, response: httpx.Response) -> None:
    media_type = response.headers.get("Content-Type", "nothing named")
    if not media_type.startswith("text/event-stream"):
        raise UnexpectedReply(
            f"{base_url} answered with {media_type} instead of an event stream. Is it a localphi server?"
        )


async def _deltas(response: httpx.Response) -> AsyncGenerator[Delta, None]:
    """Each text as it comes; what else the events say is kept for the last delta."""
    chunk: Chunk | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    collector = CallCollector()
    async with aclosing(_events(response)) as events:
        async for data in events:
            chunk = read_chunk(data)
            finish_reason = chunk.finish_reason or finish_reason
            usage = chunk.usage or usage
            collector.add(chunk.calls)
            if chunk.text:
                yield Delta(chunk.id, chunk.model, chunk.text)
    if chunk is None:
        raise UnexpectedReply("The server ended the answer before it began.")
    calls = collector.calls(finish_reason)
    yield Delta(chunk.id, chunk.model, finish_reason=finish_reason, usage=usage, tool_calls=calls)


async def _events(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The data of each event before [DONE]. Raises AnswerIncomplete when the stream ends without it."""
    reader = EventReader()
    async for piece in response.aiter_bytes():
        for data in reader.feed(piece):
            if data == _DONE:
                return
            yield data
    raise AnswerIncomplete("The server closed the connection before the answer was complete.")
