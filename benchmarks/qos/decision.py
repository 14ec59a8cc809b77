"""How long a decision takes, in processor time."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.common import Row
from benchmarks.qos.ladders import BUDGET_MS, PERIOD_MS, ladder
from elsa_edge.control import Observation, Policy, make_plan, start, step
from elsa_edge.control.trace import scenario

__all__ = ["decision_row"]


def decision_row(count: int, runs: int) -> Row:
    """Time `step` alone, on the states and observations of a trace with noise and bursts, in batches of 20."""
    facts, truth = ladder(count)
    plan = make_plan(facts, Policy(budget_ms=BUDGET_MS))
    state, decision, _ = start(plan)
    now, moments = 0.0, []
    for sample in scenario("burst", runs, seed=1):
        latency = truth[decision.level] * sample.slowdown
        now += max(latency, PERIOD_MS)
        observation = Observation(
            now_ms=now,
            level=decision.level,
            latency_ms=latency,
            available_bytes=5e8,
            pressure_percent=0.0,
            temperature_c=50.0,
        )
        moments.append((state, observation))
        state, decision, _ = step(state, observation, plan)
    times = []
    for first in range(0, runs, 20):  # the clock itself takes as long as a few decisions
        batch = moments[first : first + 20]
        began = time.thread_time_ns()
        for state, observation in batch:
            step(state, observation, plan)
        times.append((time.thread_time_ns() - began) / 1e3 / len(batch))
    return {
        "situation": f"decision, {count} levels",
        "levels": count,
        "policy": "controller",
        "decision_us_p50": round(float(np.median(times)), 2),
        "decision_us_p95": round(float(np.quantile(times, 0.95)), 2),
    }
