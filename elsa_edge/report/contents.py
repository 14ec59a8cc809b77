"""Everything that a report shows as a table, in its order; the page and Markdown show the same."""

from __future__ import annotations

from elsa_edge.report.layers import layer_tables
from elsa_edge.report.record import Record
from elsa_edge.report.tables import (
    Table,
    changes_of_level_table,
    checks_table,
    facts_table,
    levels_table,
    run_table,
)

__all__ = ["tables"]


def tables(record: Record) -> list[Table]:
    """Return all tables of a record that have rows."""
    found = [
        levels_table(record),
        run_table(record),
        changes_of_level_table(record),
        *layer_tables(record),
        checks_table(record),
        facts_table(record),
    ]
    return [table for table in found if table.rows]
