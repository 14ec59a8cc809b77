"""Decide for each level: nested kernels, ONNX Runtime's dense 8-bit network, or a mix of both by layer.

    nested, mixed   where the fastest candidate needs at most 0.97 of the dense 8-bit network's time, measured in turns
                    on this machine; mixed only where it is faster than nested everywhere
    plain           dense levels also as files of their own, where choosing a level costs them more than 3 %
    not built       the file, where no level is faster than that network: `ort-int8` then does the same

What was chosen is timed again in the finished file: networks of a fraction of a millisecond notice that it has more
than one branch, and a level that is not faster there becomes dense after all.

On a device of another kind nothing can be timed, and densities decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from elsa_edge.errors import ExportError
from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.nested.timing import LARGEST_OVERHEAD, Stopwatch
from elsa_edge.levels import Ladder

__all__ = [
    "WORTHWHILE",
    "Choice",
    "Kind",
    "by_density",
    "by_timing",
    "require_faster_level",
    "time_again",
    "where_faster",
]

# A level whose time is within 3 % of the dense 8-bit network's is not faster than it.
WORTHWHILE: Final = 0.97
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


def require_faster_level(choices: Sequence[Choice]) -> None:
    """Check that a level is faster than what everybody has.

    Raises:
        ExportError: When none is, by timing.
    """
    if any(choice.kind != "dense" or choice.by != "timing" for choice in choices):
        return
    told = ", ".join(f"{choice.time_over_dense:.{_DIGITS}f}" for choice in choices)
    raise ExportError(
        "No level of nested-int8 is faster here than the dense 8-bit network",
        expected=f"at most {WORTHWHILE} of its time at some level",
        found=f"{told} of it",
        fix="Cut in 4x4 blocks or add a sparser level; ort-int8 is that network, if its answers stay the same",
    )


def time_again(choices: Sequence[Choice], watch: Stopwatch, rival: Path, made: Path) -> list[float]:
    """Return the time of each level of the finished file over the dense 8-bit network's."""
    limits = (LARGEST_OVERHEAD if choice.kind == "dense" else WORTHWHILE for choice in choices)
    return [round(watch.over_plain(rival, made, level, limit), _DIGITS) for level, limit in enumerate(limits)]


def where_faster(choices: Sequence[Choice], ratios: Sequence[float]) -> list[Choice]:
    """Return the choices with dense levels where others were not faster in the finished file."""
    return [
        replace(choice, mix=_DENSE, time_over_dense=ratio, all_nested=None)
        if choice.kind != "dense" and ratio > WORTHWHILE
        else choice
        for choice, ratio in zip(choices, ratios, strict=True)
    ]
