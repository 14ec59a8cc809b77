"""The accuracy benchmark's arithmetic: intervals, deltas and claims from rows."""

from __future__ import annotations

import pytest

from benchmarks.accuracy import _claims, _golden_distance, mean_and_interval, summarise


def test_an_interval_is_students():
    """Three values: mean, and 4.303 standard errors."""
    mean, half = mean_and_interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / 3**0.5))
    assert mean_and_interval([5.0]) == (5.0, None)


def test_claims_hold_or_not_as_the_rows_say():
    """A level that loses 0.6 points breaks its claim; what was not measured does not hold."""

    def row(seed, variant, accuracy, separate):
        return {
            "experiment": "elsa",
            "setting": "cnn",
            "seed": seed,
            "variant": variant,
            "sparsity": 0.9,
            "accuracy": accuracy,
            "separate": separate,
        }

    rows = [row(0, "level 0", 80.0, 80.0), row(1, "level 0", 81.0, 81.0)]
    rows += [row(0, "level 1", 88.0, 88.8), row(1, "level 1", 88.0, 88.4)]
    table = summarise(rows)
    assert [entry["delta"] for entry in table] == [0.0, pytest.approx(-0.6)]
    holds = {claim.claim: claim.holds for claim in _claims(table)}
    assert [value for claim, value in holds.items() if claim.startswith("cnn")] == [True, False]
    assert not any(value for claim, value in holds.items() if "HALO" in claim or "multi-level" in claim)
    assert _golden_distance() == 0
