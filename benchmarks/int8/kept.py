"""Rows of earlier runs that a run of parts leaves alone: of this processor only, since one context tells it."""

from __future__ import annotations

import json

from benchmarks.common import RESULTS, Row, context

__all__ = ["cpu", "rows_kept"]


def cpu() -> str:
    """Return the processor as results name it."""
    return str(context()["cpu"])


def rows_kept(name: str, keys: tuple[str, ...], measured: list[Row]) -> list[Row]:
    """Return the rows in a results file that were not measured again.

    Args:
        name: Of the benchmark.
        keys: What tells the parts of a benchmark apart.
        measured: The new rows.
    """
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return []
    new = {tuple(row[key] for key in keys) for row in measured}
    old: list[Row] = json.loads(path.read_text())["rows"]
    return [row for row in old if row.get("cpu") == cpu() and tuple(row[key] for key in keys) not in new]
