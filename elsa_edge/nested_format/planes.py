"""Planes: how an image lies in memory between nested operators. The kernels' twin is `PlaneLayout` in native/layout.h.

plane = lead zeros | height rows of (width values, gap zeros) | zeros up to stride      all counts in floats

The gap after one row is also the left border of the next, so every tap of a kernel is one constant distance. Lead and
stride are whole lines. A tensor of planes is (batch, channels, 1, stride). An image of one row, a signal, has no rows
of zeros above and below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LINE_FLOATS", "Planes", "whole_lines"]

LINE_FLOATS: Final = 16  # a cache line, and the longest vector


def whole_lines(floats: int) -> int:
    """Return a number of floats rounded up to whole lines."""
    return -(-floats // LINE_FLOATS) * LINE_FLOATS


@dataclass(frozen=True, slots=True)
class Planes:
    """The layout of one image: height and width of a plane, and the zeros after each row."""

    height: int
    width: int
    gap: int

    @property
    def pitch(self) -> int:
        """Floats from one row to the next."""
        return self.width + self.gap

    @property
    def rows_around(self) -> int:
        """Rows of zeros above the image, and as many below."""
        return self.gap if self.height > 1 else 0

    @property
    def reach(self) -> int:
        """Farthest distance of a tap from its position, in floats."""
        return self.rows_around * self.pitch + self.gap

    @property
    def lead(self) -> int:
        """Zeros before the first row."""
        return whole_lines(self.reach)

    @property
    def stride(self) -> int:
        """Floats of one plane."""
        return whole_lines(self.lead + whole_lines(self.height * self.pitch) + self.reach)

    @property
    def is_image(self) -> bool:
        """Whether plane and image are the same floats in the same places."""
        return self.gap == 0 and self.height * self.width == self.stride
