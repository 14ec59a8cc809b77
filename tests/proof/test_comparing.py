"""Outputs against expected ones: each by its own scale, the nearest to its limit is told."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.proof.comparing import Comparison, agreement, compare
from elsa_edge.proof.tolerance import Tolerance


def test_a_large_output_does_not_excuse_a_small_one() -> None:
    """Each has its own limit."""
    expected = {"large": np.array([1000.0, 2.0]), "small": np.array([1e-3, 2e-3])}
    found = {"large": np.array([1000.01, 2.0]), "small": np.array([1e-3, 2.01e-3])}
    result = compare(found, expected, lambda _: Tolerance())
    assert result.output == "small"
    assert not result.ok
    assert result.difference == pytest.approx(1e-5)
    assert result.allowed == pytest.approx(2e-7)


def test_the_nearest_to_its_limit_is_told_when_all_are_inside() -> None:
    """Not the one with the largest difference."""
    expected = {"large": np.array([1000.0]), "small": np.array([1.0])}
    found = {"large": np.array([1000.01]), "small": np.array([1.00009])}
    result = compare(found, expected, lambda _: Tolerance())
    assert result.ok
    assert result.output == "small"


def test_tolerances_are_asked_for_by_name() -> None:
    """An output with noise of its own gets more."""
    expected, found = {"y": np.array([1.0])}, {"y": np.array([1.005])}
    assert not compare(found, expected, lambda _: Tolerance()).ok
    assert compare(found, expected, lambda name: Tolerance(noise=1e-3 if name == "y" else 0)).ok


def test_worse_keeps_the_failure() -> None:
    """Whichever is nearer to its limit, one failure fails both."""
    near, failed = Comparison("a", 9.0, 10.0, True), Comparison("b", 2.0, 1.0, False)
    assert near.worse(failed) == failed == failed.worse(near)
    assert Comparison("a", 0.0, 0.0, True).worse(near) == near
    assert Comparison("c", 1.0, 0.0, False).worse(near).output == "c"


def test_agreement_is_along_the_axis_of_the_classes() -> None:
    """(N, C, H, W) has its classes on axis 1; one of the two places below changes its class."""
    expected = np.zeros((1, 2, 1, 2))
    expected[0, 0] = 1.0
    found = expected.copy()
    found[0, 1, 0, 1] = 2.0
    assert agreement({"y": found}, {"y": expected}, {"y": 1}) == 0.5
    assert agreement({"y": found}, {"y": expected}, {}) is None


def test_agreement_counts_places_over_all_outputs() -> None:
    """One of three rows differs; an output of another shape or with one class does not count."""
    expected = {"a": np.eye(2), "b": np.array([[0.0, 1.0]]), "c": np.ones((3, 1))}
    found = {"a": np.eye(2), "b": np.array([[1.0, 0.0]]), "c": np.zeros((3, 1))}
    assert agreement(found, expected, dict.fromkeys("abc", 1)) == pytest.approx(2 / 3)
    assert agreement({"a": np.eye(3)}, {"a": np.eye(2)}, {"a": 1}) is None


def test_whole_numbers_are_right_or_wrong() -> None:
    """A token of a vocabulary of 30,000 that is wrong by two is another word; int8 may promise less."""
    expected = np.array([29_999, 17, 4])
    assert not compare({"ids": expected + 2}, {"ids": expected}, lambda _: Tolerance()).ok
    assert compare({"ids": expected}, {"ids": expected}, lambda _: Tolerance()).ok
    assert compare({"ids": expected + 2}, {"ids": expected}, lambda _: Tolerance(0.05)).ok
