"""Ways to choose a level that the controller is compared with: one level for ever, and two simple feedback rules."""

from __future__ import annotations

from collections.abc import Sequence

from elsa_edge.control import Observation

__all__ = ["EwmaTable", "EwmaThreshold", "Static"]

_SMOOTHING = 0.2


class Static:
    """One level for ever."""

    def __init__(self, level: int) -> None:
        self.level = level

    def observe(self, _: Observation, /) -> None:
        """Learn nothing."""


class EwmaThreshold:
    """Smooth the latency; step down above 90 % of the budget, step up below 60 %. The usual first attempt."""

    def __init__(self, levels: int, budget_ms: float) -> None:
        self.level = levels - 1
        self._levels, self._budget_ms = levels, budget_ms
        self._smooth_ms: float | None = None

    def observe(self, observation: Observation, /) -> None:
        """Smooth, compare, move by one level."""
        latency = observation.latency_ms or 0.0
        before = latency if self._smooth_ms is None else self._smooth_ms
        self._smooth_ms = before + _SMOOTHING * (latency - before)
        if self._smooth_ms > 0.9 * self._budget_ms and self.level > 0:
            self.level, self._smooth_ms = self.level - 1, None
        elif self._smooth_ms < 0.6 * self._budget_ms and self.level < self._levels - 1:
            self.level, self._smooth_ms = self.level + 1, None


class EwmaTable:
    """Smooth the slow-down against the measured table; take the densest level whose median then fits."""

    def __init__(self, reference_ms: Sequence[float], budget_ms: float) -> None:
        self._reference_ms, self._budget_ms = reference_ms, budget_ms
        self._slowdown = 1.0
        self.level = self._best()

    def observe(self, observation: Observation, /) -> None:
        """Smooth and look the level up."""
        if observation.latency_ms is not None and observation.level is not None:
            seen = observation.latency_ms / self._reference_ms[observation.level]
            self._slowdown += _SMOOTHING * (seen - self._slowdown)
        self.level = self._best()

    def _best(self) -> int:
        fitting = [
            k
            for k, reference in enumerate(self._reference_ms)
            if reference * self._slowdown <= self._budget_ms
        ]
        return max(fitting, default=0)
