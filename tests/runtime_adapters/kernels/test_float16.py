"""The kernels over half floats agree with float64 arithmetic as far as half floats can."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.convolutions import ACTIVATIONS, PLAIN, SAME_3X3, run_conv
from support.geometries import geometries
from support.nodes import Array, activated, from_planes, node, run_graph, segments, to_planes

from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.operators import HALVES, Window, finish_attributes, matmul_attributes
from elsa_edge.nested_format.planes import Planes

# Each sum is rounded some hundred times to 11 bits, at magnitudes above that of its result.
_RELATIVE = 0.01


def halves(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return numbers that are half floats."""
    return random.standard_normal(shape).astype(np.float16)


def require_close(found: Array, expected: Array) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=_RELATIVE * scale)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), g=geometries())
def test_conv_agrees_with_float64(data: st.DataObject, g: dict[str, Any]) -> None:
    """Any geometry, group count, density, ladder, block form, column block, activation, residual, batch, threads."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    in_share, out_share = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    levels = draw(st.integers(1, 4))
    forms = [1, 4] if groups == 1 or out_share % 4 == 0 else [1]
    w = halves(random, (groups * out_share, in_share, *g["kernel"]))
    index = random.integers(0, levels + draw(st.integers(0, 3)), w.shape).astype(np.uint8)
    x = halves(random, (draw(st.integers(1, 3)), groups * in_share, *g["size"])).astype(np.float32)
    found, expected = run_conv(
        x,
        w,
        index,
        random.standard_normal((levels, 2, len(w))).astype(np.float32),
        draw(st.integers(0, levels - 1)),
        g,
        groups=groups,
        block_rows=draw(st.lists(st.sampled_from(forms), min_size=levels, max_size=levels)),
        column_block=draw(st.sampled_from([None, 1, 7, 30])),
        residual=halves(random, (50,)) if draw(st.booleans()) else None,
        activation=draw(st.sampled_from(ACTIVATIONS)),
        threads=draw(st.sampled_from([1, 2])),
        family=HALVES,
    )

    require_close(found, expected)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), g=geometries())
def test_depthwise_agrees_with_float64(data: st.DataObject, g: dict[str, Any]) -> None:
    """A channel by itself, with weights of its own at every level."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, levels = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    w = halves(random, (channels, 1, *g["kernel"]))
    index = random.integers(0, levels + 1, w.shape).astype(np.uint8)
    x = halves(random, (draw(st.integers(1, 3)), channels, *g["size"])).astype(np.float32)
    found, expected = run_conv(
        x,
        w,
        index,
        random.standard_normal((levels, 2, channels)).astype(np.float32),
        draw(st.integers(0, levels - 1)),
        g,
        groups=channels,
        depthwise=True,
        residual=halves(random, (50,)) if draw(st.booleans()) else None,
        family=HALVES,
    )

    require_close(found, expected)


def test_sums_of_whole_numbers_are_exact() -> None:
    """Half floats hold whole numbers up to 2048, so no rounding hides a wrong place: equal to the last bit."""
    random = np.random.default_rng(0)
    x = random.integers(-3, 4, (2, 12, 9, 17)).astype(np.float32)
    w = random.integers(-3, 4, (24, 12, 3, 3)).astype(np.float16)
    index = random.integers(0, 5, w.shape).astype(np.uint8)
    found, expected = run_conv(
        x, w, index, np.ones((3, 2, 24), np.float32), 2, SAME_3X3, block_rows=[1, 4, 1], column_block=36,
        family=HALVES,
    )  # fmt: skip

    assert np.abs(expected).max() < 2048
    np.testing.assert_array_equal(found, expected)


def test_sums_that_are_carried_are_wider_than_half_floats() -> None:
    """4096 ones are 2048 in one chain of half floats, where 2048 + 1 is 2048; in blocks of columns all are there."""
    x, w = np.ones((1, 4096, 1, 1), np.float32), np.ones((1, 4096, 1, 1), np.float16)
    g = {
        "kernel": (1, 1),
        "stride": (1, 1),
        "dilation": (1, 1),
        "pads": (0, 0, 0, 0),
        "in_gap": 0,
        "out_gap": 0,
    }
    table, index = np.ones((1, 2, 1), np.float32) - [[[0], [1]]], np.zeros(w.shape, np.uint8)
    table = table.astype(np.float32)

    def run(column_block: int | None) -> Array:
        return run_conv(x, w, index, table, 0, g, column_block=column_block, family=HALVES)[0]

    assert run(None) == 2048
    assert run(512) == 4096


@pytest.mark.parametrize("block_rows", [1, 4])
def test_not_a_number_reaches_only_the_outputs_that_read_it(block_rows: int) -> None:
    """NaN and infinity spread over their window and not into borders, gaps or other rows of a block."""
    random = np.random.default_rng(1)
    x = random.standard_normal((1, 3, 6, 5)).astype(np.float32)
    x[0, 1, 0, 4], x[0, 2, 5, 0] = np.nan, np.inf
    w = halves(random, (8, 3, 3, 3))
    index = np.full(w.shape, 0, np.uint8)
    found, expected = run_conv(
        x, w, index, np.ones((1, 2, 8), np.float32), 0, SAME_3X3, block_rows=[block_rows], family=HALVES
    )

    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(expected))


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("block_rows", [1, 4])
def test_matmul_agrees_with_float64(count: int, block_rows: int) -> None:
    """Few rows are added up in float32, many in half floats."""
    random = np.random.default_rng(count)
    w, x = halves(random, (37, 90)), random.standard_normal((count, 90)).astype(np.float32)
    index = random.integers(0, 4, w.shape).astype(np.uint8)
    table = random.standard_normal((3, 2, 37)).astype(np.float32)
    parts = segments(w, index, [block_rows] * 3, 32)
    attributes = matmul_attributes(37, 90) | finish_attributes(Activation.clip(0.0, 6.0))
    product = node(HALVES.matmul, ["x", "level", "table", *parts], "y", attributes)
    found = run_graph([product], {"table": table, **parts}, {"x": x, "level": np.array(1, np.int64)}, 2)

    sums = x.astype(np.float64) @ np.where(index <= 1, w, 0).T.astype(np.float64)
    require_close(found, activated(sums * table[1, 0] + table[1, 1], Activation.clip(0.0, 6.0)))


@pytest.mark.parametrize(
    ("side", "stride", "pad", "size"),
    [(3, 2, 1, (9, 14)), (2, 2, 0, (8, 8)), (3, 1, 1, (5, 6)), (3, 3, 0, (9, 9))],
)
def test_the_largest_of_each_window_is_exact(side: int, stride: int, pad: int, size: tuple[int, int]) -> None:
    """All are below zero, so that a border or a gap would win if it took part."""
    random = np.random.default_rng(2)
    x = -np.abs(halves(random, (2, 5, *size)).astype(np.float32)) - 1
    x = x.astype(np.float16).astype(np.float32)
    made_size = tuple((s + 2 * pad - side) // stride + 1 for s in size)
    source, made = Planes(*size, pad), Planes(*made_size, 1)
    if stride == 1:
        source = made = Planes(*size, 1)
    window = Window(source, made, (side, side), (stride, stride), (1, 1), (pad, pad))
    nodes = [
        to_planes("x", "px", source, HALVES),
        node(HALVES.max_pool, ["px"], "py", window.attributes() | {"in_channels": 5}),
        from_planes("py", "y", made, HALVES),
    ]
    found = run_graph(nodes, {}, {"x": x})

    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))
    np.testing.assert_array_equal(found, windows[:, :, ::stride, ::stride].max(axis=(4, 5)))


def test_values_of_another_precision_are_refused() -> None:
    x, w = np.ones((1, 3, 6, 5), np.float32), np.ones((4, 3, 3, 3), np.float32)
    with pytest.raises(
        ort.capi.onnxruntime_pybind11_state.RuntimeException, match="values of another kernel"
    ):
        run_conv(
            x, w, np.zeros(w.shape, np.uint8), np.ones((1, 2, 4), np.float32), 0, SAME_3X3, activation=PLAIN,
            family=HALVES,
        )  # fmt: skip
