"""Tools of the page, each call allowed or not, shown as cards and kept; answers that fit a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from driving import READY_MS, Open, ready, violations_in_both_themes
from localphi.chat import ServerTool, Tool
from localphi.config import Settings
from localphi.errors import ToolFailed
from serving import ROOT, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SCREENSHOTS = ROOT / "tests" / "output"
QUESTION = "5 km in mi"  # the demo model calls


def _offer(page: Page) -> None:
    page.get_by_test_id("open-settings").click()
    page.get_by_test_id("offer-tools").check()
    page.get_by_role("button", name="Done").click()


def _ask(page: Page) -> None:
    page.get_by_test_id("composer").fill(QUESTION)
    page.get_by_test_id("composer").press("Enter")


def test_a_call_waits_for_consent_and_its_card_is_kept(open_page: Open) -> None:
    page = open_page("?device=wasm")
    _offer(page)
    _ask(page)
    card = page.get_by_test_id("tool-card")
    expect(card).to_have_attribute("data-state", "asking", timeout=READY_MS)
    expect(card).to_contain_text("The model wants to use the unit converter.")
    expect(card).to_contain_text('"value": 5')
    expect(page.get_by_test_id("answer-text")).to_have_text("")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "tool-asking.png")
    page.get_by_test_id("allow-tool").click()
    expect(card).to_have_attribute("data-state", "done")
    ready(page)
    expect(page.get_by_test_id("message-assistant")).to_have_attribute(
        "data-status", "done", timeout=READY_MS
    )
    expect(page.get_by_test_id("answer-text")).not_to_have_text("")
    card.get_by_text("Used the unit converter").click()
    expect(card).to_contain_text("5 km = ")
    page.screenshot(path=SCREENSHOTS / "tool-done.png")
    page.reload()
    ready(page)
    expect(page.get_by_test_id("tool-card")).to_have_attribute("data-state", "done")


def test_a_call_that_is_not_allowed_does_not_run(open_page: Open) -> None:
    page = open_page("?device=wasm")
    _offer(page)
    _ask(page)
    page.get_by_test_id("refuse-tool").click(timeout=READY_MS)
    expect(page.get_by_test_id("tool-card").first).to_have_attribute("data-state", "refused")


def test_without_the_setting_no_tool_is_offered(open_page: Open) -> None:
    page = open_page("?device=wasm")
    _ask(page)
    expect(page.get_by_test_id("message-assistant")).to_have_attribute(
        "data-status", "done", timeout=READY_MS
    )
    expect(page.get_by_test_id("tool-card")).to_have_count(0)


PASSAGES = [
    {"source": "guide.md, Rent", "text": "The rent is due in June."},
    {"source": "report.pdf, page 2", "text": "It was paid in May."},
]


def _search(arguments: Mapping[str, Any]) -> str:
    match arguments["query"]:
        case "rent":
            return "The rent is due in June."
        case "documents":
            return json.dumps(PASSAGES)
    raise ToolFailed("Nothing is found. Try other words.")


@pytest.fixture
def searching(context: BrowserContext, echo_settings: Settings) -> Iterator[Page]:
    """The page of a server that searches. The model calls the search once, and says what it was told."""
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
    tools = (ServerTool(Tool("docs-search", "Search.", json.dumps(parameters)), _search),)

    def answer(route: Route) -> None:
        body: Any = route.request.post_data_json
        assert [tool["function"]["name"] for tool in body["tools"]] == [
            *("now", "calculate", "convert", "docs-search")
        ]
        last = body["messages"][-1]
        if last["role"] == "tool":
            said = "Paid [2], not **[7]**." if "report.pdf" in last["content"] else last["content"]
            route.fulfill(body=_stream({"content": said}, "stop"))
            return
        call = {"name": "docs-search", "arguments": json.dumps({"query": last["content"]})}
        calls = [{"index": 0, "id": "c", "type": "function", "function": call}]
        route.fulfill(body=_stream({"tool_calls": calls}, "tool_calls"))

    with serving(echo_settings, tools=tools) as server:
        page = context.new_page()
        page.route("**/v1/chat/completions", answer)
        page.goto(f"{server.url}/?device=server")
        ready(page)
        _offer(page)
        yield page


@pytest.mark.complaints("422")
def test_a_tool_of_the_server_runs_there_when_it_is_allowed(searching: Page) -> None:
    page = searching
    for question, state, said in (
        ("rent", "done", "The rent is due in June."),
        ("car", "failed", "Nothing is found. Try other words."),
        ("documents", "done", "Paid [2], not [7]."),
    ):
        page.get_by_test_id("composer").fill(question)
        page.get_by_test_id("composer").press("Enter")
        card = page.get_by_test_id("tool-card").last
        expect(card).to_contain_text("The model wants to use the server’s tool docs-search.")
        page.get_by_test_id("allow-tool").click()
        expect(card).to_have_attribute("data-state", state)
        expect(page.get_by_test_id("answer-text").last).to_have_text(said)
    sources = page.get_by_test_id("sources")  # of the one answer that has some
    expect(sources.get_by_role("button")).to_have_text(["1 guide.md, Rent", "2 report.pdf, page 2"])
    passages = page.get_by_test_id("passage")
    expect(passages.first).not_to_be_visible()
    page.reload()  # they are kept with the chat
    ready(page)
    mark = page.get_by_test_id("answer-text").last.get_by_role("button")
    expect(mark).to_have_accessible_name("Source 2: report.pdf, page 2")
    mark.press("Enter")
    expect(passages.last.get_by_text("It was paid in May.")).to_be_visible()
    expect(passages.last.locator("summary")).to_be_focused()
    expect(passages.first.get_by_text("The rent is due in June.")).not_to_be_visible()
    sources.get_by_text("1 guide.md, Rent").press("Enter")
    expect(passages.first.get_by_text("The rent is due in June.")).to_be_visible()
    assert violations_in_both_themes(page) == []


def _stream(delta: dict[str, Any], reason: str) -> str:
    choices = [{"index": 0, "delta": delta, "finish_reason": None}]
    events: list[dict[str, Any]] = [{"choices": choices}]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    events.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def test_answers_fit_the_schema_that_was_set(open_page: Open) -> None:
    page = open_page("?device=wasm")
    page.get_by_test_id("open-settings").click()
    field = page.get_by_test_id("json-schema")
    field.fill("not JSON")
    expect(page.get_by_test_id("settings")).to_contain_text("This is not a JSON object.")
    field.fill(json.dumps({"type": "array", "items": {"enum": ["km", "mi"]}, "minItems": 2, "maxItems": 2}))
    page.get_by_role("button", name="Done").click()
    _ask(page)
    answer = page.get_by_test_id("message-assistant")
    expect(answer).to_have_attribute("data-status", "done", timeout=READY_MS)
    units = json.loads(page.get_by_test_id("answer-text").inner_text())
    assert len(units) == 2
    assert set(units) <= {"km", "mi"}
    page.get_by_test_id("open-settings").click()
    field.fill('{"not": {}}')
    page.get_by_role("button", name="Done").click()
    _ask(page)
    expect(page.get_by_test_id("error")).to_contain_text("'not' is not supported in schemas")
