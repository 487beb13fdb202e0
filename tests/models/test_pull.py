"""Pulls by the real client from a hub on this machine, and everything that goes wrong in between."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub_stand_in import COMMIT, Fault, HubStandIn, hub_stand_in
from localphi.chat import Message
from localphi.engine.prompt import render
from localphi.errors import (
    DiskFull,
    DownloadDamaged,
    HubRefused,
    HubUnreachable,
    ModelFolderInvalid,
    ModelNotFound,
    PullBusy,
    PullFailed,
)
from localphi.models.catalogue import CatalogueModel, Source, catalogue
from localphi.models.hub import Hub
from localphi.models.pull import Progress, Puller, pull_once
from localphi.models.staging import Staging, interrupted
from localphi.models.store import ModelFolder, ModelStore, find_damage
from tiny_phi import PHI_3, PHI_4, Family, small_files

MODEL = catalogue().find("phi-4-mini")[0]
CPU = MODEL.source("server-cpu")
CUDA = MODEL.source("server-cuda")  # has no revision in the catalogue
WEIGHTS = f"{CPU.folder}/model.onnx.data"
SIZE = 300_000
LATER = "f" * 40


def folder_files(source: Source, family: Family = PHI_4, seed: int = 0) -> dict[str, bytes]:
    """What the hub has in the source's folder and beside it; the weights are noise."""
    files = small_files(family) | {
        "model.onnx": random.Random(seed).randbytes(50_000),
        "model.onnx.data": random.Random(seed + 1).randbytes(SIZE),
        "configuration_phi3.py": b"raise SystemExit",
        "empty.json": b"",
    }
    prefix = f"{source.folder}/" if source.folder else ""
    return {"README.md": b"# Phi", **{prefix + name: data for name, data in files.items()}}


class Machine:
    """A store, and a puller whose waits are only noted."""

    def __init__(self, home: Path, hub: HubStandIn) -> None:
        self.store = ModelStore(home)
        self.hub = hub
        self.waits: list[float] = []

    @property
    def puller(self) -> Puller:
        return Puller(self.store, Hub(self.hub.address), self.waits.append)

    def pull(self, source: Source = CPU, model: CatalogueModel = MODEL, **options: Any) -> ModelFolder:
        puller = self.puller
        return puller.pull(puller.plan(model, source, **options), Progress())

    @property
    def listed(self) -> list[str]:
        return [folder.id for folder in self.store.folders() if not folder.bundled]

    def partial(self, source: Source = CPU) -> Path:
        return self.store.pulling_dir / source.id / "folder" / "model.onnx.data.partial"


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    from huggingface_hub import close_session

    with hub_stand_in() as hub:
        assert CPU.revision
        hub.add(CPU.repo, folder_files(CPU), CPU.revision)
        yield hub
        close_session()


@pytest.fixture
def machine(tmp_path: Path, hub: HubStandIn) -> Machine:
    return Machine(tmp_path / "home", hub)


def test_a_pulled_model_is_in_the_store_and_whole(machine: Machine) -> None:
    folder = machine.pull()
    manifest = folder.manifest
    assert machine.listed == ["phi-4-mini"]
    assert machine.store.get("phi-4-mini").manifest == manifest
    assert find_damage(folder) == []
    assert manifest.origin == {"source": f"hf://{CPU.repo}/{CPU.folder}", "revision": CPU.revision}
    assert (manifest.license, manifest.context_length) == ("MIT", 32_768)
    assert manifest.prompt_format == PHI_4.prompt_format
    variant = manifest.server_variant
    assert variant
    assert (variant.weights_bytes, variant.canary) == (350_000, None)
    assert variant.kv_bytes_per_token == 2 * 1 * 2 * 16 * 4
    assert interrupted(machine.store) == {}


def test_only_the_files_of_the_folder_are_fetched_and_no_programs(machine: Machine, hub: HubStandIn) -> None:
    names = {path.name for path in machine.pull().path.iterdir()}
    assert names == {*small_files(PHI_4), "model.onnx", "model.onnx.data", "localphi.json"}
    asked = {seen.name for seen in hub.seen}
    assert not any(name.endswith((".py", ".md", "empty.json")) for name in asked)


def test_files_for_the_browser_keep_their_folders(machine: Machine, hub: HubStandIn) -> None:
    model, _ = catalogue().find("phi-3-mini-4k")
    source = model.source("webgpu-f16")
    graph, weights = "onnx/model_q4f16.onnx", "onnx/model_q4f16.onnx_data"
    files = small_files(PHI_3) | {graph: b"g" * 100, weights: b"w" * 30_000, "onnx/model_q4.onnx": b"x"}
    hub.add(source.repo, files, str(source.revision))
    folder = machine.pull(source, model)
    assert set(folder.manifest.files) == {*small_files(PHI_3), graph, weights}
    assert (folder.id, list(folder.manifest.variants)) == ("phi-3-mini-4k-web-f16", ["webgpu-f16"])
    assert folder.manifest.server_variant is None
    assert find_damage(folder) == []


def test_the_token_goes_to_the_hub_and_not_to_its_content_server(
    machine: Machine, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add(CPU.repo, folder_files(CPU), str(CPU.revision))
    machine.pull()
    assert {(seen.server, seen.authorization) for seen in hub.seen} == {
        ("hub", "Bearer hf_secret"),
        ("cdn", ""),
    }


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        ([Fault(cut_after=100_000)], [1]),
        ([Fault(cut_after=0), Fault(cut_after=0), Fault(cut_after=7)], [2, 4, 1]),
        ([Fault(429, {"Retry-After": "7"})], [7]),
        ([Fault(429, {"Retry-After": "3"}, at_hub=True)], [3]),
        ([Fault(429, {"RateLimit": '"resolvers";r=0;t=55'}, at_hub=True)], [55]),
        ([Fault(500, at_hub=True), Fault(503)], [2, 4]),
        ([Fault(403)], [2]),  # the signed address is too old
        ([Fault(cut_after=99_999), Fault(whole=True)], [1]),
        ([Fault(cut_after=99_999), Fault(shift=5)], [1, 2]),
    ],
    ids=lambda value: "" if isinstance(value, list) and not isinstance(value[0], Fault) else None,
)
def test_what_breaks_for_a_moment_is_waited_out(
    machine: Machine, hub: HubStandIn, faults: list[Fault], waits: list[float]
) -> None:
    hub.fail(WEIGHTS, *faults)
    assert find_damage(machine.pull()) == []
    assert machine.waits == waits


@pytest.mark.parametrize("name", [WEIGHTS, f"{CPU.folder}/tokenizer.json"], ids=["big", "small"])
def test_a_cut_file_goes_on_at_the_byte_where_it_was(machine: Machine, hub: HubStandIn, name: str) -> None:
    hub.fail(name, Fault(cut_after=1_000), Fault(cut_after=1_500))
    machine.pull()
    assert hub.ranges(name) == ["bytes=0-", "bytes=1000-", "bytes=2500-"]


@pytest.mark.parametrize("here", [1, 4_095, 16_384, 100_001, SIZE - 1, SIZE])
def test_the_next_pull_fetches_only_what_is_missing(machine: Machine, hub: HubStandIn, here: int) -> None:
    gone = [Fault(503)] * 9
    hub.fail(WEIGHTS, Fault(cut_after=min(here, SIZE - 1)), *gone)
    with pytest.raises(HubUnreachable, match="kept"):
        machine.pull()
    if here == SIZE:  # killed between the last byte and the new name
        data = folder_files(CPU)[WEIGHTS]
        machine.partial().write_bytes(data)
    assert machine.partial().stat().st_size == here
    assert machine.listed == []
    hub.faults.clear()
    hub.seen.clear()
    assert find_damage(machine.pull()) == []
    assert hub.ranges(WEIGHTS) == ([f"bytes={here}-"] if here < SIZE else [])


def test_a_kept_part_that_rotted_is_fetched_again(machine: Machine, hub: HubStandIn) -> None:
    hub.fail(WEIGHTS, Fault(cut_after=200_000), *[Fault(503)] * 9)
    with pytest.raises(HubUnreachable):
        machine.pull()
    _flip(machine.partial())
    hub.faults.clear()
    assert find_damage(machine.pull()) == []
    assert hub.ranges(WEIGHTS)[-2:] == ["bytes=200000-", "bytes=0-"]


@pytest.mark.parametrize("name", ["model.onnx.data", "tokenizer.json"])
def test_wrong_bytes_are_told_and_never_kept(machine: Machine, hub: HubStandIn, name: str) -> None:
    hub.fail(f"{CPU.folder}/{name}", Fault(wrong=True))
    with pytest.raises(DownloadDamaged, match=name):
        machine.pull()
    assert machine.listed == []
    left = [path.name for path in machine.store.pulling_dir.rglob(f"{name}*")]
    assert left == []
    assert find_damage(machine.pull()) == []


class _Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@contextmanager
def _killed_at(step: int) -> Iterator[None]:
    """Let the process die before its `step`th change of a name (1 is the first)."""
    left = [step]

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise _Killed
            return change(*arguments)

        return changed

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("replace", "rename"):
            monkeypatch.setattr(os, name, dying(getattr(os, name)))
        yield


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_at_any_step_leaves_nothing_half_and_loses_nothing(
    machine: Machine, hub: HubStandIn, step: int
) -> None:
    with _killed_at(step), pytest.raises(_Killed):
        machine.pull()
    assert machine.listed == []
    assert find_damage(machine.pull()) == []
    assert hub.sent[WEIGHTS] == SIZE
    assert interrupted(machine.store) == {}


def test_a_pull_has_as_many_steps_as_are_tested(machine: Machine) -> None:
    with _killed_at(9):
        machine.pull()


@pytest.mark.parametrize("step", range(1, 15))
def test_a_kill_in_an_update_leaves_the_old_model_or_the_new_one(
    machine: Machine, hub: HubStandIn, step: int
) -> None:
    machine.pull()
    hub.add(CPU.repo, folder_files(CPU, seed=5), LATER)
    with _killed_at(step):
        try:
            machine.pull(update=True)
            killed = False
        except _Killed:
            killed = True
    for folder in machine.store.folders():
        assert find_damage(folder) == []
    assert killed == (step <= 9)
    folder = machine.pull(update=True)
    assert folder.manifest.origin["revision"] == LATER
    assert find_damage(folder) == []
    assert machine.listed == ["phi-4-mini"]


def test_two_pulls_of_one_model_do_not_meet(machine: Machine) -> None:
    with Staging(machine.store, CPU.id).lock(), pytest.raises(PullBusy, match="phi-4-mini"):
        machine.pull()
    machine.pull()


def test_a_model_stays_at_its_revision_until_an_update_is_asked_for(
    machine: Machine, hub: HubStandIn
) -> None:
    files = folder_files(CUDA)
    hub.add(CUDA.repo, files, COMMIT)
    assert machine.pull(CUDA).manifest.origin["revision"] == COMMIT
    newer = files | {f"{CUDA.folder}/added_tokens.json": b"{}"}
    hub.add(CUDA.repo, newer, LATER)
    assert machine.puller.plan(MODEL, CUDA).repo.commit == COMMIT
    hub.seen.clear()
    assert machine.pull(CUDA, update=True).manifest.origin["revision"] == LATER
    assert hub.ranges(f"{CUDA.folder}/model.onnx.data") == []  # it is the same file
    assert machine.pull(CUDA, revision=COMMIT).manifest.origin["revision"] == COMMIT


def test_an_interrupted_pull_goes_on_with_the_commit_it_began_with(machine: Machine, hub: HubStandIn) -> None:
    hub.add(CUDA.repo, folder_files(CUDA), COMMIT)
    hub.fail(f"{CUDA.folder}/model.onnx.data", Fault(cut_after=1_000), *[Fault(503)] * 9)
    with pytest.raises(HubUnreachable):
        machine.pull(CUDA)
    hub.faults.clear()
    hub.add(CUDA.repo, folder_files(CUDA, seed=7), LATER)
    assert machine.pull(CUDA).manifest.origin["revision"] == COMMIT
    assert hub.ranges(f"{CUDA.folder}/model.onnx.data")[-1] == "bytes=1000-"


def test_parts_of_another_commit_are_not_mixed_in(machine: Machine, hub: HubStandIn) -> None:
    hub.fail(WEIGHTS, Fault(cut_after=1_000), *[Fault(503)] * 9)
    with pytest.raises(HubUnreachable):
        machine.pull()
    hub.faults.clear()
    hub.add(CPU.repo, folder_files(CPU, seed=7), LATER)
    assert find_damage(machine.pull(revision=LATER)) == []
    assert hub.ranges(WEIGHTS)[-1] == "bytes=0-"


def test_a_file_system_without_links_is_copied_on(
    machine: Machine, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    machine.pull()
    hub.add(CPU.repo, folder_files(CPU) | {f"{CPU.folder}/added_tokens.json": b"{}"}, LATER)
    hub.seen.clear()
    monkeypatch.setattr(os, "link", refuse)
    assert find_damage(machine.pull(update=True)) == []
    assert {seen.name for seen in hub.seen} == {"", f"{CPU.folder}/added_tokens.json"}


def test_a_damaged_model_is_made_whole_by_the_file_that_is_damaged(machine: Machine, hub: HubStandIn) -> None:
    folder = machine.pull()
    _flip(folder.path / "model.onnx")
    (problem,) = find_damage(folder)
    assert "localphi models pull phi-4-mini" in problem.message
    hub.seen.clear()
    assert find_damage(machine.pull()) == []
    assert hub.ranges(WEIGHTS) == []
    assert hub.ranges(f"{CPU.folder}/model.onnx") == ["bytes=0-"]


def test_a_hub_that_cannot_be_reached_is_told_by_its_address(machine: Machine) -> None:
    waits: list[float] = []
    puller = Puller(machine.store, Hub("http://127.0.0.1:9"), waits.append)
    with pytest.raises(HubUnreachable, match=r"http://127\.0\.0\.1:9"):
        puller.plan(MODEL, CPU)
    assert waits == [1]


def test_offline_means_that_nobody_is_asked(
    machine: Machine, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        machine.pull()
    assert hub.seen == []


def test_something_else_at_the_address_is_no_hub(machine: Machine, hub: HubStandIn) -> None:
    puller = Puller(machine.store, Hub(hub.address + "/elsewhere"), machine.waits.append)
    with pytest.raises(HubRefused, match="elsewhere"):
        puller.plan(MODEL, CPU)


def test_an_unknown_revision_is_named(machine: Machine) -> None:
    with pytest.raises(HubRefused, match="no-such-branch"):
        machine.pull(revision="no-such-branch")


def test_a_repository_with_terms_asks_for_a_token(machine: Machine, hub: HubStandIn) -> None:
    source = catalogue().find("phi-2")[0].source("server-cpu")
    hub.add(source.repo, folder_files(source), token="hf_right")
    with pytest.raises(HubRefused, match="HF_TOKEN"):
        machine.pull(source)


@pytest.mark.parametrize("missing", ["genai_config.json", "tokenizer.json", "model.onnx"])
def test_a_repository_without_what_is_needed_is_refused(
    machine: Machine, hub: HubStandIn, missing: str
) -> None:
    files = folder_files(CPU)
    del files[f"{CPU.folder}/{missing}"]
    hub.add(CPU.repo, files, LATER)
    with pytest.raises(HubRefused, match=missing.replace(".", r"\.")):
        machine.pull(revision=LATER)


def test_a_model_of_another_family_is_refused_before_its_weights_are_fetched(
    machine: Machine, hub: HubStandIn
) -> None:
    tokens = replace(PHI_4.prompt_format, control=("<|endoftext|>", "<|end|>"))
    hub.add(CPU.repo, folder_files(CPU, Family(tokens, frozenset())), LATER)
    with pytest.raises(ModelFolderInvalid, match=r"<\|assistant\|>"):
        machine.pull(revision=LATER)
    assert hub.ranges(WEIGHTS) == []


def test_phi_2_is_asked_in_its_own_form(machine: Machine, hub: HubStandIn) -> None:
    model, (source, *_) = catalogue().find("phi-2")
    hub.add(source.repo, folder_files(source))
    prompt_format = machine.pull(source, model).manifest.prompt_format
    messages = [Message("user", "Why?"), Message("assistant", " So."), Message("user", "Really?")]
    assert render(prompt_format, messages, None) == "Instruct: Why?\nOutput: So.\nInstruct: Really?\nOutput:"


def test_a_full_disk_is_told_before_anything_is_fetched(
    machine: Machine, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFull, match="LOCALPHI_HOME"):
        machine.pull()
    assert {seen.name for seen in hub.seen} == {""}


def test_a_disk_that_fills_up_keeps_what_has_come(machine: Machine) -> None:
    class Full(Progress):
        room = 100_000

        def fetched(self, size: int) -> None:
            self.room -= size
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFull, match="kept"):
        machine.puller.pull(machine.puller.plan(MODEL, CPU), Full())
    assert machine.listed == []
    assert interrupted(machine.store)["phi-4-mini"] > 100_000
    assert find_damage(machine.pull()) == []


def test_a_folder_that_is_somebody_elses_is_left_alone(machine: Machine) -> None:
    folder = machine.store.models_dir / CPU.id
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(PullFailed, match=r"localphi\.json"):
        machine.pull()
    assert (folder / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_plan_counts_what_is_here(machine: Machine, hub: HubStandIn) -> None:
    hub.fail(WEIGHTS, Fault(cut_after=100_000), *[Fault(503)] * 9)
    with pytest.raises(HubUnreachable):
        machine.pull()
    plan = machine.puller.plan(MODEL, CPU)
    assert plan.missing_bytes == 200_000
    assert plan.license == "MIT"


def test_what_a_pull_left_can_be_discarded(machine: Machine, hub: HubStandIn) -> None:
    hub.fail(WEIGHTS, Fault(cut_after=100_000), *[Fault(503)] * 9)
    with pytest.raises(HubUnreachable):
        machine.pull()
    assert Staging(machine.store, CPU.id).discard() > 100_000
    assert interrupted(machine.store) == {}
    assert Staging(machine.store, CPU.id).discard() == 0


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # a linked file must not change under its other name
    path.write_bytes(data)


def test_of_all_who_want_a_model_on_a_machine_one_fetches_it(machine: Machine, hub: HubStandIn) -> None:
    """Replicas that start together: the others wait for the first, then have what it has."""
    awaited = threading.Event()
    hub.fail(WEIGHTS, Fault(cut_after=SIZE // 2, on_cut=lambda _: awaited.wait(30)))

    def wait(_: float) -> None:
        awaited.set()
        time.sleep(0.02)

    def want() -> ModelFolder:
        return pull_once(machine.store, Hub(hub.address), CPU.id, wait)

    with ThreadPoolExecutor(3) as pool:
        folders = [each.result(60) for each in [pool.submit(want) for _ in range(3)]]
    assert awaited.is_set()
    assert len({folder.path for folder in folders}) == 1
    assert find_damage(folders[0]) == []
    assert len(hub.ranges(WEIGHTS)) == 2, "once, and once more where it was cut off"
    with pytest.raises(ModelNotFound):
        pull_once(machine.store, Hub(hub.address), "unknown")
