"""The way up: to a level that fits, to one of unknown latency to learn it, or not yet and why. Pure.

Up only after a stay, a number of fitting runs, and not right after a failed attempt. A probe may cost as many misses as
the policy still allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from elsa_edge.control.estimate import is_known, is_stale
from elsa_edge.control.plan import Plan
from elsa_edge.control.state import Observation, Reason, State

__all__ = ["try_another", "upward"]

_LEAST_WINDOW_RUNS: Final = 20  # fewer runs say nothing about a miss rate


def upward(
    state: State, observation: Observation, plan: Plan, predicted: list[float], permitted: Sequence[int]
) -> tuple[int, Reason, int]:
    """Return the level to go up to, or the present one; the reason; and for how long a better one has fitted."""
    here, limit, top = state.position, plan.up_log_ms, len(predicted) - 1
    present = predicted[here]
    if here == top or (present == -math.inf and limit < math.inf):  # nothing above, or still probing
        return here, Reason.HOLD, 0
    better = [p for p in permitted if p > here and predicted[p] <= present]
    if better:
        return max(better), Reason.BETTER, 0
    unknown = -1
    if not plan.all_measured:  # unknown latencies are climbed one by one: each teaches about the next
        unknown = next((p for p in permitted if p > here and not is_known(state.estimate, plan, p)), -1)
    reachable = range(here + 1, (unknown if unknown >= 0 else top) + 1)
    fitting = [p for p in reachable if predicted[p] <= limit]
    roomy = [p for p in fitting if p in permitted]
    fits_above = state.fits_above + 1 if roomy else 0
    above = next((p for p in permitted if p > here), here)
    probe = above > here and _worth_a_probe(state, plan, present, above) and _may_probe(state, plan)
    if not roomy and not probe:
        return here, Reason.HOLD_MEMORY if fitting else Reason.HOLD, 0
    policy, now = plan.policy, observation.now_ms
    if observation.temperature_c is not None and observation.temperature_c >= policy.temperature_limit_c:
        return here, Reason.HOLD_HEAT, fits_above
    if now - state.switched_ms < policy.dwell_ms:
        return here, Reason.HOLD_DWELL, fits_above
    if _too_many_misses(state, plan):
        return here, Reason.HOLD_MISSES, fits_above
    open_now = [p for p in roomy if state.blocked_until_ms[p] <= now]
    if open_now and fits_above >= policy.up_after_runs:
        return max(open_now), Reason.UP, 0
    if probe and state.blocked_until_ms[above] <= now:
        return above, Reason.PROBE, 0
    return here, Reason.HOLD_DWELL if open_now else Reason.HOLD_BACKOFF, fits_above


def try_another(
    state: State, observation: Observation, plan: Plan, permitted: Sequence[int]
) -> tuple[int, Reason]:
    """Return a denser level of unknown latency to try now and then where nothing fits, or else the present one.

    Sparser need not be faster: kernels for zeros can lose to dense ones.
    """
    here, policy, now = state.position, plan.policy, observation.now_ms
    hot = observation.temperature_c is not None and observation.temperature_c >= policy.temperature_limit_c
    settled = state.runs_here >= policy.up_after_runs and now - state.switched_ms >= policy.dwell_ms
    if plan.all_measured or not settled or hot or not _is_rare(state, plan):
        return here, Reason.INFEASIBLE_LATENCY
    unknown = [p for p in permitted if p > here and not is_known(state.estimate, plan, p)]
    open_now = [p for p in unknown if state.blocked_until_ms[p] <= now]
    return (open_now[0], Reason.PROBE) if open_now else (here, Reason.INFEASIBLE_LATENCY)


def _worth_a_probe(state: State, plan: Plan, present: float, above: int) -> bool:
    """Return whether the level above may fit though nothing says so: it is unknown, or believed too slow for long.

    A belief that old is checked when that level would fit by the plain ratio of the two references.
    """
    if not is_known(state.estimate, plan, above):
        return present <= plan.up_log_ms
    if not is_stale(state.estimate, above):
        return False
    references = plan.reference_log_ms
    return present + references[above] - references[state.position] <= plan.up_log_ms


def _may_probe(state: State, plan: Plan) -> bool:
    """Return whether a probe's cold and first warm runs could all miss the budget without breaking the policy."""
    policy = plan.policy
    if state.estimate.seen_run[state.position] < 0:
        return False
    if state.avoidable.bit_count() + _probe_runs(plan) <= policy.allowed_miss_rate * policy.window_runs:
        return True
    # A window too strict for any probe: as rarely as the allowed rate asks for.
    return _is_rare(state, plan)


def _is_rare(state: State, plan: Plan) -> bool:
    """Return whether the latest probe is so long ago that another costs no more misses than may be."""
    return (state.runs - state.probe_run) * plan.policy.allowed_miss_rate >= _probe_runs(plan)


def _probe_runs(plan: Plan) -> int:
    return plan.policy.discard_runs + 2


def _too_many_misses(state: State, plan: Plan) -> bool:
    if state.misses_length < min(plan.policy.window_runs, _LEAST_WINDOW_RUNS):
        return False
    return state.avoidable.bit_count() > plan.policy.allowed_miss_rate * state.misses_length
