"""Connections as they should not be: half open, slow, cut, pipelined, malformed. The server stays quick."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from localphi import server
from localphi.config import Settings
from serving import LiveServer, serving

CHAT = "/v1/chat/completions"
MODEL_FILE = "/models/localphi-demo/model.onnx.data"


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for all: a fault that breaks it is seen by those behind."""
    with serving(Settings(home=tmp_path_factory.mktemp("home"), backend="echo")) as server:
        yield server


def _connect(server: LiveServer) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=20)


def _request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _chat(text: str, *headers: str, **fields: object) -> bytes:
    body = json.dumps({"messages": [{"role": "user", "content": text}], **fields}).encode()
    return _request("POST", CHAT, f"Content-Length: {len(body)}", *headers, body=body)


def _read(connection: socket.socket, until: bytes = b"") -> bytes:
    """What comes until the connection is closed, or `until` is there."""
    data = b""
    with suppress(ConnectionResetError):  # how a close is told where something was not read any more
        while not until or until not in data:
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
    return data


def _ask(server: LiveServer, *parts: bytes) -> bytes:
    with _connect(server) as connection:
        for part in parts:
            connection.sendall(part)
        return _read(connection)


def _status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def _health_s(server: LiveServer) -> float:
    begun = time.monotonic()
    assert httpx.get(server.url + "/healthz", timeout=20).json() == {"status": "ok"}
    return time.monotonic() - begun


@contextmanager
def _connections(server: LiveServer, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in range(count)]
        for connection in connections:
            connection.sendall(sent)
        yield connections


def test_health_answers_beside_64_silent_streams_and_64_half_open_requests(echo_settings: Settings) -> None:
    """The streams have their answers' first events, read nothing, and never close."""
    with serving(replace(echo_settings, max_requests=96)) as live, ExitStack() as stack:
        streams = stack.enter_context(_connections(live, 64, _chat("word " * 1900, stream=True)))
        for connection in streams:
            assert _status(connection.recv(1024)) == 200
        half = _request("POST", CHAT, "Content-Length: 1000", body=b'{"mess')
        for sent in (b"", b"GET /healthz HT", _request("GET", "/healthz")[:-2], half):
            stack.enter_context(_connections(live, 16, sent))
        assert max(_health_s(live) for _ in range(10)) < 5, "a machine under load gets some seconds"


def test_slow_readers_of_large_files_hold_no_threads(
    echo_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are threads. A thread that sends more than this waits for its reader."""
    monkeypatch.setattr("waitress.adjustments.Adjustments.outbuf_high_watermark", 100_000)
    with serving(replace(echo_settings, max_requests=1)) as live, ExitStack() as stack:
        for headers in ((), ("Range: bytes=10-",)):
            stack.enter_context(_connections(live, 12, _request("GET", MODEL_FILE, *headers)))
        time.sleep(0.3)
        assert _health_s(live) < 5
        assert httpx.post(live.url + CHAT, json={"messages": [{"role": "user", "content": "hi"}]}).is_success


def _drip(connection: socket.socket, sent: bytes) -> None:
    for byte in sent:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def test_a_request_that_comes_a_byte_at_a_time_is_given_up(
    echo_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte is in time for a connection that is only measured by its silence."""
    monkeypatch.setattr(server, "_REQUEST_TIMEOUT_S", 1)
    monkeypatch.setattr(server, "_CLEANUP_S", 0.2)
    with serving(echo_settings) as live, _connect(live) as connection:
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            _drip(connection, _request("GET", "/healthz", *(f"X-{number}: y" for number in range(30))))
        assert 1 <= time.monotonic() - begun < 15


def test_a_slow_answer_is_not_given_up(echo_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_REQUEST_TIMEOUT_S", 1)
    monkeypatch.setattr(server, "_CLEANUP_S", 0.2)
    with serving(echo_settings) as live, _connect(live) as connection:
        connection.sendall(_request("GET", MODEL_FILE, "Connection: close"))
        received = 0
        while piece := connection.recv(1 << 20):
            received += len(piece)
            time.sleep(0.3 if received < 5e6 else 0)
    assert received > 7e6


def test_a_connection_can_be_used_again_and_requests_may_be_pipelined(live_server: LiveServer) -> None:
    with _connect(live_server) as connection:
        connection.sendall(_chat("one two") + _request("GET", "/healthz") + _chat("three"))
        connection.sendall(_request("GET", "/nope", "Connection: close"))
        answers = _read(connection)
    found = [answers.find(part) for part in (b'"one two"', b'"ok"', b'"three"', b"404 NOT FOUND")]
    assert -1 not in found
    assert found == sorted(found), "in the order of the requests"


def test_what_comes_behind_a_refused_request_is_no_request(live_server: LiveServer) -> None:
    """Request smuggling: the two lengths disagree, so the connection ends with the refusal."""
    inner = _request("GET", "/v1/models")
    for headers in (
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Content-Length: 5, 5",),
        ("Content-Length : 5",),
        ("Content-Length: 0x5",),
    ):
        answers = _ask(live_server, _request("POST", "/tokenize", *headers, "Connection: close"), inner)
        assert b"localphi-demo" not in answers, headers
        assert answers.count(b"HTTP/1.1 ") <= 1, headers


def test_a_chunked_body_without_a_length_is_read(live_server: LiveServer) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "in pieces"}]}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    head = _request("POST", CHAT, "Transfer-Encoding: chunked", "Connection: close")
    answer = _ask(live_server, head, chunks)
    assert _status(answer) == 200
    assert b'"in pieces"' in answer


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"5\r\nab", b"ffffffffffffffff\r\nab"]
)
def test_a_broken_chunk_is_no_body(live_server: LiveServer, chunks: bytes) -> None:
    with _connect(live_server) as connection:
        connection.sendall(_request("POST", CHAT, "Transfer-Encoding: chunked") + chunks)
        connection.shutdown(socket.SHUT_WR)
        answer = _read(connection)
    assert not answer or 400 <= _status(answer) < 500
    assert _health_s(live_server) < 5


def test_an_endless_chunked_body_is_cut_off(live_server: LiveServer) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with _connect(live_server) as connection:
        connection.sendall(_request("POST", CHAT, "Transfer-Encoding: chunked"))
        answer = b""
        try:
            for _ in range(64):
                connection.sendall(chunk)
            answer = _read(connection)
        except OSError:
            pass  # the server hung up while we were still sending
    assert not answer or _status(answer) == 413
    assert _health_s(live_server) < 5


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\nX: y\n\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
    ],
)
def test_what_is_no_good_request_gets_no_answer_that_helps(live_server: LiveServer, sent: bytes) -> None:
    with _connect(live_server) as connection:
        connection.sendall(sent)
        connection.settimeout(1)  # a few are the beginning of a request to wait for
        answer = b""
        with suppress(TimeoutError):
            answer = connection.recv(65536)
    assert b" 200 OK" not in answer
    assert b"Traceback" not in answer
    assert _health_s(live_server) < 5


def test_headers_that_are_too_large_are_refused(live_server: LiveServer) -> None:
    for headers in ((f"X-Large: {'x' * 60_000}",), tuple(f"X-{number}: {'y' * 90}" for number in range(600))):
        with _connect(live_server) as connection:
            connection.sendall(_request("GET", "/healthz", *headers))
            assert _status(connection.recv(1024)) == 431
    assert _ask(live_server, _request("GET", f"/{'a' * 9000}", "Connection: close"))[9:12] == b"414"


def test_headers_that_are_there_twice_decide_nothing(echo_settings: Settings) -> None:
    key = "sk-this-is-the-secret-key"
    right, wrong = f"Authorization: Bearer {key}", "Authorization: Bearer sk-wrong-wrong-wrong"
    with serving(replace(echo_settings, api_keys=key)) as live:

        def status(*headers: str) -> int:
            return _status(_ask(live, _request("GET", "/v1/models", *headers, "Connection: close")))

        assert status(right) == 200
        for headers in (
            (right, wrong),
            (wrong, right),
            (right, right),
            (f"X-Api-Key: {key}", "X-Api-Key: x"),
            (f"X_Api_Key: {key}",),
        ):
            assert status(*headers) == 401, headers
        assert status(right, "Host: localhost") == 403
        assert status(right, "Origin: http://localhost", "Origin: https://evil.example") == 403
        assert status(right, "X-Forwarded-Host: evil.example", "X-Forwarded-For: 1.2.3.4") == 200


def test_clients_that_leave_at_any_time_leave_nothing_behind(live_server: LiveServer) -> None:
    sent = _chat("word " * 200, stream=True)
    for cut in (10, 60, len(sent) - 5, len(sent)):
        with _connect(live_server) as connection:
            connection.sendall(sent[:cut])
    with _connect(live_server) as connection:
        connection.sendall(sent)
        connection.recv(10)
    engine = live_server.engines.get("localphi-demo")
    deadline = time.monotonic() + 20
    while engine.held and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.held == 0
    assert _status(_ask(live_server, _chat("hi", "Connection: close"))) == 200
