"""The benchmark of the controller: its rows and claims, on short traces. No time is judged."""

from __future__ import annotations

import pytest

from benchmarks.qos.__main__ import _claims, _replay_rows
from benchmarks.qos.decision import decision_row
from benchmarks.qos.frontier import draw_frontier, points


def test_rows_cover_every_policy_and_claims_read_them():
    """Each situation and trace has the oracle, the controller and every fixed level."""
    rows = [*_replay_rows([0], 40), decision_row(2, 40)]

    assert {"oracle", "controller", "ewma threshold", "static level-0"} <= {row["policy"] for row in rows}
    assert {"burst", "recorded bursts", "recorded memory"} <= {row.get("trace") for row in rows}
    assert rows[-1]["decision_us_p50"] > 0.0
    claims = _claims(rows)
    assert len(claims) == 14
    assert all(claim.measured is not None for claim in claims)
    regrets = {
        (row["situation"], row["trace"], row["policy"]): row["regret"] for row in rows if "regret" in row
    }
    bounds = [row for row in rows if "hindsight_regret" in row]
    assert len(bounds) == 16
    for row in bounds:
        assert row["hindsight_regret"] >= 0.0
        if "memory" not in row["trace"]:  # short of memory is no loss to a table in hindsight
            fixed = [
                regret
                for (s, t, p), regret in regrets.items()
                if (s, t) == (row["situation"], row["trace"]) and p.startswith("static")
            ]
            assert row["hindsight_regret"] <= min(fixed) + 1e-4


def test_the_frontier_has_a_point_for_each_policy_and_is_drawn(tmp_path):
    """Means over traces, of hand-made rows; the picture is a PNG."""
    rows = [
        {"situation": "s", "trace": t, "policy": p, "regret": 0.0, "miss_rate": m, "mean_accuracy": a}
        for t, p, m, a in (("x", "oracle", 0.0, 0.7), ("x", "pid", 0.1, 0.6), ("y", "pid", 0.3, 0.8))
    ]
    assert points(rows) == {"s": {"oracle": (0.0, 0.7), "pid": pytest.approx((0.2, 0.7))}}
    draw_frontier(rows, 0.05, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
