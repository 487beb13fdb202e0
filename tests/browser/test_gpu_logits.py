"""The kernel that finds the largest logits, against plain JavaScript, on a real (software) adapter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from serving import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.complaints(".")]

ADDRESS = "http://localhost/kernel/"  # never connected to: the routes below answer
BUNDLE = """
import { build } from 'vite';
const [entry, outDir] = process.argv.slice(-2);
const lib = { entry, formats: ['es'], fileName: () => 'kernel.mjs' };
await build({ configFile: false, logLevel: 'error', build: { lib, outDir, minify: false } });
"""
FIND = """async ([seed, size, special, positions, count, temperature, half]) => {
  const { HeadFinder, GpuLogits } = await import('/kernel/kernel.mjs');
  const adapter = await navigator.gpu.requestAdapter();
  const gpu = await adapter.requestDevice();
  let state = seed;
  const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  const rows = Float32Array.from({ length: positions * size }, () => Math.round(random() * 4000) / 100 - 20);
  const row = rows.subarray((positions - 1) * size);
  for (const [at, value] of special) row[at] = { nan: NaN, inf: Infinity, low: -Infinity }[value] ?? value;
  if (half) rows.forEach((value, i) => (rows[i] = Math.f16round(value)));
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const bytes = new Uint8Array(Math.ceil(rows.byteLength / 4) * 4);
  bytes.set(new Uint8Array((half ? Float16Array.from(rows) : rows).buffer));
  const buffer = gpu.createBuffer({ size: bytes.byteLength, usage });
  gpu.queue.writeBuffer(buffer, 0, bytes);
  const logits = new GpuLogits(new HeadFinder(gpu, size, half), buffer, positions - 1, size);
  const order = [...row.keys()].sort((a, b) => row[b] - row[a] || a - b);
  const peak = row[order[0]];
  const total = row.reduce((sum, logit) => sum + Math.exp((logit - peak) / temperature), 0);
  try {
    const head = await logits.head(count, temperature);
    const again = await logits.head(1, 1);
    const all = await logits.all();
    return {
      ids: head.ids, first: again.ids, wanted: order.slice(0, count), ratio: head.total / total,
      same: head.ids.every((id, i) => Object.is(head.logits[i], row[id]) || head.logits[i] === row[id]),
      whole: all.every((logit, i) => Object.is(logit, row[i])),
    };
  } catch (error) {
    return { error: error.name };
  } finally {
    gpu.destroy();
  }
}"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The module as browsers read it."""
    folder = tmp_path_factory.mktemp("kernel")
    entry = ROOT / "static" / "worker" / "runtime" / "gpu-logits.ts"
    command = ["node", "--input-type=module", "-e", BUNDLE, str(entry), str(folder)]
    subprocess.run(command, cwd=ROOT / "static", check=True, timeout=120)
    return (Path(folder) / "kernel.mjs").read_text(encoding="utf-8")


@pytest.fixture
def page(browser: Browser, kernel: str) -> Page:
    page = browser.new_page()

    def answer(route: Route) -> None:
        script = route.request.url.endswith(".mjs")
        kind, body = (
            ("text/javascript", kernel) if script else ("text/html", "<!doctype html><title>kernel</title>")
        )
        route.fulfill(content_type=kind, body=body)

    page.route("**/*", answer)
    page.goto(ADDRESS)
    return page


CASES = {
    "a few": (5, [], 1, 5),
    "one segment": (2048, [], 1, 64),
    "a little more than one": (2049, [(2048, 50)], 3, 64),
    "equals": (3072, [(at, 30) for at in range(100, 3000, 7)], 2, 64),
    "a large vocabulary": (200_064, [(200_063, 21), (2047, 21), (2048, 21)], 1, 64),
    "barred": (70, [(at, "low") for at in range(60)], 1, 64),
    "tiny": (9, [(at, (at - 4) * 2.0**-24) for at in range(9)], 3, 9),
    "minus zero": (10, [(0, -0.0), (1, 0.0), *((at, -1.0) for at in range(2, 10))], 1, 2),
}


@pytest.mark.parametrize(
    ("name", "temperature", "half"),
    [
        *((name, temperature, False) for name in CASES for temperature in (1.0, 0.3)),
        *((name, 1.0, True) for name in ("tiny", "a little more than one", "minus zero")),
    ],
)
def test_the_head_is_that_of_a_sort(page: Page, name: str, temperature: float, half: bool) -> None:
    size, special, positions, count = CASES[name]
    found = page.evaluate(FIND, [7, size, special, positions, count, temperature, half])
    assert found.get("error") is None, found
    assert found["ids"] == found["wanted"]
    assert found["first"] == found["wanted"][:1]
    assert found["same"]
    assert found["whole"]
    assert found["ratio"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("value", "half"), [("nan", False), ("inf", False), ("nan", True)])
def test_nonsense_is_noticed_wherever_it_lies(page: Page, value: str, half: bool) -> None:
    for at in (0, 2999):
        assert page.evaluate(FIND, [7, 3000, [(at, value)], 1, 8, 1.0, half]) == {"error": "RangeError"}


def test_a_vocabulary_without_a_finite_logit_is_nonsense(page: Page) -> None:
    barred = json.loads(json.dumps([(at, "low") for at in range(9)]))
    assert page.evaluate(FIND, [7, 9, barred, 1, 4, 1.0]) == {"error": "RangeError"}
