"""Which neighbouring levels one branch can serve: their networks differ in nothing but what the branch looks up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.nested.networks import array_of

__all__ = ["same_outside", "spans_of"]

Array = npt.NDArray[Any]


def spans_of(levels: Sequence[int], alike: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    """Return (first, last) of each run of neighbours that are alike.

    Args:
        levels: Rising numbers; only those that follow each other can share a branch.
        alike: Whether a level can share the branch of the one before it.
    """
    spans: list[tuple[int, int]] = []
    for level in levels:
        if spans and spans[-1][1] == level - 1 and alike(level - 1, level):
            spans[-1] = (spans[-1][0], level)
        else:
            spans.append((level, level))
    return spans


def same_outside(first: ir.Model, second: ir.Model, inside: Collection[int]) -> bool:
    """Tell whether two networks of the same nodes agree in every constant, except at the positions `inside`."""
    return all(
        _same(array_of(left), array_of(right))
        for position, (one, other) in enumerate(zip(first.graph, second.graph, strict=True))
        if position not in inside
        for left, right in zip(one.inputs, other.inputs, strict=True)
    )


def _same(x: Array | None, y: Array | None) -> bool:
    if x is None or y is None:
        return x is y
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
