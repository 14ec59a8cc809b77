"""What is known about the levels before the first run: which are worth using, in which order, at what expected cost.

    reference_ms = measured median, or scale * (0.15 + 0.85 * work) where a level was never measured

A level is left out when another is at least as accurate, and at most 2 % slower and larger (a Pareto front with a
tolerance for measuring noise). Sources: ALERT, USENIX ATC 2020, for one profile scaled at run time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

from elsa_edge.control.policy import Policy
from elsa_edge.control.shapes import LadderRow, MeasuredRow, MeasuredTable
from elsa_edge.errors import ProfileError

__all__ = ["LevelFacts", "Plan", "level_facts", "make_plan"]

_NONE: Final[Mapping[int, str]] = {}
_FIXED_SHARE: Final = 0.15  # of the dense latency, whatever the sparsity: activations, dispatch, dense layers
_SAME: Final = 1.02  # medians, and memory figures, closer than this are one: measuring is not finer
_MEASURED_VARIANCE: Final = 0.1**2  # of the log ratio between a measured median and the truth on this day
_PRIOR_VARIANCE: Final = 0.6**2  # the same where only the work is known
_SCALE_VARIANCE: Final = 0.3**2  # of the log slow-down shared by all levels, with a measured table
_NO_SCALE_VARIANCE: Final = 25.0  # without one: anything from microseconds to minutes
_DEFAULT_TAIL: Final = 0.10  # log of the 95th percentile over the median where it was not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFacts:
    """What is known about one level on one device; None where nothing is.

    Attributes:
        name: Its name in the ladder.
        work: Arithmetic relative to the dense network, in [0, 1].
        p50_ms: Median latency of a warm run.
        p95_ms: 95th percentile of the latency of a warm run.
        switch_ms: Cost of switching to it beyond one warm run.
        memory_bytes: Memory while it is active.
        accuracy: Task metric in [0, 1].
    """

    name: str
    work: float = 1.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    switch_ms: float = 0.0
    memory_bytes: int | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the controller needs that does not change while it runs.

    Tuples marked (candidates,) have one entry per candidate, from the least to the most valuable.

    Attributes:
        policy: What must hold.
        levels: All levels of the network, sparsest first.
        candidates: Level numbers that are worth using, (candidates,).
        positions: The place of each level in these tuples, -1 for one that is no candidate, (levels,).
        reference_log_ms: Log of the expected warm median in ms, (candidates,).
        residual_variance: Prior variance of each level's own log error, (candidates,).
        measured: Whether the latency was measured, (candidates,); the others may be probed.
        any_measured: Whether some candidate's latency was measured.
        all_measured: Whether every candidate's latency was measured.
        lead: Time of the fastest candidate over that of each, by the references, (candidates,).
        memory_bytes: (candidates,). Without figures, denser counts as larger by one byte.
        ample_bytes: With so much free beyond the reserve, any candidate may be entered.
        switch_share: Cost of switching to a level over its median, (candidates,).
        stay_log_ms: Log of the largest predicted latency that holds the budget.
        up_log_ms: Log of the largest predicted latency at which a more valuable level is entered.
        shared_variance: Prior variance of the log slow-down that all levels share.
        tail_log: Prior log ratio of the allowed percentile to the median.
        notes: Sentences for people: which levels are left out and why, what is unknown.
    """

    policy: Policy
    levels: tuple[LevelFacts, ...]
    candidates: tuple[int, ...]
    positions: tuple[int, ...]
    reference_log_ms: tuple[float, ...]
    residual_variance: tuple[float, ...]
    measured: tuple[bool, ...]
    any_measured: bool
    all_measured: bool
    lead: tuple[float, ...]
    memory_bytes: tuple[int, ...]
    ample_bytes: float
    switch_share: tuple[float, ...]
    stay_log_ms: float
    up_log_ms: float
    shared_variance: float
    tail_log: float
    notes: tuple[str, ...]


def level_facts(
    ladder: Sequence[LadderRow],
    measured: MeasuredTable | None = None,
    memory_bytes: Sequence[int] | None = None,
) -> tuple[LevelFacts, ...]:
    """Join the ladder with what was measured on the device.

    Args:
        ladder: The levels, sparsest first.
        measured: The profile's table. A table with other level names belongs to another network and is ignored.
        memory_bytes: Memory at each level as the adapter tells it; a measured figure wins.
    """
    rows: Sequence[MeasuredRow | None] = [None] * len(ladder)
    if measured is not None and [row.name for row in measured.levels] == [row.name for row in ladder]:
        rows = measured.levels
    facts = []
    for k, (level, row) in enumerate(zip(ladder, rows, strict=True)):
        work = next(
            share
            for share in (level.flops_fraction, level.density, 1.0 - level.sparsity)
            if share is not None
        )
        memory = memory_bytes[k] if memory_bytes is not None else None
        accuracy = level.accuracy
        if row is not None:
            memory = memory if row.memory_bytes is None else row.memory_bytes
            accuracy = accuracy if row.accuracy is None else row.accuracy
        facts.append(
            LevelFacts(
                name=level.name,
                work=work,
                p50_ms=row.p50_ms if row else None,
                p95_ms=row.p95_ms if row else None,
                switch_ms=(row.switch_ms or 0.0) if row else 0.0,
                memory_bytes=memory,
                accuracy=accuracy,
            )
        )
    return tuple(facts)


def make_plan(levels: Sequence[LevelFacts], policy: Policy, left_out: Mapping[int, str] = _NONE) -> Plan:
    """Decide which levels are candidates, and prepare the numbers that the controller needs.

    Args:
        levels: All levels, sparsest first.
        policy: What must hold.
        left_out: Level number -> why it cannot run; not all levels that the policy allows.

    Raises:
        ProfileError: When the minimum accuracy cannot be held: no level reaches it, or accuracies are unknown.
    """
    notes = [f"{levels[k].name} is left out: {reason}." for k, reason in left_out.items()]
    allowed = [k for k in _accurate_enough(levels, policy, notes) if k not in left_out]
    if not allowed:
        raise ProfileError("No level is left that can run", found="; ".join(left_out.values()))
    reference = _reference_ms(levels)
    memory = _memory(levels)
    if any(level.accuracy is None for level in levels):
        value = [(float(k), 0.0) for k in range(len(levels))]
    else:
        # Equal accuracy: the faster one is worth more.
        value = [(level.accuracy or 0.0, -reference[k]) for k, level in enumerate(levels)]
    order = sorted(allowed, key=lambda k: (value[k], k))
    candidates = _without_dominated(order, levels, notes)
    known = any(level.p50_ms is not None for level in levels)
    if not known:
        notes.append("No latency was measured on this device; the controller learns it while running.")
    fastest_ms = min(reference[k] for k in candidates)
    return Plan(
        policy=policy,
        levels=tuple(levels),
        candidates=tuple(candidates),
        positions=tuple(candidates.index(k) if k in candidates else -1 for k in range(len(levels))),
        reference_log_ms=tuple(math.log(reference[k]) for k in candidates),
        residual_variance=tuple(
            _PRIOR_VARIANCE if levels[k].p50_ms is None else _MEASURED_VARIANCE for k in candidates
        ),
        measured=tuple(levels[k].p50_ms is not None for k in candidates),
        any_measured=any(levels[k].p50_ms is not None for k in candidates),
        all_measured=all(levels[k].p50_ms is not None for k in candidates),
        lead=tuple(fastest_ms / reference[k] for k in candidates),
        memory_bytes=tuple(memory[k] for k in candidates),
        ample_bytes=max(memory) - min(memory) + policy.hysteresis_bytes,
        switch_share=tuple(levels[k].switch_ms / reference[k] if known else 0.0 for k in candidates),
        # The logarithm of an infinite budget is infinite.
        stay_log_ms=math.log(policy.budget_ms) + math.log1p(-policy.margin),
        up_log_ms=math.log(policy.budget_ms) + math.log1p(-policy.up_margin),
        shared_variance=_SCALE_VARIANCE if known else _NO_SCALE_VARIANCE,
        tail_log=_tail_log(levels, policy),
        notes=tuple(notes),
    )


def _accurate_enough(levels: Sequence[LevelFacts], policy: Policy, notes: list[str]) -> list[int]:
    if not levels:
        raise ProfileError("A plan needs at least one level")
    if policy.minimum_accuracy <= 0.0:
        return list(range(len(levels)))
    unknown = [level.name for level in levels if level.accuracy is None]
    if unknown:
        raise ProfileError(
            f"qos.minimum_accuracy is {policy.minimum_accuracy:g}, but no accuracy is known for {', '.join(unknown)}",
            fix="Measure it with `elsa-edge evaluate`, or set minimum_accuracy to null",
        )
    allowed = [k for k, level in enumerate(levels) if (level.accuracy or 0.0) >= policy.minimum_accuracy]
    if not allowed:
        raise ProfileError(
            "No level reaches qos.minimum_accuracy",
            expected=f"at least {policy.minimum_accuracy:g}",
            found=", ".join(f"{level.name} {level.accuracy:g}" for level in levels),
        )
    notes.extend(
        f"{level.name} is left out: its accuracy {level.accuracy:g} is below the minimum {policy.minimum_accuracy:g}."
        for k, level in enumerate(levels)
        if k not in allowed
    )
    return allowed


def _reference_ms(levels: Sequence[LevelFacts]) -> list[float]:
    """Expected warm median of each level in ms; in arbitrary units while nothing was measured."""
    relative = [_FIXED_SHARE + (1.0 - _FIXED_SHARE) * min(max(level.work, 0.0), 1.0) for level in levels]
    logs = [math.log(level.p50_ms / r) for level, r in zip(levels, relative, strict=True) if level.p50_ms]
    scale = math.exp(sum(logs) / len(logs)) if logs else 1.0
    return [level.p50_ms or scale * r for level, r in zip(levels, relative, strict=True)]


def _memory(levels: Sequence[LevelFacts]) -> list[int]:
    if any(level.memory_bytes is None for level in levels):
        return list(range(len(levels)))  # only the order is known: sparser needs less
    return [level.memory_bytes or 0 for level in levels]


def _without_dominated(
    order: Sequence[int],
    levels: Sequence[LevelFacts],
    notes: list[str],
) -> list[int]:
    """Return the levels of `order` (least valuable first) that are not dominated by a more valuable one."""
    kept: list[int] = []
    for k in reversed(order):
        better = next((m for m in kept if _dominates(levels[m], levels[k])), None)
        if better is None:
            kept.insert(0, k)
        else:
            notes.append(
                f"{levels[k].name} is left out: {levels[better].name} is worth more, and is as fast and as small"
                f" on this device ({levels[better].p50_ms:.3g} ms against {levels[k].p50_ms:.3g} ms)."
            )
    if len(kept) == 1 < len(order):
        notes.append(f"Only {levels[kept[0]].name} is left, so there is nothing to adapt on this device.")
    return kept


def _dominates(better: LevelFacts, worse: LevelFacts) -> bool:
    """Return whether a level of more value is as fast and as small; a guess is no reason to drop a level."""
    if better.p50_ms is None or worse.p50_ms is None or better.p50_ms > _SAME * worse.p50_ms:
        return False
    if better.memory_bytes is None or worse.memory_bytes is None:
        return True
    return better.memory_bytes <= _SAME * worse.memory_bytes


def _tail_log(levels: Sequence[LevelFacts], policy: Policy) -> float:
    """Prior log ratio of the allowed percentile to the median, from the 95th percentiles, as if log-normal.

    The levels share one tail: the median of theirs, since one of them may have been measured beside other work.
    """
    tails = [math.log(level.p95_ms / level.p50_ms) for level in levels if level.p95_ms and level.p50_ms]
    at_95 = max(0.02, median(tails)) if tails else _DEFAULT_TAIL
    normal = NormalDist()
    return max(0.0, at_95 * normal.inv_cdf(1.0 - policy.allowed_miss_rate) / normal.inv_cdf(0.95))
