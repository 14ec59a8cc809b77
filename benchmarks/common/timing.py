"""Time that can be trusted on a shared machine: interleaved in one process, ratios with an interval.

    ratio = median(variant) / median(base)     round-robin in one process, CPU time of the calling thread
    interval = its 2.5 % and 97.5 % quantiles over bootstrap resamples of the rounds (pairs stay together)

CPU time of one thread and ratios in one process can be trusted; wall-clock medians from different minutes cannot. Run
the runtimes with one thread for that reason.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.common.claims import Row

__all__ = ["Ratio", "Seconds", "interleaved", "median_ms", "quantile_ms", "ratio"]

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of medians with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def row(self) -> Row:
        """Return the columns `ratio`, `ratio_low`, `ratio_high`."""
        return {
            "ratio": round(self.value, 4),
            "ratio_low": round(self.low, 4),
            "ratio_high": round(self.high, 4),
        }


def _nothing() -> None:
    """Stand where there is nothing to do before a sample."""


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 31,
    warmup: int = 3,
    least_s: float = 0.002,
    before: Mapping[str, Callable[[], object]] | None = None,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, Seconds]:
    """Time several callables round-robin in this process.

    Args:
        runs: Name -> callable without arguments, which works in the calling thread.
        rounds: Samples of each; each round runs all once, starting one place further than the round before.
        warmup: Untimed calls of each before the first round.
        least_s: A sample repeats a quick callable until about this long, and is divided again.
        before: Name -> untimed callable that goes before every sample of that name; it is then not repeated.
        clock: Seconds; `time.thread_time` (CPU time of this thread) or `time.perf_counter`.

    Returns:
        Name -> `(rounds,)` seconds per call, in round order, so that samples of one round can be paired.
    """
    names = list(runs)
    prepare = {name: (before or {}).get(name, _nothing) for name in names}
    repeats = {}
    for name in names:
        for _ in range(max(1, warmup)):
            start = clock()
            runs[name]()
            last_s = clock() - start
        repeats[name] = 1 if prepare[name] is not _nothing else max(1, math.ceil(least_s / max(last_s, 1e-7)))
    samples = {name: np.empty(rounds) for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            run, count = runs[name], repeats[name]
            prepare[name]()
            start = clock()
            for _ in range(count):
                run()
            samples[name][number] = (clock() - start) / count
    return samples


def median_ms(samples: Seconds) -> float:
    """Return the median of samples in seconds, in milliseconds."""
    return float(np.median(samples) * 1e3)


def quantile_ms(samples: Seconds, quantile: float) -> float:
    """Return a quantile (0..1) of samples in seconds, in milliseconds."""
    return float(np.quantile(samples, quantile) * 1e3)


def ratio(samples: Seconds, base: Seconds, *, resamples: int = 1000, seed: int = 0) -> Ratio:
    """Return median(samples) / median(base) and its 95 % bootstrap interval over rounds.

    Args:
        samples: `(rounds,)` seconds, from the same `interleaved` call as `base`.
        base: `(rounds,)` seconds.
        resamples: Bootstrap resamples of the rounds.
        seed: Of the resampling.
    """
    picks = np.random.default_rng(seed).integers(len(base), size=(resamples, len(base)))
    ratios = np.median(samples[picks], axis=1) / np.median(base[picks], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Ratio(float(np.median(samples) / np.median(base)), float(low), float(high))
