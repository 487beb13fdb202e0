"""From a graph with GroupQueryAttention to one with a paged cache, over the same weights.

What stays is everything that works on each token alone: embedding, norms, projections, MLP, head. The tokens
of all conversations go through it as one row (1, N, hidden). What is replaced is what looks across tokens:
the attention, the positions by which queries and keys are turned, and which tokens get logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localphi.errors import CannotRewrite
from localphi.models.paged import PAGED_INPUTS
from localphi.toolchain.graphs.nodes import CONTRIB, Nodes
from localphi.toolchain.graphs.paged_attention import Cache, PagedAttention, Projections
from localphi.toolchain.graphs.paged_rotary import RotaryTables
from localphi.toolchain.graphs.paged_step import Shape, Step, write_mask, write_step
from localphi.toolchain.quantize.floatgraph import (
    attribute,
    import_onnx,
    producers,
    with_all_positions,
)

PREFIX = "/paged"
_KNOWN_INPUTS = {"input_ids", "attention_mask", "position_ids"}
_INPUT_SIZES: Mapping[str, list[int | str]] = {
    "cumulative_sequence_lengths": ["num_ends"],
    "past_sequence_lengths": ["batch_size"],
    "block_table": ["batch_size", "num_columns"],
    "attention_metadata": [3],
    "logits_indices": ["num_logits"],
}
_KNOWN_ATTRIBUTES = {
    "num_heads",
    "kv_num_heads",
    "scale",
    "local_window_size",
    "do_rotary",
    "rotary_interleaved",
}
# What GroupQueryAttention can do beyond what is written here, with the value that switches it off.
_EXTRAS = {"softcap": 0.0, "smooth_softmax": 0, "k_quant_type": b"NONE", "v_quant_type": b"NONE"}
_FIRST_EXTRA_INPUT = 10
# Of a token's keys, read from the cache together: of 2000 tokens they nearly fit a processor's second cache.
_NUMBERS_AT_ONCE = 256
# Works on each number alone, so that it may stand between the head and the logits.
_ELEMENTWISE = {"Add", "Cast", "Div", "Identity", "Mul", "Tanh"}
_HEADS = {"MatMul", "MatMulNBits", "Gemm"}


@dataclass(frozen=True)
class PagedProto:
    """proto: the graph. positions: how many of them it is right for, None when nothing in it limits them."""

    proto: Any
    positions: int | None


def paged_proto(proto: Any, *, head_size: int, block_tokens: int) -> PagedProto:
    """The paged form of a decoder graph; `proto` is not changed. Raises CannotRewrite, naming the node."""
    return _Rewriter(proto, head_size, block_tokens).rewrite()


class _Rewriter:
    def __init__(self, proto: Any, head_size: int, block_tokens: int) -> None:
        self._onnx = import_onnx()
        self._proto = with_all_positions(proto)
        self._graph = self._proto.graph
        self._written_by = producers(self._proto)
        self._attention = [node for node in self._graph.node if node.op_type == "GroupQueryAttention"]
        if not self._attention:
            raise CannotRewrite(_no_attention(self._graph))
        self._shape = self._read_shape(head_size, block_tokens)
        self._tables = RotaryTables(self._proto, PREFIX)
        self._nodes = Nodes(PREFIX)
        self._constants: dict[str, Any] = {}
        self._masks: dict[int, str] = {}

    def rewrite(self) -> PagedProto:
        self._check_ends()
        step = write_step(self._nodes, self._shape)
        replaced = {node.output[0]: self._replace(node, step) for node in self._attention}
        self._turn(step)
        self._take_tokens()
        replaced |= self._choose_logits()
        nodes = list(self._nodes.written)
        for node in self._graph.node:
            nodes += replaced.get(node.output[0], [node])
        self._write(nodes)
        return PagedProto(self._proto, self._tables.positions)

    def _read_shape(self, head_size: int, block_tokens: int) -> Shape:
        first = self._attention[0]
        heads, kv_heads = (attribute(first, name, 0) for name in ("num_heads", "kv_num_heads"))
        for node in self._attention:
            if (attribute(node, "num_heads", 0), attribute(node, "kv_num_heads", 0)) != (heads, kv_heads):
                raise CannotRewrite(f"The node {node.name} has other numbers of heads than {first.name}.")
        return Shape(heads, kv_heads, head_size, block_tokens, max(1, _NUMBERS_AT_ONCE // head_size))

    def _check_ends(self) -> None:
        """That the graph takes and gives nothing that a paged one would not."""
        caches = {name for node in self._attention for name in (*node.input[3:5], *node.output[1:3])}
        given = {tensor.name: tensor.type.tensor_type.elem_type for tensor in self._graph.input}
        weights = {tensor.name for tensor in self._graph.initializer}
        if unknown := sorted(set(given) - weights - caches - _KNOWN_INPUTS):
            raise CannotRewrite(
                f"The graph has an input {unknown[0]!r}, which ORT GenAI's engine cannot give."
            )
        if "input_ids" not in given:
            raise CannotRewrite("The graph has no input 'input_ids'.")
        outputs = [tensor.name for tensor in self._graph.output if tensor.name not in caches]
        if outputs != ["logits"]:
            raise CannotRewrite(
                f"The graph gives {', '.join(outputs) or 'no logits'}, but 'logits' are wanted."
            )
        for node in self._attention:
            _check_attention(node)
            if given.get(node.input[3]) != self._onnx.TensorProto.FLOAT:
                raise CannotRewrite(
                    f"The cache of the node {node.name} is not float32, but that is what CPUs compute in. "
                    "Export the model for the CPU (model builder: -e cpu)."
                )

    def _replace(self, node: Any, step: Step) -> list[Any]:
        """The nodes that compute what a GroupQueryAttention computes."""
        nodes, window = Nodes(f"{PREFIX}{node.name}"), max(attribute(node, "local_window_size", -1), 0)
        new = Projections(*self._separate(node, step, nodes))
        keys, values = (Cache(*names) for names in zip(node.input[3:5], node.output[1:3], strict=True))
        scale = attribute(node, "scale", 0.0) or self._shape.head_size**-0.5
        attention = PagedAttention(nodes, self._shape, step, self._mask(step, window))
        attention.write(new, (keys, values), scale, node.output[0])
        self._constants |= nodes.constants
        return nodes.written

    def _mask(self, step: Step, window: int) -> str:
        if window not in self._masks:
            self._masks[window] = write_mask(self._nodes, step, window)
        return self._masks[window]

    def _separate(self, node: Any, step: Step, nodes: Nodes) -> tuple[str, str, str]:
        """Query, key and value of an attention node, the first two turned by their positions."""
        shape, (query, key, value) = self._shape, node.input[:3]
        turned = attribute(node, "do_rotary", 0)
        queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
        if not key and turned:
            both, value = nodes.split(query, (queries + keys, keys), axis=-1)
            both = self._rotary(node, step, nodes, both, shape.heads + shape.kv_heads)
            query, key = nodes.split(both, (queries, keys), axis=-1)
        elif not key:
            query, key, value = nodes.split(query, (queries, keys, keys), axis=-1)
        elif turned:
            query = self._rotary(node, step, nodes, query, shape.heads)
            key = self._rotary(node, step, nodes, key, shape.kv_heads)
        return query, key, value

    def _rotary(self, node: Any, step: Step, nodes: Nodes, source: str, heads: int) -> str:
        cosines, sines = (self._tables.name(node, name) for name in node.input[7:9])
        size = self._tables.size(cosines)
        return nodes.add(
            "RotaryEmbedding",
            source,
            step.positions,
            cosines,
            sines,
            domain=CONTRIB,
            num_heads=heads,
            rotary_embedding_dim=0 if size == self._shape.head_size else size,
            interleaved=attribute(node, "rotary_interleaved", 0),
        )

    def _turn(self, step: Step) -> None:
        """Give the RotaryEmbedding nodes that stand before the attention the positions of the step."""
        for node in self._graph.node:
            if node.op_type == "RotaryEmbedding":
                node.input[1] = step.positions
                for number in (2, 3):
                    node.input[number] = self._tables.name(node, node.input[number])

    def _take_tokens(self) -> None:
        """input_ids becomes one row of all new tokens; the rest of the graph sees a batch of one."""
        batch = self._nodes.add("Unsqueeze", "input_ids", self._nodes.integers(0))
        for node in self._graph.node:
            for position, name in enumerate(node.input):
                if name == "input_ids":
                    node.input[position] = batch

    def _choose_logits(self) -> dict[str, list[Any]]:
        """Compute logits only of the tokens that the engine asks for. Gives what stands for some nodes."""
        last = head = self._writer("logits", "the output")
        while head.op_type in _ELEMENTWISE:
            computed = [name for name in head.input if name in self._written_by]
            head = self._writer(computed[0] if computed else "", head.name)
        if head.op_type not in _HEADS:
            wanted = ", ".join(sorted(_HEADS))
            raise CannotRewrite(
                f"The logits come from the node {head.name}, a {head.op_type}, but one of {wanted} is wanted."
            )
        nodes, batch = Nodes(f"{PREFIX}/logits"), f"{PREFIX}/logits/batch"
        head.input[0] = nodes.add("Gather", head.input[0], "logits_indices", axis=1)
        (gather,) = nodes.written
        last.output[0] = batch
        nodes.add("Squeeze", batch, nodes.integers(0), output="logits")
        squeeze = nodes.written[1]
        self._constants |= nodes.constants
        if last is head or last.name == head.name:
            return {batch: [gather, head, squeeze]}
        return {head.output[0]: [gather, head], batch: [last, squeeze]}

    def _writer(self, name: str, reader: str) -> Any:
        if name not in self._written_by:
            raise CannotRewrite(f"What {reader} is computed from is not in the graph.")
        return self._graph.node[self._written_by[name]]

    def _write(self, nodes: list[Any]) -> None:
        """Put the nodes into the graph, and keep of it what the outputs depend on."""
        graph, helper = self._graph, self._onnx.helper
        constants = {**self._nodes.constants, **self._constants, **self._tables.constants}
        caches = [tensor for tensor in graph.input if tensor.name not in _KNOWN_INPUTS]
        presents = [tensor for tensor in graph.output if tensor.name != "logits"]
        vocabulary = next(tensor for tensor in graph.output if tensor.name == "logits")
        width = vocabulary.type.tensor_type.shape.dim[-1]
        shape = self._shape
        sizes = ["num_blocks", shape.block_tokens, shape.kv_heads, shape.head_size]
        infos = [helper.make_tensor_value_info("input_ids", self._onnx.TensorProto.INT64, ["num_tokens"])]
        infos += [
            helper.make_tensor_value_info(name, self._onnx.TensorProto.INT32, _INPUT_SIZES[name])
            for name in PAGED_INPUTS
        ]
        floats = self._onnx.TensorProto.FLOAT
        infos += [helper.make_tensor_value_info(tensor.name, floats, sizes) for tensor in caches]
        outputs = [
            helper.make_tensor_value_info(
                "logits",
                vocabulary.type.tensor_type.elem_type,
                ["num_logits", width.dim_value or width.dim_param],
            ),
            *(helper.make_tensor_value_info(tensor.name, floats, sizes) for tensor in presents),
        ]
        for field, values in (("node", nodes), ("input", infos), ("output", outputs), ("value_info", [])):
            copies = [_copy(value) for value in values]
            del getattr(graph, field)[:]
            getattr(graph, field).extend(copies)
        graph.initializer.extend(constants.values())
        needed = {tensor.name for tensor in graph.output}
        kept: list[Any] = []
        for node in reversed(graph.node):  # nodes stand after what they read
            if needed.intersection(node.output):
                needed |= set(node.input) | _outer_names(node)
                kept.append(_copy(node))
        tensors = [_copy(tensor) for tensor in graph.initializer if tensor.name in needed]
        del graph.node[:]
        del graph.initializer[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(tensors)


def _check_attention(node: Any) -> None:
    names = {entry.name for entry in node.attribute} - _KNOWN_ATTRIBUTES
    extras = [name for name in sorted(names) if attribute(node, name, None) != _EXTRAS.get(name)]
    extras += [f"its input {n}" for n in range(_FIRST_EXTRA_INPUT, len(node.input)) if node.input[n]]
    if extras:
        raise CannotRewrite(f"The node {node.name} uses {extras[0]}, which a paged graph cannot do.")
    if len(node.output) < 3 or not all((*node.input[3:5], *node.output[1:3])):
        raise CannotRewrite(f"The node {node.name} has no cache of keys and values.")


def _no_attention(graph: Any) -> str:
    others = sorted({node.op_type for node in graph.node if "Attention" in node.op_type})
    came = f"its attention is {', '.join(others)}" if others else "it has no attention"
    return (
        f"The graph has no node GroupQueryAttention ({came}). "
        "Export the model in float32 or int4 with ONNX Runtime GenAI's model builder (-e cpu)."
    )


def _outer_names(node: Any) -> set[str]:
    """What the branches of a node read."""
    found: set[str] = set()
    for entry in node.attribute:
        for inner in entry.g.node:
            found |= set(inner.input) | _outer_names(inner)
    return found


def _copy(message: Any) -> Any:
    """One that stays when the list that holds the message is emptied."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
