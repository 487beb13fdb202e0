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
from dataclasses import dataclass, replace
from pathlib import Path

from localphi.errors import CannotBuild, LocalphiError
from localphi.models.catalogue import catalogue
from localphi.models.genai_folder import CONFIG
from localphi.models.manifest import MANIFEST_NAME, Manifest, PromptFormat, load_manifest, safe_id
from localphi.toolchain.build.builder import build_graph
from localphi.toolchain.build.checkpoint import write_checkpoint
from localphi.toolchain.build.folder import About, GraphFiles, assemble, link
from localphi.toolchain.build.formats import recognise
from localphi.toolchain.build.passes import (
    BUILT_LAYERS,
    data_files,
    import_graph,
    keep_window,
    mend_shared_embedding,
    repeat_layers,
    tidy,
    what_graph_is,
)
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

    browser_context: most tokens of prompt and answer together in a browser. only_config: the graphs are in
    `out` already; write what they need beside them. paged: also a graph that answers several requests in one
    step, for server-cpu.
    """

    source: Path | Shape
    out: Path
    devices: tuple[str, ...]
    wishes: Wishes = Wishes()  # noqa: RUF009  frozen
    new_id: str | None = None
    prompt_format: str | None = None
    license: str | None = None
    browser_context: int = 4096
    only_config: bool = False
    paged: bool = True


def build(job: Job, say: Say = lambda _: None) -> Manifest:
    """Build the model; `say` is told of every step. Raises CannotBuild or ToolchainMissing.

    What can be known is checked before the first heavy step. A build that was stopped keeps the graphs that
    are done, and the same call goes on with them.
    """
    check_toolchain()
    plan = recipes(job.devices, job.wishes)
    model_id = _checked_id(job)
    source = _source(job)
    family, prompt_format = _format(source, job)
    work = job.out.with_name(f".{job.out.name}.building")
    if job.only_config:
        _check_graphs(job.out, plan)
    else:
        check_free(job.out)
        _check_disk(source, plan, work)
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint" if isinstance(source, Shape) else source.folder
    make = _existing_graph if job.only_config else _graph
    graphs = [make(_Task(source, checkpoint, recipe, work, job.out, say)) for recipe in plan]
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
    assemble(folder, graphs, about)
    if job.paged and "server-cpu" in job.devices:
        _add_paged_graph(folder, say)
    if "webnn" in job.devices and not job.only_config:
        _let_webnn_ask(folder, say)
    _publish(folder, job, graphs)
    shutil.rmtree(work, ignore_errors=True)
    return load_manifest(job.out)


def _source(job: Job) -> Checkpoint | Shape:
    if not isinstance(job.source, Shape):
        return read_checkpoint(job.source, needs_weights=not job.only_config)
    if job.only_config:
        raise CannotBuild("--only-config is for a checkpoint: random weights have no graph yet.")
    return job.source


def _add_paged_graph(folder: Path, say: Say) -> None:
    """The graph for several requests in one step, where the model allows it."""
    from localphi.toolchain.graphs.paged import add_paged_graph

    say("writing the graph for several requests at a time")
    try:
        add_paged_graph(folder)
    except LocalphiError as error:
        say(f"going on without it: {error.message}")


def _let_webnn_ask(folder: Path, say: Say) -> None:
    """After the canary, which ONNX Runtime GenAI finds out: it has no positions to ask for."""
    from localphi.toolchain.graphs.webnn import let_built_graph_ask

    try:
        let_built_graph_ask(folder)
    except LocalphiError as error:
        say(f"prompts are read token by token on WebNN: {error.message}")


def _publish(folder: Path, job: Job, graphs: Sequence[GraphFiles]) -> None:
    """Put the finished folder where it belongs, or its other files beside the graphs that are there."""
    if not job.only_config:
        check_free(job.out)
        os.replace(folder, job.out)
        return
    there = {name for graph in graphs for name in graph.names}
    new = [path for path in folder.iterdir() if path.name not in there]
    for path in sorted(new, key=lambda path: path.name == MANIFEST_NAME):  # the manifest last
        os.replace(path, job.out / path.name)


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


@dataclass(frozen=True)
class _Task:
    """One graph to make. checkpoint: folder of the weights, perhaps still to be filled. out: of the job."""

    source: Checkpoint | Shape
    checkpoint: Path
    recipe: Recipe
    work: Path
    out: Path
    say: Say


def _graph(task: _Task) -> GraphFiles:
    """The finished graph of a recipe: built now, or by a try before this one."""
    source, recipe, work = task.source, task.recipe, task.work
    target, log = work / "graphs" / recipe.stem, work / "log.txt"
    key = {"source": fingerprint(source), "arguments": list(recipe.arguments)}
    done = target / _DONE
    if done.is_file() and (found := json.loads(done.read_text(encoding="utf-8")))["key"] == key:
        task.say(f"{recipe.file_name} is done already")
        return GraphFiles(recipe, target, tuple(found["names"]))
    shutil.rmtree(target, ignore_errors=True)
    if isinstance(source, Shape) and not (task.checkpoint / "generation_config.json").is_file():
        task.say("making random weights")
        write_checkpoint(source, min(BUILT_LAYERS, source.layers), task.checkpoint, log)
    task.say(f"building {recipe.file_name} for {', '.join(recipe.devices)}")
    built = work / "built"
    build_graph(task.checkpoint, recipe, built, log)
    target.mkdir(parents=True)
    names = _finish(source, recipe, built, target)
    shutil.rmtree(built, ignore_errors=True)
    done.write_text(json.dumps({"key": key, "names": names}), encoding="utf-8")
    return GraphFiles(recipe, target, tuple(names))


def _check_graphs(out: Path, plan: Sequence[Recipe]) -> None:
    """Raises CannotBuild for a graph that is to be there already and is not."""
    for recipe in plan:
        if not (out / recipe.file_name).is_file():
            raise CannotBuild(
                f"{out} has no {recipe.file_name}, the graph for {', '.join(recipe.devices)}. "
                "--only-config writes the other files for graphs that are there."
            )


def _existing_graph(task: _Task) -> GraphFiles:
    """The graph that lies in the job's folder, and a configuration made for it."""
    recipe, target = task.recipe, task.work / "graphs" / task.recipe.stem
    proto = import_graph(task.out / recipe.file_name)
    names = (recipe.file_name, *data_files(proto))
    if missing := [name for name in names if not (task.out / name).is_file()]:
        raise CannotBuild(f"{task.out} has no {missing[0]}, where {recipe.file_name} has its weights.")
    io_bytes, level, in_place = what_graph_is(proto)
    task.say(f"making the configuration for {recipe.file_name}")
    build_graph(task.checkpoint, recipe, target, task.work / "log.txt", only_config=True)
    for name in names:
        link(task.out / name, target / name)
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    config["search"]["past_present_share_buffer"] = in_place
    (target / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return GraphFiles(replace(recipe, io_bytes=io_bytes, accuracy_level=level), target, names)


def _finish(source: Checkpoint | Shape, recipe: Recipe, built: Path, target: Path) -> list[str]:
    """The passes over what the builder made; gives the names of the graph and of its weights."""
    proto = import_graph(built / recipe.file_name)
    tidy(proto)
    mend_shared_embedding(proto)
    keep_window(proto, source.config)
    turns = {}
    if isinstance(source, Shape) and source.layers > BUILT_LAYERS:
        turns = repeat_layers(proto, source.layers)
    names = save_graph(proto, built, target / recipe.file_name, shard_bytes=recipe.shard_bytes, turns=turns)
    for path in built.iterdir():
        if path.suffix != ".data" and path.name != recipe.file_name and path.is_file():
            shutil.copyfile(path, target / path.name)
    return names
