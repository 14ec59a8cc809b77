"""Replay a trace through the controller, or anything else that chooses levels, and say how well it did.

    latency(run, level) = truth_ms[level] * slowdown(run) + switch_ms[level] where the level was just entered

The clairvoyant oracle knows each run before it starts and switches for free: no policy can do better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from elsa_edge.control.plan import LevelFacts
from elsa_edge.control.policy import Policy
from elsa_edge.control.state import Observation
from elsa_edge.control.trace import Sample

__all__ = ["Chooser", "Outcome", "Run", "clairvoyant", "replay", "score"]


class Chooser(Protocol):
    """Chooses levels: the controller, or a policy to compare it with."""

    @property
    def level(self) -> int:
        """The level to run next."""

    def observe(self, observation: Observation, /) -> object:
        """Take in one run."""


class Run(NamedTuple):
    """One replayed run: its end, level and latency, the memory left, and the decision after it."""

    end_ms: float
    level: int
    latency_ms: float
    available_bytes: float | None
    reason: str
    feasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How well levels were chosen over a trace.

    Attributes:
        runs: Number of runs.
        miss_rate: Share of runs over the budget.
        mean_accuracy: Mean accuracy of the levels that ran; None where accuracies are unknown.
        mean_value: Mean of the level's accuracy (or its rank, up to 1, where unknown) over all runs, where a run
            over the budget, or short of memory, counts 0.
        regret: The oracle's mean value less this one.
        switches: Level changes.
        switches_per_minute: The same over the replayed time.
        short_of_memory: Share of runs during which less than the reserve was free though a smaller level existed.
        infeasible: Share of runs for which the chooser said that nothing fits.
        level_share: Share of runs at each level, sparsest first.
    """

    runs: int
    miss_rate: float
    mean_accuracy: float | None
    mean_value: float
    regret: float
    switches: int
    switches_per_minute: float
    short_of_memory: float
    infeasible: float
    level_share: tuple[float, ...]


def _memory_above_smallest(levels: Sequence[LevelFacts]) -> list[float]:
    known = [level.memory_bytes or 0 for level in levels]
    return [float(figure - min(known)) for figure in known]


def replay(
    trace: Sequence[Sample],
    levels: Sequence[LevelFacts],
    truth_ms: Sequence[float],
    chooser: Chooser,
    *,
    period_ms: float = 0.0,
) -> list[Run]:
    """Run a chooser over a trace.

    Args:
        trace: One sample per run.
        levels: Switch costs and memory of each level, sparsest first.
        truth_ms: Latency of each level at slow-down 1, which the chooser does not see, (levels,).
        chooser: The controller or another policy.
        period_ms: Time between the starts of runs, when they are shorter.
    """
    extra = _memory_above_smallest(levels)
    now, previous, runs = 0.0, -1, []
    for sample in trace:
        level = chooser.level
        latency = truth_ms[level] * sample.slowdown
        if previous not in (-1, level):
            latency += levels[level].switch_ms
        available = None if sample.available_bytes is None else sample.available_bytes - extra[level]
        now += sample.idle_ms + latency
        decision = chooser.observe(
            Observation(
                now_ms=now,
                level=level,
                latency_ms=latency,
                available_bytes=available,
                pressure_percent=sample.pressure_percent,
                temperature_c=sample.temperature_c,
            )
        )
        reason, feasible = getattr(decision, "reason", ""), getattr(decision, "feasible", True)
        runs.append(Run(now, level, latency, available, str(reason), bool(feasible)))
        now += max(0.0, period_ms - latency)
        previous = level
    return runs


def _values(levels: Sequence[LevelFacts]) -> list[float]:
    known = [level.accuracy for level in levels if level.accuracy is not None]
    if len(known) == len(levels):
        return known
    return [(k + 1) / len(levels) for k in range(len(levels))]


def clairvoyant(
    trace: Sequence[Sample], levels: Sequence[LevelFacts], truth_ms: Sequence[float], policy: Policy
) -> list[int]:
    """Return the best level of each run: the most valuable one within budget and memory, else the fastest."""
    values, extra = _values(levels), _memory_above_smallest(levels)
    usable = [k for k, level in enumerate(levels) if (level.accuracy or 0.0) >= policy.minimum_accuracy]
    chosen = []
    for sample in trace:
        head = math.inf if sample.available_bytes is None else sample.available_bytes - policy.reserve_bytes
        smallest = min(extra[k] for k in usable)
        roomy = [k for k in usable if extra[k] <= head] or [k for k in usable if extra[k] == smallest]
        fitting = [k for k in roomy if truth_ms[k] * sample.slowdown <= policy.budget_ms]
        chosen.append(
            max(fitting, key=values.__getitem__) if fitting else min(roomy, key=truth_ms.__getitem__)
        )
    return chosen


def score(
    runs: Sequence[Run],
    trace: Sequence[Sample],
    levels: Sequence[LevelFacts],
    truth_ms: Sequence[float],
    policy: Policy,
) -> Outcome:
    """Say how well a replay went, against the budget, the memory reserve and the oracle."""
    count, values = len(runs), _values(levels)
    extra = _memory_above_smallest(levels)
    best = clairvoyant(trace, levels, truth_ms, policy)
    oracle = [
        values[k] if truth_ms[k] * sample.slowdown <= policy.budget_ms else 0.0
        for k, sample in zip(best, trace, strict=True)
    ]
    met = [run.latency_ms <= policy.budget_ms for run in runs]
    switches = sum(a.level != b.level for a, b in pairwise(runs))
    short = [
        run.available_bytes is not None
        and run.available_bytes < policy.reserve_bytes
        and extra[run.level] > 0.0
        for run in runs
    ]
    value = (
        sum(values[run.level] for run, ok, low in zip(runs, met, short, strict=True) if ok and not low)
        / count
    )
    known = all(level.accuracy is not None for level in levels)
    return Outcome(
        runs=count,
        miss_rate=1.0 - sum(met) / count,
        mean_accuracy=sum(values[run.level] for run in runs) / count if known else None,
        mean_value=value,
        regret=sum(oracle) / count - value,
        switches=switches,
        switches_per_minute=switches / max(runs[-1].end_ms / 60_000.0, 1e-9),
        short_of_memory=sum(short) / count,
        infeasible=sum(not run.feasible for run in runs) / count,
        level_share=tuple(sum(run.level == k for run in runs) / count for k in range(len(levels))),
    )
