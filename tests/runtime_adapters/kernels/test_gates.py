"""Gates of recurrent cells are exact in relation to their own size, so that small states are as good as large ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import GATES, Array, Layer, Operator, run_cells, sigmoid
from support.nodes import segments

from elsa_edge.nested_format import operators as ops
from elsa_edge.nested_format.activations import Activation

KINDS = {"LSTM": ops.LSTM, "GRU": ops.GRU}
UNITS = 16
# A gate that is wholly open, and one that is shut.
OPEN, SHUT = 60.0, -110.0


def last_state(layer: Layer, from_input: Array, **states: Array) -> Array:
    """Run a layer of one direction, all of its weights active."""
    lstm = layer.operator == "LSTM"
    parts = segments(layer.r, np.zeros(layer.r.shape, np.uint8), [1], None)
    attributes = ops.finish_attributes(Activation()) | ops.cell_attributes(
        layer.units, 1, backward=False, linear_before_reset=None if lstm else layer.linear_before_reset
    )
    table = np.stack([np.ones(len(layer.r)), layer.r_bias])[None].astype(np.float32)
    names = ["x", "level", "table", *(name if name in states else "" for name in ("h", "c", "lengths"))]
    feed = {"x": from_input, "level": np.array(0, np.int64), **states}
    constants = {"table": table, **parts}
    return run_cells(KINDS[layer.operator], [*names, *parts], attributes, constants, feed, ("last_h",))[0]


def without_memory(operator: Operator) -> Layer:
    """Return a layer whose gates see only the input."""
    rows = GATES[operator] * UNITS
    return Layer(operator, UNITS, np.zeros((rows, UNITS), np.float32), np.zeros(rows))


def in_both_signs(numbers: Array) -> Array:
    """Return the numbers and their negatives as a batch of vectors of units."""
    return np.concatenate([numbers, -numbers]).astype(np.float32).reshape(-1, UNITS)


def relative_error(found: Array, exact: Array) -> float:
    return float(np.max(np.abs(found.astype(np.float64) - exact) / np.abs(exact)))


def test_tanh_is_exact_in_relation_to_itself() -> None:
    """A GRU that keeps nothing hands on what tanh makes: from 1e-30 to 20, finely around the first power of 2."""
    spread, change = np.geomspace(1e-30, 20, 64 * UNITS), np.linspace(0.1, 0.75, 64 * UNITS)
    numbers = in_both_signs(np.concatenate([spread, change]))
    shut = np.full_like(numbers, SHUT)
    from_input = np.concatenate([shut, shut, numbers], axis=1)[None]

    found = last_state(without_memory("GRU"), from_input)[0]

    assert relative_error(found, np.tanh(numbers.astype(np.float64))) < 3e-7


def test_tanh_of_what_is_none_or_without_end() -> None:
    """Zero stays zero, infinity saturates, and what is no number stays none."""
    numbers = np.zeros((1, UNITS), np.float32)
    numbers[0, :4] = [np.inf, -np.inf, np.nan, 3e38]
    shut = np.full_like(numbers, SHUT)

    found = last_state(without_memory("GRU"), np.concatenate([shut, shut, numbers], axis=1)[None])[0]

    np.testing.assert_array_equal(found[0], [1, -1, np.nan, 1, *[0] * (UNITS - 4)])


def test_sigmoid_is_exact_in_relation_to_itself() -> None:
    """An LSTM whose cell stays large hands on what its output gate makes, as small as floats go."""
    numbers = in_both_signs(np.geomspace(1e-30, 87, 64 * UNITS))
    cells = np.full_like(numbers, 50)
    gates = [np.full_like(numbers, SHUT), numbers, np.full_like(numbers, OPEN), np.zeros_like(numbers)]

    found = last_state(without_memory("LSTM"), np.concatenate(gates, axis=1)[None], c=cells[None])[0]

    assert relative_error(found, sigmoid(numbers.astype(np.float64))) < 3e-7


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    operator=st.sampled_from(["LSTM", "GRU"]),
    reset=st.booleans(),
    exponent=st.integers(-30, 0),
)
def test_small_states_are_as_good_as_large_ones(
    seed: int, operator: Operator, reset: bool, exponent: int
) -> None:
    """Inputs of any size, with weights that keep the states about as small, against float64."""
    random = np.random.default_rng(seed)
    rows = GATES[operator] * UNITS
    r = (random.standard_normal((rows, UNITS)) / 100).astype(np.float32)
    layer = Layer(operator, UNITS, r, np.zeros(rows), linear_before_reset=reset)
    from_input = (random.standard_normal((4, 2, rows)) * 10.0**exponent).astype(np.float32)
    nothing = np.zeros((1, 2, UNITS))

    found = last_state(layer, from_input)

    expected = layer.run(from_input, nothing, nothing)[1]
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_tiny_weights_and_states(operator: Operator) -> None:
    """All that a layer has is small: its weights, its biases, its initial states."""
    random = np.random.default_rng(0)
    rows = GATES[operator] * UNITS
    r, from_input, h, c = (
        (random.standard_normal(shape) * 1e-4).astype(np.float32)
        for shape in [(rows, UNITS), (5, 3, rows), (1, 3, UNITS), (1, 3, UNITS)]
    )
    bias = (random.standard_normal(rows) * 1e-5).astype(np.float32)
    layer = Layer(operator, UNITS, r, bias)
    given_states = {"h": h, "c": c} if operator == "LSTM" else {"h": h}

    found = last_state(layer, from_input, **given_states)

    expected = layer.run(from_input, h, c)[1]
    assert 0 < np.abs(expected).max() < 1e-3
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()
