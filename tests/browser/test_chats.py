"""What one does with chats, in a real browser against a server whose answers are the questions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from driving import Open, ready, violations
from serving import ROOT, LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SCREENSHOTS = ROOT / "tests" / "output"
SERVER = "?device=server"

MARKDOWN = """# Sorting a list

Here is *one* way, with **two** steps; see [the docs](https://example.org/a).

1. Read the list
2. Sort it:

```python
def sort(items: list[int]) -> list[int]:
    # as fast as it gets
    return sorted(items, key=lambda item: -item)
```

| name | cost | stable |
| :--- | ---: | :---: |
| quick | n log n | no |
| merge | n log n | yes |

- [x] done
- [ ] open

> Sorted is not the same as ordered.

![a cat](https://example.org/cat.png)

Merging takes $n \\log_2 n$ steps, and costs $5 to $9:

\\[
\\sum_{i=1}^{n} i = \\frac{n(n+1)}{2}
\\]
"""

ATTACKS = """<script>window.hit = 1</script>
<img src=x onerror="window.hit = 1">
<svg onload="window.hit = 1"></svg>
<style>body { display: none }</style>
<form action="https://example.org"><input name="q"><button>Go</button></form>
<iframe src="javascript:window.parent.hit = 1"></iframe>

[click](javascript:window.hit=1) [data](data:text/html,x) ![x](javascript:window.hit=1)
"""

# Gives each piece of an answer a frame of its own, and looks at the answer in each of them.
DRIP = """
const original = window.fetch;
window.frames_ = [];
window.fetch = async (...parts) => {
  const response = await original(...parts);
  if (!String(parts[0]).includes('chat/completions')) return response;
  const text = await response.text();
  const events = text.split(/(?<=\\n\\n)/);
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const body = new ReadableStream({
    async pull(controller) {
      const event = events.shift();
      if (event === undefined) { controller.close(); return; }
      controller.enqueue(new TextEncoder().encode(event));
      await frame();
      const shown = document.querySelector('[data-testid=answer-text]');
      if (!shown) return;
      const prose = [...shown.children].filter((child) => !child.matches('.code'));
      window.frames_.push({
        kinds: [...shown.children].map((child) => child.tagName + child.className),
        text: prose.map((child) => child.innerText).join('\\n'),
        height: shown.offsetHeight,
      });
    },
  });
  return new Response(body, { status: response.status, headers: response.headers });
};
"""


def _ask(page: Page, text: str) -> Locator:
    """Send a message; the finished answer."""
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    expect(page.get_by_test_id("composer")).to_have_value("")
    ready(page)
    return page.get_by_test_id("message-assistant").last


def _new_chat(page: Page) -> None:
    page.get_by_test_id("new-chat").click()
    expect(page.get_by_test_id("message-user")).to_have_count(0)


def _act(page: Page, title: str, action: str) -> None:
    """Choose an action of a chat in the list."""
    row = page.get_by_test_id("chat").filter(has_text=title)
    row.get_by_test_id("chat-more").click()
    row.get_by_test_id(f"chat-{action}").click()


def _shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_an_answer_is_shown_as_markdown(open_echo: Open, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = open_echo(SERVER)
    answer = _ask(page, MARKDOWN)
    expect(answer.get_by_role("heading", name="Sorting a list")).to_be_visible()
    expect(answer.get_by_role("columnheader")).to_have_text(["name", "cost", "stable"])
    expect(answer.locator(".hl-keyword").first).to_have_text("def")
    link = answer.get_by_role("link", name="the docs")
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert link.get_attribute("target") == "_blank"
    expect(answer.get_by_role("link", name="a cat")).to_be_visible()
    expect(answer.locator("img")).to_have_count(0)
    expect(answer.locator("math")).to_have_count(2)  # and no price among them
    expect(answer.locator("math[display=block] mfrac")).to_be_visible()
    expect(answer).to_contain_text("costs $5 to $9")
    expect(page.get_by_test_id("message-user")).to_contain_text("# Sorting a list")
    answer.get_by_role("button", name="Copy code").focus()
    page.keyboard.press("Enter")
    expect(answer.get_by_test_id("copy")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("def sort(items")
    answer.get_by_role("button", name="Copy answer").click()
    expect(answer.get_by_test_id("copy-answer")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == MARKDOWN.strip()
    assert violations(page) == []
    _shoot(page, "markdown")
    assert not [url for url in asked if "example.org" in url]


def test_markup_in_an_answer_does_nothing(open_echo: Open) -> None:
    page = open_echo(SERVER)
    answer = _ask(page, ATTACKS)
    expect(answer).to_contain_text("<script>window.hit = 1</script>")
    harmful = "script, img, svg, style, form, iframe, input, a"
    expect(answer.get_by_test_id("answer-text").locator(harmful)).to_have_count(0)
    assert page.evaluate("window.hit") is None
    expect(page.get_by_test_id("composer")).to_be_visible()


def test_nothing_flashes_while_an_answer_arrives(open_echo: Open, context: BrowserContext) -> None:
    context.add_init_script(DRIP)
    page = open_echo(SERVER)
    answer = _ask(page, MARKDOWN)
    final = answer.get_by_test_id("answer-text").evaluate(
        "(shown) => [...shown.children].map((child) => child.tagName + child.className)"
    )
    frames = page.evaluate("window.frames_")
    assert len(frames) > 30
    for frame in frames:
        assert frame["kinds"] == final[: len(frame["kinds"])], frame
        assert not re.search(r"\*\*|```|\||\]\(|^#", frame["text"]), frame
    heights = [frame["height"] for frame in frames]
    assert heights == sorted(heights), "the answer grew smaller on the way"


def test_chats_are_listed_switched_and_found(open_echo: Open) -> None:
    page = open_echo(SERVER)
    _ask(page, "Tell me about cats")
    _new_chat(page)
    expect(page.get_by_test_id("message-user")).to_have_count(0)
    _ask(page, "And dogs?")
    expect(page.get_by_test_id("chat-title")).to_have_text(["And dogs?", "Tell me about cats"])
    page.get_by_test_id("chat-title").nth(1).click()
    expect(page.get_by_test_id("message-user")).to_have_text("Tell me about cats")
    page.go_back()
    expect(page.get_by_test_id("message-user")).to_have_text("And dogs?")
    page.reload()
    ready(page)
    expect(page.get_by_test_id("message-user")).to_have_text("And dogs?")
    page.get_by_test_id("search").fill("ABOUT cat")
    expect(page.get_by_test_id("chat-title")).to_have_text(["Tell me about cats"])
    page.get_by_test_id("search").fill("horses")
    expect(page.get_by_test_id("chat-title")).to_have_count(0)
    page.get_by_test_id("search").fill("")
    expect(page.get_by_test_id("chat-title")).to_have_count(2)
    _shoot(page, "list")


def test_a_chat_is_renamed_pinned_deleted_and_brought_back(open_echo: Open) -> None:
    page = open_echo(SERVER)
    _ask(page, "First")
    _new_chat(page)
    _ask(page, "Second")
    _act(page, "First", "rename")
    page.get_by_test_id("rename-field").fill("Number one")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("chat-title").nth(1)).to_have_text("Number one")
    _act(page, "Second", "rename")
    page.get_by_test_id("rename-field").fill("Nothing")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("chat-title").first).to_have_text("Second")
    _act(page, "Number one", "pin")
    expect(page.get_by_test_id("chat-title").first).to_have_text("Number one")
    _act(page, "Second", "delete")
    expect(page.get_by_test_id("chat-title")).to_have_text(["Number one"])
    expect(page.get_by_test_id("message-user")).to_have_count(0)
    page.get_by_test_id("undo").click()
    expect(page.get_by_test_id("message-user")).to_have_text("Second")
    page.reload()
    ready(page)
    expect(page.get_by_test_id("chat-title")).to_have_text(["Number one", "Second"])


def test_two_tabs_keep_what_both_say(open_echo: Open) -> None:
    one, two = open_echo(SERVER), open_echo(SERVER)
    _ask(one, "From one")
    _ask(two, "From two")
    expect(one.get_by_test_id("chat-title")).to_have_text(["From two", "From one"])
    expect(two.get_by_test_id("chat-title")).to_have_text(["From two", "From one"])
    two.get_by_test_id("chat-title").nth(1).click()
    expect(two.get_by_test_id("message-user")).to_have_text("From one")
    _ask(two, "More from two")
    expect(one.get_by_test_id("message-user")).to_have_text(["From one", "More from two"])
    _act(two, "From one", "delete")
    expect(one.get_by_test_id("message-user")).to_have_count(0)
    expect(one.get_by_test_id("chat-title")).to_have_text(["From two"])


def test_drafts_stay_with_their_chats(open_echo: Open) -> None:
    page = open_echo(SERVER)
    _ask(page, "First")
    page.get_by_test_id("composer").fill("half a thought")
    _new_chat(page)
    expect(page.get_by_test_id("composer")).to_have_value("")
    page.get_by_test_id("composer").fill("another")
    page.get_by_test_id("chat-title").first.click()
    expect(page.get_by_test_id("composer")).to_have_value("half a thought")
    page.reload()
    expect(page.get_by_test_id("composer")).to_have_value("half a thought")
    _new_chat(page)
    expect(page.get_by_test_id("composer")).to_have_value("another")


def test_chats_go_to_files_and_come_back(open_echo: Open, tmp_path: Path) -> None:
    page = open_echo(SERVER)
    _ask(page, "Tell me about **cats**")
    with page.expect_download() as whole:
        page.get_by_test_id("export-all").click()
    file = tmp_path / whole.value.suggested_filename
    whole.value.save_as(file)
    assert json.loads(file.read_text(encoding="utf-8"))["chats"][0]["title"] == "Tell me about **cats**"
    with page.expect_download() as single:
        _act(page, "Tell me", "save-markdown")
    assert single.value.suggested_filename == "tell-me-about-cats.md"
    text = Path(single.value.path()).read_text(encoding="utf-8")
    assert text.startswith("# Tell me about **cats**\n\n## You\n\n")
    _act(page, "Tell me", "delete")
    expect(page.get_by_test_id("chat-title")).to_have_count(0)
    page.get_by_test_id("import").set_input_files(file)
    expect(page.get_by_test_id("toast")).to_contain_text("Imported 1 chat.")
    page.get_by_test_id("chat-title").first.click()
    expect(page.get_by_test_id("message-assistant").locator("strong")).to_have_text("cats")
    broken = tmp_path / "broken.json"
    broken.write_text('{"format": "localphi-chats", "version": 1, "chats": [{"id": 5}]}', encoding="utf-8")
    page.get_by_test_id("import").set_input_files(broken)
    expect(page.get_by_test_id("toast")).to_contain_text("chats[0].id should be a string, but is 5")


@pytest.mark.complaints("Failed to load resource")
def test_the_chat_of_the_first_version_is_still_there(open_echo: Open) -> None:
    page = open_echo("licences.txt", wait=False)
    page.evaluate(
        """() => new Promise((resolve, reject) => {
          const opening = indexedDB.open('localphi', 1);
          opening.onupgradeneeded = () => opening.result.createObjectStore('conversations');
          opening.onerror = () => reject(opening.error);
          opening.onsuccess = () => {
            const entry = (role, content) => ({ role, content, state: 'done', stats: null, error: null });
            const transaction = opening.result.transaction('conversations', 'readwrite');
            transaction.objectStore('conversations').put(
              [entry('user', 'Old question'), entry('assistant', 'Old *answer*')], 'current');
            transaction.oncomplete = () => { opening.result.close(); resolve(); };
          };
        })"""
    )
    page.goto(page.url.replace("licences.txt", SERVER))
    ready(page)
    page.get_by_test_id("chat-title").click()
    expect(page.get_by_test_id("message-user")).to_have_text("Old question")
    expect(page.get_by_test_id("message-assistant").locator("em")).to_have_text("answer")


def test_questions_are_edited_and_answers_made_again(open_echo: Open) -> None:
    page = open_echo(SERVER)
    _ask(page, "One")
    _ask(page, "Two")
    expect(page.get_by_test_id("edit").first).to_be_enabled()
    page.get_by_test_id("edit").first.focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("editor").fill("Uno")
    page.keyboard.press("Enter")
    ready(page)
    expect(page.get_by_test_id("message-user")).to_have_text(["Uno"])
    expect(page.get_by_test_id("alternative")).to_have_text("2 / 2")
    page.get_by_test_id("previous-alternative").click()
    expect(page.get_by_test_id("message-user")).to_have_text(["One", "Two"])
    page.get_by_test_id("regenerate").last.click()
    ready(page)
    expect(page.get_by_test_id("alternative")).to_have_text(["1 / 2", "2 / 2"])
    page.reload()
    ready(page)
    expect(page.get_by_test_id("alternative")).to_have_text(["1 / 2", "2 / 2"])
    page.get_by_test_id("composer").press("ArrowUp")
    expect(page.get_by_test_id("editor")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("composer")).to_be_focused()
    _shoot(page, "alternatives")
    page.get_by_test_id("compare").click()
    expect(page.get_by_test_id("version")).to_have_count(2)
    tops = page.get_by_test_id("version").evaluate_all("(all) => all.map((each) => each.offsetTop)")
    assert tops[0] == tops[1]  # beside each other
    assert violations(page) == []
    _shoot(page, "side-by-side")
    page.get_by_test_id("use-version").click()
    expect(page.get_by_test_id("version")).to_have_count(0)
    expect(page.get_by_test_id("alternative")).to_have_text(["1 / 2", "1 / 2"])


def test_settings_go_along_with_questions(open_echo: Open) -> None:
    page = open_echo(SERVER)
    page.get_by_test_id("open-settings").click()
    page.get_by_test_id("system-prompt").fill("Be brief.")
    page.get_by_test_id("setting-temperature").fill("0,5")
    page.get_by_test_id("setting-topP").fill("7")
    expect(page.get_by_test_id("settings")).to_contain_text("From 0.01 to 1.")
    page.get_by_test_id("stop-strings").fill("cats")
    _shoot(page, "settings")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("settings")).to_have_count(0)
    page.reload()
    ready(page)
    with page.expect_request("**/v1/chat/completions") as sent:
        answer = _ask(page, "dogs and cats and mice")
    body = sent.value.post_data_json
    assert body is not None
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["temperature"] == 0.5
    assert "top_p" not in body
    expect(answer.get_by_test_id("answer-text")).to_have_text("dogs and")
    page.get_by_test_id("open-settings").click()
    page.get_by_test_id("reset-settings").click()
    expect(page.get_by_test_id("setting-temperature")).to_have_value("")


def test_the_keyboard_does_what_the_help_says(open_echo: Open) -> None:
    page = open_echo(SERVER)
    _ask(page, "First")
    page.get_by_test_id("toggle-list").focus()
    page.keyboard.press("?")
    expect(page.get_by_test_id("help")).to_be_visible()
    _shoot(page, "help")
    page.get_by_test_id("single-keys").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("help")).to_have_count(0)
    page.keyboard.press("?")
    page.keyboard.press("Control+k")
    expect(page.get_by_test_id("search")).to_be_focused()
    expect(page.get_by_test_id("help")).to_have_count(0)
    page.get_by_test_id("open-help").click()
    page.get_by_test_id("single-keys").check()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("help")).to_have_count(0)
    page.get_by_test_id("toggle-list").focus()
    page.keyboard.press("?")
    expect(page.get_by_test_id("help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("help")).to_have_count(0)
    expect(page.get_by_test_id("toggle-list")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_test_id("composer")).to_be_focused()
    page.keyboard.type("?/")
    expect(page.get_by_test_id("composer")).to_have_value("?/")
    page.keyboard.press("Control+k")
    expect(page.get_by_test_id("search")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_test_id("message-user")).to_have_count(0)
    expect(page.get_by_test_id("composer")).to_be_focused()


def test_what_has_no_text_has_a_name_and_answers_are_told_once(open_echo: Open) -> None:
    page = open_echo(SERVER)
    expect(page.get_by_test_id("announcer")).to_have_text("")
    _ask(page, "Say **this** once")
    expect(page.get_by_test_id("announcer")).to_have_text("Say this once")
    page.get_by_test_id("chat-more").click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, a')]
          .filter((element) => !(element.getAttribute('aria-label') || element.innerText.trim()
            || element.labels?.[0]?.innerText.trim()))
          .map((element) => element.outerHTML)"""
    )
    assert nameless == []
    page.reload()
    ready(page)
    expect(page.get_by_test_id("message-assistant")).to_be_visible()
    expect(page.get_by_test_id("announcer")).to_have_text("")


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (360, "dark"), (640, "light")])
def test_narrow_pages_have_the_list_in_a_drawer(
    browser: Browser, live_server: LiveServer, width: int, scheme: str
) -> None:
    """640 pixels are what a window of 1280 has at 200 % zoom."""
    context = browser.new_context(
        viewport={"width": width, "height": 700}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(f"{live_server.url}/{SERVER}")
    ready(page)
    _ask(page, MARKDOWN)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    _shoot(page, f"narrow-{width}")
    page.get_by_test_id("toggle-list").click()
    expect(page.get_by_test_id("drawer")).to_be_visible()
    _shoot(page, f"drawer-{width}")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("drawer")).to_have_count(0)
    expect(page.get_by_test_id("toggle-list")).to_be_focused()
    page.get_by_test_id("toggle-list").click()
    page.get_by_test_id("chat-title").click()
    expect(page.get_by_test_id("drawer")).to_have_count(0)
    context.close()
