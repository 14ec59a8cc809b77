"""Number types that TFLite files do not compute with: they are computed with a wider one, to the same numbers.

    float16, float64  ->  float32                                     inputs and outputs are converted by the adapter
    f(int8 or uint8)  ->  wrapped(f(int32))                           outside of what only moves numbers
    wrapped(x)         =  (x + lowest) mod 2^bits - lowest            what an overflow leaves; lowest = 128 for int8

LiteRT's ADD and SUB of 8-bit numbers that no quantiser made end the process (a check in their preparation fails), and
its MUL does not wrap. Requires known types. Ensures: each node on narrow integers only moves them, or is a Cast.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx_ir as ir

from elsa_edge.exporters.tflite.blame import no_tflite_form
from elsa_edge.graph.constants import constant

__all__ = ["compute_in_wider_types"]

_NARROW: Final = {
    ir.DataType.INT8: (128, 8),
    ir.DataType.UINT8: (0, 8),
    ir.DataType.INT16: (1 << 15, 16),
    ir.DataType.UINT16: (0, 16),
}
_HALF_AND_DOUBLE: Final = frozenset({ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16})
# What hands numbers on as they are; the converter and the runtime do this for narrow ones.
_MOVES: Final = frozenset(
    {
        "Cast",
        "Concat",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
# Narrow by what they are: sums of products of 8-bit numbers, shifts of bits.
_NOT_WIDENED: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
)
_NO_FORM: Final = frozenset({"BitShift"})


def compute_in_wider_types(model: ir.Model) -> None:
    """Rewrite a graph with known types so that TFLite computes it.

    Raises:
        ExportError: When an operator on narrow integers has no wider form.
    """
    _floats_to_float32(model)
    for node in list(model.graph):
        if node.op_type in _MOVES | _NOT_WIDENED or not _touches_narrow(node):
            continue
        if node.op_type in _NO_FORM:
            raise no_tflite_form(node.op_type, node)
        _widen(model, node)


def _floats_to_float32(model: ir.Model) -> None:
    float32 = ir.TensorType(ir.DataType.FLOAT)
    for value in [
        *model.graph.inputs,
        *(value for node in model.graph.all_nodes() for value in node.outputs),
    ]:
        if value.dtype in _HALF_AND_DOUBLE:
            value.type = float32
    for value in model.graph.initializers.values():
        if value.dtype in _HALF_AND_DOUBLE and value.const_value is not None:
            numbers = value.const_value.numpy().astype(np.float32)
            value.const_value, value.type = ir.tensor(numbers, name=value.name), float32
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if name in {"to", "dtype"} and attribute.type == ir.AttributeType.INT:
                if ir.DataType(attribute.as_int()) in _HALF_AND_DOUBLE:
                    node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
            elif (
                attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in _HALF_AND_DOUBLE
            ):
                numbers = attribute.as_tensor().numpy().astype(np.float32)
                node.attributes[name] = ir.AttrTensor(name, ir.tensor(numbers))


def _touches_narrow(node: ir.Node) -> bool:
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return any(value.dtype in _NARROW for value in values)


def _widen(model: ir.Model, node: ir.Node) -> None:
    """f(x) -> Cast(wrapped(f(Cast(x, int32))), narrow)."""
    for place, value in enumerate(node.inputs):
        if value is not None and value.dtype in _NARROW:
            cast = _node("Cast", [value], f"{node.name}_wide_{place}", ir.DataType.INT32, value.shape)
            cast.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.INT32))
            model.graph.insert_before(node, cast)
            node.replace_input_with(place, cast.outputs[0])
    for value in node.outputs:
        if value.dtype not in _NARROW:
            continue
        narrow, users = value.dtype, list(value.uses())
        lowest, bits = _NARROW[narrow]
        name, value.name = str(value.name), f"{value.name}_wide"
        value.type = ir.TensorType(ir.DataType.INT32)
        steps: list[ir.Node] = []
        for operator, number in (("Add", lowest), ("Mod", 1 << bits), ("Sub", lowest)):
            if number:
                step = f"{name}_{operator.lower()}"
                ones = (1,) * len(value.shape or ())
                operand = constant(model.graph, f"{step}_number", np.full(ones, number, np.int32))
                last = steps[-1].outputs[0] if steps else value
                steps.append(_node(operator, [last, operand], step, ir.DataType.INT32, value.shape))
        cast = _node("Cast", [steps[-1].outputs[0]], f"{name}_narrow", narrow, value.shape)
        cast.outputs[0].name = name
        cast.attributes["to"] = ir.AttrInt64("to", int(narrow))
        model.graph.insert_after(node, [*steps, cast])
        for user, where in users:
            user.replace_input_with(where, cast.outputs[0])
        for where, output in enumerate(model.graph.outputs):
            if output is value:
                model.graph.outputs[where] = cast.outputs[0]


def _node(operator: str, inputs: list[ir.Value], name: str, dtype: ir.DataType, shape: Any) -> ir.Node:
    node = ir.Node("", operator, inputs, name=name)
    result = node.outputs[0]
    result.name, result.type, result.shape = f"{name}_value", ir.TensorType(dtype), shape
    return node
