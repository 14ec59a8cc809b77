"""What long work tells of itself: lines for people, some of which also say which share of the work is done.

told("ort-nested: exporting", 0.25)      a plain string to whoever prints lines, a place on a bar to whoever shows one
part(tell, 0.5, 1.0)                     for the second half: what says 0.5 of itself is at 0.75 of the whole
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Tell", "Told", "part", "told"]

Tell: TypeAlias = Callable[[str], None]


class Told(str):
    """A line, and the share of the work, 0 to 1, that is done when it is told."""

    __slots__ = ("share",)
    share: float


def told(line: str, share: float) -> Told:
    """Return a line that knows how far the work is."""
    made = Told(line)
    made.share = min(max(share, 0.0), 1.0)
    return made


def part(tell: Tell, begins: float, ends: float) -> Tell:
    """Return what a part of the work tells, which lies between two shares of the whole."""

    def onward(line: str) -> None:
        tell(told(line, begins + (ends - begins) * line.share) if isinstance(line, Told) else line)

    return onward
