"""What happened: one event per run, and the running figures of a session. Bounded in memory, safe to read anywhere.

    share of late runs = runs over their limit / all runs        percentiles: of the latest 1000 runs per level

An event is what a decision log, a recorded trace (`elsa_edge.control.record`) and the metrics are made from.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from elsa_edge.control.state import Decision

__all__ = ["ChosenBy", "History", "LevelStats", "Rerouting", "RunEvent", "SessionStats"]

_KEPT_RUNS: Final = 1000


class ChosenBy(enum.StrEnum):
    """Who chose the level of a run; the codes are part of the log format."""

    CONTROLLER = "controller"  # the policy's choice
    CALLER = "caller"  # `run(..., level=k)`
    DEADLINE = "deadline"  # sparser than the controller's choice, for the time that was left
    DEADLINE_SHORT = "deadline-short"  # no level is expected to finish in the time left; the fastest ran


class Rerouting(NamedTuple):
    """A change of level inside an inference.

    Attributes:
        border: Where it happened first: behind this segment.
        level: The level of the last segment.
        whole_ms: How long the inference would have taken without it, from the pace of the rest that did run.
    """

    border: int
    level: int
    whole_ms: float


class RunEvent(NamedTuple):
    """One run as it happened.

    Attributes:
        now_ms: The session's monotonic clock at the end of the run.
        level: The level that ran, or that it began with where the inference was rerouted.
        chosen_by: Who chose it.
        latency_ms: How long the inference took.
        limit_ms: The time it had: the deadline that the caller gave, or else the budget; None for no limit.
        idle_ms: Pause between the end of the previous run and the beginning of this one; 0 at the first.
        available_bytes: Free memory after the run; None for unknown.
        pressure_percent: Memory stall; None for unknown.
        temperature_c: The hottest zone; None for unknown.
        decision: What was decided after the run, for the next one.
        rerouted: The change of level inside the inference, if there was one.
        throttled: Whether the firmware held the clock down; None for unknown.
        clock_share: Clock over the highest one; None for unknown.
        power_w: What the device drew; None for unknown.
    """

    now_ms: float
    level: int
    chosen_by: ChosenBy
    latency_ms: float
    limit_ms: float | None
    idle_ms: float
    available_bytes: float | None
    pressure_percent: float | None
    temperature_c: float | None
    decision: Decision
    rerouted: Rerouting | None = None
    throttled: bool | None = None
    clock_share: float | None = None
    power_w: float | None = None

    @property
    def late(self) -> bool:
        """Whether the run took longer than it had."""
        return self.limit_ms is not None and self.latency_ms > self.limit_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStats:
    """Figures of one level since the session was opened; percentiles are of its latest 1000 runs.

    Attributes:
        level: Its number, 0 for the sparsest.
        name: Its name in the ladder.
        runs: Runs at this level.
        late: Those over their limit.
        busy_ms: Time spent in them.
        energy_j: What the device drew during those whose power is known; None where it never was.
        p50_ms: Median latency; None before the first run. p95_ms and p99_ms likewise.
    """

    level: int
    name: str
    runs: int
    late: int
    busy_ms: float
    energy_j: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStats:
    """Figures of a session since it was opened.

    Attributes:
        runs: All runs.
        late: Those over their limit.
        rerouted: Runs whose level changed inside the inference.
        switches: Runs at another level than the run before.
        infeasible: Decisions that said that no level holds the policy.
        chosen_by: Runs by who chose the level.
        reasons: Decisions by reason code.
        p50_ms: Median latency of the latest 1000 runs, at whichever level. p95_ms and p99_ms likewise.
        levels: One entry per level, sparsest first.
        last: The latest run; None before the first.
    """

    runs: int
    late: int
    rerouted: int
    switches: int
    infeasible: int
    chosen_by: Mapping[str, int]
    reasons: Mapping[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    levels: tuple[LevelStats, ...]
    last: RunEvent | None

    @property
    def late_share(self) -> float:
        """Share of runs over their limit; 0 before the first."""
        return self.late / self.runs if self.runs else 0.0


class History:
    """Takes in runs and answers with figures; adding costs the same however many there were.

    Args:
        names: The levels' names, sparsest first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._latest: tuple[deque[float], ...] = tuple(deque(maxlen=_KEPT_RUNS) for _ in names)
        self._latest_of_all: deque[float] = deque(maxlen=_KEPT_RUNS)
        self._runs, self._late, self._busy_ms = [0] * len(names), [0] * len(names), [0.0] * len(names)
        self._energy_j: list[float | None] = [None] * len(names)
        self._switches = self._infeasible = self._rerouted = 0
        self._chosen_by: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._last: RunEvent | None = None
        # Metrics are read by another thread than the one that runs.
        self._lock = threading.Lock()

    def add(self, event: RunEvent) -> None:
        """Take in one run."""
        with self._lock:
            level = event.level
            self._runs[level] += 1
            self._late[level] += event.late
            self._busy_ms[level] += event.latency_ms
            if event.power_w is not None:
                self._energy_j[level] = (
                    self._energy_j[level] or 0.0
                ) + event.power_w * event.latency_ms / 1e3
            self._latest[level].append(event.latency_ms)
            self._latest_of_all.append(event.latency_ms)
            self._switches += self._last is not None and self._last.level != level
            self._rerouted += event.rerouted is not None
            self._infeasible += not event.decision.feasible
            self._chosen_by[str(event.chosen_by)] += 1
            self._reasons[str(event.decision.reason)] += 1
            self._last = event

    @property
    def last(self) -> RunEvent | None:
        """The latest run; None before the first. Costs nothing, whereas `stats` sorts the latest runs."""
        return self._last

    def stats(self) -> SessionStats:
        """Return the figures so far."""
        with self._lock:
            latest = [sorted(one) for one in self._latest]
            every = sorted(self._latest_of_all)
            return SessionStats(
                runs=sum(self._runs),
                late=sum(self._late),
                rerouted=self._rerouted,
                switches=self._switches,
                infeasible=self._infeasible,
                chosen_by=dict(self._chosen_by),
                reasons=dict(self._reasons),
                p50_ms=_quantile(every, 0.50),
                p95_ms=_quantile(every, 0.95),
                p99_ms=_quantile(every, 0.99),
                levels=tuple(
                    LevelStats(
                        level=k,
                        name=name,
                        runs=self._runs[k],
                        late=self._late[k],
                        busy_ms=self._busy_ms[k],
                        energy_j=self._energy_j[k],
                        p50_ms=_quantile(latest[k], 0.50),
                        p95_ms=_quantile(latest[k], 0.95),
                        p99_ms=_quantile(latest[k], 0.99),
                    )
                    for k, name in enumerate(self._names)
                ),
                last=self._last,
            )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
