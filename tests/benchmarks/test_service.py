"""The parts of the service benchmark that decide; the processes themselves are run by the benchmark."""

from __future__ import annotations

import json

import pytest

from benchmarks.service.__main__ import kept
from benchmarks.service.disturb import Group, group
from benchmarks.service.frame import Run, runs_until_inside, summary


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
    assert runs_until_inside(late) == runs


def test_a_late_answer_is_worth_nothing() -> None:
    """Shares, switches and values of three runs, one of them late, one rerouted."""
    row = summary([Run(0.1, 1, 5.0), Run(0.2, 1, 12.0, 0, 1), Run(0.3, 0, 2.0)], 10.0, [0.6, 0.9])
    assert row["late_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert (row["switches"], row["rerouted"], row["runs"]) == (1, 1, 3)
    assert row["mean_value"] == pytest.approx((0.9 + 0.6) / 3, abs=1e-4)


def test_a_control_group_that_cannot_be_made_is_none(tmp_path, monkeypatch) -> None:
    """Where nothing can be written, the part says that it was not measured."""
    monkeypatch.setattr("benchmarks.service.disturb._ROOT", tmp_path / "absent")
    with group("cpu") as held:
        assert held is None


@pytest.mark.parametrize(
    ("unified", "files"),
    [
        (
            False,
            {"cpu.cfs_quota_us": "2000", "cpu.cfs_period_us": "4000", "cpu.shares": "2000",
             "memory.limit_in_bytes": "5"},
        ),
        (True, {"cpu.max": "2000 4000", "cpu.weight": "195", "memory.max": "5"}),
    ],
)  # fmt: skip
def test_control_groups_of_both_versions_are_written_as_the_kernel_reads_them(
    tmp_path, unified, files
) -> None:
    """Half a core, the weight of three steps of priority, five bytes; and no limit in either way of saying it."""
    held = Group("cpu", tmp_path, unified=unified)
    held.set_quota(0.5)
    held.set_priority(-3)
    held.set_memory(5)
    assert {name: (tmp_path / name).read_text() for name in files} == files

    held.set_quota(None)
    held.set_memory(None)
    told = (tmp_path / ("cpu.max" if unified else "cpu.cfs_quota_us")).read_text()
    assert told.startswith("max" if unified else "-1")


def test_parts_that_are_not_measured_keep_their_rows(tmp_path) -> None:
    """A call for one part neither drops the others nor keeps that one twice."""
    file = tmp_path / "service.json"
    claims = [
        {"claim": f"{name}: x", "target": 1, "measured": 0, "holds": True} for name in ("bursts", "soak")
    ]
    file.write_text(json.dumps({"rows": [{"part": "bursts"}, {"part": "soak"}], "claims": claims}))

    rows, told = kept(["soak"], file)
    assert rows == [{"part": "soak"}]
    assert [claim.claim for claim in told] == ["soak: x"]
    assert kept(["soak"], tmp_path / "absent.json") == ([], [])
