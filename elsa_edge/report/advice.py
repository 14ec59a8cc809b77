"""What to ship on this device, in one sentence with its reason; and which points nothing else beats.

    a fits the budget     p95_ms <= budget_ms
    a beats b             a is no worse in cost and accuracy, and better in one
    cost of a variant     geometric mean of p50_ms over its levels

The sentence is only as good as the figures: without accuracies it speaks of density, and it says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from elsa_edge.report.record import Record, Row

__all__ = ["advice", "dense_rows", "pareto", "quality"]

_SAME_SPEED: Final = 0.95
_SAME_QUALITY: Final = 0.005


def quality(record: Record, row: Row) -> float | None:
    """Return how good a row's answers are: its accuracy; its density where no row of the record has an accuracy."""
    if any(record.accuracy(other) is not None for other in record.rows):
        return record.accuracy(row)
    return record.levels[row.level].density


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which (cost, quality) points no other one beats, by rising cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def dense_rows(record: Record) -> dict[str, Row]:
    """Return for each precision the fastest measured row of a level without zeros: what sparsity must beat."""
    found: dict[str, Row] = {}
    for row in record.measured:
        if record.levels[row.level].sparsity == 0.0:
            best = found.get(row.precision)
            if best is None or _p50(row) < _p50(best):
                found[row.precision] = row
    return found


def advice(record: Record) -> str:
    """Return the sentence."""
    wrong = {check.variant for check in record.checks if check.skipped is None and not check.ok}
    rows = [row for row in record.measured if row.variant not in wrong]
    if not rows:
        if wrong:
            return f"Ship nothing yet: {_and(sorted(wrong))} computes other numbers than the canonical graph here."
        return "Nothing can be advised yet, because nothing was measured on this device."
    by_variant: dict[str, list[Row]] = {}
    for row in rows:
        by_variant.setdefault(row.variant, []).append(row)
    sentence = _for_budget(record, by_variant) if record.budget_ms else _without_budget(record, by_variant)
    if all(record.accuracy(row) is None for row in rows):
        sentence += " Accuracy is not known: measure it before you ship."
    return sentence


def _for_budget(record: Record, by_variant: dict[str, list[Row]]) -> str:
    budget_ms = record.budget_ms or math.inf
    best: dict[str, Row] = {}
    for name, rows in by_variant.items():
        fitting = [row for row in rows if _late_ms(row) <= budget_ms]
        if fitting:
            best[name] = max(fitting, key=lambda row: (_quality(record, row), -_p50(row)))
    if not best:
        fastest = min((row for rows in by_variant.values() for row in rows), key=_late_ms)
        return (
            f"Nothing meets the budget of {budget_ms:g} ms here: the fastest, {record.label(fastest)}, takes "
            f"{_late_ms(fastest):.3g} ms at p95. Raise the budget, use more threads, or cut the network further."
        )
    top = max(_quality(record, row) for row in best.values())
    equal = [name for name, row in best.items() if _quality(record, row) >= top - _SAME_QUALITY]
    chosen = min(equal, key=lambda name: _cost(by_variant[name]))
    row = best[chosen]
    return (
        f"Ship {chosen}: {record.label(row)} fits the budget of {budget_ms:g} ms with {_late_ms(row):.3g} ms at p95"
        f"{_good(record, row)}{_way_down(record, row, by_variant[chosen])}."
    )


def _without_budget(record: Record, by_variant: dict[str, list[Row]]) -> str:
    chosen = min(by_variant, key=lambda name: _cost(by_variant[name]))
    rows = sorted(by_variant[chosen], key=lambda row: row.level)
    sparsest, densest = rows[0], rows[-1]
    dense = dense_rows(record).get("float32")
    if _p50(sparsest) > _SAME_SPEED * _p50(densest):
        return (
            f"Ship {chosen}, but for its memory, not for speed: its sparsest level takes {_p50(sparsest):.3g} ms and "
            f"its densest {_p50(densest):.3g} ms, so zeros save no time on this device."
        )
    if dense is not None and _p50(dense) < _p50(sparsest):
        return (
            f"Ship the dense network ({record.label(dense)}, {_p50(dense):.3g} ms): it is faster than every sparse "
            "level measured here."
        )
    against = ""
    if dense is not None and dense.variant != chosen:
        against = f"; the dense network takes {_p50(dense):.3g} ms ({record.label(dense)})"
    return (
        f"Ship {chosen}: its levels take {_p50(sparsest):.3g} ms ({record.levels[sparsest.level].name}) to "
        f"{_p50(densest):.3g} ms ({record.levels[densest.level].name}{_good(record, densest)}){against}."
    )


def _way_down(record: Record, row: Row, rows: Sequence[Row]) -> str:
    fastest = min(rows, key=_p50)
    if fastest.level == row.level or _p50(fastest) > _SAME_SPEED * _p50(row):
        return "; its other levels are not faster here"
    return (
        f"; under pressure the controller can go down to {record.levels[fastest.level].name} "
        f"({_late_ms(fastest):.3g} ms{_good(record, fastest)})"
    )


def _good(record: Record, row: Row) -> str:
    accuracy = record.accuracy(row)
    return "" if accuracy is None else f", accuracy {accuracy:.1%}"


def _quality(record: Record, row: Row) -> float:
    found = quality(record, row)
    return 0.0 if found is None else found


def _cost(rows: Sequence[Row]) -> float:
    return math.exp(sum(math.log(max(_p50(row), 1e-9)) for row in rows) / len(rows))


def _p50(row: Row) -> float:
    assert row.p50_ms is not None  # only measured rows come here
    return row.p50_ms


def _late_ms(row: Row) -> float:
    return row.p95_ms if row.p95_ms is not None else _p50(row)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
