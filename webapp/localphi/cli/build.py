"""localphi build"""

from __future__ import annotations

import time
from pathlib import Path

import click

from localphi.models.manifest import DEVICES, SERVER_DEVICES

_PRECISIONS = ("int4", "int8", "fp16", "fp32")


@click.command()
@click.argument("source", metavar="[FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--for",
    "devices",
    metavar="DEVICES",
    default="server-cpu",
    show_default=True,
    help=f"Where the model shall run, one or several with commas between them: {', '.join(DEVICES)}.",
)
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder to write; it must not exist yet, save with --only-config.",
)
@click.option(
    "--random-weights",
    "shape",
    metavar="SHAPE",
    help="No checkpoint: the shape of a real model with random weights, to measure speed with. "
    "phi-3-mini-4k, phi-3-mini-128k, phi-3.5-mini, phi-4-mini, phi-2, llama-2-7b, …; SHAPE:layers=N makes a "
    "smaller one.",
)
@click.option(
    "--precision",
    type=click.Choice(_PRECISIONS),
    help="int4 is a quarter of fp16's size and the fastest; int8 loses next to nothing; fp32 is the parent "
    "that 'localphi quantize' wants, and takes seven times int4's space.  [default: int4]",
)
@click.option(
    "--block-size",
    type=click.Choice(["16", "32", "64", "128", "256"]),
    help="Weights that share a scale. Larger is faster on a CPU and less accurate.  [default: 128 for "
    "server-cpu, 32 for the others]",
)
@click.option(
    "--accuracy-level",
    type=click.Choice(["0", "1", "4"]),
    help="4 computes with int8 activations: fast on CPUs, and on GPUs while reading; browsers then go "
    "without a canary.  [default: 4 for server-cpu, 0 for the others]",
)
@click.option(
    "--head",
    type=click.Choice(["int4", "int8"]),
    help="Bits of the last layer, where rounding shows first.  [default: int8 for servers, int4 for "
    "browsers]",
)
@click.option(
    "--all-logits",
    is_flag=True,
    help="Keep the logits of every position. They cost time and memory; some programs of others need them.",
)
@click.option(
    "--paged/--no-paged",
    default=True,
    show_default="--paged",
    help="server-cpu only: also write the graph that answers several requests in one step.",
)
@click.option(
    "--only-config",
    is_flag=True,
    help="The folder --out holds graphs already (model.onnx for a server, model-web-f32.onnx for browsers), "
    "made elsewhere: write tokenizer, configuration and localphi.json beside them.",
)
@click.option(
    "--prompt-format",
    metavar="NAME|FILE",
    help="How conversations are written, where the tokenizer does not show it: phi-2, phi-3, phi-4, llama-2, "
    "mistral, gemma, chatml, or a JSON file with the fields of prompt_format in a localphi.json.",
)
@click.option(
    "--browser-context",
    type=click.IntRange(min=256),
    default=4096,
    show_default=True,
    help="Most tokens of a conversation in a browser, which keeps room for all of them.",
)
@click.option("--id", "new_id", metavar="ID", help="Id of the new model.  [default: the name of its source]")
@click.option("--license", "license_name", metavar="NAME", help="Licence of the weights, for the manifest.")
def build(
    *,
    source: Path | None,
    devices: str,
    out: Path,
    shape: str | None,
    precision: str | None,
    block_size: str | None,
    accuracy_level: str | None,
    head: str | None,
    all_logits: bool,
    paged: bool,
    only_config: bool,
    prompt_format: str | None,
    browser_context: int,
    new_id: str | None,
    license_name: str | None,
) -> None:
    """Make a model folder for localphi from a Hugging Face checkpoint.

    FOLDER holds what a hub gives you: config.json, *.safetensors and tokenizer.json of a Phi-2, Phi-3,
    Phi-3.5, Phi-4-mini, Llama 2, Mistral or Gemma model. What comes out is used like any other model.

    \b
    For this computer:             localphi build path/to/phi-3 --out my-phi
    For this computer and its browser:
                                   localphi build path/to/phi-3 --for server-cpu,wasm,webgpu-f32 --out my-phi
    Then:                          localphi serve --model ./my-phi
    To measure speed, no download: localphi build --random-weights phi-3-mini-4k --out speed

    A model of 4 billion parameters takes some minutes and up to 24 GB of memory; random weights take 4 GB. A
    build that was stopped goes on with the graphs that are done when the same command is given again. Needs:
    pip install 'localphi[toolchain]'
    """
    from localphi.toolchain.build.recipes import Wishes, parse_devices
    from localphi.toolchain.build.run import Job, build
    from localphi.toolchain.build.shapes import parse_shape

    if (source is None) == (shape is None):
        raise click.UsageError("Give either the FOLDER of a checkpoint or --random-weights SHAPE.")
    started = time.monotonic()
    job = Job(
        source=parse_shape(shape) if shape else Path(source or "").expanduser(),
        out=out,
        devices=parse_devices(devices),
        wishes=Wishes(
            precision=precision,
            block_size=int(block_size) if block_size else None,
            accuracy_level=int(accuracy_level) if accuracy_level else None,
            head=head,
            all_logits=all_logits,
        ),
        new_id=new_id,
        prompt_format=prompt_format,
        license=license_name,
        browser_context=browser_context,
        only_config=only_config,
        paged=paged,
    )
    manifest = build(job, lambda step: click.echo(f"{time.monotonic() - started:5.0f} s  {step}", err=True))
    size = sum(entry.size for entry in manifest.files.values())
    click.echo(f"{out}: {size / 1e9:.2f} GB for {', '.join(manifest.variants)}")
    if set(manifest.variants) & set(SERVER_DEVICES):
        path = out if out.is_absolute() else f"./{out}"
        click.echo(f"Use it with: localphi serve --model {path}")
