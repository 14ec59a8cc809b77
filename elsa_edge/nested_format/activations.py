"""What a nested operator does to a finished sum: the codes of the attribute `activation`, and the bounds of a clip.

NONE: y    CLIP: min(max(y, low), high)    HARD_SWISH: y * min(max(y / 6 + 1/2, 0), 1)    SILU: y / (1 + exp(-y))

The kernels' twin is `Activation` in native/kernels.h; a test asks the library whether the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Activation", "ActivationKind"]


class ActivationKind(IntEnum):
    """Codes as they stand in graphs."""

    NONE = 0
    CLIP = 1
    HARD_SWISH = 2
    SILU = 3


@dataclass(frozen=True, slots=True)
class Activation:
    """What follows a sum: a kind, and the bounds of `CLIP`."""

    kind: ActivationKind = ActivationKind.NONE
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def clip(cls, low: float, high: float) -> Activation:
        """Return the activation that keeps sums between two bounds."""
        return cls(ActivationKind.CLIP, low, high)
