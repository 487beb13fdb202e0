"""Models that the server fetches: one at a time, with its progress, and everything in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub_stand_in import Fault, HubStandIn, hub_stand_in
from localphi import create_app
from localphi import routes as rooms
from localphi.config import Settings
from localphi.keys import KeyStore
from localphi.models.catalogue import catalogue
from localphi.models.hub import Hub
from localphi.models.store import ModelStore, find_damage
from localphi.routes import pulls as routes
from serving import BufferedClient, LiveServer, serving
from tiny_phi import PHI_4, small_files

SOURCE = catalogue().find("phi-4-mini")[0].source("server-cpu")
WEIGHTS = f"{SOURCE.folder}/model.onnx.data"
SIZE = 2_000_000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    from huggingface_hub import close_session

    with hub_stand_in() as hub:
        files = small_files(PHI_4) | {"model.onnx": b"graph" * 100, "model.onnx.data": bytes(SIZE)}
        in_folder = {f"{SOURCE.folder}/{name}": data for name, data in files.items()}
        hub.add(SOURCE.repo, in_folder, str(SOURCE.revision))
        monkeypatch.setattr(rooms, "Hub", partial(Hub, hub.address))
        yield hub
        close_session()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with serving(Settings(home=tmp_path)) as server:
        yield server


def _events(server: LiveServer, source_id: str = SOURCE.id) -> Generator[dict[str, Any]]:
    with httpx.stream("GET", f"{server.url}/pulls/{source_id}", timeout=30) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def _start(server: LiveServer, source_id: str = SOURCE.id) -> httpx.Response:
    return httpx.post(f"{server.url}/pulls/{source_id}", timeout=30)


def _pulls(server: LiveServer) -> list[dict[str, Any]]:
    return list(httpx.get(f"{server.url}/pulls").json()["pulls"])


def _sources(server: LiveServer) -> dict[str, dict[str, Any]]:
    models = httpx.get(f"{server.url}/catalogue").json()["models"]
    return {
        source["id"]: source | {"license": model["license"]}
        for model in models
        for source in model["sources"]
    }


class Held:
    """A hub whose weights stop coming in the middle, until they are let go."""

    def __init__(self, hub: HubStandIn) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        hub.fail(WEIGHTS, Fault(cut_after=SIZE // 2, on_cut=self._hold))

    def _hold(self, sent: int) -> None:
        self.reached.set()
        self.let_go.wait(30)


@pytest.fixture
def held(hub: HubStandIn) -> Iterator[Held]:
    held = Held(hub)
    yield held
    held.let_go.set()


def test_the_catalogue_asks_nobody(server: LiveServer, hub: HubStandIn) -> None:
    sources = _sources(server)
    assert {"phi-2", "phi-3-mini-4k", "phi-3.5-mini", "phi-4-mini"} <= {
        source["id"] for source in sources.values() if source["for_this_server"]
    }
    assert all(source["license"] and source["repo"] for source in sources.values())
    assert not any(source["here"] for source in sources.values())
    assert _pulls(server) == []
    assert hub.seen == []


def test_a_model_is_fetched_with_its_progress_and_can_be_used(
    server: LiveServer, hub: HubStandIn, held: Held, tmp_path: Path
) -> None:
    assert _start(server).json()["status"] == "asking"
    assert held.reached.wait(30)
    events = _events(server)
    first = next(events)
    assert first["id"] == SOURCE.id
    assert first["model"] == "Phi-4-mini-instruct"
    assert first["status"] == "fetching"
    assert SIZE / 4 < first["done_bytes"] < first["total_bytes"]
    assert first["bytes_per_s"] > 0
    assert first["left_s"] > 0
    held.let_go.set()
    *_, last = events
    assert (last["status"], last["error"], last["note"]) == ("done", None, "")
    assert last["done_bytes"] == last["total_bytes"] > SIZE
    assert _pulls(server) == [last]
    assert _sources(server)[SOURCE.id]["here"]
    assert find_damage(ModelStore(tmp_path).get(SOURCE.id)) == []
    models = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert SOURCE.id in [model["id"] for model in models]


def test_fetching_again_finds_it_whole_and_mends_what_is_not(
    server: LiveServer, hub: HubStandIn, tmp_path: Path
) -> None:
    _start(server)
    assert [*_events(server)][-1]["status"] == "done"
    sent = dict(hub.sent)
    _start(server)
    assert [*_events(server)][-1]["status"] == "done"
    assert hub.sent == sent
    weights = ModelStore(tmp_path).get(SOURCE.id).path / "model.onnx.data"
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    _start(server)
    assert [*_events(server)][-1]["status"] == "done"
    assert weights.read_bytes() == bytes(SIZE)


def test_asking_twice_is_one_pull_and_another_model_has_to_wait(server: LiveServer, held: Held) -> None:
    _start(server)
    assert held.reached.wait(30)
    assert _start(server).json()["status"] == "fetching"
    refused = _start(server, "phi-2")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "pull_busy")
    assert "phi-4-mini is being fetched" in refused.json()["error"]["message"]
    assert len(_pulls(server)) == 1


def test_a_pull_that_is_stopped_keeps_what_has_come(server: LiveServer, hub: HubStandIn, held: Held) -> None:
    _start(server)
    assert held.reached.wait(30)
    assert httpx.delete(f"{server.url}/pulls/{SOURCE.id}").status_code == 204
    held.let_go.set()
    *_, last = _events(server)
    assert (last["status"], last["error"]) == ("stopped", None)
    assert not _sources(server)[SOURCE.id]["here"]
    before = hub.sent[WEIGHTS]
    _start(server)
    assert [*_events(server)][-1]["status"] == "done"
    assert hub.sent[WEIGHTS] - before <= SIZE // 2 + 65_536, "it goes on where it was"


def test_a_pull_can_be_stopped_while_it_waits_for_the_hub(server: LiveServer, hub: HubStandIn) -> None:
    hub.fail(WEIGHTS, Fault(503, {"Retry-After": "60"}))
    _start(server)
    for state in _events(server):
        if state["note"]:
            assert "503" in state["note"]
            assert "60 s" in state["note"]
            httpx.delete(f"{server.url}/pulls/{SOURCE.id}")
    assert state["status"] == "stopped"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(404, at_hub=True), "has no"),
        (Fault(403, at_hub=True), "HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses_is_told(server: LiveServer, hub: HubStandIn, fault: Fault, said: str) -> None:
    hub.fail("", fault)
    _start(server)
    *_, last = _events(server)
    assert last["status"] == "failed"
    assert said in last["error"]
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_hub_that_is_away_is_told(
    server: LiveServer, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "Hub", partial(Hub, "http://127.0.0.1:9"))
    monkeypatch.setattr("localphi.models.pull._WAITS_S", (0,))
    _start(server)
    *_, last = _events(server)
    assert last["status"] == "failed"
    assert "cannot be reached" in last["error"]


def test_names_that_are_none_are_told(server: LiveServer) -> None:
    unknown = _start(server, "phi-5")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    for method in ("GET", "DELETE"):
        answer = httpx.request(method, f"{server.url}/pulls/phi-2")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "pull_not_found")


def test_the_token_is_kept_from_the_environment_that_children_get(
    hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_environment({"HF_TOKEN": "hf_secret"}, home=tmp_path)
    assert "hf_secret" not in repr(settings)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(settings) as server:
        _start(server)
        assert [*_events(server)][-1]["status"] == "done"
    assert {seen.authorization for seen in hub.seen if seen.server == "hub"} == {"Bearer hf_secret"}


def test_whoever_has_no_key_fetches_nothing(hub: HubStandIn, tmp_path: Path) -> None:
    KeyStore(tmp_path).new("somebody")
    app = create_app(Settings(home=tmp_path))
    app.test_client_class = BufferedClient
    for method, path in (("GET", "/catalogue"), ("GET", "/pulls"), ("POST", f"/pulls/{SOURCE.id}")):
        assert app.test_client().open(path, method=method).status_code == 401
    app.extensions["localphi"].close()
    assert hub.seen == []


def test_many_watchers_do_not_take_the_servers_threads(
    server: LiveServer, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_EVERY_S", 0.05)
    _start(server)
    assert held.reached.wait(30)
    watchers = [_events(server) for _ in range(8)]
    assert {next(watcher)["status"] for watcher in watchers} == {"fetching"}
    assert [state["status"] for state in _events(server)] == ["fetching"], "told once"
    for watcher in watchers:
        watcher.close()
    end = time.monotonic() + 10
    held.let_go.set()
    while _pulls(server)[0]["status"] != "done":
        assert time.monotonic() < end
        time.sleep(0.05)
