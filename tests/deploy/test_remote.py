"""localphi in front of other servers: nothing is lost, nothing is added, and nobody else is asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from localphi.config import Settings
from localphi.engine.upstream import parse_address
from localphi.errors import KeysUnusable, ServerStartFailed
from localphi.server import who_may_ask
from serving import VECTORS, LiveServer, serving

PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
CASE = PARITY["cases"][0]
LONG = {"messages": CASE["messages"], "temperature": 0, "max_tokens": 300, "ignore_eos": True}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Front:
    """A server without a model, and the two localphi that answer for it."""

    url: str
    engine: Any
    behind: tuple[LiveServer, LiveServer]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("home")
        behind = [stack.enter_context(serving(Settings(home=home, threads=1))) for _ in range(2)]
        urls = tuple(server.url for server in behind)
        settings = Settings(home=home / "front", engine="remote", upstreams=urls)
        server = stack.enter_context(serving(settings))
        yield Front(server.url, server.engines.get("localphi-demo"), (behind[0], behind[1]))


def _post(url: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> httpx.Response:
    return httpx.post(url + path, json=body, timeout=60, trust_env=False)


def _events(url: str, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, timeout=60, trust_env=False
    ) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])


def _text(events: list[dict[str, Any]]) -> str:
    choices = (choice for event in events for choice in event.get("choices", ()))
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_an_answer_is_the_one_of_the_server_behind(front: Front) -> None:
    body = {"messages": CASE["messages"], "temperature": 0, "max_tokens": PARITY["max_tokens"]}
    answer, direct = (_post(url, body).json() for url in (front.url, front.behind[0].url))
    assert answer["choices"][0]["message"]["content"] == CASE["text"]
    for counted in ("prompt_tokens", "completion_tokens"):
        assert answer["usage"][counted] == direct["usage"][counted]
    assert answer["choices"][0]["finish_reason"] == direct["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}, "max_tokens": 60},
        {"logprobs": True, "top_logprobs": 2},
        {"seed": 7, "temperature": 1.2, "top_k": 20, "repetition_penalty": 1.1},
        {"n": 2, "seed": 3, "temperature": 1.0},
        {"stop": ["browser"]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_was_asked_for_goes_through(front: Front, more: dict[str, Any]) -> None:
    body = {"messages": CASE["messages"], "temperature": 0, "max_tokens": 40} | more
    answer, direct = (_post(url, body).json()["choices"] for url in (front.url, front.behind[0].url))
    for one, other in zip(answer, direct, strict=True):
        for call in (*one["message"].get("tool_calls", ()), *other["message"].get("tool_calls", ())):
            call.pop("id")
        assert one == other


def test_the_other_ways_to_ask_go_through(front: Front) -> None:
    hello = {"prompt": "localphi is", "temperature": 0}
    direct = front.behind[0].url
    assert (
        _post(front.url, hello, "/v1/completions").json()["choices"]
        == _post(direct, hello, "/v1/completions").json()["choices"]
    )
    asked = {"input": "What is WebGPU?", "temperature": 0, "max_output_tokens": 20}
    response = _post(front.url, asked, "/v1/responses").json()
    assert response["output"]
    assert response["usage"]["output_tokens"] > 0
    content = {"content": "Hello", "with_pieces": True}
    assert _post(front.url, content, "/tokenize").json() == _post(direct, content, "/tokenize").json()
    tokens = _post(front.url, {"content": "Hello"}, "/tokenize").json()
    assert _post(front.url, tokens, "/detokenize").json() == {"content": "Hello"}


def test_what_is_wrong_with_a_request_is_told_as_the_server_behind_tells_it(front: Front) -> None:
    for body in (
        {"messages": [{"role": "user", "content": "word " * 5000}]},
        {"messages": CASE["messages"], "logit_bias": {"999999": 1}},
    ):
        answer, direct = (_post(url, body) for url in (front.url, front.behind[0].url))
        assert answer.status_code == direct.status_code == 400
        assert answer.json() == direct.json()


def test_the_page_and_the_probes_know_what_is_served(front: Front) -> None:
    ready = httpx.get(f"{front.url}/readyz", trust_env=False).json()
    assert ready == {"status": "ready", "model": "localphi-demo", "worker": "loaded"}
    manifest = httpx.get(f"{front.url}/models/localphi-demo/localphi.json", trust_env=False).json()
    assert manifest["variants"] == {}
    assert httpx.get(f"{front.url}/openapi.json", trust_env=False).status_code == 200
    unload = httpx.post(f"{front.url}/engines/localphi-demo/unload", trust_env=False)
    assert unload.status_code == 400


def test_answers_are_spread_over_those_that_are_least_busy(front: Front) -> None:
    answers = [_events(front.url, LONG) for _ in range(4)]
    for answer in answers:
        next(answer)
    held = [server.engines.get("localphi-demo").state.held for server in front.behind]
    for answer in answers:
        answer.close()
    assert held == [2, 2]


def _until(what: Any, seconds: float = 10) -> bool:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if what():
            return True
        time.sleep(0.01)
    return bool(what())


def test_who_leaves_ends_the_answer_behind(front: Front) -> None:
    endless = LONG | {"max_tokens": 1800}
    for server in front.behind:
        assert _until(lambda server=server: server.engines.get("localphi-demo").state.held == 0)
    answer = _events(front.url, endless)
    for _ in range(3):
        next(answer)
    answer.close()
    for server in front.behind:
        assert _until(lambda server=server: server.engines.get("localphi-demo").state.held == 0, 5)
    assert _until(lambda: front.engine.held == 0, 5)


def test_an_answer_goes_on_elsewhere_when_its_server_is_lost(tmp_path: Path, front: Front) -> None:
    """The server that has it is closed in the middle; the other one goes on, to the same tokens."""
    undisturbed = _text(list(_events(front.behind[1].url, LONG)))
    with ExitStack() as stack:
        home = tmp_path / "home"
        first = stack.enter_context(serving(Settings(home=home, threads=1)))
        settings = Settings(home=home / "front", engine="remote", upstreams=(first.url,))
        server = stack.enter_context(serving(settings))
        engine: Any = server.engines.get("localphi-demo")
        other = parse_address(front.behind[1].url)
        events = []
        for number, event in enumerate(_events(server.url, LONG)):
            events.append(event)
            if number == 5:
                upstreams = engine._pool._upstreams
                upstreams._upstreams.append(type(upstreams._upstreams[0])(other))
                upstreams._check_all()
                first.engines.close()
    assert not any("error" in event for event in events)
    assert _text(events) == undisturbed
    assert events[-1]["usage"]["completion_tokens"] == 300
    assert engine.state.restarts == 1


def test_a_server_that_is_killed_under_load_loses_no_answer(tmp_path: Path, front: Front) -> None:
    undisturbed = _text(list(_events(front.behind[1].url, LONG)))
    command = "from localphi.cli import main; main()"
    arguments = [sys.executable, "-c", command, "serve", "--port", "0", "--threads", "1"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = next(match[1] for line in process.stdout if (match := re.search(r"localhost:(\d+)", line)))
        urls = (f"http://127.0.0.1:{port}", front.behind[1].url)
        with serving(Settings(home=tmp_path, engine="remote", upstreams=urls)) as server:
            started = threading.Semaphore(0)

            def ask() -> list[dict[str, Any]]:
                events = []
                for number, event in enumerate(_events(server.url, LONG)):
                    events.append(event)
                    if number == 10:
                        started.release()
                return events

            with ThreadPoolExecutor(6) as pool:
                answers = [pool.submit(ask) for _ in range(6)]
                for _ in answers:
                    started.acquire()
                process.kill()
                told = [answer.result(60) for answer in answers]
            restarts = server.engines.get("localphi-demo").state.restarts
        assert [_text(events) for events in told] == [undisturbed] * 6
        assert all("error" not in event for events in told for event in events)
        assert restarts >= 1
    finally:
        process.kill()
        process.communicate()


# Servers that behave as real ones sometimes do.


@dataclass
class _Odd:
    """status, headers, body: of the answer. cut: the stream ends in the middle. seen: what was asked."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    cut: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)


def _chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def _odd_server(odd: _Odd) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            odd.keys.add(self.headers.get("Authorization"))
            self._say(200, {"data": [{"id": "Acme/Model-7B", "owned_by": "acme", "max_model_len": 4096}]})

        def do_POST(self) -> None:
            odd.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if odd.status != 200:
                self._say(odd.status, odd.body)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(_chunk({"role": "assistant", "content": ""}))
            self.wfile.write(_chunk({"content": "Hel"}))
            if odd.cut:
                return
            self.wfile.write(_chunk({"content": "lo"}) + _chunk({}, "stop"))
            usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
            self.wfile.write(b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n")

        def _say(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in odd.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[tuple[_Odd, str]]:
    odd = _Odd()
    behind = _odd_server(odd)
    url = f"http://127.0.0.1:{behind.server_address[1]}/v1"
    settings = Settings(home=tmp_path, engine="remote", upstreams=(url,), upstream_key="secret")
    with serving(settings) as server:
        yield odd, server.url
    behind.shutdown()
    behind.server_close()


HELLO = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}


def test_any_server_of_openais_api_will_do(odd: tuple[_Odd, str]) -> None:
    behind, url = odd
    answer = _post(url, HELLO | {"max_tokens": 5}).json()
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert answer["model"] == "Acme/Model-7B"
    assert behind.seen[0] == {
        "model": "Acme/Model-7B",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0,
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert behind.keys == {"Bearer secret"}
    metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    assert 'localphi_time_to_first_token_seconds_count{model="Acme/Model-7B"} 1.0' in metrics
    assert 'localphi_prompt_tokens_total{model="Acme/Model-7B"} 5.0' in metrics
    assert 'localphi_generated_tokens_total{model="Acme/Model-7B"} 2.0' in metrics


@pytest.mark.parametrize(
    ("status", "body", "answered", "code"),
    [
        (429, {}, 429, "queue_full"),
        (400, {"error": {"message": "No.", "param": "messages"}}, 400, None),
        (401, {"error": {"message": "Bad key secret."}}, 502, "upstream_refused"),
        (307, {}, 502, "upstream_refused"),
        (500, {"error": {"message": "Oops."}}, 502, "upstream_lost"),
    ],
)
def test_its_errors_become_ours(
    odd: tuple[_Odd, str], status: int, body: Any, answered: int, code: str | None
) -> None:
    behind, url = odd
    behind.status, behind.body, behind.headers = status, body, {"Retry-After": "7", "Location": url}
    response = _post(url, HELLO)
    assert response.status_code == answered
    error = response.json()["error"]
    assert error["code"] == code
    assert "secret" not in error["message"]
    assert response.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert len(behind.seen) == (4 if status == 500 else 1)


def test_an_answer_that_breaks_off_where_nothing_can_go_on_ends_with_an_error(odd: tuple[_Odd, str]) -> None:
    behind, url = odd
    behind.cut = True
    events = list(_events(url, HELLO))
    assert _text(events) == "Hel"
    assert events[-1]["error"]["code"] == "upstream_lost"
    assert len(behind.seen) == 1


def test_nobody_there_is_told_and_cured_when_somebody_comes(tmp_path: Path) -> None:
    closed = _odd_server(_Odd())
    port = closed.server_address[1]
    closed.shutdown()
    closed.server_close()
    settings = Settings(home=tmp_path, engine="remote", upstreams=(f"http://127.0.0.1:{port}",))
    with serving(settings) as server:
        response = _post(server.url, HELLO)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "upstream_unreachable"
        assert response.headers["Retry-After"] == "5"
        assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 503


@pytest.mark.parametrize(
    "text", ["", "localhost:8000", "ftp://x", "http://a:b@x", "http://x/?q=1", "http://x:y"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ServerStartFailed, match="must be an address"):
        parse_address(text)


def test_it_is_said_where_questions_go() -> None:
    said = who_may_ask(Settings(engine="remote", upstreams=("http://10.0.0.5:8000/v1",)))
    assert "What is asked goes to http://10.0.0.5:8000 and nowhere else." in said
    assert "encrypted" in said


def test_a_key_file_holds_one_key(tmp_path: Path) -> None:
    from localphi.engine.elsewhere import upstream_servers

    file = tmp_path / "key"
    file.write_text("two words\n", encoding="utf-8")
    with pytest.raises(KeysUnusable, match="one access key"):
        upstream_servers(Settings(engine="remote", upstreams=("http://x",), upstream_key_file=file))
