"""The tables of a report as plain text cells, the same for the page and for Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from elsa_edge.report.advice import dense_rows
from elsa_edge.report.against import Change
from elsa_edge.report.record import Check, LevelFact, Record

__all__ = [
    "Shade",
    "Table",
    "changes_of_level_table",
    "changes_table",
    "checks_table",
    "facts_table",
    "levels_table",
    "number",
    "percent",
    "run_table",
]


_LEVEL_COLUMNS: Final = (
    "level",
    "density",
    "p50",
    "p90",
    "p95",
    "p99",
    "first",
    "cold",
    "switch",
    "memory MB",
    "weights MB",
    "files MB",
    "accuracy",
)


# Changes of level that are shown one by one.
_MOST_CHANGES: Final = 20


@dataclass(frozen=True, slots=True)
class Shade:
    """How dark a cell is, 0 to 1, in which tone: `cool` or `warm`."""

    tone: str
    share: float


@dataclass(frozen=True, slots=True)
class Table:
    """A table: title, what a reader must know of it, columns, rows; marked rows, and shades by (row, column)."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()
    shades: Mapping[tuple[int, int], Shade] = field(default_factory=dict)


def number(value: float | None, unit: str = "") -> str:
    """Return three significant digits, never in powers of ten; a dash for what is not known."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}{unit}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 4)}f}{unit}"


def levels_table(record: Record) -> Table:
    """Return one row per level of each variant, the fastest dense rows marked."""
    dense = dense_rows(record)
    marked = {(row.variant, row.level): name for name, row in dense.items()}
    reference = dense.get("float32")
    base = None if reference is None else record.accuracy(reference)
    rows = []
    for row in record.rows:
        level = record.levels[row.level]
        name = marked.get((row.variant, row.level))
        rows.append(
            (
                f"{row.variant} · {level.name}" + (f" (dense {name})" if name else ""),
                percent(level.density),
                number(row.p50_ms),
                number(row.p90_ms),
                number(row.p95_ms),
                number(row.p99_ms),
                number(row.first_ms),
                number(row.cold_ms),
                number(row.switch_ms),
                _mb(row.memory_bytes),
                _mb(row.weight_bytes),
                _mb(row.file_bytes),
                _accuracy(record.accuracy(row), level, base),
            )
        )
    return Table(
        "Every level of every variant",
        "Times in ms per inference of one sample: p50 to p99 warm; first from opening the variant in a new process to "
        "its first answer; cold that first inference alone; switch what changing to the level costs. Memory is what "
        "loading and running added to a process; weights are what the level reads; files are the whole variant."
        + _about_accuracy(record),
        _LEVEL_COLUMNS,
        tuple(rows),
        frozenset(place for place, row in enumerate(record.rows) if (row.variant, row.level) in marked),
    )


def changes_of_level_table(record: Record) -> Table:
    """Return why the controller changed the level in the recorded run: the decision stands in the run before."""
    told = []
    for before, after in zip(record.runs, record.runs[1:], strict=False):
        if before.level != after.level:
            names = f"{record.levels[before.level].name} → {record.levels[after.level].name}"
            told.append((names, before.reason or "-", before.at_ms, before.latency_ms, before.available_mb))
    reasons = Counter(reason for _, reason, *_ in told)
    often = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    left = len(told) - _MOST_CHANGES
    more = f" The first {_MOST_CHANGES} of {len(told)} stand here." if left > 0 else ""
    return Table(
        "Why the level changed",
        f"In the recorded run: {often}.{more}",
        ("change", "reason", "after s", "latency ms", "free MB"),
        tuple(
            (names, reason, number(at_ms / 1e3), number(latency_ms), number(free_mb))
            for names, reason, at_ms, latency_ms, free_mb in told[:_MOST_CHANGES]
        ),
    )


def run_table(record: Record) -> Table:
    """Return how often and how fast each level ran in the recorded run."""
    rows = []
    for number_of, level in enumerate(record.levels):
        runs = [run for run in record.runs if run.level == number_of]
        if runs:
            times_ms = sorted(run.latency_ms for run in runs)
            late = [run.late for run in runs if run.late is not None]
            rows.append(
                (
                    level.name,
                    percent(len(runs) / len(record.runs)),
                    *(number(_rank(times_ms, share)) for share in (0.5, 0.95, 0.99)),
                    percent(sum(late) / len(late)) if late else "-",
                )
            )
    return Table(
        "The recorded run",
        f"Of {len(record.runs)} runs, in ms as they happened; late: over the budget.",
        ("level", "share of runs", "p50", "p95", "p99", "late"),
        tuple(rows),
    )


def _rank(ordered: Sequence[float], share: float) -> float:
    """Return the value that a share of the others does not exceed."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def checks_table(record: Record) -> Table:
    """Return how each level compares with the golden outputs."""
    return Table(
        "Do the numbers hold here?",
        "Largest difference from the canonical graph on the golden inputs of the bundle, and what the contract allows.",
        ("level", "difference", "allowed", "same answer", "result"),
        tuple(
            (
                check.variant + ("" if check.level is None else f" · {record.levels[check.level].name}"),
                "-" if check.max_difference is None else f"{check.max_difference:.2g}",
                "-" if check.allowed is None else f"{check.allowed:.2g}",
                "-" if check.agreement is None else f"{check.agreement:.1%}",
                _result(check),
            )
            for check in record.checks
        ),
        frozenset(place for place, check in enumerate(record.checks) if not check.ok),
    )


def facts_table(record: Record) -> Table:
    """Return conditions and provenance, one fact per row."""
    facts = [("bundle", record.bundle or "-"), ("made", record.made_utc)]
    facts += _flat(record.conditions) + _flat(record.provenance)
    return Table("Conditions and provenance", "", ("fact", "value"), tuple(facts))


def changes_table(changes: Sequence[Change]) -> Table:
    """Return what changed against an older report; flagged rows are marked."""
    return Table(
        "Against the older report",
        ("Marked: changed" if any(change.flagged for change in changes) else "Nothing changed")
        + " by more than 5 % (accuracy: by more than a point).",
        ("level", "figure", "before", "now", "change"),
        tuple(
            (
                change.label,
                change.figure,
                number(change.old),
                number(change.new),
                f"{change.change * 100:+.1f} {'points' if change.figure == 'accuracy' else '%'}",
            )
            for change in changes
        ),
        frozenset(place for place, change in enumerate(changes) if change.flagged),
    )


def _about_accuracy(record: Record) -> str:
    """Return how accuracies are to be read, where there are any."""
    if all(record.accuracy(row) is None for row in record.rows):
        return ""
    samples = sorted({level.accuracy_samples for level in record.levels if level.accuracy_samples})
    many = f"{samples[0]} to {samples[-1]}" if len(samples) > 1 else f"{samples[0]}" if samples else ""
    over = f" over {many} samples, ± its 95 % interval" if many else ""
    return f" Accuracy is{over or ' as the ladder says'}; in brackets the points beside the dense level."


def percent(share: float | None) -> str:
    """Return a share as three digits of a hundred; a dash for what is not known."""
    return "-" if share is None else f"{share * 100:.3g} %"


def _mb(size: int | None) -> str:
    return number(None if size is None else size / 1e6)


def _accuracy(found: float | None, level: LevelFact, base: float | None) -> str:
    if found is None:
        return "-"
    text = f"{found:.1%}"
    if level.accuracy_low is not None and level.accuracy_high is not None:
        text += f" ±{50 * (level.accuracy_high - level.accuracy_low):.1f}"
    elif level.accuracy_samples:
        # Half of the 95 % interval of a share, by the normal approximation.
        text += f" ±{196 * math.sqrt(found * (1 - found) / level.accuracy_samples):.1f}"
    if base is not None and abs(found - base) > 5e-5:
        text += f" [{(found - base) * 100:+.1f}]"
    return text


def _result(check: Check) -> str:
    if check.skipped is not None:
        return f"not run: {check.skipped}"
    return "holds" if check.ok else "DOES NOT HOLD"


def _flat(facts: object, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(facts, dict):
        return [row for key, value in facts.items() for row in _flat(value, f"{prefix}{key} ")]
    if facts is None or facts in ([], ""):
        return []
    return [(prefix.strip(), str(facts)[:200])]
