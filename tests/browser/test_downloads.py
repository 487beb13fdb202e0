"""Model files on their way into the browser and in its storage, with everything that can happen to them.

The model is the demo with small chunks, so that its weights have many. Every test has a browser context of
its own, and with it a storage.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, Route, expect

from browsing import FLAGS
from driving import READY_MS, ready
from faulty import WEIGHTS, FaultyServer, faulty
from localphi.config import Settings
from localphi.models.manifest import describe_file, load_manifest, write_manifest
from serving import DEMO, VECTORS, LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.complaints(".")]

SMALL, BIG = 256 * 1024, 3 * 1024 * 1024  # chunks; parts of 1 MiB are kept of the big ones
FILLING = 80_000_000  # of the model that is large enough to be worth a question
SIZE = (DEMO / WEIGHTS).stat().st_size
QUESTION = "What is localphi?"
PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))

OpenModel = Callable[..., Page]

DAMAGE = """async ([from, length]) => {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle('localphi-models');
  for await (const [name, handle] of folder.entries()) {
    const file = await handle.getFile();
    if (name.length !== 64 || file.size < 1e6) continue;
    const bytes = new Uint8Array(await file.slice(from, from + length).arrayBuffer());
    const writer = await handle.createWritable({ keepExistingData: true });
    await writer.write({ type: 'write', position: from, data: bytes.map((byte) => byte ^ 1) });
    await writer.close();
  }
}"""
STORED = """async () => {
  const root = await navigator.storage.getDirectory();
  const names = [];
  for await (const folder of root.values())
    if (folder.kind === 'directory') for await (const name of folder.keys()) names.push(name);
  return names;
}"""
MAKE_OLD = """async () => {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle('localphi-models');
  const names = [];
  for await (const name of folder.keys()) names.push(name);
  for (const name of names) {
    if (!name.endsWith('.journal')) continue;
    await folder.removeEntry(name);
    await folder.getFileHandle(name.replace('.journal', '.complete'), { create: true });
  }
  return names.length;
}"""


@pytest.fixture(scope="module")
def models_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Serves the demo in small chunks, in big ones, and with much that nobody needs."""
    home = tmp_path_factory.mktemp("models-home")
    for name, chunk_bytes in (("small", SMALL), ("big", BIG), ("large", 8 * BIG)):
        _model(home / "models" / name, chunk_bytes, FILLING if name == "large" else 0)
    with serving(Settings(home=home)) as server:
        yield server


def _model(folder: Path, chunk_bytes: int, filling: int) -> None:
    shutil.copytree(DEMO, folder)
    manifest = load_manifest(folder)
    names = list(manifest.files)
    if filling:
        with (folder / "filling").open("wb") as file:
            file.truncate(filling)
        names.append("filling")
    variants = {
        device: replace(variant, files=(*variant.files, *(["filling"] if filling else [])))
        for device, variant in manifest.variants.items()
    }
    files = {name: describe_file(folder / name, chunk_bytes) for name in names}
    named = replace(manifest, id=folder.name, name=folder.name)
    write_manifest(folder, replace(named, files=files, variants=variants, chunk_bytes=chunk_bytes))


@pytest.fixture
def server(models_server: LiveServer) -> Iterator[FaultyServer]:
    with faulty(models_server.url) as server:
        yield server


@pytest.fixture
def open_model(context: BrowserContext, server: FaultyServer) -> OpenModel:
    """Opens the page with one of the models, on WASM."""

    def open_(model: str = "small", wait: bool = True, device: str = "wasm") -> Page:
        page = context.new_page()
        page.goto(f"{server.url}/?device={device}&debug=1&model={model}")
        if wait:
            _ready(page, device)
        return page

    return open_


def _ready(page: Page, device: str = "wasm") -> None:
    ready(page)
    assert page.locator("[data-device]").first.get_attribute("data-device") == device


def _answers_right(page: Page) -> None:
    case = PARITY["cases"][0]
    ask = "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)"
    assert page.evaluate(ask, [case["messages"], 12])["ids"] == case["ids"][:12]


def _wait_until(condition: Callable[[], bool], page: Page, seconds: float = 30) -> None:
    """Lets the page go on meanwhile."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        page.wait_for_timeout(20)


def _progress(page: Page, text: str) -> None:
    expect(page.get_by_test_id("progress")).to_contain_text(re.compile(text), timeout=READY_MS)


# On the way


def test_chunks_come_side_by_side_and_each_once(open_model: OpenModel, server: FaultyServer) -> None:
    page = open_model()
    _answers_right(page)
    assert server.faults.sent == SIZE
    assert len(set(server.faults.ranges)) == len(server.faults.ranges) == -(-SIZE // SMALL)


def test_after_a_cut_no_more_than_one_chunk_comes_again(open_model: OpenModel, server: FaultyServer) -> None:
    """All connections are cut at once. At a pace, so that what has left has arrived, too."""
    server.faults.bytes_per_s, server.faults.cut_after = 8e6, 0.6 * SIZE
    page = open_model("big", wait=False)
    _wait_until(lambda: server.faults.sent >= server.faults.cut_after, page)
    server.faults.cut_after = float("inf")
    _ready(page)
    _answers_right(page)
    assert SIZE <= server.faults.sent <= SIZE + BIG


def test_a_flipped_byte_costs_its_chunk(open_model: OpenModel, server: FaultyServer) -> None:
    server.faults.flips = {SMALL * 3 + 17: 1}
    _answers_right(open_model())
    assert server.faults.sent == SIZE + SMALL


def test_a_byte_that_stays_flipped_is_told_and_the_server_answers(
    open_model: OpenModel, server: FaultyServer
) -> None:
    server.faults.flips = {SMALL * 3 + 17: 99}
    page = open_model(device="server", wait=False)
    page.goto(page.url.replace("device=server", "device=wasm"))
    _ready(page, "server")
    expect(page.get_by_test_id("notes")).to_contain_text(f"{WEIGHTS} (part 4 of")
    server.faults.flips = {}
    page.reload()
    _ready(page)
    assert server.faults.sent <= SIZE + 6 * SMALL  # three times in vain, and what was cut short for it


def test_a_server_that_says_nothing_is_asked_again(
    open_model: OpenModel, context: BrowserContext, server: FaultyServer
) -> None:
    _patch_worker(context, _impatient(4))
    server.faults.stall_after = SIZE / 2
    page = open_model(wait=False)
    _progress(page, "waiting for the server")
    server.faults.stall_after = float("inf")
    _ready(page)
    assert server.faults.sent <= SIZE + SMALL


def test_a_server_that_goes_and_comes_back_is_waited_for(open_model: OpenModel, server: FaultyServer) -> None:
    server.faults.bytes_per_s = 5e6
    page = open_model(wait=False)
    _wait_until(lambda: server.faults.sent > SIZE / 3, page)
    server.faults.gone = True
    _progress(page, "waiting for the server")
    server.faults.gone = False
    _ready(page)
    _answers_right(page)
    assert server.faults.sent <= SIZE + SMALL


def test_a_tab_that_was_closed_leaves_what_it_had(open_model: OpenModel, server: FaultyServer) -> None:
    """Of chunks that were under way, too: three of them are more than half of this file."""
    server.faults.stall_after = 0.6 * SIZE
    page = open_model("big", wait=False)
    _progress(page, r"4\.\d of 7\.\d MB")  # what has left the server has arrived
    page.close()
    server.faults.stall_after = float("inf")
    _answers_right(open_model("big"))
    assert server.faults.sent <= SIZE + BIG


def test_two_tabs_fetch_once(open_model: OpenModel, server: FaultyServer) -> None:
    server.faults.bytes_per_s = 4e6
    first = open_model(wait=False)
    _wait_until(lambda: server.faults.sent > 0, first)
    second = open_model(wait=False)
    _progress(second, r"Another tab is fetching the model · [\d.]+ of [\d.]+ MB")
    server.faults.bytes_per_s = float("inf")
    for page in (first, second):
        _ready(page)
    _answers_right(second)
    assert server.faults.sent == SIZE


def test_a_waiting_tab_takes_over(open_model: OpenModel, server: FaultyServer) -> None:
    server.faults.stall_after = 0.4 * SIZE
    first = open_model(wait=False)
    _progress(first, r"[23]\.\d of 7\.\d MB")
    second = open_model(wait=False)
    _progress(second, "Another tab")
    first.close()
    server.faults.stall_after = float("inf")
    _ready(second)
    assert server.faults.sent <= SIZE + 3 * SMALL  # one for each connection of the closed tab


def test_a_download_can_be_paused(open_model: OpenModel, server: FaultyServer) -> None:
    server.faults.bytes_per_s = 3e6
    page = open_model(wait=False)
    _wait_until(lambda: server.faults.sent > SIZE / 4, page)
    _progress(page, r"MB/s · \d+ s left|MB/s")
    page.get_by_test_id("pause").click()
    _progress(page, "paused")
    page.wait_for_timeout(300)
    before = server.faults.sent
    page.wait_for_timeout(500)
    assert server.faults.sent == before
    server.faults.bytes_per_s = float("inf")
    page.get_by_test_id("pause").click()
    _ready(page)
    _answers_right(page)


def test_a_download_that_is_stopped_leaves_the_answer_to_the_server(
    open_model: OpenModel, server: FaultyServer
) -> None:
    server.faults.bytes_per_s = 3e6
    page = open_model(wait=False)
    _wait_until(lambda: server.faults.sent > SIZE / 3, page)
    page.get_by_test_id("stop-loading").click()
    _ready(page, "server")
    expect(page.get_by_test_id("notes")).to_contain_text("stopped")
    sent = server.faults.sent
    server.faults.bytes_per_s = float("inf")
    page.get_by_test_id("device").click()
    page.get_by_test_id("device-wasm").click()
    _ready(page)
    assert server.faults.sent - sent < 0.75 * SIZE


# At rest


def test_the_second_visit_fetches_no_weights(open_model: OpenModel, server: FaultyServer) -> None:
    open_model().close()
    sent = server.faults.sent
    _answers_right(open_model())
    assert server.faults.sent == sent


def test_a_byte_that_flips_at_rest_is_found_by_a_check(open_model: OpenModel, server: FaultyServer) -> None:
    """One bit hardly changes an answer, so loading trusts what was compared when it came."""
    page = open_model()
    page.evaluate(DAMAGE, [SMALL * 5 + 100, 1])
    sent = server.faults.sent
    page.reload()
    _ready(page)
    assert server.faults.sent == sent
    page.get_by_test_id("status").click()
    page.get_by_test_id("check-model").click()
    expect(page.get_by_test_id("toast")).to_contain_text("damaged", timeout=READY_MS)
    assert server.faults.sent == sent + SMALL
    page.get_by_test_id("check-model").click()
    expect(page.get_by_test_id("toast")).to_contain_text("as it should be")
    _answers_right(page)


def test_damage_that_shows_is_repaired_before_the_device_is_blamed(
    open_model: OpenModel, server: FaultyServer
) -> None:
    page = open_model()
    page.evaluate(DAMAGE, [SMALL * 2, SMALL * 8])
    sent = server.faults.sent
    page.reload()
    _ready(page)
    _answers_right(page)
    assert server.faults.sent == sent + SMALL * 8


def test_what_an_earlier_version_kept_is_adopted(open_model: OpenModel, server: FaultyServer) -> None:
    page = open_model()
    assert page.evaluate(MAKE_OLD) > 0
    page.evaluate(DAMAGE, [SMALL * 2 + 1, 1])
    sent = server.faults.sent
    page.reload()
    _ready(page)
    assert server.faults.sent == sent + SMALL
    assert not [name for name in page.evaluate(STORED) if name.endswith(".complete")]


def test_a_model_can_be_deleted(open_model: OpenModel, server: FaultyServer) -> None:
    page = open_model()
    page.get_by_test_id("status").click()
    kept = page.get_by_test_id("kept-model")
    expect(kept).to_contain_text(re.compile(r"small · \d+\.\d MB"))
    expect(page.get_by_test_id("usage")).to_contain_text(re.compile(r"[\d.]+ MB of [\d.]+ GB used"))
    page.get_by_test_id("delete-model").click()
    page.get_by_test_id("delete-model").click()
    expect(kept).to_have_count(0)
    page.get_by_test_id("close-dialog").click()
    assert page.evaluate(STORED) == []
    _answers_right(page)  # what is loaded goes on
    sent = server.faults.sent
    page.reload()
    _ready(page)
    assert server.faults.sent == sent + SIZE


def test_a_model_that_another_tab_fetches_is_not_deleted(open_model: OpenModel, server: FaultyServer) -> None:
    server.faults.bytes_per_s = 3e6
    first = open_model(wait=False)
    _wait_until(lambda: server.faults.sent > SIZE / 4, first)
    second = open_model(device="server")
    second.get_by_test_id("status").click()
    second.get_by_test_id("delete-model").click()
    second.get_by_test_id("delete-model").click()
    expect(second.get_by_test_id("toast")).to_contain_text("small is being fetched, here or in another tab")
    server.faults.bytes_per_s = float("inf")
    _ready(first)


# Little room, or none


def _limit(page: Page, server: FaultyServer, quota_bytes: int) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": server.url, "quotaSize": quota_bytes})


def _choose_wasm(page: Page) -> None:
    page.get_by_test_id("device").click()
    page.get_by_test_id("device-wasm").click()


def test_in_a_private_window_with_little_room_a_model_is_not_kept_in_part(
    open_model: OpenModel, server: FaultyServer
) -> None:
    """Chromium takes every write there, and afterwards cuts the file down without a word."""
    page = open_model(device="server")
    _limit(page, server, 1_500_000)
    _choose_wasm(page)
    _ready(page)
    expect(page.get_by_test_id("notes")).to_contain_text("keeps no files")
    _answers_right(page)


def test_what_there_is_no_room_for_is_not_kept_and_one_is_asked_about_much(
    playwright: Playwright, browser_path: Path, tmp_path: Path, server: FaultyServer
) -> None:
    """With a profile of its own: refusals come at once in ordinary windows only."""
    launch = playwright.chromium.launch_persistent_context
    flags = ["--headless=new", *FLAGS]
    with launch(tmp_path, executable_path=str(browser_path), args=flags) as context:
        page = context.new_page()
        page.goto(f"{server.url}/?device=server&debug=1&model=small")
        _limit(page, server, 1_500_000)
        _choose_wasm(page)
        _ready(page)
        expect(page.get_by_test_id("notes")).to_contain_text("keeps no files")
        _answers_right(page)
        assert server.faults.sent == SIZE
        page.goto(f"{server.url}/?device=wasm&debug=1&model=large")
        question = page.get_by_test_id("space")
        refusal = re.compile(r"needs 8\d(\.\d)? MB, but the browser keeps (no|[\d.]+ MB) more")
        expect(question).to_contain_text(refusal, timeout=READY_MS)
        assert server.faults.sent == SIZE
        page.get_by_test_id("use-server").click()
        _ready(page, "server")
        _choose_wasm(page)
        question.get_by_test_id("without-keeping").click(timeout=READY_MS)
        _ready(page)
        expect(page.get_by_test_id("notes")).to_contain_text("keeps no files")


def test_a_quota_that_ends_on_the_way_costs_nothing_that_has_come(
    open_model: OpenModel, context: BrowserContext, server: FaultyServer
) -> None:
    """The estimate said yes, the file system says no: what has come is taken along into memory."""
    _patch_worker(context, REFUSE_LATE)
    page = open_model()
    _answers_right(page)
    expect(page.get_by_test_id("notes")).to_contain_text("keeps no files")
    assert server.faults.sent <= SIZE + 3 * SMALL


REFUSE_LATE = """
const write = FileSystemSyncAccessHandle.prototype.write;
let left = 4e6;
FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
  left -= bytes.length;
  if (left < 0) throw new DOMException('no space', 'QuotaExceededError');
  return write.call(this, bytes, options);
};
"""
NO_FILES = "delete StorageManager.prototype.getDirectory;"
NO_CACHE = "delete self.caches; delete WorkerGlobalScope.prototype.caches;"
NO_LOCKS = "delete WorkerNavigator.prototype.locks;"


def _patch_worker(context: BrowserContext, script: str) -> None:
    """Scripts that a context adds do not run in workers."""

    def patch(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=script + response.text())

    context.route(re.compile(r"/assets/main-[^/]+\.js$"), patch)


def test_without_a_file_system_the_cache_keeps_the_model(
    open_model: OpenModel, context: BrowserContext, server: FaultyServer
) -> None:
    _patch_worker(context, NO_FILES)
    page = open_model()
    assert page.evaluate(STORED) == []
    assert page.evaluate("caches.has('localphi-models')") is True
    sent = server.faults.sent
    page.reload()
    _ready(page)
    _answers_right(page)
    assert server.faults.sent == sent == SIZE


def test_the_cache_is_cleared_once_there_is_a_file_system(
    open_model: OpenModel, context: BrowserContext
) -> None:
    _patch_worker(context, NO_FILES)
    page = open_model()
    context.unroute_all()
    page.reload()
    _ready(page)
    assert page.evaluate("caches.has('localphi-models')") is False


def test_without_any_storage_or_locks_the_model_runs_for_this_visit(
    open_model: OpenModel, context: BrowserContext, server: FaultyServer
) -> None:
    _patch_worker(context, NO_FILES + NO_CACHE + NO_LOCKS)
    page = open_model()
    _answers_right(page)
    expect(page.get_by_test_id("notes")).to_contain_text("keeps no files")
    assert server.faults.sent == SIZE


# Without the server


def test_once_it_is_loaded_the_page_goes_on_without_the_server(
    open_model: OpenModel, server: FaultyServer
) -> None:
    page = open_model()
    _ask(page, QUESTION)
    server.faults.gone = True
    answer = _ask(page, "And does it cost anything?")
    assert len(answer) > 10
    server.faults.gone = False
    page.reload()
    _ready(page)
    expect(page.get_by_test_id("message-user")).to_have_count(2)


def test_a_server_that_stays_away_is_told_and_the_chat_is_still_there(
    open_model: OpenModel, context: BrowserContext, server: FaultyServer
) -> None:
    _patch_worker(context, _impatient(20))
    page = open_model(device="server")
    _ask(page, QUESTION)
    server.faults.cut_after = SIZE / 2
    page.get_by_test_id("device").click()
    page.get_by_test_id("device-wasm").click()
    _wait_until(lambda: server.faults.sent >= SIZE / 2, page)
    server.faults.gone = True
    expect(page.get_by_test_id("error")).to_contain_text("The server cannot be reached", timeout=READY_MS)
    expect(page.get_by_test_id("message-user")).to_contain_text(QUESTION)
    server.faults.gone, server.faults.cut_after = False, float("inf")
    page.get_by_test_id("retry").click()
    _ready(page)
    assert server.faults.sent <= SIZE + SMALL * 3


def _impatient(times: int) -> str:
    """Timers run that much faster: ten seconds of patience are long for a test, half a minute too long."""
    return f"""
const wait = self.setTimeout;
self.setTimeout = (work, ms, ...rest) => wait(work, (ms ?? 0) / {times}, ...rest);
"""


def _ask(page: Page, text: str) -> str:
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    expect(page.get_by_test_id("message-user").last).to_contain_text(text)
    ready(page)
    return page.get_by_test_id("message-assistant").last.inner_text()
