"""`localphi models search|pull|path|rm` against a hub on this machine; the slow ones as real processes."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from tqdm import tqdm

from hub_stand_in import Fault, HubStandIn, hub_stand_in
from localphi.cli import main
from localphi.cli.pull import _Bar, _Lines
from localphi.config import Settings
from localphi.models.catalogue import CatalogueModel, Source, catalogue
from localphi.models.hub import Hub, RemoteFile, RemoteRepo
from localphi.models.pull import Plan
from localphi.models.store import ModelStore, find_damage
from serving import serving
from tiny_phi import PHI_4, small_files, tiny_phi

MODEL = catalogue().find("phi-4-mini")[0]
SOURCE = MODEL.source("server-cpu")
WEIGHTS = f"{SOURCE.folder}/model.onnx.data"
SIZE = 2_000_000


def _add(hub: HubStandIn, files: dict[str, bytes], commit: str | None = SOURCE.revision) -> None:
    assert commit
    hub.add(SOURCE.repo, {f"{SOURCE.folder}/{name}": data for name, data in files.items()}, commit)


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    from huggingface_hub import close_session

    with hub_stand_in() as hub:
        noise = random.Random(1).randbytes
        _add(hub, small_files(PHI_4) | {"model.onnx": noise(30_000), "model.onnx.data": noise(SIZE)})
        yield hub
        close_session()


@pytest.fixture
def home(tmp_path: Path, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("localphi.cli.pull.Hub", lambda: Hub(hub.address))
    return tmp_path / "home"


def _run(*arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["models", *arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_what_will_be_fetched_is_told_before_the_question(home: Path, hub: HubStandIn) -> None:
    code, output = _run("pull", "phi-4-mini", text="n\n")
    assert code == 1
    for said in ("MIT", "2.0 MB in 5 files", SOURCE.repo, str(SOURCE.revision), "free", "Download 2.0 MB?"):
        assert said in output
    assert {seen.name for seen in hub.seen} == {""}
    assert "phi-4-mini" not in _run("list")[1]


def test_a_pulled_model_is_listed_shown_verified_and_removed(home: Path, hub: HubStandIn) -> None:
    code, output = _run("pull", "phi-4-mini", text="\n")
    assert (code, "localphi serve --model phi-4-mini" in output) == (0, True)
    assert "phi-4-mini" in _run("list")[1]
    assert f"hf://{SOURCE.repo}" in _run("show", "phi-4-mini")[1]
    assert "phi-4-mini: all 5 files are whole" in _run("verify", "phi-4-mini")[1]
    assert _run("path", "phi-4-mini")[1].strip() == str(home / "models" / "phi-4-mini")
    assert _run("rm", "phi-4-mini", text="n\n")[0] == 1
    assert (home / "models" / "phi-4-mini").is_dir()
    assert _run("rm", "phi-4-mini", text="y\n")[0] == 0
    assert not (home / "models" / "phi-4-mini").exists()
    assert list((home / "models").glob(".removed-*")) == []


def test_a_model_that_is_here_is_not_asked_for_again(home: Path, hub: HubStandIn) -> None:
    _run("pull", "phi-4-mini", "--yes")
    hub.seen.clear()
    code, output = _run("pull", "phi-4-mini")
    assert (code, "already here" in output, hub.seen) == (0, True, [])
    code, output = _run("pull", "phi-4-mini", "--update")
    assert (code, "is the same" in output) == (0, True)
    assert {seen.name for seen in hub.seen} == {""}


def test_the_result_can_be_read_by_programs(home: Path, hub: HubStandIn) -> None:
    result = CliRunner().invoke(main, ["models", "pull", "phi-4-mini", "--yes", "--json"])
    assert json.loads(result.stdout) == {
        "id": "phi-4-mini",
        "path": str(home / "models" / "phi-4-mini"),
        "size_bytes": sum(file.size for file in Hub(hub.address).describe(SOURCE.repo).files),
        "source": SOURCE.address,
        "revision": SOURCE.revision,
    }


def test_an_interrupted_pull_is_told_apart_from_a_model(home: Path, hub: HubStandIn) -> None:
    hub.fail(WEIGHTS, Fault(cut_after=500_000), Fault(429, {"Retry-After": "9999"}))
    code, output = _run("pull", "phi-4-mini", "--yes")
    assert (code, "9999" not in output, "kept" in output) == (1, True, True)
    code, output = _run("list")
    assert "Not whole yet: phi-4-mini, 0.5 MB" in output
    assert [row["id"] for row in json.loads(_run("list", "--json")[1])] == ["localphi-demo"]
    assert "There is no model" in _run("show", "phi-4-mini")[1]
    code, output = _run("rm", "phi-4-mini")
    assert (code, "0.5 MB" in output) == (0, True)
    assert "Not whole yet" not in _run("list")[1]


def test_an_unknown_model_is_answered_with_the_nearest(home: Path, hub: HubStandIn) -> None:
    code, output = _run("pull", "phi4-mini")
    assert (code, hub.seen) == (1, [])
    assert output.startswith("Error: There is no model 'phi4-mini'. Did you mean phi-4-mini")


def test_a_model_that_could_be_pulled_is_told_so(home: Path) -> None:
    code, output = _run("show", "phi-4-mini")
    assert code == 1
    assert "Get it with: localphi models pull phi-4-mini." in output


def test_a_hub_that_is_gone_leaves_what_is_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run("pull", "phi-4-mini", "--yes")
    monkeypatch.setattr("localphi.cli.pull.Hub", lambda: Hub("http://127.0.0.1:9"))
    assert _run("pull", "phi-4-mini")[0] == 0
    code, output = _run("pull", "phi-3.5-mini", "--yes")
    assert code == 1
    assert "http://127.0.0.1:9 cannot be reached" in output
    assert "On this machine are: localphi-demo, phi-4-mini." in output
    code, output = _run("search", "phi-2")
    assert (code, "about 2.19 GB" in output, "cannot be reached" in output) == (0, True, True)


def test_a_search_asks_for_the_sizes(home: Path, hub: HubStandIn) -> None:
    code, output = _run("search", "phi-4-mini")
    assert code == 0
    assert "2.0 MB  microsoft/Phi-4-mini-instruct-onnx" in output
    assert "131072 tokens" in output
    rows = json.loads(_run("search", "instruct", "cuda", "--json")[1])
    assert {row["id"] for row in rows} >= {"phi-4-mini", "phi-4-mini-cuda", "phi-3-mini-4k-web-f16"}
    assert "It has: phi-4-mini" in _run("search", "llama")[1]


def test_the_demo_cannot_be_removed(home: Path) -> None:
    code, output = _run("rm", "localphi-demo", "--yes")
    assert code == 1
    assert "belongs to the package" in output


def test_a_removal_that_was_cut_short_is_finished_by_the_next(home: Path) -> None:
    left = home / "models" / ".removed-1-old"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"x")
    _run("pull", "phi-4-mini", "--yes")
    assert "old" not in _run("list")[1]
    _run("rm", "phi-4-mini", "--yes")
    assert not left.exists()


def _plan(size: int) -> Plan[CatalogueModel, Source]:
    repo = RemoteRepo("a/b", "c" * 40, None, ())
    return Plan(MODEL, SOURCE, repo, {"x": RemoteFile("x", size, None, "d")}, 0, 0)


def test_elsewhere_than_on_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 5.0, 10.0, 10.0, 14.0])
    lines = _Lines(_plan(4_000_000_000), lambda: next(clock))
    lines.kept(1_000_000_000)
    for _ in range(3):
        lines.fetched(500_000_000)
    assert capsys.readouterr().err == "2.00 GB of 4.00 GB, 100.0 MB/s, 0 min left\n"


def test_on_a_terminal_a_bar_shows_rate_and_time_left() -> None:
    out = io.StringIO()
    with tqdm(total=1_000, file=out, unit="B", unit_scale=True, mininterval=0) as bar:
        progress = _Bar(bar)
        progress.kept(400)
        progress.fetched(300)
        progress.fetched(-100)
        assert (bar.n, bar.initial) == (600, 400)
    assert "B/s" in out.getvalue()


@dataclass(frozen=True)
class Process:
    """Runs the real command line with HF_ENDPOINT."""

    environment: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from localphi.cli import main; main()", "models", *arguments]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        with Process(self.environment | environment).start(*arguments) as process:
            output, _ = process.communicate(timeout=120)
            return process.returncode, output


@pytest.fixture
def process(tmp_path: Path, hub: HubStandIn) -> Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    places = {"LOCALPHI_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_mine"}
    return Process(inherited | places | {"HF_ENDPOINT": hub.address})


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 on Windows")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_pull_that_is_killed_again_and_again_fetches_no_byte_twice(
    tmp_path: Path, hub: HubStandIn, process: Process, seed: int
) -> None:
    store = ModelStore(tmp_path / "home")
    partial = store.pulling_dir / "phi-4-mini" / "folder" / "model.onnx.data.partial"
    chance, here = random.Random(seed), 0
    for _ in range(3):
        running = process.start("pull", "phi-4-mini", "--yes")
        more = chance.randrange(1, SIZE - here)

        def kill(sent: int, running: subprocess.Popen[str] = running, here: int = here) -> None:
            while partial.stat().st_size < here + sent and running.poll() is None:
                time.sleep(0.01)  # what is on its way counts as fetched
            running.send_signal(signal.SIGKILL)
            running.wait(60)

        hub.fail(WEIGHTS, Fault(cut_after=more, on_cut=kill))
        with running:
            output, _ = running.communicate(timeout=120)
        assert running.returncode == -signal.SIGKILL, output
        here += more
        assert partial.stat().st_size == here
        assert [folder.id for folder in store.folders()] == ["localphi-demo"]
    code, output = process.run("pull", "phi-4-mini", "--yes")
    assert code == 0, output
    assert find_damage(store.get("phi-4-mini")) == []
    assert hub.sent[WEIGHTS] == SIZE


@pytest.mark.slow
def test_offline_the_hub_is_left_alone(hub: HubStandIn, process: Process) -> None:
    code, output = process.run("pull", "phi-4-mini", "--yes", HF_HUB_OFFLINE="1")
    assert code == 1
    assert "HF_HUB_OFFLINE is set" in output
    assert "localphi-demo" in output
    assert hub.seen == []


@pytest.mark.slow
def test_a_pulled_model_is_served_and_answers(tmp_path: Path, hub: HubStandIn, process: Process) -> None:
    folder = tmp_path / "made" / "tiny"
    folder.mkdir(parents=True)
    tiny_phi(folder, PHI_4, bias={"<|end|>": 8.0})
    _add(hub, {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "localphi.json"})
    code, output = process.run("pull", "microsoft/Phi-4-mini-instruct-onnx", "--for", "server-cpu", "--yes")
    assert code == 0, output
    assert "all 4 files are whole" in process.run("verify", "phi-4-mini")[1]
    settings = Settings(home=tmp_path / "home", model="phi-4-mini")
    question: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
    with serving(settings) as server:
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=question, timeout=120).json()
    assert answer["model"] == "phi-4-mini"
    assert answer["usage"]["completion_tokens"] >= 1
    assert process.run("rm", "phi-4-mini", "--yes")[0] == 0
    assert "phi-4-mini" not in process.run("list")[1]
    agents = {part.split("/")[0].strip() for seen in hub.seen for part in seen.user_agent.split(";")}
    assert agents == {"localphi", "hf_hub", "python"}  # and nothing of what else is installed
    assert {seen.authorization for seen in hub.seen if seen.server == "hub"} == {"Bearer hf_mine"}
