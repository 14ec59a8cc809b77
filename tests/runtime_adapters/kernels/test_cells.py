"""NestedLstm and NestedGru agree with float64 arithmetic at every level, in every direction, for any lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cells import GATES, Array, Layer, run_cells
from support.nodes import segments

from elsa_edge.nested_format import operators as ops
from elsa_edge.nested_format.activations import Activation

KINDS = {"LSTM": ops.LSTM, "GRU": ops.GRU}


@dataclass(frozen=True)
class Case:
    """A layer with levels, what it is given, and the level."""

    layer: Layer
    index: Array
    block_rows: list[int]
    table: Array
    inputs: dict[str, Array]
    level: int

    @property
    def expected(self) -> tuple[Array, ...]:
        scale, bias = self.table[self.level]
        at_level = np.where(self.index <= self.level, self.layer.r, 0) * scale[:, None]
        layer = Layer(
            self.layer.operator, self.layer.units, at_level, bias, self.layer.backward,
            self.layer.linear_before_reset,
        )  # fmt: skip
        zeros = np.zeros((len(at_level) // (GATES[layer.operator] * layer.units), self.batch, layer.units))
        return layer.run(
            self.inputs["x"],
            self.inputs.get("h", zeros),
            self.inputs.get("c", zeros),
            self.inputs.get("lengths"),
        )[: 3 if layer.operator == "LSTM" else 2]

    @property
    def batch(self) -> int:
        return self.inputs["x"].shape[1]

    def run(self, wanted: tuple[str, ...], threads: int = 1) -> list[Array]:
        directions = len(self.layer.r) // (GATES[self.layer.operator] * self.layer.units)
        lstm = self.layer.operator == "LSTM"
        attributes = ops.finish_attributes(Activation()) | ops.cell_attributes(
            self.layer.units,
            directions,
            backward=self.layer.backward,
            linear_before_reset=None if lstm else self.layer.linear_before_reset,
        )
        parts = segments(self.layer.r, self.index, self.block_rows, None)
        names = ["x", "level", "table", *(n if n in self.inputs else "" for n in ("h", "c", "lengths"))]
        feed = {**self.inputs, "level": np.array(self.level, np.int64)}
        constants = {"table": self.table, **parts}
        kind = KINDS[self.layer.operator]
        return run_cells(kind, [*names, *parts], attributes, constants, feed, wanted, threads)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any cell, size, direction, ladder, block form; weights of floats or codes; states and lengths given or not;
    gates that saturate.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    operator = draw(st.sampled_from(["LSTM", "GRU"]))
    units, directions, levels = draw(st.integers(1, 40)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    steps, batch = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    rows = directions * GATES[operator] * units
    codes = draw(st.booleans())
    r = (
        random.integers(-127, 128, (rows, units)).astype(np.int8)
        if codes
        else random.standard_normal((rows, units)).astype(np.float32)
    )
    size = draw(st.sampled_from([0.5, 50.0]))
    inputs = {"x": (random.standard_normal((steps, batch, rows)) * size).astype(np.float32)}
    states = (directions, batch, units)
    if draw(st.booleans()):
        inputs["h"] = random.standard_normal(states).astype(np.float32)
    if operator == "LSTM" and draw(st.booleans()):
        inputs["c"] = random.standard_normal(states).astype(np.float32)
    if draw(st.booleans()):
        inputs["lengths"] = random.integers(0, steps + 1, batch).astype(np.int32)
    return Case(
        Layer(
            operator, units, r, np.zeros(rows), draw(st.booleans()) and directions == 1, draw(st.booleans())
        ),
        random.integers(0, levels + draw(st.integers(0, 9)), r.shape).astype(np.uint8),
        draw(st.lists(st.sampled_from([1, 4]), min_size=levels, max_size=levels)),
        (random.standard_normal((levels, 2, rows)) / [[100 if codes else 1], [1]]).astype(np.float32),
        inputs,
        draw(st.integers(0, levels - 1)),
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), threads=st.sampled_from([1, 2]))
def test_cells_agree_with_float64(case: Case, threads: int) -> None:
    """All states, the last ones and the last cells."""
    names = ("y", "last_h", "last_c")[: len(case.expected)]
    for found, expected in zip(case.run(names, threads), case.expected, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.fixture
def small() -> Case:
    """Two directions, two levels, one of them empty."""
    random = np.random.default_rng(0)
    r = random.standard_normal((2 * 3 * 5, 5)).astype(np.float32)
    table = np.ones((2, 2, len(r)), np.float32)
    inputs = {"x": random.standard_normal((4, 2, len(r))).astype(np.float32)}
    return Case(Layer("GRU", 5, r, np.zeros(len(r))), np.ones(r.shape, np.uint8), [1, 4], table, inputs, 1)


@pytest.mark.parametrize("units", [1, 2, 3, 5])
def test_the_last_gate_of_a_gru_leaves_the_others_as_they_were(units: int) -> None:
    """With the reset before the product, that product is made alone, and its first block of rows holds other gates."""
    random = np.random.default_rng(0)
    r = random.standard_normal((3 * units, units)).astype(np.float32)
    table = random.standard_normal((1, 2, len(r))).astype(np.float32)
    inputs = {"x": random.standard_normal((4, 2, len(r))).astype(np.float32)}
    layer = Layer("GRU", units, r, np.zeros(len(r)), linear_before_reset=False)
    case = Case(layer, np.zeros(r.shape, np.uint8), [4], table, inputs, 0)

    for found, expected in zip(case.run(("y", "last_h")), case.expected, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wanted", [("y",), ("last_h",), ("y", "last_h")])
def test_outputs_may_be_left_out(small: Case, wanted: tuple[str, ...]) -> None:
    """Many networks read only the last state, or only all of them."""
    by_name = dict(zip(("y", "last_h"), small.expected, strict=True))
    for name, found in zip(wanted, small.run(wanted), strict=True):
        np.testing.assert_allclose(found, by_name[name], rtol=1e-4, atol=1e-5)


def test_not_a_number_stays_one(small: Case) -> None:
    """As in a dense network: what went wrong is not hidden by a gate."""
    small.inputs["x"][1, 0] = np.nan
    y = small.run(("y",))[0]
    assert np.isnan(y[1:, 0, 0]).all()
    assert np.isfinite(y[:, :, 1]).all()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x", np.zeros((4, 2, 7), np.float32), r"must be \(steps, batch, 30\)"),
        ("h", np.zeros((2, 3, 5), np.float32), r"the initial states must be \(directions, batch, units\)"),
        ("lengths", np.array([1], np.int32), "a length for each sequence"),
        ("lengths", np.array([1, 5], np.int32), "a sequence of 5 steps, expected 0 to 4"),
        ("lengths", np.array([1, -1], np.int32), "a sequence of -1 steps, expected 0 to 4"),
    ],
)
def test_what_does_not_fit_is_an_error(small: Case, name: str, array: Array, message: str) -> None:
    """Shapes and lengths come from outside."""
    small.inputs[name] = array
    with pytest.raises(Exception, match=message):
        small.run(("y",))
