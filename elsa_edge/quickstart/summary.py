"""The quickstart's report: what was measured on the way, as the page that `elsa-edge report` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elsa_edge.bundle import open_bundle
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.report.compose import render
from elsa_edge.report.gather import from_bundle, what_is_missing, with_measured
from elsa_edge.report.record import Run
from elsa_edge.report.runs import thinned

__all__ = ["write_report"]


def write_report(
    out: Path, profile: DeviceProfile, accuracies: Sequence[float], runs: Sequence[Run], samples: int
) -> Path:
    """Write `report.html` and return its path.

    Args:
        out: The quickstart's folder, with the bundle in it.
        profile: The device profile with the measured table.
        accuracies: One per level, of the bundle on the test images.
        runs: What the controller did.
        samples: Number of test images.
    """
    record = with_measured(from_bundle(open_bundle(out / "bundle"), profile), profile)
    levels = tuple(
        level.model_copy(
            update={
                "accuracy": accuracy,
                "accuracy_samples": samples,
                "accuracy_low": None,
                "accuracy_high": None,
            }
        )
        for level, accuracy in zip(record.levels, accuracies, strict=True)
    )
    # The ladder's accuracies are torch's, and rows carry them from the profile: these are the bundle's own.
    rows = tuple(row.model_copy(update={"accuracy": None}) for row in record.rows)
    record = record.model_copy(update={"levels": levels, "rows": rows, "runs": thinned(runs)})
    missing = what_is_missing(record, str(out / "bundle"))
    destination = out / "report.html"
    render(record.model_copy(update={"missing": missing}), destination)
    return destination
