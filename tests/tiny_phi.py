"""Model folders of some 100 kB with random weights, made while the tests run.

A grammar that holds such a model holds any model: it has no idea what JSON is. The graph is a one-layer Phi-3
decoder over bytes; `PHI_4` gives it Phi-4-mini's control tokens, `PHI_3` Phi-3's, which has none for tools.
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
    PromptFormat,
    SamplingDefaults,
    Variant,
    describe_file,
    write_manifest,
)

HIDDEN, HEADS, HEAD_SIZE = 32, 2, 16
CONTEXT_LENGTH = 32_768
_FILES = ("genai_config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx")


@dataclass(frozen=True)
class Family:
    """special: control tokens marked as such in tokenizer.json; Phi-4-mini's tool tokens are not."""

    prompt_format: PromptFormat
    special: frozenset[str]


def _family(pairs: Mapping[str, tuple[str, str]], tokens: tuple[str, ...], **rest: Any) -> Family:
    plain = {token for token in tokens if "tool" in token}
    return Family(
        PromptFormat(roles=pairs, end=("<|end|>", "<|endoftext|>"), control=tokens, **rest),
        frozenset(tokens) - plain,
    )


_ROLES = ("system", "user", "assistant")
_TOOL_TOKENS = ("<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>", "<|tool_response|>")
PHI_4 = _family(
    {**{role: (f"<|{role}|>", "<|end|>") for role in _ROLES}, "tool": ("<|tool_response|>", "<|end|>")},
    ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", *_TOOL_TOKENS),
    prefix="",
    generation="<|assistant|>",
    tools=("<|tool|>", "<|/tool|>"),
    tool_call=("<|tool_call|>", "<|/tool_call|>"),
)
PHI_3 = _family(
    {role: (f"<|{role}|>\n", "<|end|>\n") for role in _ROLES},
    ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    prefix="",
    generation="<|assistant|>\n",
)


def tiny_phi(
    folder: Path, family: Family, *, bias: Mapping[str, float] | None = None, seed: int = 0
) -> Manifest:
    """Make the model in `folder`, which is empty. Skips the test where onnx is missing.

    bias: single characters or control tokens the model prefers, with what is added to their logits.
    """
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'toolchain')")
    vocabulary = _vocabulary(family.prompt_format.control)
    biases = {
        vocabulary[_BYTES.get(ord(text), text) if len(text) == 1 else text]: value
        for text, value in (bias or {}).items()
    }
    for name, data in small_files(family).items():
        (folder / name).write_bytes(data)
    _write_graph(folder / "model.onnx", len(vocabulary), biases, seed)
    manifest = _manifest(folder, family.prompt_format)
    write_manifest(folder, manifest)
    return manifest


def small_files(family: Family) -> dict[str, bytes]:
    """The folder's files without the graph, by names; wants nothing installed."""
    vocabulary = _vocabulary(family.prompt_format.control)
    documents = {
        "genai_config.json": _genai_config(vocabulary, family.prompt_format),
        "tokenizer.json": _tokenizer(vocabulary, family),
        "tokenizer_config.json": _tokenizer_config(),
    }
    return {name: json.dumps(document).encode() for name, document in documents.items()}


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + n) for n, byte in enumerate(moved)}


_BYTES = _byte_characters()


def _vocabulary(control: tuple[str, ...]) -> dict[str, int]:
    texts = [*(_BYTES[byte] for byte in range(256)), *control]
    return {text: number for number, text in enumerate(texts)}


def _tokenizer(vocabulary: Mapping[str, int], family: Family) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": vocabulary[token], "content": token, **flags, "special": token in family.special}
        for token in family.prompt_format.control
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    plain = {text: number for text, number in vocabulary.items() if number < 256}
    model: dict[str, Any] = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": plain,
        "merges": [],
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }


def _tokenizer_config() -> dict[str, Any]:
    names = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "pad", "unk")}
    return {"add_bos_token": False, "add_eos_token": False, "tokenizer_class": "GPT2Tokenizer", **names}


def _genai_config(vocabulary: Mapping[str, int], prompt_format: PromptFormat) -> dict[str, Any]:
    begin = vocabulary["<|endoftext|>"]
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": HEAD_SIZE,
        "hidden_size": HIDDEN,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": HEADS,
        "num_hidden_layers": 1,
        "num_key_value_heads": HEADS,
    }
    model = {
        "bos_token_id": begin,
        "pad_token_id": begin,
        "context_length": CONTEXT_LENGTH,
        "type": "phi3",
        "eos_token_id": [vocabulary[token] for token in prompt_format.end],
        "vocab_size": len(vocabulary),
        "decoder": decoder,
    }
    search = {
        "do_sample": False,
        "max_length": CONTEXT_LENGTH,
        "num_beams": 1,
        "num_return_sequences": 1,
        "past_present_share_buffer": True,
        "top_k": 1,
    }
    return {"model": model, "search": search}


def _write_graph(path: Path, vocabulary: int, biases: Mapping[int, float], seed: int) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int, scale: float = 0.3) -> Any:
        return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)

    bias = np.zeros(vocabulary, np.float32)
    for token, value in biases.items():
        bias[token] = value
    constants = [
        weights("embedding", vocabulary, HIDDEN),
        weights("qkv", HIDDEN, 3 * HIDDEN),
        weights("o", HIDDEN, HIDDEN),
        weights("head", HIDDEN, vocabulary, scale=1.5),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array(1, np.int64), "one"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    past, present = "past_key_values.0", "present.0"
    node = helper.make_node
    nodes = [
        node("Gather", ["embedding", "input_ids"], ["x"]),
        node("MatMul", ["x", "qkv"], ["all"]),
        node("Split", ["all"], ["q", "k", "v"], axis=2, num_outputs=3),
        node("ReduceSum", ["attention_mask", "axis"], ["lengths"], keepdims=0),
        node("Sub", ["lengths", "one"], ["last"]),
        node("Cast", ["last"], ["last32"], to=TensorProto.INT32),
        node("Shape", ["attention_mask"], ["mask_shape"]),
        node("Gather", ["mask_shape", "one"], ["total"]),
        node("Cast", ["total"], ["total32"], to=TensorProto.INT32),
        node(
            "GroupQueryAttention",
            ["q", "k", "v", f"{past}.key", f"{past}.value", "last32", "total32"],
            ["attended", f"{present}.key", f"{present}.value"],
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=HEADS,
        ),
        node("MatMul", ["attended", "o"], ["mixed"]),
        node("Add", ["x", "mixed"], ["y"]),
        node("MatMul", ["y", "head"], ["unbiased"]),
        node("Add", ["unbiased", "bias"], ["logits"]),
    ]
    tensor = helper.make_tensor_value_info
    floats = TensorProto.FLOAT
    inputs = [
        tensor(name, TensorProto.INT64, ["b", size])
        for name, size in (("input_ids", "s"), ("attention_mask", "t"))
    ]
    inputs += [tensor(f"{past}.{kv}", floats, ["b", HEADS, "p", HEAD_SIZE]) for kv in ("key", "value")]
    outputs = [tensor("logits", floats, ["b", "s", vocabulary])]
    outputs += [tensor(f"{present}.{kv}", floats, ["b", HEADS, "t", HEAD_SIZE]) for kv in ("key", "value")]
    graph = helper.make_graph(nodes, "tiny-phi", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def _manifest(folder: Path, prompt_format: PromptFormat) -> Manifest:
    bytes_per_token = 2 * HEADS * HEAD_SIZE * 4
    variant = Variant(_FILES, (folder / "model.onnx").stat().st_size, bytes_per_token, Canary((), ()))
    return Manifest(
        id=folder.name,
        name="tiny",
        description="random weights",
        family="phi3",
        license="MIT",
        origin={"source": "tests", "revision": "0"},
        context_length=CONTEXT_LENGTH,
        sampling=SamplingDefaults(0.0, 1.0, 0),
        system_prompt=None,
        prompt_format=prompt_format,
        files={name: describe_file(folder / name) for name in _FILES},
        variants={"server-cpu": variant},
    )
