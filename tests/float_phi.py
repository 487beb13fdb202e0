"""A small float32 Phi in the shape that ORT GenAI's model builder exports, with random weights.

Two layers with norms, grouped-query attention over packed q, k and v, a gated MLP and a pruned head, the
weights in a file of their own. Some channels of the norms are large, as in trained models: that is what AWQ
lives on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localphi.models.manifest import (
    Canary,
    Manifest,
    SamplingDefaults,
    Variant,
    describe_file,
    write_manifest,
)
from tiny_phi import PHI_4, small_files

_FILES = ("genai_config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx", "model.onnx.data")


@dataclass(frozen=True)
class FloatShape:
    """fused: gate and up are one MatMul and a Split. pruned: logits of the last position only."""

    vocabulary: int = 266
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 128
    context: int = 512
    rope_theta: float = 10_000.0
    fused: bool = False
    pruned: bool = True

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


SMALL = FloatShape()


def float_phi(
    folder: Path, shape: FloatShape = SMALL, *, seed: int = 0, weights: Mapping[str, Any] | None = None
) -> Manifest:
    """Make the model in `folder`, which is empty. Skips the test where onnx is missing.

    weights: instead of the random ones, by the names that the builder gives them.
    """
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'quantize')")
    for name, data in small_files(PHI_4).items():
        (folder / name).write_bytes(data)
    _write_config(folder / "genai_config.json", shape)
    write_float_graph(folder / "model.onnx", shape, seed, weights)
    manifest = _manifest(folder, shape)
    write_manifest(folder, manifest)
    return manifest


def random_weights(shape: FloatShape, seed: int) -> dict[str, Any]:
    """The initializers that training would have found."""
    import numpy as np

    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Any:
        return (random.standard_t(5, (rows, columns)) * 0.7 / rows**0.5).astype(np.float32)

    def norm() -> Any:
        values = np.exp(0.3 * random.standard_normal(shape.hidden))
        values[random.choice(shape.hidden, 3, replace=False)] *= 12  # the outliers
        return values.astype(np.float32)

    width = (shape.heads + 2 * shape.kv_heads) * shape.head_size
    found = {"model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden) * 8}
    for number in range(shape.layers):
        start = f"model.layers.{number}"
        found |= {
            f"{start}.input_layernorm.weight": norm(),
            f"{start}.attn.qkv_proj.MatMul.weight": matrix(shape.hidden, width),
            f"{start}.attn.o_proj.MatMul.weight": matrix(shape.hidden, shape.hidden),
            f"{start}.post_attention_layernorm.weight": norm(),
            f"{start}.mlp.gate_proj.MatMul.weight": matrix(shape.hidden, shape.intermediate),
            f"{start}.mlp.up_proj.MatMul.weight": matrix(shape.hidden, shape.intermediate),
            f"{start}.mlp.down_proj.MatMul.weight": matrix(shape.intermediate, shape.hidden),
        }
    found[f"model.layers.{shape.layers}.final_norm_layernorm.weight"] = norm()
    found["lm_head.MatMul.weight"] = matrix(shape.hidden, shape.vocabulary)
    return found


def write_float_graph(path: Path, shape: FloatShape, seed: int, weights: Mapping[str, Any] | None) -> None:
    """Write the graph, and its weights beside it as NAME.data."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    values = dict(weights or random_weights(shape, seed))
    if shape.fused:
        for number in range(shape.layers):
            start = f"model.layers.{number}.mlp"
            both = [values.pop(f"{start}.{name}_proj.MatMul.weight") for name in ("gate", "up")]
            values[f"{start}.gate_up_proj.MatMul.weight"] = np.concatenate(both, axis=1)
    half = np.arange(0, shape.head_size, 2) / shape.head_size
    angles = np.arange(shape.context)[:, None] / shape.rope_theta ** half[None]
    values |= {"cos_cache": np.cos(angles).astype(np.float32), "sin_cache": np.sin(angles).astype(np.float32)}
    values |= {"one": np.array(1, np.int64), "axes": np.array([1], np.int64), "last": np.array(-1, np.int64)}
    graph = helper.make_graph(
        _nodes(shape),
        "main_graph",
        _tensors("past_key_values", "p", shape, [("input_ids", "s"), ("attention_mask", "t")]),
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["b", 1 if shape.pruned else "s", shape.vocabulary]
            ),
            *_tensors("present", "t", shape, []),
        ],
        [numpy_helper.from_array(value.copy(order="C"), name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=200)


def _nodes(shape: FloatShape) -> list[Any]:
    from onnx import TensorProto, helper

    made: list[Any] = []

    def node(kind: str, inputs: list[str], name: str, outputs: list[str] | None = None, **rest: Any) -> str:
        outputs = outputs or [f"{name}/output_0"]
        made.append(helper.make_node(kind, inputs, outputs, name=name, **rest))
        return outputs[0]

    def matmul(source: str, name: str, outputs: list[str] | None = None) -> str:
        return node("MatMul", [source, name[1:].replace("/", ".") + ".weight"], name, outputs)

    lengths = node("ReduceSum", ["attention_mask", "axes"], "/model/mask/ReduceSum", keepdims=0)
    last = node("Sub", [lengths, "one"], "/model/mask/Sub")
    last = node("Cast", [last], "/model/mask/Sub/Cast", to=TensorProto.INT32)
    total = node("Shape", ["attention_mask"], "/model/mask/Shape")
    total = node("Gather", [total, "one"], "/model/mask/Gather")
    total = node("Cast", [total], "/model/mask/Gather/Cast", to=TensorProto.INT32)
    residual = node("Gather", ["model.embed_tokens.weight", "input_ids"], "/model/embed_tokens/Gather")
    added = ""

    def norm(number: int, name: str) -> str:
        """The norm of the residual stream and what was added to it; the sum becomes the stream."""
        nonlocal residual
        weight, place = f"model.layers.{number}.{name}.weight", f"/model/layers.{number}/{name}"
        if not added:
            rest: dict[str, Any] = {"axis": -1, "epsilon": 1e-5, "stash_type": 1}
            inputs = [residual, weight]
            return node("SimplifiedLayerNormalization", inputs, place, None, **rest)
        outputs = [f"{place}/output_0", "", "", f"{place}/output_3"]
        inputs = [residual, added, weight]
        residual = outputs[3]
        return node(
            "SkipSimplifiedLayerNormalization", inputs, place, outputs, domain="com.microsoft", epsilon=1e-5
        )

    for number in range(shape.layers):
        start = f"/model/layers.{number}"
        qkv = matmul(norm(number, "input_layernorm"), f"{start}/attn/qkv_proj/MatMul")
        past, present = f"past_key_values.{number}", f"present.{number}"
        attended = node(
            "GroupQueryAttention",
            [qkv, "", "", f"{past}.key", f"{past}.value", last, total, "cos_cache", "sin_cache"],
            f"{start}/attn/GroupQueryAttention",
            [f"{start}/attn/GroupQueryAttention/output_0", f"{present}.key", f"{present}.value"],
            domain="com.microsoft",
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            do_rotary=1,
        )
        added = matmul(attended, f"{start}/attn/o_proj/MatMul")
        after = norm(number, "post_attention_layernorm")
        if shape.fused:
            both = matmul(after, f"{start}/mlp/gate_up_proj/MatMul")
            gate, up = f"{start}/mlp/gate", f"{start}/mlp/up"
            node("Split", [both], f"{start}/mlp/Split", [gate, up], axis=-1, num_outputs=2)
        else:
            gate = matmul(after, f"{start}/mlp/gate_proj/MatMul")
            up = matmul(after, f"{start}/mlp/up_proj/MatMul")
        bent = node("Sigmoid", [gate], f"{start}/mlp/act_fn/Sigmoid")
        bent = node("Mul", [gate, bent], f"{start}/mlp/act_fn/Mul")
        added = matmul(node("Mul", [bent, up], f"{start}/mlp/Mul"), f"{start}/mlp/down_proj/MatMul")
    end = norm(shape.layers, "final_norm_layernorm")
    if shape.pruned:
        end = node("Gather", [end, "last"], "/lm_head/prune/Gather", axis=1)
        end = node("Unsqueeze", [end, "axes"], "/lm_head/prune/Unsqueeze")
    matmul(end, "/lm_head/MatMul", ["logits"])
    return made


def _tensors(start: str, axis: str, shape: FloatShape, before: list[tuple[str, str]]) -> list[Any]:
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    return [info(name, TensorProto.INT64, ["b", size]) for name, size in before] + [
        info(f"{start}.{n}.{kind}", TensorProto.FLOAT, ["b", shape.kv_heads, axis, shape.head_size])
        for kind in ("key", "value")
        for n in range(shape.layers)
    ]


def _write_config(path: Path, shape: FloatShape) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"] |= {"context_length": shape.context, "vocab_size": shape.vocabulary}
    config["model"]["decoder"] |= {
        "head_size": shape.head_size,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
    }
    config["search"]["max_length"] = shape.context
    path.write_text(json.dumps(config), encoding="utf-8")


def _manifest(folder: Path, shape: FloatShape) -> Manifest:
    variant = Variant(
        files=_FILES,
        weights_bytes=(folder / "model.onnx.data").stat().st_size,
        kv_bytes_per_token=2 * shape.layers * shape.kv_heads * shape.head_size * 4,
        canary=Canary(tuple(range(65, 105)), ()),
    )
    return Manifest(
        id="small-fp32",
        name="small",
        description="random weights",
        family="phi3",
        license="MIT",
        origin={"source": "tests", "revision": "0"},
        context_length=shape.context,
        sampling=SamplingDefaults(0.0, 1.0, 0),
        system_prompt=None,
        prompt_format=PHI_4.prompt_format,
        files={name: describe_file(folder / name) for name in _FILES},
        variants=dict.fromkeys(("server-cpu", "wasm"), variant),
    )
