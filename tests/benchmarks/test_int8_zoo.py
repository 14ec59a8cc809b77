"""The zoo in 8 bits: claims from rows, what a build leaves out counts as dense, and names that exist."""

from __future__ import annotations

import pytest

from benchmarks.zoo import int8
from benchmarks.zoo.networks import NETWORKS


def test_the_median_counts_networks_that_are_left_dense() -> None:
    """One that was not traced has no ratio; one without nested kernels has 1 at every level."""
    rows = [
        {"network": "fast", "over_int8": [2.5, 2.0, 0.99]},
        {"network": "dense", "over_int8": [1.0, 1.0, 1.0]},
        {"network": "slow", "over_int8": [1.9, 1.4, 0.9]},
        {"network": "refused", "over_int8": None},
    ]
    found = int8.claims(rows)
    assert [(c.measured, c.holds) for c in found] == [(1.9, True), (0.99, True), (1.0, True), (0.9, False)]
    assert "3 networks" in found[0].claim
    assert int8.claims(rows[-1:]) == []


def test_every_network_is_one_of_the_zoo() -> None:
    """A misspelt name would be found when the environment is at hand, that is hardly ever."""
    assert set(int8.CONVOLUTIONAL) <= set(NETWORKS)


def test_what_is_not_traced_is_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the zoo's environment nothing is measured, and the row says so."""

    def absent(*_: object) -> None:
        raise RuntimeError("not traced: no module named timm")

    monkeypatch.setattr(int8, "_traced", absent)
    row = int8._row("tv_resnet18", 0.1)
    assert row["over_int8"] is None
    assert row["note"] == "not traced: no module named timm"
