"""The panel of models and devices: where it runs and why, and fetching a model through the server."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from driving import ready
from hub_stand_in import Fault, HubStandIn, hub_stand_in
from localphi import routes as rooms
from localphi.config import Settings
from localphi.models.adapters import AdapterStore
from localphi.models.catalogue import catalogue
from localphi.models.hub import Hub
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelFolder
from lora_files import matrices, module_sizes, write_peft
from serving import DEMO, LiveServer, serving
from tiny_phi import PHI_4, small_files

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SOURCE = catalogue().find("phi-4-mini")[0].source("server-cpu")
WEIGHTS = f"{SOURCE.folder}/model.onnx.data"
SIZE = 2_000_000


@pytest.fixture(scope="module")
def hub() -> Iterator[HubStandIn]:
    from huggingface_hub import close_session

    with hub_stand_in() as hub, pytest.MonkeyPatch.context() as patch:
        files = small_files(PHI_4) | {"model.onnx": b"graph" * 100, "model.onnx.data": bytes(SIZE)}
        in_folder = {f"{SOURCE.folder}/{name}": data for name, data in files.items()}
        hub.add(SOURCE.repo, in_folder, str(SOURCE.revision))
        patch.setattr(rooms, "Hub", partial(Hub, hub.address))
        yield hub
        close_session()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(hub: HubStandIn, home: Path) -> Iterator[LiveServer]:
    with serving(Settings(home=home)) as server:
        yield server


@pytest.fixture(scope="module")
def panel(browser: Browser, server: LiveServer) -> Iterator[Page]:
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(server.url)
    ready(page)
    page.get_by_test_id("status").click()
    yield page
    context.close()


def test_the_panel_says_where_the_model_runs_and_why(panel: Page) -> None:
    where = panel.get_by_test_id("where")
    expect(where).to_contain_text("localphi demo runs in this browser, on the processor.")
    webgpu = panel.get_by_test_id("rung-webgpu")
    expect(webgpu).to_contain_text("Graphics are computed by the processor here, so WASM is faster.")
    expect(panel.get_by_test_id("rung-wasm")).to_have_attribute("data-state", "active")
    expect(panel.get_by_test_id("facts").locator("li").first).to_contain_text("Graphics are computed")
    here = panel.get_by_test_id("model-here")
    expect(here).to_contain_text("7.1 MB · licence MIT · reads 2,048 tokens · browser and server")
    expect(here).to_contain_text("Fits this machine")
    expect(here).to_contain_text("A chat of 2,048 tokens takes 12.6 MB of memory")
    expect(panel.get_by_test_id("kept-model")).to_contain_text("localphi demo")


def test_a_model_is_fetched_stopped_and_fetched_to_its_end(panel: Page, hub: HubStandIn) -> None:
    reached, let_go = threading.Event(), threading.Event()

    def hold(sent: int) -> None:
        reached.set()
        let_go.wait(30)

    hub.fail(WEIGHTS, Fault(cut_after=SIZE // 2, on_cut=hold))
    card = panel.get_by_test_id(f"catalogue-{SOURCE.id}")
    card.get_by_test_id("get-model").click()
    expect(card.get_by_test_id("pull")).to_contain_text(re.compile(r"[\d.]+ MB of 2(\.\d)? MB · \d\d%"))
    card.get_by_test_id("stop-pull").click()
    let_go.set()
    expect(card.get_by_test_id("pull")).to_have_attribute("data-status", "stopped")
    card.get_by_role("button", name="Get").click()
    fetched = panel.get_by_test_id("model-here").filter(has_text="Phi-4-mini-instruct")
    expect(fetched).to_have_count(1)
    expect(card).to_have_count(0)
    link = str(fetched.get_by_test_id("use-model").get_attribute("href"))
    assert f"model={SOURCE.id}" in link


def test_a_fetch_that_fails_says_why(panel: Page) -> None:
    card = panel.get_by_test_id("catalogue-phi-2")
    card.get_by_test_id("get-model").click()
    expect(card.get_by_test_id("pull")).to_have_attribute("data-status", "failed")
    expect(card.get_by_test_id("pull")).to_contain_text("It did not work.")
    expect(card.get_by_test_id("get-model")).to_be_visible()


def test_an_adapter_is_chosen_and_its_answers_come_from_the_server(
    panel: Page, home: Path, tmp_path: Path
) -> None:
    convert = pytest.importorskip("localphi.toolchain.adapters.convert", reason="needs the extra 'quantize'")
    demo = ModelFolder(DEMO, load_manifest(DEMO), bundled=True)
    peft = write_peft(tmp_path / "peft", matrices(module_sizes(DEMO), 0, strength=0.1))
    convert.convert_adapter(AdapterStore(home), demo, peft, "poems")
    panel.keyboard.press("Escape")
    panel.get_by_test_id("open-settings").click()
    panel.get_by_test_id("adapter").select_option(label="poems")
    panel.get_by_test_id("setting-maxTokens").fill("8")
    expect(panel.get_by_test_id("settings")).to_contain_text("Answers with an adapter come from the server.")
    panel.keyboard.press("Escape")
    expect(panel.get_by_test_id("status")).to_have_text("localphi demo · poems · Server")
    expect(panel.locator(".lead")).to_contain_text("runs in the server")  # no promise that it does not keep
    panel.get_by_test_id("composer").fill("What is WebGPU?")
    with panel.expect_request("**/v1/chat/completions") as sent:
        panel.get_by_test_id("send").click()
    assert (sent.value.post_data_json or {})["model"] == "localphi-demo:poems"
    answer = panel.get_by_test_id("message-assistant").last
    expect(answer).to_have_attribute("data-status", re.compile("done|length"), timeout=60_000)
    panel.get_by_test_id("open-settings").click()
    panel.get_by_test_id("reset-settings").click()
    expect(panel.get_by_test_id("adapter")).to_have_value("")
    panel.keyboard.press("Escape")
    expect(panel.get_by_test_id("status")).to_contain_text("WASM")
