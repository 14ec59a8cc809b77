"""Ways to choose a level that the controller is compared with.

Static         one level for ever
EwmaThreshold  smooth the latency, step down above and up below a share of the budget
EwmaTable      smooth the slow-down, look the densest fitting level up
Aimd           up by a part of a level for each run in time, half way down for a late one
Pid            a PID rule on the budget's unused share
Alert          a Kalman filter on the slow-down; the level of the highest expected accuracy (USENIX ATC 2020)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from elsa_edge.control import Observation

__all__ = ["Aimd", "Alert", "EwmaTable", "EwmaThreshold", "Pid", "Static"]

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


class Aimd:
    """Additive increase, multiplicative decrease, as congestion control has it."""

    def __init__(self, levels: int, budget_ms: float) -> None:
        self.level = levels - 1
        self._top, self._budget_ms = levels - 1, budget_ms
        self._height = float(levels - 1)

    def observe(self, observation: Observation, /) -> None:
        """Climb a twentieth of a level for each run in time; fall to half the height at a late one."""
        late = (observation.latency_ms or 0.0) > self._budget_ms
        self._height = self._height / 2 if late else min(float(self._top), self._height + 0.05)
        self.level = int(self._height)


class Pid:
    """Steer the height on the ladder by the share of the budget that a run left unused."""

    _AIM = 0.25  # of the budget shall stay unused
    _GAINS = (4.0, 0.1, 0.0)

    def __init__(self, levels: int, budget_ms: float) -> None:
        self.level = levels - 1
        self._top, self._budget_ms = levels - 1, budget_ms
        self._sum, self._last = float(levels - 1) / self._GAINS[1], 0.0

    def observe(self, observation: Observation, /) -> None:
        """Add up the three parts, with the sum held to the ladder against wind-up."""
        proportional, integral, derivative = self._GAINS
        error = 1.0 - (observation.latency_ms or 0.0) / self._budget_ms - self._AIM
        error = max(-2.0, error)
        self._sum = max(0.0, min(self._top / integral, self._sum + error))
        height = integral * self._sum + proportional * error + derivative * (error - self._last)
        self._last = error
        self.level = max(0, min(self._top, round(height)))


class Alert:
    """One slow-down for all levels by a Kalman filter, its spread beside it; the highest expected accuracy wins.

    Expected accuracy of a level = accuracy x P(reference x slow-down <= budget), the slow-down being normal.
    """

    _NORMAL = NormalDist()

    def __init__(self, reference_ms: Sequence[float], accuracy: Sequence[float], budget_ms: float) -> None:
        self._reference_ms, self._accuracy, self._budget_ms = reference_ms, accuracy, budget_ms
        self._mean, self._variance, self._gain, self._noise = 1.0, 0.01, 0.5, 0.1
        self.level = self._best()

    def observe(self, observation: Observation, /) -> None:
        """Filter the slow-down with the paper's adaptive gain, then look for the best level."""
        if observation.latency_ms is not None and observation.level is not None:
            error = observation.latency_ms / self._reference_ms[observation.level] - self._mean
            # Process noise follows the errors: 0.3 of what was, the rest of what the last correction was.
            self._noise = max(0.1, 0.3 * self._noise + 0.7 * (self._gain * error) ** 2)
            self._gain = ((1.0 - self._gain) * self._variance + self._noise) / (
                (1.0 - self._gain) * self._variance + self._noise + 1e-3
            )
            self._variance = 0.9 * self._variance + 0.1 * error * error
            self._mean += self._gain * error
        self.level = self._best()

    def _best(self) -> int:
        spread = math.sqrt(max(self._variance, 1e-6))
        expected = [
            accuracy * self._NORMAL.cdf((self._budget_ms / reference - self._mean) / spread)
            for reference, accuracy in zip(self._reference_ms, self._accuracy, strict=True)
        ]
        return max(range(len(expected)), key=lambda k: (expected[k], -k))
