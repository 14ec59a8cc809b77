"""What a repair keeps account of: its time, what was seen at each look, how each level ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Clock", "LevelResult", "Look"]


@dataclass
class Clock:
    """The time that a repair may take, over interruptions.

    Attributes:
        limit_s: None without a limit.
        spent_s: In runs before this one.
        now: A clock in seconds.
    """

    limit_s: float | None
    spent_s: float = 0.0
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began = self.now()

    @property
    def elapsed_s(self) -> float:
        """Seconds spent so far, all runs together."""
        return self.spent_s + self.now() - self._began

    @property
    def left_s(self) -> float:
        """Seconds left; infinite without a limit."""
        return math.inf if self.limit_s is None else self.limit_s - self.elapsed_s


@dataclass(frozen=True)
class Look:
    """One look at the held-out inputs: how near the level is to the dense network.

    Attributes:
        agreement: In [0, 1].
        loss: What is minimised.
    """

    agreement: float
    loss: float

    def better_than(self, other: Look) -> bool:
        """Whether it agrees more, or as much at a lower loss."""
        return (self.agreement, -self.loss) > (other.agreement, -other.loss)


@dataclass
class LevelResult:
    """How a level was repaired.

    Attributes:
        cut: Agreement as it was cut.
        started: With BatchNorm statistics of its own.
        repaired: In the end.
        steps: Optimiser steps done.
        why: Why it ended: `steps`, `no gain`, `time` or `NaN`.
        from_tuning: Whether what was kept comes from tuning.
    """

    cut: float
    started: float
    repaired: float
    steps: int
    why: str
    from_tuning: bool
