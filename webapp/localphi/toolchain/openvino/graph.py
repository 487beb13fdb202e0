"""ONNX nodes to OpenVINO operations, for the graphs that ORT GenAI's builder exports.

Attention becomes what OpenVINO's own transformation to paged attention looks for: the past in variables of
the model, gathered by `beam_idx`, concatenated with the new keys and values, then scaled dot product
attention.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from localphi.errors import CannotConvert
from localphi.toolchain.openvino.weights import MatrixShape, Weights, quantized_matrix


class Converter:
    """Makes one OpenVINO model of one ONNX graph. Raises CannotConvert for a node it does not know."""

    def __init__(self, graph: Any, folder: Path) -> None:
        import openvino as ov
        import openvino.opset13 as ops

        self._ov, self._ops = ov, ops
        self._graph = graph
        self._weights = Weights(graph, folder)
        self._values: dict[str, Any] = {}
        self._sinks: list[Any] = []
        dynamic, pairs = ov.PartialShape([-1]), ov.PartialShape([-1, -1])
        shapes = {"input_ids": pairs, "attention_mask": pairs, "position_ids": pairs}
        self._parameters = {
            name: ops.parameter(shape, ov.Type.i64, name=name) for name, shape in shapes.items()
        }
        self._parameters["beam_idx"] = ops.parameter(dynamic, ov.Type.i32, name="beam_idx")
        for name, parameter in self._parameters.items():
            parameter.output(0).set_names({name})
        self._mask = self._causal_mask()

    def model(self) -> Any:
        """The openvino.Model, with inputs as its GenAI pipelines want them and the output `logits`."""
        self._values["input_ids"] = self._parameters["input_ids"]
        self._values["attention_mask"] = self._parameters["attention_mask"]
        wanted = {name for node in self._graph.node for name in node.input} | {"logits"}
        for node in self._graph.node:
            made = self._handler(node)(node)
            outputs = [name for name in node.output if name and name in wanted]
            for name in outputs:
                if name not in self._values:
                    self._values[name] = made
        result = self._ops.result(self._values["logits"], name="logits")
        result.output(0).set_names({"logits"})
        model = self._ov.Model([result], self._sinks, list(self._parameters.values()), "localphi")
        for number, node in enumerate(model.get_ordered_ops()):  # else they count on from the last conversion
            if node.get_type_name() not in ("Parameter", "Result"):
                node.set_friendly_name(f"{node.get_type_name()}_{number}")
        return model

    def _handler(self, node: Any) -> Callable[[Any], Any]:
        handler: Callable[[Any], Any] | None = getattr(self, f"_on_{node.op_type.lower()}", None)
        if handler is None:
            raise CannotConvert(
                f"The graph has a node {node.op_type} ('{node.name}'), which is not known here."
            )
        return handler

    def _value(self, name: str) -> Any:
        if name not in self._values:
            if name not in self._weights:
                raise CannotConvert(f"The graph uses '{name}', which nothing in it makes.")
            self._values[name] = self._ops.constant(np.array(self._weights[name]))
        return self._values[name]

    def _ints(self, *values: int) -> Any:
        return self._ops.constant(np.array(values, np.int64))

    # Plain nodes, each as its ONNX name says.

    def _on_constant(self, node: Any) -> Any:
        from onnx import numpy_helper

        return self._ops.constant(np.asarray(numpy_helper.to_array(_attribute(node, "value"))))

    def _on_gather(self, node: Any) -> Any:
        data, indices = map(self._value, node.input)
        return self._ops.gather(data, indices, self._ints(_attribute(node, "axis", 0)))

    def _on_shape(self, node: Any) -> Any:
        return self._ops.shape_of(self._value(node.input[0]))

    def _on_reducesum(self, node: Any) -> Any:
        data, axes = map(self._value, node.input)
        return self._ops.reduce_sum(data, axes, keep_dims=bool(_attribute(node, "keepdims", 1)))

    def _on_cast(self, node: Any) -> Any:
        from onnx import helper

        kind = helper.tensor_dtype_to_np_dtype(_attribute(node, "to"))
        return self._ops.convert(self._value(node.input[0]), self._ov.Type(kind))

    def _on_unsqueeze(self, node: Any) -> Any:
        return self._ops.unsqueeze(*map(self._value, node.input))

    def _on_add(self, node: Any) -> Any:
        return self._ops.add(*map(self._value, node.input))

    def _on_sub(self, node: Any) -> Any:
        return self._ops.subtract(*map(self._value, node.input))

    def _on_mul(self, node: Any) -> Any:
        return self._ops.multiply(*map(self._value, node.input))

    def _on_sigmoid(self, node: Any) -> Any:
        return self._ops.sigmoid(self._value(node.input[0]))

    def _on_split(self, node: Any) -> Any:
        parts = len(node.output)
        made = self._ops.split(
            self._value(node.input[0]), self._ints_scalar(_attribute(node, "axis", 0)), parts
        )
        for number, name in enumerate(node.output):
            self._values[name] = made.output(number)
        return made

    def _ints_scalar(self, value: int) -> Any:
        return self._ops.constant(np.array(value, np.int64))

    def _on_matmul(self, node: Any) -> Any:
        return self._ops.matmul(*map(self._value, node.input), False, False)

    def _on_matmulnbits(self, node: Any) -> Any:
        names = [*node.input, *[""] * (6 - len(node.input))]
        shape = MatrixShape(*(_attribute(node, name) for name in ("N", "K", "bits", "block_size")))
        if names[4]:
            raise CannotConvert(f"'{node.name}' has reordered weights (g_idx), which are not known here.")
        zeros = self._weights[names[3]] if names[3] else None
        matrix = quantized_matrix(self._weights[names[1]], self._weights[names[2]], zeros, shape)
        made = self._ops.matmul(self._value(names[0]), matrix, False, True)
        return self._ops.add(made, self._value(names[5])) if names[5] else made

    # Norms.

    def _on_simplifiedlayernormalization(self, node: Any) -> Any:
        return self._rms_norm(self._value(node.input[0]), node.input[1], _attribute(node, "epsilon", 1e-5))

    def _on_skipsimplifiedlayernormalization(self, node: Any) -> Any:
        if len(node.input) > 3:
            raise CannotConvert(f"'{node.name}' has a bias, which is not known here.")
        total = self._ops.add(*map(self._value, node.input[:2]))
        if len(node.output) > 3 and node.output[3]:
            self._values[node.output[3]] = total
        return self._rms_norm(total, node.input[2], _attribute(node, "epsilon", 1e-5))

    def _rms_norm(self, data: Any, weight: str, epsilon: float) -> Any:
        ops = self._ops
        square = ops.power(data, ops.constant(np.float32(2)))
        mean = ops.reduce_mean(square, self._ints(-1), keep_dims=True)
        root = ops.sqrt(ops.add(mean, ops.constant(np.float32(epsilon))))
        return ops.multiply(
            ops.multiply(data, ops.divide(ops.constant(np.float32(1)), root)), self._value(weight)
        )

    # Attention.

    def _on_groupqueryattention(self, node: Any) -> Any:
        heads, kv_heads = _attribute(node, "num_heads"), _attribute(node, "kv_num_heads")
        self._check_attention(node)
        queries, keys, values = self._heads(node, heads, kv_heads)
        if _attribute(node, "do_rotary", 0):
            queries, keys = (self._rotated(part, node.input[7], node.input[8]) for part in (queries, keys))
        past_key, past_value = node.input[3], node.input[4]
        keys = self._with_past(keys, past_key)  # (B, Hkv, S, D)
        values = self._with_past(values, past_value)
        keys, values = (self._repeated(part, heads, kv_heads) for part in (keys, values))
        size = queries.get_output_partial_shape(0)[3].get_length()
        scale = _attribute(node, "scale", 0.0) or size**-0.5
        attended = self._ops.scaled_dot_product_attention(
            queries, keys, values, self._mask, self._ops.constant(np.float32(scale))
        )
        attended = self._ops.transpose(attended, self._ints(0, 2, 1, 3))  # (B, T, H, D)
        return self._ops.reshape(attended, self._ints(0, 0, heads * size), special_zero=True)

    def _check_attention(self, node: Any) -> None:
        if _attribute(node, "softcap", 0.0):
            raise CannotConvert(f"'{node.name}' has a soft cap, which is not known here.")
        if _attribute(node, "rotary_interleaved", 0) or _attribute(node, "smooth_softmax", 0):
            raise CannotConvert(f"'{node.name}' has interleaved rotation or smooth softmax, not known here.")
        if any(node.input[9:]):
            raise CannotConvert(
                f"'{node.name}' has positions or a bias of its own, which are not known here."
            )

    def _heads(self, node: Any, heads: int, kv_heads: int) -> tuple[Any, Any, Any]:
        """Queries, keys and values as (B, H, T, D), of one packed input or of three."""
        ops = self._ops
        if node.input[1]:
            parts = [self._value(name) for name in node.input[:3]]
        else:
            packed = self._value(node.input[0])
            width = packed.get_output_partial_shape(0)[2].get_length() // (heads + 2 * kv_heads)
            lengths = self._ints(heads * width, kv_heads * width, kv_heads * width)
            split = ops.variadic_split(packed, self._ints_scalar(-1), lengths)
            parts = [split.output(number) for number in range(3)]
        made = []
        for part, count in zip(parts, (heads, kv_heads, kv_heads), strict=True):
            width = part.get_partial_shape()[2].get_length() // count
            apart = ops.reshape(part, self._ints(0, 0, count, width), special_zero=True)
            made.append(ops.transpose(apart, self._ints(0, 2, 1, 3)))
        return made[0], made[1], made[2]

    def _rotated(self, data: Any, cosines: str, sines: str) -> Any:
        """Rotary position embedding over the first part of each head, as far as the tables reach."""
        ops = self._ops
        half = int(self._weights[cosines].shape[1])
        size = data.get_output_partial_shape(0)[3].get_length()
        cos, sin = (self._angles(name) for name in (cosines, sines))  # (B, 1, T, half)
        left = self._slice(data, 0, half)
        right = self._slice(data, half, 2 * half)
        turned = [
            ops.subtract(ops.multiply(left, cos), ops.multiply(right, sin)),
            ops.add(ops.multiply(right, cos), ops.multiply(left, sin)),
        ]
        rest = [self._slice(data, 2 * half, size)] if 2 * half < size else []
        return ops.concat([*turned, *rest], -1)

    def _angles(self, name: str) -> Any:
        """The rows of a table for the positions. Each table becomes one gather for all layers."""
        key = f"{name} by position"
        if key not in self._values:
            table = self._ops.constant(np.array(self._weights[name], np.float32))
            rows = self._ops.gather(table, self._parameters["position_ids"], self._ints_scalar(0))
            self._values[key] = self._ops.unsqueeze(rows, self._ints(1))
        return self._values[key]

    def _slice(self, data: Any, start: int, end: int) -> Any:
        return self._ops.slice(data, self._ints(start), self._ints(end), self._ints(1), self._ints(3))

    def _with_past(self, data: Any, name: str) -> Any:
        """Keys or values behind those of earlier tokens, which a variable of the model keeps."""
        ops, ov = self._ops, self._ov
        shape = data.get_output_partial_shape(0)
        heads, size = shape[1].get_length(), shape[3].get_length()
        batch = ops.gather(ops.shape_of(self._parameters["input_ids"]), self._ints(0), self._ints_scalar(0))
        none = ops.concat([batch, self._ints(heads), self._ints(0), self._ints(size)], 0)
        info = ov.op.util.VariableInfo()
        info.data_shape = ov.PartialShape([-1, heads, -1, size])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = ov.op.util.Variable(info)
        past = ov.op.read_value(ops.broadcast(ops.constant(np.float32(0)), none), variable)
        past = ops.gather(past, self._parameters["beam_idx"], self._ints_scalar(0))
        both = ops.concat([past, data], 2)
        self._sinks.append(ov.op.assign(both, variable))
        return both

    def _repeated(self, data: Any, heads: int, kv_heads: int) -> Any:
        """(B, Hkv, S, D) to (B, H, S, D), each key and value head for its queries."""
        if heads == kv_heads:
            return data
        ops = self._ops
        size = data.get_output_partial_shape(0)[3].get_length()
        apart = ops.unsqueeze(data, self._ints(2))
        shape = ops.shape_of(data)
        batch = ops.gather(shape, self._ints(0), self._ints_scalar(0))
        length = ops.gather(shape, self._ints(2), self._ints_scalar(0))
        wanted = ops.concat(
            [batch, self._ints(kv_heads), self._ints(heads // kv_heads), length, self._ints(size)], 0
        )
        many = ops.broadcast(apart, wanted, "BIDIRECTIONAL")
        return ops.reshape(many, self._ints(0, heads, -1, size), special_zero=True)

    def _causal_mask(self) -> Any:
        """(B, 1, T, S): minus infinity where a key comes after the query or is padding.

        Paged attention knows the order itself and drops this; without it the model is right all the same.
        """
        ops, ov = self._ops, self._ov
        positions = self._parameters["position_ids"]
        mask = self._parameters["attention_mask"]
        length = ops.squeeze(
            ops.gather(ops.shape_of(mask), self._ints(1), self._ints_scalar(0)), self._ints(0)
        )
        keys = ops.range(self._ints_scalar(0), length, self._ints_scalar(1), output_type=ov.Type.i64)
        late = ops.greater(ops.unsqueeze(keys, self._ints(0)), ops.unsqueeze(positions, self._ints(2)))
        padding = ops.equal(ops.unsqueeze(mask, self._ints(1)), self._ints_scalar(0))
        hidden = ops.unsqueeze(ops.logical_or(late, padding), self._ints(1))
        low = np.finfo(np.float32).min
        return ops.select(hidden, ops.constant(np.float32(low)), ops.constant(np.float32(0)))


def _attribute(node: Any, name: str, default: Any = None) -> Any:
    from onnx import helper

    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default
