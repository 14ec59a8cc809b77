"""Where an output holds its classes, from what made it."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from elsa_edge.graph.class_axis import class_axes

WEIGHTS = "float[8, 3, 1, 1] w, float[6, 5] m"
CASES = {
    "matrix": ("float[N, 4, 6] x", "y = MatMul(x, m)", "float[N, 4, 5] y", 2),
    "convolution": ("float[N, 3, 9, 9] x", "y = Conv(x, w)", "float[N, 8, 9, 9] y", 1),
    "softmax says it": ("float[N, 4, 6] x", "y = Softmax<axis = 1>(x)", "float[N, 4, 6] y", 1),
    "softmax over the last": ("float[N, 4, 6] x", "y = Softmax(x)", "float[N, 4, 6] y", 2),
    "element by element": (
        "float[N, 3, 9, 9] x",
        "h = Conv(x, w)\n r = Relu(h)\n y = Sigmoid(r)",
        "float[N, 8, 9, 9] y",
        None,
    ),
    "through an activation": (
        "float[N, 3, 9, 9] x",
        "h = Conv(x, w)\n y = Relu(h)",
        "float[N, 8, 9, 9] y",
        1,
    ),
    "moved": (
        "float[N, 3, 9, 9] x",
        "h = Conv(x, w)\n y = Transpose<perm = [0, 2, 3, 1]>(h)",
        "float[N, 9, 9, 8] y",
        3,
    ),
    "moved twice": (
        "float[N, 3, 9, 9] x",
        "h = Conv(x, w)\n t = Transpose<perm = [0, 2, 3, 1]>(h)\n y = Transpose<perm = [0, 3, 2, 1]>(t)",
        "float[N, 8, 9, 9] y",
        1,
    ),
    "not known": ("float[N, 4, 6] x", "y = CumSum(x, a)", "float[N, 4, 6] y", None),
    "an input": ("float[N, 4] x", "y = Relu(x)", "float[N, 4] y", None),
    "one class": ("float[N, 1] x", "y = Softmax(x)", "float[N, 1] y", None),
    "whole numbers": ("float[N, 4, 6] x", "y = ArgMax<axis = 1, keepdims = 0>(x)", "int64[N, 6] y", None),
}


@pytest.mark.parametrize(("given", "body", "result", "axis"), CASES.values(), ids=CASES)
def test_the_axis_follows_from_the_operators(given: str, body: str, result: str, axis: int | None) -> None:
    """Through what works element by element and through transposes; else it is not known."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        g ({given}) => ({result}) <{WEIGHTS}, int64 a = {{1}}> {{ {body} }}"""
    for name, shape in (("w", "8, 3, 1, 1"), ("m", "6, 5")):
        size = 24 if name == "w" else 30
        text = text.replace(
            f"float[{shape}] {name}", f"float[{shape}] {name} = {{{', '.join(['1.0'] * size)}}}"
        )
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert class_axes(model) == ({} if axis is None else {"y": axis})
