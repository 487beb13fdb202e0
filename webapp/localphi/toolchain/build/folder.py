"""The new model folder: graphs, tokenizer, configuration, and localphi.json with what each graph answers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localphi.errors import CannotBuild, ModelFolderInvalid
from localphi.models.genai_folder import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    prompt_format_of,
    read_genai_config,
)
from localphi.models.manifest import (
    Canary,
    Manifest,
    PromptFormat,
    SamplingDefaults,
    Variant,
    describe_file,
    write_manifest,
)
from localphi.toolchain.build.canary import canary_prompt, continued, open_graph
from localphi.toolchain.build.passes import import_graph
from localphi.toolchain.build.recipes import Recipe
from localphi.toolchain.graphs.webnn import LAST_POSITION

COMMON = (CONFIG, TOKENIZER, TOKENIZER_CONFIG)
_DEMANDING_LEVEL = 4  # of accuracy: the activations are rounded to int8, by each runtime in its own way


@dataclass(frozen=True)
class GraphFiles:
    """A finished graph: `names` lie in `folder`, the graph first, beside the builder's other files."""

    recipe: Recipe
    folder: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class About:
    """What the manifest says that the files do not. tokenizer: folder of the original tokenizer files.

    layers: of the finished graphs. browser_context: most tokens in a browser.
    """

    id: str
    name: str
    description: str
    family: str
    format: PromptFormat
    license: str
    origin: Mapping[str, str]
    tokenizer: Path
    layers: int
    browser_context: int


def assemble(folder: Path, graphs: Sequence[GraphFiles], about: About) -> Manifest:
    """Put everything into `folder` and write its manifest; runs each graph for its canary.

    Raises CannotBuild when a graph for this machine's CPU cannot be run, or the tokenizer cannot be used.
    """
    for graph in graphs:
        for name in graph.names:
            link(graph.folder / name, folder / name)
    prefix = _write_tokenizer(folder, about.tokenizer, graphs[0].folder)
    prompt_format = _checked_format(folder, about.format, prefix)
    config = _write_config(folder, graphs[0], about, prompt_format)
    files = {name: describe_file(folder / name) for name in _file_names(folder, graphs)}
    context = int(config["model"]["context_length"])
    contexts = [
        context if graph.recipe.for_server else min(context, about.browser_context) for graph in graphs
    ]
    prompt = _canary_prompt(folder, prompt_format, min(contexts))
    variants: dict[str, Variant] = {}
    for graph, own_context in zip(graphs, contexts, strict=True):
        variant = Variant(
            files=(*COMMON, *graph.names),
            weights_bytes=sum(files[name].size for name in graph.names),
            kv_bytes_per_token=read_genai_config(folder).kv_bytes_per_token(graph.recipe.io_bytes),
            canary=_canary(folder, graph, prompt),
            context_length=None if own_context == context else own_context,
        )
        variants |= dict.fromkeys(graph.recipe.devices, variant)
    manifest = Manifest(
        id=about.id,
        name=about.name,
        description=about.description,
        family=about.family,
        license=about.license,
        origin=dict(about.origin) | {"revision": files[graphs[0].names[-1]].sha256[:16]},
        context_length=context,
        sampling=SamplingDefaults(temperature=0.0, top_p=1.0, top_k=0),
        system_prompt=None,
        prompt_format=prompt_format,
        files=files,
        variants=variants,
    )
    write_manifest(folder, manifest)
    return manifest


def link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_tokenizer(folder: Path, original: Path, built: Path) -> str:
    """Write tokenizer files that add no token by themselves; gives the token to begin a prompt with, or "".

    Server and page encode what the prompt format says, nothing more: two ways to add a first token are one
    too many.
    """
    source = (
        original if (original / TOKENIZER).is_file() else built
    )  # the builder makes one of tokenizer.model
    if not (source / TOKENIZER).is_file():
        raise CannotBuild(f"{original} has no {TOKENIZER}, and none could be made of its tokenizer.model.")
    document = _read(source / TOKENIZER)
    config = _read(original / TOKENIZER_CONFIG) if (original / TOKENIZER_CONFIG).is_file() else {}
    built_config = _read(built / TOKENIZER_CONFIG) if (built / TOKENIZER_CONFIG).is_file() else {}
    config = built_config | config
    begin = config.get("bos_token")
    begin = begin.get("content") if isinstance(begin, dict) else begin
    adds = bool(config.get("add_bos_token")) or _post_processor_begins(document, begin)
    config["add_bos_token"] = config["add_eos_token"] = False
    jinja = original / "chat_template.jinja"
    if jinja.is_file() and not config.get("chat_template"):
        config["chat_template"] = jinja.read_text(encoding="utf-8")
    _write(folder / TOKENIZER, document | {"post_processor": None})
    _write(folder / TOKENIZER_CONFIG, config)
    return str(begin) if begin and adds else ""


def _post_processor_begins(document: Mapping[str, Any], begin: Any) -> bool:
    """Whether tokenizer.json puts the beginning token before every text."""
    processor = document.get("post_processor") or {}
    steps = processor.get("processors") or [processor]
    templates = [step.get("single") for step in steps if step.get("type") == "TemplateProcessing"]
    firsts = [template[0] for template in templates if template]
    return any((first.get("SpecialToken") or {}).get("id") == begin for first in firsts)


def _checked_format(folder: Path, family: PromptFormat, prefix: str) -> PromptFormat:
    try:
        found = prompt_format_of(folder, family)
    except ModelFolderInvalid as error:
        raise CannotBuild(f"{error.message} Give another --prompt-format.") from error
    return replace(found, prefix=family.prefix or found.prefix or prefix)


def _write_config(
    folder: Path, main: GraphFiles, about: About, prompt_format: PromptFormat
) -> dict[str, Any]:
    """genai_config.json: the builder's, for the finished graph."""
    config = _read(main.folder / CONFIG)
    model = config["model"]
    decoder = model["decoder"]
    decoder["filename"] = main.names[0]
    decoder["num_hidden_layers"] = about.layers
    if not main.recipe.for_server:  # a browser's graph, which the server can run on the CPU
        decoder["session_options"]["provider_options"] = []
    if not (decoder.get("sliding_window") or {}).get("layers", True):
        del decoder["sliding_window"]  # of no layer at all
    ends = model["eos_token_id"]
    ids = [*(ends if isinstance(ends, list) else [ends]), *_token_ids(folder, prompt_format.end)]
    model["eos_token_id"] = list(dict.fromkeys(ids))
    _write(folder / CONFIG, config)
    read_genai_config(folder)
    return config


def _token_ids(folder: Path, texts: Collection[str]) -> list[int]:
    added = _read(folder / TOKENIZER).get("added_tokens") or ()
    return [int(token["id"]) for token in added if token["content"] in texts]


def _file_names(folder: Path, graphs: Sequence[GraphFiles]) -> list[str]:
    return [*COMMON, *dict.fromkeys(name for graph in graphs for name in graph.names)]


def _canary_prompt(folder: Path, prompt_format: PromptFormat, context: int) -> tuple[int, ...]:
    try:
        return canary_prompt(folder, prompt_format, context)
    except Exception as error:  # GenAI raises RuntimeError and its own OrtException
        raise CannotBuild(f"ONNX Runtime GenAI cannot use this tokenizer: {error}") from error


def _canary(folder: Path, graph: GraphFiles, prompt: tuple[int, ...]) -> Canary | None:
    """What the graph answers here; None where that says nothing about the device it is for.

    That is a graph which this CPU cannot run (float16), one whose activations are rounded by each runtime in
    its own way, and one that asks for a position, which ONNX Runtime GenAI cannot tell. Raises CannotBuild
    for a float32 graph that cannot be run.
    """
    recipe = graph.recipe
    if recipe.accuracy_level == _DEMANDING_LEVEL and not recipe.for_server:
        return None
    if any(entry.name == LAST_POSITION for entry in import_graph(folder / graph.names[0]).graph.input):
        return None
    try:
        expected = continued(open_graph(folder, graph.names[0]), prompt)
    except Exception as error:  # GenAI raises RuntimeError and its own OrtException
        if recipe.io_bytes == 2:
            return None
        raise CannotBuild(f"The finished graph {graph.names[0]} cannot be run: {error}") from error
    return Canary(prompt, expected)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CannotBuild(f"{path} cannot be read: {error}.") from error
    if not isinstance(document, dict):
        raise CannotBuild(f"{path} is not a JSON object.")
    return document


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
