"""What a benchmark tells: rows of figures, and claims with a target that these figures meet or miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Claim", "Result", "Row", "at_least", "at_most"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure to reach, and what was measured.

    Attributes:
        claim: The sentence, with its condition.
        target: The figure to reach.
        measured: What was reached; None when it could not be measured here.
        holds: Whether the target is met. A claim that could not be measured does not hold.
    """

    claim: str
    target: float
    measured: float | None
    holds: bool


def at_most(claim: str, target: float, measured: float | None) -> Claim:
    """Return the claim that `measured` does not exceed `target`."""
    return Claim(claim, target, measured, measured is not None and measured <= target)


def at_least(claim: str, target: float, measured: float | None) -> Claim:
    """Return the claim that `measured` reaches `target`."""
    return Claim(claim, target, measured, measured is not None and measured >= target)


@dataclass(frozen=True)
class Result:
    """What a benchmark found: any JSON rows, and its claims."""

    rows: Sequence[Row]
    claims: Sequence[Claim] = field(default_factory=tuple)
