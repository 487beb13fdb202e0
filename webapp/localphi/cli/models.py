"""localphi models search|pull|list|show|path|verify|repair|rm"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

from localphi.cli.options import settings_from
from localphi.cli.pull import pull_model, search_models
from localphi.errors import ModelNotFound
from localphi.models.embeddings import EmbeddingStore, embedding_form
from localphi.models.manifest import Manifest
from localphi.models.staging import Staging, interrupted
from localphi.models.store import Folder, ModelStore, OnBytes, find_damage, subfolders


@click.group()
def models() -> None:
    """The models on this machine."""


models.add_command(search_models)
models.add_command(pull_model)


def _store() -> ModelStore:
    return ModelStore(settings_from().home)


def _embeddings() -> EmbeddingStore:
    return EmbeddingStore(settings_from().home)


def _all() -> list[Folder]:
    return [*_store().folders(), *_embeddings().folders()]


def _store_of(model: str) -> ModelStore | EmbeddingStore:
    """The store that holds it, or a beginning of it; that of the models that chat for everything else."""
    store = _embeddings()
    known = {path.name for path in subfolders(store.models_dir)} | set(interrupted(store))
    return store if model in known else _store()


def _find(model: str) -> Folder:
    """A model that chats, by id or path, or an embedding model, by id. Raises as the stores do."""
    store = _store_of(model)
    return store.pin(model).default() if isinstance(store, ModelStore) else store.get(model)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the models of the store."""
    chat, embeddings = _store().folders(), _embeddings().folders()
    folders: list[Folder] = [*chat, *embeddings]
    if as_json:
        rows = [
            {"id": f.id, "kind": kind, "size_bytes": f.size_bytes, "path": str(f.path), "bundled": f.bundled}
            for kind, found in (("chat", chat), ("embedding", embeddings))
            for f in found
        ]
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(len(folder.id) for folder in folders)
    devices = [", ".join(folder.manifest.variants) for folder in chat] + ["embedding"] * len(embeddings)
    for folder, what in zip(folders, devices, strict=True):
        click.echo(f"{folder.id:<{width}}  {folder.size_bytes / 1e6:8.1f} MB  {what}")
    for name, size in (interrupted(_store()) | interrupted(_embeddings())).items():
        click.echo(
            f"Not whole yet: {name}, {size / 1e6:.1f} MB are here. Go on with: localphi models pull {name}",
            err=True,
        )


@models.command("show")
@click.argument("model")
def show_model(model: str) -> None:
    """Show what is known about MODEL."""
    folder = _find(model)
    manifest = folder.manifest
    rows = {
        "id": manifest.id,
        "name": manifest.name,
        "about": manifest.description,
        **_facts(folder),
        "licence": manifest.license,
        "origin": " ".join(manifest.origin.values()),
        "size": f"{folder.size_bytes / 1e6:.1f} MB",
        "folder": str(folder.path) + (" (part of the package)" if folder.bundled else ""),
    }
    for name, value in rows.items():
        click.echo(f"{name:<9}{value}")
    for device, variant in manifest.variants.items() if isinstance(manifest, Manifest) else ():
        kib = variant.kv_bytes_per_token / 1024
        click.echo(
            f"{device:<12}weights {variant.weights_bytes / 1e6:.1f} MB, KV cache {kib:.1f} KiB per token"
        )


def _facts(folder: Folder) -> dict[str, str]:
    """What there is to say of one kind only."""
    if isinstance(folder.manifest, Manifest):
        return {"family": folder.manifest.family, "context": f"{folder.manifest.context_length} tokens"}
    form = embedding_form(folder.path)
    return {
        "kind": f"embedding model, for localphi agent --docs FOLDER --embeddings {folder.id}",
        "texts": f"up to {form.max_tokens} tokens each, pooling: {form.pooling}",
    }


@models.command("path")
@click.argument("model")
def model_path(model: str) -> None:
    """Print the folder of MODEL."""
    click.echo(_find(model).path)


@models.command("rm")
@click.argument("model")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_model(model: str, yes: bool) -> None:
    """Delete MODEL from the store, and what an interrupted pull of it left."""
    store = _store_of(model)
    folder: Folder | None = None
    try:
        folder = store.get(model)
    except ModelNotFound:
        if model not in interrupted(store):
            raise
    if folder and not yes:
        click.confirm(f"Delete {folder.path} ({folder.size_bytes / 1e6:.1f} MB)?", abort=True)
    if folder:
        store.remove(folder)
        click.echo(f"{model} is deleted.")
    if left := Staging(store, model).discard():
        click.echo(f"What an interrupted pull left is deleted ({left / 1e6:.1f} MB).")


@models.command("verify")
@click.argument("model", required=False)
def verify_models(model: str | None) -> None:
    """Compare every file of MODEL (of all models without it) with its manifest. Exit code 1 on damage."""
    damaged = False
    for folder in [_find(model)] if model else _all():
        with _progress(folder, "verify") as on_bytes:
            problems = find_damage(folder, on_bytes=on_bytes)
        for problem in problems:
            click.echo(problem.message, err=True)
        if not problems:
            click.echo(f"{folder.id}: all {len(folder.manifest.files)} files are whole.")
        damaged = damaged or bool(problems)
    if damaged:
        raise SystemExit(1)


@models.command("repair")
@click.argument("model")
def repair_model(model: str) -> None:
    """Replace damaged files of MODEL by good ones."""
    folder = _find(model)
    with _progress(folder, "repair") as on_bytes:
        repaired = _store().repair(folder, on_bytes)
    for name in repaired:
        click.echo(f"{folder.id}: {name} is repaired.")
    if not repaired:
        click.echo(f"{folder.id}: nothing to repair.")


@contextmanager
def _progress(folder: Folder, what: str) -> Iterator[OnBytes]:
    """A progress bar on a terminal, over the bytes of the model; silent elsewhere."""
    with tqdm(
        total=folder.size_bytes,
        desc=f"{what} {folder.id}",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    ) as bar:
        yield bar.update
