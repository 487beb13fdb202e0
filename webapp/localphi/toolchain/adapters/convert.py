"""Makes an adapter of the store of what PEFT saved: the names, and the cuts, of the model's graph."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from localphi.config import disable_telemetry
from localphi.errors import AdapterInvalid
from localphi.models.adapters import WEIGHTS_NAME, Adapter, AdapterStore, base_of
from localphi.models.lora import lora_inputs
from localphi.models.manifest import LoraGraph
from localphi.models.store import ModelFolder
from localphi.toolchain.adapters.peft import Change, read_peft

_PLACES = {"self_attn": "attn", "mlp": "mlp"}
_NAMES = {"dense": "o_proj"}  # Phi-2's name, and the builder's
_PARTS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def convert_adapter(store: AdapterStore, folder: ModelFolder, peft: Path, name: str) -> Adapter:
    """Read the PEFT adapter in `peft`, fit it to a model and list it in the store under `name`.

    Raises AdapterInvalid when it is none, when the model cannot take adapters, or when it is another's.
    """
    return add_changes(store, folder, read_peft(peft), name, source=peft.resolve().name)


def add_changes(
    store: AdapterStore, folder: ModelFolder, changes: Mapping[str, Change], name: str, *, source: str
) -> Adapter:
    """List changes by module, as `read_peft` gives them, as an adapter of a model."""
    lora = lora_graph(folder)
    fitted = fit(changes, lora, folder.id)
    staged = store.staging(folder.id, name)
    try:
        _write(staged / WEIGHTS_NAME, fitted)
        about = {
            "model": folder.id,
            "base": base_of(folder.manifest),
            "rank": max(change.rank for change in fitted.values()),
            "sites": len(fitted),
            "parameters": sum(change.down.size + change.up.size for change in fitted.values()),
            "source": source,
        }
        return store.add(staged, name, about)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def lora_graph(folder: ModelFolder) -> LoraGraph:
    """The model's graph for adapters. Raises AdapterInvalid where it has none."""
    variant = folder.manifest.server_variant
    if variant is None or variant.lora is None:
        raise AdapterInvalid(
            f"The model '{folder.id}' has no graph for adapters. Make it with: "
            f"localphi adapters prepare {folder.id}"
        )
    return variant.lora


def fit(changes: Mapping[str, Change], lora: LoraGraph, model: str) -> dict[str, Change]:
    """The changes by site of the graph, whose layers may be fused where the checkpoint's are not, or cut.

    Raises AdapterInvalid for a layer that the graph has not, or of another size.
    """
    by_site = {_site(module): change for module, change in changes.items()}
    fitted: dict[str, Change] = {}
    for site in list(by_site):
        if site not in by_site:
            continue  # was fused with another
        if site in lora.sites:
            fitted[site] = by_site.pop(site)
        elif parts := _cut(site, by_site[site], lora):
            fitted |= parts
            del by_site[site]
        elif whole := _fused(site, by_site, lora):
            fitted |= whole
    for site, change in fitted.items():
        found = (change.down.shape[0], change.up.shape[1])
        if found != tuple(lora.sites[site]):
            raise AdapterInvalid(
                f"The adapter is for another model than '{model}': {site} has {found[0]} inputs and "
                f"{found[1]} outputs there, and {lora.sites[site][0]} and {lora.sites[site][1]} here."
            )
    if by_site:
        raise AdapterInvalid(f"The adapter changes {min(by_site)}, which '{model}' has not.")
    return fitted


def _site(module: str) -> str:
    layer, place, name = module.rsplit(".", 2)
    return f"{layer}.{_PLACES[place]}.{_NAMES.get(name, name)}"


def _cut(site: str, change: Change, lora: LoraGraph) -> dict[str, Change]:
    """A change of a fused layer, for a graph that has its parts. Nothing where it has not."""
    parent, _, name = site.rpartition(".")
    parts = [f"{parent}.{part}" for part in _PARTS.get(name, ())]
    if not parts or not all(part in lora.sites for part in parts):
        return {}
    ends = np.cumsum([lora.sites[part][1] for part in parts])
    if ends[-1] != change.up.shape[1]:
        return {}
    pieces = np.split(change.up, ends[:-1], axis=1)
    return {
        part: Change(change.down, np.ascontiguousarray(up)) for part, up in zip(parts, pieces, strict=True)
    }


def _fused(site: str, by_site: dict[str, Change], lora: LoraGraph) -> dict[str, Change]:
    """Changes of parts, taken out, for a graph that has them fused: one behind the other along the rank."""
    parent, _, name = site.rpartition(".")
    for whole, parts in _PARTS.items():
        target = f"{parent}.{whole}"
        if name not in parts or target not in lora.sites:
            continue
        inputs, outputs = lora.sites[target]
        sizes = _sizes(parts, outputs, {part: by_site.get(f"{parent}.{part}") for part in parts})
        if sizes is None:
            continue
        downs, ups, begin = [], [], 0
        for part, size in zip(parts, sizes, strict=True):
            change = by_site.pop(f"{parent}.{part}", None)
            if change is not None:
                up = np.zeros((change.rank, outputs), np.float32)
                up[:, begin : begin + size] = change.up
                downs.append(change.down)
                ups.append(up)
            begin += size
        if any(down.shape[0] != inputs for down in downs):
            raise AdapterInvalid(f"The adapter is for another model: {target} has {inputs} inputs here.")
        return {target: Change(np.concatenate(downs, axis=1), np.concatenate(ups, axis=0))}
    return {}


def _sizes(
    parts: tuple[str, ...], outputs: int, changes: Mapping[str, Change | None]
) -> tuple[int, ...] | None:
    """Outputs of each part. Keys have as many as values; so queries and one of them tell all."""
    known = {part: change.up.shape[1] for part, change in changes.items() if change is not None}
    if len(parts) == 2:
        size = next(iter(known.values()))
        return (size, size) if 2 * size == outputs else None
    pair = known.get("k_proj", known.get("v_proj"))
    if pair is None:
        pair = (outputs - known["q_proj"]) // 2
    queries = known.get("q_proj", outputs - 2 * pair)
    return (queries, pair, pair) if queries + 2 * pair == outputs and min(queries, pair) > 0 else None


def _write(path: Path, changes: Mapping[str, Change]) -> None:
    disable_telemetry()
    import onnxruntime

    parameters = {}
    for site, change in changes.items():
        for name, matrix in zip(lora_inputs(site), (change.down, change.up), strict=True):
            parameters[name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(matrix))
    file = onnxruntime.AdapterFormat()
    file.set_adapter_version(1)
    file.set_model_version(1)
    file.set_parameters(parameters)
    file.export_adapter(str(path))
