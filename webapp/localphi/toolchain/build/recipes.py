"""What is built for each device, and why.

server-cpu   int4, block 128, accuracy level 4, head int8: on a CPU, decoding waits for the memory. A scale
             for 128 weights instead of 32 reads a quarter less (1.2 to 1.5 times as many tokens/s), int8
             activations use the CPU's dot products, and a head of 8 bits costs 2 % and is where rounding
             shows first.
wasm, webgpu-f32
             int4, block 32, float32 in and out, one graph for both. Accuracy level 0: at level 4 WebGPU
             rounds the activations in its own way, and a canary recorded here would not hold there.
webgpu-f16   the same with float16 in and out: half the cache and half the traffic, where the GPU has f16.
webnn        int4 written as DequantizeLinear and MatMul: WebNN has no 4-bit unsigned numbers, so the usual
             operator (MatMulNBits) is split up there, or hangs.
server-cuda  int4, block 32, float16 in and out.

Blocks of 32 elsewhere because quality is first there; `quantize` shows what a block size costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from localphi.errors import CannotBuild
from localphi.models.manifest import DEVICES, SERVER_DEVICES
from localphi.toolchain.build.weights import SHARD_BYTES

PRECISIONS = ("int4", "int8", "fp16", "fp32")
BLOCK_SIZES = (16, 32, 64, 128, 256)
HEADS = ("int4", "int8")


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None leaves it to the device's recipe."""

    precision: str | None = None
    block_size: int | None = None
    accuracy_level: int | None = None
    head: str | None = None
    all_logits: bool = False


@dataclass(frozen=True)
class Recipe:
    """One graph. devices: whose variants read it. stem: name of its file, without .onnx.

    io_bytes: bytes of a number in the cache. shard_bytes: most bytes of a data file, None for one file.
    """

    stem: str
    devices: tuple[str, ...]
    provider: str
    precision: str
    options: tuple[str, ...]
    io_bytes: int
    accuracy_level: int
    shard_bytes: int | None

    @property
    def file_name(self) -> str:
        return f"{self.stem}.onnx"

    @property
    def for_server(self) -> bool:
        return self.devices[0] in SERVER_DEVICES

    @property
    def arguments(self) -> tuple[str, ...]:
        """For the model builder."""
        given = ("-p", self.precision, "-e", self.provider)
        return (*given, "--extra_options", *self.options, f"filename={self.file_name}")


@dataclass(frozen=True)
class _Device:
    stem: str
    provider: str
    precisions: tuple[str, ...]
    block_size: int
    accuracy_level: int
    head: str
    io_bytes: int
    options: tuple[str, ...] = ()


_WEB_F32 = _Device(
    "model-web-f32", "webgpu", ("int4", "int8", "fp32"), 32, 0, "int4", 4, ("use_webgpu_fp32=true",)
)
_RECIPES = {
    "server-cpu": _Device("model", "cpu", ("int4", "int8", "fp32"), 128, 4, "int8", 4),
    "server-cuda": _Device("model", "cuda", ("int4", "int8", "fp16"), 32, 0, "int8", 2),
    "wasm": _WEB_F32,
    "webgpu-f32": _WEB_F32,
    "webgpu-f16": _Device("model-web-f16", "webgpu", ("int4", "int8", "fp16"), 32, 0, "int4", 2),
    "webnn": replace(
        _WEB_F32, stem="model-webnn", options=("use_webgpu_fp32=true", "use_qdq=true", "is_symmetric=true")
    ),
}
assert set(_RECIPES) == set(DEVICES)


def parse_devices(text: str) -> tuple[str, ...]:
    """The devices of "wasm,server-cpu". Raises CannotBuild, naming those that there are."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in DEVICES]
    if unknown or not names:
        what = f"{unknown[0]!r} is no device" if unknown else "No device is named"
        raise CannotBuild(f"{what}. Give one or several of {', '.join(DEVICES)}, with commas between them.")
    if set(SERVER_DEVICES) <= set(names):
        raise CannotBuild(
            "server-cpu and server-cuda need a folder each, because the server reads one graph of a folder. "
            "Build twice, with two --out."
        )
    return tuple(dict.fromkeys(names))


def recipes(devices: Sequence[str], wishes: Wishes) -> list[Recipe]:
    """The graphs to build for the devices, the server's first; those that can share one do.

    Raises CannotBuild.
    """
    found: dict[str, Recipe] = {}
    for name in sorted(devices, key=lambda name: name not in SERVER_DEVICES):
        device = _RECIPES[name]
        before = found.get(device.stem)
        if before:
            found[device.stem] = replace(before, devices=(*before.devices, name))
        else:
            found[device.stem] = _recipe(name, device, wishes)
    return list(found.values())


def _recipe(name: str, device: _Device, wishes: Wishes) -> Recipe:
    precision = wishes.precision or "int4"
    if precision not in device.precisions:
        raise CannotBuild(
            f"{name} cannot be built with --precision {precision}; it takes {', '.join(device.precisions)}."
        )
    level = device.accuracy_level if wishes.accuracy_level is None else wishes.accuracy_level
    options = list(device.options)
    if precision in ("int4", "int8"):
        options += [f"block_size={wishes.block_size or device.block_size}", f"accuracy_level={level}"]
    if precision == "int4" and (wishes.head or device.head) == "int8" and name != "webnn":
        options.append("matmul_mixed_precision=last_matmul:int8")
    if not wishes.all_logits:
        options.append("prune_lm_head=true")
    io_bytes = {"fp16": 2, "fp32": 4}.get(precision, device.io_bytes)
    return Recipe(
        stem=device.stem,
        devices=(name,),
        provider=device.provider,
        precision=precision,
        options=tuple(options),
        io_bytes=io_bytes,
        accuracy_level=level if precision in ("int4", "int8") else 0,
        shard_bytes=None if name in SERVER_DEVICES else SHARD_BYTES,
    )
