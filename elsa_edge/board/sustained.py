"""Minutes of work: does the board keep its speed, or does heat take it?

Slices of some seconds; in each the base and our densest level run in turns. A board that is throttled in the middle
shows it as slices that take longer, a lower clock, or the firmware's own words: all three are looked at.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elsa_edge.board.conditions import Reading, flags_of, read

__all__ = ["Slice", "keep_running", "slower_by", "sustained_json"]

_SLICE_S: Final = 5.0
_ENDS: Final = 6  # slices at each end that are compared
_SLOWER: Final = 0.05


@dataclass(frozen=True, slots=True)
class Slice:
    """Some seconds: when they ended, the median of each engine, and what the board said then."""

    after_s: float
    p50_ms: tuple[float, ...]
    reading: Reading


def keep_running(
    runs: Sequence[Callable[[], Any]],
    seconds: float,
    tell: Callable[[float], None],
    *,
    slice_s: float = _SLICE_S,
    root: Path = Path("/"),
) -> list[Slice]:
    """Run engines in turns for so long; return a slice for every few seconds. `tell` hears the share that is done."""
    began = time.monotonic()
    slices: list[Slice] = []
    while not slices or slices[-1].after_s < seconds:
        ends = time.monotonic() + min(slice_s, seconds)
        times: list[list[float]] = [[] for _ in runs]
        while not times[0] or time.monotonic() < ends:
            for run, found in zip(runs, times, strict=True):
                at = time.perf_counter()
                run()
                found.append((time.perf_counter() - at) * 1e3)
        after_s = time.monotonic() - began
        slices.append(Slice(after_s, tuple(map(statistics.median, times)), read(root)))
        tell(min(1.0, after_s / max(seconds, slice_s)))
    return slices


def slower_by(slices: Sequence[Slice]) -> float:
    """Return how much longer a run takes in the last slices than in the first ones, of the engine where it is most."""
    few = max(1, min(_ENDS, len(slices) // 2))
    if len(slices) < 2:
        return 0.0
    first, last = slices[:few], slices[-few:]
    engines = range(len(slices[0].p50_ms))
    return max(
        statistics.median(s.p50_ms[k] for s in last) / statistics.median(s.p50_ms[k] for s in first) - 1.0
        for k in engines
    )


def sustained_json(network: str, engines: Sequence[str], slices: Sequence[Slice]) -> dict[str, Any]:
    """Return JSON values with what makes the board's speed doubtful."""
    slower = slower_by(slices)
    flags = flags_of([one.reading for one in slices])
    if slower > _SLOWER:
        flags.append(f"runs took {slower:.0%} longer at the end than at the beginning")
    return {
        "network": network,
        "engines": list(engines),
        "seconds": round(slices[-1].after_s, 1),
        "slower_by": round(slower, 4),
        "flags": flags,
        "slices": [
            {"after_s": round(one.after_s, 1), "p50_ms": [round(v, 4) for v in one.p50_ms], **one.reading.as_json()}
            for one in slices
        ],
    }  # fmt: skip
