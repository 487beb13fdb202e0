"""A server on a raw socket, in threads of its own, and the wire it speaks."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

Script = Callable[["Connection"], None]

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def chunk(text: str | None = None, finish_reason: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return event({"id": "chatcmpl-1", "model": "tiny", "choices": [choice]})


def call_chunk(index: int, arguments: str = "", **head: str) -> bytes:
    """A piece of a call; head: its id and its name, which only the first piece has."""
    function = {"arguments": arguments} | ({"name": head["name"]} if "name" in head else {})
    call = {"index": index, "function": function}
    if "id" in head:
        call |= {"id": head["id"], "type": "function"}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    return event({"id": "chatcmpl-1", "model": "tiny", "choices": [choice]})


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int | None = None) -> bytes:
    counts: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    if cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    return event({"id": "chatcmpl-1", "model": "tiny", "choices": [], "usage": counts})


def answer(*texts: str) -> bytes:
    """The body of a complete stream."""
    return b"".join(chunk(text) for text in ("", *texts)) + chunk(finish_reason="stop") + usage(3, 2) + DONE


def calling(*calls: tuple[str, dict[str, Any]], text: str = "", turn: int = 1) -> bytes:
    """The body of a complete stream that calls these functions, ids call_TURN_1 and so on."""
    body = chunk(text)
    for index, (name, arguments) in enumerate(calls):
        written = json.dumps(arguments)
        body += call_chunk(index, id=f"call_{turn}_{index + 1}", name=name)
        body += call_chunk(index, written[:5]) + call_chunk(index, written[5:])
    return body + chunk(finish_reason="tool_calls") + usage(5, 4) + DONE


def refusal(status: int, message: str, param: str | None = None) -> bytes:
    """A whole response that says no."""
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": param}})
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Connection:
    """The server's end of one connection, after it has read the request."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        with channel.makefile("rb") as lines:
            length = 0
            while line := lines.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.body: dict[str, Any] = json.loads(lines.read(length))

    def send(self, data: bytes) -> None:
        self._channel.sendall(data)

    def wait_for_close(self) -> None:
        """Return when the client has hung up."""
        while self._channel.recv(1024):
            pass


Reply = bytes | Callable[[dict[str, Any]], bytes]


class Dialogue:
    """A script that gives one reply after the other, the last one again and again, and keeps what was asked.

    A reply is the body of a stream, a whole response, or what makes one of the request.
    """

    def __init__(self, *replies: Reply) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._replies = replies
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        with self._lock:
            reply = self._replies[min(len(self.bodies), len(self._replies) - 1)]
            self.bodies.append(connection.body)
        data = reply if isinstance(reply, bytes) else reply(connection.body)
        connection.send(data if data.startswith(b"HTTP/") else STREAM_HEAD + data)


class ScriptedServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, script: Script) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                script(Connection(self.request))

        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()
