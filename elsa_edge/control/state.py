"""What goes into a decision and what comes out: observation, state, decision, reason. All immutable."""

from __future__ import annotations

import enum
from array import array
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Decision", "Estimate", "Observation", "Reason", "State"]


class Reason(enum.StrEnum):
    """Why the controller decided as it did; the codes are part of the log format."""

    START = "start"  # the first level, before anything was observed
    HOLD = "hold"  # the level fits, and no denser one does
    HOLD_DWELL = "hold-dwell"  # a denser level fits, but not for long enough yet
    HOLD_BACKOFF = "hold-backoff"  # a denser level fits, but failed when it was last tried
    HOLD_MISSES = "hold-misses"  # a denser level fits, but too many runs of the window missed the budget
    HOLD_MEMORY = "hold-memory"  # a denser level fits the budget, but not the free memory
    UNLOADABLE = (
        "unloadable"  # a level could not be loaded and is left out from now on; the others begin anew
    )
    HOLD_HEAT = "hold-heat"  # a denser level fits, but the device is hot
    UP = "up"  # to a more valuable level
    PROBE = "probe"  # up to a level whose latency is not known yet, to learn it
    BETTER = "better"  # to a level that is more valuable and not slower
    DOWN_LATENCY = "down-latency"  # the level no longer fits the budget
    DOWN_MEMORY = "down-memory"  # less memory is free than must be
    DOWN_PRESSURE = "down-pressure"  # the system stalls on memory
    INFEASIBLE_LATENCY = "infeasible-latency"  # no level fits the budget; the fastest runs
    INFEASIBLE_MEMORY = "infeasible-memory"  # no level frees enough memory; the smallest runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the caller saw at one moment; None where it saw nothing.

    Attributes:
        now_ms: A monotonic clock, at the end of the run.
        level: The level that ran.
        latency_ms: How long the inference took, including a switch, excluding queueing and pre-processing.
        available_bytes: Memory that can still be allocated.
        pressure_percent: Share of time stalled on memory (PSI some avg10).
        temperature_c: The hottest zone.
    """

    now_ms: float
    level: int | None = None
    latency_ms: float | None = None
    available_bytes: float | None = None
    pressure_percent: float | None = None
    temperature_c: float | None = None


class Estimate(NamedTuple):
    """What is believed about latencies; logs of ratios to the plan's reference. Tuples are (candidates,).

    Attributes:
        shared: Slow-down of all levels together.
        shared_variance: How uncertain that is.
        noise_variance: Spread of single runs around the prediction.
        residual: Each level's own deviation.
        residual_variance: How uncertain that is.
        seen_run: Number of the run at which each level was last observed; -1 for never.
        scores: The latest prediction errors, oldest first; never changed in place.
        ordered: The same, sorted.
        miss_rate: The rate that the tail is drawn for, steered so that the true one becomes the allowed one.
        tail: How far the allowed percentile lies above the prediction.
        streak: Large errors in a row: positive for too slow, negative for too fast.
        runs: Warm runs learned from.
        latest: Position of the level that the latest of them ran at, -1 before the first.
        stay: How many of the latest ran at that level without another between.
        jump: Runs for which the latest shift of all levels is still remembered: positive for slower, negative for
            faster.
    """

    shared: float
    shared_variance: float
    noise_variance: float
    residual: tuple[float, ...]
    residual_variance: tuple[float, ...]
    seen_run: tuple[int, ...]
    scores: array[float]
    ordered: array[float]
    miss_rate: float
    tail: float
    streak: int
    runs: int
    latest: int
    stay: int
    jump: int


class State(NamedTuple):
    """Everything the controller remembers. Times are on the caller's clock, counts are in runs.

    Attributes:
        position: The candidate in use (not the level number).
        estimate: What is believed about latencies.
        last_level: The level of the latest run, -1 before the first.
        last_ms: When it ended.
        gaps: Idle gaps in a row, one before each of the latest runs.
        cold_left: Cold runs that still teach nothing.
        runs: All runs.
        runs_here: Runs since the last switch.
        mean_stay_runs: Usual number of runs between switches.
        switched_ms: When the level last changed.
        fits_above: Decisions in a row at which a more valuable level fitted.
        misses: One bit per run of the window, the latest lowest: 1 for over budget.
        avoidable: The same without those that the fastest level would have missed, too.
        misses_length: How many runs these two hold.
        failures: Failed attempts to go up to each candidate, (candidates,).
        blocked_until_ms: No attempt before then, (candidates,).
        trial_left: Runs until the last way up counts as a success.
        probe_run: Number of the run at which a level was last probed.
        probe_left: Warm runs until a probed level is judged.
        pressure_ms: When memory pressure last forced a level down.
    """

    position: int
    estimate: Estimate
    last_level: int
    last_ms: float
    gaps: int
    cold_left: int
    runs: int
    runs_here: int
    mean_stay_runs: float
    switched_ms: float
    fits_above: int
    misses: int
    avoidable: int
    misses_length: int
    failures: tuple[int, ...]
    blocked_until_ms: tuple[float, ...]
    trial_left: int
    probe_run: int
    probe_left: int
    pressure_ms: float


class Decision(NamedTuple):
    """What to run next, and how sure that is.

    Attributes:
        level: The level to run next.
        reason: Why.
        feasible: Whether that level is expected to hold the budget and the memory reserve. False is said aloud,
            never hidden: the controller then runs the least bad level.
        predicted_ms: Latency that the allowed share of runs is expected to stay below; None while nothing is known.
        slowdown: How much slower the device is than the reference, for all levels together.
        miss_rate: Share of the runs in the window that exceeded the budget.
    """

    level: int
    reason: Reason
    feasible: bool
    predicted_ms: float | None
    slowdown: float
    miss_rate: float
