"""`elsa-edge report`: what was measured of a bundle on a device, as one page, Markdown or JSON."""

from __future__ import annotations

from pathlib import Path

import click

from elsa_edge.cli._common import cache_option, emit, json_option, new_file, say, show
from elsa_edge.cli._progress import telling

__all__ = ["command"]


@click.command(name="report", epilog="Example: elsa-edge report bundle/ --measure -o report.html")
@click.argument(
    "sources", metavar="BUNDLE|PROFILE|RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@new_file(help="The report: .html (one self-contained page), .md or .json.")
@click.option("--measure", is_flag=True, help="Measure every variant on this machine first.")
@click.option(
    "--device", metavar="NAME_OR_YAML", help="Profile to measure with; by default the bundle's own."
)
@click.option(
    "--variant", "variants", multiple=True, metavar="NAME", help="Measure only this one; repeatable."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Time for warm inferences.",
)
@click.option(
    "--sustained",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Then run the densest level for so many seconds without a pause.",
)
@click.option(
    "--against",
    metavar="OLD",
    type=click.Path(path_type=Path),
    help="An older report (.json or .html): mark what changed by more than 5 %.",
)
@cache_option
@json_option
def command(
    *,
    sources: tuple[Path, ...],
    destination: Path,
    measure: bool,
    device: str | None,
    variants: tuple[str, ...],
    seconds: float,
    sustained: float,
    against: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Say what to ship on this device and why, with every figure behind it.

    Reads a BUNDLE, a measured PROFILE (.yaml), a recorded RUN (.csv) or an older report (.json, .html); several of one
    device go into one report. The page works offline, in light and dark, and without JavaScript.
    """
    from elsa_edge.errors import UsageError
    from elsa_edge.report.advice import advice
    from elsa_edge.report.compose import Measuring, compose, form_of, render

    form_of(destination)
    if not measure and (sustained or variants):
        raise UsageError("--sustained and --variant say what to measure", fix="Add --measure")
    with telling("measuring" if measure else "reading") as tell:
        measuring = Measuring(seconds, sustained, variants, cache, tell) if measure else None
        record = compose(sources, device, measuring)
    changes = render(record, destination, against)
    show(advice(record))
    for item in record.missing:
        show(f"Not known yet: {item.what} {item.how}")
    flagged = [change for change in changes if change.flagged]
    for change in flagged:
        show(f"Changed: {change.label} {change.figure} {change.old:g} -> {change.new:g}")
    say(f"Written to {destination}")
    emit(
        {
            "report": str(destination),
            "advice": advice(record),
            "flagged": [
                {"label": c.label, "figure": c.figure, "old": c.old, "new": c.new, "change": c.change}
                for c in flagged
            ],
            "record": record.model_dump(mode="json", exclude_none=True),
        },
        as_json=as_json,
    )
