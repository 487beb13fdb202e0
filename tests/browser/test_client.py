"""localphi.js in pages that are not ours: as an npm package on another origin, and from the server itself."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driving import READY_MS
from localphi.config import Settings
from serving import ROOT, VECTORS, LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.complaints(".")]

PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
QUESTION = "What is localphi?"
MESSAGES = [{"role": "user", "content": QUESTION}]
LONG = [{"role": "user", "content": "Tell me everything about every device. " * 3}]
EXPECTED = next(case["text"] for case in PARITY["cases"] if case["messages"][-1]["content"] == QUESTION)

CREATE = "async (options) => { window.phi = await (await import('/localphi.js')).createPhi(options); }"
ASK = "async (params) => JSON.parse(JSON.stringify(await window.phi.chat.completions.create(params)))"
FAILURE = """async (params) => {
  try { await window.phi.chat.completions.create(params); return null; }
  catch (error) { return { name: error.name, kind: error.kind, message: error.message }; }
}"""


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What npm installs."""
    folder = tmp_path_factory.mktemp("npm")
    command = [sys.executable, str(ROOT / "static" / "npm.py"), "client", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture(scope="session")
def app_url(package: Path) -> Iterator[str]:
    """The package among the files of somebody's page, with the headers that threads need."""

    class Handler(SimpleHTTPRequestHandler):
        def guess_type(self, path: Any) -> str:
            known = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
            return known.get(Path(path).suffix) or super().guess_type(path)

        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    files = functools.partial(Handler, directory=str(package.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), files)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/package"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def allowing_server(tmp_path_factory: pytest.TempPathFactory, app_url: str) -> Iterator[LiveServer]:
    origin = app_url.removesuffix("/package")
    with serving(Settings(home=tmp_path_factory.mktemp("home"), allow_origins=(origin,))) as server:
        yield server


@pytest.fixture
def page(context: BrowserContext, demo_server: LiveServer) -> Page:
    """An empty page of the server's origin."""
    page = context.new_page()
    page.goto(f"{demo_server.url}/healthz")
    return page


@pytest.fixture
def phi(page: Page) -> Page:
    """A page in which `window.phi` answers, on WASM."""
    page.evaluate(CREATE, {"device": "wasm"})
    return page


def test_the_package_holds_what_it_needs_and_no_page(package: Path) -> None:
    names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    fixed = {name for name in names if not name.startswith(("ort/", "assets/"))}
    assert fixed == {
        *("package.json", "README.md", "LICENSE", "licences.txt", "example.html"),
        *("localphi.js", "localphi.d.ts"),
    }
    assert [name.split("-")[0] for name in names if name.startswith("assets/")] == ["assets/main"]
    assert {"ort/ort.jspi.min.mjs", "ort/ort-wasm-simd-threaded.asyncify.wasm"} <= names
    described = json.loads((package / "package.json").read_text(encoding="utf-8"))
    assert described["exports"]["."] == {"types": "./localphi.d.ts", "default": "./localphi.js"}
    assert described["version"] == json.loads((ROOT / "static/package.json").read_text())["version"]
    assert "transformers.js" not in (package / "localphi.js").read_text(encoding="utf-8")


def test_the_types_are_those_a_program_needs(package: Path, tmp_path: Path) -> None:
    (tmp_path / "use.ts").write_text(
        """
        import { createPhi, VERSION } from 'localphi';
        import type { ChatCompletion, ChatCompletionStream, Phi } from 'localphi';
        const phi: Phi = await createPhi({ device: 'wasm', signal: AbortSignal.timeout(1) });
        const messages = [{ role: 'user', content: VERSION } as const];
        const whole: ChatCompletion = await phi.chat.completions.create({ messages, max_tokens: 3 });
        const stream: ChatCompletionStream = await phi.chat.completions.create({ messages, stream: true });
        for await (const chunk of stream) console.log(chunk.choices[0]?.delta.content ?? whole.id);
        const tools = [{ type: 'function', function: { name: 'f', parameters: {} } } as const];
        const { message } = (await phi.chat.completions.create({ messages, tools })).choices[0];
        const id: string = message.tool_calls?.[0]?.id ?? '';
        const result = { role: 'tool', tool_call_id: id, content: '1' } as const;
        const more = [...messages, message, result];
        await phi.chat.completions.create({ messages: more, tools, tool_choice: 'required' });
        // @ts-expect-error: a result tells which call it answers
        await phi.chat.completions.create({ messages: [{ role: 'tool', content: '1' }] });
        // @ts-expect-error: there is no such parameter
        await phi.chat.completions.create({ messages, max_token: 3 });
        // @ts-expect-error: content is text
        await phi.chat.completions.create({ messages: [{ role: 'user', content: 1 }] });
        """,
        encoding="utf-8",
    )
    options = {
        **{"strict": True, "noEmit": True, "target": "es2022", "module": "esnext"},
        **{"moduleResolution": "bundler", "lib": ["es2022", "dom"], "types": []},
        "paths": {"localphi": [str(package / "localphi.d.ts")]},
    }
    project = {"compilerOptions": options, "files": ["use.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(project), encoding="utf-8")
    command = [sys.executable, str(ROOT / "static/npm.py"), "exec", "--", "tsc", "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_example_page_runs_on_another_origin(
    context: BrowserContext, app_url: str, allowing_server: LiveServer, package: Path
) -> None:
    assert len((package / "example.html").read_text(encoding="utf-8").splitlines()) < 40
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    page = context.new_page()
    page.goto(f"{app_url}/example.html?server={allowing_server.url}&device=wasm")
    answer = page.locator("#answer")
    expect(answer).to_have_text("localphi-demo is ready (wasm).", timeout=READY_MS)
    assert page.evaluate("crossOriginIsolated") is True
    page.get_by_role("button", name="Ask").click()
    expect(answer).to_contain_text(EXPECTED, timeout=READY_MS)
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    page.get_by_label("Question").fill(LONG[0]["content"])
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert problems == []


def test_an_origin_that_was_not_allowed_is_told(
    context: BrowserContext, app_url: str, demo_server: LiveServer
) -> None:
    page = context.new_page()
    page.goto(f"{app_url}/README.md")
    create = CREATE.replace("/localphi.js", f"{app_url}/localphi.js")
    with pytest.raises(Exception, match="the server could not be reached"):
        page.evaluate(create, {"baseUrl": demo_server.url})


def test_answers_are_those_of_the_page(phi: Page) -> None:
    limit = PARITY["max_tokens"]
    answer = phi.evaluate(ASK, {"messages": MESSAGES, "temperature": 0, "max_tokens": limit})
    assert answer["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": EXPECTED},
        "finish_reason": "length",
    }
    assert answer["model"] == "localphi-demo"
    assert answer["timings"]["device"] == "wasm"
    again = phi.evaluate(ASK, {"messages": MESSAGES, "temperature": 0})
    assert again["choices"][0]["finish_reason"] == "stop"
    assert again["choices"][0]["message"]["content"].startswith(EXPECTED)
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


def test_the_device_and_the_progress_are_told(page: Page) -> None:
    told = page.evaluate(
        """async () => {
          const { createPhi } = await import('/localphi.js');
          const devices = [], stages = new Set();
          const phi = await createPhi({
            device: 'wasm', onDevice: (device) => devices.push(device),
            onProgress: ({ stage }) => stages.add(stage),
          });
          phi.dispose();
          return { devices, stages: [...stages], device: phi.device };
        }"""
    )
    assert told["devices"] == ["wasm"]
    assert told["device"] == "wasm"
    assert "files" in told["stages"]


def test_the_server_answers_where_it_is_asked_to(page: Page) -> None:
    page.evaluate(CREATE, {"device": "server"})
    answer = page.evaluate(ASK, {"messages": MESSAGES, "temperature": 0})
    assert answer["choices"][0]["message"]["content"].startswith(EXPECTED)
    assert answer["timings"]["device"] == "server"


def test_without_devices_and_server_the_reasons_are_told(context: BrowserContext, page: Page) -> None:
    context.route("**/ort/*", lambda route: route.abort())
    with pytest.raises(Exception, match=r"no device of this browser can run the model .*wasm: "):
        page.evaluate(CREATE, {"server": False})


def test_bad_requests_are_refused_and_the_next_is_answered(phi: Page) -> None:
    unknown = phi.evaluate(FAILURE, {"messages": MESSAGES, "logprobs": True})
    assert unknown["name"] == "TypeError"
    assert unknown["message"].startswith("logprobs: ")
    long = phi.evaluate(FAILURE, {"messages": [{"role": "user", "content": "word " * 5000}], "stream": True})
    assert long["kind"] == "context"
    assert "the model reads 2048" in long["message"]
    answer = phi.evaluate(ASK, {"messages": MESSAGES, "max_tokens": 5, "temperature": 0})
    assert EXPECTED.startswith(answer["choices"][0]["message"]["content"])


def test_conversations_take_turns_and_failures_hold_nobody_up(phi: Page) -> None:
    """Four at the same time, twice each; one of them is refused, another leaves."""
    told = phi.evaluate(
        """async ([question, tooLong]) => {
          const order = [];
          const talk = async (name, content) => {
            for (let turn = 0; turn < 2; turn++) {
              const messages = [{ role: 'user', content }];
              try {
                await phi.chat.completions.create({ messages, max_tokens: 4 });
                order.push(name);
              } catch (error) { order.push(`${name}:${error.kind}`); }
            }
          };
          const gone = new AbortController();
          const messages = [{ role: 'user', content: question }];
          const all = [talk('a', question), talk('b', tooLong), talk('c', 'Hello!')];
          const left = phi.chat.completions.create({ messages }, { signal: gone.signal })
            .catch((error) => order.push(error.name));
          gone.abort();
          await Promise.all([...all, left]);
          return order;
        }""",
        [QUESTION, "word " * 5000],
    )
    assert told[0] == "AbortError"  # who waits can leave at once
    assert told[1:] == ["a", "b:context", "c", "a", "b:context", "c"]
    answer = phi.evaluate(ASK, {"messages": MESSAGES, "max_tokens": 5, "temperature": 0})
    assert EXPECTED.startswith(answer["choices"][0]["message"]["content"])


def test_leaving_the_loop_ends_the_answer_and_the_next_is_quick(phi: Page) -> None:
    pieces = phi.evaluate(
        """async (messages) => {
          const stream = await phi.chat.completions.create({ messages, stream: true });
          let pieces = 0;
          for await (const { choices } of stream) if (choices[0].delta.content && ++pieces === 2) break;
          return pieces;
        }""",
        LONG,
    )
    assert pieces == 2
    answer = phi.evaluate(ASK, {"messages": MESSAGES, "max_tokens": 3, "temperature": 0})
    assert answer["usage"]["completion_tokens"] == 3


def test_an_answer_outlives_its_worker(phi: Page) -> None:
    phi.evaluate(
        """async (params) => {
          globalThis.said = '';
          const stream = await phi.chat.completions.create({ ...params, stream: true });
          globalThis.whole = (async () => {
            for await (const { choices } of stream) said += choices[0].delta.content ?? '';
          })();
        }""",
        {"messages": MESSAGES, "temperature": 0, "max_tokens": PARITY["max_tokens"]},
    )
    wait_until(phi, lambda: phi.evaluate("said.length > 5"))
    (worker,) = (one for one in phi.workers if "/assets/" in one.url)
    worker.evaluate("setTimeout(() => self.close(), 0)")
    assert phi.evaluate("whole.then(() => said)") == EXPECTED
    assert phi.evaluate("phi.device") == "wasm"


def test_what_is_disposed_of_is_gone(phi: Page) -> None:
    assert len(phi.workers) > 0
    phi.evaluate("() => { phi.dispose(); phi.dispose(); }")
    failure = phi.evaluate(FAILURE, {"messages": MESSAGES})
    assert failure["kind"] == "worker"
    wait_until(phi, lambda: not phi.workers)


def test_disposing_in_the_middle_of_an_answer_rejects_it(phi: Page) -> None:
    failure = phi.evaluate(
        """async (messages) => {
          const stream = await phi.chat.completions.create({ messages, stream: true });
          try { for await (const _ of stream) phi.dispose(); } catch (error) { return error.kind; }
        }""",
        LONG,
    )
    assert failure == "worker"


def test_loading_can_be_given_up(page: Page) -> None:
    name = page.evaluate(
        """async () => {
          const { createPhi } = await import('/localphi.js');
          const stop = new AbortController();
          const loading = createPhi({ signal: stop.signal, onProgress: () => stop.abort() });
          return loading.then(() => null, (error) => error.name);
        }"""
    )
    assert name == "AbortError"
    wait_until(page, lambda: not page.workers)


def wait_until(page: Page, reached: Callable[[], bool]) -> None:
    for _ in range(200):
        if reached():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen")
