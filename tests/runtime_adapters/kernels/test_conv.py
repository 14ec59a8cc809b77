"""NestedConv and NestedDepthwise agree with float64 arithmetic for every geometry, level and kind of block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.convolutions import ACTIVATIONS, PLAIN, RELU6, SAME_3X3, run_conv
from support.geometries import geometries


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), g=geometries())
def test_conv_agrees_with_float64(data: st.DataObject, g: dict[str, Any]) -> None:
    """Any geometry, group count, density, ladder, block form, column block, activation, residual, batch, threads."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    in_share, out_share = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    levels = draw(st.integers(1, 4))
    forms = [1, 4] if groups == 1 or out_share % 4 == 0 else [1]
    block_rows = draw(st.lists(st.sampled_from(forms), min_size=levels, max_size=levels))
    w = random.standard_normal((groups * out_share, in_share, *g["kernel"])).astype(np.float32)
    index = random.integers(0, levels + draw(st.integers(0, 3)), w.shape).astype(np.uint8)
    index[random.random(len(w)) < 0.2] = 255  # rows that are never active
    x = random.standard_normal((draw(st.integers(1, 3)), groups * in_share, *g["size"])).astype(np.float32)
    found, expected = run_conv(
        x,
        w,
        index,
        random.standard_normal((levels, 2, len(w))).astype(np.float32),
        draw(st.integers(0, levels - 1)),
        g,
        groups=groups,
        block_rows=block_rows,
        column_block=draw(st.sampled_from([None, 1, 7, 30])),
        residual=random.standard_normal(50) if draw(st.booleans()) else None,
        activation=draw(st.sampled_from(ACTIVATIONS)),
        threads=draw(st.sampled_from([1, 2])),
    )

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), g=geometries())
def test_depthwise_agrees_with_float64(data: st.DataObject, g: dict[str, Any]) -> None:
    """A channel by itself, with weights of its own at every level."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, levels = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    w = random.standard_normal((channels, 1, *g["kernel"])).astype(np.float32)
    index = random.integers(0, levels + 1, w.shape).astype(np.uint8)
    x = random.standard_normal((draw(st.integers(1, 3)), channels, *g["size"])).astype(np.float32)
    found, expected = run_conv(
        x,
        w,
        index,
        random.standard_normal((levels, 2, channels)).astype(np.float32),
        draw(st.integers(0, levels - 1)),
        g,
        groups=channels,
        depthwise=True,
        activation=draw(st.sampled_from([PLAIN, RELU6])),
        residual=random.standard_normal(50) if draw(st.booleans()) else None,
    )

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block_rows", [1, 4])
def test_not_a_number_reaches_only_the_outputs_that_read_it(block_rows: int) -> None:
    """NaN and infinity spread over their window and not into borders, gaps or other rows of a block."""
    random = np.random.default_rng(1)
    x = random.standard_normal((1, 3, 6, 5)).astype(np.float32)
    x[0, 1, 0, 4], x[0, 2, 5, 0] = np.nan, np.inf
    w = random.standard_normal((8, 3, 3, 3)).astype(np.float32)
    index = np.full(w.shape, 0, np.uint8)
    found, expected = run_conv(
        x, w, index, np.ones((1, 2, 8), np.float32), 0, SAME_3X3, block_rows=[block_rows]
    )

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_large_layer_is_split_into_tiles_and_parts() -> None:
    """More channels, pixels and columns than fit one tile, part or block of columns, on two threads."""
    random = np.random.default_rng(2)
    x = random.standard_normal((2, 40, 30, 33)).astype(np.float32)
    w = random.standard_normal((130, 40, 3, 3)).astype(np.float32)
    index = random.integers(0, 12, w.shape).astype(np.uint8)
    table = random.standard_normal((3, 2, 130)).astype(np.float32)
    for level in range(3):
        found, expected = run_conv(
            x, w, index, table, level, SAME_3X3, block_rows=[1, 4, 1], column_block=90, threads=2
        )

        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)
