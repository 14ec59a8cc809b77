"""Found outputs against expected ones: the worst of them, and how often the largest entry is in the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.proof.parts import worst_part
from elsa_edge.proof.tolerance import RELATIVE, Tolerance
from elsa_edge.tensors import largest_difference

__all__ = ["Comparison", "agreement", "compare", "same_answers"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How outputs compare with those that were expected.

    Attributes:
        output: The output that is nearest to its limit, or farthest beyond it.
        difference: Its largest absolute difference, or that of a part of it; infinite where shapes or NaNs differ.
        allowed: What its contract allows, for that part.
        ok: Whether every output is within its contract.
    """

    output: str
    difference: float
    allowed: float
    ok: bool

    def worse(self, other: Comparison) -> Comparison:
        """Return the one that is nearer to its limit, failing when one of them does."""
        first = self if _strain(self) >= _strain(other) else other
        return Comparison(first.output, first.difference, first.allowed, self.ok and other.ok)


def _strain(comparison: Comparison) -> float:
    if comparison.difference == 0.0:
        return 0.0
    return comparison.difference / comparison.allowed if comparison.allowed > 0.0 else float("inf")


def compare(
    found: Mapping[str, Array], expected: Mapping[str, Array], tolerance_of: Callable[[str], Tolerance]
) -> Comparison:
    """Compare every expected output with what was found, as a whole and in parts; both have the same names."""
    worst: Comparison | None = None
    for name, array in expected.items():
        difference, scale = largest_difference(found[name], array)
        tolerance = tolerance_of(name)
        allowed = tolerance.limit(scale)
        if array.dtype.kind in "iub" and tolerance.relative <= RELATIVE:
            allowed = 0.0  # a token or a place is right or wrong, however large the vocabulary
        part = None
        if array.dtype.kind == "f" and difference <= allowed:
            part = worst_part(found[name], array, tolerance, scale)
        one = (
            Comparison(name, difference, allowed, difference <= allowed)
            if part is None
            else Comparison(name, *part, ok=False)
        )
        worst = one if worst is None else worst.worse(one)
    assert worst is not None  # a network has an output
    return worst


def agreement(
    found: Mapping[str, Array], expected: Mapping[str, Array], axes: Mapping[str, int]
) -> float | None:
    """Return the share of places whose largest entry along the classes is the same, over all outputs together.

    Args:
        found: Outputs.
        expected: The outputs they should be.
        axes: Output name -> axis of its classes; an output without one does not count.
    """
    same, total = same_answers(found, expected, axes)
    return same / total if total else None


def same_answers(
    found: Mapping[str, Array], expected: Mapping[str, Array], axes: Mapping[str, int]
) -> tuple[int, int]:
    """Return at how many places the largest entry along the classes is the same, and of how many; see `agreement`."""
    same = total = 0
    for name, array in expected.items():
        axis = axes.get(name)
        if axis is None or array.ndim <= axis or array.shape[axis] < 2 or not array.size:
            continue
        if found[name].shape != array.shape:
            continue
        places = np.argmax(found[name], axis) == np.argmax(array, axis)
        same, total = same + int(np.count_nonzero(places)), total + places.size
    return same, total
