"""A small part of an output is held to its own size, and a part that never moves is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.proof.comparing import compare
from elsa_edge.proof.parts import still_parts, worst_part
from elsa_edge.proof.tolerance import Tolerance

EXACT = Tolerance(noise=1e-7)


def boxes_and_scores(axis: int = 1) -> np.ndarray:
    """Return four numbers of size 640 and four of size 1 along an axis of a tensor of three dimensions."""
    size = np.array([640.0] * 4 + [1.0] * 4).reshape([8 if place == axis else 1 for place in range(3)])
    shape = [8 if place == axis else 3 for place in range(3)]
    return np.random.default_rng(0).uniform(0.5, 1.0, shape) * size


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scores_beside_pixels_are_held_to_their_own_size(axis: int) -> None:
    """An error of 3 % in the scores is below a ten thousandth of the pixels."""
    expected = boxes_and_scores(axis)
    found = expected.copy()
    np.moveaxis(found, axis, 0)[5] += 0.03
    result = compare({"y": found}, {"y": expected}, lambda _: EXACT)
    assert not result.ok
    assert result.difference == pytest.approx(0.03)
    assert result.allowed < 0.003
    np.moveaxis(found, axis, 0)[5] -= 0.03
    assert compare({"y": found}, {"y": expected}, lambda _: EXACT).ok


def test_a_whole_output_is_asked_first() -> None:
    """The limit of the whole is told where the whole is beyond it."""
    expected = boxes_and_scores()
    result = compare({"y": expected + 1.0}, {"y": expected}, lambda _: EXACT)
    assert not result.ok
    assert result.allowed == pytest.approx(1e-4 * expected.max())


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_rounding_is_never_refused(seed: int, scale: float) -> None:
    """Differences of the size of the network's noise pass, however small the numbers they strike, zeros included."""
    generator = np.random.default_rng(seed)
    expected = generator.standard_normal((2, 6, 5)) * scale * generator.choice([1.0, 1e-3, 0.0], (1, 6, 1))
    largest = float(np.abs(expected).max())
    found = expected + generator.uniform(-20, 20, expected.shape) * EXACT.noise * largest
    assert worst_part(found, expected, EXACT, largest) is None


def test_nothing_is_divided_where_noise_is_unknown_or_more_is_promised() -> None:
    """A bundle of before has no noise; int8 promises a share of the whole."""
    expected = boxes_and_scores()
    found = expected + np.array([0.0] * 4 + [0.03] * 4).reshape(1, 8, 1)
    assert compare({"y": found}, {"y": expected}, lambda _: Tolerance()).ok
    assert compare({"y": found}, {"y": expected}, lambda _: Tolerance(0.05, 1e-7)).ok


def test_places_that_are_no_numbers_are_not_compared() -> None:
    """NaN and infinities were compared as such before."""
    expected = np.array([[np.nan, 1000.0], [np.inf, 1.0]])
    assert worst_part(expected.copy(), expected, EXACT, 1000.0) is None
    assert worst_part(np.zeros((0, 2)), np.zeros((0, 2)), EXACT, 0.0) is None
    assert worst_part(np.float64(1.0), np.float64(1.0), EXACT, 1.0) is None


def test_a_part_that_stands_still_is_named() -> None:
    """At no level and for no input: columns 4 to 7 of eight."""
    zeros = np.zeros((2, 4), np.float32)
    one, two = (np.hstack([np.full((2, 4), value, np.float32), zeros]) for value in (1.0, 2.0))
    (told,) = still_parts([{"y": one}], [[{"y": two}]], ["y"])
    assert told.startswith("y is the same for all of these inputs in 4 of 8 places along axis 1 (4 to 7)")
    assert not still_parts([{"y": one}], [[{"y": two}]], [])


def test_what_moves_at_one_level_or_stands_still_altogether_is_not_a_part() -> None:
    """A channel that is dead at a sparse level lives at the dense one; an output that never moves is another matter."""
    sparse, dense = np.float32([[1.0, 0.0]]), np.float32([[1.0, 1.0]])
    others = [[{"y": sparse + np.float32([[1.0, 0.0]])}, {"y": dense + 1}]]
    assert not still_parts([{"y": sparse}, {"y": dense}], others, ["y"])
    assert not still_parts([{"y": dense}], [[{"y": dense}]], ["y"])
    assert not still_parts([{"y": np.int64([[1, 0]])}], [[{"y": np.int64([[2, 0]])}]], ["y"])


def test_scattered_places_are_abbreviated() -> None:
    """Three runs are enough for a sentence."""
    one = np.zeros((1, 10), np.float32)
    two = one + np.float32([[0, 1, 0, 1, 0, 1, 0, 0, 1, 0]])
    assert "(0, 2, 4, ...)" in still_parts([{"y": one}], [[{"y": two}]], ["y"])[0]
