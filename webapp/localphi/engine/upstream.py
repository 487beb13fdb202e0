"""One server of OpenAI's API that computes answers for us: who it is, whether it lives, and a call to it.

Python's own HTTP client, because a call must end at once when its client leaves: shutting the socket down
from another thread does that. A call is a connection; nothing is redirected, and no proxy is asked.
"""

from __future__ import annotations

import json
import math
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from localphi.chat import ChatRequest
from localphi.engine.base import Admitted, Decoded, Encode, Encoded, Event, Failed, Question, Reply
from localphi.engine.far import Busy, Lost, goes_on
from localphi.engine.upstream_wire import ChunkReader, error_of, path_and_body, refusal
from localphi.errors import (
    EngineFailed,
    LocalphiError,
    ServerStartFailed,
    UpstreamBusy,
    UpstreamLost,
    UpstreamRefused,
)

OURS = "localphi"  # what /v1/models says of models that a localphi serves
_TELL_IDS = frozenset({OURS, "vllm"})
_CONNECT_S = 5.0
_ASK_S = 10.0
_SILENCE_S = {OURS: 45.0}  # it says something every ten seconds
_LONGEST_SILENCE_S = 600.0  # others say nothing while they read a prompt
_READ_BYTES = 65536
_MAX_BODY_BYTES = 8 * 1024**2
_LONGEST_RETRY_AFTER_S = 300
_GONE = frozenset({"stopping", "worker_died"})  # codes of a localphi whose answer goes on elsewhere
_AGAIN = frozenset({408, 500, 502, 503, 504})


@dataclass(frozen=True)
class Address:
    """Of an upstream server. path: in front of /v1, mostly nothing."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_address(text: str) -> Address:
    """Raises ServerStartFailed for what is no address of a server."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    extra = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in ("http", "https") or not parts.hostname or extra:
        raise ServerStartFailed(
            f"An upstream must be an address such as http://127.0.0.1:8001, but is '{text[:80]}'."
        )
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(parts.scheme, parts.hostname, port, path)


@dataclass(frozen=True)
class UpstreamModel:
    """owner: `owned_by` in the list of models. context_length: None where the server does not tell."""

    id: str
    owner: str
    context_length: int | None = None


class Upstream:
    """models: what it serves, as it said last; none while it does not answer."""

    def __init__(self, address: Address, key: str = "") -> None:
        self.address = address
        self.models: dict[str, UpstreamModel] = {}
        self.problem = "it was not asked yet"
        self.busy = Busy()
        self._key = key

    @property
    def name(self) -> str:
        return str(self.address)

    @property
    def alive(self) -> bool:
        return bool(self.models)

    def check(self) -> None:
        """Ask what it serves; `problem` says what is wrong where that is nothing."""
        try:
            told = self.ask("GET", "/v1/models")
            found = [_model(entry) for entry in told["data"]]
            self.models, self.problem = {model.id: model for model in found}, "it serves no model"
        except LocalphiError as error:
            self.models, self.problem = {}, error.message
        except Lost as lost:
            self.models, self.problem = {}, lost.problem
        except (KeyError, TypeError, AttributeError):
            self.models, self.problem = {}, "it has no list of models"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A short question and its answer, both JSON. Raises Lost, or what the server says is wrong."""
        connection = self._connection(_ASK_S)
        try:
            response = self._send(connection, method, path, body)
            data = response.read(_MAX_BODY_BYTES)
            if response.status != 200:
                raise self._error(response, data)
            return json.loads(data)
        except (OSError, HTTPException, ValueError) as error:
            raise Lost(self.name, _problem(error)) from error
        finally:
            connection.close()

    def model_file(self, model: str) -> Any:
        """localphi.json of a model of a localphi."""
        return self.ask("GET", f"/models/{model}/localphi.json")

    def reply(self, model: str, question: Question) -> Reply:
        """As llama.cpp's server and ours reply. Raises Lost, or EngineFailed for what is no reply."""
        try:
            if isinstance(question, Encode):
                return self._encoded(model, question)
            told = self.ask("POST", "/detokenize", {"model": model, "tokens": list(question.ids)})
            return Decoded(str(told["content"]))
        except (KeyError, TypeError, ValueError) as error:
            raise EngineFailed(f"The upstream server {self.name} does not tell tokens.") from error

    def _encoded(self, model: str, question: Encode) -> Encoded:
        body = {
            "model": model,
            "content": question.text,
            "add_special": question.add_special,
            "parse_special": question.parse_special,
            "with_pieces": question.with_pieces,
        }
        tokens = self.ask("POST", "/tokenize", body)["tokens"]
        if not question.with_pieces:
            return Encoded(tuple(map(int, tokens)))
        pieces = (token["piece"] for token in tokens)
        return Encoded(
            tuple(int(token["id"]) for token in tokens),
            tuple(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in pieces),
        )

    def call(self, model: str, request: ChatRequest) -> UpstreamCall:
        """An answer. Raises UpstreamLost when the one that was begun cannot go on here."""
        owner = self.models[model].owner if model in self.models else ""
        is_ours = owner == OURS
        if request.begun_ids and not is_ours and not _same_again(request):
            raise UpstreamLost(f"The answer broke off, and {self.name} cannot go on with it. Ask again.")
        tells_ids = owner in _TELL_IDS
        path, body = path_and_body(request, model, tells_ids=tells_ids, is_ours=is_ours)
        connection = self._connection(_SILENCE_S.get(owner, _LONGEST_SILENCE_S))
        reader = ChunkReader(has_logprobs=request.top_logprobs is not None)
        return UpstreamCall(self, connection, path, body, reader, tells_ids=tells_ids, trace=request.trace)

    def _connection(self, timeout_s: float) -> HTTPConnection:
        address = self.address
        if address.scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(address.host, address.port, timeout=timeout_s, context=context)
        return HTTPConnection(address.host, address.port, timeout=timeout_s)

    def _send(
        self, connection: HTTPConnection, method: str, path: str, body: Any, trace: str = ""
    ) -> HTTPResponse:
        patience, connection.timeout = connection.timeout, _CONNECT_S
        connection.connect()
        connection.sock.settimeout(patience)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": "localphi"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if trace:
            headers["traceparent"] = trace
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/json"
        connection.request(method, self.address.path + path, data, headers)
        return connection.getresponse()

    def _error(self, response: HTTPResponse, data: bytes) -> Exception:
        """What a status other than 200 means: Lost where another server may answer."""
        status = response.status
        if status == 429:
            return UpstreamBusy(_retry_after_s(response.getheader("Retry-After")), self.name)
        if status in (401, 403):
            return UpstreamRefused(f"The upstream server {self.name} wants another access key ({status}).")
        if status in _AGAIN:
            said = str(error_of(data).get("message") or "")[:300].rstrip(".")
            return Lost(self.name, f"{self.name} answers {status}" + (f" ({said})" if said else ""))
        if 300 <= status < 400:
            return UpstreamRefused(f"The upstream server {self.name} sends elsewhere; name that address.")
        return refusal(status, data)


class UpstreamCall:
    """An answer as it comes. Iterate once; close() from any thread."""

    def __init__(
        self,
        upstream: Upstream,
        connection: HTTPConnection,
        path: str,
        body: Any,
        reader: ChunkReader,
        *,
        tells_ids: bool,
        trace: str = "",
    ) -> None:
        self.tells_ids = tells_ids
        self._trace = trace
        self._upstream = upstream
        self._connection = connection
        self._path, self._body = path, body
        self._reader = reader
        self._closed = threading.Event()
        self._leave = upstream.busy.enter()

    def __iter__(self) -> Iterator[Event]:
        upstream = self._upstream
        try:
            response = upstream._send(self._connection, "POST", self._path, self._body, self._trace)
            if response.status != 200:
                raise upstream._error(response, response.read(_MAX_BODY_BYTES))
            yield Admitted(0, upstream.name)
            for data in _events(response):
                if data == b"[DONE]":
                    break
                yield from self._read(json.loads(data))
        except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Lost(upstream.name, f"{upstream.name} broke off ({_problem(error)})") from error
        if not self._reader.ended:
            raise Lost(upstream.name, f"{upstream.name} broke off")
        yield self._reader.end()

    def _read(self, chunk: Any) -> Iterator[Event]:
        if "error" not in chunk:
            yield from self._reader.items(chunk)
            return
        error = chunk["error"]
        if error.get("code") in _GONE or self._closed.is_set():
            raise Lost(self._upstream.name, f"{self._upstream.name} says: {str(error.get('message'))[:300]}")
        yield Failed(refusal(500, json.dumps(chunk).encode()))

    def close(self) -> None:
        self._leave()
        if self._closed.is_set():
            return
        self._closed.set()
        sock = self._connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self._connection.close()


def _events(response: HTTPResponse) -> Iterator[bytes]:
    """The data of server-sent events; several lines of one are joined."""
    rest, lines = b"", []
    while piece := response.read1(_READ_BYTES):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > _MAX_BODY_BYTES:
            raise ValueError("an event that never ends")
        for line in whole:
            text = line.rstrip(b"\r")
            if text.startswith(b"data:"):
                lines.append(text[5:].removeprefix(b" "))
            elif not text and lines:
                yield b"\n".join(lines)
                lines = []


def _same_again(request: ChatRequest) -> bool:
    drawn = request.sampling.temperature > 0 and request.sampling.seed is None
    return goes_on(request) and not drawn


def _model(entry: Any) -> UpstreamModel:
    length = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx_train")
    known = length if isinstance(length, int) and length > 0 else None
    return UpstreamModel(str(entry["id"]), str(entry.get("owned_by") or ""), known)


def _retry_after_s(told: str | None) -> int:
    try:
        seconds = math.ceil(float(told or 1))
    except (ValueError, OverflowError):  # a date, or nonsense
        seconds = 1
    return min(max(1, seconds), _LONGEST_RETRY_AFTER_S)


def _problem(error: Exception) -> str:
    """In few words, and none of what was asked or answered."""
    if isinstance(error, TimeoutError):
        return "it was silent for too long"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"its answer cannot be read: {type(error).__name__}"
