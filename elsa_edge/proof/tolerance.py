"""How far a variant may be from the canonical graph: by the output's own size and the network's own rounding.

    |variant - canonical|  <=  max(relative, 8 * noise) * scale          for each output, at each level

    scale   the largest finite |canonical| of that output at that level
    noise   how far the network's float32 result lies from its float64 result, divided by that scale; see
            `elsa_edge.graph.noise`

There is no floor: an output of size 1e-5 is held to 1e-9. Two float32 evaluations of one network lie within a small
multiple of its noise of each other; a wrong layer does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LARGEST_NOISE", "NOISE_MARGIN", "RELATIVE", "Tolerance"]

RELATIVE: Final = 1e-4  # sums in another order stay far below it
NOISE_MARGIN: Final = 8.0
PART_MARGIN: Final = 8.0
PART_NOISE_MARGIN: Final = 32.0
# Beyond this float32 does not compute the network any more, and nothing could be proved about it.
LARGEST_NOISE: Final = 1e-2


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The numeric contract of one output at one level.

    Attributes:
        relative: What the variant promises, relative to the output's scale.
        noise: The network's own float32 noise, relative to the same scale.
    """

    relative: float = RELATIVE
    noise: float = 0.0

    def limit(self, scale: float) -> float:
        """Return the largest difference that is allowed for an output of that scale."""
        return max(self.relative, NOISE_MARGIN * self.noise) * scale

    @property
    def divides(self) -> bool:
        """Whether parts of an output are held to their own scale: where the noise is known, and no more is promised."""
        return self.noise > 0.0 and self.relative <= RELATIVE

    def part_limit(self, part_scale: float, scale: float) -> float:
        """Return the largest difference that is allowed in a part of that scale of an output of `scale`.

        See `elsa_edge.proof.parts`.
        """
        own = self.relative * min(scale, PART_MARGIN * part_scale)
        return min(self.limit(scale), max(own, PART_NOISE_MARGIN * self.noise * scale))

    def allows(self, difference: float, scale: float) -> bool:
        """Return whether a largest difference is within the contract; NaN never is."""
        return difference <= self.limit(scale)
