"""A model folder in, a quantized model folder out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from localphi.errors import CannotQuantize
from localphi.models.catalogue import catalogue
from localphi.models.genai_folder import CONFIG, is_weights, prompt_format_of, read_genai_config
from localphi.models.manifest import (
    MANIFEST_NAME,
    Manifest,
    SamplingDefaults,
    Variant,
    describe_file,
    safe_id,
)
from localphi.models.store import ModelFolder, ModelStore
from localphi.toolchain.quantize.calibration import Row, conversation_rows, text_rows
from localphi.toolchain.quantize.floatgraph import FloatGraph
from localphi.toolchain.quantize.folder import NewModel, check_free, write_folder
from localphi.toolchain.quantize.folds import find_sites
from localphi.toolchain.quantize.layers import LayerQuantizer, Progress, Work
from localphi.toolchain.quantize.recipe import Recipe

_CANARY_PROMPT = 48  # tokens; GPUs read more than 32 with other kernels than fewer


@dataclass(frozen=True)
class Outcome:
    """errors: of the layers that read one tensor, by the first of them: without and with AWQ's scales."""

    manifest: Manifest
    bits: dict[str, int]
    errors: dict[str, tuple[float, float]]


def quantize(
    source: ModelFolder,
    out: Path,
    recipe: Recipe,
    threads: int,
    *,
    work: Path | None = None,
    text: Path | None = None,
    new_id: str | None = None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Quantize `source` into the new folder `out`.

    work: where finished layers are kept until the folder is whole, so that a killed run goes on there;
    without it, beside `out`. text: calibrate on this file instead of the conversations that come along.
    Raises CannotQuantize, ToolchainMissing, or InvalidRequest for a bad text file, before any work begins.
    """
    check_free(out)
    model_id = _checked(new_id or default_id(source.id, recipe))
    graph = FloatGraph(source.path)
    recipe.check(graph, find_sites(graph))
    rows = _calibration(source, recipe, text)
    kept = Work(work or out.with_name(f"{out.name}.work"), _key(source, recipe, rows))
    layers = LayerQuantizer(graph, recipe, kept, rows, threads)
    layers.run(progress)
    new = NewModel(
        id=model_id,
        description=source.manifest.description,
        origin={
            "source": f"localphi quantize: {recipe.tag}",
            "parent": f"{source.id} {source.manifest.origin.get('revision', '')}".strip(),
        },
        canary_prompt=_canary_prompt(source),
    )
    manifest = write_folder(
        graph,
        source.manifest,
        out,
        result=layers.quantized,
        scales=layers.scales,
        accuracy_level=recipe.accuracy_level,
        new=new,
    )
    outcome = Outcome(manifest, layers.bits, layers.errors())
    kept.discard()
    return outcome


def source_model(home: Path, model: str, family: str | None) -> ModelFolder:
    """The model of that id in the store at `home`, or the model folder at that path.

    A folder without a localphi.json is one as the model builder leaves it: `family` says how its
    conversations are written. Raises ModelNotFound, ModelFolderInvalid or CannotQuantize.
    """
    folder = Path(model).expanduser()
    if not (folder / CONFIG).is_file() or (folder / MANIFEST_NAME).is_file():
        return ModelStore(home).pin(model).default()
    if family is None:
        families = ", ".join(sorted(catalogue().families))
        raise CannotQuantize(
            f"{folder} has no {MANIFEST_NAME}, so it is not known how its conversations are written. "
            f"Say which family of models it is with --family ({families})."
        )
    return ModelFolder(folder, _described(folder, family), bundled=False)


def _described(folder: Path, family: str) -> Manifest:
    """A manifest for the files that lie in a plain GenAI folder."""
    config = read_genai_config(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    files = {name: describe_file(folder / name) for name in names}
    weights = sum(entry.size for name, entry in files.items() if is_weights(name))
    variant = Variant(tuple(names), weights, config.kv_bytes_per_token(4), None)
    name = folder.resolve().name
    return Manifest(
        id=re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "model",
        name=name,
        description=f"{name}, quantized",
        family=family,
        license="not stated",
        origin={"source": name},
        context_length=config.context_length,
        sampling=SamplingDefaults(temperature=0.0, top_p=1.0, top_k=0),
        system_prompt=None,
        prompt_format=prompt_format_of(folder, catalogue().families[family]),
        files=files,
        variants={"server-cpu": variant},
    )


def default_id(parent: str, recipe: Recipe) -> str:
    """The id of the parent without its precision, and the recipe's name."""
    return f"{parent.removesuffix('-fp32')}-{recipe.tag}"


def _checked(model_id: str) -> str:
    try:
        return safe_id(model_id)
    except ValueError as error:
        raise CannotQuantize(f"The new model cannot be named so: {error}. Give another --id.") from None


def _calibration(source: ModelFolder, recipe: Recipe, text: Path | None) -> list[Row]:
    if not recipe.reads_text:
        return []
    if text:
        return text_rows(source.path, text, recipe.conversations)
    prompt_format = source.manifest.prompt_format
    return conversation_rows(source.path, prompt_format, "calibration", recipe.conversations)


def _key(source: ModelFolder, recipe: Recipe, rows: list[Row]) -> str:
    """Changes with everything that the results depend on."""
    files = {name: entry.sha256 for name, entry in source.manifest.files.items()}
    parts = (recipe.key(), repr(sorted(files.items())), repr([row.ids for row in rows]))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _canary_prompt(source: ModelFolder) -> tuple[int, ...]:
    """That of the parent; for a parent without one, the beginning of a conversation."""
    for variant in source.manifest.variants.values():
        if variant.canary and variant.canary.prompt:
            return variant.canary.prompt
    (row,) = conversation_rows(source.path, source.manifest.prompt_format, "calibration", 1)
    return row.ids[:_CANARY_PROMPT]
