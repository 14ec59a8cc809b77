"""Taking turns: who is timed next, and for how long, so that a slow minute of the machine hits everybody alike.

turn 0: 0 1 2      turn 1: 1 0 2      turn 2: 2 0 1      turn 3: 0 2 1  ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

__all__ = ["order", "rounds"]


def rounds(
    seconds: float, *, fewest: int, most: int, clock_s: Callable[[], float] = time.monotonic
) -> Iterator[int]:
    """Yield the numbers of rounds, until the time is up.

    Args:
        seconds: Time for all rounds together.
        fewest: Rounds that are taken even where they need more time.
        most: Rounds that are enough.
        clock_s: Seconds.
    """
    ends_s = clock_s() + seconds
    for number in range(most):
        if number >= fewest and clock_s() >= ends_s:
            return
        yield number


def order(count: int, turn: int) -> list[int]:
    """Return who comes when in a turn: each turn starts one place further and runs in the other direction.

    Over `2 * count` turns everybody has been first twice, and has come after each neighbour.
    """
    step = 1 if turn % 2 == 0 else -1
    return [(place * step + turn) % count for place in range(count)]
