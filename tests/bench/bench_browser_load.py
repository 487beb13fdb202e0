"""Memory and time that the page takes to load a model with much external data, cold and from its storage.

The model is a one-layer decoder with random tables beside it, of which it reads a row each. JS heap is what
V8 counts in the model's worker while the page loads (`Runtime.getHeapUsage`), without and with the buffers
outside its heap; a worker that computes is sampled late. The renderer's peak is the kernel's (Linux), with
everything: code, WebAssembly's memory, and with it the weights where WASM computes.

    python tests/bench/bench_browser_load.py [--device wasm|webgpu] [--megabytes 300] [--page static/dist]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "browser")]

from browsing import FLAGS
from find_browser import find
from localphi.config import Settings, available_threads, default_page_dir
from localphi.models.manifest import Variant, describe_file, write_manifest
from localphi.toolchain.bench.browser.heap import HeapWatch
from serving import serving
from tiny_phi import PHI_3, tiny_phi

TABLES = 12
SAMPLE_MS = 10
_DATA = "model.onnx.data"


def make_model(folder: Path, megabytes: int) -> int:
    """A decoder with that much external data in `folder`; the bytes of the data."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True)
    manifest = tiny_phi(folder, PHI_3)
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    vocabulary = next(each.dims[0] for each in graph.initializer if each.name == "embedding")
    width = megabytes * 1_000_000 // TABLES // 4 // vocabulary
    random = np.random.default_rng(0)
    graph.node[-1].output[0] = "small_logits"
    graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "last_axis"))
    graph.initializer.append(numpy_helper.from_array(np.array(1e-30, np.float32), "almost_nothing"))
    total = "small_logits"
    for number in range(TABLES):
        table = random.random((vocabulary, width), np.float32)
        graph.initializer.append(numpy_helper.from_array(table, f"table{number}"))
        node = helper.make_node
        graph.node.extend(
            [
                node("Gather", [f"table{number}", "input_ids"], [f"row{number}"]),
                node("ReduceSum", [f"row{number}", "last_axis"], [f"sum{number}"], keepdims=1),
                node("Mul", [f"sum{number}", "almost_nothing"], [f"little{number}"]),
                node("Add", [total, f"little{number}"], [f"total{number}"]),
            ]
        )
        total = f"total{number}"
    graph.node[-1].output[0] = graph.output[0].name
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=_DATA,
        size_threshold=1_000_000,
    )
    names = [*manifest.files, _DATA]
    size = (folder / _DATA).stat().st_size
    variant = Variant(tuple(names), size, 64, None)
    files = {name: describe_file(folder / name) for name in names}
    variants = {"wasm": variant, "webgpu-f32": variant}
    write_manifest(folder, replace(manifest, files=files, variants=variants))
    return size


def renderer_peak(browser: Browser) -> float | None:
    """Bytes that the largest renderer process has taken at most; None where the kernel does not tell."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    peaks = []
    for process in found:
        status = Path(f"/proc/{process['id']}/status")
        if process["type"] == "renderer" and status.is_file():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            peaks.append(int(lines["VmHWM"].split()[0]) * 1024)
    session.detach()
    return max(peaks, default=None)


def load(context: BrowserContext, url: str, device: str) -> dict[str, Any]:
    """One visit: seconds until the page is ready, and the peaks meanwhile."""
    page: Page = context.new_page()
    watch = HeapWatch(context.new_cdp_session(page))
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    while not page.locator("[data-state=ready]").count():
        watch.sample()
        page.wait_for_timeout(SAMPLE_MS)
        if time.perf_counter() - start > 300:
            raise SystemExit(page.locator("body").inner_text())
    seconds = time.perf_counter() - start
    used = page.locator("[data-device]").first.get_attribute("data-device")
    if used != device:
        raise SystemExit(f"wanted {device}, but it ran on {used}: {page.locator('body').inner_text()}")
    assert context.browser is not None
    peak = renderer_peak(context.browser)
    page.close()
    return {"seconds": round(seconds, 2), "renderer_peak": peak, **watch.peaks[""]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("wasm", "webgpu"), default="webgpu")
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--page", type=Path, default=default_page_dir(), help="a built page to compare with")
    options = parser.parse_args()
    path = find()
    if path is None:
        raise SystemExit("no browser: run `make browser`")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        size = make_model(Path(folder) / "models" / "tables", options.megabytes)
        visits = {}
        with serving(Settings(home=Path(folder), page_dir=options.page.resolve())) as server:
            profile = {"executable_path": str(path), "args": ["--headless=new", *FLAGS]}
            url = f"{server.url}/?device={options.device}&model=tables"
            for name in ("cold", "stored"):  # a browser each, for a peak of its own
                visits[name] = _visit(playwright, Path(folder) / "profile", profile, url, options.device)
    _report(options.device, size, visits)


def _visit(playwright: Any, folder: Path, profile: Any, url: str, device: str) -> dict[str, Any]:
    with playwright.chromium.launch_persistent_context(folder, **profile) as context:
        return load(context, url, device)


def _report(device: str, size: int, visits: dict[str, dict[str, Any]]) -> None:
    print(f"{device}, {size / 1e6:.0f} MB of weights; peaks as shares of that")
    print(f"{'visit':<8}{'seconds':>9}{'JS heap':>9}{'and buffers':>13}{'renderer':>10}{'samples':>9}")
    for name, visit in visits.items():
        shares = [(visit.get(key) or 0) / size for key in ("heap", "with_buffers", "renderer_peak")]
        heap, buffers, renderer = (f"{share:.2f}" for share in shares)
        line = f"{name:<8}{visit['seconds']:>9.2f}{heap:>9}{buffers:>13}{renderer:>10}"
        print(f"{line}{visit.get('samples', 0):>9}")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    versions = {"playwright": version("playwright")}
    print(
        json.dumps(
            {"bench": "browser_load", "device": device, "bytes": size, **visits, **machine, **versions}
        )
    )


if __name__ == "__main__":
    main()
