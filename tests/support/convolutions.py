"""One convolution of our kernels between two layouts, and what it must compute."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from elsa_edge.nested_format.activations import Activation, ActivationKind
from elsa_edge.nested_format.operators import (
    FLOATS,
    Family,
    Window,
    channel_attributes,
    finish_attributes,
)
from elsa_edge.nested_format.planes import Planes
from support.nodes import Array, activated, convolve, from_planes, node, run_graph, segments, to_planes

SAME_3X3: Final = {
    "kernel": (3, 3),
    "stride": (1, 1),
    "dilation": (1, 1),
    "pads": (1, 1, 1, 1),
    "in_gap": 1,
    "out_gap": 1,
}

PLAIN, RELU6 = Activation(), Activation.clip(0.0, 6.0)
ACTIVATIONS = [
    PLAIN,
    RELU6,
    Activation.clip(0.0, float("inf")),
    Activation(ActivationKind.HARD_SWISH),
    Activation(ActivationKind.SILU),
]


def run_conv(  # noqa: PLR0917 - called in one way only
    x: Array,
    w: Array,
    index: Array,
    table: Array,
    level: int,
    g: dict[str, Any],
    *,
    groups: int = 1,
    block_rows: list[int] | None = None,
    column_block: int | None = None,
    residual: Array | None = None,
    activation: Activation = PLAIN,
    threads: int = 1,
    depthwise: bool = False,
    family: Family = FLOATS,
) -> tuple[Array, Array]:
    """Return what the kernel computes and what it must compute."""
    masked = np.where(index <= level, w, 0)
    expected = convolve(x, masked, g["stride"], g["pads"], g["dilation"], groups)
    scale, bias = table[level].astype(np.float64)[:, None, :, None, None]
    expected = expected * scale + bias
    source, made = Planes(*x.shape[2:], g["in_gap"]), Planes(*expected.shape[2:], g["out_gap"])
    nodes = [to_planes("x", "px", source, family)]
    inputs = {"x": x, "level": np.array(level, np.int64)}
    if residual is not None:
        residual = np.resize(residual, expected.shape).astype(np.float32)
        expected = expected + residual
        inputs["r"] = residual
        nodes.append(to_planes("r", "pr", made, family))
    window = Window(source, made, g["kernel"], g["stride"], g["dilation"], g["pads"][:2])
    attributes = window.attributes() | finish_attributes(activation)
    constants = {"table": table}
    if depthwise:
        levels = len(table)
        constants["w"] = np.stack(
            [np.where(index <= k, w, 0).reshape(len(w), -1) for k in range(levels)]
        ).astype(w.dtype)
        attributes["in_channels"] = x.shape[1]
        names, kind = ["w"], family.depthwise
    else:
        attributes |= channel_attributes(x.shape[1], len(w), groups)
        parts = segments(w, index, block_rows or [1] * len(table), column_block)
        constants |= parts
        names, kind = list(parts), family.conv
    given_residual = "pr" if residual is not None else ""
    nodes.append(node(kind, ["px", "level", "table", given_residual, *names], "py", attributes))
    nodes.append(from_planes("py", "y", made, family))
    return run_graph(nodes, constants, inputs, threads), activated(expected, activation)
