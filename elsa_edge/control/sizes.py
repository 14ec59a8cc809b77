"""One controller per size of the inputs: a larger batch or image is another reference, not a slower device.

    reference(size) = reference * elements(size) / elements(first size), on a scale that its own first runs set

The size that comes first is the one that the measured table stands for. What is learned at one size says nothing about
another, and when a size comes back, so does what was known about it; of sizes beyond the latest few nothing is kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from elsa_edge.control.controller import Controller
from elsa_edge.control.plan import Plan

__all__ = ["Sizes"]

_KEPT: Final = 8
_NO_SCALE_VARIANCE: Final = 25.0  # the ratio of elements is a guess: anything from microseconds to minutes

Key = tuple[tuple[int, ...], ...]


class Sizes:
    """Controllers of one session, by the shapes of its inputs.

    Args:
        first: The controller of the first size.
    """

    def __init__(self, first: Controller) -> None:
        self._first = first
        self._elements: int | None = None
        self._latest: Key | None = None
        self._known: OrderedDict[Key, Controller] = OrderedDict()

    def at(self, inputs: Mapping[str, Any], now_ms: float, available_bytes: float | None) -> Controller:
        """Return the controller for these inputs.

        Args:
            inputs: Input name -> array; what has no shape counts as one size.
            now_ms: The session's clock.
            available_bytes: Free memory, for a size that is new.
        """
        key: Key = tuple([getattr(array, "shape", ()) for array in inputs.values()])
        if key == self._latest:
            return self._known[key]
        self._latest = key
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        elements = max(1, sum(map(math.prod, key)))
        if self._elements is None:
            self._elements, controller = elements, self._first
        else:
            plan = _rescaled(self._first.plan, elements / self._elements)
            controller = Controller(plan, now_ms=now_ms, available_bytes=available_bytes)
        self._known[key] = controller
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return controller


def _rescaled(plan: Plan, ratio: float) -> Plan:
    return replace(
        plan,
        reference_log_ms=tuple(value + math.log(ratio) for value in plan.reference_log_ms),
        shared_variance=_NO_SCALE_VARIANCE,
    )
