"""localphi bench"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click
from tqdm import tqdm

from localphi.cli.options import backend_option, provider_option, settings_from
from localphi.config import MAX_THREADS, Settings
from localphi.models.store import ModelFolder, ModelStore
from localphi.toolchain.bench.plan import PARTS, PHI3_POST, QUICK, Part, Plan
from localphi.toolchain.bench.targets import EngineTarget, HttpTarget, Target, serve_command, started

_MOST_TOKENS = 131_072
_MOST_STREAMS = 64


def _numbers(most: int) -> Callable[[click.Context, click.Parameter, str | None], tuple[int, ...] | None]:
    """What reads an option: whole numbers up to `most` with commas between them, in rising order."""

    def read(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
        if text is None:
            return None
        try:
            numbers = sorted({int(number) for number in text.split(",")})
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a list of whole numbers such as 16,64,512.") from None
        if numbers[0] < 1 or numbers[-1] > most:
            raise click.BadParameter(f"{text!r} has numbers outside 1 to {most}.")
        return tuple(numbers)

    return read


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--quick", is_flag=True, help="Fewer lengths, fewer streams, two rounds.")
@click.option(
    "--table",
    type=click.Choice(["phi3-post"]),
    help="The table of ONNX Runtime's post on Phi-3: prompts of 16, 32, 64, answers of 256 to 2048 tokens.",
)
@click.option(
    "--only", type=click.Choice(PARTS), multiple=True, help="Measure this part only; may be given again."
)
@click.option("--prompts", callback=_numbers(_MOST_TOKENS), metavar="N,…", help="Lengths of the prompts.")
@click.option("--generate", callback=_numbers(_MOST_TOKENS), metavar="N,…", help="Lengths of the answers.")
@click.option("--streams", callback=_numbers(_MOST_STREAMS), metavar="N,…", help="Answers at the same time.")
@click.option("--rounds", type=click.IntRange(1, 100), help="How often everything is measured, in turn.")
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="[NAME=]URL",
    help="Measure this running OpenAI-compatible server, too; alone when no MODEL is named.",
)
@click.option("--url-model", metavar="ID", help="Model that the servers of --url are asked for.")
@click.option("--key", metavar="TEXT", help="API key for the servers of --url.")
@click.option(
    "--threads", type=click.IntRange(1, MAX_THREADS), help="Threads to compute with. [default: every core]"
)
@backend_option
@provider_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of the tables.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw what was measured into this .png or .svg.",
)
@click.option(
    "--report",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the tables, and the command that made them, to this Markdown page.",
)
@click.option(
    "--browser",
    "in_browser",
    is_flag=True,
    help="Measure the model in a browser of this machine; --prompts, --generate and --rounds count.",
)
@click.option("--device", metavar="NAME", help="With --browser: wasm, webgpu. [default: wasm]")
@click.option(
    "--vs",
    "peers",
    type=click.Choice(["transformers.js"]),
    multiple=True,
    help="With --browser: measure this on the same weights in the same run, too.",
)
@click.option("--command", hidden=True, help="What to write down as the command.")
def bench(
    *,
    models: tuple[str, ...],
    quick: bool,
    table: str | None,
    only: tuple[Part, ...],
    prompts: tuple[int, ...] | None,
    generate: tuple[int, ...] | None,
    streams: tuple[int, ...] | None,
    rounds: int | None,
    urls: tuple[str, ...],
    url_model: str | None,
    key: str | None,
    threads: int | None,
    backend: str | None,
    provider: str | None,
    as_json: bool,
    picture: Path | None,
    page: Path | None,
    in_browser: bool,
    device: str | None,
    peers: tuple[str, ...],
    command: str | None,
) -> None:
    """Measure how fast models answer: first token, tokens per second, many answers at the same time.

    MODEL is a model of the store or a model folder; several are measured in turn, in the same run. Without
    one it is the demo model. Each is served by a `localphi serve` of its own, on this machine only, and asked
    as clients ask it. Prompts are tokens without sense, none like another; answers go on to their full
    length, whatever the model thinks of it.

    With --browser an installed Chromium, Chrome or Edge opens the server's page /bench and measures there.
    """
    if page is not None and not page.parent.is_dir():
        raise click.BadParameter(f"There is no folder {page.parent}.", param_hint="--report")
    if in_browser:
        _refuse_beside_browser(
            **{"--quick": quick, "--table": table, "--only": only, "--streams": streams, "--url": urls},
            **{"--url-model": url_model, "--key": key, "--threads": threads, "--plot": picture},
            **{"--backend": backend, "--provider": provider},
        )
        from localphi.cli.bench_browser import bench_browser

        bench_browser(
            models,
            device=device or "wasm",
            peers=peers,
            contexts=prompts,
            tokens=max(generate) if generate else None,
            rounds=rounds,
            as_json=as_json,
            page=page,
            command=command or _command(),
        )
        return
    if device is not None or peers:
        raise click.UsageError("--device and --vs go with --browser.")
    from localphi.toolchain.bench.machine import this_machine
    from localphi.toolchain.bench.measure import measure, total_work
    from localphi.toolchain.bench.report import report

    plan = _plan(
        PHI3_POST if table else QUICK if quick else Plan(),
        only,
        prompts=prompts,
        generate=generate,
        streams=streams,
        rounds=rounds,
    )
    if picture is not None:
        _check_picture(picture)
    servers = [_server(text, url_model, key) for text in urls]
    settings = settings_from(threads=threads, backend=backend, provider=provider)
    store = ModelStore(settings.home)
    named = models or (() if servers else (settings.model,))
    folders = [store.pin(model).default() for model in named]
    machine = this_machine()
    with ExitStack() as stack:
        stack.enter_context(_servers_end_with_us())
        targets: list[Target] = []
        bare: dict[str, Target] = {}
        for name, folder in zip(_names(folders), folders, strict=True):
            targets.append(_serve(stack, name, folder, settings))
            if "http" in plan.parts:
                bare[name] = _engine(stack, f"{name}, no HTTP", folder, settings)
        targets += servers
        total = total_work(len(targets), len(bare), plan)
        bar = stack.enter_context(tqdm(total=total, unit="tok", leave=False, disable=None))

        def told(what: str, done: int) -> None:
            if what:
                bar.set_description(what)
            bar.update(done)

        measured = measure(targets, plan, told, bare)
    made = report(measured, plan, machine, command or _command())
    click.echo(made.as_json() if as_json else made.table())
    if picture is not None:
        from localphi.toolchain.bench.plot import plot

        plot(made, picture)
    if page is not None:
        with page.open("a", encoding="utf-8") as file:
            file.write(f"\n{made.markdown()}")


def _refuse_beside_browser(**options: object) -> None:
    given = [name for name, value in options.items() if value not in (None, False, ())]
    if given:
        raise click.UsageError(f"{given[0]} does not go with --browser.")


def _plan(plan: Plan, only: tuple[Part, ...], **fields: tuple[int, ...] | int | None) -> Plan:
    """The plan with the parts and the fields that were given."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    return replace(plan, parts=tuple(part for part in PARTS if part in (only or plan.parts)), **given)


@contextmanager
def _servers_end_with_us() -> Iterator[None]:
    """A SIGTERM unwinds the stack, as Ctrl-C does, so that no server stays behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command() -> str:
    """What was typed, folders by their names alone."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["localphi", *words])


def _check_picture(path: Path) -> None:
    """Before an hour of measuring, not after it."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise click.BadParameter(f"{path.name} must end in .png or .svg.", param_hint="--plot")
    if not path.parent.is_dir():
        raise click.BadParameter(f"There is no folder {path.parent}.", param_hint="--plot")


def _server(text: str, model: str | None, key: str | None) -> Target:
    name, equals, url = text.partition("=")
    if not equals or "/" in name:
        name = url = text
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} does not begin with http:// or https://.", param_hint="--url")
    return HttpTarget(name, url, model, key)


def _names(folders: Sequence[ModelFolder]) -> list[str]:
    """The ids; where two are the same, the folders."""
    ids = [folder.id for folder in folders]
    return [folder.id if ids.count(folder.id) == 1 else folder.path.name for folder in folders]


def _serve(stack: ExitStack, name: str, folder: ModelFolder, settings: Settings) -> Target:
    options = ["--threads", str(settings.threads), "--backend", settings.backend]
    if settings.provider is not None:
        options += ["--provider", settings.provider]
    command = serve_command(str(folder.path), options)
    return HttpTarget(name, stack.enter_context(started(command, name)))


def _engine(stack: ExitStack, name: str, folder: ModelFolder, settings: Settings) -> Target:
    """The same model in a worker of this process, without a server in front."""
    from localphi.engine.client import Engines

    store = ModelStore(settings.home).pin(str(folder.path))
    engines = Engines(store, settings)
    stack.callback(engines.close)
    return EngineTarget(name, engines.get(folder.id))
