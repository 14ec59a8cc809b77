"""Predict the latency of every level from the runs of the one in use. Logarithms throughout.

    log latency(level) = reference + shared slow-down + residual(level) + noise
    tail(level)        = reference + shared + residual + Q(1 - miss_rate) of the recent prediction errors
    miss_rate         <- miss_rate + step * (allowed - missed)                 adaptive conformal inference

The slow-down is a Kalman filter shared by all levels, so one observed level informs the others (ALERT, USENIX ATC
2020); each level's residual is a second, slower state that fades back to its prior when the level is not observed,
so that an error is never for ever. The tail makes no assumption about the noise (Gibbs and Candes, NeurIPS 2021).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import Final

from elsa_edge.control.plan import Plan
from elsa_edge.control.state import Estimate

__all__ = ["first_estimate", "is_known", "learn", "predict", "tail"]

_WINDOW: Final = 100  # prediction errors kept for the tail
_PRIOR_COUNT: Final = 10.0  # runs that the prior tail is worth
_DRIFT: Final = 0.1  # variance that the slow-down gains each run, relative to the noise: a gain of about 0.27
_FIRST_NOISE: Final = 0.05**2
_LEAST_NOISE: Final = 0.003**2
_NOISE_STEP: Final = 0.05
_CLIP: Final = 3.0  # standard deviations that one surprising run may move the estimate by
_SURPRISE: Final = 2.5  # standard deviations that make a run surprising
_LEAST_SURPRISE: Final = 0.10  # and at least ten percent
_SHIFT_AFTER: Final = 2  # surprising runs of one sign in a row are a new situation, not an outlier
_RESIDUAL_DRIFT: Final = 1e-6
_FADE_RUNS: Final = 1000.0  # an unobserved residual counts half after as many runs
_CONFORMAL_STEP: Final = 0.02


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
        scores=(),
        ordered=(),
        miss_rate=plan.policy.allowed_miss_rate,
        streak=0,
        runs=0,
    )


def _kept(estimate: Estimate, position: int) -> float:
    """Return the share of what was learned about a level that still counts, in [0, 1]."""
    seen = estimate.seen_run[position]
    return 0.0 if seen < 0 else 1.0 / (1.0 + (estimate.runs - seen) / _FADE_RUNS)


def is_known(estimate: Estimate, plan: Plan, position: int) -> bool:
    """Return whether the latency of a level was measured, or observed not too long ago."""
    return plan.measured[position] or _kept(estimate, position) > 0.5


def tail(estimate: Estimate, plan: Plan) -> float:
    """Return how far above the median the allowed percentile lies, as a log ratio, at least 0."""
    count = len(estimate.ordered)
    if count == 0:
        return plan.tail_log
    rank = math.ceil((count + 1) * (1.0 - estimate.miss_rate)) - 1
    if rank >= count:  # too few errors for this percentile: the largest one, or the prior
        return max(0.0, plan.tail_log, estimate.ordered[-1])
    weight = count / (count + _PRIOR_COUNT)
    return max(0.0, weight * estimate.ordered[rank] + (1.0 - weight) * plan.tail_log)


def predict(estimate: Estimate, plan: Plan, current: int) -> list[float]:
    """Return the log of the latency in ms that the allowed share of runs stays below, one entry a candidate.

    A level other than the current one is charged for what is not known about it: one standard deviation.
    """
    base = estimate.shared + tail(estimate, plan)
    predicted = []
    for position, reference in enumerate(plan.reference_log_ms):
        kept = 1.0 if position == current and estimate.seen_run[position] >= 0 else _kept(estimate, position)
        value = reference + base + kept * estimate.residual[position]
        if position != current:
            prior = plan.residual_variance[position]
            value += math.sqrt(prior + kept * (estimate.residual_variance[position] - prior))
        predicted.append(value)
    return predicted


def learn(estimate: Estimate, plan: Plan, position: int, log_ms: float) -> Estimate:
    """Return the estimate after one warm run of a level."""
    noise = estimate.noise_variance
    prior = plan.residual_variance[position]
    kept = _kept(estimate, position)
    residual = kept * estimate.residual[position]
    residual_variance = prior + kept * (estimate.residual_variance[position] - prior) + _RESIDUAL_DRIFT
    shared_variance = estimate.shared_variance + _DRIFT * noise
    error = log_ms - plan.reference_log_ms[position] - estimate.shared - residual

    spread = math.sqrt(shared_variance + residual_variance + noise)
    streak = _next_streak(estimate.streak, error, spread)
    if abs(streak) >= _SHIFT_AFTER:  # believe it at once, and blame what all levels share
        shared_variance = max(shared_variance, error * error)
        step = error
    else:
        step = max(-_CLIP * spread, min(_CLIP * spread, error))
    total = shared_variance + residual_variance + noise
    shared_gain, residual_gain = shared_variance / total, residual_variance / total

    scores, ordered, miss_rate = estimate.scores, estimate.ordered, estimate.miss_rate
    # Errors of a model that does not know its parameters yet say nothing about the noise.
    settled = estimate.shared_variance + residual_variance <= 4.0 * noise + 0.01
    if settled and abs(streak) < _SHIFT_AFTER:
        allowed = plan.policy.allowed_miss_rate
        missed = error > tail(estimate, plan)
        miss_rate += _CONFORMAL_STEP * (allowed - missed)
        miss_rate = max(allowed / 8.0, min(0.5, 3.0 * allowed, miss_rate))
        scores, ordered = _push(scores, ordered, error)
        noise += _NOISE_STEP * (min(step * step, 9.0 * noise) - noise)

    return Estimate(
        shared=estimate.shared + shared_gain * step,
        shared_variance=shared_variance * (1.0 - shared_gain),
        noise_variance=max(_LEAST_NOISE, noise),
        residual=_put(estimate.residual, position, residual + residual_gain * step),
        residual_variance=_put(
            estimate.residual_variance, position, residual_variance * (1.0 - residual_gain)
        ),
        seen_run=(*estimate.seen_run[:position], estimate.runs + 1, *estimate.seen_run[position + 1 :]),
        scores=scores,
        ordered=ordered,
        miss_rate=miss_rate,
        streak=streak,
        runs=estimate.runs + 1,
    )


def _next_streak(streak: int, error: float, spread: float) -> int:
    if abs(error) <= max(_SURPRISE * spread, _LEAST_SURPRISE):
        return 0
    if error > 0:
        return max(streak, 0) + 1
    return min(streak, 0) - 1


def _push(
    scores: tuple[float, ...], ordered: tuple[float, ...], error: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Add an error to the window; drop the oldest when it is full."""
    by_size = list(ordered)
    if len(scores) == _WINDOW:
        del by_size[bisect_left(by_size, scores[0])]
        scores = scores[1:]
    insort(by_size, error)
    return (*scores, error), tuple(by_size)


def _put(values: tuple[float, ...], position: int, value: float) -> tuple[float, ...]:
    return (*values[:position], value, *values[position + 1 :])
