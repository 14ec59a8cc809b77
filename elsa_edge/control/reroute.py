"""The level of the rest of a running inference, decided at a border between its segments. Pure.

    slow     = max(1, elapsed / expected elapsed)               what this run has suffered so far
    rest(k)  = slow * latency(k) * part of level k behind the border
    level    = the present one while elapsed + rest <= limit, else the densest below it that fits, else the fastest

The level never rises inside an inference: what an earlier segment left out cannot be made up for. The rule is that of
arXiv 2112.10930; the factor `slow` is ours, because a disturbance that hit one segment often hits the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from elsa_edge.control.estimate import is_known, predict
from elsa_edge.control.plan import Plan
from elsa_edge.control.state import State

__all__ = ["Parts", "Rest", "first_parts", "learn_parts", "level_of_rest", "quiet_ms"]

_LEARNED: Final = 0.1  # weight of the latest run in the parts of a level
_MOST_SLOW: Final = 8.0  # a preemption of many times the run says little about the next segment


class Parts(NamedTuple):
    """Which part of a level's time each segment takes, (levels, segments); each row sums to 1."""

    rows: tuple[tuple[float, ...], ...]

    def behind(self, level: int, border: int) -> float:
        """Return the part behind a border; border 0 lies behind segment 0."""
        return sum(self.rows[level][border + 1 :])


class Rest(NamedTuple):
    """A level that the rest of an inference may run at.

    Attributes:
        level: Its number.
        ms: How long the rest is expected to take at it on a quiet device.
    """

    level: int
    ms: float


def first_parts(work: Sequence[Sequence[float]]) -> Parts:
    """Return what is believed before anything ran: time follows work.

    Args:
        work: Part of the work of each segment at each level, (segments, levels).
    """
    rows = []
    for level in zip(*work, strict=True):
        total = sum(level)
        rows.append(tuple(one / total if total else 1.0 / len(level) for one in level))
    return Parts(tuple(rows))


def learn_parts(parts: Parts, level: int, segment_ms: Sequence[float]) -> Parts:
    """Return the parts after an inference of which every segment ran at one level."""
    total = sum(segment_ms)
    if not total > 0.0 or not math.isfinite(total):
        return parts
    row = tuple(
        old + _LEARNED * (ms / total - old) for old, ms in zip(parts.rows[level], segment_ms, strict=True)
    )
    return Parts((*parts.rows[:level], row, *parts.rows[level + 1 :]))


def quiet_ms(state: State, plan: Plan, level: int, head_bytes: float = 0.0) -> dict[int, float] | None:
    """Return how long an inference is expected to take on a quiet device: at a level, and at those that may replace it.

    None where the latency of the level is not known: nothing is changed on a guess. Denser levels are left out, and
    those that need more than `head_bytes` beyond the present level's memory. The present level comes first, then less
    and less valuable ones.
    """
    here = plan.positions[level]
    if here < 0 or not is_known(state.estimate, plan, here):
        return None
    predicted = predict(state.estimate, plan, here, state.mean_stay_runs)
    return {
        # Without the tail: most runs must not be changed for what happens to few.
        plan.candidates[p]: math.exp(predicted[p] - state.estimate.tail)
        for p in range(here, -1, -1)
        if plan.memory_bytes[p] <= plan.memory_bytes[here] + head_bytes and plan.candidates[p] <= level
    }


def level_of_rest(rests: Sequence[Rest], *, elapsed_ms: float, expected_ms: float, limit_ms: float) -> Rest:
    """Return the level of the rest.

    Args:
        rests: Levels to choose from, the present one first; at least one.
        elapsed_ms: Time since the inference began.
        expected_ms: What that should have been on a quiet device.
        limit_ms: Time that the inference has.
    """
    slow = min(_MOST_SLOW, max(1.0, elapsed_ms / expected_ms)) if expected_ms > 0.0 else 1.0
    left_ms = limit_ms - elapsed_ms
    for rest in rests:
        if slow * rest.ms <= left_ms:
            return rest
    return min(rests, key=lambda rest: (rest.ms, rest.level))
