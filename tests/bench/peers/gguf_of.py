"""The weights of a localphi model as a GGUF file, for llama.cpp: the same integers with the same scales.

A MatMulNBits of 4 bits without zero points, in blocks of a multiple of 32, is what GGUF calls Q4_0, and one
of 8 bits Q8_0; only the scales are rounded from float32 to float16. Norms stay float32, embeddings become
float16. The vocabulary is made up, one word a token: the bench asks with ids, and any text will do.

    pip install gguf==0.19.0 onnx
    python tests/bench/peers/gguf_of.py MODEL_FOLDER out.gguf
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "webapp"))

from localphi.toolchain.openvino.weights import Array, Weights

BLOCK = 32
FIRST_WORD = 259  # behind three control tokens and the bytes


def q4_0(packed: Array, scales: Array, n: int) -> Array:
    """(N, bytes) of GGUF blocks: a float16 scale, then element i and i + 16 in byte i."""
    pairs = np.asarray(packed, np.uint8).reshape(n, -1)
    values = np.stack([pairs & 0x0F, pairs >> 4], axis=-1).reshape(n, -1, BLOCK)  # (N, blocks, 32)
    halves = values[..., : BLOCK // 2] | (values[..., BLOCK // 2 :] << 4)
    return _with_scales(halves, scales, n)


def q8_0(packed: Array, scales: Array, n: int) -> Array:
    """(N, bytes) of GGUF blocks: a float16 scale, then 32 signed bytes."""
    values = np.asarray(packed, np.uint8).reshape(n, -1, BLOCK) ^ np.uint8(0x80)
    return _with_scales(values, scales, n)


def _with_scales(values: Array, scales: Array, n: int) -> Array:
    blocks = values.shape[1]
    factors = np.asarray(scales, np.float32).reshape(n, -1).astype(np.float16)
    factors = np.repeat(factors, blocks // factors.shape[1], axis=1)[..., None]  # larger blocks share theirs
    return np.concatenate([factors.view(np.uint8), values], axis=-1).reshape(n, -1)


class Writer:
    def __init__(self, folder: Path, out: Path) -> None:
        self._settings = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]
        path = folder / self._settings["decoder"]["filename"]
        graph = onnx.load(path, load_external_data=False).graph
        self._weights = Weights(graph, path.parent)
        self._nodes = {node.input[1]: node for node in graph.node if node.op_type == "MatMulNBits"}
        self._theta = self._rope_theta()
        self._file = gguf.GGUFWriter(str(out), "phi3")

    def write(self) -> None:
        self._describe()
        self._vocabulary()
        self._add("token_embd.weight", np.asarray(self._weights["model.embed_tokens.weight"], np.float16))
        layers = self._settings["decoder"]["num_hidden_layers"]
        for number in range(layers):
            self._layer(f"model.layers.{number}", f"blk.{number}")
        self._norm(f"model.layers.{layers}.final_norm_layernorm", "output_norm")
        self._matrix(("lm_head",), "output")
        self._file.write_header_to_file()
        self._file.write_kv_data_to_file()
        self._file.write_tensors_to_file()
        self._file.close()

    def _describe(self) -> None:
        decoder, file = self._settings["decoder"], self._file
        file.add_context_length(self._settings["context_length"])
        file.add_embedding_length(decoder["hidden_size"])
        file.add_feed_forward_length(self._feed_forward())
        file.add_block_count(decoder["num_hidden_layers"])
        file.add_head_count(decoder["num_attention_heads"])
        file.add_head_count_kv(decoder["num_key_value_heads"])
        file.add_layer_norm_rms_eps(1e-5)
        file.add_rope_dimension_count(2 * int(self._weights["cos_cache"].shape[1]))
        file.add_rope_freq_base(self._theta)
        file.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)

    def _vocabulary(self) -> None:
        size = self._settings["vocab_size"]
        control, data = gguf.TokenType.CONTROL, gguf.TokenType.BYTE
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        kinds = [gguf.TokenType.UNKNOWN, control, control, *[data] * 256]
        tokens += [f"▁w{number}" for number in range(FIRST_WORD, size)]
        kinds += [gguf.TokenType.NORMAL] * (size - FIRST_WORD)
        self._file.add_tokenizer_model("llama")
        self._file.add_token_list(tokens)
        self._file.add_token_scores([0.0] * size)
        self._file.add_token_types(kinds)
        self._file.add_bos_token_id(1)
        self._file.add_eos_token_id(2)
        self._file.add_add_bos_token(False)

    def _layer(self, source: str, target: str) -> None:
        self._norm(f"{source}.input_layernorm", f"{target}.attn_norm")
        self._matrix((f"{source}.attn.qkv_proj",), f"{target}.attn_qkv")
        self._matrix((f"{source}.attn.o_proj",), f"{target}.attn_output")
        self._norm(f"{source}.post_attention_layernorm", f"{target}.ffn_norm")
        fused = f"{source}.mlp.gate_up_proj"
        apart = (f"{source}.mlp.gate_proj", f"{source}.mlp.up_proj")
        self._matrix((fused,) if self._name(fused) else apart, f"{target}.ffn_up")
        self._matrix((f"{source}.mlp.down_proj",), f"{target}.ffn_down")

    def _norm(self, source: str, target: str) -> None:
        self._add(f"{target}.weight", np.asarray(self._weights[f"{source}.weight"], np.float32))

    def _matrix(self, sources: tuple[str, ...], target: str) -> None:
        """One matrix, or several under one another."""
        parts, kinds = zip(*map(self._quantized, sources), strict=True)
        self._add(f"{target}.weight", np.concatenate(parts), kinds[0])

    def _quantized(self, source: str) -> tuple[Array, Any]:
        name = self._name(source)
        if name is None:
            raise SystemExit(
                f"{source} is not quantized by MatMulNBits: this model cannot become a GGUF here."
            )
        node = self._nodes[name]
        shape = {attribute.name: attribute.i for attribute in node.attribute}
        if len(node.input) > 3 and node.input[3]:
            raise SystemExit(f"{source} has zero points, which Q4_0 has not: quantize with --symmetric.")
        packed, scales = self._weights[name], self._weights[node.input[2]]
        if shape["bits"] == 4:
            return q4_0(packed, scales, shape["N"]), gguf.GGMLQuantizationType.Q4_0
        return q8_0(packed, scales, shape["N"]), gguf.GGMLQuantizationType.Q8_0

    def _name(self, source: str) -> str | None:
        return next((name for name in self._nodes if name.startswith(f"{source}.MatMul.")), None)

    def _feed_forward(self) -> int:
        name = self._name("model.layers.0.mlp.down_proj")
        return int(next(a.i for a in self._nodes[str(name)].attribute if a.name == "K"))

    def _rope_theta(self) -> float:
        """From the table: the angle of position 1 in the second pair is theta ** (-1 / pairs)."""
        cos, sin = (np.asarray(self._weights[name], np.float64) for name in ("cos_cache", "sin_cache"))
        return float(np.arctan2(sin[1, 1], cos[1, 1]) ** -cos.shape[1])

    def _add(self, name: str, data: Array, kind: Any = None) -> None:
        self._file.add_tensor(name, np.ascontiguousarray(data), raw_dtype=kind)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    Writer(options.folder, options.out).write()
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
