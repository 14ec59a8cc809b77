"""NestedMatMul agrees with float64 arithmetic for one row or many, every level and kind of block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nodes import Array, activated, node, run_graph, segments

from elsa_edge.nested_format.activations import Activation, ActivationKind
from elsa_edge.nested_format.operators import MATMUL, finish_attributes, matmul_attributes
from elsa_edge.nested_format.segments import encode

PLAIN = Activation()


def run_matmul(  # noqa: PLR0917 - called in one way only
    x: Array,
    table: Array,
    parts: dict[str, Array],
    level: int,
    activation: Activation,
    threads: int = 1,
) -> Array:
    attributes = matmul_attributes(table.shape[2], x.shape[-1]) | finish_attributes(activation)
    product = node(MATMUL, ["x", "level", "table", *parts], "y", attributes)
    return run_graph(
        [product], {"table": table, **parts}, {"x": x, "level": np.array(level, np.int64)}, threads
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_matmul_agrees_with_float64(data: st.DataObject) -> None:
    """Any shape of input, density, ladder, block form, column block, activation and number of threads."""
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns, levels = draw(st.integers(1, 150)), draw(st.integers(1, 150)), draw(st.integers(1, 4))
    shape = draw(st.sampled_from([(), (1,), (2,), (3, 1), (5,), (2, 9), (250,)]))
    w = random.standard_normal((rows, columns)).astype(np.float32)
    index = random.integers(0, levels + draw(st.integers(0, 9)), w.shape).astype(np.uint8)
    x = random.standard_normal((*shape, columns)).astype(np.float32)
    table = random.standard_normal((levels, 2, rows)).astype(np.float32)
    level = draw(st.integers(0, levels - 1))
    activation = draw(st.sampled_from([PLAIN, Activation.clip(0.0, 6.0), Activation(ActivationKind.SILU)]))
    parts = segments(
        w,
        index,
        draw(st.lists(st.sampled_from([1, 4]), min_size=levels, max_size=levels)),
        draw(st.sampled_from([None, 16, 50])),
    )
    found = run_matmul(x, table, parts, level, activation, draw(st.sampled_from([1, 2])))

    expected = (
        x.astype(np.float64) @ np.where(index <= level, w, 0).T.astype(np.float64) * table[level, 0]
        + table[level, 1]
    )
    np.testing.assert_allclose(found, activated(expected, activation), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("block_rows", [1, 4])
@pytest.mark.parametrize("batch", [1, 40])
def test_int8_codes_are_exact(block_rows: int, batch: int) -> None:
    """Codes are multiplied as the integers they are; their scale is the table's."""
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (37, 90)).astype(np.int8)
    active = random.random(codes.shape) < 0.3
    x = random.integers(-8, 9, (batch, 90)).astype(np.float32)
    table = np.stack([np.full(37, 0.5, np.float32), np.zeros(37, np.float32)])[None]
    found = run_matmul(
        x, table, {"s": encode(codes, active, block_rows=block_rows, column_block=33)}, 0, PLAIN
    )

    expected = x @ np.where(active, codes, 0).astype(np.float32).T * 0.5
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("level", [-1, 2, 2**40])
def test_a_level_that_does_not_exist_is_an_error(level: int) -> None:
    """The sentence names the level and the ones that exist."""
    w, index = np.ones((4, 5), np.float32), np.zeros((4, 5), np.uint8)
    parts = segments(w, index, [1, 1], None)
    with pytest.raises(Exception, match=rf"level {level} does not exist here, expected 0 \(sparsest\) to 1"):
        run_matmul(np.ones((1, 5), np.float32), np.ones((2, 2, 4), np.float32), parts, level, PLAIN)


def test_a_wrong_input_width_is_an_error() -> None:
    """The sentence names the width that was expected."""
    parts = segments(np.ones((4, 5), np.float32), np.zeros((4, 5), np.uint8), [1], None)
    attributes = matmul_attributes(4, 5) | finish_attributes(PLAIN)
    product = node(MATMUL, ["x", "level", "table", *parts], "y", attributes)
    inputs = {"x": np.ones((1, 6), np.float32), "level": np.array(0, np.int64)}
    with pytest.raises(Exception, match="the last dimension of the input must be 5"):
        run_graph([product], {"table": np.ones((1, 2, 4), np.float32), **parts}, inputs)


def test_segments_of_another_weight_are_an_error() -> None:
    """A segment whose header has other dimensions than the node is refused when the session opens."""
    parts = segments(np.ones((4, 7), np.float32), np.zeros((4, 7), np.uint8), [1], None)
    with pytest.raises(Exception, match="a segment is of a weight of 4 x 7, expected 4 x 5"):
        run_matmul(np.ones((1, 5), np.float32), np.ones((1, 2, 4), np.float32), parts, 0, PLAIN)


@pytest.mark.parametrize("batch", [1, 40])
def test_a_damaged_segment_is_an_error_before_it_is_read(batch: int) -> None:
    """A column beyond the weight is refused when its level is first used; the level below still works."""
    parts = segments(
        np.ones((4, 5), np.float32), np.repeat([[0], [1]], 2, axis=0) + np.zeros((4, 5)), [1, 1], None
    )
    damaged = parts["segment1"].copy()
    damaged[64 + 64] = 5  # the first column of the first entry, behind a header and one line of pointers
    parts["segment1"] = damaged
    x, table = np.ones((batch, 5), np.float32), np.ones((2, 2, 4), np.float32)

    assert run_matmul(x, table, parts, 0, PLAIN)[0].tolist() == [6, 6, 1, 1]
    with pytest.raises(Exception, match="damaged segment: a column lies beyond its block"):
        run_matmul(x, table, parts, 1, PLAIN)
