"""A record as one HTML page that holds everything it shows: no script runs, no request leaves it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from elsa_edge.errors import RuntimeUnavailableError
from elsa_edge.report.advice import advice
from elsa_edge.report.against import Change
from elsa_edge.report.charts import Chart, charts
from elsa_edge.report.contents import tables
from elsa_edge.report.record import Record
from elsa_edge.report.tables import changes_table

__all__ = ["page"]

_DIGITS: Final = 7


def page(record: Record, changes: Sequence[Change] = ()) -> str:
    """Return the page.

    Args:
        record: What it shows.
        changes: Against an older report.

    Raises:
        RuntimeUnavailableError: When the packages that draw are not installed.
    """
    try:
        from jinja2 import Environment
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            "A page needs Jinja2", fix="pip install 'elsa-edge[report]', or ask for a .md or .json"
        ) from error
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    )

    def picture(chart: Chart) -> dict[str, object]:
        named = str(Markup('<svg role="img" aria-label="{}" ').format(chart.words))
        # Our own drawing: its labels were escaped by matplotlib.
        svg = Markup(chart.svg.replace("<svg ", named, 1))  # noqa: S704
        return {"title": chart.title, "words": chart.words, "svg": svg}

    # Inside a script element only `<` could end it early.
    carried = Markup(_carried(record).replace("<", "\\u003c"))  # noqa: S704
    return template.render(
        record=record,
        advice=advice(record),
        changes=changes_table(changes) if changes else None,
        charts=[picture(chart) for chart in charts(record)],
        tables=tables(record),
        json=carried,
    )


def _carried(record: Record) -> str:
    """Return the record as JSON, with as many digits of each figure as a comparison needs: half of the size."""
    return json.dumps(
        _shortened(record.model_dump(mode="json", exclude_none=True)),
        allow_nan=False,
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _shortened(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list) else value
