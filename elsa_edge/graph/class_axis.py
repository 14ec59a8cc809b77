"""Along which axis an output holds its classes: what an argmax would be taken over.

Softmax(axis)                        that axis
Gemm, MatMul                         the last            Conv, ConvTranspose        the first behind the batch
element by element, normalisation    as what comes in    Transpose                  where it went
anything else                        not known: then errors are compared, not answers
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

__all__ = ["class_axes"]

_LAST: Final = {"Gemm", "MatMul", "FusedMatMul"}
_FIRST: Final = {"Conv", "ConvTranspose"}
_SAME: Final = {
    "Add", "BatchNormalization", "Cast", "Clip", "Div", "Elu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Mul", "PRelu", "Relu", "Resize", "Sub", "Tanh", "Upsample",
}  # fmt: skip
_LONGEST: Final = 64  # nodes; a network's head is shorter


def class_axes(model: ir.Model) -> dict[str, int]:
    """Return output name -> axis of its classes, for floating-point outputs where it is known."""
    axes = {}
    for output in model.graph.outputs:
        if output.shape is None or output.dtype is None or not output.dtype.is_floating_point():
            continue
        axis = _axis(output, len(output.shape))
        if axis is not None and 0 < axis < len(output.shape) and output.shape[axis] != 1:
            axes[str(output.name)] = axis
    return axes


def _axis(value: ir.Value | None, rank: int) -> int | None:
    """Follow a value back to what made its channels; a place in the axes of `value`."""
    order = list(range(rank))  # order[axis of the value at hand] = axis of the output
    for _ in range(_LONGEST):
        node = value.producer() if value is not None else None
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        found = _made_by(node, rank)
        if found is not None:
            return order[found] if 0 <= found < rank else None
        if node.op_type == "Transpose":
            permutation = node.attributes.get_ints("perm", tuple(reversed(range(rank))))
            moved = [0] * rank
            for place, origin in enumerate(permutation):
                moved[origin] = order[place]
            order = moved
        elif node.op_type not in _SAME:
            return None
        value = next(
            (v for v in node.inputs if v is not None and _rank(v) in (None, rank) and not _fixed(v)), None
        )
    return None


def _made_by(node: ir.Node, rank: int) -> int | None:
    if node.op_type in _LAST:
        return rank - 1
    if node.op_type in _FIRST:
        return 1
    if node.op_type in ("Softmax", "LogSoftmax"):
        return node.attributes.get_int("axis", -1) % rank
    return None


def _rank(value: ir.Value) -> int | None:
    return None if value.shape is None else len(value.shape)


def _fixed(value: ir.Value) -> bool:
    return value.is_initializer() or value.const_value is not None
