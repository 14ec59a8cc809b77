"""One decision: `step(state, observation, plan) -> (state, decision, reason)`. Pure, and linear in the levels.

Order of the questions: what did the run teach; which levels does the memory allow; which of those hold the budget;
is the present one among them. Down at once. Up only after a stay, a number of fitting runs, and not right after a
failed attempt. When nothing fits, the fastest level (or the smallest) runs and `feasible` is False.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeVar

from elsa_edge.control.climb import try_another, upward
from elsa_edge.control.estimate import is_known, is_tried, learn, predict
from elsa_edge.control.plan import Plan
from elsa_edge.control.state import Decision, Observation, Reason, State
from elsa_edge.errors import InputError

__all__ = ["step"]

_LEAST_STAY_RUNS: Final = 8.0
_LARGEST_BACKOFF: Final = 10  # doublings of the stay after failed attempts
_TRIAL: Final = 4  # times the runs that a level must have fitted for, until it has held
_LONGEST_TRIAL: Final = 6  # doublings of that after failed attempts
_LEAST_MS: Final = 1e-6

_Value = TypeVar("_Value")


def step(state: State, observation: Observation, plan: Plan) -> tuple[State, Decision, Reason]:
    """Decide the next level from what is remembered and what was just seen.

    Args:
        state: From `start` or the previous `step`.
        observation: The latest run, or only the memory when nothing ran.
        plan: The levels and the policy.

    Raises:
        InputError: When the observation has a time, latency or level that cannot be.
    """
    _check(observation, plan)
    state = _take_in(state, observation, plan)
    known = plan.any_measured or state.estimate.runs > 0
    predicted = _expected(state, plan, known=known)
    permitted, forced = _memory_gate(state, observation, plan)
    if forced is not None:
        target, reason, feasible = _leave(state, plan, predicted, permitted, forced)
    elif predicted[state.position] > plan.stay_log_ms:
        target, reason, feasible = _leave(state, plan, predicted, permitted, Reason.DOWN_LATENCY)
        if not feasible and target == state.position:
            target, reason = try_another(state, observation, plan, permitted)
    else:
        target, reason, fits_above = upward(state, observation, plan, predicted, permitted)
        # A probe where nothing is known to fit promises nothing.
        feasible = state.probe_left == 0 or any(
            below <= plan.stay_log_ms for below in predicted[: state.position]
        )
        if fits_above != state.fits_above:
            state = state._replace(fits_above=fits_above)
    if target != state.position:
        state = _moved(state, observation, plan, target, reason)
    missed = state.misses.bit_count() / state.misses_length if state.misses_length else 0.0
    expected = predicted[target]
    decision = Decision(
        plan.candidates[target],
        reason,
        feasible,
        math.exp(expected) if math.isfinite(expected) else None,
        math.exp(state.estimate.shared),
        missed,
    )
    return state, decision, reason


def _check(observation: Observation, plan: Plan) -> None:
    latency = observation.latency_ms
    if not math.isfinite(observation.now_ms):
        raise InputError("The time of an observation must be finite", found=observation.now_ms)
    if (latency is None) != (observation.level is None):
        raise InputError("An observation has a level and a latency, or neither of them")
    if latency is not None and not (math.isfinite(latency) and latency >= 0.0):
        raise InputError("A latency must be a finite number of milliseconds, 0 or more", found=latency)
    if observation.level is not None and not 0 <= observation.level < len(plan.levels):
        raise InputError(
            "The observed level does not exist",
            expected=f"0 to {len(plan.levels) - 1}",
            found=observation.level,
        )


def _take_in(state: State, observation: Observation, plan: Plan) -> State:
    """Count the run, and learn from it unless it was cold."""
    latency, level, policy = observation.latency_ms, observation.level, plan.policy
    if latency is None or level is None:
        return state
    # At once and by position: looking up and naming twenty fields would cost a tenth of the decision.
    (
        here, estimate, last_level, last_ms, gaps, cold_left, runs, runs_here, mean_stay_runs, switched_ms,
        fits_above, misses, avoidable, length, failures, blocked_until_ms, trial_left, probe_run, probe_left,
        pressure_ms,
    ) = state  # fmt: skip
    now, first = observation.now_ms, last_level < 0
    paused = not first and now - latency - last_ms > policy.idle_gap_ms
    gaps = gaps + 1 if paused else 0
    if (not first and level != last_level) or gaps == 1:
        cold_left = policy.discard_runs
    position = plan.positions[level]
    is_here = position == here
    missed = bool(latency > policy.budget_ms)
    # A miss that the fastest level would have had as well speaks against no level.
    avoided = missed and (position < 0 or bool(latency * plan.lead[position] <= policy.budget_ms))
    if cold_left == 0 and position >= 0:
        log_ms = math.log(max(_LEAST_MS, latency))
        estimate = learn(estimate, plan, position, log_ms, missed=avoided)
        probe_left = probe_left - 1 if is_here and probe_left else probe_left
    if trial_left == 1 and is_here:  # the way up has held: forget one failure
        failures = _put(failures, here, max(0, failures[here] - 1))
    length = length + 1 if length < policy.window_runs else length
    window = (1 << length) - 1
    return State(
        here,
        estimate,
        level,
        max(last_ms, now),
        gaps,
        cold_left - 1 if cold_left else 0,
        runs + 1,
        runs_here + is_here,
        mean_stay_runs,
        switched_ms,
        fits_above,
        ((misses << 1) | missed) & window,
        ((avoidable << 1) | avoided) & window,
        length,
        failures,
        blocked_until_ms,
        trial_left - 1 if is_here and trial_left else trial_left,
        probe_run,
        probe_left,
        pressure_ms,
    )


def _expected(state: State, plan: Plan, *, known: bool) -> list[float]:
    """Return log ms of each candidate's allowed percentile, with the cost of switching spread over a usual stay."""
    if not known:  # stay, unless the memory says otherwise
        return [-math.inf if p == state.position else math.inf for p in range(len(plan.candidates))]
    predicted = predict(state.estimate, plan, state.position, state.mean_stay_runs)
    if state.probe_left or not is_known(state.estimate, plan, state.position):
        predicted[state.position] = -math.inf  # a probe: stay until warm runs were seen
    return predicted


def _memory_gate(state: State, observation: Observation, plan: Plan) -> tuple[Sequence[int], Reason | None]:
    """Return the candidates that the memory allows, and the reason to leave the present one if there is one."""
    policy, memory, here = plan.policy, plan.memory_bytes, state.position
    positions = range(len(memory))
    head = (
        math.inf
        if observation.available_bytes is None
        else observation.available_bytes - policy.reserve_bytes
    )
    if head < 0.0:
        freeing = [p for p in positions if memory[here] - memory[p] >= -head]
        if freeing:
            return freeing, Reason.DOWN_MEMORY
        smallest = min(memory)
        if memory[here] == smallest:  # nothing smaller: at least nothing larger in value either
            return [p for p in positions if memory[p] == smallest and p <= here], Reason.INFEASIBLE_MEMORY
        return [p for p in positions if memory[p] == smallest], Reason.INFEASIBLE_MEMORY
    if (
        observation.pressure_percent is not None
        and observation.pressure_percent >= policy.pressure_limit_percent
    ):
        smaller = [p for p in positions if memory[p] < memory[here]]
        # The figure lags ten seconds behind: one step at a time.
        if smaller and observation.now_ms - state.pressure_ms >= policy.dwell_ms:
            return smaller, Reason.DOWN_PRESSURE
        return [p for p in positions if memory[p] <= memory[here] and p <= here], None
    if head >= plan.ample_bytes:
        return positions, None
    limit = memory[here] + head - policy.hysteresis_bytes
    return [p for p in positions if memory[p] <= memory[here] or memory[p] <= limit], None


def _leave(
    state: State, plan: Plan, predicted: list[float], permitted: Sequence[int], reason: Reason
) -> tuple[int, Reason, bool]:
    """Return where to go from a level that cannot stay: the most valuable that fits, or else the fastest."""
    here, limit = state.position, plan.stay_log_ms
    fitting = [p for p in permitted if predicted[p] <= limit]
    if fitting:
        best = max(fitting)
        better = best > here and reason is Reason.DOWN_LATENCY
        return best, Reason.BETTER if better else reason, reason is not Reason.INFEASIBLE_MEMORY
    fastest = _least_late(state, plan, predicted, permitted)
    return fastest, Reason.INFEASIBLE_LATENCY if reason is Reason.DOWN_LATENCY else reason, False


def _least_late(state: State, plan: Plan, predicted: list[float], permitted: Sequence[int]) -> int:
    """Return the level for when none fits: the fastest as predicted, or a sparser one that was not tried yet.

    A guess must not hold the rule at a level that was seen to be late: what should be faster is tried, then judged.
    Nor does it lure it to a denser one: that is a climb, made when it was observed and this one has had its runs.
    """
    here, estimate, reference = state.position, state.estimate, plan.reference_log_ms
    fastest = min(permitted, key=lambda p: (predicted[p], -p))
    if fastest > here and here in permitted:
        stayed = state.runs_here >= plan.policy.up_after_runs
        fastest = fastest if stayed and is_tried(estimate, fastest) else here
    faster = [p for p in permitted if p < fastest and reference[p] < reference[fastest]]
    untried = [p for p in faster if not is_tried(estimate, p)]
    return min(untried, key=reference.__getitem__, default=fastest)


def _moved(state: State, observation: Observation, plan: Plan, target: int, reason: Reason) -> State:
    now, here = observation.now_ms, state.position
    failures, blocked = state.failures, state.blocked_until_ms
    # Whatever it failed for: memory that a level takes in truth, or a stall it causes, shows only once it runs.
    if state.trial_left > 0 and target < here:
        failures = _put(failures, here, failures[here] + 1)
        stay_ms = max(plan.policy.dwell_ms, now - state.switched_ms)
        blocked = _put(blocked, here, now + stay_ms * 2.0 ** min(failures[here], _LARGEST_BACKOFF))
    stay = state.mean_stay_runs + 0.2 * (state.runs_here - state.mean_stay_runs)
    return state._replace(
        position=target,
        runs_here=0,
        mean_stay_runs=max(_LEAST_STAY_RUNS, stay),
        switched_ms=now,
        fits_above=0,
        failures=failures,
        blocked_until_ms=blocked,
        # After failures a level must hold for longer before one is forgotten.
        trial_left=_TRIAL * plan.policy.up_after_runs << min(failures[target], _LONGEST_TRIAL)
        if target > here
        else 0,
        probe_run=state.runs if reason is Reason.PROBE else state.probe_run,
        probe_left=(1 + plan.measured[target]) if reason is Reason.PROBE else 0,
        pressure_ms=now if reason is Reason.DOWN_PRESSURE else state.pressure_ms,
    )


def _put(values: tuple[_Value, ...], position: int, value: _Value) -> tuple[_Value, ...]:
    return (*values[:position], value, *values[position + 1 :])
