"""localphi models search|pull: the commands that talk to the hub, and the only ones that do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from tqdm import tqdm

from localphi.cli.options import settings_from
from localphi.errors import HubUnreachable, PullFailed
from localphi.models.catalogue import (
    CatalogueEmbedding,
    CatalogueModel,
    Entry,
    Place,
    Source,
    catalogue,
)
from localphi.models.embeddings import EmbeddingPuller, EmbeddingStore
from localphi.models.hub import Hub, Interrupted
from localphi.models.manifest import DEVICES, SERVER_DEVICES
from localphi.models.pull import Fetcher, Plan, Progress, Puller
from localphi.models.store import Folder, ModelStore, find_damage

_LINE_EVERY_S = 10.0

EntryT = TypeVar("EntryT", bound=Entry)
PlaceT = TypeVar("PlaceT", bound=Place)
AnyPlan = Plan[Any, Any]


@click.command("search")
@click.argument("words", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search_models(words: tuple[str, ...], as_json: bool) -> None:
    """List the models that can be pulled, all or those with the WORDS. Asks the hub for their sizes."""
    from localphi.doctor import server_device

    home, sizes, text = settings_from().home, _Sizes(Hub()), " ".join(words)
    models, embeddings = catalogue().search(text), catalogue().search_embeddings(text)
    here = {folder.id for folder in (*ModelStore(home).folders(), *EmbeddingStore(home).folders())}
    rows = [_row(model, source, sizes, here) for model in models for source in model.sources.values()]
    found = [_embedding_row(embedding, sizes, here) for embedding in embeddings]
    if as_json:
        click.echo(json.dumps(rows + found, indent=1))
        return
    best = server_device()
    for model in models:
        _head(model, f"{model.context_length} tokens of context")
        for row in (row for row in rows if row["model"] == model.id):
            mark = "here" if row["here"] else "best here" if row["device"] == best else ""
            click.echo(f"  {row['device']:<12}{_size_text(row):>14}  {row['repo']:<46}  {mark}".rstrip())
    for embedding, row in zip(embeddings, found, strict=True):
        _head(embedding, f"vectors of {embedding.dimensions} numbers, for localphi agent --docs")
        mark = "here" if row["here"] else ""
        click.echo(f"  {'embedding':<12}{_size_text(row):>14}  {row['repo']:<46}  {mark}".rstrip())
    if not rows and not found:
        known = ", ".join(entry.id for entry in (*catalogue().models, *catalogue().embeddings))
        click.echo(f"No model of the catalogue has these words. It has: {known}.")
    if sizes.problem:
        click.echo(f"{sizes.problem} The sizes marked with 'about' are those it once showed.", err=True)


def _head(entry: Entry, what: str) -> None:
    click.echo(f"{click.style(entry.id, bold=True)}: {entry.about}")
    click.echo(f"  {entry.name}, {entry.license} licence, {what}")


@dataclass(frozen=True)
class _Wish:
    """How a pull is asked for."""

    revision: str | None
    update: bool
    yes: bool
    as_json: bool


@click.command("pull")
@click.argument("model")
@click.option(
    "--for", "device", type=click.Choice(DEVICES), help="Device to fetch it for. [default: this machine's]"
)
@click.option("--revision", metavar="COMMIT", help="Commit, tag or branch of the hub's repository.")
@click.option("--update", is_flag=True, help="Fetch the newest files of the hub.")
@click.option("--yes", is_flag=True, help="Do not ask before the download.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def pull_model(
    model: str, *, device: str | None, revision: str | None, update: bool, yes: bool, as_json: bool
) -> None:
    """Fetch MODEL of the catalogue from the hub. An interrupted pull goes on where it was.

    A model stays at the revision it was pulled at, unless --revision or --update asks for another.
    """
    if revision and update:
        raise click.UsageError("--revision names the files, --update asks for the newest: take one of them.")
    wish, home, hub = _Wish(revision, update, yes, as_json), settings_from().home, Hub()
    if embedding := catalogue().find_embedding(model):
        if device:
            raise click.UsageError(f"{embedding.id} is the same for every device; leave out --for.")
        return _pull(EmbeddingPuller(EmbeddingStore(home), hub), embedding, embedding.place, wish)
    entry, sources = catalogue().find(model)
    source = entry.source(device) if device else _best(sources)
    return _pull(Puller(ModelStore(home), hub), entry, source, wish)


def _pull(puller: Fetcher[EntryT, PlaceT, Any], entry: EntryT, source: PlaceT, wish: _Wish) -> None:
    local: Folder | None = puller.local(source)
    if local and not (wish.revision or wish.update) and not _damaged(local):
        return _done(local, f"{local.id} is already here, and every file is whole.", wish.as_json)
    try:
        plan = puller.plan(entry, source, wish.revision, update=wish.update)
    except HubUnreachable as error:
        raise HubUnreachable(f"{error.message} {_what_is_here()}") from error
    if local and plan.missing_bytes == 0 and not _damaged(local):
        sentence = f"{local.id} is the same at {plan.repo.commit}, and every file is whole."
        return _done(local, sentence, wish.as_json)
    _tell(plan, puller.address, to_stderr=wish.as_json)
    if plan.missing_bytes and not wish.yes:
        question = f"Download {_gb(plan.missing_bytes)}?"
        click.confirm(question, default=True, abort=True, err=wish.as_json)
    try:
        with _progress(plan) as progress:
            folder = puller.pull(plan, progress)
    except KeyboardInterrupt:
        click.echo(f"Stopped. What has come is kept; go on with: localphi models pull {source.id}", err=True)
        raise
    return _done(folder, f"{folder.id} is here. {_next_step(source)}", wish.as_json)


def _best(sources: tuple[Source, ...]) -> Source:
    """The source for this machine's server, else for its CPU, else the first."""
    from localphi.doctor import server_device

    by_device = {source.device: source for source in sources}
    return by_device.get(server_device()) or by_device.get("server-cpu") or sources[0]


def _damaged(folder: Folder) -> bool:
    with tqdm(
        total=folder.size_bytes,
        desc=f"check {folder.id}",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    ) as bar:
        return bool(find_damage(folder, on_bytes=bar.update))


def _tell(plan: AnyPlan, address: str, to_stderr: bool) -> None:
    kept = f", {_gb(plan.kept_bytes)} of it already here" if plan.kept_bytes else ""
    rows = {
        "model": f"{plan.model.name} for {_purpose(plan.source)}, as {plan.source.id}",
        "from": f"{address}/{plan.repo.repo}/tree/{plan.repo.commit}/{plan.source.folder}".rstrip("/"),
        "licence": plan.license,
        "size": f"{_gb(plan.total_bytes)} in {len(plan.files)} files{kept}",
        "disk": f"{_gb(plan.free_bytes)} free",
        "note": plan.source.note,
    }
    for name, value in rows.items():
        if value:
            click.echo(f"{name:<9}{value}", err=to_stderr)


def _purpose(source: Place) -> str:
    return source.device if isinstance(source, Source) else "searching in documents"


def _done(folder: Folder, sentence: str, as_json: bool) -> None:
    if as_json:
        origin = folder.manifest.origin
        row = {"id": folder.id, "path": str(folder.path), "size_bytes": folder.size_bytes, **origin}
        click.echo(json.dumps(row, indent=1))
    else:
        click.echo(sentence)


def _next_step(source: Place) -> str:
    if not isinstance(source, Source):
        return f"Use it with: localphi agent --docs FOLDER --embeddings {source.id}"
    if source.device in SERVER_DEVICES:
        return f"Use it with: localphi serve --model {source.id}"
    return source.note


def _what_is_here() -> str:
    home = settings_from().home
    here = [folder.id for folder in (*ModelStore(home).folders(), *EmbeddingStore(home).folders())]
    return f"On this machine are: {', '.join(here) or 'no models'}."


class _Sizes:
    """Exact sizes, as long as the hub answers. problem: why it was not asked any further."""

    def __init__(self, hub: Hub) -> None:
        self.problem = ""
        self._hub = hub
        self._known: dict[tuple[str, str | None], Any] = {}

    def exact(self, source: Place) -> int | None:
        key = (source.repo, source.revision)
        if key not in self._known and not self.problem:
            try:
                self._known[key] = self._hub.describe(*key)
            except HubUnreachable as error:
                self.problem = error.message
            except Interrupted as error:
                self.problem = f"{self._hub.address} cannot be reached: {error}."
            except PullFailed:  # this repository only
                self._known[key] = None
        repo = self._known.get(key)
        if repo is None:
            return None
        return sum(file.size for file in repo.files if source.local_name(file.name)) or None


def _row(model: CatalogueModel, source: Source, sizes: _Sizes, here: set[str]) -> dict[str, Any]:
    about = {"device": source.device, "context_length": model.context_length}
    return _place_row(model, source, sizes, here) | about


def _embedding_row(embedding: CatalogueEmbedding, sizes: _Sizes, here: set[str]) -> dict[str, Any]:
    about = {"device": None, "dimensions": embedding.dimensions}
    return _place_row(embedding, embedding.place, sizes, here) | about


def _place_row(entry: Entry, place: Place, sizes: _Sizes, here: set[str]) -> dict[str, Any]:
    return {
        "id": place.id,
        "model": entry.id,
        "repo": place.repo,
        "license": entry.license,
        "size_bytes": sizes.exact(place),
        "about_bytes": place.about_bytes,
        "here": place.id in here,
    }


def _size_text(row: dict[str, Any]) -> str:
    if row["size_bytes"]:
        return _gb(row["size_bytes"])
    return f"about {_gb(row['about_bytes'])}" if row["about_bytes"] else "size not known"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


@contextmanager
def _progress(plan: AnyPlan) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal, a line now and then elsewhere; both on stderr."""
    if not sys.stderr.isatty():
        yield _Lines(plan)
        return
    with tqdm(
        total=plan.total_bytes,
        desc=f"pull {plan.source.id}",
        unit="B",
        unit_scale=True,
        leave=False,
        file=sys.stderr,
    ) as bar:
        yield _Bar(bar)


class _Bar(Progress):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def kept(self, size: int) -> None:
        self._bar.initial += size  # counts for how far we are, not for how fast
        self._bar.update(size)

    def fetched(self, size: int) -> None:
        self._bar.update(size)

    def waiting(self, seconds: float, problem: str) -> None:
        self._bar.write(f"{problem}; asking again in {seconds:.0f} s", file=sys.stderr)


class _Lines(Progress):
    """now: a clock in seconds."""

    def __init__(self, plan: AnyPlan, now: Callable[[], float] = time.monotonic) -> None:
        self._total = plan.total_bytes
        self._kept = self._fetched = 0
        self._now = now
        self._start_s = self._told_s = now()

    def kept(self, size: int) -> None:
        self._kept += size

    def fetched(self, size: int) -> None:
        self._fetched += size
        if self._now() - self._told_s >= _LINE_EVERY_S:
            self._tell()

    def waiting(self, seconds: float, problem: str) -> None:
        click.echo(f"{problem}; asking again in {seconds:.0f} s", err=True)

    def _tell(self) -> None:
        self._told_s = self._now()
        rate = max(self._fetched, 1) / (self._told_s - self._start_s)
        done = self._kept + self._fetched
        left_s = (self._total - done) / rate
        click.echo(
            f"{_gb(done)} of {_gb(self._total)}, {rate / 1e6:.1f} MB/s, {left_s / 60:.0f} min left", err=True
        )
