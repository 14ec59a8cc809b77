"""Whether the finished file keeps what its choices promise: they were timed alone, in files without branches.

    nested level    dense after all, where the file is not clearly faster than the plain dense network there
    dense levels    also a plain file each, where the network is short and choosing a level costs the densest of them
                    more than 3 %: the weights of dense levels are then in memory twice

Both happen to networks of a fraction of a millisecond: looking up the level takes 5 to 20 microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from elsa_edge.exporters.nested.choose import Verdict
from elsa_edge.exporters.nested.layer_set import DENSE
from elsa_edge.exporters.nested.timing import LARGEST_OVERHEAD, Stopwatch

__all__ = ["held", "too_slow_to_choose"]

# Alone or in the file, a level that takes less than this keeps its promise.
_SURELY: Final = 0.85
_WORTHWHILE: Final = 0.97


def held(verdicts: Sequence[Verdict], watch: Stopwatch, plain: Path, made: Path) -> list[Verdict]:
    """Return the verdicts with dense levels where the file is not faster.

    Args:
        verdicts: Of each level.
        watch: For timing.
        plain: The dense network.
        made: The file with all levels.
    """
    return [_held(verdict, level, watch, plain, made) for level, verdict in enumerate(verdicts)]


def _held(verdict: Verdict, level: int, watch: Stopwatch, plain: Path, made: Path) -> Verdict:
    alone = verdict.time_over_dense
    if not verdict.choice or alone is None or alone <= _SURELY:
        return verdict
    ratio = watch.over_plain(plain, made, level, _WORTHWHILE)
    return (
        verdict if ratio <= _WORTHWHILE else replace(verdict, choice=DENSE, time_over_dense=round(ratio, 3))
    )


def too_slow_to_choose(
    verdicts: Sequence[Verdict], watch: Stopwatch, plain: Path, made: Path
) -> tuple[int, ...]:
    """Return the dense levels, where choosing one costs too much; else none."""
    dense = tuple(level for level, verdict in enumerate(verdicts) if not verdict.choice)
    if not dense or dense[-1] != len(verdicts) - 1 or not watch.is_short(plain):
        return ()
    return dense if watch.over_plain(plain, made, dense[-1]) > LARGEST_OVERHEAD else ()
