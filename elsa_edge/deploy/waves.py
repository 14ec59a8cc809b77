"""Which devices come when; pure. A canary, then shares of the fleet, each after the one before did well.

waves of 200 devices at "1,10%,50%,100%":   1, 19, 80, 100
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from elsa_edge.errors import UsageError

__all__ = ["DEFAULT_WAVES", "Limit", "parse_limit", "parse_waves", "split"]

DEFAULT_WAVES: Final = "1,10%,50%,100%"
_NUMBER: Final = re.compile(r"(\d{1,6})(%?)")


@dataclass(frozen=True, slots=True)
class Limit:
    """How many devices: a number, or a share of all in percent."""

    value: int
    percent: bool

    def of(self, count: int) -> int:
        """Return how many of `count` that is; a share is rounded up, so that a canary is at least one."""
        return min(count, -(-count * self.value // 100) if self.percent else self.value)


def parse_limit(text: str) -> Limit:
    """Read "5" or "5%".

    Raises:
        UsageError: When it is neither.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or (match.group(2) and int(match.group(1)) > 100):
        raise UsageError(
            "This is not a number of devices",
            expected="a number such as 5, or a share such as 5%",
            found=text,
        )
    return Limit(int(match.group(1)), bool(match.group(2)))


def parse_waves(text: str, count: int | None = None) -> tuple[Limit, ...]:
    """Read "1,10%,100%": how many devices have it after each wave.

    Args:
        text: What to read.
        count: How many devices there are; without it the last wave must be 100%.

    Raises:
        UsageError: When a part is no number, or the last does not reach everybody.
    """
    waves = tuple(parse_limit(part) for part in text.split(","))
    if waves[-1] != Limit(100, percent=True) and (count is None or waves[-1].of(count) < count):
        raise UsageError("The last wave must reach every device", expected="...,100%", found=text)
    return waves


def split(names: Sequence[str], waves: Sequence[Limit]) -> list[list[str]]:
    """Return the devices of each wave, in order; a wave that brings none beyond the one before falls away."""
    ends = [0]
    for wave in waves:
        ends.append(max(ends[-1], wave.of(len(names))))
    return [list(names[a:b]) for a, b in pairwise(ends) if b > a]
