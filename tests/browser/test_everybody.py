"""The page for everybody: axe finds nothing, keys are enough, five languages, files in questions."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from driving import ready, violations_in_both_themes
from localphi.config import Settings
from pdfs import pdf
from serving import LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ANSWER = """# Plan

Some `code`, a [link](https://a.test):

```python
x = 1
```

| a | b |
|---|---|
| 1 | 2 |"""
ANIMATIONS = """document.getAnimations().map(
  ({ animationName, transitionProperty }) => animationName ?? transitionProperty)"""
TIMED = """[...document.querySelectorAll('*')].flatMap((element) => ['', '::before', '::after']
  .map((pseudo) => getComputedStyle(element, pseudo))
  .filter((style) => style.animationName !== 'none' || parseFloat(style.transitionDuration) > 0)
  .map(() => element.outerHTML))"""
TAGS = {"de-AT": "de", "zh-TW": "zh-Hant"}


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), backend="echo")) as server:
        yield server


@pytest.fixture(scope="module")
def shared(browser: Browser, echo: LiveServer) -> Iterator[Page]:
    """A page with an answer, for tests that leave it as it was."""
    context = browser.new_context(viewport={"width": 1100, "height": 760}, service_workers="block")
    page = context.new_page()
    page.goto(f"{echo.url}/?device=server")
    ready(page)
    yield page
    context.close()


def _ask(page: Page, text: str) -> None:
    page.get_by_test_id("composer").fill(text)
    before = page.get_by_test_id("message-assistant").count()
    page.get_by_test_id("composer").press("Enter")
    expect(page.get_by_test_id("message-assistant")).to_have_count(before + 1)
    expect(page.get_by_test_id("message-assistant").last).to_have_attribute("data-status", "done")


def test_axe_finds_nothing_on_any_screen_in_either_theme(shared: Page) -> None:
    found = violations_in_both_themes(shared)
    _ask(shared, ANSWER)
    shared.get_by_test_id("chat-more").click()
    found += violations_in_both_themes(shared)
    shared.get_by_test_id("chat-more").click()
    shared.get_by_test_id("attach").set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"}
    )
    shared.get_by_test_id("device").click()
    found += violations_in_both_themes(shared)
    shared.get_by_test_id("device").click()
    shared.get_by_test_id("remove-attachment").click()
    for opener, shown in (
        ("open-settings", "system-prompt"),
        ("open-help", "help"),
        ("status", "model-here"),
    ):
        shared.get_by_test_id(opener).click()
        expect(shared.get_by_test_id(shown)).to_be_visible()
        found += violations_in_both_themes(shared)
        shared.keyboard.press("Escape")
    shared.set_viewport_size({"width": 360, "height": 640})
    shared.get_by_test_id("toggle-list").click()
    found += violations_in_both_themes(shared)
    shared.keyboard.press("Escape")
    shared.set_viewport_size({"width": 1100, "height": 760})
    assert found == []


@pytest.mark.complaints("ERR_FAILED")
def test_an_error_is_accessible_too(shared: Page) -> None:
    shared.route("**/v1/chat/completions", lambda route: route.abort())
    shared.get_by_test_id("composer").fill("Hello")
    shared.get_by_test_id("composer").press("Enter")
    expect(shared.get_by_test_id("error")).to_be_visible()
    assert violations_in_both_themes(shared) == []
    shared.unroute("**/v1/chat/completions")
    shared.get_by_test_id("retry").click()
    expect(shared.get_by_test_id("message-assistant").last).to_have_attribute("data-status", "done")


def test_everything_works_with_keys_alone(shared: Page) -> None:
    shared.reload()
    ready(shared)
    shared.keyboard.type("Only keys")
    shared.keyboard.press("Enter")
    expect(shared.get_by_test_id("answer-text").last).to_contain_text("Only keys")
    _tab_to(shared, "status")
    shared.keyboard.press("Enter")
    expect(shared.get_by_test_id("models")).to_be_visible()
    shared.keyboard.press("Escape")
    expect(shared.get_by_test_id("models")).to_have_count(0)
    assert _focused(shared) == "status"  # the dialog gives the focus back
    _tab_to(shared, "device")
    shared.keyboard.press("Enter")
    expect(shared.get_by_test_id("device-list")).to_be_visible()
    shared.keyboard.press("Tab")
    assert _focused(shared) == "device-auto"
    shared.keyboard.press("Escape")
    assert _focused(shared) == "device"
    _tab_to(shared, "attach")
    _tab_to(shared, "composer")


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement?.dataset.testid ?? ''"))


def _tab_to(page: Page, test_id: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if _focused(page) == test_id:
            return
    raise AssertionError(f"{test_id} is not to be reached with Tab")


def test_the_page_speaks_the_browsers_language(browser: Browser, echo: LiveServer) -> None:
    for tag, wanted in TAGS.items():
        context = browser.new_context(locale=tag, service_workers="block")
        page = context.new_page()
        page.goto(f"{echo.url}/?device=server")
        expect(page.get_by_test_id("composer")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == wanted
        context.close()


def test_another_language_is_chosen_at_once_and_for_later(shared: Page) -> None:
    seeds = {"de": "Startzahl", "fr": "Graine", "zh-Hant": "隨機種子", "zh-Hans": "随机种子"}
    shared.get_by_test_id("open-settings").click()
    for language, seed in seeds.items():
        shared.get_by_test_id("language").select_option(language)
        expect(shared.locator("html")).to_have_attribute("lang", language)
        expect(shared.get_by_test_id("settings")).to_contain_text(seed)
        assert shared.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shared.reload()
    ready(shared)
    expect(shared.get_by_test_id("new-chat")).to_contain_text("新聊天")
    shared.get_by_test_id("open-settings").click()
    shared.get_by_test_id("language").select_option("")
    expect(shared.get_by_test_id("new-chat")).to_contain_text("New chat")
    shared.keyboard.press("Escape")


def test_who_wants_no_motion_sees_none(shared: Page) -> None:
    """Even while an answer is awaited, and the chat's dot breathes for everybody else."""
    shared.route("**/v1/chat/completions", lambda route: None)
    shared.emulate_media(reduced_motion="no-preference")
    shared.get_by_test_id("composer").fill("Wait")
    shared.get_by_test_id("composer").press("Enter")
    expect(shared.get_by_test_id("stop")).to_be_visible()
    assert "breathe" in shared.evaluate(ANIMATIONS)
    shared.emulate_media(reduced_motion="reduce")
    assert shared.evaluate(ANIMATIONS) == []
    assert shared.evaluate(TIMED) == []
    shared.get_by_test_id("stop").click()
    ready(shared)
    shared.unroute("**/v1/chat/completions")


def test_a_preset_becomes_the_system_prompt(shared: Page) -> None:
    shared.get_by_test_id("open-settings").click()
    shared.get_by_test_id("preset").first.click()
    expect(shared.get_by_test_id("system-prompt")).to_have_value(
        "Answer in one or two sentences. Say so when you do not know."
    )
    shared.get_by_test_id("reset-settings").click()
    expect(shared.get_by_test_id("system-prompt")).to_have_value("")
    shared.keyboard.press("Escape")


DROP = """(names) => {
  const data = new DataTransfer();
  for (const [name, text] of names) data.items.add(new File([text], name, { type: 'text/plain' }));
  document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
PASTE = """() => {
  const data = new DataTransfer();
  data.items.add(new File(['pasted text'], 'clip.md', { type: 'text/markdown' }));
  const box = document.getElementById('composer');
  box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def test_files_go_along_with_a_question_within_a_budget(shared: Page) -> None:
    shared.get_by_test_id("new-chat").click()
    shared.evaluate(DROP, [["notes.md", "# Notes\n```js\n1\n```"], ["picture.png", "\0\1"]])
    shared.evaluate(PASTE)
    expect(shared.get_by_test_id("attachment")).to_have_count(2)
    expect(shared.get_by_test_id("toast")).to_contain_text("picture.png is neither a text file nor a PDF.")
    expect(shared.get_by_test_id("budget")).to_contain_text("tokens")
    _ask(shared, "What is in them?")
    question = shared.get_by_test_id("message-user").last
    expect(question).to_contain_text("What is in them?")
    expect(question.get_by_test_id("attached")).to_have_count(2)
    expect(shared.get_by_test_id("answer-text").last).to_contain_text("pasted text")  # the model has read it
    expect(shared.get_by_test_id("attachment")).to_have_count(0)


def test_too_long_a_file_is_one_clear_message(shared: Page) -> None:
    shared.get_by_test_id("attach").set_input_files(
        {"name": "long.txt", "mimeType": "text/plain", "buffer": b"many words " * 90_000}
    )
    shared.get_by_test_id("composer").fill("Sum it up")
    expect(shared.get_by_test_id("too-much")).to_contain_text("but the model reads")
    expect(shared.get_by_test_id("send")).to_be_disabled()
    shared.get_by_test_id("remove-attachment").click()
    expect(shared.get_by_test_id("send")).to_be_enabled()


def test_the_page_begins_with_little_script(shared: Page) -> None:
    """What reads PDFs, colours code and draws formulas comes when it is wanted."""
    scripts: list[Response] = []

    def note(response: Response) -> None:
        if response.url.endswith(".js"):
            scripts.append(response)

    shared.on("response", note)
    shared.reload()
    ready(shared)
    shared.remove_listener("response", note)
    size = sum(len(gzip.compress(script.body())) for script in scripts)
    assert 30_000 < size < 150_000


def _attach_pdf(page: Page, name: str, data: bytes) -> None:
    page.get_by_test_id("attach").set_input_files(
        {"name": name, "mimeType": "application/pdf", "buffer": data}
    )


def test_the_text_of_a_pdf_goes_along_with_a_question(shared: Page, echo: LiveServer) -> None:
    """What reads PDFs comes from our server, and only when there is one to read."""
    asked: list[str] = []
    shared.on("request", lambda request: asked.append(request.url))
    shared.reload()
    ready(shared)
    assert not [url for url in asked if "pdf" in url]
    _attach_pdf(shared, "two.pdf", pdf("First page,\nsecond line – “quoted”.", "Page two: naïve café."))
    _attach_pdf(shared, "chinese.pdf", pdf("你好，世界", chinese=True))
    expect(shared.get_by_test_id("attachment")).to_have_count(2)
    expect(shared.get_by_test_id("attachment").first).to_contain_text("two.pdf · about")
    expect(shared.get_by_test_id("budget")).to_contain_text("tokens")
    _ask(shared, "What is in them?")
    answer = shared.get_by_test_id("answer-text").last
    expect(answer).to_contain_text("First page,\nsecond line – “quoted”.\n\nPage two: naïve café.")
    expect(answer).to_contain_text("你好，世界")
    assert [url for url in asked if "pdf.worker" in url]
    assert [url for url in asked if not url.startswith((echo.url, "blob:"))] == []


def test_a_pdf_that_cannot_be_read_is_one_clear_sentence(shared: Page) -> None:
    good, toast = pdf("Text"), shared.get_by_test_id("toast")
    full_page = "\n".join(["many words " * 9] * 75)
    for data, says in (
        (pdf(""), "bad.pdf has no text: its pages are pictures."),
        (pdf("Secret", locked=True), "bad.pdf is locked with a password."),
        (b"%PDF-1.7\nand nothing of one", "bad.pdf is damaged, or no PDF"),
        (pdf(*[full_page] * 140), "bad.pdf has more than 1 MB of text"),
    ):
        _attach_pdf(shared, "bad.pdf", data)
        expect(toast).to_contain_text(says)
    shared.route("**/pdf.worker*", lambda route: route.abort())
    _attach_pdf(shared, "good.pdf", good)
    expect(toast).to_contain_text("what reads PDFs could not be fetched")
    expect(shared.get_by_test_id("attachments")).to_have_count(0)
    shared.unroute("**/pdf.worker*")
    _attach_pdf(shared, "good.pdf", good)
    expect(shared.get_by_test_id("attachment")).to_have_count(1)  # once is not for ever
    shared.get_by_test_id("remove-attachment").click()


def test_reading_a_pdf_can_be_given_up(shared: Page) -> None:
    shared.get_by_test_id("composer").fill("Sum it up")
    shared.route("**/pdf.worker*", lambda route: None)
    _attach_pdf(shared, "slow.pdf", pdf("Text"))
    expect(shared.get_by_test_id("being-read")).to_contain_text("Reading slow.pdf")
    expect(shared.get_by_test_id("send")).to_be_disabled()  # else it would go without the file
    shared.get_by_test_id("remove-attachment").click()
    expect(shared.get_by_test_id("attachments")).to_have_count(0)
    expect(shared.get_by_test_id("send")).to_be_enabled()
    shared.unroute("**/pdf.worker*")


VOICES = """
globalThis.said = [];
class Utterance { constructor(text) { this.text = text; } }
globalThis.SpeechSynthesisUtterance = Utterance;
const voices = [
  { name: 'Far', lang: 'en-US', localService: false },
  { name: 'Near', lang: 'en-GB', localService: true },
];
Object.defineProperty(globalThis, 'speechSynthesis', { value: {
  getVoices: () => voices,
  addEventListener() {}, removeEventListener() {},
  speak(one) { said.push([one.text, one.voice.name]); this.current = one; },
  cancel() { this.current?.onend?.(); this.current = null; },
} });
"""


def test_an_answer_is_read_aloud_by_a_voice_of_this_machine(browser: Browser, echo: LiveServer) -> None:
    """Asked by a link, which says device and question."""
    context = browser.new_context(service_workers="block")
    context.add_init_script(VOICES)
    page = context.new_page()
    page.goto(f"{echo.url}/?device=server&model=localphi-demo&q=Read%20**this**")
    button = page.get_by_test_id("read-aloud")
    button.click()
    expect(button).to_have_text("Stop reading")
    assert page.evaluate("said") == [["Read this", "Near"]]
    button.click()
    expect(button).to_have_text("Read aloud")
    assert "q=" not in page.url
    context.close()


def test_a_page_at_twice_its_size_needs_no_scrolling_sideways(shared: Page) -> None:
    """640 pixels are what a window of 1280 has at 200 %; 320 are what WCAG asks for."""
    for width in (640, 320):
        shared.set_viewport_size({"width": width, "height": 480})
        shared.get_by_test_id("status").click()
        expect(shared.get_by_test_id("model-here")).to_be_visible()
        assert shared.evaluate("document.documentElement.scrollWidth <= innerWidth")
        dialog = "document.querySelector('dialog')"
        assert shared.evaluate(f"{dialog}.scrollWidth <= {dialog}.clientWidth")
        shared.keyboard.press("Escape")
        expect(shared.get_by_test_id("models")).to_have_count(0)
    shared.set_viewport_size({"width": 1100, "height": 760})


def test_live_regions_say_an_answer_once(shared: Page) -> None:
    """What grows word by word is not in one: a screen reader would read every piece of it."""
    shared.evaluate("""() => {
      window.announced = [];
      const regions = document.querySelectorAll('[aria-live], [role=status], [role=alert]');
      const note = ([{ target }]) => window.announced.push(target.textContent);
      const watched = { childList: true, subtree: true, characterData: true };
      for (const region of regions) new MutationObserver(note).observe(region, watched);
    }""")
    _ask(shared, "one two three four five")
    expect(shared.get_by_test_id("announcer")).to_have_text("one two three four five")
    told = [text for text in shared.evaluate("announced") if text]
    assert told == ["one two three four five"]
    inside = "() => document.querySelector('[data-testid=answer-text]').closest('[aria-live]') === null"
    assert shared.evaluate(inside)
