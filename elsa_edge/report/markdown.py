"""A record as Markdown, for pull requests and the terminal: the same sentence and tables as on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from elsa_edge.report.advice import advice
from elsa_edge.report.against import Change
from elsa_edge.report.contents import tables
from elsa_edge.report.record import Record
from elsa_edge.report.tables import Table, changes_table

__all__ = ["markdown"]


def markdown(record: Record, changes: Sequence[Change] = ()) -> str:
    """Return the text."""
    parts = [f"# {_cell(record.name)} on {_cell(record.device)}", f"**{_cell(advice(record))}**"]
    if record.missing:
        parts.append(
            "\n".join(f"- Not known yet: {_cell(item.what)} `{item.how}`" for item in record.missing)
        )
    if changes:
        parts.append(_table(changes_table(changes)))
    parts += [_table(table) for table in tables(record)]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [f"## {_cell(table.title)}", ""]
    if table.note:
        lines += [_cell(table.note), ""]
    lines.append(f"| {' | '.join(map(_cell, table.columns))} |")
    lines.append(f"|{'---|' * len(table.columns)}")
    for place, row in enumerate(table.rows):
        cells = [_cell(cell) for cell in row]
        if place in table.marked:
            cells[0] = f"**{cells[0]}**"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return text as Markdown shows it: names come from others' files, and may hold markup or a terminal's commands."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"([\\\\|`<])", r"\\\1", plain)
