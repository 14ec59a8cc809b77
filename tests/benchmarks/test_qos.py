"""The benchmark of the controller: its rows and claims, on short traces. No time is judged."""

from __future__ import annotations

from benchmarks.qos.__main__ import _claims, _replay_rows
from benchmarks.qos.decision import decision_row


def test_rows_cover_every_policy_and_claims_read_them():
    """Each situation and trace has the oracle, the controller and every fixed level."""
    rows = [*_replay_rows([0], 40), decision_row(2, 40)]

    assert {"oracle", "controller", "ewma threshold", "static level-0"} <= {row["policy"] for row in rows}
    assert rows[-1]["decision_us_p50"] > 0.0
    claims = _claims(rows)
    assert len(claims) == 10
    assert all(claim.measured is not None for claim in claims)
