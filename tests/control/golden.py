"""Golden traces: observations and the decisions on them, for ports of the controller to other languages.

`python tests/control/golden.py` writes `golden_traces.json` anew, after a wanted change of behaviour.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from elsa_edge.control import Decision, LevelFacts, Observation, Policy, make_plan, start, step
from elsa_edge.control.trace import scenario

FILE = Path(__file__).with_name("golden_traces.json")
POLICY = Policy(budget_ms=30.0, dwell_ms=200.0)
TRUTH_MS = (10.0, 15.0, 24.0)


def levels(*, measured: bool) -> list[LevelFacts]:
    """Return three levels that take TRUTH_MS, measured or not."""
    return [
        LevelFacts(
            name=f"level-{k}",
            work=(k + 1) / 3,
            p50_ms=truth if measured else None,
            p95_ms=1.1 * truth if measured else None,
            switch_ms=2.0,
            memory_bytes=(20, 30, 60)[k] * 1_000_000,
        )
        for k, truth in enumerate(TRUTH_MS)
    ]


def row(decision: Decision) -> list[Any]:
    """Return what a port must reproduce."""
    return [
        decision.level,
        decision.reason.value,
        decision.feasible,
        decision.predicted_ms,
        decision.miss_rate,
    ]


def record(*, measured: bool, name: str, runs: int = 90) -> dict[str, Any]:
    """Run the controller on a scenario; return the levels, and one row per run: observation, decision."""
    facts = levels(measured=measured)
    plan = make_plan(facts, POLICY)
    state, decision, _ = start(plan)
    rows, now = [], 0.0
    for sample in scenario(name, runs, seed=3):
        latency = round(TRUTH_MS[decision.level] * sample.slowdown, 3)
        now = round(now + max(33.0, latency), 3)
        observation = Observation(
            now_ms=now,
            level=decision.level,
            latency_ms=latency,
            available_bytes=None
            if sample.available_bytes is None
            else sample.available_bytes - (facts[decision.level].memory_bytes or 0) + 20_000_000,
            pressure_percent=sample.pressure_percent,
            temperature_c=sample.temperature_c,
        )
        state, decision, _ = step(state, observation, plan)
        rows.append([list(asdict(observation).values()), row(decision)])
    return {"levels": [asdict(fact) for fact in facts], "rows": rows}


if __name__ == "__main__":
    cases = [
        record(measured=m, name=n) for m in (True, False) for n in ("step", "memory-squeeze", "heavy-tail")
    ]
    FILE.write_text(
        "[\n"
        + ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
        + "\n]\n"
    )
