"""How quickly the page can be used, what its scripts weigh, and whether it stays smooth during an answer.

    PYTHONPATH=webapp:tests:tests/browser python tests/bench/page_bars.py      a table, then one line of JSON

`usable`: from the request to a box that takes text, with the model's files refused. `scripts`: what the
page loads before anybody does anything, gzip, without ONNX Runtime and the worker. `longest task`: of the
main thread from sending to the end of an answer, on WASM by the demo model, and by a server that says
some four hundred words as fast as it can. `frames`: the times between them, while an answer comes with a
hundred tokens a second, and while a chat of a thousand messages is scrolled with the wheel from its end to
its start; the longest, and the one that 5 % exceed.
"""

from __future__ import annotations

import gzip
import json
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from browsing import FLAGS
from driving import ready
from find_browser import find
from localphi.config import Settings
from serving import ROOT, serving

ROUNDS = 7
WORDS = " ".join(f"word{i} **bold** `code`\n\n" if i % 25 == 0 else f"word{i}" for i in range(800))
DIST = ROOT / "static" / "dist"
OBSERVE_PAINT = """new MutationObserver((_, observer) => {
  if (!document.getElementById('composer')) return;
  observer.disconnect();
  window.usableMs = performance.now();
}).observe(document, { childList: true, subtree: true });"""
NOTE_FRAMES = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const note = (now) => {
    frames_ms.push(now - last);
    last = now;
    requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
}"""
PACE = """const real = window.fetch.bind(window);
window.fetch = async (...asked) => {
  const response = await real(...asked);
  if (!String(asked[0]).includes('/v1/chat/completions')) return response;
  const events = (await response.text()).split(/(?<=\\n\\n)/);
  const startMs = performance.now();
  const body = new ReadableStream({
    async pull(controller) {
      const sent = (this.sent ??= 0);
      if (sent === events.length) return controller.close();
      const waitMs = startMs + 10 * sent - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      controller.enqueue(new TextEncoder().encode(events[sent]));
      this.sent += 1;
    },
  });
  return new Response(body, response);
};"""
MESSAGES = 1_000
TRACED = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]


def script_bytes() -> int:
    """Of the entry and what it imports at once, as the server sends it."""
    entry = re.search(r'src="(/assets/index-[^"]+\.js)"', (DIST / "index.html").read_text(encoding="utf-8"))
    assert entry, "no build: run `python static/npm.py run build`"
    found: set[Path] = set()
    waiting = [DIST / entry[1].lstrip("/")]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        text = file.read_text(encoding="utf-8")
        waiting += [file.parent / name for name in re.findall(r'(?:from|import)"\./([^"]+\.js)"', text)]
    return sum(len(gzip.compress(file.read_bytes())) for file in found)


def usable_ms(browser: Browser, url: str) -> float:
    """Median over new browsers' contexts: nothing is in a cache."""
    times = []
    for _ in range(ROUNDS):
        context = browser.new_context(service_workers="block")
        context.add_init_script(OBSERVE_PAINT)
        context.route("**/models/**", lambda route: route.abort())
        page = context.new_page()
        page.goto(url)
        page.get_by_test_id("composer").fill("Hello")
        times.append(float(page.evaluate("usableMs")))
        context.close()
    return statistics.median(times)


def longest_task_ms(browser: Browser, url: str, question: str) -> tuple[float, float]:
    """By the clock, and in time of the processor: on a busy machine a task waits in its middle."""
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(url)
    ready(page)
    _ask(page, "Hello")  # the first answer brings what is loaded when it is needed
    page.get_by_test_id("composer").fill(question)
    browser.start_tracing(page=page, categories=TRACED)
    _send(page)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    context.close()
    names = [event for event in events if event.get("name") == "thread_name"]
    main = {_thread(event) for event in names if event["args"]["name"] == "CrRendererMain"}
    ours = [event for event in events if event.get("name") == "RunTask" and _thread(event) in main]
    tasks = [task for task in ours if "tdur" in task]  # those cut off where the trace ends have none
    assert tasks, "the browser has traced no task"
    return max(task["dur"] for task in tasks) / 1000, max(task["tdur"] for task in tasks) / 1000


def frames_while_answering(browser: Browser, url: str) -> list[float]:
    """A hundred tokens a second."""
    context = browser.new_context(service_workers="block")
    context.add_init_script(PACE)
    page = context.new_page()
    page.goto(url)
    ready(page)
    _ask(page, "Hello")
    page.get_by_test_id("composer").fill(WORDS)
    page.evaluate(NOTE_FRAMES)
    _send(page)
    return _frames(page)


def frames_while_scrolling(browser: Browser, url: str) -> list[float]:
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(url)
    ready(page)
    page.get_by_test_id("import").set_input_files(
        {"name": "long.json", "mimeType": "application/json", "buffer": _long_chat()}
    )
    page.get_by_test_id("chat-title").first.click()
    expect(page.get_by_test_id("message-assistant")).to_have_count(MESSAGES // 2, timeout=60_000)
    page.wait_for_timeout(1_000)
    page.mouse.move(600, 300)
    page.evaluate(NOTE_FRAMES)
    for _ in range(1_000):
        page.mouse.wheel(0, -400)
        if page.evaluate("scrollY") == 0:
            return _frames(page)
    raise AssertionError("the chat has no start")


def _frames(page: Page) -> list[float]:
    frames: list[float] = page.evaluate("frames_ms")
    page.context.close()
    return frames


def _long_chat() -> bytes:
    messages = [
        {
            **{"id": str(i), "parentId": str(i - 1) if i else None, "madeMs": i, "state": "done"},
            **{
                "role": "assistant" if i % 2 else "user",
                "content": WORDS[:600] if i % 2 else f"Question {i}",
            },
            **{"stats": None, "error": None},
        }
        for i in range(MESSAGES)
    ]
    chat = {"id": "long", "title": "Long", "pinned": False, "madeMs": 1, "askedMs": 1, "chosen": {}}
    file = {"format": "localphi-chats", "version": 1, "chats": [{**chat, "messages": messages}]}
    return json.dumps(file).encode()


def _thread(event: dict[str, Any]) -> tuple[int, int]:
    return event["pid"], event["tid"]


def _ask(page: Page, text: str) -> None:
    page.get_by_test_id("composer").fill(text)
    _send(page)


def _send(page: Page) -> None:
    page.get_by_test_id("composer").press("Enter")
    last = page.get_by_test_id("message-assistant").last
    expect(last).to_have_attribute("data-status", re.compile("done|length"), timeout=120_000)


def measure() -> dict[str, Any]:
    executable = find()
    assert executable, "no browser: run `make browser`"
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        flags = ["--headless=new", *FLAGS]
        browser = playwright.chromium.launch(executable_path=str(executable), args=flags)
        with serving(Settings(home=Path(home) / "demo")) as server:
            usable = usable_ms(browser, server.url)
            wasm = longest_task_ms(browser, f"{server.url}/?device=wasm", "Which Phi models are there?")
        with serving(Settings(home=Path(home) / "echo", backend="echo")) as server:
            on_server = f"{server.url}/?device=server"
            fast = longest_task_ms(browser, on_server, WORDS)
            frames = {
                "an answer of 100 tokens/s": frames_while_answering(browser, on_server),
                f"scrolling {MESSAGES:,} messages": frames_while_scrolling(browser, on_server),
            }
        version = browser.version
        browser.close()
    return {
        "browser": f"Chromium {version}",
        "usable_ms": round(usable),
        "scripts_bytes": script_bytes(),
        "longest_task_ms": {"wasm": wasm, "fast server": fast},
        "frames_ms": {what: _spread(times) for what, times in frames.items()},
    }


def _spread(times: list[float]) -> dict[str, float]:
    return {
        **{"count": len(times), "median": round(statistics.median(times), 1)},
        **{"p95": round(statistics.quantiles(times, n=20)[-1], 1), "longest": round(max(times), 1)},
    }


def main() -> None:
    found = measure()
    print("| what | measured | bar |\n| --- | --- | --- |")
    print(f"| usable before any model loads | {found['usable_ms']} ms | 1,000 ms |")
    print(f"| scripts of the page, gzip | {found['scripts_bytes'] / 1000:.1f} kB | 150 kB |")
    for where, (clock, processor) in found["longest_task_ms"].items():
        times = f"{clock:.0f} ms, {processor:.0f} ms of them at work"
        print(f"| longest task while answering, {where} | {times} | 50 ms |")
    for what, spread in found["frames_ms"].items():
        times = (
            f"median {spread['median']} ms, 95 % within {spread['p95']} ms, longest {spread['longest']} ms"
        )
        print(f"| frames, {what} | {times} | 16.7 ms |")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
