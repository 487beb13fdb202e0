"""Several models of one server: loaded on demand, unloaded for each other and when nobody wants them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from localphi.chat import ChatRequest, Finished, Message
from localphi.config import Settings
from localphi.engine.client import Engine, Engines
from localphi.engine.memory import default_budget_bytes, estimated_bytes, resident_bytes
from localphi.errors import MemoryInUse, ModelNotFound, ModelTooLarge, RequestAbandoned
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelStore
from serving import DEMO, kill_until_it_fails

MANIFEST = "localphi.json"
NEEDED = estimated_bytes(load_manifest(DEMO), Settings.kv_budget_bytes, Settings.max_active + 8)


def _add_models(home: Path, *ids: str) -> None:
    """Manifests alone: an echo reads no files."""
    document = json.loads((DEMO / MANIFEST).read_text(encoding="utf-8"))
    for model_id in ids:
        folder = home / "models" / model_id
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(json.dumps({**document, "id": model_id}), encoding="utf-8")


@contextmanager
def _engines(home: Path, **settings: Any) -> Iterator[Engines]:
    engines = Engines(ModelStore(home), Settings(home=home, **{"backend": "echo", **settings}))
    try:
        yield engines
    finally:
        engines.close()


def _ask(engines: Engines, model_id: str, text: str = "hi") -> None:
    with engines.get(model_id).submit(ChatRequest((Message("user", text),))) as answer:
        assert isinstance(list(answer)[-1], Finished)


def _loaded(engines: Engines) -> set[str]:
    return {report.model for report in engines.reports() if report.state.status == "loaded"}


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def test_the_least_recently_used_model_makes_room(tmp_path: Path) -> None:
    _add_models(tmp_path, "one", "two", "three")
    with _engines(tmp_path, memory_budget_bytes=NEEDED * 2 + 1000) as engines:
        for model_id in ("one", "two", "one"):
            _ask(engines, model_id)
        assert _loaded(engines) == {"one", "two"}
        pid = engines.get("two").worker_pid
        assert pid is not None
        _ask(engines, "three")
        assert _loaded(engines) == {"one", "three"}
        assert not psutil.pid_exists(pid)
        assert engines.states()["two"].unloads == 1
        _ask(engines, "two")
        assert _loaded(engines) == {"two", "three"}, "one was used before three"


def _while_held(engine: Engine, act: Callable[[], object]) -> None:
    """Do something while the model has a request that is not answered."""
    engine.start()
    pid = engine.worker_pid
    assert pid is not None

    def gone() -> bool:
        act()
        return True

    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RequestAbandoned):
            engine.submit(ChatRequest((Message("user", "hi"),)), gone)
        assert engine.worker_pid == pid
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_model_at_work_is_never_unloaded_for_another(tmp_path: Path) -> None:
    _add_models(tmp_path, "one", "two")
    with _engines(tmp_path, memory_budget_bytes=NEEDED + 1000) as engines:

        def ask_two() -> None:
            with pytest.raises(MemoryInUse, match="in use by one") as caught:
                _ask(engines, "two")
            assert caught.value.retry_after_s > 0
            assert engines.get("two").held == 0

        _while_held(engines.get("one"), ask_two)
        _ask(engines, "two")
        assert _loaded(engines) == {"two"}


def test_a_model_beyond_the_budget_is_refused_with_both_sizes(tmp_path: Path) -> None:
    _add_models(tmp_path, "one")
    with _engines(tmp_path, memory_budget_bytes=10**8) as engines:
        with pytest.raises(
            ModelTooLarge, match=r"'one' may need 0\.\d GB .* budget is 0\.1 GB.*--memory-budget"
        ):
            _ask(engines, "one")
        with pytest.raises(ModelTooLarge):
            engines.get("one").start()
        with pytest.raises(ModelTooLarge):
            engines.check_size("one")
        assert engines.get("one").worker_pid is None
        assert engines.get("one").held == 0


def test_where_nobody_set_a_budget_one_large_model_is_loaded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localphi.engine.client.default_budget_bytes", lambda: 10**8)
    _add_models(tmp_path, "one", "two")
    with _engines(tmp_path) as engines:
        _ask(engines, "one")
        _ask(engines, "two")
        assert _loaded(engines) == {"two"}


def test_a_model_that_nobody_wants_is_unloaded(tmp_path: Path) -> None:
    with _engines(tmp_path, idle_unload_s=0.4) as engines:
        _ask(engines, "localphi-demo")
        (report,) = engines.reports()
        assert report.unloads_in_s is not None
        assert report.unloads_in_s <= 0.4
        pid = engines.get("localphi-demo").worker_pid
        assert pid is not None
        _wait_for(lambda: not engines.reports() and not psutil.pid_exists(pid))
        assert engines.states()["localphi-demo"].unloads == 1
        _ask(engines, "localphi-demo")


def test_a_model_at_work_is_not_idle(tmp_path: Path) -> None:
    with _engines(tmp_path, idle_unload_s=0.05) as engines:
        engine = engines.get("localphi-demo")
        with engine.submit(ChatRequest((Message("user", "hello"),))) as answer:
            time.sleep(0.3)  # the answer is whole, but nobody has taken it
            assert isinstance(list(answer)[-1], Finished)
        with pytest.raises(ModelNotFound):
            engines.report("nope")


def test_the_report_tells_what_a_model_takes(tmp_path: Path) -> None:
    with _engines(tmp_path, idle_unload_s=0) as engines:
        assert engines.reports() == []
        _ask(engines, "localphi-demo")
        (report,) = engines.reports()
        assert (report.model, report.backend, report.state.status) == ("localphi-demo", "echo", "loaded")
        assert report.memory_bytes is not None
        assert 10**7 < report.memory_bytes < 5 * 10**8
        assert report.estimated_bytes == NEEDED
        assert report.idle_s is not None
        assert report.unloads_in_s is None
        kill_until_it_fails(engines.get("localphi-demo"))
        assert engines.report("localphi-demo").memory_bytes is None


def test_the_estimate_is_weights_and_the_most_that_kv_caches_take() -> None:
    manifest = load_manifest(DEMO)
    variant = manifest.variants["server-cpu"]
    one = estimated_bytes(manifest, 2**40, 1)
    assert estimated_bytes(manifest, 2**40, 2) - one == 2048 * variant.kv_bytes_per_token
    assert estimated_bytes(manifest, 1000, 2) < one
    assert estimated_bytes(manifest, 2**40, 1, graphs=2) - one == variant.weights_bytes
    assert default_budget_bytes() < psutil.virtual_memory().total
    assert resident_bytes(None) is None


def test_weights_are_loaded_for_both_graphs_where_the_budget_has_room_for_them(tmp_path: Path) -> None:
    weights = load_manifest(DEMO).variants["server-cpu"].weights_bytes
    for budget, roomy in ((NEEDED, False), (NEEDED + weights - 1, False), (NEEDED + weights, True)):
        with _engines(tmp_path, backend="auto", memory_budget_bytes=budget) as engines:
            assert engines.get("localphi-demo").spec.roomy == roomy
            assert engines.report("localphi-demo").estimated_bytes == NEEDED + roomy * weights
    with _engines(tmp_path, backend="paged") as engines:
        assert not engines.get("localphi-demo").spec.roomy


def test_the_estimate_is_not_below_what_the_demo_really_takes(tmp_path: Path) -> None:
    with _engines(tmp_path, backend="generator") as engines:
        for number in range(12):
            _ask(engines, "localphi-demo", f"{number} What is localphi?")
        (report,) = engines.reports()
        assert report.memory_bytes is not None
        assert report.memory_bytes <= report.estimated_bytes


def test_memory_comes_back_with_every_unload(tmp_path: Path) -> None:
    """Of the server's process and all that it has started; the bench does it 20 times."""
    shutil.copytree(DEMO, tmp_path / "models" / "localphi-demo")
    with _engines(tmp_path, backend="generator") as engines:
        engine = engines.get("localphi-demo")
        sizes = []
        for _ in range(4):
            _ask(engines, "localphi-demo")
            engine.unload()
            sizes.append(_family_bytes())
        assert sizes[-1] < sizes[0] * 1.1
        assert engine.state.loads == 4


def _family_bytes() -> int:
    us = psutil.Process()
    return sum(process.memory_info().rss for process in (us, *us.children(recursive=True)))
