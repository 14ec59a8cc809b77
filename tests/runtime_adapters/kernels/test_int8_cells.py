"""Recurrent layers in 8 bits equal the reference in numpy bit for bit, states and gates included."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cells import GATES, Array, run_cells
from support.nodes8 import segments8

from elsa_edge.nested_format import operators as ops
from elsa_edge.quantise.reference_cells import Cells, recur
from elsa_edge.quantise.steps import Steps

LEVELS = 3
KINDS = {"LSTM": ops.LSTM8, "GRU": ops.GRU8}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_cells_agree(data: st.DataObject) -> None:
    """Any cell, size, direction, form of blocks, level, steps of the state, and codes and gates that saturate.

    Initial states may be absent or beyond what their codes reach; sequences end before the last step, or are empty.
    """
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    operator = draw(st.sampled_from(["LSTM", "GRU"]))
    units, directions = draw(st.integers(1, 40)), draw(st.integers(1, 2))
    backward = draw(st.booleans()) and directions == 1
    reset = draw(st.booleans()) if operator == "GRU" else None
    rows, level = directions * GATES[operator] * units, draw(st.integers(0, LEVELS - 1))
    # Pairs are safe: at most 64 each.
    codes = (
        random.choice(np.array([-64, 64], np.int8), (rows, units))
        if draw(st.booleans())
        else random.integers(-64, 65, (rows, units)).astype(np.int8)
    )
    index = random.choice(np.array([0, 1, 2, 255], np.uint8), codes.shape)
    table = np.zeros((LEVELS, 2, -(-rows // 4) * 4), np.float32)
    table[:, 0, :rows] = random.uniform(1e-5, 1e-3, (LEVELS, rows)) * draw(st.sampled_from([1, 1000]))
    table[:, 1, :rows] = random.standard_normal((LEVELS, rows))
    zero = draw(st.integers(0, 255))
    points = np.array([[zero, 0, 0, 255, 0, 1]] * LEVELS, np.float32)
    steps = Steps(float(np.float32(draw(st.sampled_from([1 / 127, 1 / 400])))), zero)
    states = (directions, draw(st.integers(1, 3)), units)
    feed = {
        "x": random.standard_normal((draw(st.integers(0, 4)), states[1], rows)).astype(np.float32)
        * np.float32(draw(st.sampled_from([3, 1e-3]))),
        "level": np.array(level, np.int64),
    }
    if draw(st.booleans()):
        feed["h"] = (random.uniform(-1, 1, states) * draw(st.sampled_from([1, 5]))).astype(np.float32)
    if operator == "LSTM" and draw(st.booleans()):
        feed["c"] = random.standard_normal(states).astype(np.float32)
    if draw(st.booleans()):
        feed["lengths"] = random.integers(0, len(feed["x"]) + 1, states[1]).astype(np.int32)
    forms = draw(st.lists(st.sampled_from([1, 4, 8]), min_size=LEVELS, max_size=LEVELS))
    constants = {
        "table": table,
        "points": points,
        "steps": np.array([[steps.step, steps.zero]] * LEVELS, np.float32),
        **segments8(codes, index, forms),
    }
    segments = [name for name in constants if name.startswith("segment")]
    optional = [name if name in feed else "" for name in ("h", "c", "lengths")]
    names = ["x", "level", "table", "points", "steps", *optional, *segments]
    attributes = ops.cell_attributes(units, directions, backward=backward, linear_before_reset=reset)
    wanted = ("y", "last_h", "last_c")[: 3 if operator == "LSTM" else 2]
    cells = Cells(units, np.where(index <= level, codes, 0), table[level], steps, backward, reset)
    expected = _by_sequence(cells, feed, states)
    threads = draw(st.sampled_from([1, 2]))
    found = run_cells(KINDS[operator], names, attributes, constants, feed, wanted, threads)
    for one, other in zip(found, expected, strict=False):
        assert np.array_equal(one, other)


def _by_sequence(cells: Cells, feed: dict[str, Array], states: tuple[int, ...]) -> tuple[Array, ...]:
    """Each sequence alone, as far as it goes; behind its end are zeros."""
    zeros, steps = np.zeros(states, np.float32), len(feed["x"])
    h, c = feed.get("h", zeros), feed.get("c", zeros)
    y, last_h, last_c = np.zeros((steps, *states), np.float32), zeros.copy(), zeros.copy()
    for n, length in enumerate(feed.get("lengths", [steps] * states[1])):
        one = slice(n, n + 1)
        y[:length, :, one], last_h[:, one], last_c[:, one] = recur(
            cells, feed["x"][:length, one], h[:, one], c[:, one]
        )
    return y, last_h, last_c
