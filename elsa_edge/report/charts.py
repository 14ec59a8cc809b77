"""The pictures of a report as SVG text without scripts: small, sharp at any width, readable offline.

Drawn by matplotlib (about 10 KB a picture; the JavaScript libraries that draw the same weigh 0.2 to 4 MB). Its colours
are replaced by the page's CSS variables, so that one picture serves light and dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from elsa_edge.errors import RuntimeUnavailableError
from elsa_edge.report.advice import pareto, quality
from elsa_edge.report.record import Record

__all__ = ["Chart", "charts"]

# Colours that stand for variables of the page; none of them is ever shown.
_INK: Final = "#010203"
_RULE: Final = "#010204"
_SERIES: Final = tuple(f"#01030{number}" for number in range(8))
_MARKERS: Final = "osD^vPX*"
_VARIABLES: Final = {_INK: "var(--ink)", _RULE: "var(--rule)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES)
}
_WIDE: Final[tuple[float, float]] = (7.2, 3.9)
_LOW: Final[tuple[float, float]] = (7.2, 2.8)


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: its title, what it says for those who do not see it, and its SVG."""

    title: str
    words: str
    svg: str


def charts(record: Record) -> list[Chart]:
    """Return the pictures for which the record has figures.

    Raises:
        RuntimeUnavailableError: When matplotlib is not installed.
    """
    drawn = [
        _trade_off(record, "p50_ms", 1.0, "ms per inference (p50)", "latency"),
        _trade_off(record, "memory_bytes", 1e6, "MB of memory", "memory"),
        _sustained(record),
        _timeline(record),
    ]
    return [chart for chart in drawn if chart is not None]


def _trade_off(record: Record, figure: str, unit: float, label: str, what: str) -> Chart | None:
    rows = [
        row for row in record.rows if getattr(row, figure) is not None and quality(record, row) is not None
    ]
    if not rows:
        return None
    points = [(getattr(row, figure) / unit, quality(record, row) or 0.0) for row in rows]
    front = pareto(points)
    good = "accuracy" if any(record.accuracy(row) is not None for row in rows) else "density"

    def draw(axis: Any) -> None:
        for number, variant in enumerate(dict.fromkeys(row.variant for row in rows)):
            own = [point for row, point in zip(rows, points, strict=True) if row.variant == variant]
            look = {"color": _SERIES[number % 8], "marker": _MARKERS[number % 8], "markersize": 7}
            axis.plot(*zip(*own, strict=True), linewidth=0.8, label=variant, **look)
        step = [points[i] for i in front]
        axis.step(
            *zip(*step, strict=True), where="post", color=_INK, linewidth=1.6, linestyle=":", label="best"
        )
        axis.set(xlabel=label, ylabel=good, xlim=(0, None))
        axis.legend(fontsize=9, frameon=False, labelcolor=_INK, loc="best")

    best = ", ".join(record.label(rows[i]) for i in front)
    return Chart(
        f"{good.capitalize()} against {what}",
        f"{good.capitalize()} against {what} of {len(rows)} measured levels. No other level is both better and cheaper "
        f"than: {best}.",
        _svg(draw, _WIDE),
    )


def _sustained(record: Record) -> Chart | None:
    if not record.sustained:
        return None
    times_s = [window.until_s for window in record.sustained]
    first, last = record.sustained[0].p50_ms, record.sustained[-1].p50_ms

    def draw(axis: Any) -> None:
        for number, percent in enumerate((50, 95)):
            values = [getattr(window, f"p{percent}_ms") for window in record.sustained]
            axis.plot(times_s, values, color=_SERIES[number], label=f"p{percent}", linewidth=1.6)
        axis.set(xlabel="seconds without a pause", ylabel="ms per inference", ylim=(0, None))
        axis.legend(fontsize=9, frameon=False, labelcolor=_INK)

    return Chart(
        "Under sustained load",
        f"{record.sustained_variant} at level {record.sustained_level}: {first:.3g} ms at first, {last:.3g} ms after "
        f"{times_s[-1]:.0f} s.",
        _svg(draw, _LOW),
    )


def _timeline(record: Record) -> Chart | None:
    if not record.runs:
        return None
    times_s = [run.at_ms / 1e3 for run in record.runs]
    late = sum(bool(run.late) for run in record.runs)
    switches = sum(a.level != b.level for a, b in zip(record.runs, record.runs[1:], strict=False))

    def draw(axis: Any) -> None:
        axis.plot(
            times_s, [run.latency_ms for run in record.runs], color=_SERIES[0], linewidth=0.8, label="latency"
        )
        if record.budget_ms:
            axis.axhline(record.budget_ms, color=_INK, linestyle=":", label="budget")
        axis.set(xlabel="seconds", ylabel="ms per inference", ylim=(0, None))
        levels = axis.twinx()
        levels.step(
            times_s, [run.level for run in record.runs], where="post", color=_SERIES[1], label="level"
        )
        levels.set(ylim=(-0.2, len(record.levels) - 0.8), yticks=range(len(record.levels)), ylabel="level")
        _plain(levels)
        handles = [*axis.get_legend_handles_labels()[0], *levels.get_legend_handles_labels()[0]]
        axis.legend(handles=handles, fontsize=9, frameon=False, labelcolor=_INK)

    return Chart(
        "What the controller did",
        f"{len(record.runs)} runs in {times_s[-1]:.0f} s, {switches} changes of level, {late} runs over the budget.",
        _svg(draw, _LOW),
    )


def _svg(draw: Callable[[Any], None], inches: tuple[float, float]) -> str:
    """Return what `draw` puts on an axis as SVG with the page's own colours and fonts."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            "A page with pictures needs matplotlib",
            fix="pip install 'elsa-edge[report]', or ask for a .md or .json",
        ) from error
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "elsa-edge", "font.family": "sans-serif"}):
        figure = Figure(figsize=inches, layout="constrained")
        figure.patch.set_visible(False)
        axis = figure.add_subplot()
        draw(axis)
        _plain(axis)
        axis.grid(color=_RULE, linewidth=0.6)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", svg)
    return re.sub("|".join(_VARIABLES), lambda found: _VARIABLES[found[0]], svg)


def _plain(axis: Any) -> None:
    """Give an axis the page's ink, and no box."""
    axis.patch.set_visible(False)
    axis.tick_params(colors=_INK, labelsize=10)
    for name, spine in axis.spines.items():
        spine.set(color=_INK, visible=name in ("left", "bottom"))
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set(color=_INK, fontsize=11)
