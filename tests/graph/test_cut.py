"""Levels of an ONNX graph's weights: nested, as dense as asked for, in blocks of output and input channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.errors import UnknownNameError
from elsa_edge.graph.cut import BLOCKS, cut
from elsa_edge.graph.multiplied import Factor
from elsa_edge.levels import Ladder, mask_at, measured_densities

KINDS = {
    "conv": ((8, 6, 3, 3), 1),
    "grouped": ((8, 3, 3, 3), 2),
    "depthwise": ((10, 1, 3, 3), 10),
    "conv_transpose": ((6, 5, 2, 2), 2),
    "linear": ((7, 9), 1),
    "linear_in_out": ((9, 7), 1),
    "experts": ((3, 8, 12), 1),
}


def factor(name):
    shape, groups = KINDS[name]
    kind = {"grouped": "conv", "depthwise": "conv", "experts": "linear_in_out"}.get(name, name)
    return Factor(name, shape, kind, groups)


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from(sorted(KINDS)), min_size=1),
    st.sampled_from(sorted(BLOCKS)),
    st.integers(0, 99),
)
def test_levels_are_nested_and_as_dense_as_asked_for(names, granularity, seed):
    """Whole blocks are in or out; the density is met to within a block; no weight loses its last unit."""
    generator = np.random.default_rng(seed)
    factors = [factor(name) for name in sorted(names)]
    weights = {f.name: generator.standard_normal(f.shape).astype(np.float32) for f in factors}
    ladder = Ladder.from_sparsities((0.9, 0.5, 0.0))
    indices = cut(factors, weights, ladder, granularity)
    height, width = BLOCKS[granularity]
    one_weight = 1 / sum(f.size for f in factors)
    slack = (height * width * (1 + len(factors))) / sum(f.size for f in factors)
    for found, sparsity in zip(measured_densities(indices, 3), ladder.sparsities, strict=True):
        assert 1 - sparsity - one_weight <= found <= 1 - sparsity + slack
    for f in factors:
        index = indices[f.name]
        assert index.shape == f.shape
        assert mask_at(index, 0).any()
        rows = f.rows(index)
        if rows.shape[1] == 1:
            rows = rows.reshape(1, -1, *rows.shape[2:])
        for r in range(0, rows.shape[1], height):
            for c in range(0, rows.shape[2], width):
                block = rows[:, r : r + height, c : c + width]
                assert np.array_equal(block, np.broadcast_to(block[:, :1, :1], block.shape))


@pytest.mark.parametrize("name", KINDS)
def test_rows_and_back(name):
    """Any layout becomes (groups, out, in, positions) and returns; the sum runs over the third axis."""
    f = factor(name)
    values = np.arange(f.size, dtype=np.float32).reshape(f.shape)
    assert np.array_equal(f.from_rows(f.rows(values)), values)
    if name == "linear_in_out":
        assert np.array_equal(f.rows(values)[0, :, :, 0], values.T)


def test_the_largest_magnitudes_stay():
    """Over all weights together."""
    f = Factor("w", (2, 4), "linear")
    weights = {"w": np.array([[4, 1, 3, 2], [-8, 5, -7, 6]], np.float32)}
    index = cut([f], weights, Ladder.from_sparsities((0.5, 0.25, 0.0)))["w"]
    assert index.tolist() == [[1, 2, 1, 2], [0, 0, 0, 0]]


def test_an_unknown_granularity():
    """The error lists those that ONNX files can have."""
    with pytest.raises(UnknownNameError, match="4x4"):
        cut([], {}, Ladder.from_sparsities((0.5,)), "2x2")
