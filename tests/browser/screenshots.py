"""Take the pictures of the page that the documentation shows.

    make pictures      writes docs/page-*.png

They show the page as it is: a server with the demo model, in this process, and a real browser. Only the long
answer is not the model's: it comes from a server that says what it is asked, because the demo model knows no
code.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from browsing import FLAGS
from driving import ready
from find_browser import find
from localphi.config import Settings
from serving import ROOT, serving

WIDE = (1180, 760)
PHONE = (390, 780)
LONG = """## Reading a file line by line

A file object is an iterator, so a loop takes **one line at a time**; the whole file is never in memory.

```python
from collections import Counter
from pathlib import Path


def count_words(path: Path) -> Counter[str]:
    words: Counter[str] = Counter()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            words.update(line.lower().split())
    return words
```

| way | memory | when |
|---|---|---|
| `read()` | the whole file | small files |
| `for line in file` | one line | logs, data |
"""


@contextmanager
def _page(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Iterator[Page]:
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        service_workers="block",
        locale="en-US",
    )
    page = context.new_page()
    page.goto(url)
    ready(page)
    yield page
    context.close()


def _ask(page: Page, text: str) -> None:
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("message-assistant").last).to_have_attribute(
        "data-status", "done", timeout=60_000
    )
    page.wait_for_timeout(300)  # colours of code come after it


def _shoot(page: Page, folder: Path, name: str) -> None:
    page.mouse.move(0, 0)
    path = folder / f"page-{name}.png"
    page.screenshot(path=path)
    print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


def _with_model(browser: Browser, url: str, folder: Path) -> None:
    with _page(browser, url, WIDE, "light") as page:
        _shoot(page, folder, "empty")
        page.get_by_test_id("status").click()
        expect(page.get_by_test_id("model-here")).to_be_visible()
        page.wait_for_timeout(500)  # what this browser can do is asked of it
        _shoot(page, folder, "models")
        page.get_by_test_id("close-dialog").click()
        _ask(page, "What is localphi?")
        _ask(page, "Does it work offline?")
        _shoot(page, folder, "chat")
    with _page(browser, url, PHONE, "dark") as page:
        _ask(page, "What is localphi?")
        _shoot(page, folder, "phone")
    with _page(browser, f"{url}/?device=server", WIDE, "light") as page:
        page.route("**/v1/chat/completions", lambda route: route.abort())
        page.get_by_test_id("composer").fill("What is WebGPU?")
        page.get_by_test_id("send").click()
        expect(page.get_by_test_id("error")).to_be_visible()
        _shoot(page, folder, "error")


def _with_echo(browser: Browser, url: str, folder: Path) -> None:
    with _page(browser, f"{url}/?device=server", WIDE, "dark") as page:
        page.evaluate(HIDE_QUESTION)
        _ask(page, LONG)
        _shoot(page, folder, "answer")


# The server says the question again; the picture is of the answer.
HIDE_QUESTION = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('.asked { display: none }');
  document.adoptedStyleSheets.push(sheet);
}"""


def main(folder: Path) -> int:
    executable = find()
    if executable is None:
        print("no browser: run `make browser`", file=sys.stderr)
        return 1
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        flags = ["--headless=new", *FLAGS]
        browser = playwright.chromium.launch(executable_path=str(executable), args=flags)
        with serving(Settings(home=Path(home) / "demo")) as server:
            _with_model(browser, server.url, folder)
        with serving(Settings(home=Path(home) / "echo", backend="echo")) as server:
            _with_echo(browser, server.url, folder)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"))
