"""Small graphs of one kernel each, and the float64 arithmetic that they must agree with."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from elsa_edge.nested_format.activations import Activation, ActivationKind
from elsa_edge.nested_format.library import library_path
from elsa_edge.nested_format.operators import DOMAIN, FLOATS, Attributes, Family, plane_attributes
from elsa_edge.nested_format.planes import Planes
from elsa_edge.nested_format.segments import encode

Array = np.ndarray[Any, Any]


def run_graph(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Array],
    inputs: dict[str, Array],
    threads: int = 1,
    output: int = TensorProto.FLOAT,
) -> Array:
    """Run a graph whose output is called `y`; the inputs are its run-time inputs, `level` among them."""
    graph = helper.make_graph(
        nodes,
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    return open_session(helper.make_model(graph, opset_imports=opsets, ir_version=10), threads).run(
        ["y"], inputs
    )[0]


def open_session(model: onnx.ModelProto, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = (
        False  # every tensor is its own allocation, so that sanitizers see its ends
    )
    library = library_path()
    assert library is not None, "build the kernels first: python -m elsa_edge.runtime_adapters.kernels.build"
    options.register_custom_ops_library(str(library))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def node(kind: str, inputs: list[str], output: str, attributes: Attributes) -> onnx.NodeProto:
    """Return a node of one of our operators."""
    return helper.make_node(kind, inputs, [output], domain=DOMAIN, **attributes)


def to_planes(source: str, output: str, planes: Planes, family: Family = FLOATS) -> onnx.NodeProto:
    return node(family.to_planes, [source], output, plane_attributes(planes))


def from_planes(source: str, output: str, planes: Planes, family: Family = FLOATS) -> onnx.NodeProto:
    return node(family.from_planes, [source], output, plane_attributes(planes))


def segments(
    weight: Array, index: Array, block_rows: list[int], column_block: int | None
) -> dict[str, Array]:
    """One segment a level: `index` is the level index, `weight` (rows, ...) is flattened to (rows, columns)."""
    flat, where = weight.reshape(len(weight), -1), index.reshape(len(index), -1)
    return {
        f"segment{k}": encode(flat, where == k, block_rows=rows, column_block=column_block)
        for k, rows in enumerate(block_rows)
    }


def activated(y: Array, activation: Activation) -> Array:
    if activation.kind is ActivationKind.CLIP:
        low, high = activation.low, activation.high
        return np.where(y < low, low, np.where(y > high, high, y))
    if activation.kind is ActivationKind.HARD_SWISH:
        return y * np.clip(y / 6 + 0.5, 0, 1)
    if activation.kind is ActivationKind.SILU:
        with np.errstate(over="ignore"):
            return y / (1 + np.exp(-y))
    return y


def convolve(  # noqa: PLR0917 - the usual order of a convolution's settings
    x: Array,
    w: Array,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Array:
    """Convolve in float64; pads are top, left, bottom, right. A zero weight takes no part, whatever it meets."""
    n, _, h, width = x.shape
    out_channels, share_in, kh, kw = w.shape
    padded = np.zeros((n, x.shape[1], h + pads[0] + pads[2], width + pads[1] + pads[3]))
    padded[:, :, pads[0] : pads[0] + h, pads[1] : pads[1] + width] = x
    oh = (padded.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (padded.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, out_channels, oh, ow))
    for o, c, ky, kx in zip(*np.nonzero(w), strict=True):
        channel = o // (out_channels // groups) * share_in + c
        top, left = ky * dilation[0], kx * dilation[1]
        seen = padded[
            :, channel, top : top + oh * stride[0] : stride[0], left : left + ow * stride[1] : stride[1]
        ]
        with np.errstate(invalid="ignore"):
            y[:, o] += w[o, c, ky, kx].astype(np.float64) * seen[:, :oh, :ow]
    return y
