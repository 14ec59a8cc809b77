"""Predict the latency of every level from the runs of the one in use. Logarithms throughout.

    log latency(level) = reference + shared slow-down + residual(level) + noise
    tail(level)        = reference + shared + residual + Q(1 - miss_rate) of the recent prediction errors
    miss_rate         <- miss_rate + step * (allowed - missed the budget)      adaptive conformal inference

The slow-down is a Kalman filter shared by all levels, so one observed level informs the others (ALERT, USENIX ATC
2020); each level's residual is a second, slower state that fades back to its prior when the level is not observed,
so that an error is never for ever. The tail makes no assumption about the noise, and while fewer runs miss the budget
than may, it is drawn in until as many do (Gibbs and Candes, NeurIPS 2021).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from typing import Final

from elsa_edge.control.plan import Plan
from elsa_edge.control.state import Estimate

__all__ = ["first_estimate", "is_known", "is_stale", "is_tried", "learn", "predict"]

_WINDOW: Final = 100  # prediction errors kept for the tail
_PRIOR_COUNT: Final = 10.0  # runs that the prior tail is worth
_DRIFT: Final = 0.05  # variance that the slow-down gains each run, relative to the noise: a gain of 0.2
_FIRST_NOISE: Final = 0.05**2
_LEAST_NOISE: Final = 0.003**2
_CLIP: Final = 3.0  # standard deviations that one surprising run may move the estimate by
_SURPRISE: Final = 2.5  # standard deviations that make a run surprising
_LEAST_SURPRISE: Final = 0.10  # and at least ten percent
_SHIFT_AFTER: Final = 2  # surprising runs of one sign in a row are a new situation, not an outlier
_ARRIVAL_RUNS: Final = 4  # warm runs at a level during which a surprise is taken for its own
_JUMP_RUNS: Final = 12  # runs for which a shift of all levels is remembered, in case it is undone
_MOST_OWN: Final = 2.5  # prior standard deviations that a level may deviate by on its own
_RESIDUAL_DRIFT: Final = 1e-6  # variance that a level's own deviation gains each run
_FADE_RUNS: Final = 2000.0  # an unobserved residual counts half after as many runs
_STALE_RUNS: Final = 1000  # a level that was not observed in as many runs may be probed again
_CONFORMAL_STEP: Final = 0.02
_MOST_LENIENT: Final = 4.0  # the steered miss rate stays below this multiple of the allowed one
_STRICTEST: Final = 0.125
# Standard deviations that a level not in use is charged for what is unknown about it.
_UNKNOWN_CHARGE: Final = 0.5


def first_estimate(plan: Plan) -> Estimate:
    """Return what is believed before the first run."""
    count = len(plan.candidates)
    return Estimate(
        shared=0.0,
        shared_variance=plan.shared_variance,
        noise_variance=_FIRST_NOISE,
        residual=(0.0,) * count,
        residual_variance=plan.residual_variance,
        seen_run=(-1,) * count,
        scores=array("d"),
        ordered=array("d"),
        miss_rate=plan.policy.allowed_miss_rate,
        tail=plan.tail_log,
        streak=0,
        runs=0,
        latest=-1,
        stay=0,
        jump=0,
    )


def is_stale(estimate: Estimate, position: int) -> bool:
    """Return whether a level was not observed for long, so that what is believed about it may be wrong."""
    return estimate.runs - max(0, estimate.seen_run[position]) >= _STALE_RUNS


def is_tried(estimate: Estimate, position: int) -> bool:
    """Return whether a level was observed, and not too long ago."""
    return estimate.seen_run[position] >= 0 and not is_stale(estimate, position)


def is_known(estimate: Estimate, plan: Plan, position: int) -> bool:
    """Return whether the latency of a level was measured, or observed not too long ago."""
    return plan.measured[position] or is_tried(estimate, position)


def _tail(ordered: array[float], miss_rate: float, prior: float) -> float:
    """Return how far above the median the percentile 1 - miss_rate lies, as a log ratio, at least 0."""
    count = len(ordered)
    if count == 0:
        return prior
    rank = math.ceil((count + 1) * (1.0 - miss_rate)) - 1
    # Too few errors for this percentile: the largest one, or the prior.
    error = ordered[rank] if rank < count else max(prior, ordered[-1])
    weight = count / (count + _PRIOR_COUNT)
    return max(0.0, weight * error + (1.0 - weight) * prior)


def predict(estimate: Estimate, plan: Plan, current: int, stay_runs: float) -> list[float]:
    """Return the log of the latency in ms that the allowed share of runs stays below, one entry per candidate.

    A level other than the current one is charged for what is not known about it (half a standard deviation) and for
    the switch, spread over `stay_runs`.
    """
    base, runs = estimate.shared + estimate.tail, estimate.runs
    residuals, variances, priors, seen_run = (
        estimate.residual,
        estimate.residual_variance,
        plan.residual_variance,
        estimate.seen_run,
    )
    predicted = []
    for p, reference in enumerate(plan.reference_log_ms):
        value, prior, seen = reference + base, priors[p], seen_run[p]
        age, unknown = runs - seen, prior
        if seen >= 0:
            # Also of the current level: one that fits from outside must fit from inside, until it is observed again.
            value += residuals[p] * _FADE_RUNS / (_FADE_RUNS + age)
            unknown = min(prior, variances[p] + age * _RESIDUAL_DRIFT)
        if p == current:
            predicted.append(value)
            continue
        value += plan.switch_share[p] / stay_runs  # log(1 + x) is nearly x
        predicted.append(value + _UNKNOWN_CHARGE * math.sqrt(unknown))
    return predicted


def learn(estimate: Estimate, plan: Plan, position: int, log_ms: float, *, missed: bool) -> Estimate:
    """Return the estimate after one warm run of a level.

    Args:
        estimate: What was believed before it.
        plan: The levels and the policy.
        position: The candidate that ran.
        log_ms: Log of its latency.
        missed: Whether it missed the budget, and a faster level would not have.
    """
    # At once and by position: looking up and naming fifteen fields would cost as much as the arithmetic.
    (
        shared, shared_variance, noise, residuals, variances, seen_run, scores, ordered,
        miss_rate, _, streak, runs, latest, stay, jump,
    ) = estimate  # fmt: skip
    prior, seen = plan.residual_variance[position], seen_run[position]
    age = runs - seen
    residual = residuals[position] * (_FADE_RUNS / (_FADE_RUNS + age)) if seen >= 0 else 0.0
    variance = variances[position] + age * _RESIDUAL_DRIFT
    variance = min(variance, prior)
    # Errors of a model that does not know its parameters yet say nothing about the noise.
    settled = shared_variance + variance <= 4.0 * noise + 0.01
    shared_variance += _DRIFT * noise
    error = log_ms - plan.reference_log_ms[position] - shared - residual

    spread = math.sqrt(shared_variance + variance + noise)
    size = abs(error)
    if size <= _LEAST_SURPRISE or size <= _SURPRISE * spread:
        streak = 0
    elif error > 0:
        streak = streak + 1 if streak > 0 else 1
    else:
        streak = streak - 1 if streak < 0 else -1
    stay = stay + 1 if position == latest else 1
    jump += (jump < 0) - (jump > 0)
    shared_part, own_part = shared_variance, variance
    move = error
    if size > _CLIP * spread:
        move = math.copysign(_CLIP * spread, error)
    if streak:
        # A surprise on arrival is the level's own, unless it undoes what was just blamed on all levels.
        own = stay <= _ARRIVAL_RUNS and jump * error >= 0.0
        if abs(streak) >= _SHIFT_AFTER:  # a new situation: believe it at once
            shared_variance, variance = (
                max(shared_variance, error * error),
                max(variance, error * error * own),
            )
            move = error
            jump = jump if own else (_JUMP_RUNS if error > 0.0 else -_JUMP_RUNS)
        settled = settled and not own and abs(streak) < _SHIFT_AFTER
        shared_part, own_part = (0.0, variance) if own else (shared_variance, 0.0)
    total = shared_part + own_part + noise
    # A disturbance that begins just after a switch must not be believed of the level for long.
    residual += move * own_part / total
    most = _MOST_OWN * math.sqrt(prior)
    if abs(residual) > most:
        residual = math.copysign(most, residual)
    if settled:
        scores, ordered = _push(scores, ordered, error)
        noise = _noise(ordered)
    allowed = plan.policy.allowed_miss_rate
    miss_rate += _CONFORMAL_STEP * (allowed - missed)
    if not _STRICTEST * allowed <= miss_rate <= _MOST_LENIENT * allowed or miss_rate > 0.5:
        miss_rate = max(_STRICTEST * allowed, min(0.5, _MOST_LENIENT * allowed, miss_rate))
    runs, after = runs + 1, position + 1
    return Estimate(
        shared + move * shared_part / total,
        shared_variance - shared_variance * shared_part / total,
        noise,
        (*residuals[:position], residual, *residuals[after:]),
        (*variances[:position], variance - variance * own_part / total, *variances[after:]),
        (*seen_run[:position], runs, *seen_run[after:]),
        scores,
        ordered,
        miss_rate,
        _tail(ordered, miss_rate, plan.tail_log),
        streak,
        runs,
        position,
        stay,
        jump,
    )


def _noise(ordered: array[float]) -> float:
    """Return the variance of the middle two thirds of the errors, as if normal: outliers do not count."""
    count = len(ordered)
    spread = 0.5 * (ordered[(84 * count) // 100] - ordered[(16 * count) // 100])
    weight = count / (count + _PRIOR_COUNT)
    return max(_LEAST_NOISE, weight * spread * spread + (1.0 - weight) * _FIRST_NOISE)


def _push(scores: array[float], ordered: array[float], error: float) -> tuple[array[float], array[float]]:
    """Return the window with an error added, and without the oldest when it is full; the given one stays as it is.

    Packed numbers: copying a tuple would count a reference to each of them, which costs more than the arithmetic.
    """
    scores, ordered = scores[:], ordered[:]
    if len(scores) == _WINDOW:
        del ordered[bisect_left(ordered, scores.pop(0))]
    scores.append(error)
    ordered.insert(bisect_left(ordered, error), error)
    return scores, ordered
