"""A checkpoint in, a model folder out: whole, or not at all.

.OUT.building/log.txt        what the heavy steps printed
.OUT.building/checkpoint/    random weights, for a shape
.OUT.building/graphs/STEM/   a finished graph, taken over by the next try when nothing has changed
.OUT.building/folder/        the model to be; renamed to OUT when it is whole
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localphi.errors import CannotBuild
from localphi.models.catalogue import catalogue
from localphi.models.manifest import Manifest, PromptFormat, safe_id
from localphi.toolchain.build.builder import build_graph
from localphi.toolchain.build.checkpoint import write_checkpoint
from localphi.toolchain.build.folder import About, GraphFiles, assemble
from localphi.toolchain.build.formats import recognise
from localphi.toolchain.build.passes import BUILT_LAYERS, import_graph, repeat_layers, tidy
from localphi.toolchain.build.processes import check_toolchain
from localphi.toolchain.build.recipes import Recipe, Wishes, recipes
from localphi.toolchain.build.shapes import Shape
from localphi.toolchain.build.source import (
    Checkpoint,
    about_parameters,
    fingerprint,
    id_of,
    read_checkpoint,
)
from localphi.toolchain.build.weights import save_graph

Say = Callable[[str], object]
_DISK_RESERVE_BYTES = 100_000_000
_BITS = {"int4": 5, "int8": 9, "fp16": 16, "fp32": 32}  # of a weight, with its share of a scale
_DONE = "done.json"


@dataclass(frozen=True)
class Job:
    """What to build. prompt_format: name of a family, or a file; None to recognise it.

    browser_context: most tokens of prompt and answer together in a browser.
    """

    source: Path | Shape
    out: Path
    devices: tuple[str, ...]
    wishes: Wishes = Wishes()  # noqa: RUF009  frozen
    new_id: str | None = None
    prompt_format: str | None = None
    license: str | None = None
    browser_context: int = 4096


def build(job: Job, say: Say = lambda _: None) -> Manifest:
    """Build the model; `say` is told of every step. Raises CannotBuild or ToolchainMissing.

    What can be known is checked before the first heavy step. A build that was stopped keeps the graphs that
    are done, and the same call goes on with them.
    """
    check_toolchain()
    check_free(job.out)
    plan = recipes(job.devices, job.wishes)
    source = job.source if isinstance(job.source, Shape) else read_checkpoint(job.source)
    model_id = _checked_id(job)
    family, prompt_format = _format(source, job)
    work = job.out.with_name(f".{job.out.name}.building")
    _check_disk(source, plan, work)
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint" if isinstance(source, Shape) else source.folder
    graphs = [_graph(source, checkpoint, recipe, work, say) for recipe in plan]
    say("putting the folder together and asking the model for its canary")
    folder = work / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    about = About(
        id=model_id,
        name=model_id,
        description=_description(source),
        family=family,
        format=prompt_format,
        license=job.license or ("MIT" if isinstance(source, Shape) else "not stated"),
        origin={"source": f"localphi build: {source.name}"},
        tokenizer=checkpoint,
        layers=source.layers,
        browser_context=_browser_context(source, job),
    )
    manifest = assemble(folder, graphs, about)
    check_free(job.out)
    os.replace(folder, job.out)
    shutil.rmtree(work, ignore_errors=True)
    return manifest


def check_free(out: Path) -> None:
    """Raises CannotBuild when there is something at `out` already."""
    if out.exists() or out.is_symlink():
        raise CannotBuild(f"{out} exists already. Give another --out, or delete it first.")


def default_id(source: Path | Shape) -> str:
    """Of the new model: its folder's name, or that of its shape."""
    if isinstance(source, Shape):
        return id_of(source.name + "-random")
    return id_of(source.resolve().name)


def _checked_id(job: Job) -> str:
    try:
        return safe_id(job.new_id or default_id(job.source))
    except ValueError as error:
        raise CannotBuild(f"The new model cannot be named so: {error}. Give another --id.") from None


def _format(source: Checkpoint | Shape, job: Job) -> tuple[str, PromptFormat]:
    if isinstance(source, Shape):
        return source.format, catalogue().families[source.format]
    return recognise(source, job.prompt_format)


def _browser_context(source: Checkpoint | Shape, job: Job) -> int:
    """Most tokens in a browser.

    Browsers have no second set of rope factors: where LongRoPE changes to the long ones, a graph for a
    browser ends.
    """
    change = source.config.get("original_max_position_embeddings")
    return min(job.browser_context, int(change)) if change else job.browser_context


def _description(source: Checkpoint | Shape) -> str:
    if isinstance(source, Shape):
        return f"The shape of {source.name} with {source.layers} layers and random weights, for speed tests."
    return f"Built from {source.name}."


def _check_disk(source: Checkpoint | Shape, plan: Sequence[Recipe], work: Path) -> None:
    """Raises CannotBuild when what is to be written would not fit."""
    sizes = [about_bytes(source, recipe) for recipe in plan]
    needed = sum(sizes) + max(sizes) + _DISK_RESERVE_BYTES  # the largest is written twice
    folder = work.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CannotBuild(
            f"The disk is too full: about {needed / 1e9:.1f} GB are needed to build this, and "
            f"{free / 1e9:.1f} GB are free for {work.parent}. Make room, or give another --out."
        )


def about_bytes(source: Checkpoint | Shape, recipe: Recipe) -> int:
    """About the size of a graph's weights: embeddings stay float unless the head shares them."""
    config = dict(source.config) | {"num_hidden_layers": source.layers}
    embedding = int(config["vocab_size"]) * int(config["hidden_size"])
    apart = 0 if config.get("tie_word_embeddings") else embedding
    matrices = about_parameters(config) - apart
    return matrices * _BITS[recipe.precision] // 8 + apart * recipe.io_bytes


def _graph(source: Checkpoint | Shape, checkpoint: Path, recipe: Recipe, work: Path, say: Say) -> GraphFiles:
    """The finished graph of a recipe: built now, or by a try before this one."""
    target, log = work / "graphs" / recipe.stem, work / "log.txt"
    key = {"source": fingerprint(source), "arguments": list(recipe.arguments)}
    done = target / _DONE
    if done.is_file() and (found := json.loads(done.read_text(encoding="utf-8")))["key"] == key:
        say(f"{recipe.file_name} is done already")
        return GraphFiles(recipe, target, tuple(found["names"]))
    shutil.rmtree(target, ignore_errors=True)
    if isinstance(source, Shape) and not (checkpoint / "generation_config.json").is_file():
        say("making random weights")
        write_checkpoint(source, min(BUILT_LAYERS, source.layers), checkpoint, log)
    say(f"building {recipe.file_name} for {', '.join(recipe.devices)}")
    built = work / "built"
    build_graph(checkpoint, recipe, built, log)
    target.mkdir(parents=True)
    names = _finish(source, recipe, built, target)
    shutil.rmtree(built, ignore_errors=True)
    done.write_text(json.dumps({"key": key, "names": names}), encoding="utf-8")
    return GraphFiles(recipe, target, tuple(names))


def _finish(source: Checkpoint | Shape, recipe: Recipe, built: Path, target: Path) -> list[str]:
    """The passes over what the builder made; gives the names of the graph and of its weights."""
    proto = import_graph(built / recipe.file_name)
    tidy(proto)
    turns = {}
    if isinstance(source, Shape) and source.layers > BUILT_LAYERS:
        turns = repeat_layers(proto, source.layers)
    names = save_graph(proto, built, target / recipe.file_name, shard_bytes=recipe.shard_bytes, turns=turns)
    for path in built.iterdir():
        if path.suffix != ".data" and path.name != recipe.file_name and path.is_file():
            shutil.copyfile(path, target / path.name)
    return names
