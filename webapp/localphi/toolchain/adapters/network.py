"""A model folder's graph as a PyTorch module, its weights frozen as they are served, its layers adaptable.

So an adapter learns on the very numbers that it will be added to, and no checkpoint is needed. It knows the
nodes that ORT GenAI's builder writes for Phi, reads whole texts at once, and keeps no cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from localphi.errors import CannotTrain
from localphi.toolchain.quantize.floatgraph import (
    attribute,
    constant_value,
    external_data,
    import_onnx,
    producers,
    read_graph,
    with_all_positions,
)

_OF_WEIGHTS = ("Constant", "If", "Reshape", "Transpose")  # nodes between a weight and who reads it


class GraphNetwork(nn.Module):  # type: ignore[misc]
    """logits (B, T, V) of token ids (B, T). Raises CannotTrain for a node that it does not know.

    sites: linear layers by the name of their node, with the name that adapters have for them. rank 0 for
    none: then there is nothing to learn.
    """

    def __init__(self, folder: Path, sites: Mapping[str, str], rank: int, scale: float) -> None:
        super().__init__()
        self._onnx = import_onnx()
        self._proto = with_all_positions(read_graph(folder))
        self._folder = folder
        self._written_by = producers(self._proto)
        self._tensors = {tensor.name: tensor for tensor in self._proto.graph.initializer}
        self._inputs = {entry.name for entry in self._proto.graph.input} - set(self._tensors)
        self._sites = dict(sites) if rank else {}
        self._scale = scale
        self._frozen: dict[str, Tensor] = {}
        self._values: dict[str, Any] = {}
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for node in self._proto.graph.node:
            if node.name in self._sites:
                outputs, inputs = self._matrix(node).shape
                key = _key(self._sites[node.name])
                down = torch.empty(inputs, rank)
                nn.init.kaiming_uniform_(down, a=math.sqrt(5))
                self.down[key], self.up[key] = nn.Parameter(down), nn.Parameter(torch.zeros(rank, outputs))

    def changes(self) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """A (inputs, rank) and B (rank, outputs) of each site, the scale in B."""
        found = {}
        for site in self._sites.values():
            down, up = self.down[_key(site)], self.up[_key(site)]
            found[site] = (down.detach().numpy().copy(), (up.detach() * self._scale).numpy().copy())
        return found

    def forward(self, ids: Tensor) -> Tensor:
        self._values = {"input_ids": ids}
        try:
            logits: Tensor = self._value("logits")
        finally:
            self._values = {}
        return logits

    def _value(self, name: str) -> Any:
        """Of a tensor; those that it is made of are computed first, in the order of the graph."""
        wanted, needed = [name], set()
        while wanted:
            current = wanted.pop()
            if current in self._values or current in needed or current in self._tensors or not current:
                continue
            if current not in self._written_by:
                raise CannotTrain(f"The graph reads '{current}', which is not known here.")
            node = self._proto.graph.node[self._written_by[current]]
            if node.op_type not in _OF_WEIGHTS:
                needed.add(current)
                wanted += _reads(node)
        for number in sorted({self._written_by[current] for current in needed}):
            self._run(self._proto.graph.node[number])
        return self._values[name]

    def _run(self, node: Any) -> None:
        handler = getattr(self, f"_on_{node.op_type.lower()}", None)
        if handler is None:
            raise CannotTrain(
                f"The graph has a node {node.op_type} ('{node.name}'), which is not known here."
            )
        made = handler(node)
        self._values[node.output[0]] = made

    def _get(self, name: str) -> Tensor:
        value: Tensor = self._values[name] if name in self._values else self._weight(name)
        return value

    def _weight(self, name: str) -> Tensor:
        if name not in self._frozen:
            self._frozen[name] = torch.from_numpy(np.array(self._array(name)))
        return self._frozen[name]

    def _array(self, name: str) -> Any:
        """The numbers of an initializer, of a constant, or of one of them in another shape."""
        if name in self._tensors:
            tensor = self._tensors[name]
            if tensor.data_location != self._onnx.TensorProto.EXTERNAL:
                return self._onnx.numpy_helper.to_array(tensor)
            path, offset, _ = external_data(self._folder, tensor)
            kind = self._onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            return np.memmap(path, kind, "r", offset, tuple(tensor.dims))
        node = self._proto.graph.node[self._written_by[name]] if name in self._written_by else None
        if node is not None and node.op_type == "Transpose":
            return self._array(node.input[0]).transpose(attribute(node, "perm", None))
        if node is not None and node.op_type == "Reshape":
            return self._array(node.input[0]).reshape(self._array(node.input[1]))
        if node is not None and node.op_type == "If":
            return self._short_table(node, name)
        found = constant_value(self._proto, name, self._written_by)
        if found is None:
            raise CannotTrain(f"The graph computes '{name}', which should be a weight.")
        return found

    def _short_table(self, node: Any, name: str) -> Any:
        """What the branch for short texts gives: the builder asks whether the text is long."""
        branch = attribute(node, "else_branch", None)
        output = branch.output[list(node.output).index(name)].name
        inside = {tensor.name: tensor for tensor in branch.initializer}
        if output in inside:
            return self._onnx.numpy_helper.to_array(inside[output])
        for each in branch.node:
            if output in each.output:
                if each.op_type == "Constant":
                    return self._onnx.numpy_helper.to_array(attribute(each, "value", None))
                return self._array(each.input[0])  # Identity
        return self._array(output)

    # Nodes

    def _on_gather(self, node: Any) -> Tensor:
        return functional.embedding(self._get(node.input[1]), self._get(node.input[0]))

    def _on_gatherblockquantized(self, node: Any) -> Tensor:
        data = self._array(node.input[0])
        zeros = self._array(node.input[3]) if len(node.input) > 3 and node.input[3] else None
        bits, block = attribute(node, "bits", 4), attribute(node, "block_size", 128)
        rows = data.reshape(len(data), -1)
        table = _dequantized(
            rows, self._array(node.input[2]), zeros, bits=bits, block=block, inputs=rows.shape[1] * 8 // bits
        )
        name = f"{node.name} as floats"
        self._frozen.setdefault(name, torch.from_numpy(table))
        return functional.embedding(self._values["input_ids"], self._frozen[name])

    def _on_cast(self, node: Any) -> Tensor:
        return self._get(node.input[0])

    def _on_add(self, node: Any) -> Tensor:
        return self._get(node.input[0]) + self._get(node.input[1])

    def _on_mul(self, node: Any) -> Tensor:
        return self._get(node.input[0]) * self._get(node.input[1])

    def _on_sigmoid(self, node: Any) -> Tensor:
        return torch.sigmoid(self._get(node.input[0]))

    def _on_gelu(self, node: Any) -> Tensor:
        return functional.gelu(self._get(node.input[0]))

    def _on_fastgelu(self, node: Any) -> Tensor:
        return functional.gelu(self._get(node.input[0]), approximate="tanh")

    def _on_split(self, node: Any) -> Tensor:
        data, axis = self._get(node.input[0]), attribute(node, "axis", 0)
        sizes = self._array(node.input[1]).tolist() if len(node.input) > 1 else None
        parts = data.split(sizes or data.shape[axis] // len(node.output), dim=axis)
        for name, part in zip(node.output[1:], parts[1:], strict=True):
            self._values[name] = part
        return parts[0]

    def _on_matmul(self, node: Any) -> Tensor:
        return self._linear(node)

    def _on_matmulnbits(self, node: Any) -> Tensor:
        made = self._linear(node)
        return made + self._weight(node.input[5]) if len(node.input) > 5 and node.input[5] else made

    def _linear(self, node: Any) -> Tensor:
        data = self._get(node.input[0])
        made = functional.linear(data, self._matrix(node))
        site = self._sites.get(node.name)
        if site is None:
            return made
        return made + (data @ self.down[_key(site)]) @ self.up[_key(site)] * self._scale

    def _matrix(self, node: Any) -> Tensor:
        """The weight of a linear layer, (outputs, inputs)."""
        name = f"{node.name} as floats"
        if name not in self._frozen:
            if node.op_type == "MatMulNBits":
                names = [*node.input, *[""] * (6 - len(node.input))]
                if names[4]:
                    raise CannotTrain(f"'{node.name}' has reordered weights (g_idx), not known here.")
                numbers = _dequantized(
                    self._array(names[1]),
                    self._array(names[2]),
                    self._array(names[3]) if names[3] else None,
                    bits=attribute(node, "bits", 4),
                    block=attribute(node, "block_size", 32),
                    inputs=attribute(node, "K", 0),
                )
            else:
                numbers = np.array(self._array(node.input[1]), np.float32).T.copy()
            self._frozen[name] = torch.from_numpy(numbers)
        return self._frozen[name]

    def _on_simplifiedlayernormalization(self, node: Any) -> Tensor:
        return self._rms(self._get(node.input[0]), node.input[1], node)

    def _on_skipsimplifiedlayernormalization(self, node: Any) -> Tensor:
        return self._rms(self._sum(node), node.input[2], node)

    def _on_layernormalization(self, node: Any) -> Tensor:
        return self._norm(self._get(node.input[0]), node.input[1], node.input[2], node)

    def _on_skiplayernormalization(self, node: Any) -> Tensor:
        return self._norm(self._sum(node), node.input[2], node.input[3], node)

    def _sum(self, node: Any) -> Tensor:
        total = self._get(node.input[0]) + self._get(node.input[1])
        if len(node.output) > 3 and node.output[3]:
            self._values[node.output[3]] = total
        return total

    def _rms(self, data: Tensor, weight: str, node: Any) -> Tensor:
        epsilon = attribute(node, "epsilon", 1e-5)
        return data * torch.rsqrt(data.square().mean(-1, keepdim=True) + epsilon) * self._weight(weight)

    def _norm(self, data: Tensor, weight: str, bias: str, node: Any) -> Tensor:
        epsilon = attribute(node, "epsilon", 1e-5)
        return functional.layer_norm(
            data, (data.shape[-1],), self._weight(weight), self._weight(bias), epsilon
        )

    def _on_groupqueryattention(self, node: Any) -> Tensor:
        heads, kv_heads = attribute(node, "num_heads", 0), attribute(node, "kv_num_heads", 0)
        first = self._get(node.input[0])
        if node.input[1]:
            parts = [first, self._get(node.input[1]), self._get(node.input[2])]
            size = first.shape[-1] // heads
        else:
            size = first.shape[-1] // (heads + 2 * kv_heads)
            parts = list(first.split([heads * size, kv_heads * size, kv_heads * size], dim=-1))
        query, key, value = (part.unflatten(-1, (-1, size)).transpose(1, 2) for part in parts)
        if attribute(node, "do_rotary", 0):
            query, key = (self._turned(part, node.input[7], node.input[8]) for part in (query, key))
        key, value = (part.repeat_interleave(heads // kv_heads, dim=1) for part in (key, value))
        scale = attribute(node, "scale", 0.0) or size**-0.5
        window = attribute(node, "local_window_size", -1)
        length = query.shape[2]
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        if window > 0:
            seen = seen.triu(1 - window)
        made = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
        return made.transpose(1, 2).flatten(2)

    def _turned(self, data: Tensor, cosines: str, sines: str) -> Tensor:
        """Rotary positions on the first part of each head, as far as the tables reach."""
        cos, sin = (self._weight(name)[: data.shape[2]] for name in (cosines, sines))
        half = cos.shape[1]
        left, right, rest = data[..., :half], data[..., half : 2 * half], data[..., 2 * half :]
        return torch.cat([left * cos - right * sin, right * cos + left * sin, rest], dim=-1)


def _reads(node: Any) -> list[str]:
    """What a node needs: not the lengths and the cache of an attention, for the texts are whole."""
    most = {"GroupQueryAttention": 3, "MatMulNBits": 1, "GatherBlockQuantized": 0}.get(node.op_type)
    return [name for name in node.input[:most] if name]


def _key(site: str) -> str:
    """A name that a ParameterDict takes."""
    return site.replace(".", "/")


def _dequantized(packed: Any, scales: Any, zeros: Any, *, bits: int, block: int, inputs: int) -> Any:
    """(outputs, inputs) float32 of blockwise integers. zeros None: the zero points lie in the middle."""
    rows = len(packed)
    codes = _codes(np.asarray(packed).reshape(rows, -1), bits).reshape(rows, -1, block)
    blocks = codes.shape[1]
    middle = np.float32(1 << (bits - 1))
    points: Any = middle
    if zeros is not None:
        points = np.asarray(zeros)
        if points.dtype == np.uint8:
            points = _codes(points.reshape(rows, -1), bits)[:, :blocks]
        points = points.reshape(rows, blocks, 1).astype(np.float32)
    numbers = (codes.astype(np.float32) - points) * np.asarray(scales, np.float32).reshape(rows, blocks, 1)
    return np.ascontiguousarray(numbers.reshape(rows, -1)[:, :inputs])


def _codes(packed: Any, bits: int) -> Any:
    """The numbers in bytes; of two in one the lower half comes first."""
    if bits == 8:
        return packed
    if bits == 4:
        return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    raise CannotTrain(f"Weights of {bits} bits are not known here.")
