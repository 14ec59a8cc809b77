"""The parts of the service benchmark that decide; the processes themselves are run by the benchmark."""

from __future__ import annotations

import pytest

from benchmarks.service.__main__ import _summary, _until_inside
from benchmarks.service.disturb import group


@pytest.mark.parametrize(
    ("late", "runs"),
    [
        ([False] * 40, 0),
        ([True] * 5 + [False] * 40, 4),  # from the fifth on one of twenty is late, which the policy allows
        ([True] * 30, 30),
        ([False] * 10 + [True] * 3 + [False] * 30, 12),
        ([], 0),
    ],
)
def test_runs_until_the_policy_holds_again(late, runs) -> None:
    """The first run from which at most one of the next twenty is late."""
    assert _until_inside(late) == runs


def test_a_late_answer_is_worth_nothing() -> None:
    """Shares, switches and values of three runs, one of them late, one rerouted."""
    row = _summary(
        [(0.1, 1, 5.0, None, None), (0.2, 1, 12.0, 0, 1), (0.3, 0, 2.0, None, None)], 10.0, [0.6, 0.9]
    )
    assert row["late_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert (row["switches"], row["rerouted"], row["runs"]) == (1, 1, 3)
    assert row["mean_value"] == pytest.approx((0.9 + 0.6) / 3, abs=1e-4)


def test_a_control_group_that_cannot_be_made_is_none(tmp_path, monkeypatch) -> None:
    """Where nothing can be written, the part says that it was not measured."""
    monkeypatch.setattr("benchmarks.service.disturb._ROOT", tmp_path / "absent")
    with group("cpu") as held:
        assert held is None
