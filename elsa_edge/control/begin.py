"""The level to begin with, and the state before the first run."""

from __future__ import annotations

import math
from typing import Final

from elsa_edge.control.estimate import first_estimate
from elsa_edge.control.plan import Plan
from elsa_edge.control.state import Decision, Reason, State

__all__ = ["start"]

_FIRST_STAY_RUNS: Final = 50.0  # between switches, until it is known


def start(
    plan: Plan, *, now_ms: float = 0.0, available_bytes: float | None = None
) -> tuple[State, Decision, Reason]:
    """Return the state before the first run and the level to begin with.

    That is the most valuable level expected to fit; where no latency was measured, the
    fastest one, because nothing is known about the others yet.

    Args:
        plan: The levels and the policy.
        now_ms: The caller's monotonic clock.
        available_bytes: Free memory after what all levels share was loaded; None where it is unknown.
    """
    count = len(plan.candidates)
    memory = plan.memory_bytes
    known = plan.any_measured
    head = math.inf if available_bytes is None else available_bytes - plan.policy.reserve_bytes
    predicted = [reference + plan.tail_log for reference in plan.reference_log_ms]
    roomy = [p for p in range(count) if memory[p] - min(memory) <= head] or [
        p for p in range(count) if memory[p] == min(memory)
    ]
    limit = plan.stay_log_ms
    fitting = [p for p in roomy if predicted[p] <= limit] if known or math.isinf(limit) else []
    position = max(fitting) if fitting else min(roomy, key=predicted.__getitem__)
    state = State(
        position=position,
        estimate=first_estimate(plan),
        last_level=-1,
        last_ms=now_ms,
        gaps=0,
        cold_left=plan.policy.discard_runs,
        runs=0,
        runs_here=0,
        mean_stay_runs=_FIRST_STAY_RUNS,
        switched_ms=now_ms,
        fits_above=0,
        misses=0,
        avoidable=0,
        misses_length=0,
        failures=(0,) * count,
        blocked_until_ms=(-math.inf,) * count,
        trial_left=0,
        probe_run=0,
        probe_left=0,
        pressure_ms=-math.inf,
    )
    fits = not known or predicted[position] <= plan.stay_log_ms
    decision = Decision(
        level=plan.candidates[position],
        reason=Reason.START,
        feasible=fits and head >= 0.0,
        predicted_ms=math.exp(predicted[position]) if known else None,
        slowdown=1.0,
        miss_rate=0.0,
    )
    return state, decision, Reason.START
