"""Decide for each level: nested kernels, or ONNX Runtime's dense 8-bit network; and whether the file is worth shipping.

    nested          where it needs at most 0.97 of the dense 8-bit network's time, measured in turns on this machine
    not built       where no level is faster than that network, or where the file makes its dense level slower by more
                    than 3 %: `ort-int8` then does the same or better

On a device of another kind nothing can be timed, and densities decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from elsa_edge.errors import ExportError
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.levels import Ladder

__all__ = ["WORTHWHILE", "Choice", "Kind", "by_density", "by_timing", "require_worthwhile"]

# A level whose time is within 3 % of the dense 8-bit network's is not faster than it.
WORTHWHILE: Final = 0.97
_LARGEST_OVERHEAD: Final = 1.03
# Below this share of active weights our kernels are expected to win where they cannot be timed.
_DENSITY: Final = 0.4

Kind = Literal["nested", "dense"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What computes a level, who decided, and the time of nested kernels over the dense 8-bit network's."""

    kind: Kind
    by: Literal["timing", "estimate", "request"]
    time_over_dense: float | None = None


def by_density(ladder: Ladder) -> list[Choice]:
    """Return what is expected of each level."""
    densities = [1 - level.sparsity if level.density is None else level.density for level in ladder]
    return [Choice("nested" if density < _DENSITY else "dense", "estimate") for density in densities]


def by_timing(watch: Stopwatch, rival: Path, nested: Path, count: int) -> list[Choice]:
    """Return what is faster at each level.

    Args:
        watch: For timing, with one sample.
        rival: The dense 8-bit network of the densest level.
        nested: Every level with nested kernels.
        count: Levels.
    """
    ratios = [watch.over_first([rival], [nested], level)[0] for level in range(count)]
    return [
        Choice("nested" if ratio <= WORTHWHILE else "dense", "timing", round(ratio, 3)) for ratio in ratios
    ]


def require_worthwhile(choices: Sequence[Choice], watch: Stopwatch, rival: Path, made: Path) -> float | None:
    """Return the time of the finished file's densest level over the dense 8-bit network's, where that was timed.

    Raises:
        ExportError: When the file would be slower than what everybody has, at every level or at the densest one.
    """
    if choices[-1].by != "timing":
        return None
    told = ", ".join(f"{choice.time_over_dense:.2f}" for choice in choices)
    if all(choice.kind == "dense" for choice in choices):
        raise ExportError(
            "No level of nested-int8 is faster here than the dense 8-bit network",
            expected=f"at most {WORTHWHILE} of its time at some level",
            found=f"{told} of it",
            fix="Ship ort-int8, cut in 4x4 blocks, or add a sparser level",
        )
    level = len(choices) - 1
    # Timed again before a file is dropped: two sessions of one network differ by some per cent.
    overhead = min(watch.over_first([rival], [made], level)[0] for _ in range(2))
    if overhead > _LARGEST_OVERHEAD:
        raise ExportError(
            "Choosing a level costs this network too much: its densest level is slower than the plain 8-bit network",
            expected=f"at most {_LARGEST_OVERHEAD} of its time",
            found=f"{overhead:.2f} of it (levels with nested kernels: {told})",
            fix="Ship ort-int8; networks of a fraction of a millisecond gain nothing from levels",
        )
    return round(overhead, 3)
