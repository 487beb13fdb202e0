"""What a server tells of those who compute for it, and who reads that: `localphi top` and Grafana."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from localphi.chat import ChatRequest
from localphi.cli import main
from localphi.cli.top import lines, read_metrics
from localphi.config import Settings
from localphi.engine.base import Question, Reply
from localphi.engine.elsewhere import Elsewhere, engines_of
from localphi.engine.far import Call, ReplicaCounts
from localphi.models.store import ModelStore
from serving import ROOT, LiveServer, serving

DASHBOARD = ROOT / "docs" / "grafana.json"
BODY = {"messages": [{"role": "user", "content": "What is WebGPU?"}], "temperature": 0, "max_tokens": 20}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, demo_server: LiveServer) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp("front")
    with serving(Settings(home=home, engine="remote", upstreams=(demo_server.url,))) as server:
        for _ in range(2):
            httpx.post(f"{server.url}/v1/chat/completions", json=BODY, timeout=60, trust_env=False)
        yield server


def _text(server: LiveServer) -> str:
    return httpx.get(f"{server.url}/metrics", trust_env=False).text


def test_each_upstream_has_its_own_numbers(front: LiveServer, demo_server: LiveServer) -> None:
    now = read_metrics(_text(front), 1.0)
    labels = {"model": "localphi-demo", "upstream": demo_server.url}
    assert now.get("localphi_upstream_answers_total", **labels) == 2
    assert now.get("localphi_upstream_first_token_seconds_count", **labels) == 2
    assert 30 <= now.get("localphi_upstream_generated_tokens_total", **labels) <= 40
    assert now.get("localphi_upstream_cached_tokens_total", **labels) > 0
    assert now.get("localphi_upstream_active_answers", **labels) == 0
    assert now.get("localphi_upstream_lost_total", **labels) == 0


def test_the_cache_and_its_use_are_told(front: LiveServer, demo_server: LiveServer) -> None:
    now = read_metrics(_text(front), 1.0)
    assert now.get("localphi_cached_prompt_tokens_total", model="localphi-demo") > 0
    for _ in range(200):
        if read_metrics(_text(demo_server), 1.0).get("localphi_kv_used_ratio", model="localphi-demo") == 0:
            break
    assert "localphi_kv_used_ratio" in _text(demo_server)


def test_top_prints_models_and_upstreams(front: LiveServer, demo_server: LiveServer) -> None:
    told = CliRunner().invoke(main, ["top", "--once", "--url", front.url])
    assert told.exit_code == 0
    rows = [line.split() for line in told.output.splitlines() if line]
    assert rows[0][:3] == ["MODEL", "ACTIVE", "WAITING"]
    assert rows[1][:3] == ["localphi-demo", "0", "0"]
    assert rows[2][0] == "UPSTREAM"
    assert rows[3][:2] == [demo_server.url, "localphi-demo"]
    gone = CliRunner().invoke(main, ["top", "--once", "--url", "http://127.0.0.1:9"])
    assert gone.exit_code == 1
    assert "No server answers" in gone.output


def test_top_tells_rates_between_two_moments() -> None:
    before = read_metrics('localphi_model_loaded{model="m"} 1.0', 10.0)
    now = read_metrics(
        "\n".join(
            (
                "# HELP nothing",
                'localphi_model_loaded{model="m"} 1.0',
                'localphi_generated_tokens_total{model="m"} 50.0',
                'localphi_answers_total{end="stop",model="m"} 4.0',
                'localphi_time_to_first_token_seconds_sum{model="m"} 0.5',
                'localphi_time_to_first_token_seconds_count{model="m"} 2.0',
                'localphi_prompt_tokens_total{model="m"} 10.0',
                'localphi_cached_prompt_tokens_total{model="m"} 5.0',
                'localphi_kv_used_ratio{model="m"} 0.25',
            )
        ),
        12.0,
    )
    row = list(lines(before, now))[1].split()
    assert row == ["m", "0", "0", "25.0", "2.0", "250", "ms", "50%", "25%", "0"]


@dataclass
class _Pool:
    """Two replicas, for those who ask for metrics only."""

    told: tuple[ReplicaCounts, ...]
    failure: None = None

    def replicas(self) -> Sequence[ReplicaCounts]:
        return self.told

    def open(self, request: ChatRequest, lost_at: Sequence[str], full_at: Sequence[str]) -> Call | None:
        raise NotImplementedError

    def reply(self, question: Question) -> Reply:
        raise NotImplementedError


@pytest.fixture(scope="module")
def of_replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A front of two replicas; nobody tells of the second one's KV pool."""
    home = tmp_path_factory.mktemp("replicas")
    one = ReplicaCounts("one", "localphi-demo", 1, 5, 3, 0.25, 10, 8, 900, 300, 160, 2.0, 4.0, 1, 250_000_000)
    pool = _Pool((one, replace(one, replica="two", kv_used=None, active=5)))
    elsewhere = Elsewhere(ModelStore(home), engines_of("ray", lambda _: pool), lambda: None)
    with serving(Settings(home=home, engine="ray"), elsewhere) as server:
        server.engines.get("localphi-demo")
        yield server


def test_each_replica_has_its_own_numbers(of_replicas: LiveServer) -> None:
    now = read_metrics(_text(of_replicas), 1.0)
    where = {"model": "localphi-demo", "replica": "one"}
    expected = {
        "active": 3,
        "queue_length": 2,
        "kv_used_ratio": 0.25,
        "memory_bytes": 250_000_000,
        "answers_total": 8,
        "prompt_tokens_total": 900,
        "cached_tokens_total": 300,
        "generated_tokens_total": 160,
        "decode_seconds_total": 4,
        "first_token_seconds_sum": 2,
        "first_token_seconds_count": 10,
        "restarts_total": 1,
    }
    assert {name: now.get(f"localphi_replica_{name}", **where) for name in expected} == expected
    assert [labels["replica"] for labels in now.labels("localphi_replica_kv_used_ratio")] == ["one"]


def test_top_prints_replicas(of_replicas: LiveServer) -> None:
    told = CliRunner().invoke(main, ["top", "--once", "--url", of_replicas.url])
    rows = [line.split() for line in told.output.splitlines() if line]
    assert rows[-3][0] == "REPLICA"
    assert rows[-2] == ["one", "localphi-demo", "3", "2", "(160)", "(8)", "200", "ms", "33%", "25%", "1"]
    assert rows[-1][0] == "two"


def _expressions(panel: dict[str, Any]) -> Iterator[str]:
    yield from (target["expr"] for target in panel.get("targets", ()))


def test_the_dashboard_asks_for_what_there_is(
    front: LiveServer, demo_server: LiveServer, of_replicas: LiveServer
) -> None:
    dashboard = json.loads(Path(DASHBOARD).read_text(encoding="utf-8"))
    text = "".join(map(_text, (front, demo_server, of_replicas)))
    known = set(re.findall(r"^(localphi_\w+)(?:\{| )", text, re.MULTILINE))
    asked = {
        name
        for panel in dashboard["panels"]
        for expression in _expressions(panel)
        for name in re.findall(r"localphi_\w+", expression)
    }
    assert len(asked) > 8
    assert asked <= known
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
