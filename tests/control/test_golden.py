"""The controller's decisions on recorded observations are the same on every machine and in every version."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from elsa_edge.control import LevelFacts, Observation, Policy, make_plan, start, step

CASES = json.loads(Path(__file__).with_name("golden_traces.json").read_text())
POLICY = Policy(budget_ms=30.0, dwell_ms=200.0)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_decisions_on_golden_traces_are_unchanged(case):
    """`python tests/control/golden.py` writes the file anew after a wanted change of behaviour."""
    plan = make_plan([LevelFacts(**facts) for facts in case["levels"]], POLICY)
    state, _, _ = start(plan)
    names = [field.name for field in fields(Observation)]
    for seen, expected in case["rows"]:
        state, decision, reason = step(state, Observation(**dict(zip(names, seen, strict=True))), plan)

        found = [decision.level, reason.value, decision.feasible, decision.predicted_ms, decision.miss_rate]
        assert found[:3] == expected[:3]
        assert found[3] == (None if expected[3] is None else pytest.approx(expected[3], rel=1e-9))
        assert found[4] == pytest.approx(expected[4])


def test_the_golden_traces_show_every_kind_of_change():
    """A port that passes them has met going up, down, probing and running out of memory."""
    reasons = {decision[1] for case in CASES for _, decision in case["rows"]}

    assert {"hold", "up", "probe", "down-latency", "down-memory", "hold-dwell"} <= reasons
