"""localphi bench --browser"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from localphi import create_app
from localphi.cli.options import settings_from
from localphi.config import Settings
from localphi.doctor import find_browsers
from localphi.errors import BenchFailed
from localphi.models.store import ModelStore
from localphi.server import bind
from localphi.toolchain.bench.browser.drive import BrowserPlan, measure_in_browser
from localphi.toolchain.bench.browser.peers import DEVICES, TRANSFORMERS_JS, TransformersJs

_NAMES = ("Chromium", "Chrome", "Edge")
_TOKENS, _ROUNDS = 16, 3


def bench_browser(
    models: Sequence[str],
    *,
    device: str,
    peers: Sequence[str],
    contexts: tuple[int, ...] | None,
    tokens: int | None,
    rounds: int | None,
    as_json: bool,
    page: Path | None,
    command: str,
) -> None:
    """Measure one model in a browser of this machine, print it, and add it to the page if there is one."""
    if len(models) > 1:
        raise click.UsageError("--browser measures one model at a time.")
    if device not in DEVICES:
        raise click.BadParameter(
            f"--device takes {' or '.join(DEVICES)}, but is '{device}'.", param_hint="--device"
        )
    settings = settings_from()
    folder = ModelStore(settings.home).pin(models[0] if models else settings.model).default()
    # What may be missing is looked for before anything is started.
    browser = _browser()
    found = [
        TransformersJs.found(settings.home / "bench-peers", folder, device)
        for _ in range(TRANSFORMERS_JS in peers)
    ]
    plan = BrowserPlan(device, tokens=tokens or _TOKENS, rounds=rounds or _ROUNDS)
    if contexts is not None:
        plan = BrowserPlan(device, contexts, plan.tokens, plan.rounds)
    with (
        _serving(replace(settings, model=str(folder.path)), found) as url,
        tqdm(total=100, unit="%", leave=False, disable=None) as bar,
    ):

        def told(what: str, share: float) -> None:
            bar.set_description(what)
            bar.update(int(100 * share) - bar.n)

        measured = measure_in_browser(url, browser, plan, found, told)
    weights = folder.manifest.variants["wasm"].weights_bytes if folder.manifest.variants.get("wasm") else 0
    markdown = measured.pop("markdown") + _heap(measured["heap"], weights)
    markdown += f"- `{command}`\n"
    click.echo(
        json.dumps({**measured, "weights_bytes": weights, "command": command}) if as_json else markdown
    )
    if page is not None:
        with page.open("a", encoding="utf-8") as file:
            file.write(f"\n{markdown}")


@contextmanager
def _serving(settings: Settings, peers: Sequence[TransformersJs]) -> Iterator[str]:
    """Serve the model and the page, with the files of the peers beside it; gives the address."""
    if not (settings.page_dir / "bench.html").is_file():
        raise BenchFailed(f"There is no built page in {settings.page_dir}. Run `make serve` once.")
    with tempfile.TemporaryDirectory() as folder:
        page_dir = settings.page_dir
        if peers:
            page_dir = Path(folder) / "page"
            shutil.copytree(settings.page_dir, page_dir)
            for peer in peers:
                peer.put_beside(page_dir)
        app = create_app(replace(settings, page_dir=page_dir))
        server = bind(app, replace(settings, port=0))
        thread = threading.Thread(target=_run, args=(server,), name="bench-server", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.effective_port}"
        finally:
            server.close()
            app.extensions["localphi"].close()
            thread.join(5)


def _run(server: Any) -> None:
    with suppress(OSError):  # closed while its loop was waiting on it
        server.run()


def _browser() -> Path | None:
    """Chromium, Chrome or Edge of this machine; None where only Playwright may have one."""
    found = find_browsers()
    return next((found[name] for name in _NAMES if name in found), None)


def _heap(peaks: dict[str, dict[str, float]], weights: int) -> str:
    said = []
    for phase, name in (("cold", "cold"), ("warm", "from the browser's storage")):
        peak = peaks.get(phase)
        if peak and weights:
            both, heap = peak["with_buffers"], peak["heap"]
            said.append(
                f"- peak of JS heap and buffers in the worker, loading {name}: {both / 1e6:.1f} MB, "
                f"{both / weights:.2f} of the weights (heap alone {heap / 1e6:.1f} MB)\n"
            )
    return "".join(said)
