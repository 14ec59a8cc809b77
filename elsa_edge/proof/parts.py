"""Parts of an output by themselves: boxes in pixels must not excuse the scores that stand beside them in one tensor.

    |variant - canonical| in a slice  <=  max(relative * min(scale, 8 * slice's scale), 32 * noise * scale)

for each slice along each axis. Rounding errors follow the sums that a network makes on its way, not the number that
comes out: a logit near zero is as inexact as its neighbours. Hence the 8, and the term of the noise, which is absolute.
A part that stands still on all inputs is not proved by them, though the rest of the output is: that is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.proof.tolerance import Tolerance
from elsa_edge.tensors import is_number

__all__ = ["still_parts", "worst_part"]

Array = npt.NDArray[Any]


def _largest_along(array: Array, axis: int) -> Array:
    """Return the largest entry of each slice along an axis, (size of the axis,)."""
    return np.asarray(np.max(array, tuple(other for other in range(array.ndim) if other != axis)))


def _axes(shape: Sequence[int]) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size > 1] if 0 not in shape else []


def worst_part(
    found: Array, expected: Array, tolerance: Tolerance, scale: float
) -> tuple[float, float] | None:
    """Return difference and limit of the slice that is farthest beyond its limit; None where all are within.

    Args:
        found: An output whose numbers are finite where those of `expected` are.
        expected: What it should be; floats.
        tolerance: The contract of the whole output.
        scale: The largest finite number of `expected`.
    """
    if not tolerance.divides:
        return None
    expected = expected.astype(np.float64)
    numbers = is_number(expected)
    size = np.where(numbers, np.abs(expected), 0.0)
    with np.errstate(invalid="ignore"):
        moved = np.where(numbers, np.abs(found.astype(np.float64) - expected), 0.0)
    worst: tuple[float, float] | None = None
    for axis in _axes(expected.shape):
        differences, scales = _largest_along(moved, axis), _largest_along(size, axis)
        limits = np.array([tolerance.part_limit(float(part), scale) for part in scales])
        place = int(np.argmax(differences - limits))
        one = float(differences[place]), float(limits[place])
        if one[0] > one[1] and (worst is None or one[0] * worst[1] > worst[0] * one[1]):
            worst = one
    return worst


def still_parts(
    answers: Sequence[Mapping[str, Array]],
    others: Sequence[Sequence[Mapping[str, Array]]],
    depending: Collection[str],
) -> list[str]:
    """Return a sentence for each float output of which slices along an axis are the same for all inputs.

    Args:
        answers: Outputs at every level.
        others: Outputs at every level for other inputs; one entry an input.
        depending: Outputs that are computed from inputs.
    """
    found = []
    for name in depending:
        first = answers[0][name]
        if first.dtype.kind != "f" or not _axes(first.shape):
            continue
        moves = np.zeros(first.shape, bool)
        for level, outputs in enumerate(answers):
            for other in others:
                if other[level][name].shape != first.shape:
                    break
                moves |= is_number(outputs[name]) & (outputs[name] != other[level][name])
        stills = {axis: np.flatnonzero(~_largest_along(moves, axis)) for axis in _axes(first.shape)}
        axis = max(stills, key=lambda axis: len(stills[axis]) / first.shape[axis])
        if 0 < len(stills[axis]) < first.shape[axis]:
            where = _ranges(stills[axis])
            found.append(
                f"{name} is the same for all of these inputs in {len(stills[axis])} of {first.shape[axis]} places "
                f"along axis {axis} ({where}), so nothing is proved there"
            )
    return found


def _ranges(places: Array) -> str:
    """Return places in words: 0, 4 to 7, ... at most three of them."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    words = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join([*words[:3], "..."] if len(words) > 3 else words)
