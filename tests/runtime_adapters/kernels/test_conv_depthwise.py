"""NestedConvDepthwise agrees with the two convolutions one after the other, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nodes import Array, activated, convolve, from_planes, node, run_graph, segments, to_planes

from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.operators import (
    CONV_DEPTHWISE,
    Attributes,
    Window,
    channel_attributes,
    finish_attributes,
    following,
)
from elsa_edge.nested_format.planes import Planes

Square = dict[str, Any]

PLAIN, RELU6 = Activation(), Activation.clip(0.0, 6.0)


def window(kernel: int, stride: int, pads: tuple[int, int, int, int], dilation: int = 1) -> Square:
    """A square window; pads are top, left, bottom, right."""
    return {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation}


def attributes(w: Square, source: Planes, made: Planes, activation: Activation) -> Attributes:
    """Return the geometry of a convolution between two layouts, and what follows it."""
    pairs = ((w[name],) * 2 for name in ("kernel", "stride", "dilation"))
    return Window(source, made, *pairs, w["pads"][:2]).attributes() | finish_attributes(activation)


def made_size(w: Square, size: tuple[int, int]) -> tuple[int, int]:
    reach = (w["kernel"] - 1) * w["dilation"]
    top, left, bottom, right = w["pads"]
    return (size[0] + top + bottom - reach - 1) // w["stride"] + 1, (size[1] + left + right - reach - 1) // w[
        "stride"
    ] + 1


def smallest_gap(w: Square) -> int:
    return max(*w["pads"], (w["kernel"] - 1) * w["dilation"] // w["stride"])


def run_pair(  # noqa: PLR0917 - called in one way only
    x: Array,
    first: Square,
    second: Square,
    weight: Array,
    index: Array,
    taps: Array,
    *,
    level: int,
    between_gap: int,
    block_rows: list[int],
    column_block: int | None = None,
    groups: int = 1,
    threads: int = 1,
) -> tuple[Array, Array]:
    """Return what the kernel computes and what it must compute; ReLU6 between and after."""
    random = np.random.default_rng(3)
    levels, channels = len(block_rows), len(weight)
    tables = random.standard_normal((2, levels, 2, channels)).astype(np.float32)
    expected = x.astype(np.float64)
    layers = (
        (first, np.where(index <= level, weight, 0), groups),
        (second, taps[min(level, len(taps) - 1)], channels),
    )
    for table, (w, kernel, share) in zip(tables, layers, strict=True):
        pair = (w["stride"],) * 2, w["pads"], (w["dilation"],) * 2
        scale, bias = table[level].astype(np.float64)[:, None, :, None, None]
        expected = activated(convolve(expected, kernel, *pair, share) * scale + bias, RELU6)
    between = Planes(*made_size(first, x.shape[2:]), between_gap)
    source, made = (
        Planes(*x.shape[2:], smallest_gap(first)),
        Planes(*expected.shape[2:], smallest_gap(second)),
    )
    described = attributes(first, source, between, RELU6) | channel_attributes(x.shape[1], channels, groups)
    described |= following(attributes(second, between, made, RELU6))
    parts = segments(weight, index, block_rows, column_block)
    nodes = [
        to_planes("x", "px", source),
        node(CONV_DEPTHWISE, ["px", "level", "t1", "t2", "taps", *parts], "py", described),
        from_planes("py", "y", made),
    ]
    constants = {"t1": tables[0], "t2": tables[1], "taps": taps.reshape(len(taps), channels, -1), **parts}
    return run_graph(nodes, constants, {"x": x, "level": np.array(level, np.int64)}, threads), expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_pair_agrees_with_float64(data: st.DataObject) -> None:
    """Lines, rows and whole planes; any kernel, padding, gap, density, ladder, block form, groups, batch, threads."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = draw(
        st.sampled_from(
            [
                window(1, 1, (0,) * 4),
                window(3, 1, (1,) * 4),
                window(3, 2, (1,) * 4),
                window(2, 1, (0, 1, 1, 0)),
            ]
        )
    )
    kernel = draw(st.sampled_from([3, 3, 5, 5, 7, 2, 1]))
    stride, dilation = draw(st.sampled_from([1, 1, 2, 2, 3])), draw(st.sampled_from([1, 1, 1, 2]))
    reach = (kernel - 1) * dilation
    pads = draw(
        st.sampled_from([(reach // 2,) * 4, (0, 0, reach // 2, reach // 2), (reach - reach // 2,) * 4])
    )
    second = window(kernel, stride, pads, dilation)
    size = draw(st.tuples(st.integers(16, 40), st.integers(16, 70)))
    groups = draw(st.sampled_from([1, 1, 2]))
    in_share, out_share = draw(st.integers(1, 6)), draw(st.sampled_from([1, 3, 4, 8, 21]))
    levels = draw(st.integers(1, 3))
    forms = [1, 4] if groups == 1 or out_share % 4 == 0 else [1]
    channels = groups * out_share
    weight = random.standard_normal((channels, in_share, first["kernel"], first["kernel"])).astype(np.float32)
    index = random.integers(0, levels + draw(st.integers(0, 3)), weight.shape).astype(np.uint8)
    taps = random.standard_normal((draw(st.sampled_from([1, levels])), channels, 1, kernel, kernel)).astype(
        np.float32
    )
    x = random.standard_normal((draw(st.integers(1, 2)), groups * in_share, *size)).astype(np.float32)
    between_gap = max(smallest_gap(first), draw(st.sampled_from([0, max(pads), max(pads) + 1])))
    found, expected = run_pair(
        x,
        first,
        second,
        weight,
        index,
        taps,
        level=draw(st.integers(0, levels - 1)),
        between_gap=between_gap,
        block_rows=draw(st.lists(st.sampled_from(forms), min_size=levels, max_size=levels)),
        column_block=draw(st.sampled_from([None, 1, 9])),
        groups=groups,
        threads=draw(st.sampled_from([1, 2])),
    )

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_many_steps_and_parts(stride: int) -> None:
    """A plane of many tiles, more channels than one task takes, on two threads."""
    random = np.random.default_rng(1)
    x = random.standard_normal((1, 5, 61, 59)).astype(np.float32)
    weight = random.standard_normal((70, 5, 1, 1)).astype(np.float32)
    taps = random.standard_normal((1, 70, 1, 3, 3)).astype(np.float32)
    found, expected = run_pair(
        x,
        window(1, 1, (0,) * 4),
        window(3, stride, (1,) * 4),
        weight,
        np.zeros(weight.shape, np.uint8),
        taps,
        level=0,
        between_gap=1,
        block_rows=[1],
        threads=2,
    )

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_windows_that_do_not_fit_are_refused() -> None:
    """The depthwise convolution must read what the other one makes."""
    weight = np.ones((4, 2, 1, 1), np.float32)
    parts = segments(weight, np.zeros(weight.shape, np.uint8), [1], None)
    made, read = Planes(8, 8, 1), Planes(9, 8, 1)
    described = attributes(window(1, 1, (0,) * 4), Planes(8, 8, 0), made, PLAIN) | channel_attributes(2, 4, 1)
    described |= following(attributes(window(3, 1, (1,) * 4), read, read, PLAIN))
    pair = node(CONV_DEPTHWISE, ["x", "level", "t", "t", "taps", *parts], "y", described)
    constants = {"t": np.ones((1, 2, 4), np.float32), "taps": np.ones((1, 4, 9), np.float32), **parts}
    inputs = {"x": np.zeros((1, 2, 1, 64), np.float32), "level": np.array(0, np.int64)}
    with pytest.raises(Exception, match="do not fit together"):
        run_graph([pair], constants, inputs)
