"""Compare two records of one network: what has changed by more than 5 %, and what has appeared or gone.

change = new / old - 1            accuracy: new - old, in points of a hundred
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from elsa_edge.errors import InputError
from elsa_edge.report.record import Record, Row

__all__ = ["WORTH_A_FLAG", "Change", "compare"]

WORTH_A_FLAG: Final = 0.05
_FIGURES: Final = ("p50_ms", "p95_ms", "cold_ms", "memory_bytes", "file_bytes")
_POINTS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both records.

    Attributes:
        label: Variant and level.
        figure: Its field.
        old: Before.
        new: Now.
        change: Relative to the old one; for accuracy the difference.
        flagged: Whether it is more than 5 % (accuracy: more than a point).
    """

    label: str
    figure: str
    old: float
    new: float
    change: float
    flagged: bool


def compare(new: Record, old: Record) -> list[Change]:
    """Return the changes of all figures that both records have, the flagged ones first.

    Raises:
        InputError: When the records are of different devices or have no row in common.
    """
    if new.device != old.device:
        raise InputError(
            "The two reports are of different devices",
            expected=new.device,
            found=old.device,
            fix="Compare reports of one device; different devices need a report each",
        )
    before = {old.label(row): row for row in old.rows}
    changes = []
    for row in new.rows:
        earlier = before.get(new.label(row))
        if earlier is not None:
            changes += _of_row(new, row, old, earlier)
    if not changes:
        raise InputError(
            "The two reports have nothing in common to compare",
            expected="measured levels of the same variant and name",
            found=f"{', '.join(sorted(before)) or 'no rows'} before",
        )
    return sorted(changes, key=lambda change: (not change.flagged, -abs(change.change)))


def _of_row(new: Record, row: Row, old: Record, earlier: Row) -> list[Change]:
    found = []
    for figure in _FIGURES:
        was, now = getattr(earlier, figure), getattr(row, figure)
        if was and now is not None:
            change = now / was - 1
            found.append(Change(new.label(row), figure, was, now, change, abs(change) > WORTH_A_FLAG))
    was, now = old.accuracy(earlier), new.accuracy(row)
    if was is not None and now is not None:
        found.append(Change(new.label(row), "accuracy", was, now, now - was, abs(now - was) > _POINTS))
    return found
