"""localphi bench: what it asks, what it makes of the moments, and that it runs. No figure is judged here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from localphi.cli import main
from localphi.errors import BenchFailed
from localphi.toolchain.bench.answers import Timed, Together
from localphi.toolchain.bench.measure import measure, total_work
from localphi.toolchain.bench.plan import IDS, PHI3_POST, Lengths, Plan, Prompts, Streams
from localphi.toolchain.bench.report import Spread
from localphi.toolchain.bench.targets import DoesNotFit, HttpTarget, serve_command, started
from serving import LiveServer

TINY = ("--prompts", "4,8", "--generate", "2,4", "--streams", "1,2", "--rounds", "2", "--threads", "2")


def _bench(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["bench", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_demo_is_measured_in_every_part_as_one_line_of_json(tmp_path: Path) -> None:
    picture = tmp_path / "bench.svg"
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'toolchain')")
    (line,) = _bench(*TINY, "--json", "--plot", str(picture)).splitlines()
    told = json.loads(line)
    assert told["cores"] >= 1
    assert "onnxruntime-genai" in told["versions"]
    cells = [(row["prompt"], row["generate"]) for row in told["lengths"]]
    assert cells == [(4, 2), (4, 4), (8, 2), (8, 4)]
    for row in told["lengths"]:
        assert row["target"] == "localphi-demo"
        assert "note" not in row, "every answer goes on to its length"
        for name in ("ttft_ms", "decode_tokens_per_s", "tokens_per_s"):
            median, least, most = row[name]
            assert 0 < least <= median <= most
    assert [row["streams"] for row in told["streams"]] == [1, 2]
    assert all(row["ttft_slowest_ms"][0] >= row["ttft_median_ms"][0] for row in told["streams"])
    (prefix,) = told["prefix"]
    assert prefix["shared_of_cold"][0] > 0
    assert [row["target"] for row in told["http"]] == ["localphi-demo", "localphi-demo, no HTTP"]
    assert "added_ms_per_token" in told["http"][0]
    assert "<svg" in picture.read_text(encoding="utf-8")


def test_a_running_server_is_measured_by_its_address_and_nothing_is_started(
    live_server: LiveServer, tmp_path: Path
) -> None:
    """The echo backend says the prompt again, so an answer may be shorter than was wanted; that is told."""
    page = tmp_path / "speed.md"
    page.write_text("# Speed\n", encoding="utf-8")
    url = ("--url", f"echo={live_server.url}")
    table = _bench(*TINY, "--only", "lengths", "--prompts", "3,4000", *url, "--report", str(page))
    assert page.read_text(encoding="utf-8").startswith("# Speed\n\n## 20")
    assert table.strip() in page.read_text(encoding="utf-8")
    assert "echo: one answer" in table
    assert "ended after 3 tokens" in table
    assert "longer than the context" in table
    assert "localphi-demo" not in table


def test_a_server_that_is_not_there_is_named() -> None:
    done = CliRunner().invoke(main, ["bench", *TINY, "--url", "gone=http://127.0.0.1:9/v1"])
    assert done.exit_code == 1
    assert "gone at http://127.0.0.1:9/v1 does not answer" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompts", "16,x"], "is not a list of whole numbers"),
        (["--streams", "0"], "outside 1 to 64"),
        (["--url", "ftp://x"], "does not begin with http://"),
        (["--plot", "bench.jpg"], "must end in .png or .svg"),
        (["--plot", "nowhere/bench.png"], "There is no folder nowhere"),
        (["--report", "nowhere/speed.md"], "There is no folder nowhere"),
        (["no-such-model"], "There is no model 'no-such-model'"),
    ],
)
def test_bad_input_is_told_before_anything_is_measured(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["bench", *arguments])
    assert done.exit_code != 0
    assert said in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process at once on Windows")
def test_a_bench_that_is_ended_leaves_no_server_behind(tmp_path: Path) -> None:
    """It notes the address of its server instead of asking it; nobody is there once the bench is gone."""
    note = tmp_path / "address"
    code = (
        "import sys, time; from pathlib import Path; from localphi.toolchain.bench import targets\n"
        "def ask(self, prompt, tokens): Path(sys.argv[1]).write_text(self.url); time.sleep(60)\n"
        "targets.HttpTarget.ask = ask\n"
        "from localphi.cli import main; main(['bench'])"
    )
    bench = subprocess.Popen([sys.executable, "-c", code, str(note)])
    try:
        while not note.exists() or not note.read_text():
            assert bench.poll() is None
            time.sleep(0.05)
        bench.terminate()
        assert bench.wait(60) == 128 + signal.SIGTERM
    finally:
        bench.kill()
    with pytest.raises(BenchFailed, match="does not answer"):
        HttpTarget("left behind", note.read_text()).ask([300], 1)


def test_a_model_that_the_server_refuses_is_told_in_the_servers_words(tmp_path: Path) -> None:
    command = serve_command(str(tmp_path / "nothing"))
    with pytest.raises(BenchFailed, match=r"did not start: .*There is no model"), started(command, "x"):
        pass


def test_the_table_of_the_post_has_its_rows_and_columns() -> None:
    assert PHI3_POST.cells() == [Lengths(16, 2048), Lengths(32, 2048), Lengths(64, 2048)]
    assert PHI3_POST.generate == (256, 512, 1024, 2048)


def test_prompts_have_their_length_and_share_only_what_they_should() -> None:
    prompts = Prompts()
    one, other = prompts.new(40), prompts.new(40)
    assert len(one) == len(other) == 40
    assert one[:4] != other[:4]
    assert set(one) <= set(IDS)
    alike = prompts.alike(30, 10)
    left, right = next(alike), next(alike)
    assert left[:30] == right[:30]
    assert left[30:] != right[30:]


def test_one_answer_tells_the_speed_of_its_first_tokens() -> None:
    answer = Timed(10.0, (11.0, 11.5, 12.0, 12.5), 12.5, 4)
    assert answer.ttft_s == 1.0
    assert answer.tokens_per_s(2) == pytest.approx(2 / 1.5)
    assert answer.decode_tokens_per_s() == pytest.approx(2.0)
    assert answer.tokens_per_s(5) is None
    assert answer.decode_tokens_per_s(1) is None


def test_tokens_without_text_are_counted_all_the_same() -> None:
    answer = Timed(0.0, (1.0, 3.0), 4.0, 6)
    assert answer.decode_tokens_per_s() == pytest.approx(5 / 3)
    assert [answer.token_s(number) for number in (1, 2, 5, 6)] == [1.0, 1.0, 3.0, 4.0]
    assert Timed(0.0, (), 2.0, 3).ttft_s == 2.0, "an answer without any text"


def test_answers_that_wait_for_others_never_decode_together() -> None:
    early, late = Timed(0.0, (1.0, 2.0), 2.0, 2), Timed(0.0, (3.0, 4.0), 4.0, 2)
    both = Together((early, late))
    assert both.steady_tokens_per_s is None
    assert both.decode_tokens_per_s == pytest.approx(2 / 3)
    assert both.ttfts_s == [1.0, 3.0]
    beside = Together((early, Timed(0.0, (1.0, 2.0), 2.0, 2)))
    assert beside.steady_tokens_per_s == pytest.approx(2.0)


def test_a_spread_leaves_out_what_was_not_measured() -> None:
    assert Spread.of([3.0, None, 1.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([None]) is None


class _Clockwork:
    """Answers at once, and notes how many are asked at the same time."""

    name = "clockwork"

    def __init__(self, longest: int = 1000) -> None:
        self.asked: list[tuple[int, int]] = []
        self.most = self._now = 0
        self._longest = longest
        self._lock = threading.Lock()
        self._meeting = threading.Barrier(3)

    def ask(self, prompt: Sequence[int], max_tokens: int) -> Timed:
        if len(prompt) > self._longest:
            raise DoesNotFit
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.asked.append((len(prompt), max_tokens))
        if max_tokens == 7:  # those of the streams: all three must have come
            self._meeting.wait(10)
        with self._lock:
            self._now -= 1
        return Timed(0.0, (1.0, 2.0), 2.0, max_tokens)


def test_rounds_ask_every_cell_and_the_bar_reaches_its_end() -> None:
    target = _Clockwork(longest=600)
    plan = Plan(("lengths", "streams", "prefix", "http"), (5, 601), (2, 6), (3,), 7, 2)
    heard = 0

    def told(_: str, done: int) -> None:
        nonlocal heard
        heard += done

    measured = measure([target], plan, told, {target.name: target})
    assert heard == total_work(1, 1, plan)
    assert target.most == 3
    by_cell = {job.cell: job for job in measured}
    assert len(by_cell[Lengths(5, 6)].answers) == 2
    assert by_cell[Lengths(601, 6)].too_long
    assert len(by_cell[Streams(3, 7)].together) == 2
    assert target.asked.count((512, 8)) == 2 * 4


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("authorization") != "Bearer secret":
            self._answer(401, {"error": {"message": "no key"}})
        else:
            self._answer(200, None)

    def _answer(self, status: int, document: Any) -> None:
        self.send_response(status)
        self.end_headers()
        events = [{"choices": [{"text": "a"}]}, {"error": {"message": "the model broke"}}]
        text = json.dumps(document) if document else "".join(f"data: {json.dumps(e)}\n\n" for e in events)
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_what_a_server_refuses_or_breaks_off_is_an_error_not_a_figure(refusing: str) -> None:
    with pytest.raises(BenchFailed, match=r"answered 401: .*no key"):
        HttpTarget("peer", refusing).ask([1, 2], 3)
    with pytest.raises(BenchFailed, match="the model broke"):
        HttpTarget("peer", refusing, key="secret").ask([1, 2], 3)
