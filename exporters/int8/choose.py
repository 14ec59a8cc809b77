"""Decide for each level: nested kernels, ONNX Runtime's dense 8-bit network, or a mix of both by layer.

    nested, mixed   where the fastest candidate needs at most 0.97 of the dense 8-bit network's time, measured in turns
                    on this machine; mixed only where it is faster than nested everywhere
    not built       the file, where no level is faster than that network, or where it makes its dense level slower by
                    more than 3 %: `ort-int8` then does the same or better

On a device of another kind nothing can be timed, and densities decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from elsa_edge.errors import ExportError
from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.levels import Ladder

__all__ = ["WORTHWHILE", "Choice", "Kind", "by_density", "by_timing", "require_worthwhile"]

# A level whose time is within 3 % of the dense 8-bit network's is not faster than it.
WORTHWHILE: Final = 0.97
_LARGEST_OVERHEAD: Final = 1.03
# A mix that gains less than 5 % over nested kernels everywhere is not worth the dense weights that it adds to the file,
# and two sessions of one network differ by as much.
_WORTH_MIXING: Final = 0.95
# Below this share of active weights our kernels are expected to win where they cannot be timed.
_DENSITY: Final = 0.4
_DIGITS: Final = 3

Kind = Literal["nested", "mixed", "dense"]
_DENSE: Final = Mix(frozenset())


@dataclass(frozen=True, slots=True)
class Choice:
    """What computes a level, and on whose word.

    Attributes:
        mix: The layers that are nested, and what the others are.
        by: "timing" on this machine, "estimate", or "request" of the caller.
        time_over_dense: Time of the fastest candidate over the dense 8-bit network's, where it was timed.
        all_nested: Every layer nested, and its time over that network's.
    """

    mix: Mix
    by: Literal["timing", "estimate", "request"]
    time_over_dense: float | None = None
    all_nested: tuple[Mix, float] | None = None

    @property
    def kind(self) -> Kind:
        """In one word."""
        if not self.mix.nested:
            return "dense"
        return "mixed" if self.mix.others_dense8 else "nested"

    def unmixed(self) -> Choice:
        """Return the choice that was to be made without mixes."""
        if self.kind != "mixed" or self.all_nested is None:
            return self
        mix, ratio = self.all_nested
        return Choice(mix if ratio <= WORTHWHILE else _DENSE, self.by, ratio, self.all_nested)


def by_density(ladder: Ladder, every: Mix) -> list[Choice]:
    """Return what is expected of each level: `every` layer nested, or the dense network."""
    densities = [1 - level.sparsity if level.density is None else level.density for level in ladder]
    return [Choice(every if density < _DENSITY else _DENSE, "estimate") for density in densities]


def by_timing(
    watch: Stopwatch, rival: Path, files: Sequence[Path], found: Sequence[Sequence[Mix]]
) -> list[Choice]:
    """Return what is fastest at each level.

    Args:
        watch: For timing, with one sample.
        rival: The dense 8-bit network of the densest level.
        files: The first candidates of all levels, the second ones, ...
        found: The candidates of each level; the first is every layer nested.
    """
    return [
        _fastest(mixes, watch.over_first([rival], files[: len(mixes)], level))
        for level, mixes in enumerate(found)
    ]


def _fastest(mixes: Sequence[Mix], measured: Sequence[float]) -> Choice:
    # Decided by the figures that people read: a refusal never names a limit that its figure seems to hold.
    ratios = [round(ratio, _DIGITS) for ratio in measured]
    best = min(range(len(ratios)), key=ratios.__getitem__)
    if ratios[best] > _WORTH_MIXING * ratios[0]:
        best = 0
    mix = mixes[best] if ratios[best] <= WORTHWHILE else _DENSE
    return Choice(mix, "timing", ratios[best], (mixes[0], ratios[0]))


def require_worthwhile(choices: Sequence[Choice], watch: Stopwatch, rival: Path, made: Path) -> float | None:
    """Return the time of the finished file's densest level over the dense 8-bit network's, where that was timed.

    Raises:
        ExportError: When the file would be slower than what everybody has, at every level or at the densest one.
    """
    if choices[-1].by != "timing":
        return None
    told = ", ".join(f"{choice.time_over_dense:.{_DIGITS}f}" for choice in choices)
    if all(choice.kind == "dense" for choice in choices):
        raise ExportError(
            "No level of nested-int8 is faster here than the dense 8-bit network",
            expected=f"at most {WORTHWHILE} of its time at some level",
            found=f"{told} of it",
            fix="Cut in 4x4 blocks or add a sparser level; ort-int8 is that network, if its answers stay the same",
        )
    level = len(choices) - 1
    # Timed again before a file is dropped: two sessions of one network differ by some per cent.
    overhead = round(min(watch.over_first([rival], [made], level)[0] for _ in range(2)), _DIGITS)
    if overhead > _LARGEST_OVERHEAD:
        raise ExportError(
            "Choosing a level costs this network too much: its densest level is slower than the plain 8-bit network",
            expected=f"at most {_LARGEST_OVERHEAD} of its time",
            found=f"{overhead:.{_DIGITS}f} of it (levels with nested kernels: {told})",
            fix="Networks of a fraction of a millisecond gain nothing from levels; ort-int8 is the plain one, "
            "if its answers stay the same",
        )
    return overhead
