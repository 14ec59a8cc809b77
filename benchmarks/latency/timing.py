"""Turns of engines in this process and in others: samples of CPU and wall-clock time, and what a row says of them.

    speed-up = median(base) / median(engine)            interval: bootstrap over rounds
    quiet speed-up = 10th percentile(base) / 10th percentile(engine)

On a machine with neighbours the medians also measure these; the low percentiles are nearer to the machine alone, and
the spread of the base tells how much to believe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.common import Row, Seconds, median_ms, quantile_ms, ratio

__all__ = ["Run", "Samples", "here", "row_of", "spread", "take_turns"]

Run = Callable[[int], tuple[float, float]]
"""Runs a network `count` times; returns CPU seconds and wall-clock seconds of all together."""

QUIET: Final = 0.1
_LEAST_S: Final = 0.008


@dataclass(frozen=True)
class Samples:
    """Seconds per inference, in round order: `(rounds,)` each."""

    cpu_s: Seconds
    wall_s: Seconds

    def of(self, threads: int) -> Seconds:
        """Return the clock to compare by: CPU time of one thread, wall clock of several."""
        return self.cpu_s if threads == 1 else self.wall_s


def here(call: Callable[[], object]) -> Run:
    """Return what runs a callable of this process."""

    def run(count: int) -> tuple[float, float]:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for _ in range(count):
            call()
        return time.process_time() - cpu_s, time.perf_counter() - wall_s

    return run


def take_turns(
    runs: Mapping[str, Run], *, budget_s: float, least_rounds: int = 9, most_rounds: int = 41
) -> dict[str, Samples]:
    """Sample all runs round-robin, each round starting one place further.

    Args:
        runs: Name -> what runs it.
        budget_s: Wall-clock seconds to spend, roughly: as many rounds as fit.
        least_rounds: Rounds even where they do not fit.
        most_rounds: Rounds that are enough.
    """
    names = list(runs)
    repeats = {}
    round_s = 0.0
    for name in names:
        runs[name](2)  # first calls pay for pages and buffers
        _, once_s = runs[name](1)
        repeats[name] = max(1, math.ceil(_LEAST_S / max(once_s, 1e-7)))
        round_s += once_s * repeats[name]
    rounds = int(np.clip(budget_s / round_s, least_rounds, most_rounds))
    taken = {name: np.empty((rounds, 2)) for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            if repeats[name] > 1:
                runs[name](1)  # a quick network would mostly measure what its predecessor left in the caches
            taken[name][number] = np.array(runs[name](repeats[name])) / repeats[name]
    return {name: Samples(pairs[:, 0], pairs[:, 1]) for name, pairs in taken.items()}


def spread(samples: Seconds) -> float:
    """Return the 90th over the 10th percentile: 1 on a quiet machine."""
    return float(np.quantile(samples, 1 - QUIET) / np.quantile(samples, QUIET))


def row_of(samples: Samples, base: Samples, threads: int) -> Row:
    """Return the columns that say how fast something is against a base of the same rounds."""
    times, base_times = samples.of(threads), base.of(threads)
    speedup = ratio(base_times, times)
    quiet = np.quantile(base_times, QUIET) / np.quantile(times, QUIET)
    return {
        "threads": threads,
        "clock": "cpu" if threads == 1 else "wall",
        "rounds": len(times),
        "median_ms": round(median_ms(times), 4),
        "low_ms": round(quantile_ms(times, QUIET), 4),
        "speedup": round(speedup.value, 3),
        "speedup_low": round(speedup.low, 3),
        "speedup_high": round(speedup.high, 3),
        "quiet_speedup": round(float(quiet), 3),
        "base_spread": round(spread(base_times), 3),
    }
