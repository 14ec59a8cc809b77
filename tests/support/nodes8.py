"""One 8-bit kernel in a graph, and the integers that it must equal bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from elsa_edge.nested_format.operators import DOMAIN
from elsa_edge.nested_format.planes import Planes
from elsa_edge.nested_format.quads import encode_quads
from elsa_edge.quantise.weights import quads
from support.nodes import run_graph

Array = np.ndarray[Any, Any]


def planes_stride(height: int, width: int, gap: int) -> int:
    """Pixels of one plane."""
    return Planes(height, width, gap).stride


def to_planes(codes: Array, gap: int, zero: int) -> Array:
    """(batch, channels, h, w) codes to (batch, quads, stride, 4)."""
    batch, channels, height, width = codes.shape
    count = -(-channels // 4)
    padded = np.full((batch, count * 4, height, width + gap), zero, np.uint8)
    padded[:, :channels, :, :width] = codes
    lead = Planes(height, width, gap).lead
    planes = np.full((batch, count, planes_stride(height, width, gap), 4), zero, np.uint8)
    body = padded.reshape(batch, count, 4, -1).transpose(0, 1, 3, 2)
    planes[:, :, lead : lead + body.shape[2]] = body
    return planes


def from_planes(planes: Array, channels: int, height: int, width: int, gap: int) -> Array:
    """Undo `to_planes`."""
    lead = Planes(height, width, gap).lead
    body = planes[:, :, lead : lead + height * (width + gap)]
    images = body.transpose(0, 1, 3, 2).reshape(len(planes), -1, height, width + gap)
    return np.ascontiguousarray(images[:, :channels, :, :width])


def segments8(
    codes: Array, index: Array, forms: list[int], groups: int = 1, taps: int = 1
) -> dict[str, Array]:
    """One segment a level of (rows, columns) codes."""
    laid, where = quads(codes, groups, taps), quads(index, groups, taps, fill=255)
    return {f"segment{k}": encode_quads(laid, where == k, block_rows=rows) for k, rows in enumerate(forms)}


def run8(
    operator: str,
    inputs: dict[str, Array],
    constants: dict[str, Array],
    attributes: dict[str, Any],
    *,
    residual: bool = False,
    output: int = TensorProto.UINT8,
    threads: int = 1,
) -> Array:
    """Run one operator on `x` at `level`; constants follow in their order, an optional residual before segments."""
    names = list(constants)
    split = 2 if operator in ("Int8Conv", "Int8Depthwise") else len(names)
    middle = [["residual" if residual else ""], []][split != 2]
    node = helper.make_node(
        operator, ["x", "level", *names[:split], *middle, *names[split:]], ["y"], domain=DOMAIN, **attributes
    )
    return run_graph([node], constants, inputs, threads, output)
