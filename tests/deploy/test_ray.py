"""localphi on Ray Serve: replicas are killed, updated and flooded, and clients notice nothing, or a 429.

All tests share one Ray of two nodes, with a replica of the demo model on each. Without Ray they are skipped
(pip install 'localphi[ray]'). Ray is given time, for its processes come up slowly where there is other work;
whatever is waited for, a limit ends it.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from localphi.cli.top import read_metrics
from localphi.config import Settings, ray_on_loopback
from localphi.engine.far import ReplicaCounts
from serving import VECTORS, serving

_FOLDER = tempfile.TemporaryDirectory()
ray_on_loopback(Path(_FOLDER.name) / "token")
os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"  # 5 s, then it is killed and begun again
os.environ["RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S"] = "60"
pytest.importorskip("ray", reason="Ray is not installed: pip install 'localphi[ray]'")

with warnings.catch_warnings(action="ignore"):  # Ray's own, of pydantic
    import ray
    from ray.cluster_utils import Cluster as RayCluster
    from ray.serve.schema import ServeDeploySchema

    from localphi.deploy import config, ray_serve
    from localphi.deploy.scale import Scale
    from localphi.deploy.values import plain

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::FutureWarning"),
]
PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
CASE = PARITY["cases"][0]
LONG = {"messages": CASE["messages"], "temperature": 0, "max_tokens": 160, "ignore_eos": True}
TWO = Scale(min_replicas=2, max_replicas=2, max_queued=16, num_cpus=1)
NODE = {
    "num_cpus": 2,
    "object_store_memory": 128 * 1024**2,
    "node_ip_address": "127.0.0.1",
    "include_dashboard": False,
}


@dataclass(frozen=True)
class Cluster:
    url: str
    engine: Any
    settings: Settings
    proxy_port: int


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), engine="ray", threads=1, max_requests=96)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nodes = RayCluster(initialize_head=True, head_node_args=NODE)
    nodes.add_node(**NODE)
    ray.init(address=nodes.address, logging_level=logging.ERROR, log_to_driver=False)
    with serving(settings, ray_serve.start(settings, TWO, port)) as server:
        engine: Any = server.engines.get("localphi-demo")
        yield Cluster(server.url, engine, settings, port)
    nodes.shutdown()
    for each in gc.get_objects():  # Ray does not wait for the processes that it has ended
        if isinstance(each, subprocess.Popen):
            each.poll()


def _ask(url: str, body: dict[str, Any], reached: Any = lambda: None) -> tuple[int, str, Any]:
    """Status, text, and the last document of a streamed answer. reached: called when it has begun."""
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    text, last = "", None
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, timeout=90, trust_env=False
    ) as response:
        if response.status_code != 200:
            return response.status_code, response.headers.get("Retry-After", ""), json.loads(response.read())
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            last = json.loads(line[6:])
            for choice in last.get("choices", ()):
                piece = choice["delta"].get("content") or ""
                if piece and text:
                    reached()
                text += piece
    return 200, text, last


def _replicas() -> list[psutil.Process]:
    """Processes of the replicas that this process's Ray runs."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ServeReplica:localphi:Replica" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _told(cluster: Cluster, enough: Callable[[list[ReplicaCounts]], bool]) -> list[ReplicaCounts]:
    """What both replicas have said of themselves, as soon as it is enough; they say it every two seconds."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        told = list(cluster.engine.replicas())
        if len(told) == 2 and enough(told):
            return told
        time.sleep(0.1)
    raise AssertionError(f"never was it enough: {told}")


def _answers(counts: ReplicaCounts) -> int:
    return counts.answers


def test_an_answer_is_the_one_of_one_machine(cluster: Cluster) -> None:
    body = {"messages": CASE["messages"], "temperature": 0, "max_tokens": PARITY["max_tokens"]}
    status, text, last = _ask(cluster.url, body)
    assert (status, text) == (200, CASE["text"])
    assert last["usage"]["completion_tokens"] > 1
    ready = httpx.get(f"{cluster.url}/readyz", trust_env=False).json()
    assert ready["worker"] == "loaded"
    tokens = httpx.post(f"{cluster.url}/tokenize", json={"content": "Hello"}, trust_env=False).json()
    assert tokens["tokens"]
    wrong = httpx.post(
        f"{cluster.url}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "word " * 5000}]},
        timeout=60,
        trust_env=False,
    )
    assert wrong.json()["error"]["code"] == "context_length_exceeded"


def test_the_replicas_are_on_two_nodes(cluster: Cluster) -> None:
    assert len({process.ppid() for process in _replicas()}) == 2, "each is the child of its node's raylet"


def test_a_conversation_goes_back_to_the_replica_that_has_its_beginning(cluster: Cluster) -> None:
    for number in range(12):
        first = {"role": "user", "content": f"Question {number}: what is WebGPU, and who needs it? " * 4}
        _, text, _ = _ask(cluster.url, {"messages": [first], "temperature": 0, "max_tokens": 8})
        again = [first, {"role": "assistant", "content": text}, {"role": "user", "content": "And why?"}]
        _, _, last = _ask(cluster.url, {"messages": again, "temperature": 0, "max_tokens": 4})
        assert last["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert all(each.answers for each in _told(cluster, lambda told: sum(map(_answers, told)) >= 24))


def test_who_leaves_ends_the_answer_in_its_replica(cluster: Cluster) -> None:
    body = LONG | {"max_tokens": 1800, "stream": True}
    with httpx.stream(
        "POST", f"{cluster.url}/v1/chat/completions", json=body, timeout=60, trust_env=False
    ) as response:
        lines = response.iter_lines()
        for _ in range(8):
            next(lines)
        _told(cluster, lambda told: sum(each.held for each in told) == 1)
    _told(cluster, lambda told: not any(each.held for each in told))


def test_prometheus_has_the_numbers_of_each_replica(cluster: Cluster) -> None:
    text = httpx.get(f"{cluster.url}/metrics", timeout=60, trust_env=False).text
    now = read_metrics(text, 1.0)
    replicas = now.labels("localphi_replica_kv_used_ratio")
    assert len(replicas) == 2
    for where in replicas:
        assert now.get("localphi_replica_answers_total", **where) > 0
        assert now.get("localphi_replica_cached_tokens_total", **where) > 0
        assert now.get("localphi_replica_memory_bytes", **where) > 1e7


def test_too_many_are_told_when_to_come_back(cluster: Cluster) -> None:
    """56 long answers at once, where two replicas have ten each and 16 may wait; they leave as soon as
    one is refused and the replicas are full."""
    refusing, done = threading.Event(), threading.Event()

    def client(_: int) -> tuple[int, int, Any]:
        body = LONG | {"max_tokens": 1800, "stream": True}
        with httpx.stream(
            "POST", f"{cluster.url}/v1/chat/completions", json=body, timeout=90, trust_env=False
        ) as response:
            if response.status_code != 200:
                refusing.set()
                return response.status_code, int(response.headers["Retry-After"]), json.loads(response.read())
            for _line in response.iter_lines():
                if done.is_set():
                    break
        return 200, 0, None

    with ThreadPoolExecutor(56) as pool:
        clients = [pool.submit(client, number) for number in range(56)]
        try:
            assert refusing.wait(60)
            _told(cluster, lambda told: all(each.held == 10 for each in told))
        finally:
            done.set()
        told = [each.result(90) for each in clients]
    refused = [(again_s, document) for status, again_s, document in told if status != 200]
    assert {status for status, _, _ in told} == {200, 429}
    assert all(1 <= again_s <= 60 for again_s, _ in refused)
    assert {document["error"]["code"] for _, document in refused} == {"queue_full"}


def test_the_configuration_runs_behind_rays_own_proxy(cluster: Cluster, tmp_path: Path) -> None:
    """What `localphi deploy config` prints, but on a free port: the API and a stream through Ray's proxy."""
    from ray import serve

    document = config.document(cluster.settings.model, Scale(1, 1, num_cpus=0.1))
    (application,) = document["applications"]
    args = application["args"] | {"home": str(tmp_path), "threads": 1}
    serve.run(ray_serve.application(args), name="whole", route_prefix="/")
    try:
        url = f"http://127.0.0.1:{cluster.proxy_port}"
        body = {"messages": CASE["messages"], "temperature": 0, "max_tokens": PARITY["max_tokens"]}
        status, text, last = _ask(url, body)
        assert (status, text) == (200, CASE["text"])
        assert "usage" in last
        assert httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"] == "localphi-demo"
        foreign = httpx.get(f"{url}/v1/models", headers={"Host": "evil.example"}, trust_env=False)
        assert foreign.status_code == 403
        ServeDeploySchema.model_validate(document)
    finally:
        serve.delete("whole")


def test_a_killed_replica_loses_no_answer(cluster: Cluster) -> None:
    """kill -9 under 16 streams: all are completed, and greedy ones with the tokens of an undisturbed run."""
    questions = [f"What is WebGPU? Number {number}." for number in range(16)]
    bodies = [LONG | {"messages": [{"role": "user", "content": question}]} for question in questions]
    with ThreadPoolExecutor(16) as pool:
        undisturbed = list(pool.map(lambda body: _ask(cluster.url, body), bodies))
        begun = threading.Semaphore(0)
        answers = [pool.submit(_ask, cluster.url, body, begun.release) for body in bodies]
        for _ in range(64):
            begun.acquire(timeout=30)
        os.kill(_replicas()[0].pid, signal.SIGKILL)
        told = [answer.result(90) for answer in answers]
    assert [status for status, _, _ in told] == [200] * 16
    assert [text for _, text, _ in told] == [text for _, text, _ in undisturbed]
    assert all("error" not in last for _, _, last in told)
    assert cluster.engine.state.restarts > 0


def test_an_update_under_load_fails_nobody(cluster: Cluster, tmp_path: Path) -> None:
    """Every replica is replaced by one with other settings, while four clients ask without a pause."""
    before = {process.pid for process in _replicas()}
    done = threading.Event()

    def client(number: int) -> list[int]:
        statuses = []
        while not done.is_set():
            status, _, last = _ask(cluster.url, LONG | {"max_tokens": 40})
            statuses.append(500 if status == 200 and "error" in last else status)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            other = replace(cluster.settings, home=tmp_path, max_active=4)
            ray_serve.deploy(plain(other), replace(TWO, drain_s=20))
        finally:
            done.set()
        statuses = [status for each in clients for status in each.result(60)]
    assert set(statuses) == {200}
    assert len(statuses) > 8
    end_s = time.monotonic() + 10
    while (left := before & {process.pid for process in _replicas()}) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not left


def test_nobody_without_rays_token_is_answered(cluster: Cluster) -> None:
    """Replicas listen on every address, and Ray leaves no choice: its token is what keeps others out."""
    import grpc

    ports = [
        connection.laddr.port
        for process in _replicas()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip in ("::", "0.0.0.0")
    ]
    assert ports
    for port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as error:
                call(b"", timeout=5)
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
