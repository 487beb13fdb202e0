"""Who is asked: the engine client in this process, or a server by HTTP.

Every target answers `ask(prompt, max_tokens)` with a `Timed`, from several threads at once.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from localphi.chat import ChatRequest, Chunk, Finished, RawPrompt
from localphi.engine.client import Engine
from localphi.errors import BenchFailed, ContextLengthExceeded
from localphi.toolchain.bench.answers import Timed

_TIMEOUT_S = 600.0
_ENDING_S = 15.0


class DoesNotFit(Exception):
    """The prompt is longer than the context of the model: a cell without a figure."""


class Target(Protocol):
    @property
    def name(self) -> str: ...

    def ask(self, prompt: Sequence[int], max_tokens: int) -> Timed: ...


@dataclass(frozen=True)
class EngineTarget:
    """The engine, without HTTP. Greedy, and on to `max_tokens`."""

    name: str
    engine: Engine

    def ask(self, prompt: Sequence[int], max_tokens: int) -> Timed:
        """Raises DoesNotFit."""
        request = ChatRequest(RawPrompt(tuple(prompt)), max_tokens=max_tokens, ignore_end=True)
        asked = time.perf_counter()
        pieces: list[float] = []
        try:
            with self.engine.submit(request) as answer:
                for item in answer:
                    if isinstance(item, Chunk) and item.token_ids:
                        pieces += [time.perf_counter()] * len(item.token_ids)
                    elif isinstance(item, Finished):
                        tokens = item.usage.completion_tokens
        except ContextLengthExceeded as error:
            raise DoesNotFit(error.message) from error
        return Timed(asked, tuple(pieces), time.perf_counter(), tokens)


@dataclass(frozen=True)
class HttpTarget:
    """A server that speaks OpenAI's /v1/completions and takes token ids for a prompt.

    `ignore_eos` is what vLLM, llama.cpp and localphi call going on to the end; others pass it over, and then
    an answer may be shorter, which is told. A connection for each answer, as most clients make it.
    """

    name: str
    url: str
    model: str | None = None
    key: str | None = None

    def ask(self, prompt: Sequence[int], max_tokens: int) -> Timed:
        """Raises DoesNotFit, or BenchFailed with what the server said."""
        body: dict[str, Any] = {
            "prompt": list(prompt),
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.model:
            body["model"] = self.model
        data = json.dumps(body).encode()
        connection = self._connection()
        asked = time.perf_counter()
        try:
            connection.request("POST", self._path("/completions"), data, self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise self._refusal(response.status, response.read())
            return _read_events(asked, response)
        except (OSError, http.client.HTTPException) as error:
            raise BenchFailed(f"{self.name} at {self.url} does not answer: {error}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "127.0.0.1", parts.port, timeout=_TIMEOUT_S)

    def _path(self, name: str) -> str:
        base = urlsplit(self.url).path.rstrip("/")
        return (base if base.endswith("/v1") else f"{base}/v1") + name

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        return headers | ({"authorization": f"Bearer {self.key}"} if self.key else {})

    def _refusal(self, status: int, data: bytes) -> Exception:
        text = data.decode("utf-8", "replace")
        if status == 400 and ("context" in text or "max_tokens" in text):
            return DoesNotFit(text)
        return BenchFailed(f"{self.name} at {self.url} answered {status}: {text[:300]}")


def _read_events(asked: float, response: http.client.HTTPResponse) -> Timed:
    """The moments of the events that carry text; tokens are what `usage` counts, else the events."""
    pieces: list[float] = []
    ended = 0.0
    tokens: int | None = None
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        now = time.perf_counter()
        event = json.loads(line[6:])
        if error := event.get("error"):
            raise BenchFailed(f"The answer broke off: {error.get('message', error)}")
        for choice in event.get("choices") or ():
            if choice.get("text"):
                pieces.append(now)
            ended = now
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    if not ended:
        raise BenchFailed("The server sent an answer without a single event.")
    return Timed(asked, tuple(pieces), ended, len(pieces) if tokens is None else tokens)


def serve_command(model: str, options: Sequence[str] = ()) -> list[str]:
    """`localphi serve` for a model, on a free port, with further options."""
    start = [sys.executable, "-c", "from localphi.cli import main; main()", "serve", "--port", "0"]
    return [*start, "--model", model, *options]


@contextmanager
def started(command: Sequence[str], name: str) -> Iterator[str]:
    """Start a server in a process of its own; gives its address, ends it afterwards.

    The address is what it prints behind the word "page". Raises BenchFailed with what it said instead.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    try:
        url = _address(name, process.stdout)
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(name: str, output: IO[str]) -> str:
    said: deque[str] = deque(maxlen=8)
    for line in output:
        said.append(line.strip())
        if found := re.search(r"page\s+(http://\S+)", line):
            return found.group(1)
    output.close()
    raise BenchFailed(f"The server of {name} did not start: {' '.join(said) or 'it said nothing'}")


def _drain(output: IO[str]) -> None:
    """A full pipe would stop the server."""
    with output:
        for _ in output:
            pass
