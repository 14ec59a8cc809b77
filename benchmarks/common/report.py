"""How a result is told: tables for people on stderr, one JSON object for machines."""

from __future__ import annotations

import json
from typing import Final

from benchmarks.common.claims import Result, Row

__all__ = ["report_text", "show"]

_WIDTH: Final = 240


def show(name: str, result: Result) -> None:
    """Print rows and claims as tables on stderr."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=_WIDTH)  # a file can be scrolled sideways
    kinds: dict[tuple[str, ...], list[Row]] = {}  # rows that say the same things share a table
    for row in result.rows:
        kinds.setdefault(tuple(row), []).append(row)
    for columns, rows in kinds.items():
        table = Table(*columns, title=f"benchmarks.{name}")
        for row in rows:
            table.add_row(*(f"{v:.4g}" if isinstance(v := row[c], float) else str(v) for c in columns))
        console.print(table)
    claims = Table("holds", "measured", "target", "claim", title="claims")
    for claim in result.claims:
        measured = "not measured" if claim.measured is None else f"{claim.measured:.4g}"
        claims.add_row("yes" if claim.holds else "NO", measured, f"{claim.target:.4g}", claim.claim)
    console.print(claims)


def report_text(name: str, result: Result, facts: Row) -> str:
    """Return a result as the JSON that `--json` prints and that lies in benchmarks/results."""
    claims = [
        {"claim": c.claim, "target": c.target, "measured": c.measured, "holds": c.holds}
        for c in result.claims
    ]
    report = {"benchmark": name, "context": facts, "rows": list(result.rows), "claims": claims}
    return json.dumps(report, indent=2, allow_nan=False) + "\n"
