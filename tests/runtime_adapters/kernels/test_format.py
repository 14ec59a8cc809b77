"""The kernels and the Python that describes nodes for them agree: the library is asked, attribute by attribute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.nodes import Array, activated, node, run_graph, segments, to_planes

from elsa_edge.nested_format import operators as ops
from elsa_edge.nested_format.activations import Activation, ActivationKind
from elsa_edge.nested_format.planes import LINE_FLOATS, Planes

SQUARE = Planes(3, 3, 1)
WINDOW = ops.Window(SQUARE, SQUARE, (3, 3), pads=(1, 1)).attributes()
FINISH = ops.finish_attributes(Activation())
PART = segments(np.ones((4, 18), np.float32), np.zeros((4, 18)), [1], None)["segment0"]
CONSTANTS = {"t": np.ones((1, 2, 4), np.float32), "w": np.ones((1, 4, 9), np.float32), "s": PART}
CONSTANTS |= {
    "cells": np.ones((1, 2, 8), np.float32),
    "r": segments(np.ones((8, 2), np.float32), np.zeros((8, 2)), [1], None)["segment0"],
    "gru_cells": np.ones((1, 2, 6), np.float32),
    "gru_r": segments(np.ones((6, 2), np.float32), np.zeros((6, 2)), [1], None)["segment0"],
}
LEVEL = {"level": np.array(0, np.int64)}


def planes(channels: int) -> Array:
    return np.zeros((1, channels, 1, SQUARE.stride), np.float32)


# kind -> inputs, attributes, run-time inputs
NODES: dict[str, tuple[list[str], ops.Attributes, dict[str, Array]]] = {
    ops.TO_PLANES: (["x"], ops.plane_attributes(SQUARE), {"x": np.zeros((1, 1, 3, 3), np.float32)}),
    ops.FROM_PLANES: (["x"], ops.plane_attributes(SQUARE), {"x": planes(1)}),
    ops.CONV: (
        ["x", "level", "t", "", "s"],
        WINDOW | FINISH | ops.channel_attributes(2, 4, 1),
        {"x": planes(2), **LEVEL},
    ),
    ops.DEPTHWISE: (
        ["x", "level", "t", "", "w"],
        WINDOW | FINISH | {"in_channels": 4},
        {"x": planes(4), **LEVEL},
    ),
    ops.CONV_DEPTHWISE: (
        ["x", "level", "t", "t", "w", "s"],
        WINDOW | FINISH | ops.channel_attributes(2, 4, 1) | ops.following(WINDOW | FINISH),
        {"x": planes(2), **LEVEL},
    ),
    ops.MATMUL: (
        ["x", "level", "t", "s"],
        ops.matmul_attributes(4, 18) | FINISH,
        {"x": np.zeros((1, 18), np.float32), **LEVEL},
    ),
    ops.LSTM: (
        ["x", "level", "cells", "", "", "", "r"],
        FINISH | ops.cell_attributes(2, 1, backward=False),
        {"x": np.zeros((1, 1, 8), np.float32), **LEVEL},
    ),
    ops.GRU: (
        ["x", "level", "gru_cells", "", "", "", "gru_r"],
        FINISH | ops.cell_attributes(2, 1, backward=False, linear_before_reset=True),
        {"x": np.zeros((1, 1, 6), np.float32), **LEVEL},
    ),
}


def run(kind: str, attributes: ops.Attributes) -> Array:
    inputs, _, given_inputs = NODES[kind]
    return run_graph(
        [node(kind, inputs, "y", attributes)],
        {name: array for name, array in CONSTANTS.items() if name in inputs},
        given_inputs,
    )


@pytest.mark.parametrize("kind", NODES)
def test_a_kernel_needs_every_attribute_that_is_described_and_no_other(kind: str) -> None:
    """With all of them it computes; without any one of them the library names what is missing."""
    attributes = NODES[kind][1]

    assert np.isfinite(run(kind, attributes)).all()
    for name in attributes:
        with pytest.raises(Exception, match=rf"'?{name}'?"):
            run(kind, {other: value for other, value in attributes.items() if other != name})


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 40), gap=st.integers(0, 4))
def test_planes_lie_where_python_says(height: int, width: int, gap: int) -> None:
    """Every pixel is at lead + row * pitch + column, everything else is zero, and a plane has `stride` floats."""
    layout = Planes(height, width, gap)
    image = np.arange(1, 2 * height * width + 1, dtype=np.float32).reshape(1, 2, height, width)
    expected = np.zeros((1, 2, 1, layout.stride), np.float32)
    for row in range(height):
        at = layout.lead + row * layout.pitch
        expected[:, :, 0, at : at + width] = image[:, :, row]

    assert np.array_equal(run_graph([to_planes("x", "y", layout)], {}, {"x": image}), expected)
    assert layout.lead % LINE_FLOATS == layout.stride % LINE_FLOATS == 0
    assert layout.is_image == np.array_equal(expected.reshape(-1), image.reshape(-1))


@pytest.mark.parametrize("kind", list(ActivationKind))
def test_codes_of_activations_mean_the_same_to_the_kernels(kind: ActivationKind) -> None:
    """Sums on both sides of every bend, through each code; the next code is refused."""
    activation = Activation(kind, -1.0, 2.0)
    identity = segments(np.eye(9, dtype=np.float32), np.where(np.eye(9) > 0, 0, 255), [1], None)["segment0"]
    constants = {"t": np.stack([np.ones(9), np.zeros(9)])[None].astype(np.float32), "s": identity}
    x = np.linspace(-5, 5, 9, dtype=np.float32)[None]

    def apply(finish: ops.Attributes) -> Array:
        made = node(ops.MATMUL, ["x", "level", "t", "s"], "y", ops.matmul_attributes(9, 9) | finish)
        return run_graph([made], constants, {"x": x, **LEVEL})

    np.testing.assert_allclose(apply(ops.finish_attributes(activation)), activated(x, activation), atol=1e-6)
    beyond = ops.finish_attributes(activation) | {"activation": len(ActivationKind)}
    with pytest.raises(
        Exception, match=f"activation is {len(ActivationKind)}, expected 0 to {max(ActivationKind)}"
    ):
        apply(beyond)
