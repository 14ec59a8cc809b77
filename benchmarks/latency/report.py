"""Results of latency as files: rows of earlier runs kept for what was not measured again, a CSV and a plot."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Row
from elsa_edge.files import write_bytes

__all__ = ["merge", "read_rows", "write_csv", "write_plot"]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a result file; none where there is no file."""
    if not path.is_file():
        return []
    rows: list[Row] = json.loads(path.read_text())["rows"]
    return rows


def merge(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Return new rows and those old ones whose network and pattern were not measured again.

    Rows without a network (single layers) are replaced as soon as new ones are there.
    """
    again = {(row.get("network"), row.get("granularity")) for row in new}
    return [row for row in old if (row.get("network"), row.get("granularity")) not in again] + list(new)


def _timed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "median_ms" in row and "sparsity" in row]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the timed rows."""
    timed = _timed(rows)
    columns = list(dict.fromkeys(column for row in timed for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(timed)
    write_bytes(path, text.getvalue().encode())


def write_plot(rows: Sequence[Row], path: Path) -> bool:
    """Draw latency against density on one thread, one line per engine.

    Returns:
        False where matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    timed = [row for row in _timed(rows) if row["threads"] == 1]
    networks = sorted({row["network"] for row in timed})
    patterns = [
        name for name in ("unstructured", "block", "channel") if any(r["granularity"] == name for r in timed)
    ]
    engines = list(dict.fromkeys(row["engine"] for row in timed))
    colours = {engine: plt.get_cmap("tab20")(number % 20) for number, engine in enumerate(engines)}
    size = (4.2 * len(patterns), 2.9 * len(networks))
    figure, axes = plt.subplots(len(networks), len(patterns), figsize=size, squeeze=False)
    for line, network in zip(axes, networks, strict=True):
        for axis, pattern in zip(line, patterns, strict=True):
            here = [row for row in timed if (row["network"], row["granularity"]) == (network, pattern)]
            _draw(axis, here, colours)
            axis.set(title=f"{network}, {pattern}", xlabel="density", ylabel="ms", ylim=(0, None))
            axis.set_visible(bool(here))
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncol=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.9 / size[1], 1, 1))  # inches for the legend
    figure.savefig(path, dpi=80)
    plt.close(figure)
    return True


def _draw(axis: Any, rows: Sequence[Row], colours: dict[str, Any]) -> None:
    for engine in dict.fromkeys(row["engine"] for row in rows):
        points = sorted((1 - row["sparsity"], row["median_ms"]) for row in rows if row["engine"] == engine)
        if len(points) == 1:  # the zeros do not matter to it
            axis.axhline(points[0][1], linestyle="--", color=colours[engine], label=engine)
        else:
            axis.plot(*zip(*points, strict=True), marker="o", color=colours[engine], label=engine)
